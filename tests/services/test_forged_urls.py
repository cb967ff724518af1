# SPDX-License-Identifier: Apache-2.0
"""Attacks on function URLs: whoever is not signed by a key of this chamber, for this request, gets in by no header."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.conftest import ROOT_KEY
from tests.services.lambda_.functions import function

ECHO = "def handler(event, context):\n    return event\n"
NAME = "forged"
ROOT = ROOT_KEY.partition(":")
SCOPE = "20261123/us-east-1/lambda/aws4_request"
HMAC = f"AWS4-HMAC-SHA256 Credential={ROOT[0]}/{SCOPE}"
IDENTITY = json.dumps({"authorizer": {"iam": {"userArn": "arn:aws:iam::000000000000:root"}}})
FORGED = {
    "nothing": {},
    "an identity of its own": {"X-Amzn-Request-Context": IDENTITY, "X-Amz-User-Arn": ROOT[0]},
    "a service's name": {"X-Amz-Source-Arn": "arn:aws:s3:::b", "User-Agent": "lambda.amazonaws.com"},
    "an address of the machine": {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"},
    "a key without its secret": {
        "Authorization": f"{HMAC}, SignedHeaders=host, Signature={'0' * 64}",
        "X-Amz-Date": "20261123T120000Z",
    },
    "no signature at all": {"Authorization": f"{HMAC}, SignedHeaders=, Signature="},
    "an older way to sign": {"Authorization": f"AWS {ROOT[0]}:AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
    "a password": {"Authorization": "Basic cm9vdDpyb290"},
    "a token of nobody": {"X-Amz-Security-Token": "x" * 300, "Authorization": "Bearer x"},
}  # fmt: skip


@pytest.fixture(scope="module")
def url(chamber: Any) -> str:
    client = function(chamber, NAME, ECHO)
    return client.create_function_url_config(FunctionName=NAME, AuthType="AWS_IAM")["FunctionUrl"]


def ask(url: str, headers: dict[str, str], path: str = "/") -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port, timeout=60)
    connection.request("GET", path, None, {"Host": parts.netloc, **headers})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.mark.parametrize("what", FORGED)
def test_no_header_lets_in(url: str, what: str) -> None:
    assert ask(url, FORGED[what])[0] in (400, 403)


def signed(url: str, secret: str = ROOT[2], service: str = "lambda") -> dict[str, str]:
    request = AWSRequest("GET", url)
    SigV4Auth(Credentials(ROOT[0], secret), service, "us-east-1").add_auth(request)
    return dict(request.headers)


def test_a_signature_is_for_one_request(url: str) -> None:
    right = signed(url)
    assert ask(url, right)[0] == 200
    assert ask(url, right, "/other")[0] == 403
    assert ask(url, right, "/?admin=1")[0] == 403
    assert ask(url, {**right, "X-Amz-Date": "20200101T000000Z"})[0] == 403
    assert ask(url, signed(url, secret="guessed"))[0] == 403
    assert ask(url, signed(url, service="s3"))[0] == 403
    elsewhere = url.replace(urlsplit(url).netloc.partition(".")[0], "a" * 32)
    assert ask(url, signed(elsewhere))[0] == 403


def test_who_calls_is_not_what_the_headers_say(url: str) -> None:
    status, body = ask(url, {**signed(url), **FORGED["an identity of its own"], **FORGED["an address of the machine"]})
    context = json.loads(body)["requestContext"]
    assert status == 200
    assert context["authorizer"]["iam"]["accessKey"] == ROOT[0]
    forged = {**signed(url), "X-Forwarded-For": "203.0.113.9"}
    assert json.loads(ask(url, forged)[1])["requestContext"]["http"]["sourceIp"] != "203.0.113.9"
