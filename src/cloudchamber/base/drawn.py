# SPDX-License-Identifier: Apache-2.0
"""Bytes that a thread makes. Apart from `body`, which pure packages use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator


class Drawn:
    """A reply's body that is made piece by piece, on a thread: octets that must be decrypted, or fetched first."""

    def __init__(self, pieces: Generator[bytes, None, None]) -> None:
        self.pieces = pieces
        """No piece is empty."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await asyncio.to_thread(next, self.pieces, b""):
                yield piece
        finally:
            self.pieces.close()
