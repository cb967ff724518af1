# SPDX-License-Identifier: Apache-2.0
"""From an object to a function, and back: the whole way of an event."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile

import pytest

from tests.services.s3.conftest import refused

CODE = """
import json, os, boto3

def handler(event, context):
    for record in event["Records"]:
        boto3.client("s3").put_object(
            Bucket=os.environ["SEEN"],
            Key=record["eventName"] + "/" + record["s3"]["object"]["sequencer"],
            Body=json.dumps(record),
        )
"""


def zipped(text: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", text)
    return packed.getvalue()


@pytest.fixture
def seen(s3):
    """A bucket into which the function writes what it saw."""
    name = f"seen-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    yield name
    for found in s3.list_objects_v2(Bucket=name).get("Contents", []):
        s3.delete_object(Bucket=name, Key=found["Key"])
    s3.delete_bucket(Bucket=name)


@pytest.fixture
def function(chamber, seen):
    iam, functions = chamber.client("iam"), chamber.client("lambda")
    name = f"watch-{uuid.uuid4().hex[:12]}"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    may = {"Effect": "Allow", "Action": ["s3:PutObject", "logs:*"], "Resource": "*"}
    role = iam.create_role(
        RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust})
    )
    iam.put_role_policy(
        RoleName=name, PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": may})
    )
    made = functions.create_function(
        FunctionName=name,
        Runtime="python3.12",
        Handler="app.handler",
        Role=role["Role"]["Arn"],
        Code={"ZipFile": zipped(CODE)},
        Timeout=30,
        Environment={"Variables": {"SEEN": seen}},
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=name)
    yield made["FunctionArn"]
    functions.delete_function(FunctionName=name)
    iam.delete_role_policy(RoleName=name, PolicyName="own")
    iam.delete_role(RoleName=name)


def wait_for(s3, seen: str, count: int) -> list[dict]:
    """Records that the function wrote, once there are `count`."""
    ends = time.monotonic() + 60
    while True:
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket=seen).get("Contents", [])]
        if len(keys) >= count:
            return [json.loads(s3.get_object(Bucket=seen, Key=key)["Body"].read()) for key in keys]
        assert time.monotonic() < ends, keys
        time.sleep(0.05)


def test_events_reach_the_function_that_s3_may_invoke(chamber, s3, bucket, function, seen):
    wanted = {
        "LambdaFunctionArn": function,
        "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
        "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": "in/"}, {"Name": "suffix", "Value": ".png"}]}},
    }
    configuration = {"LambdaFunctionConfigurations": [wanted]}
    put = s3.put_bucket_notification_configuration
    error = refused("InvalidArgument", put, Bucket=bucket, NotificationConfiguration=configuration)
    assert "Unable to validate" in error["Message"]
    chamber.client("lambda").add_permission(
        FunctionName=function,
        StatementId="s3",
        Action="lambda:InvokeFunction",
        Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{bucket}",
        SourceAccount="000000000000",
    )
    put(Bucket=bucket, NotificationConfiguration=configuration)
    etag = s3.put_object(Bucket=bucket, Key="in/a b+é.png", Body=b"12345")["ETag"].strip('"')
    s3.put_object(Bucket=bucket, Key="in/other.txt", Body=b"")
    s3.put_object(Bucket=bucket, Key="out/x.png", Body=b"")
    s3.copy_object(Bucket=bucket, Key="in/copy.png", CopySource=f"{bucket}/out/x.png")
    s3.delete_object(Bucket=bucket, Key="in/a b+é.png")
    records = {record["eventName"]: record for record in wait_for(s3, seen, 3)}
    assert sorted(records) == ["ObjectCreated:Copy", "ObjectCreated:Put", "ObjectRemoved:Delete"]
    made = records["ObjectCreated:Put"]
    assert made["s3"]["bucket"]["arn"] == f"arn:aws:s3:::{bucket}"
    assert made["s3"]["object"]["key"] == "in/a+b%2B%C3%A9.png"
    assert (made["s3"]["object"]["size"], made["s3"]["object"]["eTag"]) == (5, etag)
    assert made["eventSource"] == "aws:s3"
    gone = records["ObjectRemoved:Delete"]["s3"]["object"]
    assert gone["sequencer"] > made["s3"]["object"]["sequencer"]
