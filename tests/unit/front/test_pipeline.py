# SPDX-License-Identifier: Apache-2.0
"""The pipeline with two small services of the test's own: every failure answers, nothing secret is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloudchamber.base.body import Held
from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.contract.call import Call, Doors
from cloudchamber.contract.identity import Credential, Principal
from cloudchamber.contract.operation import Need, nothing, operation
from cloudchamber.contract.service import Service
from cloudchamber.front.incoming import BodyCut
from cloudchamber.front.pipeline import Pipeline
from cloudchamber.policy.evaluate import IdentityPolicies
from cloudchamber.track.track import Segment
from cloudchamber.wire.errors import InvalidClientTokenId
from cloudchamber.wire.http import Headers, HttpReply, HttpRequest

KEY, SECRET, TOKEN = "ASIAEXAMPLE", "very/secret", "a-session-token-that-nobody-may-keep"
ANN = Principal("user", "000000000000", "arn:aws:iam::000000000000:user/ann", access_key_id=KEY)
TRACK = "1-5759e988-bd862e3fe1be46a994272793"


def _put_needs(call: Call, request: Mapping[str, Any]) -> Iterator[Need]:
    yield Need("s3:PutObject", f"arn:aws:s3:::{request['Bucket']}/{request['Key']}")


@operation("PutObject", needs=_put_needs)
async def put_object(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    raise AssertionError("nobody is allowed to")


@operation("GetObject", needs=nothing)
async def get_object(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    if request["Key"] == "bug":
        raise KeyError("a bug of ours, about a secret")
    if request["Key"] == "overflow":
        raise OverflowError("not about a body")
    raise ServiceError("no such thing")


@operation("PutBucketPolicy", needs=nothing)
async def put_bucket_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    return {}


@operation("GetCallerIdentity", needs=nothing)
async def get_caller_identity(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    call.note(peer=call.peer)
    return {"Account": call.account, "Arn": call.principal.arn, "UserId": "x"}


class OneKey:
    def credential(self, access_key_id: str, session_token: str, now: datetime) -> Credential:
        if access_key_id != KEY:
            raise InvalidClientTokenId
        return Credential(KEY, SECRET, ANN, TOKEN)

    def policies(self, principal: Principal) -> IdentityPolicies:
        return IdentityPolicies()

    def resource_controls(self, account: str) -> None:
        return None

    def organization(self, account: str) -> None:
        return None


class Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Kept(list[Segment]):
    def record(self, segment: Segment) -> None:
        self.append(segment)


class Unread:
    """A body that must not be read."""

    length = 10
    trailers: Mapping[str, str] = {}

    async def __aiter__(self) -> Any:
        raise AssertionError("the body was read before IAM said yes")
        yield b""


class Cut(Held):
    def at_once(self, limit: int) -> bytes | None:
        return None

    async def __aiter__(self) -> Any:
        yield b"half"
        raise BodyCut("gone")


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def pipeline(kept: Kept) -> Pipeline:
    services = {
        "s3": Service("s3", MappingProxyType({o.name: o for o in (put_object, get_object, put_bucket_policy)})),
        "sts": Service("sts", MappingProxyType({"GetCallerIdentity": get_caller_identity})),
    }
    made = Pipeline()
    rest: Any = SimpleNamespace(changes=0, stamp=0, settled=0, reading=False)
    doors = Doors(
        account="000000000000", region="us-east-1", endpoint="http://127.0.0.1:4566", folder=rest, clock=Clock(),
        database=rest, outbox=rest, recorder=kept, sandboxes=rest, authority=rest, identities=OneKey(),  # type: ignore[arg-type]
        services=services, ask=made.ask, parts={},
    )  # fmt: skip
    made.open(doors)
    return made


def request(method: str, target: str, headers: Mapping[str, str] | None = None) -> HttpRequest:
    path, _, query = target.partition("?")
    given = {"host": "127.0.0.1:4566", **(headers or {})}
    return HttpRequest(method, path, query, Headers(given.items()))


def signed(form: str, *, secret: str = SECRET) -> tuple[HttpRequest, Held]:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    asked = AWSRequest("POST", "http://127.0.0.1:4566/", headers=headers, data=form.encode())
    SigV4Auth(Credentials(KEY, secret, TOKEN), "sts", "us-east-1").add_auth(asked)
    return request("POST", "/", {"host": "127.0.0.1:4566", **dict(asked.headers.items())}), Held(form.encode())


async def text(reply: HttpReply) -> str:
    assert isinstance(reply.body, bytes)
    return reply.body.decode()


async def test_a_call_is_answered_and_tracked(pipeline: Pipeline, kept: Kept) -> None:
    asked, body = signed("Action=GetCallerIdentity&Version=2011-06-15")
    asked = HttpRequest(
        "POST", "/", "", Headers([*asked.headers.items, ("x-amzn-trace-id", f"Root={TRACK};Parent=53995c3f42cd8ad8")])
    )
    reply = await pipeline.handle(asked, body)  # type: ignore[arg-type]
    assert reply.status == 200
    assert ANN.arn in await text(reply)
    assert ("X-Amzn-Trace-Id", f"Root={TRACK}") in reply.headers
    (segment,) = kept
    assert (segment.track_id, segment.parent_id) == (TRACK, "53995c3f42cd8ad8")
    assert (segment.service, segment.name, segment.principal) == ("sts", "GetCallerIdentity", ANN.arn)
    assert segment.ended >= segment.started > 0
    assert dict(reply.headers).get("x-amzn-RequestId") == segment.request_id


@pytest.mark.parametrize("header", ["", "Root=evil", "Root=1-zz-zz", ";;=;Root", f"Self={TRACK}", "Root=" + "1" * 9999])
async def test_trace_headers_that_are_none_begin_a_track(pipeline: Pipeline, kept: Kept, header: str) -> None:
    await pipeline.handle(request("GET", "/b/k", {"x-amzn-trace-id": header}), Held(b""))  # type: ignore[arg-type]
    assert kept[0].track_id.startswith("1-")
    assert kept[0].track_id != TRACK


async def test_iam_decides_before_an_upload_is_read(pipeline: Pipeline, kept: Kept) -> None:
    reply = await pipeline.handle(request("PUT", "/b/k", {"content-length": "10"}), Unread())  # type: ignore[arg-type]
    assert reply.status == 403
    assert "AccessDenied" in await text(reply)
    (segment,) = kept
    assert segment.error == "AccessDenied"
    assert [d["allowed"] for d in segment.decisions] == [False]
    assert segment.resource == "arn:aws:s3:::b/k"


@pytest.mark.parametrize("key", ["bug", "overflow"])
async def test_a_bug_is_an_internal_error_that_tells_the_client_nothing(
    pipeline: Pipeline, kept: Kept, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await pipeline.handle(request("GET", f"/b/{key}"), Held(b""))  # type: ignore[arg-type]
    assert reply.status == 500
    assert "secret" not in await text(reply)
    assert kept[0].status == 500
    assert kept[0].request_id in caplog.text


async def test_other_failures_answer_too(pipeline: Pipeline, kept: Kept) -> None:
    handle = pipeline.handle
    for asked, body, status in (
        (request("GET", "/b/k"), b"", 500),
        (request("PATCH", "/b/k"), b"", 405),
        (request("GET", "/b?metadataTable"), b"", 501),
        (request("PUT", "/b?policy"), b"x" * 9_000_000, 413),
        (request("POST", "/", {"content-type": "application/x-www-form-urlencoded"}), b"A" * 3_000_000, 413),
        (
            request("POST", "/", {"x-amz-target": "Nothing.Here", "content-type": "application/x-amz-json-1.1"}),
            b"",
            400,
        ),
    ):
        reply = await handle(asked, Held(body))  # type: ignore[arg-type]
        assert 400 <= reply.status < 600
        if status in (413, 500, 501):
            assert reply.status == status, (asked, await text(reply))
    assert all(s.error and s.ended for s in kept)


async def test_a_client_that_goes_is_recorded_and_not_answered(pipeline: Pipeline, kept: Kept) -> None:
    with pytest.raises(BodyCut):
        await pipeline.handle(request("PUT", "/b?policy"), Cut(b"half, and more"))  # type: ignore[arg-type]
    assert kept[0].error == "client disconnected"


async def test_no_secret_is_kept(pipeline: Pipeline, kept: Kept, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "cloudchamber")
    asked, body = signed("Action=GetCallerIdentity&Version=2011-06-15", secret="wrong")
    reply = await pipeline.handle(asked, body)  # type: ignore[arg-type]
    assert "SignatureDoesNotMatch" in await text(reply)
    presigned = f"/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Security-Token={TOKEN}&X-Amz-Signature=5166"
    await pipeline.handle(request("GET", presigned), Held(b""))  # type: ignore[arg-type]
    await pipeline.handle(request("GET", "/b/k", {"authorization": f"Basic {TOKEN}"}), Held(b""))  # type: ignore[arg-type]
    signature = asked.headers.get("authorization").rpartition("=")[2]
    for told in (repr(list(kept)), caplog.text):
        for secret in (TOKEN, SECRET, signature, "5166"):
            assert secret not in told
    assert all(s.error for s in kept)


async def test_calls_from_inside_are_checked_authorized_and_tracked(pipeline: Pipeline, kept: Kept) -> None:
    with pytest.raises(ServiceError) as missing:
        await pipeline.ask("s3", "GetObject", {"Bucket": "b"}, principal=ANN)
    assert missing.value.status == 400
    with pytest.raises(AccessDenied, match="not authorized to perform: s3:PutObject"):
        await pipeline.ask("s3", "PutObject", {"Bucket": "b", "Key": "k", "Body": Held(b"")}, principal=ANN)
    with pytest.raises(ServiceError, match="does not implement"):
        await pipeline.ask("ec2", "RunInstances", {}, principal=ANN)
    with pytest.raises(KeyError):
        await pipeline.ask("s3", "GetObject", {"Bucket": "b", "Key": "bug"}, principal=ANN)
    answer = await pipeline.ask("sts", "GetCallerIdentity", {}, principal=ANN)
    assert answer["Arn"] == ANN.arn
    assert [s.status for s in kept] == [400, 403, 501, 500, 200]
    assert all(s.ended for s in kept)
