# SPDX-License-Identifier: Apache-2.0
"""Move bytes between a client and its server, on raw non-blocking sockets.

Bounded: at most one piece waits in each direction, and its source is not read meanwhile.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

_PIECE = 65_536
_TURN = 16
_LATER = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Watcher(Protocol):
    """Sees the bytes go by."""

    def from_client(self, piece: bytes) -> None: ...
    def from_server(self, piece: bytes) -> None: ...
    def ended(self) -> None: ...


class Splice:
    """One client and its server; `close` may be called at any time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        client: socket.socket,
        server: socket.socket,
        watcher: Watcher,
        ended: Callable[[Splice], None],
    ) -> None:
        self._loop = loop
        self._ends = (client, server)
        self._files = (client.fileno(), server.fileno())
        self._waiting = [bytearray(), bytearray()]
        self._watch = (watcher.from_client, watcher.from_server)
        self._watcher = watcher
        self._ended = ended
        self._closed = False
        loop.add_reader(self._files[0], self._move, 0)
        loop.add_reader(self._files[1], self._move, 1)
        # Why: what TLS has decrypted already wakes nobody.
        loop.call_soon(self._move, 0)

    def close(self) -> None:
        """Close both ends."""
        if self._closed:
            return
        self._closed = True
        for end, file in zip(self._ends, self._files, strict=True):
            self._loop.remove_reader(file)
            self._loop.remove_writer(file)
            end.close()
        self._watcher.ended()
        self._ended(self)

    def _move(self, source: int) -> None:
        """Pass on what `source` has; stop when there is no more, or the other end is full."""
        if self._closed or self._waiting[1 - source]:
            return
        incoming, outgoing, watch = self._ends[source], self._ends[1 - source], self._watch[source]
        try:
            for _ in range(_TURN):
                piece = incoming.recv(_PIECE)
                if not piece:
                    self.close()
                    return
                watch(piece)
                try:
                    sent = outgoing.send(piece)
                except _LATER:
                    sent = 0
                if sent < len(piece):
                    self._wait(source, piece[sent:])
                    return
                if len(piece) < 16_384 and not (isinstance(incoming, ssl.SSLSocket) and incoming.pending()):
                    return
        except _LATER:
            return
        except OSError:
            self.close()
            return
        self._loop.call_soon(self._move, source)

    def _wait(self, source: int, rest: bytes) -> None:
        target = 1 - source
        self._waiting[target] += rest
        self._loop.remove_reader(self._files[source])
        self._loop.add_writer(self._files[target], self._flush, target)

    def _flush(self, target: int) -> None:
        if self._closed:
            return
        waiting = self._waiting[target]
        try:
            sent = self._ends[target].send(waiting)
        except _LATER:
            return
        except OSError:
            self.close()
            return
        del waiting[:sent]
        if not waiting:
            source = 1 - target
            self._loop.remove_writer(self._files[target])
            self._loop.add_reader(self._files[source], self._move, source)
            self._loop.call_soon(self._move, source)
