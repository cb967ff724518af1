# SPDX-License-Identifier: Apache-2.0
"""The steps of one request, from its head to its reply; and the same steps without HTTP, for services.

Arrival -> routed -> authenticated -> parsed -> authorized -> run -> written. A step cannot be skipped or reordered: each
needs what the one before it made.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.base import ids
from cloudchamber.base.body import read_all
from cloudchamber.base.errors import InternalFailure, ServiceError
from cloudchamber.contract.call import Call, Doors
from cloudchamber.contract.operation import Need, Operation
from cloudchamber.front.authenticate import authenticate, wrap
from cloudchamber.front.authorize import authorize
from cloudchamber.front.listener import BodyCut, Incoming, Listener
from cloudchamber.track.track import HEADER, Segment, Trace, segment_id
from cloudchamber.wire import faults, route
from cloudchamber.wire.http import HttpReply, HttpRequest

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping

    from cloudchamber.contract.identity import Principal
    from cloudchamber.contract.operation import AnyOperation
    from cloudchamber.contract.service import Service

FORM_OCTETS_MAX = 2 * 1024 * 1024
BODY_OCTETS_MAX = 8 * 1024 * 1024
LAMBDA_OCTETS_MAX = 72 * 1024 * 1024
"""A zip of 50 MB, in base64, with its JSON."""

_log = logging.getLogger(__name__)


class RequestEntityTooLarge(ServiceError):
    """The body is longer than any that the operation takes."""

    code = "RequestEntityTooLargeException"
    status = 413


class Inside(Protocol):
    """What answers the paths that are ours, not AWS's: everything below `/_`."""

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        """The reply."""
        ...


class Pipeline:
    """The one way in."""

    def __init__(self) -> None:
        self.inside: Inside | None = None
        self._doors: Doors

    def open(self, doors: Doors) -> None:
        """Begin to let requests in."""
        self._doors = doors

    def part(self, listener: Listener) -> Front:
        """What services may ask of the front."""
        return Front(self._doors, listener)

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        """Answer one HTTP request. Never raises, except when the client is gone."""
        if request.path.startswith("/_") and self.inside is not None:
            return await self.inside.handle(request, body)
        doors = self._doors
        request_id = ids.request_id()
        now = doors.clock.now()
        trace = Trace.parse(request.headers.get("x-amzn-trace-id")) or Trace.begin(int(now.timestamp()))
        segment = Segment(trace.track_id, segment_id(), trace.parent_id, "front", "unrouted", now.timestamp())
        segment.request_id = request_id
        routed: route.Routed | None = None
        try:
            form = await read_all(body, FORM_OCTETS_MAX) if route.is_form(request) else None
            routed = route.route(request, form, doors.services)
            segment.service, segment.name = routed.service, routed.operation
            service, operation = _offered(doors, routed)
            who = authenticate(request, routed, form, doors.identities, doors.region, now)
            segment.principal = who.principal.name
            call = Call(
                principal=who.principal,
                account=who.principal.account if who.principal.kind != "anonymous" else doors.account,
                region=who.region,
                request_id=request_id,
                now=now,
                doors=doors,
                segment=segment,
                lineage=trace.lineage,
                headers=request.headers,
                peer=request.peer,
                secure=request.scheme == "https",
                signed_by=who.how,
            )
            incoming = wrap(body, who.payload)
            values = await self._parse(routed, request, form, incoming)
            authorize(call, service, operation, values)
            response = await operation.run(call, values)
            reply = routed.model.serialize(response, request_id)
            segment.status = reply.status
        except BodyCut:
            segment.error = "client disconnected"
            raise
        except OverflowError:
            reply = self._fail(segment, routed, request, RequestEntityTooLarge("Request body is too large."))
        except ServiceError as error:
            reply = self._fail(segment, routed, request, error)
        except Exception:  # noqa: BLE001 - the edge of everything: the client gets AWS's 500, the log gets the story
            _log.exception("%s %s failed, request %s", segment.service, segment.name, request_id)
            reply = self._fail(segment, routed, request, InternalFailure("We encountered an internal error."))
        finally:
            segment.ended = doors.clock.now().timestamp()
            doors.recorder.record(segment)
        reply.headers.append((HEADER, f"Root={segment.track_id}"))
        return reply

    async def _parse(
        self, routed: route.Routed, request: HttpRequest, form: bytes | None, incoming: Any
    ) -> Mapping[str, Any]:
        if form is not None:
            return routed.model.parse(routed, request, form)
        if routed.model.streams_in:
            return routed.model.parse(routed, request, incoming)
        limit = LAMBDA_OCTETS_MAX if routed.service == "lambda" else BODY_OCTETS_MAX
        return routed.model.parse(routed, request, await read_all(incoming, limit))

    def _fail(
        self, segment: Segment, routed: route.Routed | None, request: HttpRequest, error: ServiceError
    ) -> HttpReply:
        segment.status, segment.error = error.status, error.code
        segment.notes["message"] = error.message[:2000]
        if error.status >= 500:  # noqa: PLR2004 - HTTP's own border
            _log.warning("%s %s answered %s: %s", segment.service, segment.name, error.code, error.message)
        return faults.fault(error, routed, request, segment.request_id)

    async def ask(
        self,
        service: str,
        operation: str,
        request: Mapping[str, Any],
        *,
        principal: Principal,
        trace: Trace | None = None,
        region: str = "",
    ) -> Any:
        """Call an operation from inside: authorized, run and tracked, as `contract.call.Ask` says."""
        doors = self._doors
        now = doors.clock.now()
        trace = trace or Trace.begin(int(now.timestamp()))
        segment = Segment(trace.track_id, segment_id(), trace.parent_id, service, operation, now.timestamp())
        segment.request_id = ids.request_id()
        segment.principal = principal.name
        call = Call(
            principal=principal,
            account=doors.account if principal.kind in ("service", "anonymous") else principal.account,
            region=region or doors.region,
            request_id=segment.request_id,
            now=now,
            doors=doors,
            segment=segment,
            lineage=trace.lineage,
        )
        try:
            found = doors.services[service]
            chosen = found.operations[operation]
            authorize(call, found, chosen, request)
            response = await chosen.run(call, request)
            segment.status = 200
        except ServiceError as error:
            segment.status, segment.error = error.status, error.code
            segment.notes["message"] = error.message[:2000]
            raise
        except BaseException:
            segment.status, segment.error = 500, "InternalFailure"
            raise
        finally:
            segment.ended = doors.clock.now().timestamp()
            doors.recorder.record(segment)
        return response


