# SPDX-License-Identifier: Apache-2.0
"""IAM through boto3: entities, policies, and that what they say holds on the very next call."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
EC2_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def name() -> str:
    return f"t-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def user(chamber, iam, name):
    """A user, and how to get a client that signs as it."""
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return name, lambda service: chamber.client(service, f"{key['AccessKeyId']}:{key['SecretAccessKey']}")


def test_a_user_may_do_nothing_until_a_policy_allows_it(iam, user):
    who, client = user
    own = client("iam")
    arn = f"arn:aws:iam::{ACCOUNT}:user/{who}"
    message = refused("AccessDenied", own.get_user)
    assert message == (
        f"User: {arn} is not authorized to perform: iam:GetUser on resource: {arn} "
        "because no identity-based policy allows the iam:GetUser action"
    )
    iam.put_user_policy(
        UserName=who,
        PolicyName="self",
        PolicyDocument=policy(allow("iam:GetUser", f"arn:aws:iam::{ACCOUNT}:user/${{aws:username}}")),
    )
    assert own.get_user()["User"]["Arn"] == arn
    iam.delete_user_policy(UserName=who, PolicyName="self")
    refused("AccessDenied", own.get_user)


def test_an_inactive_key_is_worth_nothing(iam, user):
    who, client = user
    sts = client("sts")
    assert sts.get_caller_identity()["Arn"].endswith(who)
    key = iam.list_access_keys(UserName=who)["AccessKeyMetadata"][0]["AccessKeyId"]
    iam.update_access_key(UserName=who, AccessKeyId=key, Status="Inactive")
    refused("InvalidClientTokenId", sts.get_caller_identity)
    iam.update_access_key(UserName=who, AccessKeyId=key, Status="Active")
    assert sts.get_caller_identity()["Account"] == ACCOUNT
    iam.delete_access_key(UserName=who, AccessKeyId=key)
    refused("InvalidClientTokenId", sts.get_caller_identity)


def test_two_keys_for_each_user(iam, user):
    who, _ = user
    iam.create_access_key(UserName=who)
    assert refused("LimitExceeded", iam.create_access_key, UserName=who) == (
        "Cannot exceed quota for AccessKeysPerUser: 2"
    )


def test_groups_give_their_policies_to_their_users(iam, user, name):
    who, client = user
    group = f"{name}-g"
    iam.create_group(GroupName=group)
    iam.put_group_policy(GroupName=group, PolicyName="p", PolicyDocument=policy(allow("iam:ListUsers")))
    refused("AccessDenied", client("iam").list_users)
    iam.add_user_to_group(GroupName=group, UserName=who)
    assert client("iam").list_users()["Users"]
    assert [g["GroupName"] for g in iam.list_groups_for_user(UserName=who)["Groups"]] == [group]
    assert [u["UserName"] for u in iam.get_group(GroupName=group)["Users"]] == [who]
    assert "must remove users from group" in refused("DeleteConflict", iam.delete_user, UserName=who)
    iam.remove_user_from_group(GroupName=group, UserName=who)
    refused("AccessDenied", client("iam").list_users)


def test_a_boundary_limits_what_policies_allow(iam, user, name):
    who, client = user
    boundary = iam.create_policy(PolicyName=f"{name}-b", PolicyDocument=policy(allow("iam:GetUser")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=who, PolicyArn="arn:aws:iam::aws:policy/IAMFullAccess")
    client("iam").list_users()
    iam.put_user_permissions_boundary(UserName=who, PermissionsBoundary=boundary)
    assert refused("AccessDenied", client("iam").list_users).endswith(
        "because no permissions boundary allows the iam:ListUsers action"
    )
    assert client("iam").get_user()["User"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == boundary
    refused("DeleteConflict", iam.delete_policy, PolicyArn=boundary)
    iam.delete_user_permissions_boundary(UserName=who)
    client("iam").list_users()


def test_an_explicit_deny_wins_and_says_so(iam, user):
    who, client = user
    iam.attach_user_policy(UserName=who, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    iam.put_user_policy(
        UserName=who,
        PolicyName="no",
        PolicyDocument=policy({"Effect": "Deny", "Action": "iam:ListRoles", "Resource": "*"}),
    )
    client("iam").list_users()
    message = refused("AccessDenied", client("iam").list_roles)
    assert message.endswith("with an explicit deny in an identity-based policy")


def test_versions_of_a_managed_policy(iam, user, name):
    who, client = user
    arn = iam.create_policy(PolicyName=name, PolicyDocument=policy(allow("iam:ListUsers")))["Policy"]["Arn"]
    iam.attach_user_policy(UserName=who, PolicyArn=arn)
    client("iam").list_users()
    second = iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("iam:ListRoles")), SetAsDefault=True)[
        "PolicyVersion"
    ]
    assert second["VersionId"] == "v2"
    client("iam").list_roles()
    refused("AccessDenied", client("iam").list_users)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    client("iam").list_users()
    found = iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]
    assert found["Document"]["Statement"][0]["Action"] == "iam:ListRoles"
    assert not found["IsDefaultVersion"]
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=policy(allow("iam:ListRoles")))
    refused("LimitExceeded", iam.create_policy_version, PolicyArn=arn, PolicyDocument=policy(allow("iam:Get*")))
    refused("DeleteConflict", iam.delete_policy_version, PolicyArn=arn, VersionId="v1")
    assert [u["UserName"] for u in iam.list_entities_for_policy(PolicyArn=arn)["PolicyUsers"]] == [who]
    first = iam.list_policy_versions(PolicyArn=arn, MaxItems=2)
    assert [v["VersionId"] for v in first["Versions"]] == ["v5", "v4"] and first["IsTruncated"]
    rest = iam.list_policy_versions(PolicyArn=arn, Marker=first["Marker"])
    assert [v["VersionId"] for v in rest["Versions"]] == ["v3", "v2", "v1"] and not rest["IsTruncated"]
    refused("DeleteConflict", iam.delete_policy, PolicyArn=arn)
    iam.detach_user_policy(UserName=who, PolicyArn=arn)
    for version in ("v2", "v3", "v4", "v5"):
        iam.delete_policy_version(PolicyArn=arn, VersionId=version)
    iam.delete_policy(PolicyArn=arn)
    refused("NoSuchEntity", iam.get_policy, PolicyArn=arn)


def test_a_role_and_its_instance_profile(iam, name):
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=EC2_TRUST, Path="/app/", Tags=[{"Key": "team", "Value": "red"}]
    )["Role"]
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/app/{name}"
    assert role["RoleId"].startswith("AROA")
    assert role["AssumeRolePolicyDocument"] == json.loads(EC2_TRUST)
    assert iam.get_role(RoleName=name)["Role"]["Tags"] == [{"Key": "team", "Value": "red"}]
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    refused("LimitExceeded", iam.add_role_to_instance_profile, InstanceProfileName=name, RoleName=name)
    profile = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [r["RoleName"] for r in profile["Roles"]] == [name]
    assert "remove roles from instance profile" in refused("DeleteConflict", iam.delete_role, RoleName=name)
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"][0]["Arn"] == profile["Arn"]
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.delete_instance_profile(InstanceProfileName=name)
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow("s3:GetObject")))
    assert iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"]["Statement"][0]["Effect"] == "Allow"
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["p"]
    assert "must delete policies first" in refused("DeleteConflict", iam.delete_role, RoleName=name)
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    assert refused("NoSuchEntity", iam.get_role, RoleName=name) == f"The role with name {name} cannot be found."


def test_names_are_the_same_in_small_and_capital_letters(iam, name):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_TRUST)
    message = refused("EntityAlreadyExists", iam.create_role, RoleName=name.upper(), AssumeRolePolicyDocument=EC2_TRUST)
    assert message == f"Role with name {name.upper()} already exists."


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "Syntax errors in policy."),
        (policy({"Effect": "Allow", "Action": "s3:Get*"}), "Policy statement must contain resources."),
        (policy({"Effect": "Allow", "Resource": "*"}), "Policy statement must contain actions."),
        (
            policy(allow("GetObject")),
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
        (policy(allow("s3:*", "bucket")), 'Resource bucket must be in ARN format or "*".'),
        (
            policy(allow("s3:*", Principal="*")),
            "Policy document should not specify a principal.",
        ),
        (
            policy(allow("s3:*", Sid="a"), allow("s3:*", Sid="a")),
            "Statement IDs (SID) in a single policy must be unique.",
        ),
    ],
)
def test_malformed_policies(iam, user, document, message):
    who, _ = user
    assert (
        refused("MalformedPolicyDocument", iam.put_user_policy, UserName=who, PolicyName="p", PolicyDocument=document)
        == message
    )


def test_malformed_trust(iam, name):
    def trust(**statement) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})

    def create(document: str) -> str:
        return refused("MalformedPolicyDocument", iam.create_role, RoleName=name, AssumeRolePolicyDocument=document)

    assert create("no") == "This policy contains invalid Json"
    assert create(trust(Action="sts:AssumeRole")) == "Missing required field Principal"
    assert create(trust(Action="s3:Get", Principal={"AWS": "*"})) == (
        "AssumeRole policy may only specify STS AssumeRole actions."
    )
    nobody = f"arn:aws:iam::{ACCOUNT}:user/nobody-at-all"
    assert create(trust(Action="sts:AssumeRole", Principal={"AWS": nobody})) == (
        f'Invalid principal in policy: "AWS":"{nobody}"'
    )
    assert create(trust(Action="sts:AssumeRole", Resource="*", Principal={"AWS": "*"})) == (
        "Has prohibited field Resource"
    )


def test_pages(iam, name):
    for number in range(5):
        iam.create_user(UserName=f"{name}-{number}", Path=f"/{name}/")
    pages = list(iam.get_paginator("list_users").paginate(PathPrefix=f"/{name}/", PaginationConfig={"PageSize": 2}))
    assert [len(page["Users"]) for page in pages] == [2, 2, 1]
    assert [u["UserName"] for page in pages for u in page["Users"]] == [f"{name}-{n}" for n in range(5)]


def test_aws_managed_policies_have_their_documents(iam, user):
    who, _ = user
    arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    found = iam.get_policy(PolicyArn=arn)["Policy"]
    document = iam.get_policy_version(PolicyArn=arn, VersionId=found["DefaultVersionId"])["PolicyVersion"]["Document"]
    assert "logs:PutLogEvents" in document["Statement"][0]["Action"]
    unknown = "arn:aws:iam::aws:policy/NoSuchPolicy"
    assert refused("NoSuchEntity", iam.attach_user_policy, UserName=who, PolicyArn=unknown) == (
        f"Policy {unknown} does not exist or is not attachable."
    )


def test_tags_and_a_condition_on_them(iam, user, name):
    who, client = user
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=EC2_TRUST)
    condition = {"StringEquals": {"aws:ResourceTag/owner": who}}
    iam.put_user_policy(
        UserName=who, PolicyName="p", PolicyDocument=policy(allow("iam:GetRole", "*", Condition=condition))
    )
    refused("AccessDenied", client("iam").get_role, RoleName=name)
    iam.tag_role(RoleName=name, Tags=[{"Key": "owner", "Value": who}])
    assert client("iam").get_role(RoleName=name)["Role"]["RoleName"] == name
    iam.untag_role(RoleName=name, TagKeys=["owner"])
    refused("AccessDenied", client("iam").get_role, RoleName=name)


def test_renaming_a_user_takes_everything_along(iam, user, name):
    who, client = user
    iam.put_user_policy(UserName=who, PolicyName="p", PolicyDocument=policy(allow("iam:ListUsers")))
    iam.update_user(UserName=who, NewUserName=f"{who}-new", NewPath="/moved/")
    assert client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/moved/{who}-new"
    client("iam").list_users()
    refused("NoSuchEntity", iam.get_user, UserName=who)


def test_account_summary(iam):
    assert iam.get_account_summary()["SummaryMap"]["AccessKeysPerUserQuota"] == 2


def test_the_simulator_decides_as_the_call_is_decided(iam, user):
    who, _ = user
    text = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"},
                {
                    "Effect": "Allow",
                    "Action": "s3:*",
                    "Resource": "arn:aws:s3:::b/${aws:username}/*",
                    "Condition": {"Bool": {"aws:SecureTransport": "true"}},
                },
            ],
        },
        indent=2,
    )
    iam.put_user_policy(UserName=who, PolicyName="p", PolicyDocument=text)
    request = {
        "PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:user/{who}",
        "ActionNames": ["s3:GetObject", "s3:DeleteObject"],
        "ResourceArns": [f"arn:aws:s3:::b/{who}/x"],
    }
    get, delete = iam.simulate_principal_policy(**request)["EvaluationResults"]
    assert get["EvalDecision"] == "implicitDeny"
    assert get["MissingContextValues"] == ["aws:SecureTransport"]
    assert delete["EvalDecision"] == "explicitDeny"
    assert delete["MatchedStatements"][0]["StartPosition"] == {"Line": 4, "Column": 6}
    assert delete["MatchedStatements"][0]["EndPosition"]["Line"] == 8
    secure = {"ContextKeyName": "aws:SecureTransport", "ContextKeyValues": ["true"], "ContextKeyType": "boolean"}
    get = iam.simulate_principal_policy(**request, ContextEntries=[secure])["EvaluationResults"][0]
    assert get["EvalDecision"] == "allowed"
    assert get["MatchedStatements"][0]["StartPosition"]["Line"] == 9
    custom = iam.simulate_custom_policy(PolicyInputList=[policy(allow("ec2:Run*"))], ActionNames=["ec2:RunInstances"])
    assert custom["EvaluationResults"][0]["MatchedStatements"][0]["SourcePolicyId"] == "PolicyInputList.1"
