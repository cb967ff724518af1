# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in is answered with an error of AWS's, never with one of ours: heads, claims, chunks, bodies.

A longer run: ``HYPOTHESIS_MAX_EXAMPLES=100000 pytest tests/unit/front/test_fuzz.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from cloudchamber.base.body import Held, read_all
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.call import Doors
from cloudchamber.contract.identity import Credential, Principal
from cloudchamber.contract.operation import Operation, nothing
from cloudchamber.contract.service import Service
from cloudchamber.front import authenticate
from cloudchamber.front.authenticate import Authenticated, wrap
from cloudchamber.front.payload import PayloadRule
from cloudchamber.front.pipeline import Pipeline
from cloudchamber.policy.evaluate import IdentityPolicies
from cloudchamber.wire import model, sigv4
from cloudchamber.wire.chunked import KINDS, Signer
from cloudchamber.wire.codec import parse, streams
from cloudchamber.wire.http import Headers, HttpReply, HttpRequest
from cloudchamber.wire.route import Offered, Routed, route

EXAMPLES = int(os.environ.get("HYPOTHESIS_MAX_EXAMPLES", "150"))
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=3000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SERVICES = ("s3", "lambda", "iam", "sts", "ec2", "rds", "logs", "ssm", "secretsmanager", "cloudformation")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ANN = Principal("user", "000000000000", "arn:aws:iam::000000000000:user/ann", access_key_id="AKIDEXAMPLE")


class Reached(ServiceError):  # noqa: N818 - says what it is
    """The request got as far as the operation."""

    code = "Reached"
    status = 418


class AnyKey:
    def credential(self, access_key_id: str, session_token: str, now: datetime) -> Credential:
        return Credential(access_key_id, "secret", ANN, session_token)

    def policies(self, principal: Principal) -> IdentityPolicies:
        return IdentityPolicies()


class Clock:
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


