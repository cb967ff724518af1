# SPDX-License-Identifier: Apache-2.0
"""STS through boto3: who may assume a role, for how long, and what the session may do."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def trust(principal: dict, **more) -> str:
    return policy({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more})


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture
def name() -> str:
    return f"s-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def user(chamber, iam, name):
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    pair = f"{key['AccessKeyId']}:{key['SecretAccessKey']}"
    return f"arn:aws:iam::{ACCOUNT}:user/{name}", lambda service: chamber.client(service, pair)


def session(chamber, credentials, service):
    pair = f"{credentials['AccessKeyId']}:{credentials['SecretAccessKey']}"
    return chamber.client(service, pair, credentials["SessionToken"])


def test_naming_the_user_in_the_trust_policy_is_enough(chamber, iam, user, name):
    arn, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": arn}))["Role"]
    iam.put_role_policy(
        RoleName=name,
        PolicyName="p",
        PolicyDocument=policy({"Effect": "Allow", "Action": "iam:ListRoles", "Resource": "*"}),
    )
    answer = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="one")
    credentials = answer["Credentials"]
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/one"
    identity = session(chamber, credentials, "sts").get_caller_identity()
    assert identity["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert identity["UserId"] == f"{role['RoleId']}:one"
    session(chamber, credentials, "iam").list_roles()
    refused("AccessDenied", session(chamber, credentials, "iam").list_users)
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    refused("AccessDenied", session(chamber, credentials, "iam").list_roles)
    iam.delete_role(RoleName=name)
    refused("InvalidClientTokenId", session(chamber, credentials, "sts").get_caller_identity)


def test_trusting_the_account_leaves_it_to_the_users_policies(iam, user, name):
    _, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": f"arn:aws:iam::{ACCOUNT}:root"}))
    arn = role["Role"]["Arn"]
    message = refused("AccessDenied", client("sts").assume_role, RoleArn=arn, RoleSessionName="one")
    assert message.endswith("because no identity-based policy allows the sts:AssumeRole action")
    iam.put_user_policy(
        UserName=name,
        PolicyName="p",
        PolicyDocument=policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": arn}),
    )
    assert client("sts").assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]


def test_a_policy_is_not_enough_without_trust(iam, user, name):
    _, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"Service": "ec2.amazonaws.com"}))["Role"]
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    message = refused("AccessDenied", client("sts").assume_role, RoleArn=role["Arn"], RoleSessionName="one")
    assert message.endswith("because no role trust policy allows the sts:AssumeRole action")


def test_an_external_id_is_asked_for(iam, user, name):
    arn, client = user
    condition = {"StringEquals": {"sts:ExternalId": "secret"}}
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": arn}, Condition=condition))["Role"]
    sts = client("sts")
    refused("AccessDenied", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="one")
    refused("AccessDenied", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="one", ExternalId="other")
    assert sts.assume_role(RoleArn=role["Arn"], RoleSessionName="one", ExternalId="secret")["Credentials"]


def test_a_session_policy_only_takes_away(chamber, iam, user, name):
    arn, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": arn}))["Role"]
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    narrow = policy({"Effect": "Allow", "Action": ["iam:ListRoles", "iam:CreateUser"], "Resource": "*"})
    credentials = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="one", Policy=narrow)["Credentials"]
    own = session(chamber, credentials, "iam")
    own.list_roles()
    assert refused("AccessDenied", own.list_users).endswith("because no session policy allows the iam:ListUsers action")
    refused("AccessDenied", own.create_user, UserName=f"{name}-x")


def test_lifetimes(chamber, iam, user, name):
    arn, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": [arn, ACCOUNT]}))["Role"]
    sts = client("sts")
    message = refused(
        "ValidationError", sts.assume_role, RoleArn=role["Arn"], RoleSessionName="one", DurationSeconds=7200
    )
    assert message == "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    iam.update_role(RoleName=name, MaxSessionDuration=7200)
    iam.put_role_policy(
        RoleName=name,
        PolicyName="p",
        PolicyDocument=policy({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}),
    )
    credentials = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="one", DurationSeconds=7200)["Credentials"]
    chained = session(chamber, credentials, "sts")
    message = refused(
        "ValidationError", chained.assume_role, RoleArn=role["Arn"], RoleSessionName="two", DurationSeconds=7200
    )
    assert "role chaining" in message
    assert chained.assume_role(RoleArn=role["Arn"], RoleSessionName="two")["Credentials"]


def test_a_changed_token_is_refused(chamber, iam, user, name):
    arn, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": arn}))["Role"]
    credentials = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="one")["Credentials"]
    token = credentials["SessionToken"]
    for bad in (token[:60] + ("A" if token[60] != "A" else "B") + token[61:], token[:-4], "x"):
        forged = credentials | {"SessionToken": bad}
        refused("InvalidClientTokenId", session(chamber, forged, "sts").get_caller_identity)
    other = client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="two")["Credentials"]
    mixed = credentials | {"SessionToken": other["SessionToken"]}
    refused("InvalidClientTokenId", session(chamber, mixed, "sts").get_caller_identity)


def test_session_tokens_of_a_user(chamber, user):
    arn, client = user
    credentials = client("sts").get_session_token()["Credentials"]
    own = session(chamber, credentials, "sts")
    assert own.get_caller_identity()["Arn"] == arn
    refused("AccessDenied", own.get_session_token)


def test_the_root_user_assumes_no_role(chamber, iam, name):
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))["Role"]
    message = refused("AccessDenied", chamber.client("sts").assume_role, RoleArn=role["Arn"], RoleSessionName="one")
    assert message == "Roles may not be assumed by root accounts."


def test_a_new_user_is_not_trusted_in_place_of_a_deleted_one(chamber, iam, user, name):
    arn, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": arn}))["Role"]
    sts = client("sts")
    assert sts.assume_role(RoleArn=role["Arn"], RoleSessionName="one")["Credentials"]
    iam.update_user(UserName=name, NewPath="/moved/")
    assert sts.assume_role(RoleArn=role["Arn"], RoleSessionName="one")["Credentials"]
    first = iam.get_user(UserName=name)["User"]
    iam.delete_access_key(
        UserName=name, AccessKeyId=iam.list_access_keys(UserName=name)["AccessKeyMetadata"][0]["AccessKeyId"]
    )
    iam.delete_user(UserName=name)
    iam.create_user(UserName=name, Path="/moved/")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    again = chamber.client("sts", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    refused("AccessDenied", again.assume_role, RoleArn=role["Arn"], RoleSessionName="one")
    statement = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]["Statement"][0]
    assert statement["Principal"] == {"AWS": first["UserId"]}


def test_what_a_session_would_need_and_is_not_built_is_refused(iam, user, name):
    who, client = user
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust({"AWS": who}))["Role"]["Arn"]
    asked = {"RoleArn": role, "RoleSessionName": "session"}
    serial = f"arn:aws:iam::{ACCOUNT}:mfa/device"
    refused("AccessDenied", client("sts").assume_role, **asked, SerialNumber=serial, TokenCode="123456")
    provided = [{"ProviderArn": "arn:aws:iam::aws:contextProvider/IdentityCenter", "ContextAssertion": "assertion"}]
    refused("ValidationError", client("sts").assume_role, **asked, ProvidedContexts=provided)
