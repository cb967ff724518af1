# SPDX-License-Identifier: Apache-2.0
"""The API by HTTPS on the same port, and policies that ask for it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.conftest import RunningChamber
from tests.services.lambda_.functions import allow, call, function, role

READING = """
import boto3

def handler(event, context):
    return boto3.client("s3").get_object(Bucket=event["bucket"], Key="big", Range="bytes=0-3")["Body"].read().hex()
"""


def only_by_tls(bucket: str) -> str:
    """What SAM, CDK (`enforceSSL`) and AWS's own examples put on buckets."""
    deny = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:*",
        "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }  # fmt: skip
    return json.dumps({"Version": "2012-10-17", "Statement": [deny]})


@pytest.fixture
def secure(chamber: RunningChamber) -> Any:
    told = json.loads(chamber.cli("env", "--https", "--json").stdout)
    assert told["AWS_ENDPOINT_URL"] == chamber.endpoint.replace("http:", "https:")
    session = chamber.session()
    return session.client("s3", endpoint_url=told["AWS_ENDPOINT_URL"], verify=told["AWS_CA_BUNDLE"])


def test_a_bucket_that_wants_tls(chamber: RunningChamber, secure: Any) -> None:
    bucket, plain, data = "tls-of-test-https", chamber.client("s3"), os.urandom(20_000_000)
    plain.create_bucket(Bucket=bucket)
    plain.put_bucket_policy(Bucket=bucket, Policy=only_by_tls(bucket))
    with pytest.raises(plain.exceptions.ClientError) as denied:
        plain.put_object(Bucket=bucket, Key="big", Body=b"x")
    assert denied.value.response["Error"]["Code"] == "AccessDenied"
    secure.put_object(Bucket=bucket, Key="big", Body=data)
    assert secure.get_object(Bucket=bucket, Key="big")["Body"].read() == data
    assert "https://" in secure.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "big"})
    # Why: a sandbox's socket is heard by nobody else, and on AWS its SDK would speak TLS
    reads = role(chamber, "reader-of-test-https", allow("s3:GetObject"))
    functions = function(chamber, "reader-of-test-https", READING, Role=reads, MemorySize=512)
    assert call(functions, "reader-of-test-https", {"bucket": bucket})[0] == data[:4].hex()


def test_a_stranger_does_not_trust_it(chamber: RunningChamber) -> None:
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(chamber.endpoint.replace("http:", "https:"))