class Front:
    """What services may ask of the front: reached as `doors.parts["front"]`."""

    def __init__(self, doors: Doors, listener: Listener) -> None:
        self._doors = doors
        self._listener = listener

    async def serve(self, sock: socket.socket, *, peer: str) -> asyncio.Server:
        """Answer AWS calls on a listening socket inside a sandbox; close the result when the sandbox ends."""
        return await self._listener.serve(sock, peer=peer)

    def permit(
        self, principal: Principal, need: Need, trace: Trace | None, *, service: str, name: str, peer: str = "127.0.0.1"
    ) -> dict[str, Any]:
        """Decide one permission that no API call stands for (`rds-db:connect`), and record it as a segment.

        Raises:
            AccessDenied: IAM said no; the reason is on the track.
        """
        doors = self._doors
        now = doors.clock.now()
        trace = trace or Trace.begin(int(now.timestamp()))
        segment = Segment(trace.track_id, segment_id(), trace.parent_id, service, name, now.timestamp())
        segment.request_id = ids.request_id()
        segment.principal = principal.name
        segment.resource = need.resource
        call = Call(
            principal=principal,
            account=principal.account,
            region=doors.region,
            request_id=segment.request_id,
            now=now,
            doors=doors,
            segment=segment,
            peer=peer,
            secure=True,
        )

        def needs(_call: Call, _request: object) -> tuple[Need, ...]:
            return (need,)

        async def run(_call: Call, _request: object) -> None:
            return None

        try:
            authorize(call, doors.services[service], Operation(name, needs, run), {})
            segment.status = 200
        except ServiceError as error:
            segment.status, segment.error = error.status, error.code
            segment.notes["message"] = error.message[:2000]
            raise
        finally:
            segment.ended = doors.clock.now().timestamp()
            doors.recorder.record(segment)
        return segment.decisions[-1] if segment.decisions else {}


def _offered(doors: Doors, routed: route.Routed) -> tuple[Service, AnyOperation]:
    """The service and the operation, both implemented: `route` has refused the rest by name."""
    service = doors.services[routed.service]
    return service, service.operations[routed.operation]
