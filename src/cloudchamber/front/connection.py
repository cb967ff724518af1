# SPDX-License-Identifier: Apache-2.0
"""One client's connection: its octets to requests, its replies to octets.

httptools (llhttp, strict) refuses most of what could be read in two ways: both a length and a transfer coding, several
lengths, folded lines, bare line feeds. What it lets through and we do not want is refused in `_checked`.
Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeAlias, cast

import httptools

from cloudchamber.front.begun import Begun
from cloudchamber.front.diversion import Diversion
from cloudchamber.front.head import STATUS_LINES, RequestRefused, head_of, headers_of, last_of, length_of, target_of
from cloudchamber.front.incoming import BODY_WINDOW, BodyCut, Incoming
from cloudchamber.front.outlet import Outlet
from cloudchamber.front.stores import REMEMBERED_MAX
from cloudchamber.wire.http import HttpReply, HttpRequest

if TYPE_CHECKING:
    from cloudchamber.base.body import Intake
    from cloudchamber.front.incoming import Diverted
    from cloudchamber.wire.http import Again, Stores

HEAD_OCTETS_MAX = 64 * 1024
HEADERS_MAX = 200
IDLE_S = 75.0
"""How long a connection may wait for its next request."""
HEAD_S = 30.0
"""How long a request's head may take from its first octet to its last."""
STALL_S = 60.0
"""How long a client may neither send what we wait for nor take what we send."""
LINGER_S = 2.0
"""How long we read away what comes after our last reply, so that the reply is not lost with it."""
WATCH_S = 5.0
WAITING_REQUESTS_MAX = 32

_log = logging.getLogger(__name__)


class Door(Protocol):
    """What answers requests."""

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        """The reply. Raises nothing but `BodyCut`: the client is gone."""
        ...


class House(Protocol):
    """The listener, as its connections see it."""

    door: Door
    closing: bool
    """Whether no further request is taken."""

    def opened(self, connection: Connection) -> None:
        """A client came."""
        ...

    def closed(self, connection: Connection) -> None:
        """It went."""
        ...


_Asked: TypeAlias = tuple[HttpRequest, Incoming, bool, bool]
"""A request, its body, whether the connection may be kept, whether the client speaks HTTP/1.0 (which has no chunks)."""


