# SPDX-License-Identifier: Apache-2.0
"""Static websites, as a browser meets them."""

from __future__ import annotations

import http.client
import urllib.parse

import pytest

from tests.services.s3.conftest import allow, policy, refused

SITE = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "error.html"}}


def visit(chamber, bucket: str, path: str, method: str = "GET", host: str = "{}.s3-website.us-east-1.localhost"):
    """Status, headers and text of one request to a website."""
    where = urllib.parse.urlsplit(chamber.endpoint)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    try:
        connection.request(method, path, headers={"Host": f"{host.format(bucket)}:{where.port}"})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read().decode()
    finally:
        connection.close()


@pytest.fixture
def site(s3, bucket):
    s3.delete_public_access_block(Bucket=bucket)
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=policy(
            allow(
                ["s3:GetObject", "s3:ListBucket"], [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"], Principal="*"
            )
        ),
    )
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=SITE)
    for key, body in {"index.html": "home", "error.html": "sorry", "docs/index.html": "docs"}.items():
        s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/html")
    return bucket


@pytest.mark.parametrize(
    "host",
    [
        "{}.s3-website.us-east-1.localhost",
        "{}.s3-website-us-east-1.amazonaws.com",
        "{}.s3-website.localhost.localstack.cloud",
    ],
)
def test_index_and_error_documents(chamber, site, host):
    status, headers, text = visit(chamber, site, "/", host=host)
    assert (status, text, headers["Content-Type"]) == (200, "home", "text/html")
    assert visit(chamber, site, "/docs/", host=host)[2] == "docs"
    status, headers, _ = visit(chamber, site, "/docs", host=host)
    assert (status, headers["Location"]) == (302, "/docs/")
    status, _, text = visit(chamber, site, "/nothing", host=host)
    assert (status, text) == (404, "sorry")


def test_pages_of_errors(chamber, s3, site):
    s3.delete_object(Bucket=site, Key="error.html")
    status, headers, text = visit(chamber, site, "/<b>")
    assert status == 404
    assert "<li>Key: &lt;b&gt;</li>" in text
    assert "Retrieve a Custom Error Document" in text
    assert headers["x-amz-error-code"] == "NoSuchKey"
    status, _, text = visit(chamber, site, "/x", "POST")
    assert (status, "MethodNotAllowed" in text) == (405, True)
    s3.delete_bucket_policy(Bucket=site)
    assert visit(chamber, site, "/")[0] == 403
    s3.delete_bucket_website(Bucket=site)
    assert "NoSuchWebsiteConfiguration" in visit(chamber, site, "/")[2]
    assert "NoSuchBucket" in visit(chamber, "no-such-bucket-here", "/")[2]


def test_redirects(chamber, s3, site):
    s3.put_object(Bucket=site, Key="old", Body=b"", WebsiteRedirectLocation="/docs/")
    status, headers, _ = visit(chamber, site, "/old")
    assert (status, headers["Location"]) == (301, "/docs/")
    assert s3.head_object(Bucket=site, Key="old")["WebsiteRedirectLocation"] == "/docs/"
    refused("InvalidRedirectLocation", s3.put_object, Bucket=site, Key="bad", Body=b"", WebsiteRedirectLocation="docs")
    rules = [
        {"Condition": {"KeyPrefixEquals": "a/"}, "Redirect": {"ReplaceKeyPrefixWith": "b/", "HttpRedirectCode": "302"}},
        {
            "Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "gone"},
            "Redirect": {"HostName": "example.com", "Protocol": "https", "ReplaceKeyWith": "new"},
        },
    ]
    s3.put_bucket_website(Bucket=site, WebsiteConfiguration={**SITE, "RoutingRules": rules})
    status, headers, _ = visit(chamber, site, "/a/c")
    assert status == 302
    assert headers["Location"].endswith("/b/c")
    status, headers, _ = visit(chamber, site, "/gone1")
    assert (status, headers["Location"]) == (301, "https://example.com/new")
    everything = {"RedirectAllRequestsTo": {"HostName": "example.org", "Protocol": "https"}}
    s3.put_bucket_website(Bucket=site, WebsiteConfiguration=everything)
    assert visit(chamber, site, "/x")[1]["Location"] == "https://example.org/x"


@pytest.mark.parametrize(
    ("code", "wrong"),
    [
        ("InvalidArgument", {"IndexDocument": {"Suffix": "a/b"}}),
        ("InvalidArgument", {"ErrorDocument": {"Key": "e"}}),
        ("InvalidArgument", {"RedirectAllRequestsTo": {"HostName": "h"}, "IndexDocument": {"Suffix": "i"}}),
        (
            "InvalidRequest",
            {"IndexDocument": {"Suffix": "i"}, "RoutingRules": [{"Condition": {}, "Redirect": {"HostName": "h"}}]},
        ),
    ],
)
def test_what_is_no_website_is_refused(s3, bucket, code, wrong):
    refused(code, s3.put_bucket_website, Bucket=bucket, WebsiteConfiguration=wrong)
