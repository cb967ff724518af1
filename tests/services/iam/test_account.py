# SPDX-License-Identifier: Apache-2.0
"""What IAM tells of the whole account: alias, summary, authorization details, credential report, last use."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"},
    }
)
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


def refused(error: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == error, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture(scope="module")
def mine():
    """A chamber of this file's own: what is told is the whole account's."""
    from tests.conftest import end_chamber, new_chamber

    running = new_chamber()
    running.start()
    yield running
    end_chamber(running)


@pytest.fixture
def iam(mine):
    return mine.client("iam")


@pytest.fixture
def name():
    return f"ac-{uuid.uuid4().hex[:10]}"


def of_user(mine, iam, user, service="iam", region=None):
    """The id of a key of a user, and a client that signs with it."""
    key = iam.create_access_key(UserName=user)["AccessKey"]
    options = {"region_name": region} if region else {}
    return key["AccessKeyId"], mine.client(service, f"{key['AccessKeyId']}:{key['SecretAccessKey']}", **options)


def test_an_account_has_one_alias(iam):
    iam.create_account_alias(AccountAlias="my-chamber")
    assert iam.list_account_aliases()["AccountAliases"] == ["my-chamber"]
    message = refused("EntityAlreadyExists", iam.create_account_alias, AccountAlias="my-chamber")
    assert message == "The account alias my-chamber already exists."
    iam.create_account_alias(AccountAlias="other-chamber")
    assert iam.list_account_aliases()["AccountAliases"] == ["other-chamber"]
    refused("NoSuchEntity", iam.delete_account_alias, AccountAlias="my-chamber")
    iam.delete_account_alias(AccountAlias="other-chamber")
    assert iam.list_account_aliases()["AccountAliases"] == []
    for bad in ("-chamber", "Chamber", "cham--ber", "ch"):
        with pytest.raises(Exception, match="alidation"):
            iam.create_account_alias(AccountAlias=bad)


def test_the_summary_counts(iam, name):
    before = iam.get_account_summary()["SummaryMap"]
    iam.create_user(UserName=name)
    iam.create_group(GroupName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.create_policy(PolicyName=name, PolicyDocument=ALLOW)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.create_virtual_mfa_device(VirtualMFADeviceName=name)
    after = iam.get_account_summary()["SummaryMap"]
    more = {key: after[key] - before[key] for key in after if after[key] != before[key]}
    assert more == {
        "Users": 1, "Groups": 1, "Roles": 1, "Policies": 1, "PolicyVersionsInUse": 1, "InstanceProfiles": 1,
        "MFADevices": 1,
    }  # fmt: skip
    assert (after["UsersQuota"], after["GroupsQuota"], after["RolesQuota"]) == (5000, 300, 1000)
    assert (after["PoliciesQuota"], after["ServerCertificatesQuota"]) == (1500, 20)


def test_authorization_details_tell_everything_page_by_page(iam, name):
    policy = iam.create_policy(PolicyName=name, PolicyDocument=ALLOW)["Policy"]["Arn"]
    other = ALLOW.replace("*", "s3:*", 1)
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=other, SetAsDefault=True)
    iam.create_group(GroupName=name)
    iam.put_group_policy(GroupName=name, PolicyName="in", PolicyDocument=ALLOW)
    iam.create_user(UserName=name, PermissionsBoundary=policy, Tags=[{"Key": "k", "Value": "v"}])
    iam.add_user_to_group(UserName=name, GroupName=name)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName=name, PolicyArn=policy)
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/ReadOnlyAccess")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    members = ("UserDetailList", "GroupDetailList", "RoleDetailList", "Policies")
    found: dict[str, list[dict]] = {member: [] for member in members}
    paginator = iam.get_paginator("get_account_authorization_details")
    for page in paginator.paginate(PaginationConfig={"PageSize": 1}):
        assert sum(len(page[member]) for member in members) == 1
        for member in members:
            found[member] += page[member]
    user = next(one for one in found["UserDetailList"] if one["UserName"] == name)
    assert user["GroupList"] == [name] and user["Tags"] == [{"Key": "k", "Value": "v"}]
    assert user["PermissionsBoundary"]["PermissionsBoundaryArn"] == policy
    group = next(one for one in found["GroupDetailList"] if one["GroupName"] == name)
    assert group["GroupPolicyList"][0]["PolicyDocument"] == json.loads(ALLOW)
    role = next(one for one in found["RoleDetailList"] if one["RoleName"] == name)
    assert role["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert role["InstanceProfileList"][0]["InstanceProfileName"] == name
    assert {one["PolicyName"] for one in role["AttachedManagedPolicies"]} == {name, "ReadOnlyAccess"}
    told = {one["Arn"]: one for one in found["Policies"]}
    versions = told[policy]["PolicyVersionList"]
    assert [one["VersionId"] for one in versions] == ["v2", "v1"] and versions[0]["Document"] == json.loads(other)
    assert "arn:aws:iam::aws:policy/ReadOnlyAccess" in told
    only = iam.get_account_authorization_details(Filter=["Group"], MaxItems=1000)
    assert only["GroupDetailList"] and not only["UserDetailList"] and not only["Policies"]
    own = iam.get_account_authorization_details(Filter=["LocalManagedPolicy"], MaxItems=1000)["Policies"]
    assert policy in {one["Arn"] for one in own} and all(":aws:policy" not in one["Arn"] for one in own)


def test_a_key_says_when_it_was_last_used(mine, iam, name):
    iam.create_user(UserName=name)
    key, client = of_user(mine, iam, name, "s3", "eu-central-1")
    unused = iam.get_access_key_last_used(AccessKeyId=key)
    assert unused["UserName"] == name
    assert unused["AccessKeyLastUsed"] == {"ServiceName": "N/A", "Region": "N/A"}
    refused("AccessDenied", client.list_buckets)
    used = iam.get_access_key_last_used(AccessKeyId=key)["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("s3", "eu-central-1")
    assert abs(used["LastUsedDate"] - datetime.now(UTC)) < timedelta(minutes=5)
    refused("AccessDenied", iam.get_access_key_last_used, AccessKeyId="AKIAAAAAAAAAAAAAAAAA")


def test_a_role_says_when_it_was_last_used(mine, iam, name):
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="all", PolicyDocument=ALLOW)
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    assert iam.get_role(RoleName=name)["Role"]["RoleLastUsed"] == {}
    _, sts = of_user(mine, iam, name, "sts")
    told = sts.assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"]
    session = mine.client("iam", f"{told['AccessKeyId']}:{told['SecretAccessKey']}", told["SessionToken"])
    refused("AccessDenied", session.list_users)
    used = iam.get_role(RoleName=name)["Role"]["RoleLastUsed"]
    assert abs(used["LastUsedDate"] - datetime.now(UTC)) < timedelta(minutes=5) and used["Region"] == "us-east-1"
    iam.delete_role(RoleName=name)


def test_the_credential_report(mine, iam, name):
    refused("ReportNotPresent", iam.get_credential_report)
    iam.create_user(UserName=name)
    iam.create_login_profile(UserName=name, Password="Correct-horse-7")
    iam.update_account_password_policy(MaxPasswordAge=90)
    _, client = of_user(mine, iam, name)
    refused("AccessDenied", client.list_users)
    second, _ = of_user(mine, iam, name)
    iam.update_access_key(UserName=name, AccessKeyId=second, Status="Inactive")
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    told = iam.get_credential_report()
    assert told["ReportFormat"] == "text/csv"
    lines = list(csv.DictReader(io.StringIO(told["Content"].decode())))
    assert lines[0]["user"] == "<root_account>" and lines[0]["arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert lines[0]["access_key_1_last_used_service"] == "iam"
    line = next(one for one in lines if one["user"] == name)
    assert len(line) == 22
    assert line["password_enabled"] == "true" and line["password_last_used"] == "no_information"
    changed = datetime.fromisoformat(line["password_last_changed"])
    assert datetime.fromisoformat(line["password_next_rotation"]) - changed == timedelta(days=90)
    assert (line["mfa_active"], line["access_key_1_active"], line["access_key_2_active"]) == ("false", "true", "false")
    assert line["access_key_1_last_used_service"] == "iam" and line["access_key_2_last_used_date"] == "N/A"
    assert line["cert_1_active"] == "false" and line["cert_1_last_rotated"] == "N/A"