async def reached(call: Any, request: Any) -> Any:
    for value in request.values():
        if hasattr(value, "__aiter__"):
            await read_all(value, 1 << 20)
    raise Reached("here")


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    services = {
        name: Service(
            name,
            MappingProxyType(
                {
                    o.name: Operation(o.name, nothing, reached)
                    for o in model.load(name).operations.values()
                    if o.implemented
                }
            ),
        )
        for name in SERVICES
    }
    made = Pipeline()
    rest: Any = SimpleNamespace(record=lambda segment: None, stamp=0, settled=0)
    doors = Doors(
        account="000000000000", region="us-east-1", endpoint="http://127.0.0.1:4566", folder=rest, clock=Clock(),
        database=rest, outbox=rest, recorder=rest, sandboxes=rest, authority=rest, identities=AnyKey(),
         # type: ignore[arg-type]
        services=services, ask=made.ask, parts={},
    )  # fmt: skip
    made.open(doors)
    return made


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every signature of a head counts as right, so that what comes behind it is reached."""

    def verify(*_: object) -> None:
        return None

    monkeypatch.setattr(authenticate, "verify", verify)


def answer(pipeline: Pipeline, request: HttpRequest, body: bytes) -> HttpReply:
    """The reply; ours alone to fail is what must not happen."""
    reply = asyncio.run(pipeline.handle(request, Held(body)))  # type: ignore[arg-type]
    assert reply.status < 500 or reply.status == 501, (request, body, reply)
    event(f"status {reply.status}")
    return reply


# octets that are close to what is meant

CHARACTERS = st.characters(codec="latin-1", exclude_characters="\r\n")
NOISE = st.one_of(
    st.text(CHARACTERS, max_size=20), st.sampled_from(["", " ", "%", "%zz", "%00", "%ff", "é", "\x00", "/", "=", "&",
    "+"]),
    st.sampled_from(["0", "-1", "1e9", "9" * 40, "a" * 3000, "true", "\xed\xa0\x80", "2026-11-23T12:00:00Z",
    "20261123T120000Z"]),
)  # fmt: skip


def soup(*words: str, size: int = 6) -> st.SearchStrategy[str]:
    """Words of a language in any order, with noise between."""
    return st.lists(st.one_of(st.sampled_from(words), NOISE), max_size=size).map("".join)


SCOPES = [f"AKIDEXAMPLE/20261123/us-east-1/{name}/aws4_request" for name in (*SERVICES, "nothing", "")]
AUTHORIZATIONS = st.one_of(
    st.builds(
        "AWS4-HMAC-SHA256 Credential={}, SignedHeaders={}, Signature={}".format,
        st.sampled_from(SCOPES), st.sampled_from(["host", "host;x-amz-date", "host;range;x-amz-date", ""]), NOISE,
    ),
    soup("AWS4-HMAC-SHA256", " ", "Credential=", *SCOPES, ", SignedHeaders=", "host", ";", ", Signature=", "AWS ",
    ":", ","),
)  # fmt: skip
HEADERS = st.lists(
    st.one_of(
        st.tuples(st.just("authorization"), AUTHORIZATIONS),
        st.tuples(
            st.sampled_from([
                "x-amz-date", "date", "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-trailer",
                "content-type",
                "x-amz-target", "x-amz-security-token", "content-length", "range", "if-match", "expires", "content-md5",
                "x-amz-copy-source", "x-amz-tagging", "x-amz-meta-a", "x-amz-checksum-crc32", "x-amzn-trace-id",
                "origin",
                "x-amz-expected-bucket-owner", "x-amz-object-attributes", "x-amz-max-parts", "x-amz-acl", "host",
            ]),
            st.one_of(
                NOISE,
                st.sampled_from([
                    "20261123T120000Z", "UNSIGNED-PAYLOAD", sigv4.EMPTY_SHA256, *sorted(KINDS),
                    "multipart/form-data; boundary=b",
                    "application/x-www-form-urlencoded", "application/x-amz-json-1.1", "Logs_20140328.PutLogEvents",
                    "AmazonSSM.GetParameter", "bytes=0-", "b.s3.localhost", "b.localhost:1", "lambda.localhost", "a@b",
                ]),
            ),
        ),
    ),
    max_size=8,
)  # fmt: skip
QUERIES = soup(
    "X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Credential=", *SCOPES, "X-Amz-Date=20261123T120000Z", "X-Amz-Expires=60",
    "X-Amz-SignedHeaders=host", "X-Amz-Signature=x", "AWSAccessKeyId=a", "Signature=x", "Expires=1795435200", "&", "=",
    "acl", "uploads", "uploadId=x", "partNumber=1", "versionId=", "list-type=2", "max-keys=", "Action=",
    "Version=2010-05-08",
    "Action=GetCallerIdentity", "delete", "tagging", "policy", "x-id=PutObject", "prefix=", "continuation-token=",
    size=14,
)  # fmt: skip
PATHS = st.builds(
    lambda rest: "/" + rest,
    soup(
        "bucket",
        "/",
        "key",
        "%2F",
        "..",
        "2015-03-31",
        "functions",
        "function:x",
        "invocations",
        "tags",
        "arn:aws:",
        "2018-10-31",
    ),
)
METHODS = st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"])


def requests(headers: st.SearchStrategy[list[tuple[str, str]]] = HEADERS) -> st.SearchStrategy[HttpRequest]:
    return st.builds(
        lambda method, path, query, given: HttpRequest(method, path, query, Headers([("host", "127.0.0.1:4566"),
        *given])),
        METHODS, PATHS, QUERIES, headers,
    )  # fmt: skip


@FUZZ
@given(request=requests(), body=st.binary(max_size=200))
def test_any_claim(pipeline: Pipeline, request: HttpRequest, body: bytes) -> None:
    reply = answer(pipeline, request, body)
    assert reply.status != 418 or not request.headers.get("authorization"), "nobody has signed this"


@FUZZ
@given(request=requests(), body=st.binary(max_size=200))
def test_any_request_behind_a_signature(pipeline: Pipeline, trusting: None, request: HttpRequest, body: bytes) -> None:
    signed = Headers([
        ("host", "127.0.0.1:4566"), ("x-amz-date", "20261123T120000Z"),
        *((n, v) for n, v in request.headers.items if n not in ("x-amz-date", "host") or v == "b.localhost:1"),
    ])  # fmt: skip
    answer(pipeline, HttpRequest(request.method, request.path, request.query, signed), body)


# bodies


XML = soup(
    "<Delete>", "</Delete>", "<Object>", "</Object>", "<Key>", "</Key>", "<Tagging>", "<TagSet>", "<Tag>", "</Tag>",
    "</TagSet>",
    "</Tagging>", "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "&#0;", "&lt;", "<![CDATA[", "]]>", "<a ", "xmlns='", "'",
    "/>",
    '<?xml version="1.0" encoding="', "utf-16", '"?>', "<CompleteMultipartUpload>", "<Part>", "<PartNumber>",
    "</PartNumber>",
    "<a>" * 200, "<Quiet>", "</Quiet>", size=20,
).map(lambda t: t.encode("utf-8", "surrogatepass"))  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
JSON_VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
FORM = soup(
    "Action=", "Version=2010-05-08", "&", "=", "Filter.1.Name", "Filter.1.Value.1", "Filter.", "99999999",
    ".member.", "1", "0",
    "-1", "Tags.member.1.Key", "InstanceId.1=i-1", "MaxResults=", "PolicyDocument=", "%7B", "UserName=",
    "Description=a", size=20,
).map(lambda t: t.encode("utf-8", "surrogatepass"))  # fmt: skip


def operations(*protocols: str) -> list[tuple[str, str]]:
    return [
        (name, one.name)
        for name in SERVICES
        for one in model.load(name).operations.values()
        if one.implemented and one.service.protocol in protocols
    ]


@st.composite
def spoken(draw: st.DrawFn, protocol: str) -> tuple[str, str, bytes]:
    """An operation, and a body that uses the names of its input."""
    service, operation = draw(st.sampled_from(operations(protocol)))
    members = sorted(model.load(service).operations[operation].input.get("members", {})) or ["a"]
    if protocol in ("query", "ec2"):
        pairs = draw(
            st.lists(
                st.tuples(st.sampled_from(members), soup(".member", ".1", ".", "Key", "=", "&"), NOISE), max_size=6
            )
        )
        text = f"Action={operation}&" + "&".join(f"{n}{m}={v}" for n, m, v in pairs)
        return service, operation, text.encode("utf-8", "surrogatepass") + draw(st.one_of(st.just(b""), FORM))
    value = draw(st.dictionaries(st.sampled_from(members), JSON_VALUES, max_size=4) | JSON_VALUES)
    text = json.dumps(value)
    cut = draw(st.integers(0, 3 * len(text)))
    return service, operation, text[: cut or None].encode("utf-8", "surrogatepass")


def signed_for(service: str, **more: str) -> Headers:
    claim = f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/{service}/aws4_request, "
    given = {"authorization": f"{claim}SignedHeaders=host, Signature=x", "x-amz-date": "20261123T120000Z", **more}
    return Headers([("host", "127.0.0.1:4566"), *((n.replace("_", "-"), v) for n, v in given.items())])


@pytest.mark.parametrize("protocol", ["query", "ec2"])
@FUZZ
@given(data=st.data())
def test_any_form(pipeline: Pipeline, trusting: None, protocol: str, data: st.DataObject) -> None:
    service, _, body = data.draw(spoken(protocol))
    headers = signed_for(service, content_type="application/x-www-form-urlencoded")
    answer(pipeline, HttpRequest("POST", "/", "", headers), body)


@FUZZ
@given(asked=spoken("json"))
def test_any_json(pipeline: Pipeline, trusting: None, asked: tuple[str, str, bytes]) -> None:
    service, operation, body = asked
    target = f"{model.load(service).metadata['targetPrefix']}.{operation}"
    headers = signed_for(service, content_type="application/x-amz-json-1.1", x_amz_target=target)
    answer(pipeline, HttpRequest("POST", "/", "", headers), body)


@FUZZ
@given(asked=spoken("rest-json"), labels=st.lists(NOISE, min_size=4, max_size=4), query=QUERIES)
def test_any_rest_json(
    pipeline: Pipeline, trusting: None, asked: tuple[str, str, bytes], labels: list[str], query: str
) -> None:
    service, operation, body = asked
    chosen = model.load(service).operations[operation]
    parts = chosen.uri.partition("?")[0].split("/")
    path = "/".join(labels[i % 4] if part.startswith("{") else part for i, part in enumerate(parts))
    answer(pipeline, HttpRequest(chosen.method, path, query, signed_for(service)), body)


@FUZZ
@given(target=st.sampled_from(operations("rest-xml")), body=XML, headers=HEADERS)
@example(target=("s3", "DeleteObjects"), body=b"", headers=[("content-md5", "\x80")])
def test_any_xml(target: tuple[str, str], body: bytes, headers: list[tuple[str, str]]) -> None:
    operation = model.load("s3").operations[target[1]]
    given_headers = Headers([*signed_for("s3").items, *headers])
    path = operation.uri.partition("?")[0].replace("{Bucket}", "bucket").replace("{Key+}", "key")
    query = operation.uri.partition("?")[2]
    request = HttpRequest(operation.method, path, query, given_headers)
    routed: Routed = route(request, None, Offered(dict.fromkeys(SERVICES, ())))
    if routed.error is not None or routed.model is None:
        return
    try:
        parse(routed, request, Held(body) if streams(routed) else body)
    except ServiceError as error:
        assert error.status < 500 or error.status == 501


SIGNER = Signer(sigv4.signing_pads("secret", "20261123", "us-east-1", "s3"), "20261123T120000Z", "scope", "0" * 64)
CHUNKS = soup(
    "0", "3", "a", "ffff", "\r\n", ";chunk-signature=", "0" * 64, "abc", "x-amz-checksum-crc32:", "NSRBwg==",
    "x-amz-trailer-signature:",
    size=20,
).map(lambda t: t.encode("utf-8", "surrogatepass"))  # fmt: skip


class Pieces:
    """A body in pieces."""

    trailers: Mapping[str, str] = MappingProxyType({})

    def __init__(self, data: bytes, step: int) -> None:
        self.length = len(data)
        self._pieces = [data[i : i + step] for i in range(0, len(data), step)]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@FUZZ
@given(
    data=CHUNKS,
    step=st.integers(1, 50),
    length=st.integers(0, 70),
    signed=st.booleans(),
    trailers=st.booleans(),
)
def test_any_chunks(data: bytes, step: int, length: int, signed: bool, trailers: bool) -> None:
    rule = PayloadRule(
        length=length, signer=SIGNER if signed else None, trailers=trailers or not signed,
        announced=frozenset(["x-amz-checksum-crc32"] if trailers else []), chunks=True,
    )  # fmt: skip
    try:
        whole = asyncio.run(read_all(wrap(Pieces(data, step), rule), 1 << 20))
    except ServiceError as error:
        assert error.status in (400, 403)
    else:
        assert len(whole) == length
        assert not signed, "nobody has signed this"


FORM_DATA = soup(
    "--b", "--", "\r\n", "Content-Disposition: form-data; name=", '"key"', '"file"', '"policy"', '; filename="x"',
    "Content-Type: a/b",
    '"x-amz-credential"', '"x-amz-signature"', '"x-amz-algorithm"', '"x-amz-date"', '"acl"', '"tagging"',
    "${filename}", "e30=",
    '"awsaccesskeyid"', '"signature"', '"success_action_redirect"', "http://[", "AWS4-HMAC-SHA256",
    "20261123T120000Z", SCOPES[0],
    size=40,
).map(lambda t: b"--b\r\n" + t.encode("utf-8", "surrogatepass"))  # fmt: skip


@FUZZ
@given(body=FORM_DATA)
def test_any_html_form(pipeline: Pipeline, body: bytes) -> None:
    headers = Headers([("host", "127.0.0.1:4566"), ("content-type", "multipart/form-data; boundary=b")])
    reply = answer(pipeline, HttpRequest("POST", "/bucket", "", headers), body)
    assert isinstance(reply.body, bytes)


def test_a_credential_shows_no_secret() -> None:
    """What a failing assertion or a log would print of one."""
    shown = repr(Authenticated(ANN, "", "", Credential("a", "very-secret", ANN, "a-token")))
    assert "very-secret" not in shown
    assert "a-token" not in shown
