# SPDX-License-Identifier: Apache-2.0
"""A debugger's way into a function: from a connection of this machine's person to a port inside an environment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

VARIABLE = "CLOUDCHAMBER_DEBUG_PORT"
"""A function with this variable listens for a debugger at that port, and is not frozen between its runs."""
_PIECE = 65_536


async def join(one: socket.socket, other: socket.socket) -> None:
    """Carry octets both ways until both sides have ended."""
    first = await asyncio.open_connection(sock=one)
    second = await asyncio.open_connection(sock=other)
    await asyncio.gather(_carry(first[0], second[1]), _carry(second[0], first[1]), return_exceptions=True)


async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_PIECE):
            target.write(data)
            await target.drain()
    finally:
        with contextlib.suppress(OSError):
            target.close()
