# SPDX-License-Identifier: Apache-2.0
"""The steps of one request, from its head to its reply; and the same steps without HTTP, for services.

Arrival -> routed -> authenticated -> parsed -> authorized -> run -> written. A step cannot be skipped or reordered:
each needs what the one before it made.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.base.body import Held, at_once, read_all
from cloudchamber.base.errors import AccessDenied, ChamberError, InternalFailure, ServiceError, ServiceUnavailable
from cloudchamber.contract.call import Call, Doors
from cloudchamber.contract.identity import ANONYMOUS
from cloudchamber.contract.operation import Need, Operation
from cloudchamber.contract.stored import Stored
from cloudchamber.front.again import Repeats
from cloudchamber.front.authenticate import Authenticated, authenticate, body_first, wrap
from cloudchamber.front.authorize import authorize
from cloudchamber.front.form import POST_OBJECT, answer, by_form, read_form
from cloudchamber.front.listener import BodyCut, Incoming, Listener
from cloudchamber.front.sessions import check_session
from cloudchamber.front.step import Step
from cloudchamber.front.stores import basis
from cloudchamber.store.database import UnreachableError
from cloudchamber.track.track import HEADER, Trace
from cloudchamber.wire.codec import Kept, parse, request_id_headers, serialize, streams
from cloudchamber.wire.errors import InvalidSignatureException
from cloudchamber.wire.faults import fault
from cloudchamber.wire.http import HttpReply, HttpRequest
from cloudchamber.wire.model import load
from cloudchamber.wire.route import Offered, Routed, bucket_of_host, host_of, is_form, pairs, route, scope_of
from cloudchamber.wire.scalars import http_date
from cloudchamber.wire.validate import check

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable, Mapping

    from cloudchamber.base.body import Body
    from cloudchamber.contract.identity import Principal
    from cloudchamber.contract.operation import AnyOperation
    from cloudchamber.contract.service import Service
    from cloudchamber.front.either import EitherWay

FORM_OCTETS_MAX = 2 * 1024 * 1024
BODY_OCTETS_MAX = 8 * 1024 * 1024
HOSTS_MAX, HOST_CACHED_MAX = 1024, 256
LAMBDA_OCTETS_MAX = 72 * 1024 * 1024
"""A zip of 50 MB, in base64, with its JSON."""
_APART = ": it runs on one machine only, and this chamber shares its state with others"
UNROUTED = Routed("front", "unrouted", "query")
"""What a request is before anybody knows what it means."""

_S3 = ("s3", "s3control")
_log = logging.getLogger(__name__)


class RequestEntityTooLarge(ServiceError):  # noqa: N818 - AWS's name
    """The body is longer than any that the operation takes."""

    code = "RequestEntityTooLargeException"
    status = 413


class NotOffered(ServiceError):  # noqa: N818 - says what it is
    """The service or its operation is not built here."""

    code = "NotImplemented"
    status = 501


class Inside(Protocol):
    """What answers the paths that are ours, not AWS's: everything below `/_`."""

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        """The reply."""
        ...


class Hosts:
    """Who answers for which host names."""

    def __init__(self) -> None:
        self._claims: list[tuple[Callable[[str], bool], Inside]] = []
        self._known: dict[str, Inside | None] = {}
        """By the header as it came: what claims a name looks at nothing else."""

    def add(self, claims: Callable[[str], bool], inside: Inside) -> None:
        """From now on `inside` answers for the names that `claims` knows."""
        self._claims.append((claims, inside))
        self._known.clear()

    def find(self, header: str, request: HttpRequest) -> Inside | None:
        """Who answers; None: it is AWS's API that is meant."""
        if header in self._known:
            return self._known[header]
        host = host_of(request)
        found = next((inside for claims, inside in self._claims if claims(host)), None)
        if len(header) < HOST_CACHED_MAX:
            if len(self._known) >= HOSTS_MAX:
                self._known.clear()
            self._known[header] = found
        return found


