# SPDX-License-Identifier: Apache-2.0
"""The body of one request as it arrives."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Protocol

from cloudchamber.base.body import put_into

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cloudchamber.base.body import Intake

BODY_WINDOW = 1024 * 1024
"""Octets of a body that wait for its reader before the socket is read no further."""
WAITING_MAX = 16 * 1024 * 1024
"""Octets of all bodies together that wait; beyond, none has more than `NARROW` of them."""
NARROW = 64 * 1024
DIVERT_MIN = 128 * 1024
"""Octets that must still come for it to be worth while to let the socket fill buffers by itself."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyCut(ConnectionError):  # noqa: N818 - says what happened
    """The client went away, or broke the framing, in the middle of a body."""


class Source(Protocol):
    """The connection that a body comes from."""

    def send(self, data: bytes) -> None:
        """Write octets to the client."""
        ...

    def body_changed(self) -> None:
        """Octets were taken, or came."""
        ...

    def divert(self, body: Incoming, into: Intake) -> Diverted | None:
        """From now on let the socket fill an intake; None where that cannot be."""
        ...

    def undivert(self, body: Incoming, diverted: Diverted) -> None:
        """Read as before; a body that is not whole ends the connection."""
        ...


class Diverted(Protocol):
    """A connection whose octets go straight to an intake."""

    async def run(self) -> None:
        """Until the last octet of the body came.

        Raises:
            BodyCut: the client went away.
        """
        ...

    def end(self) -> bool:
        """Give the octets back to the connection. Whether the body is whole."""
        ...


class _Waiting:
    """What all bodies of this process hold."""

    octets = 0


class Incoming:
    """A `base.body.Body` of the octets on the wire. `100 Continue` goes out when somebody begins to read."""

    # Why here and not in each: most requests have no body, and one of these nevertheless.
    size = 0
    """Octets that came and were not taken yet."""
    withheld = False
    """Whether the client waits for `100 Continue` before it sends anything."""
    _forgotten = False
    _received = 0
    _done = True
    _failed = False
    _waiter: asyncio.Future[None] | None = None
    _chunks: deque[bytes] | tuple[()] = ()

    def __init__(self, source: Source, length: int | None, *, expects: bool = False) -> None:
        self.length = length
        self._source = source
        if length != 0:
            self.withheld = expects
            self._done = False
            self._chunks = deque()

    @property
    def trailers(self) -> Mapping[str, str]:
        """HTTP trailers are not used by AWS's clients; those of aws-chunked are inside the body."""
        return {}

    @property
    def finished(self) -> bool:
        """Whether every octet has come."""
        return self._done and not self._failed

    @property
    def left(self) -> int | None:
        """Octets that have still to come, if the client said."""
        return None if self.length is None else self.length - self._received

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for octets."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def window(self) -> int:
        """Octets that may wait before the socket is read no further."""
        return BODY_WINDOW if _Waiting.octets < WAITING_MAX else NARROW

    def forget(self) -> None:
        """Nobody will read what waits, or comes."""
        _Waiting.octets -= self.size
        self.size = 0
        self._chunks = deque()
        self._forgotten = True

    def at_once(self, limit: int) -> bytes | None:
        """All octets, if all came and they fit in `limit`; see `base.body.at_once`."""
        if not self._done or self._failed or self.size > limit:
            return None
        data = b"".join(self._chunks)
        if data:
            _Waiting.octets -= self.size
            self.size = 0
            self._chunks = deque()
            self._source.body_changed()
        return data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.withheld and not self._done:
            self.withheld = False
            self._source.send(_CONTINUE)
        self._source.body_changed()
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self.size -= len(chunk)
                _Waiting.octets -= len(chunk)
                self._source.body_changed()
                yield chunk
            if self._failed:
                raise BodyCut("the connection ended in the middle of a body")
            if self._done:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    async def pour(self, into: Intake) -> None:
        """Hand on all octets: what came already is copied, the rest the socket puts where `into` wants it."""
        if self.withheld and not self._done:
            self.withheld = False
            self._source.send(_CONTINUE)
        diverted = None
        if not self._done and self.left is not None and self.left > DIVERT_MIN:
            diverted = self._source.divert(self, into)
        if diverted is None:
            async for chunk in self:
                await put_into(into, chunk)
            return
        try:
            while self._chunks:
                chunk = self._chunks.popleft()
                self.size -= len(chunk)
                _Waiting.octets -= len(chunk)
                await put_into(into, chunk)
            await diverted.run()
        finally:
            self._source.undivert(self, diverted)

    def passed(self, count: int) -> None:
        """Octets came that went to an intake."""
        self._received += count

    async def come(self) -> None:
        """Wait until `stir`: the client is the one who is waited for."""
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def stir(self) -> None:
        """Let `come` go on."""
        self._notify()

    @property
    def failed(self) -> bool:
        """Whether the client went away before the last octet."""
        return self._failed

    def feed(self, chunk: bytes) -> None:
        """Octets came."""
        self.withheld = False
        self._received += len(chunk)
        if self._forgotten:
            return
        assert isinstance(self._chunks, deque), "no octets come of a body that has none"
        self._chunks.append(chunk)
        self.size += len(chunk)
        _Waiting.octets += len(chunk)
        if self.size > self.window:
            self._source.body_changed()
        self._notify()

    def end(self, *, failed: bool = False) -> None:
        """The last octet came, or no more will."""
        if failed and not self._done:
            self._failed = True
        self._done = True
        self._notify()

    def _notify(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
