# SPDX-License-Identifier: Apache-2.0
"""Which operation a request means, and what is said of one that means none."""

from __future__ import annotations

from functools import cache

import pytest
from tools import gen_slice

from cloudchamber.wire.http import Headers, HttpRequest
from cloudchamber.wire.model import ServiceModel
from cloudchamber.wire.route import Offered, Routed, is_form, route

NAMES = ("ec2", "iam", "lambda", "logs", "s3", "sts")


@cache
def whole(service: str) -> ServiceModel:
    description = gen_slice.load(service)
    have = [o for o in description["operations"] if o not in ("PutBucketWebsite", "DescribeHosts", "ListRoleTags")]
    return ServiceModel(service, gen_slice.cut(description, have))


class Whole(Offered):
    """Offers models without three operations."""

    def find(self, name: str) -> ServiceModel | None:
        return whole(name) if name in self.names else None

    def models(self) -> list[ServiceModel]:
        return [whole(n) for n in self.names]


OFFERED = Whole(dict.fromkeys(NAMES, ()))
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def scope(service: str) -> dict[str, str]:
    return {"authorization": f"AWS4-HMAC-SHA256 Credential=AK/20260101/eu-west-1/{service}/aws4_request, Signature=x"}


def ask(line: str, headers: dict[str, str] | None = None, form: bytes | None = None) -> Routed:
    method, target = line.split(" ")
    path, _, query = target.partition("?")
    request = HttpRequest(method, path, query, Headers({"host": "127.0.0.1:4566", **(headers or {})}.items()))
    assert is_form(request) == (form is not None)
    return route(request, form, OFFERED)


S3 = [
    ("GET /", "ListBuckets"),
    ("PUT /b", "CreateBucket"),
    ("HEAD /b", "HeadBucket"),
    ("DELETE /b/", "DeleteBucket"),
    ("GET /b?prefix=a", "ListObjects"),
    ("GET /b?list-type=2&prefix=a", "ListObjectsV2"),
    ("GET /b?versions", "ListObjectVersions"),
    ("GET /b?uploads", "ListMultipartUploads"),
    ("GET /b?location", "GetBucketLocation"),
    ("GET /b?lifecycle", "GetBucketLifecycleConfiguration"),
    ("PUT /b?notification", "PutBucketNotificationConfiguration"),
    ("GET /b?analytics", "ListBucketAnalyticsConfigurations"),
    ("GET /b?analytics&id=1", "GetBucketAnalyticsConfiguration"),
    ("POST /b?delete", "DeleteObjects"),
    ("PUT /b/k", "PutObject"),
    ("PUT /b/k?x-id=PutObject", "PutObject"),
    ("PUT /b/k?tagging", "PutObjectTagging"),
    ("PUT /b/k?uploadId=u&partNumber=1", "UploadPart"),
    ("GET /b/k?uploadId=u", "ListParts"),
    ("POST /b/k?uploadId=u", "CompleteMultipartUpload"),
    ("DELETE /b/k?uploadId=u", "AbortMultipartUpload"),
    ("POST /b/k?uploads", "CreateMultipartUpload"),
    ("GET /b/k?attributes", "GetObjectAttributes"),
    ("OPTIONS /b/k", "OptionsObject"),
]


@pytest.mark.parametrize(("line", "operation"), S3)
def test_s3(line: str, operation: str) -> None:
    routed = ask(line)
    assert (routed.service, routed.operation, routed.error) == ("s3", operation, None)


def test_s3_by_header() -> None:
    assert ask("PUT /b/k", {"x-amz-copy-source": "a/b"}).operation == "CopyObject"
    assert ask("PUT /b/k?uploadId=u&partNumber=1", {"x-amz-copy-source": "a/b"}).operation == "UploadPartCopy"
    assert ask("POST /b", {"content-type": "multipart/form-data; boundary=x"}).operation == "PostObject"


