# SPDX-License-Identifier: Apache-2.0
"""HTTP messages on a stream, parsed by httptools: heads, and bodies chunk by chunk.

Source: RFC 9110, RFC 9112.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import httptools

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD_OCTETS_MAX = 32 * 1024
HEADERS_MAX = 100
_READ = 64 * 1024
HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


class BadMessage(Exception):  # noqa: N818 - it says what the message is
    """The peer does not speak HTTP/1.1, or too much of it."""


class Message:
    """One request or response. `done` says that its body is complete."""

    def __init__(self) -> None:
        self.method = ""
        self.target = ""
        self.status = 0
        self.version = "1.1"
        self.headers: list[tuple[str, str]] = []
        self.keep_alive = False
        self.upgrade = False
        self.complete_head = False
        self.done = False
        self.chunks: deque[bytes] = deque()

    def get(self, name: str) -> str:
        """First value of a header (lower case)."""
        return next((v for n, v in self.headers if n.lower() == name), "")

    def all(self, name: str) -> list[str]:
        """Every value of a header (lower case)."""
        return [v for n, v in self.headers if n.lower() == name]

    @property
    def framed(self) -> bool:
        """Whether the message itself says where its body ends."""
        return bool(self.get("content-length")) or "chunked" in self.get("transfer-encoding").lower()

    def end_to_end(self) -> list[tuple[str, str]]:
        """Headers that go on to the other side."""
        named = {n.strip().lower() for value in self.all("connection") for n in value.split(",")}
        return [(n, v) for n, v in self.headers if n.lower() not in HOP_BY_HOP and n.lower() not in named]


class Messages:
    """The messages that come on one stream, one after the other."""

    def __init__(self, reader: asyncio.StreamReader, *, responses: bool, idle_s: float) -> None:
        self._reader = reader
        self._idle_s = idle_s
        self._responses = responses
        self._parser = httptools.HttpResponseParser(self) if responses else httptools.HttpRequestParser(self)
        self._queue: deque[Message] = deque()
        self._target = b""
        self._head_octets = 0
        self.rest = b""
        """What came after an upgrade."""

    async def next(self) -> Message | None:
        """The head of the next message; None when the peer has closed in between.

        Raises:
            BadMessage: not HTTP. TimeoutError: nothing came.
        """
        while not (self._queue and self._queue[0].complete_head):
            if not await self._feed():
                if self._queue:
                    raise BadMessage("the connection ended within a head")
                return None
        return self._queue[0]

    def forget(self) -> None:
        """Go on to the next message."""
        self._queue.popleft()

    async def body(self, message: Message) -> AsyncIterator[bytes]:
        """The body's chunks, without their framing.

        Raises:
            BadMessage: the connection ended within it.
        """
        while True:
            while message.chunks:
                yield message.chunks.popleft()
            if message.done:
                return
            if not await self._feed():
                if self._responses and not message.framed:
                    return
                raise BadMessage("the connection ended within a body")

    async def raw(self) -> bytes:
        """Octets after an upgrade; empty at the end."""
        if self.rest:
            rest, self.rest = self.rest, b""
            return rest
        return await self._reader.read(_READ)

    async def _feed(self) -> bool:
        async with asyncio.timeout(self._idle_s):
            data = await self._reader.read(_READ)
        if not data:
            return False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.rest = data[int(upgrade.args[0]) :]
            self._queue[-1].upgrade = True
            self._queue[-1].done = True
        except (httptools.HttpParserError, httptools.HttpParserCallbackError) as error:
            raise BadMessage(str(error)) from None
        if len(self._queue) > 32:
            raise BadMessage("too many pipelined requests")
        return True

    # httptools calls these

    def on_message_begin(self) -> None:
        self._queue.append(Message())
        self._target = b""
        self._head_octets = 0

    def on_url(self, url: bytes) -> None:
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        message = self._queue[-1]
        if message.complete_head:
            return
        message.headers.append((name.decode("latin-1"), value.decode("latin-1")))
        if len(message.headers) > HEADERS_MAX:
            raise BadMessage("too many headers")

    def _count(self, octets: int) -> None:
        self._head_octets += octets
        if self._head_octets > HEAD_OCTETS_MAX:
            raise BadMessage("the head is too long")

    def on_headers_complete(self) -> None:
        message = self._queue[-1]
        message.version = self._parser.get_http_version()
        message.keep_alive = self._parser.should_keep_alive()
        if isinstance(self._parser, httptools.HttpRequestParser):
            message.method = self._parser.get_method().decode("latin-1")
            message.target = self._target.decode("latin-1")
        else:
            message.status = self._parser.get_status_code()
        message.complete_head = True

    def on_body(self, data: bytes) -> None:
        self._queue[-1].chunks.append(data)

    def on_message_complete(self) -> None:
        self._queue[-1].done = True