class Connection(asyncio.Protocol):
    """Requests are answered one after the other, in order."""

    def __init__(self, house: House, origin: str = "") -> None:
        self.task: asyncio.Future[None] | None = None
        self.origin = origin
        """The sandbox that the client is in; empty for this machine."""
        self._peer = origin
        self._scheme = "http"
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._out = Outlet(self._loop)
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._chunk_octets = 0
        self._head_in_parts = False
        self._head_began = 0.0
        self._silent_octets = 0
        self._spoke = False
        self._incoming: Incoming | None = None
        self._waiting: deque[_Asked] = deque()
        self._paused = False
        self._watch: asyncio.TimerHandle | None = None
        self._deaf = False
        self._heard_all = False
        self._refusal: HTTPStatus | None = None
        self._ends_at = 0.0
        self._came = b""
        """The octets that came last, if they are few."""
        self._again: Again | None = None
        """What answers requests that are like one that was answered here before."""
        self._stores: Stores | None = None
        """The same of writes."""
        self._taking = False
        self._held = b""
        """What came while such a write was under way."""

    @property
    def touched(self) -> float:
        """When octets last moved, on the loop's clock."""
        return self._out.touched

    @property
    def endless(self) -> bool:
        """Whether the reply that is being written ends only when the client goes."""
        return self._out.endless

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._out.transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is no subclass
        self._house.opened(self)
        name = transport.get_extra_info("peername")
        if not self._peer:
            self._peer = str(cast("tuple[object, ...]", name)[0]) if isinstance(name, tuple) else "127.0.0.1"
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch = self._loop.call_later(WATCH_S, self._look)

    def data_received(self, data: bytes) -> None:
        self._out.touched = self._loop.time()
        if self._deaf:
            return
        if self._again is not None and self._at_rest() and (reply := self._again.answer(data)) is not None:
            self._out.transport.write(reply)
            return
        if self._taking:
            self._held += data
            self._out.transport.pause_reading()
            return
        if self._stores is not None and self._at_rest() and self._take(data):
            return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._came = data if len(data) <= REMEMBERED_MAX else b""
        self._spoke = False
        self._chunk_octets = len(data)
        try:
            self._parser.feed_data(data)
            # Why: the parser gathers a header, a chunk's extension or a trailer of any length before it says a word.
            self._silent_octets = 0 if self._spoke else self._silent_octets + len(data)
            if self._silent_octets > HEAD_OCTETS_MAX:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif self._head_began:
                self._head_in_parts = True
                self._check_head()
        except httptools.HttpParserUpgrade:
            # Why: the request itself was taken; what would follow it is another protocol, which nobody offered.
            self._deaf = True
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.status if isinstance(cause, RequestRefused) else HTTPStatus.BAD_REQUEST)
        except RequestRefused as refused:
            self._refuse(refused.status)
        if self.task is None and self._waiting:
            self.task = Begun(self._answer()).begin(self._loop)

    def _take(self, data: bytes) -> bool:
        """Begin a write that is like one before; whether it was begun."""
        stores = self._stores
        if stores is None or not stores.take(data, partial(self._told, data)):
            return False
        self._taking = True
        self.task = self._loop.create_future()
        return True

    def _told(self, data: bytes, reply: bytes | None) -> None:
        """The write is durable, or must be done the whole way."""
        task, self.task, self._taking = self.task, None, False
        self._out.touched = self._loop.time()
        if task is not None and not task.done():
            task.set_result(None)
        transport = self._out.transport
        if self._out.lost or transport.is_closing():
            return
        if reply is None:
            self._feed(data)
        else:
            transport.write(reply)
        if self._held:
            held, self._held = self._held, b""
            transport.resume_reading()
            self._feed(held)
        if self.task is None and (self._deaf or self._house.closing) and not self._ends_at:
            self._end()

    def _at_rest(self) -> bool:
        """Whether what comes now is the beginning of a request that can be answered at once."""
        return (
            self.task is None
            and self._incoming is None
            and not self._head_began
            and not self._silent_octets
            and not self._waiting
            and not self._house.closing
            and not self._out.full
            and not self._out.transport.is_closing()
        )

    def eof_received(self) -> bool:
        """The client sends no more; it may still read what it asked for."""
        self._deaf = self._heard_all = True
        if self._incoming is not None:
            self._incoming.end(failed=True)
        return not (self._ends_at or self._out.endless or self.task is None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.closed(self)
        self._deaf = True
        self._out.end()
        if self._watch is not None:
            self._watch.cancel()
        if self._incoming is not None:
            self._incoming.end(failed=True)
        for _, body, _, _ in self._waiting:
            body.end(failed=True)
        # Why: what only writes to a client that is gone is of no use; an operation is never stopped half way.
        if self._out.writing and self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self._out.pause()

    def resume_writing(self) -> None:
        self._out.resume()

    # what the parser calls

    def on_message_begin(self) -> None:
        self._spoke = True
        self._url = b""
        self._headers = []
        self._head_in_parts = False
        self._head_began = self._out.touched

    def on_url(self, url: bytes) -> None:
        self._spoke = True
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Why nothing else: this is called for each header of each request; how many there are is looked at afterwards.
        self._headers.append((name, value))

    def _check_head(self) -> None:
        """Refuse a head, or a part of one, that is too long. The parser's own memory is bounded by `data_received`."""
        octets = len(self._url) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if octets > HEAD_OCTETS_MAX or len(self._headers) > HEADERS_MAX:
            raise RequestRefused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_headers_complete(self) -> None:
        self._spoke = True
        if self._chunk_octets > HEAD_OCTETS_MAX // 2 or self._head_in_parts or len(self._headers) > 50:
            self._check_head()
        self._head_began = 0.0
        headers = headers_of(self._headers)
        first, parser = headers.first, self._parser
        method, version = parser.get_method().decode("latin-1"), parser.get_http_version()
        path, query = target_of(self._url.decode("latin-1"), headers)
        length = length_of(method, version, headers)
        request = HttpRequest(method, path, query, headers, self._peer, self._scheme, bool(self.origin))
        keep = version == "1.1" and "upgrade" not in first and parser.should_keep_alive()
        expects = "expect" in first and version == "1.1" and first["expect"].strip().lower() == "100-continue"
        self._incoming = body = Incoming(self, length, expects=expects)
        self._waiting.append((request, body, keep, version == "1.0"))
        if len(self._waiting) > 1:
            self._adjust_reading()

    def on_body(self, body: bytes) -> None:
        self._spoke = True
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        self._spoke = True
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None

    # reading

    def send(self, data: bytes) -> None:
        """Write octets, if the client is still there."""
        self._out.send(data)

    def body_changed(self) -> None:
        """A body's reader took octets, or octets came: read on, or wait for it."""
        self._out.touched = self._loop.time()
        self._adjust_reading()

    def divert(self, body: Incoming, into: Intake) -> Diverted | None:
        """Let the socket fill an intake with what is still to come of a body; None if it is not ours to fill."""
        transport = self._out.transport
        if body is not self._incoming or transport.is_closing() or transport.get_extra_info("sslcontext") is not None:
            return None
        return Diversion(self, transport, body, into, self._moved)

    def undivert(self, body: Incoming, diverted: Diverted) -> None:
        """Read on by a new parser: the old one still waits for the body."""
        whole = diverted.end()
        self._parser = httptools.HttpRequestParser(self)
        self._paused = True
        if whole:
            self.on_message_complete()
        else:
            self._deaf = True
            body.end(failed=True)
        self._adjust_reading()

    def _moved(self) -> None:
        self._out.touched = self._loop.time()

    def _adjust_reading(self) -> None:
        """Read no further while a body, or a queue of requests, waits for those who should take it."""
        if self._out.transport.is_closing():
            return
        waiting, limit = (0, 0) if self._incoming is None else (self._incoming.size, self._incoming.window)
        if self._paused:
            limit //= 2
        paused = not self._ends_at and (waiting > limit or len(self._waiting) > WAITING_REQUESTS_MAX)
        if paused and not self._paused:
            self._out.transport.pause_reading()
        elif self._paused and not paused:
            self._out.touched = self._loop.time()
            self._out.transport.resume_reading()
        self._paused = paused

    def _refuse(self, status: HTTPStatus) -> None:
        """Answer what came before, then say no, then end."""
        self._deaf = True
        self._refusal = status
        if self._incoming is not None:
            self._incoming.end(failed=True)
        if self.task is None and not self._waiting:
            self._end()

    def _end(self) -> None:
        """End the connection after what was written, the refusal included, has gone out."""
        if self._out.transport.is_closing():
            return
        if self._refusal is not None and not self._out.begun:
            self.send(STATUS_LINES[self._refusal] + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        unread = self._incoming is not None or self._refusal is not None
        self._deaf = True
        if self._heard_all or not unread:
            self._out.transport.close()
            return
        # Why: closing a socket that holds unread octets resets it, and the client may lose our reply (RFC 9112, 9.6).
        self._ends_at = self._loop.time() + LINGER_S
        if self._out.transport.can_write_eof():
            self._out.transport.write_eof()
        self._adjust_reading()
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(LINGER_S, self._out.transport.abort)

    def close(self) -> None:
        """End the connection now; a reply that is being written is cut."""
        if self.task is not None:
            self.task.cancel()
        self._out.transport.close()

    def _look(self) -> None:
        """Now and then: end a connection whose client keeps us waiting."""
        now = self._loop.time()
        quiet_s = now - self._out.touched
        if self.task is None:
            late = quiet_s > IDLE_S or (self._head_began > 0 and now - self._head_began > HEAD_S)
        else:
            late = self._held_up() and quiet_s > STALL_S
        if late:
            self._out.transport.abort()
            return
        self._watch = self._loop.call_later(WATCH_S, self._look)

    def _held_up(self) -> bool:
        """Whether the client, and nobody else, holds up the answer."""
        if self._out.writing:
            return self._out.full
        return bool(self._waiting) and self._waiting[0][1].wanted

    # answering

    async def _answer(self) -> None:
        try:
            while self._waiting and not self._out.lost:
                request, body, keep, old = self._waiting[0]
                reply = await self._house.door.handle(request, body)
                whole = body.finished
                keep = keep and not self._house.closing and (whole or _rest_is_small(body)) and not last_of(reply)
                head, chunked = head_of(reply, keep=keep, old=old)
                if reply.storing is not None and keep and not old and (self._stores is None or self._stores.outworn):
                    self._stores = reply.storing.learn(self._came, request, head)
                bodyless = request.method == "HEAD" or reply.status in (204, 304)
                if type(reply.body) is bytes and not chunked:
                    self._out.begun = True
                    data = head if bodyless else head + reply.body
                    self.send(data)
                    if reply.again is not None and keep:
                        self._again = reply.again.learn(self._came, request, data)
                    if self._out.lost or self._out.full:
                        await self._out.taken()
                else:
                    await self._out.write(
                        head, reply, chunked=chunked, bodyless=bodyless, secure=self._scheme == "https"
                    )
                if not keep or not ((whole and not body.size) or await _read_away(body)):
                    self._end()
                    return
                self._waiting.popleft()
                self._out.begun = False
                if self._paused:
                    self._adjust_reading()
            if self._deaf:
                self._end()
        except BodyCut:
            self._end()
        except ConnectionError:
            self._out.transport.abort()
        except Exception:  # noqa: BLE001 - the edge: one bad connection must not become a silent task
            _log.exception("a connection failed")
            if self._out.begun:
                self._out.transport.abort()
            else:
                self._refusal = HTTPStatus.INTERNAL_SERVER_ERROR
                self._end()
        finally:
            self.task = None
            self._came = b""
            self._out.touched = self._loop.time()
            for _, body, _, _ in self._waiting:  # Why: there are some only if the connection ends
                body.forget()


def _rest_is_small(body: Incoming) -> bool:
    """Whether what is left of a body can be read away, so that it is not taken for the next request."""
    return body.finished or (not body.withheld and body.left is not None and body.left <= BODY_WINDOW)


async def _read_away(body: Incoming) -> bool:
    """Read what nobody wanted; False if the client did not send it."""
    if body.finished and not body.size:
        return True
    try:
        async for _ in body:
            pass
    except BodyCut:
        return False
    return True
