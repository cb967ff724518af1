# SPDX-License-Identifier: Apache-2.0
"""Cross-origin requests: preflights, and headers of answers."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

from tests.services.s3.conftest import refused

PAGE = "https://app.example.com"
RULES = [
    {
        "AllowedMethods": ["GET", "PUT"],
        "AllowedOrigins": ["https://*.example.com"],
        "AllowedHeaders": ["content-*", "x-amz-meta-a"],
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": 60,
    },
    {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]},
]


def ask(chamber, method, path, data=None, **headers):
    """Status and headers of one request as a browser makes it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(path if "://" in path else chamber.endpoint + path, data, named, method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


@pytest.fixture
def shared(s3, bucket):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": RULES})
    return bucket


def test_a_page_may_upload(chamber, s3, shared):
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "Content-Type"}
    status, headers, _ = ask(chamber, "OPTIONS", f"/{shared}/k", **asked)
    assert status == 200
    assert headers["Access-Control-Allow-Origin"] == PAGE
    assert headers["Access-Control-Allow-Methods"] == "GET, PUT"
    assert headers["Access-Control-Allow-Headers"] == "content-type"
    assert headers["Access-Control-Max-Age"] == "60"
    url = s3.generate_presigned_url("put_object", {"Bucket": shared, "Key": "k", "ContentType": "text/plain"})
    status, headers, _ = ask(chamber, "PUT", url, b"hello", Origin=PAGE, Content_Type="text/plain")
    assert (status, headers["Access-Control-Allow-Origin"]) == (200, PAGE)
    assert headers["Access-Control-Expose-Headers"] == "ETag"
    assert s3.get_object(Bucket=shared, Key="k")["Body"].read() == b"hello"


def test_errors_tell_the_page_too_and_no_origin_is_told_nothing(chamber, shared):
    status, headers, _ = ask(chamber, "GET", f"/{shared}/none", Origin="https://other.org")
    assert (status, headers["Access-Control-Allow-Origin"]) == (403, "*")
    assert "Access-Control-Allow-Credentials" not in headers
    _, headers, _ = ask(chamber, "GET", f"/{shared}/none")
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("told", "headers", "status"),
    [
        ("Origin request header needed", {}, 400),
        ("This CORS request is not allowed", {"Access_Control_Request_Method": "DELETE"}, 403),
        (
            "This CORS request is not allowed",
            {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "x-secret"},
            403,
        ),
    ],
)
def test_what_no_rule_lets_is_refused(chamber, shared, told, headers, status):
    more = {"Origin": PAGE} if status == 403 else {}
    found, _, body = ask(chamber, "OPTIONS", f"/{shared}/k", **more, **headers)
    assert found == status
    assert told in body


def test_a_bucket_without_rules_says_so(chamber, s3, bucket):
    asked = {"Origin": PAGE, "Access_Control_Request_Method": "GET"}
    status, _, body = ask(chamber, "OPTIONS", f"/{bucket}", **asked)
    assert status == 403
    assert "CORS is not enabled for this bucket" in body
    status, _, body = ask(chamber, "OPTIONS", "/no-such-bucket-anywhere/k", **asked)
    assert "CORSResponse: Bucket not found" in body
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)


def test_rules_are_checked_and_removed(s3, shared):
    assert s3.get_bucket_cors(Bucket=shared)["CORSRules"] == RULES
    bad = {"AllowedMethods": ["PATCH"], "AllowedOrigins": ["*"]}
    refused("InvalidRequest", s3.put_bucket_cors, Bucket=shared, CORSConfiguration={"CORSRules": [bad]})
    bad = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*.a.*"]}
    refused("InvalidRequest", s3.put_bucket_cors, Bucket=shared, CORSConfiguration={"CORSRules": [bad]})
    s3.delete_bucket_cors(Bucket=shared)
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=shared)
