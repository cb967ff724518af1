# SPDX-License-Identifier: Apache-2.0
"""Functions and S3: code in a bucket, events of a bucket, records in a bucket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import allow, call, function, messages, package, ready, role, until

ONE = "def handler(event, context):\n    return 1\n"


def test_code_in_a_bucket(chamber: Any) -> None:
    s3, client = chamber.client("s3"), chamber.client("lambda")
    s3.create_bucket(Bucket="lambda-code")
    s3.put_object(Bucket="lambda-code", Key="a.zip", Body=package(ONE, **{"filler.txt": "0123456789" * 100_000}))
    request = {
        "FunctionName": "from-bucket", "Runtime": "python3.12", "Role": role(chamber, "functions"),
        "Handler": "index.handler",
    }  # fmt: skip
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.create_function(Code={"S3Bucket": "lambda-code", "S3Key": "none.zip"}, **request)
    client.create_function(Code={"S3Bucket": "lambda-code", "S3Key": "a.zip"}, **request)
    ready(client, "from-bucket")
    assert call(client, "from-bucket")[0] == 1


def test_an_event_of_a_bucket_runs_its_function(chamber: Any) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket="lambda-events")
    arn = role(chamber, "thumbnails", allow("logs:*", "s3:GetObject", "s3:PutObject"))
    client = function(
        chamber, "thumbnail",
        "import boto3\n"
        "from urllib.parse import unquote_plus\n"
        "s3 = boto3.client('s3')\n"
        "def handler(event, context):\n"
        "    for record in event['Records']:\n"
        "        bucket, key = record['s3']['bucket']['name'], unquote_plus(record['s3']['object']['key'])\n"
        "        body = s3.get_object(Bucket=bucket, Key=key)['Body'].read()\n"
        "        s3.put_object(Bucket=bucket, Key='small/' + key, Body=body[:3])\n",
        Role=arn,
    )  # fmt: skip
    target = client.get_function_configuration(FunctionName="thumbnail")["FunctionArn"]
    rule = {"Key": {"FilterRules": [{"Name": "prefix", "Value": "large/"}]}}
    wanted = {
        "LambdaFunctionConfigurations": [
            {"LambdaFunctionArn": target, "Events": ["s3:ObjectCreated:*"], "Filter": rule}
        ]
    }
    with pytest.raises(ClientError, match="validate"):
        s3.put_bucket_notification_configuration(Bucket="lambda-events", NotificationConfiguration=wanted)
    client.add_permission(
        FunctionName="thumbnail", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::lambda-events", SourceAccount="000000000000",
    )  # fmt: skip
    s3.put_bucket_notification_configuration(Bucket="lambda-events", NotificationConfiguration=wanted)
    s3.put_object(Bucket="lambda-events", Key="large/a b.txt", Body=b"0123456789")

    def small() -> Any:
        found = s3.list_objects_v2(Bucket="lambda-events", Prefix="small/").get("Contents", [])
        return [o["Key"] for o in found]

    assert until(small) == ["small/large/a b.txt"]


def test_a_function_that_feeds_its_own_bucket_is_stopped(chamber: Any) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket="lambda-loop")
    s3.create_bucket(Bucket="lambda-failed")
    arn = role(chamber, "feeding", allow("logs:*", "s3:PutObject"))
    client = function(
        chamber, "feeding",
        "import boto3\ns3 = boto3.client('s3')\n"
        "def handler(event, context):\n"
        "    print('ROUND')\n"
        "    s3.put_object(Bucket='lambda-loop', Key=context.aws_request_id, Body=b'x')\n",
        Role=arn,
    )  # fmt: skip
    client.add_permission(
        FunctionName="feeding", StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::lambda-loop",
    )  # fmt: skip
    client.put_function_event_invoke_config(
        FunctionName="feeding", DestinationConfig={"OnFailure": {"Destination": "arn:aws:s3:::lambda-failed"}}
    )
    target = client.get_function_configuration(FunctionName="feeding")["FunctionArn"]
    s3.put_bucket_notification_configuration(
        Bucket="lambda-loop",
        NotificationConfiguration={
            "LambdaFunctionConfigurations": [{"LambdaFunctionArn": target, "Events": ["s3:ObjectCreated:*"]}]
        },
    )
    s3.put_object(Bucket="lambda-loop", Key="begin", Body=b"x")
    (kept,) = until(lambda: s3.list_objects_v2(Bucket="lambda-failed").get("Contents"))
    assert kept["Key"].startswith("aws/lambda/async/feeding/")
    record = json.loads(s3.get_object(Bucket="lambda-failed", Key=kept["Key"])["Body"].read())
    assert record["requestContext"]["condition"] == "RecursiveInvocation"
    assert record["requestPayload"]["Records"][0]["s3"]["bucket"]["name"] == "lambda-loop"
    assert len(until(lambda: len(found := messages(chamber, "feeding", "ROUND")) >= 16 and found)) == 16
