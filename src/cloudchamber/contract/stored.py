# SPDX-License-Identifier: Apache-2.0
"""Writes that can be done again, for another key and other octets, in a few steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.store.database import Tx


class Making(Protocol):
    """An object that is about to appear."""

    etag: str
    """The MD5 of its octets, in hexadecimal digits."""
    checksum: str
    """``CRC32:`` and the like, and the value as headers carry it."""

    def __call__(self, tx: Tx, /) -> Any:
        """Write its rows; the result is for `Storing.done`."""
        ...


class Storing(Protocol):
    """A write that was done, and what does it again: with the same headers and metadata, in the same bucket."""

    bucket: str

    def make(self, key: str, data: bytes, modified: int) -> Making | None:
        """An object of these octets; None: it takes more than this. `modified`: POSIX seconds.

        Raises:
            ServiceError: it cannot be; the whole way says why.
        """
        ...

    def done(self, result: Any, /) -> None:
        """It was written."""
        ...


class Stored(dict[str, Any]):
    """The response of a write that can be done again."""

    __slots__ = ("storing",)

    def __init__(self, response: Mapping[str, Any], storing: Storing) -> None:
        super().__init__(response)
        self.storing = storing
