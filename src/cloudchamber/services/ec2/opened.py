# SPDX-License-Identifier: Apache-2.0
"""What serves one running instance: its sandbox, and everything that answers on the sandbox's listeners."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from cloudchamber.sandbox.sandboxes import Sandbox

_log = logging.getLogger(__name__)
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


class Served:
    """Hands what comes to one socket of an instance to tasks, at most `most` at a time, and ends them with it.

    `take` is called when the socket can be read, with whether there are as many already; it gives what a task is to
    do, or None.
    """

    def __init__(
        self,
        listener: socket.socket,
        most: int,
        take: Callable[[socket.socket, bool], Coroutine[Any, Any, None] | None],
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._most = most
        self._take = take
        self._tasks: set[asyncio.Task[None]] = set()
        asyncio.get_running_loop().add_reader(listener.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            work = self._take(self._listener, len(self._tasks) >= self._most)
        except OSError:
            return
        if work is None:
            return
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _guarded(work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # noqa: BLE001 - the edge of one connection or question; the others go on
            _log.exception("what came from an instance could not be served")

    def close(self) -> None:
        """Stop, and end what is under way."""
        if self._listener.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
        for task in self._tasks:
            task.cancel()


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
