# SPDX-License-Identifier: Apache-2.0
"""GetSessionToken and GetFederationToken: temporary credentials of users, and what they may never do."""

from __future__ import annotations

import uuid

import pytest
from tests.services.sts.helpers import ACCOUNT, Device, allow, policy, refused, role, session, trust, user


@pytest.fixture
def name() -> str:
    return f"fed-{uuid.uuid4().hex[:10]}"


def test_a_users_session_may_not_call_iam_without_a_code(chamber, name):
    client = user(chamber, name, allow("*"))
    arn = role(chamber, name, trust(Bool={"aws:MultiFactorAuthPresent": "true"}))
    plain = client("sts").get_session_token()["Credentials"]
    session(chamber, plain, "s3").list_buckets()
    refused("InvalidClientTokenId", session(chamber, plain, "iam").list_users)
    device = Device(chamber, name)
    refused("AccessDenied", client("sts").get_session_token, SerialNumber=device.serial, TokenCode="000000")
    refused("ValidationError", client("sts").get_session_token, SerialNumber=device.serial)
    code = device.code()
    given = client("sts").get_session_token(SerialNumber=device.serial, TokenCode=code)["Credentials"]
    refused("AccessDenied", client("sts").get_session_token, SerialNumber=device.serial, TokenCode=code)
    session(chamber, given, "iam").list_users()
    session(chamber, given, "sts").assume_role(RoleArn=arn, RoleSessionName="one")
    refused("AccessDenied", session(chamber, plain, "sts").assume_role, RoleArn=arn, RoleSessionName="one")


def test_of_sts_a_users_session_may_assume_roles_only(chamber, name):
    client = user(chamber, name, allow("*"))
    arn = role(chamber, name, trust())
    sts = session(chamber, client("sts").get_session_token()["Credentials"], "sts")
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/{name}"
    sts.assume_role(RoleArn=arn, RoleSessionName="one")
    assert refused("AccessDenied", sts.get_session_token) == "Cannot call GetSessionToken with session credentials"
    refused("AccessDenied", sts.get_federation_token, Name="bob")
    refused("AccessDenied", sts.get_access_key_info, AccessKeyId="AKIA" + "A" * 16)
    taken = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    refused("AccessDenied", session(chamber, taken, "sts").get_federation_token, Name="bob")


def test_a_federated_user_may_do_what_both_allow(chamber, name):
    client = user(chamber, name, allow(["s3:*", "sts:GetFederationToken"]))
    limit = policy(allow(["s3:ListAllMyBuckets", "ec2:*"]))
    answer = client("sts").get_federation_token(Name="bob", Policy=limit)
    assert answer["FederatedUser"] == {
        "FederatedUserId": f"{ACCOUNT}:bob", "Arn": f"arn:aws:sts::{ACCOUNT}:federated-user/bob",
    }  # fmt: skip
    assert 0 < answer["PackedPolicySize"] <= 100
    given = answer["Credentials"]
    session(chamber, given, "s3").list_buckets()
    refused("AccessDenied", session(chamber, given, "s3").create_bucket, Bucket=name)
    refused("UnauthorizedOperation", session(chamber, given, "ec2").describe_instances)
    refused("InvalidClientTokenId", session(chamber, given, "iam").list_users)
    identity = session(chamber, given, "sts").get_caller_identity()
    assert identity["Arn"] == answer["FederatedUser"]["Arn"] and identity["UserId"] == f"{ACCOUNT}:bob"
    arn = role(chamber, name, trust())
    refused("AccessDenied", session(chamber, given, "sts").assume_role, RoleArn=arn, RoleSessionName="one")
    chamber.client("iam").delete_user_policy(UserName=name, PolicyName="p")
    refused("AccessDenied", session(chamber, given, "s3").list_buckets)


def test_without_a_session_policy_only_resources_let_a_federated_user_in(chamber, name):
    client = user(chamber, name, allow("*"))
    answer = client("sts").get_federation_token(Name="carl")
    assert answer["PackedPolicySize"] == 0
    s3 = session(chamber, answer["Credentials"], "s3")
    refused("AccessDenied", s3.list_buckets)
    root = chamber.client("s3")
    root.create_bucket(Bucket=name)
    refused("AccessDenied", s3.list_objects_v2, Bucket=name)
    opened = {
        "Effect": "Allow", "Principal": {"AWS": answer["FederatedUser"]["Arn"]}, "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{name}",
    }  # fmt: skip
    root.put_bucket_policy(Bucket=name, Policy=policy(opened))
    assert s3.list_objects_v2(Bucket=name)["KeyCount"] == 0


def test_federating_is_a_permission_on_the_name(chamber, name):
    arn = f"arn:aws:sts::{ACCOUNT}:federated-user/bob"
    sts = user(chamber, name, allow("sts:GetFederationToken", arn))("sts")
    sts.get_federation_token(Name="bob")
    refused("AccessDenied", sts.get_federation_token, Name="eve")
    message = refused("AccessDenied", sts.get_federation_token, Name="bob", Tags=[{"Key": "a", "Value": "1"}])
    assert "sts:TagSession" in message
    message = refused(
        "ValidationError", sts.get_federation_token, Name="bob", Policy=policy(allow("s3:*", ["arn:aws:s3:::b" * 200]))
    )
    assert "2048" in message


def test_a_federated_users_session_ends_with_the_user(chamber, name):
    client = user(chamber, name, allow("*"))
    given = client("sts").get_federation_token(Name="dora", Policy=policy(allow("*")))["Credentials"]
    session(chamber, given, "s3").list_buckets()
    iam = chamber.client("iam")
    iam.delete_user_policy(UserName=name, PolicyName="p")
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=name)
    user(chamber, name, allow("*"))
    refused("InvalidAccessKeyId", session(chamber, given, "s3").list_buckets)
    refused("InvalidClientTokenId", session(chamber, given, "sts").get_caller_identity)


def test_what_a_resource_grants_the_user_is_not_granted_to_a_session_without_a_policy(chamber, name):
    client = user(chamber, name, allow("sts:*"))
    root = chamber.client("s3")
    root.create_bucket(Bucket=name)
    opened = {
        "Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/{name}"}, "Action": "s3:ListBucket",
        "Resource": f"arn:aws:s3:::{name}",
    }  # fmt: skip
    root.put_bucket_policy(Bucket=name, Policy=policy(opened))
    assert client("s3").list_objects_v2(Bucket=name)["KeyCount"] == 0
    given = client("sts").get_federation_token(Name="eric")["Credentials"]
    refused("AccessDenied", session(chamber, given, "s3").list_objects_v2, Bucket=name)
    narrow = policy(allow("s3:ListBucket"))
    given = client("sts").get_federation_token(Name="eric", Policy=narrow)["Credentials"]
    assert session(chamber, given, "s3").list_objects_v2(Bucket=name)["KeyCount"] == 0
