# SPDX-License-Identifier: Apache-2.0
"""Large replies: a thread hands octets to the socket as long as the client takes them, and the event loop is free.

A client that takes nothing for a moment gives its thread back; the loop waits until there is room again.
"""

from __future__ import annotations

import asyncio
import os
import select
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

THREADS = 8
PATIENCE_MS = 20
"""How long a thread waits for a client."""
TURN = 16 * 1024 * 1024
"""Octets after which a thread looks whether somebody else waits for it."""
SENDFILE_OCTETS = 1024 * 1024

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="send")


class Pump:
    """One reply's body on its way to a socket."""

    def __init__(self, socket: int) -> None:
        self._socket = socket
        self.stopped = False

    async def run(self) -> bool:
        """Send; False if the client must take octets first, True when all are sent."""
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(_threads, self._run)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            self.stopped = True
            while not job.done():  # Why: the descriptors may be closed only when the thread has left them
                try:
                    await asyncio.wait([job])
                except asyncio.CancelledError:
                    continue
            if not job.cancelled():
                job.exception()  # Why: a client that is gone is an error there, and nobody else asks for it
            raise

    def _run(self) -> bool:
        writable = select.poll()
        writable.register(self._socket, select.POLLOUT)
        sent = 0
        while not self.stopped:
            try:
                count = self._send()
            except BlockingIOError:
                if sent >= TURN or not writable.poll(PATIENCE_MS):
                    return False
                continue
            if count == 0:
                return True
            sent += count
        return False

    def _send(self) -> int:
        """Send some octets; how many, 0 at the end."""
        raise NotImplementedError


class FilePump(Pump):
    """Octets of a file; the kernel copies them."""

    def __init__(self, socket: int, file: int, offset: int, length: int) -> None:
        super().__init__(socket)
        self._file = file
        self._offset = offset
        self._end = offset + length

    def _send(self) -> int:
        if self._offset == self._end:
            return 0
        count = os.sendfile(self._socket, self._file, self._offset, min(self._end - self._offset, SENDFILE_OCTETS))
        if count == 0:
            raise ConnectionError("the file is shorter than its row says")
        self._offset += count
        return count


class PiecePump(Pump):
    """Octets that are made piece by piece."""

    def __init__(self, socket: int, pieces: Generator[bytes, None, None]) -> None:
        super().__init__(socket)
        self._pieces = pieces
        self._left = memoryview(b"")

    def _send(self) -> int:
        if not self._left:
            self._left = memoryview(next(self._pieces, b""))
            if not self._left:
                return 0
        count = os.write(self._socket, self._left)
        self._left = self._left[count:]
        return count
