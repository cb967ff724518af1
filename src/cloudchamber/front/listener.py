# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on raw sockets: httptools parses, uvloop moves the bytes.

Why not a framework: this door needs the headers as they were signed, `100 Continue` only after IAM said yes, trailers,
and files sent by the kernel; and it answers two to four times as many requests as one.
Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from cloudchamber.base.body import FileSlice
from cloudchamber.wire.http import Headers, HttpReply, HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HEAD_OCTETS_MAX = 64 * 1024
HEADERS_MAX = 200
BODY_WINDOW = 1024 * 1024
"""Octets of a body that wait for its reader before the socket is read no further."""
IDLE_S = 75.0
WAITING_REQUESTS_MAX = 32

_log = logging.getLogger(__name__)
_STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Door(Protocol):
    """What answers requests."""

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        """The reply. Must not raise."""
        ...


class BodyCut(ConnectionError):
    """The client went away, or broke the framing, in the middle of a body."""


class Incoming:
    """The body of one request as it arrives: a `base.body.Body` of the octets on the wire."""

    __slots__ = ("_chunks", "_connection", "_done", "_expects", "_failed", "_size", "_waiter", "length", "started")

    def __init__(self, connection: _Connection, length: int | None, *, expects: bool) -> None:
        self.length = length
        self.started = False
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._done = length == 0
        self._failed = False
        self._expects = expects
        self._waiter: asyncio.Future[None] | None = None

    @property
    def trailers(self) -> Mapping[str, str]:
        """HTTP trailers are not used by AWS's clients; those of aws-chunked are inside the body."""
        return {}

    @property
    def finished(self) -> bool:
        """Whether every octet has come."""
        return self._done

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._expects and not self._done:
            self._expects = False
            self._connection.send(_CONTINUE)
        self.started = True
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                if self._size < BODY_WINDOW // 2:
                    self._connection.resume_reading()
                yield chunk
            if self._failed:
                raise BodyCut("the connection ended in the middle of a body")
            if self._done:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def feed(self, chunk: bytes) -> None:
        """Octets came."""
        self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > BODY_WINDOW:
            self._connection.pause_reading()
        self._notify()

    def end(self, *, failed: bool = False) -> None:
        """The last octet came, or the connection was lost."""
        if failed and not self._done:
            self._failed = True
        self._done = True
        self._notify()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Connection(asyncio.Protocol):
    """One client connection: requests are answered one after the other, in order."""

    def __init__(self, listener: Listener, peer: str, scheme: str) -> None:
        self._listener = listener
        self._peer = peer
        self._scheme = scheme
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._head_octets = 0
        self._expects = False
        self._incoming: Incoming | None = None
        self._waiting: deque[tuple[HttpRequest, Incoming, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._paused = False
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._idle: asyncio.TimerHandle | None = None
        self._broken = False

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, which is no subclass
        self._listener.connections.add(self)
        peer = transport.get_extra_info("peername")
        if not self._peer:
            self._peer = peer[0] if isinstance(peer, tuple) else "127.0.0.1"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._watch_idle()

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(HTTPStatus.NOT_IMPLEMENTED)
        except (httptools.HttpParserError, _TooLarge) as error:
            if self._incoming is not None:
                self._incoming.end(failed=True)
            status = (
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
                if isinstance(error.__context__ or error, _TooLarge)
                else HTTPStatus.BAD_REQUEST
            )
            self._refuse(status)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        self._broken = True
        self._can_write.set()
        if self._idle is not None:
            self._idle.cancel()
        if self._incoming is not None:
            self._incoming.end(failed=True)
        for _, body, _ in self._waiting:
            body.end(failed=True)

    def pause_writing(self) -> None:
        self._can_write.clear()

    def resume_writing(self) -> None:
        self._can_write.set()

    # what the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_octets = 0
        self._expects = False

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        if len(self._headers) >= HEADERS_MAX:
            raise _TooLarge
        text = name.decode("latin-1").lower()
        if text == "expect" and value.lower() == b"100-continue":
            self._expects = True
        # Why: header values are UTF-8 in practice (x-amz-meta-*); what is not stays as latin-1.
        try:
            self._headers.append((text, value.decode()))
        except UnicodeDecodeError:
            self._headers.append((text, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        headers = Headers(self._headers)
        target = self._url.decode("latin-1")
        if not target.startswith("/"):  # absolute form: http://host/path
            target = "/" + target.partition("://")[2].partition("/")[2] if "://" in target else "/"
        path, _, query = target.partition("?")
        request = HttpRequest(
            self._parser.get_method().decode("latin-1"), path, query, headers, self._peer, self._scheme
        )
        length: int | None = None
        if "transfer-encoding" not in headers:
            text = headers.get("content-length", "0")
            length = int(text) if text.isdigit() else 0
        self._incoming = Incoming(self, length, expects=self._expects)
        self._waiting.append((request, self._incoming, self._parser.should_keep_alive()))
        if len(self._waiting) > WAITING_REQUESTS_MAX:
            raise _TooLarge
        if self._task is None:
            self._task = self._loop.create_task(self._answer())

    def on_body(self, body: bytes) -> None:
        if self._incoming is not None:
            self._incoming.feed(body)

    def on_message_complete(self) -> None:
        if self._incoming is not None:
            self._incoming.end()
            self._incoming = None

    # answering

    def send(self, data: bytes) -> None:
        """Write octets, if the client is still there."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def close(self) -> None:
        """End the connection; replies that are being written are cut."""
        if self._task is not None:
            self._task.cancel()
        self._transport.close()

    def _count(self, octets: int) -> None:
        self._head_octets += octets
        if self._head_octets > HEAD_OCTETS_MAX:
            raise _TooLarge

    def _refuse(self, status: HTTPStatus) -> None:
        self._broken = True
        if self._task is None and not self._transport.is_closing():
            self._transport.write(_STATUS_LINES[status] + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
        self._transport.close()

    def _watch_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = self._loop.call_later(IDLE_S, self._give_up)

    def _give_up(self) -> None:
        if self._task is None:
            self._transport.close()
        else:
            self._watch_idle()

    async def _answer(self) -> None:
        try:
            while self._waiting and not self._broken:
                request, body, keep = self._waiting[0]
                reply = await self._listener.door.handle(request, body)
                # Why: a client that was not read to its end would take the rest of its body for the next request.
                keep = keep and not self._broken and await _rest_is_small(body)
                await self._write(request, reply, keep=keep)
                self._waiting.popleft()
                if not keep:
                    self._transport.close()
                    return
        except ConnectionError:
            self._transport.close()
        except Exception:  # noqa: BLE001 - the edge: one bad connection must not become a silent task
            _log.exception("a connection failed")
            self._transport.abort()
        finally:
            self._task = None
            self._watch_idle()

    async def _write(self, request: HttpRequest, reply: HttpReply, *, keep: bool) -> None:
        head = [_STATUS_LINES.get(reply.status) or f"HTTP/1.1 {reply.status} Status\r\n".encode()]
        named = {name.lower() for name, _ in reply.headers}
        lines = "".join(f"{n}: {_clean(v)}\r\n" for n, v in reply.headers)
        body = reply.body
        bodyless = request.method == "HEAD" or reply.status in (204, 304)
        chunked = False
        if "content-length" not in named and reply.status not in (204, 304):
            if isinstance(body, bytes):
                lines += f"Content-Length: {len(body)}\r\n"
            elif isinstance(body, FileSlice):
                lines += f"Content-Length: {body.length}\r\n"
            else:
                chunked = True
                lines += "Transfer-Encoding: chunked\r\n"
        if not keep:
            lines += "Connection: close\r\n"
        head.append(lines.encode("utf-8", "surrogateescape") + b"\r\n")
        if isinstance(body, bytes):
            self.send(b"".join(head) if bodyless else b"".join([*head, body]))
            if not self._can_write.is_set():
                await self._can_write.wait()
            return
        self.send(b"".join(head))
        if bodyless:
            return
        if isinstance(body, FileSlice):
            await self._send_file(body)
        else:
            await self._send_stream(body, chunked=chunked)

    async def _send_stream(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        async for chunk in body:
            if self._transport.is_closing():
                raise BodyCut("the client went away")
            if chunk:
                self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await self._can_write.wait()
        if chunked:
            self.send(b"0\r\n\r\n")

    async def _send_file(self, part: FileSlice) -> None:
        """Let the kernel copy the file to the socket; the loop only waits until there is room."""
        sock = self._transport.get_extra_info("socket")
        with part.path.open("rb") as file:
            if sock is None or self._scheme == "https":
                await self._copy_file(file.fileno(), part)
                return
            self._transport.set_write_buffer_limits(0)
            await self._can_write.wait()
            descriptor = os.dup(sock.fileno())
            try:
                offset, end = part.offset, part.offset + part.length
                while offset < end:
                    if self._transport.is_closing():
                        raise BodyCut("the client went away")
                    try:
                        sent = os.sendfile(descriptor, file.fileno(), offset, min(end - offset, 4 * 1024 * 1024))
                    except BlockingIOError:
                        await _writable(self._loop, descriptor)
                        continue
                    if sent == 0:
                        raise BodyCut("the file is shorter than its row says")
                    offset += sent
                    await asyncio.sleep(0)
            finally:
                os.close(descriptor)
                if not self._transport.is_closing():
                    self._transport.set_write_buffer_limits()

    async def _copy_file(self, descriptor: int, part: FileSlice) -> None:
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            chunk = os.pread(descriptor, min(256 * 1024, end - offset), offset)
            if not chunk or self._transport.is_closing():
                raise BodyCut("the body could not be sent whole")
            self.send(chunk)
            offset += len(chunk)
            await self._can_write.wait()


class _TooLarge(Exception):  # noqa: N818 - never leaves this module
    """More headers than anybody sends."""


def _clean(value: str) -> str:
    """A header value without line breaks: what a client stored must not become a header of its own."""
    return value.replace("\r", " ").replace("\n", " ") if "\n" in value or "\r" in value else value


async def _writable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


async def _rest_is_small(body: Incoming) -> bool:
    """Read away what is left of a body that nobody wanted; False if that is not worth it."""
    if body.finished and not body._chunks:
        return True
    if not body.started and body._expects:
        return False
    size = 0
    try:
        async for chunk in body:
            size += len(chunk)
            if size > BODY_WINDOW:
                return False
    except BodyCut:
        return False
    return True


class Listener:
    """Listening sockets that lead to one door."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.connections: set[_Connection] = set()
        self._servers: list[asyncio.Server] = []

    async def listen(self, host: str, port: int) -> int:
        """Listen on an address of this machine; returns the port.

        Raises:
            OSError: the port is taken.
        """
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self, "", "http"), host, port, backlog=1024)
        self._servers.append(server)
        return server.sockets[0].getsockname()[1]

    async def serve(self, sock: socket.socket, *, peer: str) -> asyncio.Server:
        """Answer on a socket that listens already, somewhere inside a sandbox; `peer` says whose it is."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self, peer, "http"), sock=sock, backlog=1024)
        self._servers.append(server)
        return server

    async def close(self) -> None:
        """Stop listening; connections that wait for a reply get a moment to receive it."""
        for server in self._servers:
            server.close()
        tasks = [c._task for c in self.connections if c._task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        for connection in list(self.connections):
            connection.close()
