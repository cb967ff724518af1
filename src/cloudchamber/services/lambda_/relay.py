# SPDX-License-Identifier: Apache-2.0
"""A streamed answer on its way from the run that makes it to the client that reads it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from typing import Any

    from cloudchamber.services.lambda_.outcome import Outcome

_PIECES_MAX = 16


class Relay:
    """Pieces come in by `put`, which waits while the client is slow, and go out by `pieces`."""

    def __init__(self) -> None:
        self.content_type = ""
        self._held: deque[bytes] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._left = False
        self._run: asyncio.Task[Outcome]

    async def begin(self, run: Coroutine[Any, Any, Outcome]) -> None:
        """Begin the run; returns with its first piece or its end.

        Raises:
            ServiceError: it could not run at all.
        """
        self._run = asyncio.get_running_loop().create_task(run)
        self._run.add_done_callback(lambda _: self._news.set())
        await self._news.wait()
        if self._run.done() and not self._held:
            self._run.result()

    async def put(self, content_type: str, piece: bytes) -> None:
        """One piece, from the run; what a client that went away would have got is let go."""
        self.content_type = content_type
        while len(self._held) >= _PIECES_MAX and not self._left:
            self._room.clear()
            await self._room.wait()
        if not self._left:
            self._held.append(piece)
            self._news.set()

    async def pieces(self) -> AsyncIterator[bytes]:
        """The pieces, until the run is over."""
        try:
            while True:
                while self._held:
                    self._room.set()
                    yield self._held.popleft()
                if self._run.done():
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self._left = True
            self._held.clear()
            self._room.set()

    async def outcome(self) -> Outcome:
        """How the run ended."""
        return await asyncio.shield(self._run)
