# SPDX-License-Identifier: Apache-2.0
"""A large body past the parser: the socket fills the buffers of whoever takes it, and nobody copies an octet.

The parser has read the head, so the body's length is known; no more than that is read, and what follows goes to a
parser that begins anew. Source: RFC 9112, section 6.3.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cloudchamber.front.incoming import BodyCut

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.base.body import Intake
    from cloudchamber.front.incoming import Incoming


class Diversion(asyncio.BufferedProtocol):
    """The protocol of a connection while a body goes past it. What is no octet it hands to the connection."""

    def __init__(
        self,
        connection: asyncio.Protocol,
        transport: asyncio.Transport,
        body: Incoming,
        into: Intake,
        moved: Callable[[], None],
    ) -> None:
        """`moved`: called when octets came."""
        self._connection = connection
        self._transport = transport
        self._body = body
        self._into = into
        self._moved = moved
        self._room = memoryview(b"")
        transport.pause_reading()
        transport.set_protocol(self)

    async def run(self) -> None:
        """Until the last octet came; then, or on any error, `end`.

        Raises:
            BodyCut: the client went away.
        """
        body, into = self._body, self._into
        while body.left:
            if body.failed:
                raise BodyCut("the connection ended in the middle of a body")
            if not self._find_room():
                await into.wait()
                continue
            self._moved()
            self._transport.resume_reading()
            await body.come()

    def end(self) -> bool:
        """Give the connection its octets back, paused. Whether the body is whole."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
            self._transport.set_protocol(self._connection)
        return not self._body.left

    def _find_room(self) -> bool:
        room = self._into.room()
        if room is None:
            return False
        self._room = room[: self._body.left]
        return True

    # what the transport calls

    def get_buffer(self, sizehint: int) -> memoryview:  # pyright: ignore[reportIncompatibleMethodOverride] - what is written into
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        self._moved()
        self._body.passed(nbytes)
        self._into.filled(nbytes)
        if not self._body.left or not self._find_room():
            self._transport.pause_reading()
            self._body.stir()

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()
