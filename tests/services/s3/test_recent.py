# SPDX-License-Identifier: Apache-2.0
"""What was fetched a moment ago is fetched as it is now, whatever changed: octets, tags, policies, keys."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError


def test_every_change_shows_at_once(chamber: Any) -> None:
    s3, iam = chamber.client("s3"), chamber.client("iam")
    s3.create_bucket(Bucket="recent-1")
    for number in range(3):
        body = f"body {number}".encode()
        s3.put_object(Bucket="recent-1", Key="k", Body=body, ContentType=f"text/x{number}")
        for _ in range(3):
            got = s3.get_object(Bucket="recent-1", Key="k")
            assert (got["Body"].read(), got["ContentType"]) == (body, f"text/x{number}")
            assert s3.head_object(Bucket="recent-1", Key="k")["ContentLength"] == len(body)
    assert "TagCount" not in got
    s3.put_object_tagging(Bucket="recent-1", Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    assert s3.get_object(Bucket="recent-1", Key="k")["TagCount"] == 1
    made = s3.get_object(Bucket="recent-1", Key="k", Range="bytes=1-2")
    assert made["Body"].read() == b"od"
    s3.put_bucket_versioning(Bucket="recent-1", VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_object(Bucket="recent-1", Key="k")["VersionId"] == "null"
    iam.create_user(UserName="recent-user")
    key = iam.create_access_key(UserName="recent-user")["AccessKey"]
    user = chamber.client(
        "s3", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"], aws_session_token=None
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        user.get_object(Bucket="recent-1", Key="k")
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::recent-1/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="recent-user", PolicyName="p", PolicyDocument=document)
    assert [user.get_object(Bucket="recent-1", Key="k")["Body"].read() for _ in range(3)] == [b"body 2"] * 3
    iam.delete_user_policy(UserName="recent-user", PolicyName="p")
    with pytest.raises(ClientError, match="AccessDenied"):
        user.get_object(Bucket="recent-1", Key="k")
    s3.delete_object(Bucket="recent-1", Key="k")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="recent-1", Key="k")