class Pipeline:
    """The one way in."""

    def __init__(self) -> None:
        self.inside: Inside | None = None
        self.hosts = Hosts()
        """Host names that a service answers by itself (function URLs), before anything is routed."""
        self._doors: Doors

    def open(self, doors: Doors) -> None:
        """Begin to let requests in."""
        self._doors = doors
        self._repeats = Repeats(doors)
        apart = {name: _APART for service in doors.apart.values() for name in (service.name, *service.signing_names)}
        self._offered = Offered({name: s.signing_names for name, s in doors.services.items()}, apart)

    def part(self, listener: Listener) -> Front:
        """What services may ask of the front."""
        return Front(self._doors, listener, self.hosts)

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        """Answer one HTTP request. Never raises, except when the client is gone."""
        headers = request.headers.first
        inside = self.hosts.find(headers.get("host", ""), request)
        if inside is not None:
            return await inside.handle(request, body)
        if request.path.startswith("/_") and self.inside is not None and not _names_bucket(request):
            return await self.inside.handle(request, body)
        doors = self._doors
        stamp, settled = doors.database.stamp, doors.database.settled
        routed = UNROUTED
        trace = Trace.parse(headers["x-amzn-trace-id"]) if "x-amzn-trace-id" in headers else None
        with Step(doors, trace, "front", "unrouted") as step:
            try:
                form = None
                if request.method == "POST" and is_form(request):
                    form = await _whole(body, FORM_OCTETS_MAX)
                routed = route(request, form, self._offered)
                step.segment.service, step.segment.name = routed.service, routed.operation
                if request.method == "OPTIONS" and (answered := _preflight(step, routed, request)) is not None:
                    return answered
                first = await _whole(body, _limit(routed)) if form is None and body_first(request, routed) else form
                posted = await read_form(request, routed, body) if routed.operation == POST_OBJECT else None
                if posted is None:
                    who = authenticate(request, routed, first, doors.identities, doors.region, step.now)
                else:
                    who = by_form(posted, doors.identities, doors.region, step.now)
                    request, routed = posted.request, posted.routed
                if routed.error is not None:
                    step.segment.principal = who.principal.name
                    raise routed.error
                call = _call(step, request, who)
                came = posted.file if posted is not None else body
                checked = Held(first) if first is not None else wrap(came, who.payload)
                whole = checked if streams(routed) else at_once(checked, _limit(routed))
                if whole is None:
                    whole = await _whole(checked, _limit(routed))
                values = parse(routed, request, whole)
                service = doors.services[routed.service]
                operation = service.operations[routed.operation]
                _decide(call, service, operation, values)
                response = await operation.run(call, values)
                again = storing = None
                if type(response) is Stored and trace is None and posted is None:
                    storing = basis(doors, call, who, response.storing, settled)
                if type(response) is Kept and trace is None and not request.headers.get("origin"):
                    again = self._repeats.basis(call, who, response, operation, values, stamp)
                reply = serialize(routed, request, response, call.request_id)
                reply.again, reply.storing = again, storing
                reply = reply if posted is None else answer(posted, reply)
                step.segment.status = reply.status
            except ServiceError as error:
                reply = _refusal(step, routed, request, error)
            except BodyCut:
                raise
            except UnreachableError as error:
                _log.warning("%s %s could not be done: %s", routed.service, routed.operation, error.message)
                away = ServiceUnavailable("Service is unable to handle request.")
                reply = _refusal(step, routed, request, away)
            except ChamberError as error:
                told = f"{error.message}; {error.hint}" if error.hint else error.message
                _log.error("%s %s, request %s: %s", routed.service, routed.operation, step.segment.request_id, told)
                reply = _refusal(step, routed, request, InternalFailure("We encountered an internal error."))
            except Exception:  # noqa: BLE001 - the edge of everything: the client gets AWS's 500, the log gets the story
                _log.exception("%s %s failed, request %s", routed.service, routed.operation, step.segment.request_id)
                reply = _refusal(step, routed, request, InternalFailure("We encountered an internal error."))
        if routed.service in _S3:
            reply.headers += _of_s3(int(step.segment.started))
        else:
            reply.headers.append((HEADER, f"Root={step.segment.track_id}"))
        if routed.bucket and request.headers.get("origin"):
            cross = doors.services[routed.service].cross_origin
            reply.headers += cross.headers(doors, request, routed.bucket) if cross is not None else ()
        if routed.bucket and (served := doors.services[routed.service].served) is not None:
            served(doors, request, routed, reply, step.segment)
        return reply

    async def ask(
        self,
        service: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        principal: Principal,
        trace: Trace | None = None,
        region: str = "",
        within: Call | None = None,
    ) -> Any:
        """Call an operation from inside: authorized, run and tracked, as `contract.call.Ask` says."""
        doors = self._doors
        with Step(doors, trace, service, operation) as step:
            account = principal.account if principal.kind != "anonymous" else doors.account
            call = step.call(principal, account, region or doors.region)
            if within is not None:
                call = replace(
                    call,
                    headers=within.headers,
                    peer=within.peer,
                    secure=within.secure,
                    signed_by=within.signed_by,
                    algorithm=within.algorithm,
                    signed_at=within.signed_at,
                )
            found, chosen = _offered(doors, service, operation)
            check(load(service).operations[operation], request)
            _decide(call, found, chosen, request)
            response = await chosen.run(call, request)
            step.segment.status = 200
        return response


