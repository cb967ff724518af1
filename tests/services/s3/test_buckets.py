# SPDX-License-Identifier: Apache-2.0
"""Buckets, their configuration, and who may do what."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.services.s3.conftest import allow, policy, refused


@pytest.mark.parametrize("name", ["UPPER", "a_b", "192.168.1.1", "a..b", "-ab", "xn--abc", "abc-s3alias"])
def test_names_that_break_the_rules(chamber, name):
    client = chamber.client("s3")
    with pytest.raises(Exception, match=r"InvalidBucketName|Invalid bucket name"):
        client.create_bucket(Bucket=name)


def test_the_life_of_a_bucket(s3):
    name = f"life-{uuid.uuid4().hex[:12]}"
    assert s3.create_bucket(Bucket=name)["Location"] == f"/{name}"
    s3.create_bucket(Bucket=name)
    assert s3.head_bucket(Bucket=name)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    assert name in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    assert [b["Name"] for b in s3.list_buckets(Prefix=name)["Buckets"]] == [name]
    s3.put_object(Bucket=name, Key="k", Body=b"")
    refused("BucketNotEmpty", s3.delete_bucket, Bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    refused("NoSuchBucket", s3.delete_bucket, Bucket=name)
    refused("NoSuchBucket", s3.list_objects_v2, Bucket=name)
    refused("404", s3.head_bucket, Bucket=name)


def test_another_region(chamber):
    client = chamber.session().client("s3", endpoint_url=chamber.endpoint, region_name="eu-central-1")
    name = f"region-{uuid.uuid4().hex[:12]}"
    refused("IllegalLocationConstraintException", client.create_bucket, Bucket=name)
    where = {"LocationConstraint": "eu-central-1"}
    client.create_bucket(Bucket=name, CreateBucketConfiguration=where)
    refused("BucketAlreadyOwnedByYou", client.create_bucket, Bucket=name, CreateBucketConfiguration=where)
    assert client.get_bucket_location(Bucket=name)["LocationConstraint"] == "eu-central-1"
    client.delete_bucket(Bucket=name)


def test_the_expected_owner(s3, bucket):
    s3.head_bucket(Bucket=bucket, ExpectedBucketOwner="000000000000")
    refused("AccessDenied", s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner="111111111111")


def test_defaults_are_those_of_today(s3, bucket):
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    rules = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rules == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    grants = s3.get_bucket_acl(Bucket=bucket)["Grants"]
    assert [g["Permission"] for g in grants] == ["FULL_CONTROL"]
    refused("AccessControlListNotSupported", s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ACL="bucket-owner-full-control")
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    refused("NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=bucket)


def test_what_cannot_be_set_is_not_there(s3, bucket):
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    refused("NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=bucket)
    refused("ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket=bucket)
    refused("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=bucket)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "BucketOwner"
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="b/c", Body=b"2")
    found = s3.list_object_versions(Bucket=bucket, Delimiter="/")
    assert [(v["Key"], v["VersionId"], v["IsLatest"]) for v in found["Versions"]] == [("a", "null", True)]
    assert found["CommonPrefixes"] == [{"Prefix": "b/"}]
    s3.delete_object(Bucket=bucket, Key="a", VersionId="null")


def test_tags_of_buckets(s3, bucket):
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=bucket)
    tags = [{"Key": "a", "Value": "1"}]
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    refused("InvalidTag", s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": tags + tags})
    s3.delete_bucket_tagging(Bucket=bucket)
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=bucket)


def test_a_policy_holds_on_the_next_call(chamber, s3, bucket):
    refused("NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=bucket)
    arn = f"arn:aws:s3:::{bucket}"
    s3.put_object(Bucket=bucket, Key="secret/1", Body=b"x")
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"{arn}/secret/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(deny))
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"] == [deny]
    refused("AccessDenied", s3.get_object, Bucket=bucket, Key="secret/1")
    s3.delete_bucket_policy(Bucket=bucket)
    s3.get_object(Bucket=bucket, Key="secret/1")


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "[]",
        '{"Version":"2012-10-17","Statement":[]}',
        policy({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::BUCKET/*"}),
        policy({"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::other/*"}),
        policy(
            {"Effect": "Allow", "Principal": "*", "Action": "ec2:RunInstances", "Resource": "arn:aws:s3:::BUCKET/*"}
        ),
    ],
)
def test_what_is_no_bucket_policy(s3, bucket, text):
    refused("MalformedPolicy", s3.put_bucket_policy, Bucket=bucket, Policy=text.replace("BUCKET", bucket))


def test_public_policies_are_blocked_until_the_owner_says_otherwise(chamber, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"for all")
    public = policy(
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    )
    refused("AccessDenied", s3.put_bucket_policy, Bucket=bucket, Policy=public)
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(Bucket=bucket, Policy=public)
    url = f"{chamber.endpoint}/{bucket}/k"
    with urllib.request.urlopen(url) as reply:
        assert reply.read() == b"for all"
    blocked = {"RestrictPublicBuckets": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=blocked)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url)
    caught.value.close()
    assert caught.value.code == 403


def test_who_may_not_list_may_not_know_what_is_missing(s3, bucket, user):
    arn = f"arn:aws:s3:::{bucket}"
    reader = user(allow("s3:GetObject", f"{arn}/*"))
    refused("AccessDenied", reader.get_object, Bucket=bucket, Key="none")
    refused("403", reader.head_object, Bucket=bucket, Key="none")
    lister = user(allow("s3:GetObject", f"{arn}/*"), allow("s3:ListBucket", arn))
    refused("NoSuchKey", lister.get_object, Bucket=bucket, Key="none")


def test_conditions_on_prefixes_and_tags(s3, bucket, user):
    arn = f"arn:aws:s3:::{bucket}"
    s3.put_object(Bucket=bucket, Key="a/1", Body=b"", Tagging="team=blue")
    s3.put_object(Bucket=bucket, Key="b/1", Body=b"", Tagging="team=red")
    who = user(
        allow("s3:ListBucket", arn, Condition={"StringLike": {"s3:prefix": "a/*"}}),
        allow("s3:GetObject", f"{arn}/*", Condition={"StringEquals": {"s3:ExistingObjectTag/team": "blue"}}),
        allow(
            ["s3:PutObject", "s3:PutObjectTagging"],
            f"{arn}/*",
            Condition={"StringEquals": {"s3:RequestObjectTag/team": "blue"}},
        ),
    )
    assert who.list_objects_v2(Bucket=bucket, Prefix="a/")["KeyCount"] == 1
    refused("AccessDenied", who.list_objects_v2, Bucket=bucket, Prefix="b/")
    who.get_object(Bucket=bucket, Key="a/1")
    refused("AccessDenied", who.get_object, Bucket=bucket, Key="b/1")
    who.put_object(Bucket=bucket, Key="c", Body=b"", Tagging="team=blue")
    refused("AccessDenied", who.put_object, Bucket=bucket, Key="c", Body=b"", Tagging="team=red")
    refused("AccessDenied", who.put_object, Bucket=bucket, Key="c", Body=b"")


def test_tags_of_objects_count_in_a_bucket_policy_and_in_variables(s3, bucket, user):
    arn = f"arn:aws:s3:::{bucket}"
    for key, team in (("blue/1", "blue"), ("red/1", "red"), ("red/2", "blue")):
        s3.put_object(Bucket=bucket, Key=key, Body=b"", Tagging=f"team={team}")
    who = user(allow("s3:GetObject", f"{arn}/${{s3:ExistingObjectTag/team}}/*"))
    who.get_object(Bucket=bucket, Key="blue/1")
    who.get_object(Bucket=bucket, Key="red/1")
    refused("AccessDenied", who.get_object, Bucket=bucket, Key="red/2")
    deny = allow("s3:GetObject", f"{arn}/*", Condition={"StringEquals": {"S3:existingobjecttag/team": "red"}})
    deny |= {"Effect": "Deny", "Principal": "*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    who.get_object(Bucket=bucket, Key="blue/1")
    refused("AccessDenied", who.get_object, Bucket=bucket, Key="red/1")


def test_a_copy_needs_both_sides(s3, bucket, user):
    arn = f"arn:aws:s3:::{bucket}"
    s3.put_object(Bucket=bucket, Key="from/1", Body=b"x")
    writer = user(allow("s3:PutObject", f"{arn}/to/*"))
    refused("AccessDenied", writer.copy_object, Bucket=bucket, Key="to/1", CopySource=f"{bucket}/from/1")
    both = user(allow("s3:PutObject", f"{arn}/to/*"), allow("s3:GetObject", f"{arn}/from/*"))
    both.copy_object(Bucket=bucket, Key="to/1", CopySource=f"{bucket}/from/1")
    refused("AccessDenied", both.copy_object, Bucket=bucket, Key="other", CopySource=f"{bucket}/from/1")


def test_presigned_urls(chamber, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b", Body=b"signed")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"})
    with urllib.request.urlopen(url) as reply:
        assert reply.read() == b"signed"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace("a%20b", "a%20c"))
    caught.value.close()
    assert caught.value.code == 403


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_of_buckets(chamber, s3, bucket, version):
    signer = chamber.client("s3", config=Config(signature_version=version))
    for operation in ("list_objects_v2", "get_bucket_location"):
        url = signer.generate_presigned_url(operation, Params={"Bucket": bucket})
        with urllib.request.urlopen(url) as reply:
            assert reply.status == 200
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url.replace(f"/{bucket}", f"/{bucket}-2"))
        caught.value.close()
        assert caught.value.code == 403


def test_notifications_are_validated(s3, bucket):
    arn = "arn:aws:lambda:us-east-1:000000000000:function:none"
    wanted = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    put = s3.put_bucket_notification_configuration
    error = refused("InvalidArgument", put, Bucket=bucket, NotificationConfiguration=wanted)
    assert error["Message"] == "Unable to validate the following destination configurations"
    queue = {
        "QueueConfigurations": [{"QueueArn": "arn:aws:sqs:us-east-1:000000000000:q", "Events": ["s3:ObjectCreated:*"]}]
    }
    error = refused("InvalidArgument", put, Bucket=bucket, NotificationConfiguration=queue)
    assert error["ArgumentValue1"] == "The destination queue does not exist"
    bus = {"EventBridgeConfiguration": {}}
    refused("NotImplemented", put, Bucket=bucket, NotificationConfiguration=bus)
    one = wanted["LambdaFunctionConfigurations"][0]
    twice = {"LambdaFunctionConfigurations": [one, {**one, "Events": ["s3:ObjectCreated:Put"]}]}
    with pytest.raises(ClientError, match="overlap"):
        put(Bucket=bucket, NotificationConfiguration=twice)
    put(Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=True)
    found = s3.get_bucket_notification_configuration(Bucket=bucket)["LambdaFunctionConfigurations"]
    assert [(c["LambdaFunctionArn"], c["Events"]) for c in found] == [(arn, ["s3:ObjectCreated:*"])]
    put(Bucket=bucket, NotificationConfiguration={})
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(Bucket=bucket)


def test_what_a_document_is_said_to_be_is_compared(s3, bucket):
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    wrong = {"ContentMD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    refused("BadDigest", s3.put_bucket_tagging, Bucket=bucket, Tagging=tags, **wrong)
    refused("InvalidDigest", s3.put_bucket_tagging, Bucket=bucket, Tagging=tags, ContentMD5="short")
    for algorithm in ("CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"):
        s3.put_bucket_tagging(Bucket=bucket, Tagging=tags, ChecksumAlgorithm=algorithm)

    def forge(request, **_):
        request.headers.replace_header("x-amz-checksum-crc32", "AAAAAA==")

    s3.meta.events.register("before-sign.s3.PutBucketTagging", forge)
    try:
        refused("BadDigest", s3.put_bucket_tagging, Bucket=bucket, Tagging=tags, ChecksumAlgorithm="CRC32")
    finally:
        s3.meta.events.unregister("before-sign.s3.PutBucketTagging", forge)


def test_what_would_change_an_upload_and_is_not_built_is_refused(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    asked = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    refused("InvalidRequest", s3.complete_multipart_upload, **asked, **key, MultipartUpload={"Parts": []})
    refused("InvalidArgument", s3.list_parts, **asked, **key)
    s3.abort_multipart_upload(**asked)
    refused("NotImplemented", s3.put_object, Bucket=bucket, Key="k", Body=b"x", ChecksumSHA512="A" * 86 + "==")
    refused("NotImplemented", s3.delete_objects, Bucket=bucket, Delete={"Objects": [{"Key": "k"}]}, MFA="serial 123456")
