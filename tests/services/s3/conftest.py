# SPDX-License-Identifier: Apache-2.0
"""Clients and buckets of a test's own."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError


def refused(code: str, call, **request) -> dict:
    """The error's fields, after its code was compared."""
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]


def allow(action, resource, **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def s3(chamber):
    return chamber.client("s3")


@pytest.fixture
def bucket(s3):
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def user(chamber):
    """Makes users with one inline policy each; gives their S3 clients."""
    iam = chamber.client("iam")
    made = []

    def make(*statements: dict):
        name = f"user-{uuid.uuid4().hex[:12]}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(*statements))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made.append((name, key["AccessKeyId"]))
        return chamber.client("s3", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")

    yield make
    for name, key in made:
        iam.delete_access_key(UserName=name, AccessKeyId=key)
        iam.delete_user_policy(UserName=name, PolicyName="own")
        iam.delete_user(UserName=name)
