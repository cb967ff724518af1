# SPDX-License-Identifier: Apache-2.0
"""ACLs, Object Ownership, and public access blocks, across accounts."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore import UNSIGNED
from botocore.client import Config

from tests.services.s3.conftest import allow, policy, refused

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"
ANYBODY = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"


@pytest.fixture(scope="module")
def other(chamber):
    """An S3 client of another account's root user."""
    made = json.loads(chamber.cli("account", "add", f"acl-{uuid.uuid4().hex[:8]}", "--json").stdout)
    return chamber.client("s3", f"{made['AccessKeyId']}:{made['SecretAccessKey']}")


@pytest.fixture
def nobody(chamber):
    return chamber.client("s3", config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}))


@pytest.fixture
def open_bucket(s3):
    """A bucket with ACLs, whose public access is not blocked."""
    name = f"acl-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket=name)
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def me(client) -> str:
    return client.list_buckets()["Owner"]["ID"]


def test_enforced_buckets_have_no_acls(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    for ask in (s3.put_bucket_acl, s3.put_object_acl, s3.put_object):
        more = {} if ask == s3.put_bucket_acl else {"Key": "k"}
        refused("AccessControlListNotSupported", ask, Bucket=bucket, ACL="public-read", **more)
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="bucket-owner-full-control")
    refused("InvalidArgument", s3.put_bucket_acl, Bucket=bucket, ACL="fake")
    refused("InvalidBucketAclWithObjectOwnership", s3.create_bucket, Bucket=f"{bucket}-x", ACL="public-read")
    refused(
        "InvalidBucketAclWithBlockPublicAccessError",
        s3.create_bucket,
        Bucket=f"{bucket}-x",
        ACL="public-read",
        ObjectOwnership="ObjectWriter",
    )


