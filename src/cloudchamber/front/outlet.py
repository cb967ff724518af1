# SPDX-License-Identifier: Apache-2.0
"""How replies go out to a client: octets, streams, files by the kernel, octets that a thread makes."""

from __future__ import annotations

import asyncio
import os
from contextlib import aclosing, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.body import FileSlice
from cloudchamber.base.drawn import Drawn
from cloudchamber.front.incoming import BodyCut
from cloudchamber.front.pump import FilePump, PiecePump, Pump

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Generator

    from cloudchamber.wire.http import HttpReply

PIECE_OCTETS = 1024 * 1024
THREAD_OCTETS = 256 * 1024
"""Files from this size on are sent by a thread, so that a slow disk holds up nobody else."""
ENDLESS = ("text/event-stream", "application/vnd.amazon.eventstream")
"""Kinds of replies that may last as long as the client stays."""


class Outlet:
    """One connection's way out."""

    transport: asyncio.Transport
    """From `connection_made` on."""
    lost = False
    """Whether the client went."""
    writing = False
    """Whether something waits for the client to take octets."""
    begun = False
    """Whether the head of the reply to the request at hand has gone out."""
    endless = False
    """Whether the reply that is being written ends only when the client goes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.touched = loop.time()
        """When octets last moved, in either direction, on the loop's clock."""
        self._free = asyncio.Event()
        self._free.set()

    @property
    def full(self) -> bool:
        """Whether the client takes no more for now."""
        return not self._free.is_set()

    def send(self, data: bytes) -> None:
        """Write octets, if the client is still there."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def pause(self) -> None:
        """The client takes no more for now."""
        self.touched = self._loop.time()
        self._free.clear()

    def resume(self) -> None:
        """It takes more."""
        self.touched = self._loop.time()
        self._free.set()

    def end(self) -> None:
        """The client went."""
        self.lost = True
        self._free.set()

    async def write(self, head: bytes, reply: HttpReply, *, chunked: bool, bodyless: bool, secure: bool) -> None:
        """Write a reply; return when the client has taken most of it."""
        body = reply.body
        self.writing = True
        try:
            if isinstance(body, bytes):
                self.begun = True
                self.send(head if bodyless else head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
                await self._room()
            elif isinstance(body, FileSlice) and secure:
                with body.path.open("rb") as file:
                    read = Drawn(_pieces(file.fileno(), body))
                    await self._send_stream(head, read, chunked=False, bodyless=bodyless)
            elif isinstance(body, FileSlice):
                await self._send_file(head, body, bodyless=bodyless)
            elif isinstance(body, Drawn) and not chunked and not secure:
                await self._send_drawn(head, body, bodyless=bodyless)
            else:
                self.endless = any(v.startswith(ENDLESS) for n, v in reply.headers if n == "Content-Type")
                await self._send_stream(head, body, chunked=chunked, bodyless=bodyless)
        finally:
            self.writing = self.endless = False

    async def taken(self) -> None:
        """As `_room`, of a whole reply."""
        self.writing = True
        try:
            await self._room()
        finally:
            self.writing = False

    async def _room(self) -> None:
        """Wait until the client has taken most of what was sent."""
        if not self._free.is_set():
            await self._free.wait()
        if self.lost:
            raise BodyCut("the client went away")

    async def _send_stream(self, head: bytes, body: AsyncIterable[bytes], *, chunked: bool, bodyless: bool) -> None:
        generator = cast("AsyncGenerator[bytes, Any]", body)
        async with aclosing(generator) if hasattr(body, "aclose") else nullcontext():
            self.begun = True
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
            self.begun = True
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
            self.begun = True
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
        self.transport.set_write_buffer_limits(0)
        descriptor = -1
        try:
            self.send(head)
            await self._flushed()
            # Why a second descriptor: the loop lets nobody watch the transport's own.
            descriptor = os.dup(self.transport.get_extra_info("socket").fileno())
            yield descriptor
        finally:
            self._free.set()
            if descriptor >= 0:
                os.close(descriptor)
            if not self.transport.is_closing():
                self.transport.set_write_buffer_limits()

    async def _pump(self, pump: Pump, descriptor: int) -> None:
        while not await pump.run():
            if self.lost:
                raise BodyCut("the client went away")
            self.pause()
            await _writable(self._loop, descriptor)
            self.resume()
        self.touched = self._loop.time()

    async def _flushed(self) -> None:
        """Wait until the transport holds nothing back: what the kernel sends next must come after it."""
        while True:
            await self._room()
            if self.transport.get_write_buffer_size() == 0:
                return
            await asyncio.sleep(0)

    async def _copy(self, descriptor: int, source: int, part: FileSlice) -> None:
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            if self.lost:
                raise BodyCut("the client went away")
            try:
                sent = os.sendfile(descriptor, source, offset, end - offset)
            except BlockingIOError:
                self.pause()
                await _writable(self._loop, descriptor)
                self.resume()
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