HOSTS = [
    ("my.bucket.s3.us-east-1.amazonaws.com", "my.bucket"),
    ("bucket.s3.amazonaws.com", "bucket"),
    ("bucket.s3-eu-west-1.amazonaws.com", "bucket"),
    ("bucket.s3.dualstack.eu-west-1.amazonaws.com", "bucket"),
    ("bucket.s3.localhost.localstack.cloud:4566", "bucket"),
    ("bucket.s3.localhost:4566", "bucket"),
    ("bucket.localhost:4566", "bucket"),
    ("127.0.0.1:4566", "k"),
    ("s3.localhost.localstack.cloud:4566", "k"),
    ("s3.amazonaws.com", "k"),
    ("localhost:4566", "k"),
    ("i-1.ec2.localhost", "k"),
]


@pytest.mark.parametrize(("host", "bucket"), HOSTS)
def test_virtual_hosts(host: str, bucket: str) -> None:
    routed = ask("GET /k", {"host": host})
    assert (routed.bucket, routed.key) == (bucket, "" if bucket == "k" else "k")


def test_keys_are_decoded_once() -> None:
    assert ask("GET /b/a%2520b%2F%C3%A9//+").key == "a%20b/é//+"
    error = ask("GET /b/%ff").error
    assert error is not None
    assert error.code == "InvalidURI"


def test_raw_octets_and_bad_queries() -> None:
    raw = "é".encode().decode("latin-1")  # as the listener hands over what was not percent-encoded
    assert ask(f"GET /b/{raw}").key == "é"
    assert ask(f"GET /b?prefix={raw}").query == (("prefix", "é"),)
    assert refused(ask("GET /b?prefix=%ff")) == ("InvalidURI", 400)
    assert refused(ask("POST /", {**FORM, **scope("iam")}, b"Action=GetRole&RoleName=%ff")) == (
        "MalformedQueryString",
        400,
    )


def test_other_protocols() -> None:
    assert ask("POST /", {**FORM, **scope("iam")}, b"Action=GetRole&RoleName=a%20b").form["RoleName"] == "a b"
    assert ask("POST /", FORM, b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15").service == "sts"
    assert ask("GET /?Action=DescribeVpcs&Version=2016-11-15", scope("ec2")).operation == "DescribeVpcs"
    assert ask("POST /", {"x-amz-target": "Logs_20140328.PutLogEvents", **scope("logs")}).operation == "PutLogEvents"
    routed = ask("POST /2015-03-31/functions/arn%3Aaws%3Ax/invocations", scope("lambda"))
    assert (routed.operation, routed.labels["FunctionName"], routed.region) == ("Invoke", "arn:aws:x", "eu-west-1")
    assert ask("GET /2015-03-31/functions", scope("lambda")).operation == "ListFunctions"


def refused(routed: Routed) -> tuple[str, int]:
    assert routed.error is not None
    assert routed.model is None
    return routed.error.code, routed.error.status


def test_refusals() -> None:
    assert refused(ask("POST /", {**FORM, **scope("iam")}, b"Action=Nonsense")) == ("InvalidAction", 400)
    assert refused(ask("POST /", {**FORM, **scope("iam")}, b"A=1")) == ("InvalidAction", 400)
    assert refused(ask("POST /", {**FORM, **scope("ec2")}, b"Action=DescribeHosts")) == ("InvalidAction", 400)
    assert refused(ask("POST /", {**FORM, **scope("iam")}, b"\xff")) == ("MalformedQueryString", 400)
    assert refused(ask("PUT /b?website")) == ("NotImplemented", 501)
    assert refused(ask("POST /b/k")) == ("MethodNotAllowed", 405)
    assert refused(ask("PATCH /b/k")) == ("MethodNotAllowed", 405)
    assert refused(ask("GET /nowhere", scope("lambda"))) == ("UnknownOperationException", 404)
    assert refused(ask("POST /", {"x-amz-target": "TrentService.ListKeys"})) == ("UnknownOperationException", 400)
    error = ask("PUT /b?website").error
    assert error is not None
    assert "s3:PutBucketWebsite" in error.message
    error = ask("POST /", {"x-amz-target": "TrentService.ListKeys", **scope("kms")}).error
    assert error is not None
    assert "'kms'" in error.message
