# SPDX-License-Identifier: Apache-2.0
"""What serves one running instance: its sandbox, and everything that answers on the sandbox's listeners."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloudchamber.sandbox.sandboxes import Sandbox

_SERVICES, _NO_SERVICES = "endpoint", "endpoint closed"


class Open:
    """What serves one running instance."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.served: dict[str, Any] = {}
        self.killed = 0
        """How many of its processes the memory limit has killed since the chamber serves it."""
        self.watch: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._ended = False

    def close(self) -> None:
        """Answer no more."""
        if self.watch is not None:
            self.watch.cancel()
        for one in self.served.values():
            one.close()
        self.served.clear()
        self._ended = True

    async def lead_to_services(
        self, serve: Callable[[socket.socket], Awaitable[Any]], refuse: Callable[[], None] | None
    ) -> None:
        """Let the instance call AWS services, or, with `refuse`, turn new connections away; open ones stay."""
        listener = self.sandbox.listeners.get(_SERVICES)
        if listener is None or listener.fileno() < 0:
            return
        async with self._changing:
            name, other = (_SERVICES, _NO_SERVICES) if refuse is None else (_NO_SERVICES, _SERVICES)
            if name in self.served or self._ended:
                return
            before = self.served.pop(other, None)
            if before is not None:
                before.close()
            # Why a copy: who serves it closes it, and the listener must be there for the next one.
            copy = listener.dup()
            self.served[name] = await serve(copy) if refuse is None else Closed(copy, refuse)


class Closed:
    """Ends each connection to what is not there or not allowed, so that nobody waits for it; `tell` hears of each."""

    def __init__(self, listener: socket.socket, tell: Callable[[], None] | None = None) -> None:
        self._listener = listener
        self._tell = tell
        listener.setblocking(False)
        asyncio.get_running_loop().add_reader(listener.fileno(), self._refuse)

    def _refuse(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        if self._tell is not None:
            self._tell()

    def close(self) -> None:
        """Stop."""
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
