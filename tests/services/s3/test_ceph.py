# SPDX-License-Identifier: Apache-2.0
"""What ceph/s3-tests checks and no test of ours did: between accounts, and with the older defaults of buckets."""

from __future__ import annotations

import http.client
import json
import uuid
from urllib.parse import urlsplit

import pytest
from botocore import UNSIGNED
from botocore.client import Config
from botocore.exceptions import ClientError

from tests.conftest import end_chamber, new_chamber
from tests.services.s3.conftest import allow, policy, refused

ALL = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture(scope="module")
def older():
    """A chamber whose new buckets are as they were before April 2023."""
    running = new_chamber()
    running.more["CLOUDCHAMBER_S3_NEW_BUCKET_DEFAULTS"] = "legacy"
    running.start()
    yield running
    end_chamber(running)


def other_account(chamber, name: str = ""):
    name = name or f"ceph-{uuid.uuid4().hex[:8]}"
    made = json.loads(chamber.cli("account", "add", name, "--json").stdout)
    return chamber.client("s3", f"{made['AccessKeyId']}:{made['SecretAccessKey']}")


@pytest.fixture(scope="module")
def other(chamber):
    return other_account(chamber)


@pytest.fixture
def shared(s3):
    """A bucket with ACLs, whose policy lets everybody put."""
    name = f"ceph-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket=name)
    s3.put_bucket_policy(
        Bucket=name, Policy=policy(allow("s3:PutObject", f"arn:aws:s3:::{name}/*", Principal={"AWS": "*"}))
    )
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


def owner(client) -> str:
    return client.list_buckets()["Owner"]["ID"]


# As S3 is today ------------------------------------------------------------------------------------------------------


def test_who_may_list_a_prefix_may_know_what_is_not_below_it(s3, other, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    only = {"StringLike": {"s3:prefix": "public/*"}}
    statement = allow("s3:ListBucket", f"arn:aws:s3:::{bucket}", Principal={"AWS": "*"}, Condition=only)
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement))
    s3.put_object(Bucket=bucket, Key="public/there", Body=b"x")
    told = {}
    for key in ("public/gone", "private/gone", "public/there"):
        with pytest.raises(ClientError) as caught:
            other.head_object(Bucket=bucket, Key=key)
        told[key] = caught.value.response["ResponseMetadata"]["HTTPStatusCode"]
    assert told == {"public/gone": 404, "private/gone": 403, "public/there": 403}
    refused("NoSuchKey", other.get_object, Bucket=bucket, Key="public/gone")

    deny = {**statement, "Effect": "Deny", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    del deny["Condition"]
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(statement, deny))
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="public/gone")


