# SPDX-License-Identifier: Apache-2.0
"""Bytes that a thread makes. Apart from `body`, which pure packages use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator


class Drawn:
    """A reply's body that is made piece by piece, on a thread: octets that must be decrypted, or fetched first."""

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self.pieces = pieces
        """No piece is empty."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await _on_thread(next, self.pieces, b""):
                yield piece
        finally:
            await _on_thread(self.pieces.close)


async def _on_thread(work: Callable[..., Any], *given: Any) -> Any:
    """Have a thread work. Who is cancelled waits for it: what it reads from may be closed only when it has left it."""
    job = asyncio.ensure_future(asyncio.to_thread(work, *given))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        while not job.done():
            try:
                await asyncio.wait([job])
            except asyncio.CancelledError:
                continue
        if not job.cancelled():
            job.exception()  # Why: nobody else asks for it
        raise
