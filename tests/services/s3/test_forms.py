# SPDX-License-Identifier: Apache-2.0
"""Browser-based uploads: HTML forms with policies of both signature versions, and without any."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest
import urllib3
from botocore.config import Config

from tests.conftest import ROOT_KEY, RunningChamber

ACCESS, _, SECRET = ROOT_KEY.partition(":")
BUCKET = "forms-of-test-forms"
Fields = list[tuple[str, Any]]


@pytest.fixture(scope="module")
def s3(chamber: RunningChamber) -> Any:
    client = chamber.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def post(url: str, fields: Fields, **headers: str) -> urllib3.BaseHTTPResponse:
    body, kind = urllib3.encode_multipart_formdata(fields)
    given = {"Content-Type": kind, **{n.replace("_", "-"): v for n, v in headers.items()}}
    return urllib3.request("POST", url, body=body, headers=given, redirect=False)


def presigned(chamber: RunningChamber, version: str, key: str, *, more: Any = None, conditions: Any = None) -> Any:
    client = chamber.client("s3", config=Config(signature_version=version, s3={"addressing_style": "path"}))
    return client.generate_presigned_post(BUCKET, key, Fields=more, Conditions=conditions, ExpiresIn=600)


def old(policy: dict[str, Any], **fields: str) -> Fields:
    """Fields of a form as Signature Version 2 signs it."""
    text = base64.b64encode(json.dumps(policy).encode())
    signature = base64.b64encode(hmac.digest(SECRET.encode(), text, "sha1")).decode()
    given = {n.replace("_", "-"): v for n, v in fields.items()}
    return [*given.items(), ("AWSAccessKeyId", ACCESS), ("signature", signature), ("policy", text.decode())]


def soon(minutes: int = 5) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")


def told(reply: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {e.tag: e.text or "" for e in ElementTree.fromstring(reply.data)}


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_signed_form_stores_its_file(chamber: RunningChamber, s3: Any, version: str) -> None:
    more = {"Content-Type": "text/plain", "x-amz-meta-TEST": "é", "x-amz-storage-class": "STANDARD"}
    tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>"
    more["tagging"] = tags
    form = presigned(
        chamber, version, f"{version}/${{filename}}", more=more, conditions=[{n: v} for n, v in more.items()]
    )
    reply = post(form["url"], [*form["fields"].items(), ("file", ("C:\\docs\\nöte.txt", b"hello"))])
    assert (reply.status, reply.data.decode()) == (204, "")
    assert reply.headers["Location"] == f"{chamber.endpoint}/{BUCKET}/{version}%2Fn%C3%B6te.txt"
    kept = s3.get_object(Bucket=BUCKET, Key=f"{version}/nöte.txt")
    assert kept["Body"].read() == b"hello"
    assert reply.headers["ETag"] == kept["ETag"] == f'"{hashlib.md5(b"hello").hexdigest()}"'
    assert (kept["ContentType"], kept["TagCount"]) == ("text/plain", 1)
    assert s3.get_object_tagging(Bucket=BUCKET, Key=f"{version}/nöte.txt")["TagSet"] == [{"Key": "a b", "Value": "1+2"}]


def test_success_is_told_as_the_form_wants(chamber: RunningChamber, s3: Any) -> None:
    wanted = {"200": 200, "201": 201, "204": 204, "404": 204}
    for given, status in wanted.items():
        more = {"success_action_status": given}
        form = presigned(chamber, "s3v4", "told &", more=more, conditions=[more])
        reply = post(form["url"], [*form["fields"].items(), ("file", "x")])
        assert reply.status == status
        if status == 201:
            assert told(reply) | {"ETag": ""} == {
                "Location": f"{chamber.endpoint}/{BUCKET}/told%20%26", "Bucket": BUCKET, "Key": "told &", "ETag": "",
            }  # fmt: skip
    for target, status in (("http://app.test/done?a=1", 303), ("/relative", 204), ("javascript:alert(1)", 204)):
        more = {"success_action_redirect": target}
        form = presigned(chamber, "s3v4", "told &", more=more, conditions=[more])
        reply = post(form["url"], [*form["fields"].items(), ("file", "x")])
        assert reply.status == status
        if status == 303:
            assert parse_qs(urlsplit(reply.headers["Location"]).query) == {
                "a": ["1"], "bucket": [BUCKET], "key": ["told &"], "etag": [reply.headers["ETag"]],
            }  # fmt: skip


def test_large_files_pass_through_and_what_follows_them_is_ignored(chamber: RunningChamber, s3: Any) -> None:
    body = bytes(range(256)) * 40_000
    form = presigned(chamber, "s3v4", "large")
    fields = [*form["fields"].items(), ("file", ("f", body, "image/png")), ("key", "another"), ("x", "y" * 50_000)]
    assert post(form["url"], fields).status == 204
    kept = s3.get_object(Bucket=BUCKET, Key="large")
    assert kept["Body"].read() == body
    assert kept["ContentType"] == "binary/octet-stream"


REFUSED = [
    ({"more": {"acl": "private"}}, "Extra input fields: acl"),
    ({"conditions": [{"acl": "private"}]}, 'Policy Condition failed: ["eq", "$acl", "private"]'),
    (
        {"conditions": [["starts-with", "$Content-Type", "image/"]], "more": {"Content-Type": "image/png,text/x"}},
        'Policy Condition failed: ["starts-with", "$Content-Type", "image/"]',
    ),
    (
        {"conditions": [["eq", "acl", "private"]], "more": {"acl": "private"}},
        'Policy Condition failed: ["eq", "acl", "private"]',
    ),
    (
        {"conditions": [["content-length-range", "test", "10"]]},
        'Policy Condition failed: ["content-length-range", "test", "10"]',
    ),
    ({"conditions": [{"bucket": "another"}]}, 'Policy Condition failed: ["eq", "$bucket", "another"]'),
]  # fmt: skip


@pytest.mark.parametrize(("given", "message"), REFUSED)
@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_form_that_its_policy_does_not_allow(
    chamber: RunningChamber, s3: Any, version: str, given: dict[str, Any], message: str
) -> None:
    form = presigned(chamber, version, "refused", **given)
    reply = post(form["url"], [*form["fields"].items(), ("file", "x")])
    assert (reply.status, told(reply)["Code"], told(reply)["Message"]) == (
        403,
        "AccessDenied",
        f"Invalid according to Policy: {message}",
    )
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="refused")


def test_sizes(chamber: RunningChamber, s3: Any) -> None:
    form = presigned(chamber, "s3v4", "sized", conditions=[["content-length-range", 5, "10"]])
    long = told(post(form["url"], [*form["fields"].items(), ("file", b"a" * 12)]))
    assert (long["Code"], long["ProposedSize"], long["MaxSizeAllowed"]) == ("EntityTooLarge", "12", "10")
    short = told(post(form["url"], [*form["fields"].items(), ("file", b"a")]))
    assert (short["Code"], short["ProposedSize"], short["MinSizeAllowed"]) == ("EntityTooSmall", "1", "5")
    assert post(form["url"], [*form["fields"].items(), ("file", b"a" * 3_000_000)]).status == 400
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="sized")
    assert post(form["url"], [*form["fields"].items(), ("file", b"a" * 10)]).status == 204


DOCUMENTS: list[tuple[Any, str]] = [
    ({"conditions": []}, "Invalid Policy: Policy missing expiration."),
    ({"expiration": soon()}, "Invalid Policy: Policy missing conditions."),
    ({"Expiration": soon(), "conditions": []}, "Invalid Policy: Unexpected: 'Expiration'."),
    ({"expiration": "tomorrow", "conditions": []}, "Invalid Policy: Invalid 'expiration' value: 'tomorrow'"),
    (
        {"expiration": soon(), "conditions": [{}]},
        "Invalid Policy: Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.",
    ),
    ({"expiration": soon(), "conditions": [["content-length-range", 0]]}, ""),
    ({"expiration": soon(), "conditions": [["like", "$key", "x"]]}, ""),
    ({"expiration": soon(), "conditions": [["eq", "$key", 1]]}, ""),
    ({"expiration": soon(), "conditions": "all"}, ""),
    (["x"], ""),
]  # fmt: skip


@pytest.mark.parametrize(("document", "message"), DOCUMENTS)
def test_policies_that_are_none(chamber: RunningChamber, s3: Any, document: Any, message: str) -> None:
    reply = post(f"{chamber.endpoint}/{BUCKET}", [*old(document, key="x"), ("file", "x")])
    assert (reply.status, told(reply)["Code"]) == (400, "InvalidPolicyDocument")
    assert not message or told(reply)["Message"] == message


def test_an_expired_policy(chamber: RunningChamber, s3: Any) -> None:
    policy = {"expiration": soon(-1), "conditions": [{"bucket": BUCKET}, {"key": "x"}]}
    reply = post(f"{chamber.endpoint}/{BUCKET}", [*old(policy, key="x"), ("file", "x")])
    assert (reply.status, told(reply)["Message"]) == (403, "Invalid according to Policy: Policy expired.")


def test_names_of_fields_have_no_case(chamber: RunningChamber, s3: Any) -> None:
    conditions = [{"bUcKeT": BUCKET}, ["StArTs-WiTh", "$KeY", "cas"], {"AcL": "bucket-owner-full-control"}]
    fields = old({"expiration": soon(), "conditions": conditions}, kEy="cased", aCl="bucket-owner-full-control")
    fields = [*((n.upper() if n == "policy" else n, (None, v)) for n, v in fields), ("x-ignore-me", "x")]
    assert post(f"{chamber.endpoint}/{BUCKET}", [*fields, ("file", "x")]).status == 204


@pytest.mark.parametrize(
    ("version", "gone", "argument"),
    [
        ("s3", "signature", "Signature"), ("s3", "AWSAccessKeyId", "AWSAccessKeyId"), ("s3", "policy", "Policy"),
        ("s3v4", "x-amz-signature", "X-Amz-Signature"), ("s3v4", "x-amz-algorithm", "X-Amz-Algorithm"),
        ("s3v4", "x-amz-credential", "X-Amz-Credential"), ("s3v4", "key", "key"),
    ],
)  # fmt: skip
def test_missing_fields(chamber: RunningChamber, s3: Any, version: str, gone: str, argument: str) -> None:
    form = presigned(chamber, version, "missing")
    del form["fields"][gone]
    reply = post(form["url"], [*form["fields"].items(), ("file", "x")])
    assert (reply.status, told(reply)["Code"], told(reply)["ArgumentName"]) == (400, "InvalidArgument", argument)
    assert told(reply)["Message"].startswith(f"Bucket POST must contain a field named '{argument}'.  If it is")


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_signatures_that_are_wrong(chamber: RunningChamber, s3: Any, version: str) -> None:
    form = presigned(chamber, version, "tampered")
    fields = form["fields"]
    for name in ("policy", "signature" if version == "s3" else "x-amz-signature"):
        reply = post(form["url"], [*(fields | {name: fields[name][:-2]}).items(), ("file", "x")])
        assert (reply.status, told(reply)["Code"]) == (403, "SignatureDoesNotMatch")
        if name == "policy":
            assert told(reply)["StringToSign"] == fields["policy"][:-2]
    name = "AWSAccessKeyId" if version == "s3" else "x-amz-credential"
    reply = post(form["url"], [*(fields | {name: fields[name].replace("AKIA", "AKIX")}).items(), ("file", "x")])
    assert (reply.status, told(reply)["Code"]) == (403, "InvalidAccessKeyId")
    for credential in ("", "x", "a/b/c/s3/aws4_request", fields.get(name, "").replace("/s3/", "/ec2/")):
        if version == "s3v4":
            reply = post(form["url"], [*(fields | {name: credential}).items(), ("file", "x")])
            assert reply.status == 400, credential
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="tampered")


def test_bodies_that_are_no_form(chamber: RunningChamber, s3: Any) -> None:
    url, form = f"{chamber.endpoint}/{BUCKET}", presigned(chamber, "s3v4", "broken")
    body, kind = urllib3.encode_multipart_formdata([*form["fields"].items(), ("file", "x" * 100)])

    def send(data: bytes, content_type: str = kind) -> tuple[int, str]:
        reply = urllib3.request("POST", url, body=data, headers={"Content-Type": content_type})
        return reply.status, told(reply)["Code"]

    assert send(body, "text/html") == (412, "PreconditionFailed")
    assert send(body, "multipart/form-data") == (400, "MalformedPOSTRequest")
    assert send(b"") == (400, "MalformedPOSTRequest")
    assert send(b"nonsense") == (400, "MalformedPOSTRequest")
    assert send(body[:-30]) == (400, "IncompleteBody")
    no_file, kind = urllib3.encode_multipart_formdata(list(form["fields"].items()))
    assert send(no_file, kind) == (400, "InvalidArgument")
    for flood in (("a", "x" * 30_000), *[(f"a{i}", "x" * 900) for i in range(1)]):
        much, kind = urllib3.encode_multipart_formdata([flood] * (1 if len(flood[1]) > 1000 else 400) + [("file", "x")])
        assert send(much, kind) == (400, "MaxPostPreDataLengthExceeded")
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="broken")


def test_what_the_file_must_be(chamber: RunningChamber, s3: Any) -> None:
    right = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
    form = presigned(chamber, "s3v4", "summed")
    checked = [*form["fields"].items(), ("x-amz-checksum-sha256", right)]
    assert post(form["url"], [*checked, ("file", "abd")]).status == 400
    assert post(form["url"], [*checked, ("file", "abc")]).status == 204


def test_the_signer_must_be_allowed(chamber: RunningChamber, s3: Any) -> None:
    iam = chamber.client("iam")
    iam.create_user(UserName="former")
    key = iam.create_access_key(UserName="former")["AccessKey"]
    client = chamber.client("s3", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    form = client.generate_presigned_post(BUCKET, "by-former")
    reply = post(form["url"], [*form["fields"].items(), ("file", "x")])
    assert (reply.status, told(reply)["Code"]) == (403, "AccessDenied")
    assert "is not authorized to perform: s3:PutObject" in told(reply)["Message"]
    statement = {
        "Effect": "Allow", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{BUCKET}/by-*",
        "Condition": {"StringEquals": {"s3:authType": "POST"}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName="former", PolicyName="p", PolicyDocument=document)
    assert post(form["url"], [*form["fields"].items(), ("file", "x")]).status == 204


def test_session_tokens_belong_into_the_form(chamber: RunningChamber, s3: Any) -> None:
    session = chamber.client("sts").get_session_token()["Credentials"]
    key = f"{session['AccessKeyId']}:{session['SecretAccessKey']}"
    form = chamber.client("s3", key, session["SessionToken"]).generate_presigned_post(BUCKET, "by-session")
    fields: dict[str, str] = form["fields"]
    assert post(form["url"], [*fields.items(), ("file", "x")]).status == 204
    without = {n: v for n, v in fields.items() if n != "x-amz-security-token"}
    assert told(post(form["url"], [*without.items(), ("file", "x")]))["Code"] in ("InvalidToken", "InvalidAccessKeyId")
    forged = fields | {"x-amz-security-token": "x"}
    assert told(post(form["url"], [*forged.items(), ("file", "x")]))["Code"] in ("InvalidToken", "InvalidAccessKeyId")


def test_anonymous_forms_where_the_bucket_lets(chamber: RunningChamber, s3: Any) -> None:
    bucket = "open-forms-of-test-forms"
    s3.create_bucket(Bucket=bucket)
    url = f"{chamber.endpoint}/{bucket}"
    reply = post(url, [("key", "x"), ("file", "x")])
    assert (reply.status, told(reply)["Code"], told(reply)["Message"]) == (403, "AccessDenied", "Access Denied")
    s3.delete_public_access_block(Bucket=bucket)
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/x"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert post(url, [("key", "x"), ("submit", "Send"), ("file", "x")]).status == 204
    assert post(url, [("key", "y"), ("file", "x")]).status == 403
