# SPDX-License-Identifier: Apache-2.0
"""Function URLs at work: requests by HTTP for the hosts of addresses, to events and back.

IAM decides as on AWS: `lambda:InvokeFunctionUrl` and `lambda:InvokeFunction` on the function or alias, with
`lambda:FunctionUrlAuthType` and `lambda:InvokedViaFunctionUrl`. Source: Lambda Developer Guide, "Control access to
Lambda function URLs".
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.base import ids
from cloudchamber.base.body import read_all
from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.contract.identity import ANONYMOUS
from cloudchamber.contract.operation import Need
from cloudchamber.services.lambda_ import downloads, tables, url_events, url_tables
from cloudchamber.services.lambda_.environment import Work
from cloudchamber.services.lambda_.names import Reference
from cloudchamber.services.lambda_.relay import Relay
from cloudchamber.track.track import HEADER, Segment, Trace, segment_id
from cloudchamber.wire.http import HttpReply
from cloudchamber.wire.route import host_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.services.lambda_.part import LambdaPart
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.services.lambda_.url_tables import FunctionUrl
    from cloudchamber.wire.http import HttpRequest

PRELUDE = "application/vnd.awslambda.http-integration-response"
_MARK = b"\0" * 8
_PRELUDE_MAX = 64 * 1024
_BODY_MAX = 6 * 1024 * 1024
_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)
_log = logging.getLogger(__name__)


class _Front(Protocol):
    def answer(self, claims: Callable[[str], bool], inside: Any) -> None: ...
    def identify(self, request: HttpRequest, body: bytes, service: str) -> Principal: ...
    def permit(
        self, principal: Principal, need: Need, trace: Trace | None, *, service: str, name: str, peer: str = ...
    ) -> dict[str, Any]: ...


def claims(host: str) -> bool:
    """Whether a host name is a function URL's, or that of packages."""
    return host == downloads.HOST or (".lambda-url." in host and url_tables.HOST.fullmatch(host) is not None)


def _said(status: int, message: str | None, **more: str) -> HttpReply:
    body = json.dumps({"Message": message, **more}).encode()
    return HttpReply(status, [("Content-Type", "application/json")], body)


def _failed() -> HttpReply:
    """The function did not answer, or not with a reply; the words as recorded on AWS."""
    return HttpReply(502, [("Content-Type", "application/json")], b"Internal Server Error")