class Front:
    """What services may ask of the front: reached as `doors.parts["front"]`."""

    def __init__(self, doors: Doors, listener: Listener, hosts: Hosts) -> None:
        self._doors = doors
        self._listener = listener
        self._hosts = hosts

    def answer(self, claims: Callable[[str], bool], inside: Inside) -> None:
        """Let a service answer every request for the hosts that it claims (name without port, in lower case)."""
        self._hosts.add(claims, inside)

    def identify(self, request: HttpRequest, body: bytes, service: str) -> Principal:
        """Who signed a request that is no API call, for `service`; anonymous if nobody did.

        Raises:
            ServiceError: the signature does not hold, or is for another service.
        """
        query = pairs(request.query)
        first = dict(reversed(query))
        if not request.headers.get("authorization") and "X-Amz-Signature" not in first:
            return ANONYMOUS
        scope = scope_of(request, first)
        if scope is not None and scope.service != service:
            raise InvalidSignatureException(f"Credential should be scoped to correct service: '{service}'. ")
        routed = Routed(service, "", "rest-json", query=query, scope=scope)
        now = self._doors.clock.now()
        return authenticate(request, routed, body, self._doors.identities, self._doors.region, now).principal

    async def serve(self, sock: socket.socket, *, peer: str) -> asyncio.Server:
        """Answer AWS calls on a listening socket inside a sandbox; close the result when the sandbox ends."""
        return await self._listener.serve(sock, peer=peer)

    def serve_secure(self, sock: socket.socket, *, peer: str, name: str) -> EitherWay:
        """As `serve`, by HTTPS under a host name that only the sandbox knows."""
        authority = self._doors.authority
        return self._listener.serve_secure(sock, peer=peer, context=lambda: authority.https((name,)))

    def permit(
        self, principal: Principal, need: Need, trace: Trace | None, *, service: str, name: str, peer: str = "127.0.0.1"
    ) -> dict[str, Any]:
        """Decide one permission that no API call stands for (`rds-db:connect`), and record it as a segment.

        Raises:
            AccessDenied: IAM said no; the reason is on the track.
        """
        doors = self._doors

        def needs(_call: Call, _request: object) -> tuple[Need, ...]:
            return (need,)

        async def run(_call: Call, _request: object) -> None:
            return None

        with Step(doors, trace, service, name) as step:
            step.segment.resource = need.resource
            call = replace(step.call(principal, principal.account, doors.region), peer=peer, secure=True)
            _decide(call, doors.services[service], Operation(name, needs, run), {})
            step.segment.status = 200
        return step.segment.decisions[-1] if step.segment.decisions else {}