def test_canned_acls_of_objects_let_others_read(s3, other, nobody, open_bucket):
    s3.put_object(Bucket=open_bucket, Key="private", Body=b"p")
    s3.put_object(Bucket=open_bucket, Key="signed", Body=b"s", ACL="authenticated-read")
    s3.put_object(Bucket=open_bucket, Key="public", Body=b"all", ACL="public-read")
    assert nobody.get_object(Bucket=open_bucket, Key="public")["Body"].read() == b"all"
    assert other.get_object(Bucket=open_bucket, Key="signed")["Body"].read() == b"s"
    refused("AccessDenied", nobody.get_object, Bucket=open_bucket, Key="signed")
    refused("AccessDenied", other.get_object, Bucket=open_bucket, Key="private")
    s3.put_object_acl(Bucket=open_bucket, Key="private", ACL="public-read")
    assert nobody.get_object(Bucket=open_bucket, Key="private")["Body"].read() == b"p"
    s3.put_public_access_block(Bucket=open_bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    refused("AccessDenied", nobody.get_object, Bucket=open_bucket, Key="public")
    assert s3.get_object(Bucket=open_bucket, Key="public")["Body"].read() == b"all"


def test_a_bucket_acl_lets_another_account_write_and_it_owns_what_it_wrote(s3, other, open_bucket):
    refused("AccessDenied", other.put_object, Bucket=open_bucket, Key="theirs", Body=b"x")
    s3.put_bucket_acl(Bucket=open_bucket, GrantWrite=f'id="{me(other)}"', GrantFullControl=f"id={me(s3)}")
    other.put_object(Bucket=open_bucket, Key="theirs", Body=b"x")
    assert other.get_object_acl(Bucket=open_bucket, Key="theirs")["Owner"]["ID"] == me(other)
    assert other.get_object(Bucket=open_bucket, Key="theirs")["Body"].read() == b"x"
    refused("AccessDenied", s3.get_object, Bucket=open_bucket, Key="theirs")
    refused("AccessDenied", other.list_objects_v2, Bucket=open_bucket)
    other.put_object(Bucket=open_bucket, Key="theirs", Body=b"y", ACL="bucket-owner-full-control")
    assert s3.get_object(Bucket=open_bucket, Key="theirs")["Body"].read() == b"y"
    s3.put_bucket_ownership_controls(
        Bucket=open_bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    other.put_object(Bucket=open_bucket, Key="given", Body=b"z", ACL="bucket-owner-full-control")
    assert s3.get_object_acl(Bucket=open_bucket, Key="given")["Owner"]["ID"] == me(s3)
    s3.put_bucket_acl(Bucket=open_bucket, ACL="private")
    s3.put_bucket_ownership_controls(
        Bucket=open_bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    assert s3.get_object_acl(Bucket=open_bucket, Key="theirs")["Owner"]["ID"] == me(s3)
    refused("AccessDenied", other.get_object, Bucket=open_bucket, Key="theirs")


def test_grants_are_kept_as_they_were_given(s3, open_bucket):
    s3.put_bucket_acl(Bucket=open_bucket, ACL="public-read-write")
    grants = s3.get_bucket_acl(Bucket=open_bucket)["Grants"]
    assert [(g["Grantee"].get("URI"), g["Permission"]) for g in grants] == [
        (None, "FULL_CONTROL"),
        (ALL, "READ"),
        (ALL, "WRITE"),
    ]
    owner = {"ID": me(s3)}
    wanted = [{"Grantee": {"Type": "Group", "URI": ANYBODY}, "Permission": "READ_ACP"}]
    s3.put_bucket_acl(Bucket=open_bucket, AccessControlPolicy={"Owner": owner, "Grants": wanted})
    assert s3.get_bucket_acl(Bucket=open_bucket)["Grants"] == wanted
    assert s3.get_bucket_policy_status(Bucket=open_bucket)["PolicyStatus"]["IsPublic"]


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("MissingSecurityHeader", {}),
        ("InvalidRequest", {"ACL": "private", "GrantRead": "uri=" + ALL}),
        ("InvalidArgument", {"GrantRead": 'id="nobody"'}),
        ("InvalidArgument", {"GrantRead": 'fakekey="1234"'}),
        ("InvalidArgument", {"GrantRead": "uri=http://acs.amazonaws.com/groups/s3/None"}),
        ("MethodNotAllowed", {"GrantRead": "emailaddress=a@example.com"}),
        ("MalformedACLError", {"AccessControlPolicy": {"Grants": []}}),
    ],
)
def test_what_is_no_acl_is_refused(s3, open_bucket, code, asked):
    refused(code, s3.put_bucket_acl, Bucket=open_bucket, **asked)


def test_public_acls_are_blocked_where_the_bucket_says_so(s3, open_bucket):
    s3.put_public_access_block(Bucket=open_bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    refused("AccessDenied", s3.put_bucket_acl, Bucket=open_bucket, ACL="authenticated-read")
    refused("AccessDenied", s3.put_object, Bucket=open_bucket, Key="k", Body=b"", ACL="public-read")
    s3.put_object(Bucket=open_bucket, Key="k", Body=b"", ACL="private")


def test_a_policy_denies_past_an_acl(s3, nobody, open_bucket):
    s3.put_object(Bucket=open_bucket, Key="public", Body=b"all", ACL="public-read")
    deny = allow("s3:GetObject", f"arn:aws:s3:::{open_bucket}/*", Effect="Deny", Principal="*")
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(deny))
    refused("AccessDenied", nobody.get_object, Bucket=open_bucket, Key="public")


def test_who_may_write_by_an_acl_deletes_what_they_own_and_nothing_else(s3, other, nobody, open_bucket):
    """Recorded of AWS by LocalStack's `test_s3_batch_delete_objects_using_requests_with_acl`."""
    s3.put_bucket_acl(Bucket=open_bucket, ACL="public-read-write")
    clients = {"owners": s3, "others": other, "nobodys": nobody}
    for key, client in clients.items():
        client.put_object(Bucket=open_bucket, Key=key, Body=key.encode(), ACL="public-read-write")
    for key in ("owners", "others"):
        refused("AccessDenied", nobody.delete_object, Bucket=open_bucket, Key=key)
    for key in ("owners", "nobodys"):
        refused("AccessDenied", other.delete_object, Bucket=open_bucket, Key=key)
    wanted = {"Objects": [{"Key": key} for key in clients]}
    done = nobody.delete_objects(Bucket=open_bucket, Delete=wanted)
    assert [one["Key"] for one in done["Deleted"]] == ["nobodys"]
    assert [(one["Key"], one["Code"]) for one in done["Errors"]] == [
        ("owners", "AccessDenied"), ("others", "AccessDenied"),
    ]  # fmt: skip
    nobody.delete_object(Bucket=open_bucket, Key="nobodys")  # that it is gone is no error
    other.put_object(Bucket=open_bucket, Key="nobodys", Body=b"")
    other.delete_object(Bucket=open_bucket, Key="nobodys")
    other.put_object(Bucket=open_bucket, Key="nobodys", Body=b"")
    assert len(s3.delete_objects(Bucket=open_bucket, Delete=wanted)["Deleted"]) == 3
