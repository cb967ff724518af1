# SPDX-License-Identifier: Apache-2.0
"""Signatures made by botocore's own signers, verified; tampered copies, refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchamber.base.body import Held, read_all
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import ANONYMOUS, Credential, Principal
from cloudchamber.front.authenticate import Authenticated, authenticate, wrap
from cloudchamber.wire.errors import InvalidClientTokenId
from cloudchamber.wire.http import Headers, HttpRequest
from cloudchamber.wire.route import Offered, is_form, route

KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token+/=1"
OFFERED = Offered({"s3": (), "lambda": (), "sts": (), "ec2": ()})
ROOT = Principal("root", "000000000000", "arn:aws:iam::000000000000:root", access_key_id=KEY)
HOST = "http://127.0.0.1:4566"


class OneKey:
    """Identities with one key."""

    def credential(self, access_key_id: str, session_token: str, now: datetime) -> Credential:
        if access_key_id != KEY or session_token not in ("", TOKEN):
            raise InvalidClientTokenId()
        return Credential(KEY, SECRET, ROOT, session_token)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def signed(
    signer: Any,
    method: str,
    target: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    *,
    trailer: bool = False,
) -> tuple[HttpRequest, bytes]:
    request = AWSRequest(method=method, url=HOST + target, data=body, headers=headers or {})
    if trailer:
        request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    signer.add_auth(request)
    prepared = request.prepare()
    path, _, query = prepared.url.removeprefix(HOST).partition("?")
    sent = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in prepared.headers.items()}
    return HttpRequest(method, path, query, Headers({"Host": "127.0.0.1:4566", **sent}.items())), body


def check(request: HttpRequest, body: bytes, at: datetime | None = None) -> Authenticated:
    form = body if is_form(request) else None
    routed = route(request, form, OFFERED)
    first = None if routed.service == "s3" else body
    return authenticate(request, routed, first, OneKey(), "us-east-1", at or now())  # type: ignore[arg-type]


def credentials(token: str | None = None) -> Credentials:
    return Credentials(KEY, SECRET, token)


PATHS = st.text(st.sampled_from("abc/ .-_~+%é&=*'()!,:;@$"), min_size=1, max_size=12).map(lambda p: "/bucket/" + p)
QUERIES = st.dictionaries(st.sampled_from(["prefix", "list-type", "x", "a b"]), st.text(max_size=6), max_size=3)


def quoted(path: str, query: dict[str, str]) -> str:
    return quote(path, safe="/~") + ("?" + urlencode(query, quote_via=quote) if query else "")


@settings(deadline=None)
@given(path=PATHS, query=QUERIES, body=st.binary(max_size=30), token=st.sampled_from([None, TOKEN]))
def test_s3_header(path: str, query: dict[str, str], body: bytes, token: str | None) -> None:
    signer = S3SigV4Auth(credentials(token), "s3", "us-east-1")
    headers = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest(), "x-amz-meta-a": "  b   c "}
    request, _ = signed(signer, "PUT", quoted(path, query), body, headers)
    assert check(request, body).principal is ROOT
    with pytest.raises(ServiceError) as error:
        check(HttpRequest("DELETE", request.path, request.query, request.headers), body)
    assert error.value.code == "SignatureDoesNotMatch"
    assert "CanonicalRequest" in error.value.members


@settings(deadline=None)
@given(path=PATHS, query=QUERIES, token=st.sampled_from([None, TOKEN]))
def test_s3_presigned(path: str, query: dict[str, str], token: str | None) -> None:
    signer = S3SigV4QueryAuth(credentials(token), "s3", "eu-west-1", expires=60)
    request, _ = signed(signer, "GET", quoted(path, query))
    found = check(request, b"")
    assert (found.how, found.region) == ("query", "eu-west-1")
    with pytest.raises(ServiceError) as error:
        check(HttpRequest("GET", request.path + "x", request.query, request.headers), b"")
    assert error.value.code == "SignatureDoesNotMatch"
    with pytest.raises(ServiceError) as error:
        check(request, b"", now() + timedelta(seconds=90))
    assert (error.value.code, error.value.message) == ("AccessDenied", "Request has expired")


@settings(deadline=None)
@given(path=PATHS, query=st.sampled_from([{}, {"versionId": "a b"}, {"uploadId": "x", "partNumber": "1"}, {"acl": ""}]))
def test_s3_presigned_v2(path: str, query: dict[str, str]) -> None:
    for token in (None, TOKEN):
        signer = HmacV1QueryAuth(credentials(token), expires=60)
        request, _ = signed(signer, "GET", quoted(path, query).replace("acl=", "acl"))
        assert check(request, b"").principal is ROOT
        with pytest.raises(ServiceError) as error:
            check(HttpRequest("PUT", request.path, request.query, request.headers), b"")
        assert error.value.code == "SignatureDoesNotMatch"
        with pytest.raises(ServiceError) as error:
            check(request, b"", now() + timedelta(seconds=90))
        assert error.value.code == "AccessDenied"


@settings(deadline=None)
@given(
    path=st.text(st.sampled_from("ab/.:%é "), max_size=10).map(lambda p: f"/2015-03-31/functions/x{p}x"), query=QUERIES
)
def test_other_service_header(path: str, query: dict[str, str]) -> None:
    body = b'{"a": 1}'
    request, _ = signed(SigV4Auth(credentials(), "lambda", "us-east-1"), "POST", quoted(path, query), body)
    assert check(request, body).principal is ROOT
    with pytest.raises(ServiceError) as error:
        check(request, body + b" ")
    assert error.value.code == "InvalidSignatureException"


def test_presigned_get_caller_identity() -> None:
    signer = SigV4QueryAuth(credentials(), "sts", "us-east-1", expires=60)
    request, body = signed(signer, "GET", "/?Action=GetCallerIdentity&Version=2011-06-15")
    assert check(request, body).how == "query"


FORM = b"Action=GetCallerIdentity&Version=2011-06-15"
FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(("shift_s", "text"), [(3600, "Signature expired"), (-3600, "Signature not yet current")])
def test_clock(shift_s: int, text: str) -> None:
    request, body = signed(SigV4Auth(credentials(), "sts", "us-east-1"), "POST", "/", FORM, FORM_HEADERS)
    with pytest.raises(ServiceError, match=text) as error:
        check(request, body, now() + timedelta(seconds=shift_s))
    assert error.value.code == "SignatureDoesNotMatch"
    request, body = signed(S3SigV4Auth(credentials(), "s3", "us-east-1"), "GET", "/b/k")
    with pytest.raises(ServiceError) as error:
        check(request, body, now() + timedelta(seconds=shift_s))
    assert error.value.code == "RequestTimeTooSkewed"


def test_unknown_keys() -> None:
    nobody = Credentials("AKIDNOBODY", SECRET)
    wanted = {"sts": "InvalidClientTokenId", "ec2": "AuthFailure"}
    for service, code in wanted.items():
        action = FORM if service == "sts" else b"Action=DescribeVpcs&Version=2016-11-15"
        request, body = signed(SigV4Auth(nobody, service, "us-east-1"), "POST", "/", action, FORM_HEADERS)
        with pytest.raises(ServiceError) as error:
            check(request, body)
        assert error.value.code == code
    request, body = signed(S3SigV4Auth(nobody, "s3", "us-east-1"), "GET", "/b/k")
    with pytest.raises(ServiceError) as error:
        check(request, body)
    assert (error.value.code, error.value.members["AWSAccessKeyId"]) == ("InvalidAccessKeyId", "AKIDNOBODY")


def plain(target: str, method: str = "GET", **headers: str) -> HttpRequest:
    path, _, query = target.partition("?")
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    return HttpRequest(method, path, query, Headers({"host": "127.0.0.1:4566", **named}.items()))


def test_unsigned() -> None:
    assert check(plain("/b/k"), b"").principal is ANONYMOUS
    with pytest.raises(ServiceError) as error:
        check(plain("/", "POST", content_type=FORM_HEADERS["Content-Type"]), FORM)
    assert (error.value.code, error.value.status) == ("MissingAuthenticationToken", 403)


BAD = [
    ("/b/k", {"authorization": "AWS4-HMAC-SHA256 nonsense"}, "AuthorizationHeaderMalformed"),
    ("/b/k", {"authorization": "Bearer x"}, "InvalidArgument"),
    (
        "/b/k",
        {"authorization": "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=x"},
        "AuthorizationHeaderMalformed",
    ),
    ("/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", {}, "AuthorizationQueryParametersError"),
    ("/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256", {"authorization": "AWS4-HMAC-SHA256 x"}, "InvalidArgument"),
    ("/b/k?AWSAccessKeyId=a", {}, "AccessDenied"),
    ("/b/k", {"authorization": "AWS nocolon"}, "InvalidArgument"),
]


@pytest.mark.parametrize(("target", "headers", "code"), BAD)
def test_bad_claims(target: str, headers: dict[str, str], code: str) -> None:
    with pytest.raises(ServiceError) as error:
        check(plain(target, **headers), b"")
    assert error.value.code == code


@pytest.mark.parametrize(
    ("expires", "text"), [("x", "should be a number"), ("-1", "non-negative"), ("604801", "less than a week")]
)
def test_presigned_expiry(expires: str, text: str) -> None:
    request, _ = signed(S3SigV4QueryAuth(credentials(), "s3", "us-east-1", expires=60), "GET", "/b/k")
    query = request.query.replace("X-Amz-Expires=60", f"X-Amz-Expires={expires}")
    with pytest.raises(ServiceError, match=text):
        check(HttpRequest("GET", request.path, query, request.headers), b"")


def test_unsigned_amz_header_is_refused() -> None:
    request, _ = signed(S3SigV4Auth(credentials(), "s3", "us-east-1"), "GET", "/b/k")
    headers = Headers([*request.headers.items, ("x-amz-acl", "public-read")])
    with pytest.raises(ServiceError) as error:
        check(HttpRequest("GET", request.path, request.query, headers), b"")
    assert error.value.members["HeadersNotSigned"] == "x-amz-acl"


async def test_payload_hash() -> None:
    signer = S3SigV4Auth(credentials(), "s3", "us-east-1")
    headers = {"X-Amz-Content-SHA256": hashlib.sha256(b"abc").hexdigest()}
    request, _ = signed(signer, "PUT", "/b/k", b"abc", headers)
    rule = check(request, b"").payload
    assert await read_all(wrap(Held(b"abc"), rule), 10) == b"abc"
    with pytest.raises(ServiceError) as error:
        await read_all(wrap(Held(b"abd"), rule), 10)
    assert error.value.code == "XAmzContentSHA256Mismatch"


async def test_unsigned_trailer() -> None:
    signer = S3SigV4Auth(credentials(), "s3", "us-east-1")
    headers = {
        "x-amz-decoded-content-length": "3",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }
    request, _ = signed(signer, "PUT", "/b/k", b"", headers, trailer=True)
    body = wrap(Held(b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n"), check(request, b"").payload)
    assert body.length == 3
    assert await read_all(body, 10) == b"abc"
    assert body.trailers == {"x-amz-checksum-crc32": "NSRBwg=="}
