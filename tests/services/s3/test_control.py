# SPDX-License-Identifier: Apache-2.0
"""S3 Control through boto3: what a whole account blocks, and tags of buckets by their ARN."""

from __future__ import annotations

import json
import uuid

import pytest
import urllib3

from tests.services.s3.conftest import allow, policy, refused

ACCOUNT = "000000000000"
SWITCHES = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@pytest.fixture
def control(own_chamber):
    return own_chamber.client("s3control")


def fetch(url: str):
    """As nobody."""
    return urllib3.request("GET", url, timeout=30)


def public(bucket: str) -> str:
    allow = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [allow]})


def test_an_account_blocks_what_its_buckets_do_not(own_chamber, control):
    s3 = own_chamber.client("s3")
    error = refused("NoSuchPublicAccessBlockConfiguration", control.get_public_access_block, AccountId=ACCOUNT)
    assert error["AccountId"] == ACCOUNT
    s3.create_bucket(Bucket="open")
    s3.delete_public_access_block(Bucket="open")
    s3.put_bucket_policy(Bucket="open", Policy=public("open"))
    s3.put_object(Bucket="open", Key="k", Body=b"x")
    url = f"http://127.0.0.1:{own_chamber.port}/open/k"
    assert fetch(url).data == b"x"
    some = {"RestrictPublicBuckets": True, "BlockPublicPolicy": True}
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=some)
    told = control.get_public_access_block(AccountId=ACCOUNT)["PublicAccessBlockConfiguration"]
    assert told == {name: name in some for name in SWITCHES}
    assert fetch(url).status == 403
    refused("AccessDenied", s3.put_bucket_policy, Bucket="open", Policy=public("open"))
    assert s3.get_object(Bucket="open", Key="k")["Body"].read() == b"x"
    done = control.delete_public_access_block(AccountId=ACCOUNT)
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert fetch(url).status == 200
    refused("AccessDenied", control.get_public_access_block, AccountId="111111111111")
    nothing = {"AccountId": ACCOUNT, "PublicAccessBlockConfiguration": {}}
    refused("InvalidRequest", control.put_public_access_block, **nothing)


def test_acls_of_a_bucket_are_blocked_by_its_account(own_chamber, control):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="acls", ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket="acls")
    s3.put_object(Bucket="acls", Key="k", Body=b"x", ACL="public-read")
    url = f"http://127.0.0.1:{own_chamber.port}/acls/k"
    assert fetch(url).status == 200
    both = {"IgnorePublicAcls": True, "BlockPublicAcls": True}
    control.put_public_access_block(AccountId=ACCOUNT, PublicAccessBlockConfiguration=both)
    assert fetch(url).status == 403
    refused("AccessDenied", s3.put_object, Bucket="acls", Key="k2", Body=b"x", ACL="public-read")


def test_tags_are_set_and_removed_one_by_one(own_chamber, control):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="tagged")
    named = {"AccountId": ACCOUNT, "ResourceArn": "arn:aws:s3:::tagged"}
    assert control.list_tags_for_resource(**named)["Tags"] == []
    control.tag_resource(**named, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    control.tag_resource(**named, Tags=[{"Key": "c", "Value": "3"}])
    control.untag_resource(**named, TagKeys=["a", "none"])
    left = [{"Key": "b", "Value": "2"}, {"Key": "c", "Value": "3"}]
    assert control.list_tags_for_resource(**named)["Tags"] == left
    assert s3.get_bucket_tagging(Bucket="tagged")["TagSet"] == left
    for wrong in ({"Key": "aws:x", "Value": ""}, {"Key": "a,b", "Value": ""}):
        refused("InvalidTag", control.tag_resource, **named, Tags=[wrong])
    gone = {"AccountId": ACCOUNT, "ResourceArn": "arn:aws:s3:::none-of-mine"}
    refused("NoSuchResource", control.list_tags_for_resource, **gone)
    refused("NoSuchResource", control.untag_resource, **gone, TagKeys=["a"])


def test_a_bucket_may_be_called_like_its_paths(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="v20180820")
    s3.put_object(Bucket="v20180820", Key="tags/x", Body=b"x")
    assert s3.get_object(Bucket="v20180820", Key="tags/x")["Body"].read() == b"x"
    refused("NoSuchKey", s3.get_object, Bucket="v20180820", Key="configuration/publicAccessBlock")


def test_a_policy_that_reads_the_keys_of_tags(chamber, s3, bucket):
    iam, name = chamber.client("iam"), f"tagger-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    keys = {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}
    actions = ["s3:TagResource", "s3:UntagResource"]
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(allow(actions, "*", Condition=keys)))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    client = chamber.client("s3control", f"{made['AccessKeyId']}:{made['SecretAccessKey']}")
    about = {"AccountId": "000000000000", "ResourceArn": f"arn:aws:s3:::{bucket}"}
    client.tag_resource(**about, Tags=[{"Key": "team", "Value": "a"}])
    refused("AccessDenied", client.tag_resource, **about, Tags=[{"Key": "other", "Value": "a"}])
    client.untag_resource(**about, TagKeys=["team"])
    refused("AccessDenied", client.untag_resource, **about, TagKeys=["other"])
