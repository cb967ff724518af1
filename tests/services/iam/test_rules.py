# SPDX-License-Identifier: Apache-2.0
"""IAM's rules through boto3: deletions, names, renames, pages, filters, versions and tags, in AWS's own words."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    }
)
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def refused(error: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == error, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def name():
    return f"ru-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def policy(iam, name):
    return iam.create_policy(PolicyName=name, PolicyDocument=ALLOW, Path=f"/{name}/")["Policy"]["Arn"]


def test_what_keeps_a_user(iam, name, policy):
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]["AccessKeyId"]
    iam.attach_user_policy(UserName=name, PolicyArn=policy)
    iam.put_user_policy(UserName=name, PolicyName="in", PolicyDocument=ALLOW)
    for words, undo in (
        ("remove users from group", lambda: iam.remove_user_from_group(GroupName=name, UserName=name)),
        ("delete access keys", lambda: iam.delete_access_key(UserName=name, AccessKeyId=key)),
        ("detach all policies", lambda: iam.detach_user_policy(UserName=name, PolicyArn=policy)),
        ("delete policies", lambda: iam.delete_user_policy(UserName=name, PolicyName="in")),
    ):
        message = refused("DeleteConflict", iam.delete_user, UserName=name)
        assert message == f"Cannot delete entity, must {words} first."
        undo()
    iam.delete_user(UserName=name)


def test_what_keeps_a_role_a_group_a_profile_and_a_policy(iam, name, policy):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    message = refused("LimitExceeded", iam.add_role_to_instance_profile, InstanceProfileName=name, RoleName=name)
    assert message == "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    message = refused("DeleteConflict", iam.delete_role, RoleName=name)
    assert message == "Cannot delete entity, must remove roles from instance profile first."
    message = refused("DeleteConflict", iam.delete_instance_profile, InstanceProfileName=name)
    assert message == "Cannot delete entity, must remove roles from instance profile first."
    assert refused("DeleteConflict", iam.delete_policy, PolicyArn=policy) == (
        "Cannot delete a policy attached to entities."
    )
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.delete_instance_profile(InstanceProfileName=name)
    message = refused("DeleteConflict", iam.delete_role, RoleName=name)
    assert message == "Cannot delete entity, must detach all policies first."
    iam.detach_role_policy(RoleName=name, PolicyArn=policy)
    iam.delete_role(RoleName=name)
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=ALLOW)
    assert refused("DeleteConflict", iam.delete_policy, PolicyArn=policy).startswith(
        "This policy has more than one version."
    )
    iam.delete_policy_version(PolicyArn=policy, VersionId="v2")
    iam.delete_policy(PolicyArn=policy)
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    message = refused("DeleteConflict", iam.delete_group, GroupName=name)
    assert message == "Cannot delete entity, must remove users from group first."


def test_names_are_the_same_in_small_and_capital_letters(iam, name):
    iam.create_user(UserName=name)
    message = refused("EntityAlreadyExists", iam.create_user, UserName=name.upper())
    assert message == f"User with name {name.upper()} already exists."
    assert iam.get_user(UserName=name.upper())["User"]["UserName"] == name
    message = refused("ValidationError", iam.create_user, UserName="no spaces")
    assert message == (
        "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the "
        "following: +=,.@_-"
    )
    message = refused("ValidationError", iam.create_user, UserName="x" * 65)
    assert message == (
        f"1 validation error detected: Value '{'x' * 65}' at 'userName' failed to satisfy constraint: "
        "Member must have length less than or equal to 64"
    )
    for path in ("here", "/here", "here/", "/a//b/"):
        assert refused("ValidationError", iam.create_user, UserName=f"{name}-2", Path=path) == (
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric "
            "characters and/or / characters."
        )


def test_a_renamed_user_or_group_is_found_by_its_new_arn(iam, name, policy):
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    iam.attach_group_policy(GroupName=name, PolicyArn=policy)
    iam.update_user(UserName=name, NewUserName=f"{name}-u", NewPath="/moved/")
    iam.update_group(GroupName=name, NewGroupName=f"{name}-g")
    assert iam.get_user(UserName=f"{name}-u")["User"]["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/moved/{name}-u"
    assert [one["UserName"] for one in iam.get_group(GroupName=f"{name}-g")["Users"]] == [f"{name}-u"]
    assert iam.list_entities_for_policy(PolicyArn=policy)["PolicyGroups"][0]["GroupName"] == f"{name}-g"
    refused("NoSuchEntity", iam.get_user, UserName=name)


def test_pages(iam, name):
    for i in range(5):
        iam.create_user(UserName=f"{name}-{i}", Path=f"/{name}/")
    first = iam.list_users(PathPrefix=f"/{name}/", MaxItems=2)
    assert first["IsTruncated"] and len(first["Users"]) == 2
    rest = iam.list_users(PathPrefix=f"/{name}/", Marker=first["Marker"])
    assert not rest["IsTruncated"] and "Marker" not in rest and len(rest["Users"]) == 3
    assert refused("ValidationError", iam.list_users, Marker="made-up!") == "Invalid Marker."


def test_who_has_a_policy_and_which_are_in_use(iam, name, policy):
    iam.create_user(UserName=name, PermissionsBoundary=policy)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)

    def entities(**filters):
        told = iam.list_entities_for_policy(PolicyArn=policy, **filters)
        return [len(told[member]) for member in ("PolicyUsers", "PolicyRoles", "PolicyGroups")]

    assert entities() == [1, 1, 0]
    assert entities(PolicyUsageFilter="PermissionsPolicy") == [0, 1, 0]
    assert entities(PolicyUsageFilter="PermissionsBoundary") == [1, 0, 0]
    assert entities(EntityFilter="User") == [1, 0, 0]
    assert entities(PathPrefix="/nowhere/") == [0, 0, 0]

    def listed(**filters):
        told = iam.list_policies(PathPrefix=f"/{name}/", **filters)["Policies"]
        return [(one["AttachmentCount"], one["PermissionsBoundaryUsageCount"]) for one in told]

    assert listed() == listed(Scope="Local", OnlyAttached=True) == [(1, 1)]
    assert listed(Scope="AWS") == []
    iam.detach_role_policy(RoleName=name, PolicyArn=policy)
    assert listed(OnlyAttached=True, PolicyUsageFilter="PermissionsPolicy") == []
    assert listed(PolicyUsageFilter="PermissionsBoundary") == [(0, 1)]
    assert refused("DeleteConflict", iam.delete_policy, PolicyArn=policy)


def test_five_versions_and_the_default_stays(iam, policy):
    for _ in range(4):
        iam.create_policy_version(PolicyArn=policy, PolicyDocument=ALLOW)
    message = refused("LimitExceeded", iam.create_policy_version, PolicyArn=policy, PolicyDocument=ALLOW)
    assert message.startswith("A managed policy can have up to 5 versions.")
    message = refused("DeleteConflict", iam.delete_policy_version, PolicyArn=policy, VersionId="v1")
    assert message == "Cannot delete the default version of a policy."
    iam.set_default_policy_version(PolicyArn=policy, VersionId="v3")
    iam.delete_policy_version(PolicyArn=policy, VersionId="v1")
    made = iam.create_policy_version(PolicyArn=policy, PolicyDocument=ALLOW)["PolicyVersion"]
    assert made["VersionId"] == "v6" and not made["IsDefaultVersion"]


def test_tags_are_checked(iam, name, policy):
    many = [{"Key": str(i), "Value": ""} for i in range(50)]
    iam.tag_policy(PolicyArn=policy, Tags=many)
    message = refused("LimitExceeded", iam.tag_policy, PolicyArn=policy, Tags=[{"Key": "one more", "Value": ""}])
    assert message == "The number of tags has reached the maximum limit."
    message = refused("ValidationError", iam.tag_policy, PolicyArn=policy, Tags=[{"Key": "no!", "Value": ""}])
    assert message == (
        "1 validation error detected: Value at 'tags.1.member.key' failed to satisfy constraint: Member must "
        r"satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+"
    )
    iam.create_user(UserName=name, Tags=[{"Key": "größe", "Value": "日本 7"}])
    assert iam.list_user_tags(UserName=name)["Tags"] == [{"Key": "größe", "Value": "日本 7"}]
    twice = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    assert refused("InvalidInput", iam.tag_user, UserName=name, Tags=twice) == (
        "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    )
    refused("InvalidInput", iam.tag_policy, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess", Tags=many[:1])


def test_what_is_created_listed_and_got(iam, name):
    made = iam.create_policy(PolicyName=name, PolicyDocument=ALLOW, Description="d", Path=f"/{name}/")["Policy"]
    assert "Description" not in made and "Tags" not in made
    got = iam.get_policy(PolicyArn=made["Arn"])["Policy"]
    assert got["Description"] == "d" and got["Tags"] == []
    (listed,) = iam.list_policies(PathPrefix=f"/{name}/")["Policies"]
    assert "Description" not in listed and "Tags" not in listed


def test_updating_a_role_puts_its_session_back_to_an_hour(iam, name):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, MaxSessionDuration=7200, Description="d")
    iam.update_role(RoleName=name, Description="e")
    role = iam.get_role(RoleName=name)["Role"]
    assert (role["Description"], role["MaxSessionDuration"]) == ("e", 3600)


def test_attached_policies_and_groups_are_limited(iam, name):
    arns = [iam.create_policy(PolicyName=f"{name}-{i}", PolicyDocument=ALLOW)["Policy"]["Arn"] for i in range(11)]
    iam.create_user(UserName=name)
    for arn in arns[:10]:
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
    message = refused("LimitExceeded", iam.attach_user_policy, UserName=name, PolicyArn=arns[10])
    assert message == "Cannot exceed quota for PoliciesPerUser: 10"
    for i in range(11):
        iam.create_group(GroupName=f"{name}-{i}")
    for i in range(10):
        iam.add_user_to_group(UserName=name, GroupName=f"{name}-{i}")
    message = refused("LimitExceeded", iam.add_user_to_group, UserName=name, GroupName=f"{name}-10")
    assert message == "Cannot exceed quota for GroupsPerUser: 10"
    iam.create_access_key(UserName=name)
    iam.create_access_key(UserName=name)
    message = refused("LimitExceeded", iam.create_access_key, UserName=name)
    assert message == "Cannot exceed quota for AccessKeysPerUser: 2"
