# SPDX-License-Identifier: Apache-2.0
"""Bytes on their way in and out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from cloudchamber.base.drawn import Drawn


class Body(Protocol):
    """Bytes that arrive: iterate once, then read `trailers`.

    Iterating raises the `ServiceError` of whatever is wrong with the body (a chunk's signature, a payload
    hash, too short a body), so nobody may publish what came from it before the iteration ended.
    """

    @property
    def length(self) -> int | None:
        """Decoded octets that will come, if the client said."""
        ...

    @property
    def trailers(self) -> Mapping[str, str]:
        """Trailing headers, names in lower case; complete after the last chunk."""
        ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


class Intake(Protocol):
    """Who takes a large body at the least cost: gives room for octets, so that nobody has to copy them."""

    def room(self) -> memoryview | None:
        """Where the next octets go; None: first `wait`."""
        ...

    def filled(self, count: int, /) -> None:
        """So many octets were put there."""
        ...

    async def wait(self) -> None:
        """Until there is room again; raises what went wrong with the octets that came."""
        ...

    async def settle(self) -> None:
        """No more octets come: until those that came were seen by everybody."""
        ...

    def also(self, digest: Any, /) -> None:
        """Let a digest see every octet; before the first comes."""
        ...


@runtime_checkable
class Pourable(Protocol):
    """A `Body` that can be poured instead of iterated over."""

    async def pour(self, into: Intake, /) -> None:
        """All octets; raises what iterating would raise."""
        ...


async def put_into(into: Intake, octets: bytes) -> None:
    """Copy octets to where an intake wants them."""
    left = memoryview(octets)
    while left:
        room = into.room()
        if room is None:
            await into.wait()
            continue
        count = min(len(room), len(left))
        room[:count] = left[:count]
        into.filled(count)
        left = left[count:]


class Held:
    """A `Body` that is already in memory; what in-process callers hand over."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.trailers: Mapping[str, str] = {}

    @property
    def length(self) -> int | None:
        """Octets held."""
        return len(self._data)

    def within(self, limit: int) -> bytes:
        """The octets.

        Raises:
            OverflowError: they are more than `limit`.
        """
        if len(self._data) > limit:
            raise OverflowError(f"body is longer than {limit} octets")
        return self._data

    def at_once(self, limit: int) -> bytes | None:
        """See the function `at_once`."""
        return self._data if len(self._data) <= limit else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._data:
            yield self._data


def at_once(body: object, limit: int) -> bytes | None:
    """All octets of a body, checked as if it had been iterated over, if they are there already and fit in `limit`.

    None: iterate. Why: a small body has come with its head, and iterating would take longer than all else.
    """
    take: Callable[[int], bytes | None] | None = getattr(body, "at_once", None)
    return None if take is None else take(limit)


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A part of a file as a reply's body; the listener sends it with `sendfile`."""

    path: Path
    offset: int
    length: int


ReplyBody: TypeAlias = "bytes | FileSlice | Drawn | AsyncIterator[bytes]"


async def read_all(body: Body, limit: int) -> bytes:
    """All of a body.

    Raises:
        OverflowError: more than `limit` octets came.
    """
    if type(body) is Held:
        return body.within(limit)
    data = at_once(body, limit)
    if data is not None:
        return data
    parts: list[bytes] = []
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise OverflowError(f"body is longer than {limit} octets")
        parts.append(chunk)
    return b"".join(parts)


async def read_reply(body: ReplyBody, limit: int) -> bytes:
    """All of a reply's body, for callers in the same process.

    Raises:
        OverflowError: it has more than `limit` octets.
    """
    if isinstance(body, bytes):
        data = body
    elif isinstance(body, FileSlice):
        if body.length > limit:
            raise OverflowError(f"body is longer than {limit} octets")
        with body.path.open("rb") as file:
            file.seek(body.offset)
            data = file.read(body.length)
    else:
        parts: list[bytes] = []
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > limit:
                raise OverflowError(f"body is longer than {limit} octets")
            parts.append(chunk)
        data = b"".join(parts)
    if len(data) > limit:
        raise OverflowError(f"body is longer than {limit} octets")
    return data
