# SPDX-License-Identifier: Apache-2.0
"""The HTTPS front of instances: ``https://<instance-id>.ec2.localhost:4443/`` is port 80 of that instance.

It does what an Application Load Balancer does in front of an instance: TLS with the chamber's own certificate,
``X-Forwarded-*`` and ``X-Amzn-Trace-Id``, idle timeouts, WebSockets; and what the VPC does: the instance's security
groups decide first. Where AWS would let a refused connection hang, this front says which rule is missing.
Source: Elastic Load Balancing User Guide, HTTP headers and Application Load Balancers, request tracing.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import html
import logging
import re
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from cloudchamber.base.errors import ChamberError
from cloudchamber.services.ec2 import entrance, filters, names, tables
from cloudchamber.services.ec2.web_message import BadMessage, Message, Messages
from cloudchamber.track.track import HEADER, Segment, Trace, segment_id

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.sandbox.sandboxes import Sandbox

_log = logging.getLogger(__name__)
_HOST = re.compile(r"(i-[0-9a-f]{8}(?:[0-9a-f]{9})?)\.ec2\.localhost(?::[0-9]{1,5})?", re.IGNORECASE)
_IDLE_S = 60.0
_CONNECTIONS_MAX = 512
_CONNECT_S = 5.0
_PORTS_TRIED = 20


class Instances(Protocol):
    """Where running instances are found."""

    def sandbox(self, instance_id: str) -> Sandbox | None: ...


class Refused(Exception):  # noqa: N818 - an outcome, not a failure
    """The request does not reach the app: status, a short title, and what to do about it."""

    def __init__(self, status: int, title: str, advice: str) -> None:
        super().__init__(title)
        self.status, self.title, self.advice = status, title, advice


class Web:
    """The listener."""

    def __init__(self, doors: Doors, instances: Instances) -> None:
        self._doors = doors
        self._instances = instances
        self._server: asyncio.Server | None = None
        self._open = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        """``https://localhost:4443/``."""
        return f"https://localhost:{self.port}/"

    def address_of(self, instance_id: str) -> str:
        """URL of an instance's port 80."""
        return f"https://{names.public_dns(instance_id)}:{self.port}/"

    async def start(self) -> None:
        """Listen on the wanted port of 127.0.0.1, or the next free one."""
        context = self._doors.authority.https((f"*.{names.WEB_DOMAIN}", "localhost", "127.0.0.1"))
        wanted = self._doors.https_port
        for port in range(wanted, wanted + _PORTS_TRIED) if wanted else (0,):
            try:
                self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, ssl=context)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        if self._server is None:
            raise ChamberError(
                f"ports {wanted} to {wanted + _PORTS_TRIED - 1} of 127.0.0.1 are taken", "give another --https-port"
            )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or self._open >= _CONNECTIONS_MAX:
            writer.close()
            return
        self._tasks.add(task)
        self._open += 1
        try:
            await self._requests(reader, writer)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            pass
        except Exception:  # noqa: BLE001 - the edge of one connection; the others go on
            _log.exception("a connection to the HTTPS front failed")
        finally:
            self._open -= 1
            self._tasks.discard(task)
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming = Messages(reader, responses=False, idle_s=_IDLE_S)
        peer = str((writer.get_extra_info("peername") or ("127.0.0.1",))[0])
        while True:
            try:
                request = await incoming.next()
            except BadMessage as error:
                await _page(writer, Refused(400, "Bad Request", str(error)), Message(), keep=False)
                return
            if request is None or not await _Exchange(self, incoming, request, writer, peer).run():
                return
            incoming.forget()

    # What an exchange asks

    def begin(self, request: Message) -> Segment:
        """A step on a track: the client's own track if it names one, else a new one."""
        now_s = self._doors.clock.now().timestamp()
        trace = Trace.parse(request.get(HEADER.lower())) or Trace.begin(int(now_s))
        path = request.target.partition("?")[0][:200]
        return Segment(trace.track_id, segment_id(), trace.parent_id, "ec2", f"{request.method} {path}", now_s)

    def record(self, segment: Segment) -> None:
        """Keep the step."""
        segment.ended = self._doors.clock.now().timestamp()
        self._doors.recorder.record(segment)

    async def reach(
        self, request: Message, segment: Segment, peer: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the app, if the security groups let the client through.

        Raises:
            Refused: with what the person sees.
        """
        instance_id = _instance_of(request)
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None or row.state == "terminated":
            raise Refused(
                404, f"There is no instance {instance_id}", "aws ec2 describe-instances lists those that exist."
            )
        segment.resource = row.arn
        sandbox = self._instances.sandbox(row.id)
        if row.state != "running" or sandbox is None:
            raise Refused(
                503,
                f"{row.id} is {row.state}",
                f"aws ec2 start-instances --instance-ids {row.id} starts it; cloudchamber logs {row.id} shows its "
                f"console.",
            )
        shut = self._doors.database.read(lambda db: entrance.closed(db, row))
        if shut is not None:
            segment.notes.update(denied=shut.reason, allow_with=shut.allow_with)
            raise Refused(
                504,
                f"Nobody on the internet can reach {row.id}",
                f"{shut.reason}. On AWS this connection would hang. What would help: {shut.allow_with}",
            )
        rules = self._doors.database.read(lambda db: [rule for one in row.groups for rule in tables.rules(db, one)])
        verdict = filters.inbound(rules, row.groups, 80, peer)
        if verdict.rule is None:
            segment.notes.update(denied=verdict.reason, allow_with=verdict.allow_with)
            raise Refused(
                504,
                f"The security groups of {row.id} do not let you in",
                f"{verdict.reason.capitalize()} ({peer} stands for the internet). On AWS this connection would hang. "
                f"To allow it: {verdict.allow_with}",
            )
        segment.notes["rule"] = verdict.reason
        try:
            return await asyncio.open_connection(sock=await sandbox.connect(80, _CONNECT_S))
        except (OSError, TimeoutError) as error:
            segment.notes["connect"] = str(error) or type(error).__name__
            raise Refused(
                502,
                f"Nothing listens on port 80 of {row.id}",
                f"cloudchamber logs {row.id} shows its console: perhaps the app is still starting, or it failed.",
            ) from None


class _Exchange:
    """One request and its response."""

    def __init__(self, web: Web, incoming: Messages, request: Message, writer: asyncio.StreamWriter, peer: str) -> None:
        self._web, self._incoming, self._request, self._writer, self._peer = web, incoming, request, writer, peer
        self._began = False

    async def run(self) -> bool:
        """Carry it out; whether the client's connection can be used again."""
        segment = self._web.begin(self._request)
        upstream: asyncio.StreamWriter | None = None
        try:
            reader, upstream = await self._web.reach(self._request, segment, self._peer)
            return await self._through(Messages(reader, responses=True, idle_s=_IDLE_S), upstream, segment)
        except Refused as refused:
            segment.status, segment.error = refused.status, refused.title
            await _page(self._writer, refused, self._request, keep=False, trace=segment.track_id)
            return False
        except (BadMessage, ConnectionError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            segment.status, segment.error = (504, "Gateway Timeout") if late else (502, "Bad Gateway")
            segment.notes["message"] = str(error) or type(error).__name__
            if not self._began:
                advice = (
                    f"The app {'did not answer in time' if late else 'broke off its answer'}: cloudchamber "
                    f"logs shows the instance's console."
                )
                await _page(
                    self._writer,
                    Refused(segment.status, segment.error, advice),
                    self._request,
                    keep=False,
                    trace=segment.track_id,
                )
            return False
        finally:
            if upstream is not None:
                upstream.close()
            self._web.record(segment)

    async def _through(self, answers: Messages, upstream: asyncio.StreamWriter, segment: Segment) -> bool:
        request = self._request
        upstream.write(self._head(segment))
        sending = asyncio.create_task(self._send_body(upstream))
        try:
            response = await self._response(answers)
            segment.status = response.status
            if response.status == 101:
                await self._upgraded(answers, response, upstream)
                return False
            keep = await self._answer(answers, response)
            if not sending.done():
                # Why: the app answered without reading the whole request; what is left of it has nowhere to go.
                return False
            return keep and request.keep_alive and sending.exception() is None
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, BadMessage, ConnectionError, TimeoutError):
                await sending

    def _head(self, segment: Segment) -> bytes:
        request = self._request
        dropped = {
            HEADER.lower(),
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-host",
            "content-length",
        }
        headers = [(n, v) for n, v in request.end_to_end() if n.lower() not in dropped]
        before = request.get("x-forwarded-for")
        headers += [
            ("X-Forwarded-For", f"{before}, {self._peer}" if before else self._peer),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Port", str(self._web.port)),
            (HEADER, segment.trace().header()),
        ]
        if request.upgrade:
            headers += [("Connection", "Upgrade"), ("Upgrade", request.get("upgrade"))]
        else:
            headers.append(("Connection", "close"))
        if request.get("content-length"):
            headers.append(("Content-Length", request.get("content-length")))
        elif request.framed:
            headers.append(("Transfer-Encoding", "chunked"))
        return _lines(f"{request.method} {request.target} HTTP/1.1", headers)

    async def _send_body(self, upstream: asyncio.StreamWriter) -> None:
        chunked = self._request.framed and not self._request.get("content-length")
        await upstream.drain()
        async for chunk in self._incoming.body(self._request):
            upstream.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
            await upstream.drain()
        if chunked:
            upstream.write(b"0\r\n\r\n")

    async def _response(self, answers: Messages) -> Message:
        while True:
            response = await answers.next()
            if response is None:
                raise BadMessage("the app closed the connection without an answer")
            if response.status >= 200 or response.status == 101:
                return response
            if response.status == 100 and self._request.version == "1.1":
                self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            answers.forget()

    async def _answer(self, answers: Messages, response: Message) -> bool:
        bare = self._request.method == "HEAD" or response.status in (204, 304)
        old = self._request.version != "1.1"
        headers = response.end_to_end()
        chunked = not bare and not response.get("content-length") and not old
        if chunked:
            headers.append(("Transfer-Encoding", "chunked"))
        keep = self._request.keep_alive and (bare or chunked or bool(response.get("content-length")))
        headers.append(("Connection", "keep-alive" if keep else "close"))
        self._began = True
        self._writer.write(_lines(f"HTTP/1.1 {response.status} {_phrase(response.status)}", headers))
        if not bare:
            async for chunk in answers.body(response):
                self._writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._writer.drain()
            if chunked:
                self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        return keep

    async def _upgraded(self, answers: Messages, response: Message, upstream: asyncio.StreamWriter) -> None:
        """A WebSocket (or what else both agreed on): octets both ways until one side ends."""
        self._began = True
        headers = [*response.end_to_end(), ("Connection", "Upgrade"), ("Upgrade", response.get("upgrade"))]
        self._writer.write(_lines("HTTP/1.1 101 Switching Protocols", headers))
        await self._writer.drain()

        async def pump(source: Messages, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.raw():
                    target.write(data)
                    await target.drain()

        tasks = [asyncio.create_task(pump(self._incoming, upstream)), asyncio.create_task(pump(answers, self._writer))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _instance_of(request: Message) -> str:
    hosts = request.all("host")
    found = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if found is None:
        raise Refused(
            404 if len(hosts) == 1 else 400,
            "This name is no instance's",
            "Instances answer at https://<instance-id>.ec2.localhost with this port; aws ec2 describe-instances "
            "lists them.",
        )
    if request.method == "CONNECT" or not request.target.startswith(("/", "*")):
        raise Refused(400, "Bad Request", "The request target must be a path.")
    return found.group(1).lower()


def _lines(first: str, headers: list[tuple[str, str]]) -> bytes:
    return (first + "\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers) + "\r\n").encode("latin-1")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


async def _page(
    writer: asyncio.StreamWriter, refused: Refused, request: Message, *, keep: bool, trace: str = ""
) -> None:
    """A page of ours for a person; small, and without anything that the request could put into it."""
    body = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{refused.status} '
        f"{html.escape(refused.title)}</title>"
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:42rem;margin:12vh auto;padding:0 1rem}"
        "p{overflow-wrap:anywhere}</style>"
        f"<h1>{html.escape(refused.title)}</h1><p>{html.escape(refused.advice)}</p>"
        f"<p><small>{refused.status} {_phrase(refused.status)} · "
        f"cloudchamber{' · track ' + html.escape(trace) if trace else ''}</small></p></html>"
    ).encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        ("Connection", "keep-alive" if keep else "close"),
    ]
    if trace:
        headers.append((HEADER, f"Root={trace}"))
    with contextlib.suppress(ConnectionError):
        writer.write(
            _lines(f"HTTP/1.1 {refused.status} {_phrase(refused.status)}", headers)
            + (b"" if request.method == "HEAD" else body)
        )
        await writer.drain()
