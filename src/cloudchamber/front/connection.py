# SPDX-License-Identifier: Apache-2.0
"""One client's connection: its octets to requests, its replies to octets.

httptools (llhttp, strict) refuses most of what could be read in two ways: both a length and a transfer coding, several
lengths, folded lines, bare line feeds. What it lets through and we do not want is refused in `_checked`.
Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from contextlib import aclosing, asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

import httptools

from cloudchamber.base.body import FileSlice
from cloudchamber.base.drawn import Drawn
from cloudchamber.front.begun import Begun
from cloudchamber.front.diversion import Diversion
from cloudchamber.front.head import STATUS_LINES, RequestRefused, head_of, headers_of, last_of, length_of, target_of
from cloudchamber.front.incoming import BODY_WINDOW, BodyCut, Incoming
from cloudchamber.front.pump import FilePump, PiecePump, Pump
from cloudchamber.wire.http import HttpReply, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Generator

    from cloudchamber.base.body import Intake
    from cloudchamber.front.incoming import Diverted
    from cloudchamber.wire.http import Again

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
PIECE_OCTETS = 1024 * 1024
THREAD_OCTETS = 256 * 1024
"""Files from this size on are sent by a thread, so that a slow disk holds up nobody else."""
ENDLESS = ("text/event-stream", "application/vnd.amazon.eventstream")
"""Kinds of replies that may last as long as the client stays."""

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
        self.task: asyncio.Task[None] | None = None
        self.endless = False
        """Whether the reply that is being written ends only when the client goes."""
        self.origin = origin
        """The sandbox that the client is in; empty for this machine."""
        self._peer = origin
        self._scheme = "http"
        self._house = house
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
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
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._watch: asyncio.TimerHandle | None = None
        self.touched = self._loop.time()
        """When octets last moved, on the loop's clock."""
        self._deaf = False
        self._heard_all = False
        self._refusal: HTTPStatus | None = None
        self._lost = False
        self._writing = False
        self._head_sent = False
        self._ends_at = 0.0
        self._came = b""
        """The octets that came last."""
        self._again: Again | None = None
        """What answers requests that are like one that was answered here before."""

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is no subclass
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
        self.touched = self._loop.time()
        if self._deaf:
            return
        if self._again is not None and self._at_rest() and (reply := self._again.answer(data)) is not None:
            self._transport.write(reply)
            return
        self._came = data
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

    def _at_rest(self) -> bool:
        """Whether what comes now is the beginning of a request that can be answered at once."""
        return (
            self.task is None
            and self._incoming is None
            and not self._head_began
            and not self._silent_octets
            and not self._waiting
            and not self._house.closing
            and self._can_write.is_set()
            and not self._transport.is_closing()
        )

    def eof_received(self) -> bool:
        """The client sends no more; it may still read what it asked for."""
        self._deaf = self._heard_all = True
        if self._incoming is not None:
            self._incoming.end(failed=True)
        return not (self._ends_at or self.endless or self.task is None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._house.closed(self)
        self._lost = self._deaf = True
        self._can_write.set()
        if self._watch is not None:
            self._watch.cancel()
        if self._incoming is not None:
            self._incoming.end(failed=True)
        for _, body, _, _ in self._waiting:
            body.end(failed=True)
        # Why: what only writes to a client that is gone is of no use; an operation is never stopped half way.
        if self._writing and self.task is not None:
            self.task.cancel()

    def pause_writing(self) -> None:
        self.touched = self._loop.time()
        self._can_write.clear()

    def resume_writing(self) -> None:
        self.touched = self._loop.time()
        self._can_write.set()

    # what the parser calls

    def on_message_begin(self) -> None:
        self._spoke = True
        self._url = b""
        self._headers = []
        self._head_in_parts = False
        self._head_began = self.touched

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
        if not self._transport.is_closing():
            self._transport.write(data)

    def body_changed(self) -> None:
        """A body's reader took octets, or octets came: read on, or wait for it."""
        self.touched = self._loop.time()
        self._adjust_reading()

    def divert(self, body: Incoming, into: Intake) -> Diverted | None:
        """Let the socket fill an intake with what is still to come of a body; None if it is not ours to fill."""
        transport = self._transport
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
        self.touched = self._loop.time()

    def _adjust_reading(self) -> None:
        """Read no further while a body, or a queue of requests, waits for those who should take it."""
        if self._transport.is_closing():
            return
        waiting, limit = (0, 0) if self._incoming is None else (self._incoming.size, self._incoming.window)
        if self._paused:
            limit //= 2
        paused = not self._ends_at and (waiting > limit or len(self._waiting) > WAITING_REQUESTS_MAX)
        if paused and not self._paused:
            self._transport.pause_reading()
        elif self._paused and not paused:
            self.touched = self._loop.time()
            self._transport.resume_reading()
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
        if self._transport.is_closing():
            return
        if self._refusal is not None and not self._head_sent:
            self.send(STATUS_LINES[self._refusal] + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        unread = self._incoming is not None or self._refusal is not None
        self._deaf = True
        if self._heard_all or not unread:
            self._transport.close()
            return
        # Why: closing a socket that holds unread octets resets it, and the client may lose our reply (RFC 9112, 9.6).
        self._ends_at = self._loop.time() + LINGER_S
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._adjust_reading()
        if self._watch is not None:
            self._watch.cancel()
        self._watch = self._loop.call_later(LINGER_S, self._transport.abort)

    def close(self) -> None:
        """End the connection now; a reply that is being written is cut."""
        if self.task is not None:
            self.task.cancel()
        self._transport.close()

    def _look(self) -> None:
        """Now and then: end a connection whose client keeps us waiting."""
        now = self._loop.time()
        quiet_s = now - self.touched
        if self.task is None:
            late = quiet_s > IDLE_S or (self._head_began > 0 and now - self._head_began > HEAD_S)
        else:
            late = self._held_up() and quiet_s > STALL_S
        if late:
            self._transport.abort()
            return
        self._watch = self._loop.call_later(WATCH_S, self._look)

    def _held_up(self) -> bool:
        """Whether the client, and nobody else, holds up the answer."""
        if self._writing:
            return not self._can_write.is_set()
        return bool(self._waiting) and self._waiting[0][1].wanted

    # answering

    async def _answer(self) -> None:
        try:
            while self._waiting and not self._lost:
                request, body, keep, old = self._waiting[0]
                reply = await self._house.door.handle(request, body)
                whole = body.finished
                keep = keep and not self._house.closing and (whole or _rest_is_small(body)) and not last_of(reply)
                if (
                    reply.again is not None
                    and keep
                    and not old
                    and body.length == 0
                    and "expect" not in request.headers
                ):
                    self._again = reply.again.learn(self._came, request, reply)
                head, chunked = head_of(reply, keep=keep, old=old)
                bodyless = request.method == "HEAD" or reply.status in (204, 304)
                if type(reply.body) is bytes and not chunked:
                    self._head_sent = True
                    self.send(head if bodyless else head + reply.body)
                    if self._lost or not self._can_write.is_set():
                        await self._taken()
                else:
                    await self._write(head, reply, chunked=chunked, bodyless=bodyless)
                if not keep or not ((whole and not body.size) or await _read_away(body)):
                    self._end()
                    return
                self._waiting.popleft()
                self._head_sent = False
                if self._paused:
                    self._adjust_reading()
            if self._deaf:
                self._end()
        except BodyCut:
            self._end()
        except ConnectionError:
            self._transport.abort()
        except Exception:  # noqa: BLE001 - the edge: one bad connection must not become a silent task
            _log.exception("a connection failed")
            if self._head_sent:
                self._transport.abort()
            else:
                self._refusal = HTTPStatus.INTERNAL_SERVER_ERROR
                self._end()
        finally:
            self.task = None
            self.touched = self._loop.time()
            for _, body, _, _ in self._waiting:  # Why: there are some only if the connection ends
                body.forget()

    async def _write(self, head: bytes, reply: HttpReply, *, chunked: bool, bodyless: bool) -> None:
        body = reply.body
        self._writing = True
        try:
            if isinstance(body, bytes):
                self._head_sent = True
                self.send(head if bodyless else head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                await self._room()
            elif isinstance(body, FileSlice) and self._scheme == "https":
                with body.path.open("rb") as file:
                    read = Drawn(_pieces(file.fileno(), body))
                    await self._send_stream(head, read, chunked=False, bodyless=bodyless)
            elif isinstance(body, FileSlice):
                await self._send_file(head, body, bodyless=bodyless)
            elif isinstance(body, Drawn) and not chunked and self._scheme == "http":
                await self._send_drawn(head, body, bodyless=bodyless)
            else:
                self.endless = any(v.startswith(ENDLESS) for n, v in reply.headers if n == "Content-Type")
                await self._send_stream(head, body, chunked=chunked, bodyless=bodyless)
        finally:
            self._writing = self.endless = False

    async def _taken(self) -> None:
        """As `_room`, of a whole reply."""
        self._writing = True
        try:
            await self._room()
        finally:
            self._writing = False

    async def _room(self) -> None:
        """Wait until the client has taken most of what was sent."""
        if not self._can_write.is_set():
            await self._can_write.wait()
        if self._lost:
            raise BodyCut("the client went away")

    async def _send_stream(self, head: bytes, body: AsyncIterable[bytes], *, chunked: bool, bodyless: bool) -> None:
        generator = cast("AsyncGenerator[bytes, Any]", body)
        async with aclosing(generator) if hasattr(body, "aclose") else nullcontext():
            self._head_sent = True
            self.send(head)
            if bodyless:
                return
            async for chunk in body:
                if chunk:
                    self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._room()
            if chunked:
                self.send(b"0\r\n\r\n")

    async def _send_file(self, head: bytes, part: FileSlice, *, bodyless: bool) -> None:
        """Let the kernel copy the file to the socket; a large one on a thread."""
        with part.path.open("rb") as file:
            self._head_sent = True
            if bodyless:
                self.send(head)
                return
            async with self._past_transport(head) as descriptor:
                if part.length > THREAD_OCTETS:
                    await self._pump(FilePump(descriptor, file.fileno(), part.offset, part.length), descriptor)
                else:
                    await self._copy(descriptor, file.fileno(), part)

    async def _send_drawn(self, head: bytes, body: Drawn, *, bodyless: bool) -> None:
        """Let a thread make the octets, and send them."""
        try:
            self._head_sent = True
            if bodyless:
                self.send(head)
                return
            async with self._past_transport(head) as descriptor:
                await self._pump(PiecePump(descriptor, body.pieces), descriptor)
        finally:
            body.pieces.close()

    @asynccontextmanager
    async def _past_transport(self, head: bytes) -> AsyncGenerator[int]:
        """Send a head; when it is gone, a descriptor of the socket for octets that go past the transport."""
        self._transport.set_write_buffer_limits(0)
        descriptor = -1
        try:
            self.send(head)
            await self._flushed()
            # Why a second descriptor: the loop lets nobody watch the transport's own.
            descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
            yield descriptor
        finally:
            self._can_write.set()
            if descriptor >= 0:
                os.close(descriptor)
            if not self._transport.is_closing():
                self._transport.set_write_buffer_limits()

    async def _pump(self, pump: Pump, descriptor: int) -> None:
        while not await pump.run():
            if self._lost:
                raise BodyCut("the client went away")
            self.pause_writing()
            await _writable(self._loop, descriptor)
            self.resume_writing()
        self._moved()

    async def _flushed(self) -> None:
        """Wait until the transport holds nothing back: what the kernel sends next must come after it."""
        while True:
            await self._room()
            if self._transport.get_write_buffer_size() == 0:
                return
            await asyncio.sleep(0)

    async def _copy(self, descriptor: int, source: int, part: FileSlice) -> None:
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            if self._lost:
                raise BodyCut("the client went away")
            try:
                sent = os.sendfile(descriptor, source, offset, end - offset)
            except BlockingIOError:
                self.pause_writing()
                await _writable(self._loop, descriptor)
                self.resume_writing()
                continue
            if sent == 0:
                raise ConnectionError("the file is shorter than its row says")
            offset += sent


def _pieces(source: int, part: FileSlice) -> Generator[bytes, None, None]:
    """A file by way of this process, which encrypts it."""
    offset, end = part.offset, part.offset + part.length
    while offset < end:
        piece = os.pread(source, min(end - offset, PIECE_OCTETS), offset)
        if not piece:
            raise ConnectionError("the file is shorter than its row says")
        yield piece
        offset += len(piece)


async def _writable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


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