def _call(step: Step, request: HttpRequest, who: Authenticated) -> Call:
    """The call that an HTTP request means."""
    principal, segment, doors = who.principal, step.segment, step.doors
    key, region = principal.access_key_id, who.region
    segment.principal, segment.region = principal.arn, region
    segment.access_key = "" if key.startswith("ASIA") else key
    account = principal.account if principal.kind != "anonymous" else doors.account
    _, _, _, headers, peer, scheme, private = request
    return Call(
        principal, account, region, segment.request_id, step.now, doors, segment, step.lineage, headers, peer,
        scheme == "https" or private, who.how, who.algorithm, who.signed_at,
    )  # fmt: skip


def _preflight(step: Step, routed: Routed, request: HttpRequest) -> HttpReply | None:
    """The answer to a browser that asks whether it may ask; nobody signs that. None: the service knows no such."""
    service = step.doors.services.get(routed.service)
    if service is None or service.cross_origin is None:
        return None
    step.segment.name = "OptionsObject"
    told = service.cross_origin.preflight(step.doors, request, routed.bucket, routed.key)
    step.segment.status = 200
    first = request_id_headers(step.segment.request_id, s3=True)
    return HttpReply(200, [*first, *_of_s3(int(step.segment.started)), *told])


@lru_cache(maxsize=8)
def _of_s3(second: int) -> tuple[tuple[str, str], ...]:
    """What S3 says with every answer. Its track is found by the request id: S3 sends no header of tracing."""
    return ("Date", http_date(datetime.fromtimestamp(second, UTC))), ("Server", "AmazonS3")


def _refusal(step: Step, routed: Routed, request: HttpRequest, error: ServiceError) -> HttpReply:
    """An error as the reply, on the track, and in the log if it is ours."""
    step.failed(error)
    if error.status >= 500:
        _log.warning("%s %s answered %s: %s", routed.service, routed.operation, error.code, error.message)
    return fault(error, routed, request, step.segment.request_id)


def _offered(doors: Doors, service: str, operation: str) -> tuple[Service, AnyOperation]:
    found = doors.services.get(service)
    chosen = found.operations.get(operation) if found is not None else None
    if found is None or chosen is None:
        raise NotOffered(f"This chamber does not implement {service}:{operation}.")
    return found, chosen


def _decide(call: Call, service: Service, operation: AnyOperation, request: Mapping[str, Any]) -> None:
    """Let IAM decide; the segment is then named after the first resource that was asked for."""
    check_session(call.principal, service.name, operation.name)
    try:
        authorize(call, service, operation, request)
    except AccessDenied:
        _log_denial(call)
        raise
    finally:
        segment = call.segment
        if not segment.resource:
            for told in segment.decisions:
                if told["resource"] != "*":
                    segment.resource = told["resource"]
                    break


def _log_denial(call: Call) -> None:
    """Say in the log who was denied what, and the statement that would allow it."""
    if not call.segment.decisions:
        return
    told = call.segment.decisions[-1]
    remedy = " or ".join(f"{r['policy']} {json.dumps(r['statement'])}" for r in told.get("allow_with", ()))
    _log.info(
        "denied: %s may not %s on %s %s; %srequest %s",
        told["principal"],
        told["action"],
        told["resource"],
        told["reason"],
        f"would be allowed by {remedy}; " if remedy else "",
        call.request_id,
    )


async def _whole(body: Body, limit: int) -> bytes:
    try:
        return await read_all(body, limit)
    except OverflowError:
        raise RequestEntityTooLarge("Request body is too large.") from None


def _names_bucket(request: HttpRequest) -> bool:
    """Whether the host is a bucket's, whose keys may begin as our own paths do."""
    return bool(bucket_of_host(host_of(request), signed_for_s3=True))


def _limit(routed: Routed) -> int:
    return LAMBDA_OCTETS_MAX if routed.service == "lambda" else BODY_OCTETS_MAX