def test_who_may_read_and_not_list_is_told_so_of_a_missing_key(bucket, user):
    reader = user(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    message = refused("AccessDenied", reader.get_object, Bucket=bucket, Key="gone")["Message"]
    assert message.endswith(
        f'is not authorized to perform: s3:ListBucket on resource: "arn:aws:s3:::{bucket}" because no identity-based '
        "policy allows the s3:ListBucket action"
    )


def test_full_control_for_the_buckets_owner_needs_no_more_than_to_put(s3, other, shared):
    full = {"GrantFullControl": f"id={owner(s3)}"}
    other.put_object(Bucket=shared, Key="granted", Body=b"x", **full)
    grants = s3.get_object_acl(Bucket=shared, Key="granted")["Grants"]
    assert [one["Grantee"]["ID"] for one in grants] == [owner(s3)]
    other.put_object(Bucket=shared, Key="canned", Body=b"x", ACL="bucket-owner-full-control")
    assert s3.get_object(Bucket=shared, Key="canned")["Body"].read() == b"x"
    refused("AccessDenied", other.put_object, Bucket=shared, Key="public", Body=b"x", ACL="public-read")
    more = {"GrantFullControl": f"id={owner(s3)},id={owner(other)}"}
    refused("AccessDenied", other.put_object, Bucket=shared, Key="more", Body=b"x", **more)


def test_tags_of_anothers_object_are_the_bucket_owners_too(s3, other, shared):
    other.put_object(Bucket=shared, Key="theirs", Body=b"x")
    refused("AccessDenied", s3.get_object, Bucket=shared, Key="theirs")
    tags = {"TagSet": [{"Key": "a", "Value": "1"}]}
    s3.put_object_tagging(Bucket=shared, Key="theirs", Tagging=tags)
    assert s3.get_object_tagging(Bucket=shared, Key="theirs")["TagSet"] == tags["TagSet"]
    refused("AccessDenied", other.put_object_tagging, Bucket=shared, Key="missing", Tagging=tags)


def test_a_customers_key_comes_with_its_md5(s3, bucket):
    def bare(params, **_):
        params["headers"] |= {
            "x-amz-server-side-encryption-customer-algorithm": "AES256",
            "x-amz-server-side-encryption-customer-key": "pO3upElrwuEXSoFwCfnZPdSsmt/xWeFa0N9KgDijwVs=",
        }

    s3.meta.events.register("before-call.s3.PutObject", bare)
    refused("InvalidArgument", s3.put_object, Bucket=bucket, Key="k", Body=b"x")


# As S3 was ----------------------------------------------------------------------------------------------------------


def test_older_acls_tell_names_and_groups_first(older):
    s3 = older.client("s3")
    other = other_account(older, "neighbour")
    s3.create_bucket(Bucket="older-acl", ACL="public-read-write")
    me = {"Type": "CanonicalUser", "ID": owner(s3), "DisplayName": "default"}
    everybody = {"Type": "Group", "URI": ALL}
    assert s3.get_bucket_acl(Bucket="older-acl")["Grants"] == [
        {"Grantee": everybody, "Permission": "READ"},
        {"Grantee": everybody, "Permission": "WRITE"},
        {"Grantee": me, "Permission": "FULL_CONTROL"},
    ]
    for client, key in ((s3, "a"), (other, "b")):
        client.create_multipart_upload(Bucket="older-acl", Key=key)
    uploads = s3.list_multipart_uploads(Bucket="older-acl")["Uploads"]
    assert [(one["Initiator"], one["Owner"]["DisplayName"]) for one in uploads] == [
        ({"ID": owner(s3), "DisplayName": "default"}, "default"),
        ({"ID": owner(other), "DisplayName": "neighbour"}, "neighbour"),
    ]
    for one in uploads:
        s3.abort_multipart_upload(Bucket="older-acl", Key=one["Key"], UploadId=one["UploadId"])


def test_an_older_completion_without_a_body_is_no_xml(older):
    s3 = older.client("s3")
    s3.create_bucket(Bucket="older-upload")
    upload = s3.create_multipart_upload(Bucket="older-upload", Key="k")["UploadId"]
    refused("MalformedXML", s3.complete_multipart_upload, Bucket="older-upload", Key="k", UploadId=upload)


def test_nobody_may_post_with_tags_where_everybody_may_write(older):
    s3 = older.client("s3")
    s3.create_bucket(Bucket="older-post", ACL="public-read-write")
    fields = {
        "key": "form",
        "acl": "public-read",
        "tagging": "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>",
        "file": "body",
    }
    parts = [
        f'--sep\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    ]
    at = urlsplit(older.endpoint)
    connection = http.client.HTTPConnection(at.hostname, at.port)
    connection.request(
        "POST", "/older-post", "".join(parts) + "--sep--\r\n", {"Content-Type": "multipart/form-data; boundary=sep"}
    )
    assert connection.getresponse().status == 204
    connection.close()
    assert s3.get_object(Bucket="older-post", Key="form")["Body"].read() == b"body"
    assert s3.get_object_tagging(Bucket="older-post", Key="form")["TagSet"] == [{"Key": "a", "Value": "1"}]
    nobody = older.client("s3", config=Config(signature_version=UNSIGNED, retries={"max_attempts": 1}))
    tags = {"TagSet": [{"Key": "b", "Value": "2"}]}
    s3.put_object(Bucket="older-post", Key="ours", Body=b"x")
    refused("AccessDenied", nobody.put_object_tagging, Bucket="older-post", Key="ours", Tagging=tags)


@pytest.mark.parametrize(("given", "left"), [({}, 1), ({"ACL": "public-read"}, 2)])
def test_a_bucket_created_again_in_us_east_1_has_its_acl_reset(older, given, left):
    """Source: Amazon S3 API Reference, CreateBucket: "returns 200 OK and resets the bucket access control lists"."""
    s3 = older.client("s3")
    name = f"ceph-{uuid.uuid4().hex[:16]}"
    s3.create_bucket(Bucket=name, ACL="public-read-write")
    assert len(s3.get_bucket_acl(Bucket=name)["Grants"]) == 3
    s3.create_bucket(Bucket=name, **given)
    assert len(s3.get_bucket_acl(Bucket=name)["Grants"]) == left
