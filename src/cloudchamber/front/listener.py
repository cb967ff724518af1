# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on raw sockets: httptools parses, uvloop moves the bytes.

Why not a framework: this door needs the headers as they were signed, `100 Continue` only after IAM said yes,
and files sent by the kernel; and it answers two to four times as many requests as one.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import TYPE_CHECKING

from cloudchamber.front.connection import Connection, Door
from cloudchamber.front.either import EitherWay
from cloudchamber.front.incoming import BodyCut, Incoming

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

__all__ = ["BodyCut", "Door", "Incoming", "Listener"]

CONNECTIONS_MAX = 4000
"""Connections of this machine's programs; each costs about 10 KiB while it is idle."""
SANDBOX_CONNECTIONS_MAX = 500
"""Connections of one sandbox: it must not be able to shut the others out."""
CLOSE_WITHIN_S = 5.0
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class _TurnedAway(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport) or hasattr(transport, "write"):
            transport.write(_FULL)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType] - uvloop's own class
        transport.close()


class Listener:
    """Listening sockets that lead to one door."""

    def __init__(
        self,
        door: Door,
        *,
        connections_max: int = CONNECTIONS_MAX,
        sandbox_connections_max: int = SANDBOX_CONNECTIONS_MAX,
    ) -> None:
        self.door = door
        self.closing = False
        self.connections: dict[Connection, None] = {}
        """In the order in which they came."""
        self._connections_max = connections_max
        self._sandbox_connections_max = sandbox_connections_max
        self._counts: Counter[str] = Counter()
        self._servers: set[asyncio.Server] = set()
        self._own: list[EitherWay] = []

    def listen(self, host: str, port: int, context: Callable[[], ssl.SSLContext]) -> int:
        """Listen on an address of this machine, for HTTP and HTTPS; returns the port.

        `context` is asked for when a client first speaks TLS.

        Raises:
            OSError: the port is taken.
        """
        sock = socket.create_server((host, port), backlog=1024)
        self._own.append(EitherWay(sock, lambda: self._accept("", self._connections_max), context))
        return sock.getsockname()[1]

    async def serve(self, sock: socket.socket, *, peer: str) -> asyncio.Server:
        """Answer on a socket that listens already, somewhere inside a sandbox; `peer` says whose it is.

        The caller closes what this returns; `close` closes it too.
        """
        loop = asyncio.get_running_loop()
        limit = self._sandbox_connections_max
        server = await loop.create_server(lambda: self._accept(peer, limit), sock=sock, backlog=1024)
        self._servers = {s for s in self._servers if s.is_serving()} | {server}
        return server

    def serve_secure(self, sock: socket.socket, *, peer: str, context: Callable[[], ssl.SSLContext]) -> EitherWay:
        """As `serve`, for HTTPS; `context` is asked for when a client first speaks TLS."""
        served = EitherWay(sock, lambda: self._accept(peer, self._sandbox_connections_max), context)
        self._own = [each for each in self._own if not each.closed] + [served]
        return served

    def _accept(self, origin: str, limit: int) -> asyncio.Protocol:
        if self._counts[origin] >= limit and not self._make_room(origin):
            return _TurnedAway()
        return Connection(self, origin)

    def _make_room(self, origin: str) -> bool:
        """Close the connection that has been idle longest, so that idle clients cannot shut others out."""
        idle = [c for c in self.connections if c.origin == origin and c.task is None]
        if not idle:
            return False
        oldest = min(idle, key=lambda c: c.touched)
        self.closed(oldest)
        oldest.close()
        return True

    def opened(self, connection: Connection) -> None:
        """A client came."""
        self.connections[connection] = None
        self._counts[connection.origin] += 1

    def closed(self, connection: Connection) -> None:
        """It went, or is about to."""
        if connection not in self.connections:
            return
        del self.connections[connection]
        self._counts[connection.origin] -= 1
        if not self._counts[connection.origin]:
            del self._counts[connection.origin]

    async def close(self) -> None:
        """Stop listening; connections that wait for a reply get a moment to receive it."""
        self.closing = True
        for server in (*self._servers, *self._own):
            server.close()
        for connection in list(self.connections):
            if connection.task is None or connection.endless:
                connection.close()
        tasks = [c.task for c in self.connections if c.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_WITHIN_S)
        for connection in list(self.connections):
            connection.close()