class UrlDoor:
    """Answers every request for the hosts that `claims` knows."""

    def __init__(self, doors: Doors, part: LambdaPart) -> None:
        self._doors = doors
        self._part = part
        self._front: _Front

    def open(self) -> None:
        """Begin to answer."""
        self._front = self._doors.parts["front"]
        self._front.answer(claims, self)

    async def handle(self, request: HttpRequest, body: Body) -> HttpReply:
        """The reply to one request; never raises, except when the client is gone."""
        host = host_of(request)
        if host == downloads.HOST:
            return self._part.downloads.answer(request)
        named = url_tables.HOST.fullmatch(host)
        found = self._doors.database.read(lambda db: url_tables.by_id(db, named["id"] if named else ""))
        if found is None:
            refused = _said(403, None)  # as AWS does not say which addresses there are
            refused.headers.append(("x-amzn-ErrorType", "AccessDeniedException"))
            return refused
        cors: Mapping[str, Any] = found.document.get("Cors") or {}
        origin, asked = request.headers.get("origin"), request.headers.get("access-control-request-method")
        if cors and request.method == "OPTIONS" and origin and asked:
            return HttpReply(200, url_events.preflight(cors, origin, asked))
        reply = await self._tracked(found, request, body)
        given = url_events.cors_headers(cors, origin)
        names = {name.lower() for name, _ in given}
        reply.headers = [*((n, v) for n, v in reply.headers if n.lower() not in names), *given]
        return reply

    async def _tracked(self, found: FunctionUrl, request: HttpRequest, body: Body) -> HttpReply:
        now = self._doors.clock.now()
        trace = Trace.parse(request.headers.get("x-amzn-trace-id")) or Trace.begin(int(now.timestamp()))
        segment = Segment(trace.track_id, segment_id(), trace.parent_id, "lambda", "Function URL", now.timestamp())
        segment.request_id, segment.resource = ids.request_id(), found.asked_arn
        segment.notes = {"method": request.method, "path": request.path[:200]}
        try:
            reply = await self._answer(found, request, body, segment, trace)
            segment.status = reply.status
        except OverflowError:
            reply = _said(413, "Request Too Long")
            segment.status = 413
        except ServiceError as error:
            segment.status, segment.error = error.status, error.code
            segment.notes["message"] = error.message[:500]
            reply = _refused(error)
        finally:
            segment.ended = self._doors.clock.now().timestamp()
            self._doors.recorder.record(segment)
        reply.headers += [("x-amzn-RequestId", segment.request_id), (HEADER, f"Root={segment.track_id}")]
        return reply

    async def _answer(
        self, found: FunctionUrl, request: HttpRequest, body: Body, segment: Segment, trace: Trace
    ) -> HttpReply:
        data = await read_all(body, _BODY_MAX)
        signed = found.document["AuthType"] == "AWS_IAM"
        caller = self._front.identify(request, data, "lambda") if signed else ANONYMOUS
        segment.principal = caller.name
        handed = segment.trace(trace.lineage)
        self._permit(found, caller, handed, request.peer)
        reference = Reference(found.arn, found.qualifier)
        function = self._doors.database.read(lambda db: tables.chosen(db, reference, ids.fraction()))
        if not function.ready:
            await self._part.settled(function.arn)
            function = self._doors.database.read(lambda db: tables.chosen(db, reference, ids.fraction()))
        event = url_events.event(
            request, data, caller if signed else None, url_id=found.id, host=host_of(request),
            request_id=segment.request_id, now=self._doors.clock.now(),
        )  # fmt: skip
        event["headers"] |= {
            "x-forwarded-for": request.peer,
            "x-forwarded-proto": request.scheme,
            "x-forwarded-port": request.headers.get("host").rpartition(":")[2],
            "x-amzn-trace-id": f"Root={segment.track_id}",
        }
        payload = json.dumps(event, separators=(",", ":")).encode()
        work = Work(segment.request_id, payload, handed)
        if found.document.get("InvokeMode") == "RESPONSE_STREAM":
            return await self._streaming(function, work)
        return await self._buffered(function, work)

    def _permit(self, found: FunctionUrl, caller: Principal, trace: Trace, peer: str) -> None:
        """Both permissions, as AWS asks for since October 2025."""
        kind = found.document["AuthType"]
        common = {"lambda:FunctionArn": found.asked_arn}
        for need in (
            Need("lambda:InvokeFunctionUrl", found.asked_arn, {**common, "lambda:FunctionUrlAuthType": kind}),
            Need("lambda:InvokeFunction", found.asked_arn, {**common, "lambda:InvokedViaFunctionUrl": "true"}),
        ):
            self._front.permit(caller, need, trace, service="lambda", name=need.action.partition(":")[2], peer=peer)

    async def _buffered(self, function: Function, work: Work) -> HttpReply:
        done = await self._part.run_through(function, work)
        if done.function_error:
            return _failed()
        try:
            if done.content_type.startswith(PRELUDE):
                told, _, rest = done.payload.partition(_MARK)
                status, headers = url_events.head(json.loads(told))
                return HttpReply(status, headers, rest)
            made = url_events.reply(done.payload)
        except ValueError as error:
            _log.info("function URL of %s: %s", function.name, error)
            return _failed()
        return HttpReply(made.status, made.headers, made.body)

    async def _streaming(self, function: Function, work: Work) -> HttpReply:
        relay = Relay()
        await relay.begin(self._part.run_through(function, replace(work, sink=relay.put)))
        pieces = relay.pieces()
        if not relay.content_type:  # nothing was streamed: the answer came whole, or not at all
            done = await relay.outcome()
            if done.function_error:
                return _failed()
            return HttpReply(200, [("Content-Type", "application/json")], done.payload)
        if not relay.content_type.startswith(PRELUDE):
            return HttpReply(200, [("Content-Type", relay.content_type)], pieces)
        held = b""
        async for piece in pieces:
            held += piece
            if _MARK in held or len(held) > _PRELUDE_MAX:
                break
        told, _, rest = held.partition(_MARK)
        try:
            status, headers = url_events.head(json.loads(told))
        except ValueError:
            return _failed()
        return HttpReply(status, headers, _after(rest, pieces))


async def _after(rest: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if rest:
        yield rest
    async for piece in pieces:
        yield piece


def _refused(error: ServiceError) -> HttpReply:
    if isinstance(error, AccessDenied):
        return _said(403, _FORBIDDEN)
    if error.status == 429:
        body = json.dumps({"Reason": "", "Type": "User", **error.members, "message": error.message}).encode()
        return HttpReply(429, [("Content-Type", "application/json")], body)
    if error.status >= 500:
        return _failed()
    return _said(error.status, error.message)
