# SPDX-License-Identifier: Apache-2.0
"""Large bodies on an S3-compatible store that several chambers share.

A body is gathered in a file here, as `blobs` does, and hashed on the way; when it is whole and was compared with what
the client said, it goes to the store, which answers for it. Only then may a row name it. What a chamber that died left
there without a row is removed after a day, by the chamber that leads.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

from cloudchamber.base import ids
from cloudchamber.base.drawn import Drawn
from cloudchamber.store.blobs import BlobRef, Blobs
from cloudchamber.store.s3_client import TRY_FOR_S, NoPartCopyError, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from pathlib import Path
    from typing import Any

    from cloudchamber.base.body import ReplyBody
    from cloudchamber.base.clock import Clock
    from cloudchamber.store.blobs import Octets
    from cloudchamber.store.s3_client import Listed, Place

PART = 8 * 1024 * 1024
"""Larger bodies go to the store in parts of so many octets."""
HELD_MAX = 8
"""Bodies and parts that are in memory at a time, of all together."""
PARTS_AT_ONCE = 4
PARTS_MAX = 9_000
COPIED_AT_ONCE = 256 * 1024 * 1024
PART_MIN = 5 * 1024 * 1024
"""Source: Amazon S3 User Guide, "Amazon S3 multipart upload limits": the last one may be smaller."""
THREADS = 32
ORPHAN_AFTER = timedelta(days=1)
MARK = "database"
"""Of the object that says whose blobs these are."""
_NO_BLOBS = (MARK, "quarantine/")
_PIECE = 1024 * 1024
_COPIES = 4

_log = logging.getLogger(__name__)


class StoredBlobs(Blobs):
    """Blobs as objects ``<two digits>/<id>`` of a store; `folder` holds what is being received."""

    grace_s = 300.0  # Why: another chamber may be sending it, to a slow client
    straight = False  # Why: they are read again at once, for the store, and no disk has to keep them

    def __init__(self, folder: Path, place: Place, clock: Clock) -> None:
        super().__init__(folder, syncs=THREADS)
        self._store = Store(place, clock, THREADS)
        self._parts = ThreadPoolExecutor(HELD_MAX, thread_name_prefix="parts")
        self._holds = threading.BoundedSemaphore(HELD_MAX)
        self._clock = clock
        for path in list(self._incoming.iterdir()):
            path.unlink()

    def open(self, blob: str, offset: int, length: int = -1) -> Octets:
        """The octets of a blob, to read on a thread; see `Blobs.open`."""
        return _Reading(self._store, blob, offset, length)

    def reply(self, blob: str, offset: int, length: int) -> ReplyBody:
        """Octets of a blob as the body of an answer."""
        return Drawn(self._octets(blob, offset, length))

    async def link(self, blob: str, label: Callable[[str], bytes] | None = None) -> str:
        """A copy of a blob, made by the store; without a label, for the database is not of one machine."""
        size = await self.run(self._store.size, blob)
        if size > COPIED_AT_ONCE:
            return (await self.join([(blob, 0, size)])).id
        made = _new()
        await self.run(self._store.copy, made, blob)
        return made

    async def join(
        self, slices: Sequence[tuple[str, int, int]], label: Callable[[str], bytes] | None = None
    ) -> BlobRef:
        """A blob of slices of others, copied by the store; see `Blobs.join`."""
        sizes = await asyncio.gather(*(self._length(*one) for one in slices))
        total = sum(sizes)
        if any(size < PART_MIN for size in sizes[:-1]):
            return await self._gathered(slices, sizes)
        most = max(COPIED_AT_ONCE, math.ceil(total / PARTS_MAX))
        pieces = [
            piece
            for (blob, offset, _), size in zip(slices, sizes, strict=True)
            for piece in _cut(blob, offset, size, most)
        ]
        made = _new()
        upload = await self.run(self._store.begin, made)
        turn = asyncio.Semaphore(_COPIES)

        async def copy(number: int, piece: tuple[str, int, int]) -> str:
            async with turn:
                return await self.run(self._store.part_of, made, upload, number, *piece)

        try:
            etags = await asyncio.gather(*(copy(number, piece) for number, piece in enumerate(pieces, 1)))
            await self.run(self._store.complete, made, upload, list(etags), total)
        except NoPartCopyError:
            self._threads.submit(self._abort, made, upload)
            return await self._gathered(slices, sizes)
        except BaseException:
            self._threads.submit(self._abort, made, upload)
            raise
        return BlobRef(made, total)

    async def orphans(self, known: Callable[[Sequence[str]], Awaitable[set[str]]], before_s: float) -> int:
        """Remove what no row names and is older than a day, of all chambers; see `Blobs.orphans`."""
        before = min(datetime.fromtimestamp(before_s, UTC), self._clock.now() - ORPHAN_AFTER)
        pages, found = self._store.pages(), 0
        while (page := await self.run(_next, pages)) is not None:
            old = [one.name for one in page if one.modified < before and not one.name.startswith(_NO_BLOBS)]
            kept = await known(old) if old else set[str]()
            for name in old:
                if name not in kept:
                    found += 1
                    await self.run(self._remove, name)
        for one, upload in await self.run(self._store.unfinished):
            if one.modified < before:
                await self.run(self._abort, one.name, upload)
        if found:
            _log.warning("removed %d blobs that nothing names", found)
        return found

    async def put_aside(self, blob: str, target: Path) -> None:
        """Move a blob to ``quarantine/<name of the target>`` of the store. One that is not there is no error."""

        def work() -> None:
            try:
                self._store.copy(f"quarantine/{target.name}", blob)
            except StoreError as error:
                if error.status != 404:
                    raise
            else:
                self._store.remove(blob)

        await self.run(work)

    async def marked(self, word: str) -> str:
        """The word of the database whose blobs these are; `word`, from now on, if there is none yet."""

        def work() -> str:
            found = self._store.text(MARK)
            if found is None:
                self._store.put(MARK, word.encode())
                return word
            return found

        return await self.run(work)

    async def close(self) -> None:
        """Finish what runs. What was deleted a moment ago another chamber may be sending: the sweep removes it."""
        for timer in self._doomed.values():
            timer.cancel()
        self._doomed.clear()
        await super().close()
        self._parts.shutdown()
        self._store.close()

    # Below: for Sink.

    def publish(self, file: int, name: str) -> str:
        """Hand a body to the store; the first part of its id."""
        size = os.fstat(file).st_size
        shard = name[:2]
        blob = f"{shard}/{name}"
        if size <= PART:
            with self._holds:
                self._store.put(blob, os.pread(file, size, 0))
        else:
            self._put_parts(file, blob, size)
        self.forget(name)
        return shard

    def synced_alone(self, shard: str) -> bool:
        """Nothing: the store has answered for it."""
        return True

    async def sync_shard(self, shard: str) -> None:
        """Nothing: the store has answered for it."""

    def _put_parts(self, file: int, blob: str, size: int) -> None:
        step = max(PART, math.ceil(size / PARTS_MAX))
        count = math.ceil(size / step)
        upload = self._store.begin(blob)
        try:
            etags: list[str] = []
            while len(etags) < count:  # Why: a few at a time, so that others' bodies are not behind all of this one's
                numbers = range(len(etags) + 1, min(len(etags) + PARTS_AT_ONCE, count) + 1)
                etags += self._parts.map(partial(self._part, file, blob, upload, step), numbers)
            self._store.complete(blob, upload, etags, size)
        except BaseException:
            self._abort(blob, upload)
            raise

    def _part(self, file: int, blob: str, upload: str, step: int, number: int) -> str:
        with self._holds:
            return self._store.part(blob, upload, number, os.pread(file, step, (number - 1) * step))

    def _abort(self, blob: str, upload: str) -> None:
        try:
            self._store.abort(blob, upload)
        except StoreError as error:
            _log.warning("an upload of %s is left to the sweep: %s", blob, error)

    def _remove(self, blob: str) -> None:
        try:
            self._store.remove(blob)
        except StoreError as error:
            _log.warning("could not remove blob %s, which is left to the sweep: %s", blob, error)

    async def _length(self, blob: str, offset: int, length: int) -> int:
        return length if length >= 0 else await self.run(self._store.size, blob) - offset

    async def _gathered(self, slices: Sequence[tuple[str, int, int]], sizes: Sequence[int]) -> BlobRef:
        """As `join`, for slices that are too small for a store's parts: through here."""
        async with self.receive(inline_max=-1) as sink:
            for (blob, offset, _), size in zip(slices, sizes, strict=True):
                async for data in Drawn(self._octets(blob, offset, size)):
                    await sink.write(data)
            await sink.finish()
            return await sink.commit()

    def _octets(self, blob: str, offset: int, length: int) -> Generator[bytes, None, None]:
        reading = self.open(blob, offset, length)
        try:
            while length > 0:
                data = reading.read(min(_PIECE, length))
                if not data:
                    raise OSError(f"blob {blob} is shorter than its row says")
                length -= len(data)
                yield data
        finally:
            reading.close()


class _Reading:
    """Octets of one object in order; when the store fails in between, the rest is asked for anew."""

    def __init__(self, store: Store, blob: str, offset: int, length: int) -> None:
        self._store = store
        self._blob = blob
        self._at = offset
        self._end = offset + length if length >= 0 else -1
        self._response: Any = None

    def read(self, count: int, /) -> bytes:
        """The next octets.

        Raises:
            FileNotFoundError: the blob is not there. StoreError: the store failed for too long.
        """
        try:
            return self._read(count)
        except StoreError as error:
            if error.status == 404:
                raise FileNotFoundError(f"blob {self._blob} is not in the store") from error
            raise

    def _read(self, count: int) -> bytes:
        if self._end < 0:
            self._end = self._store.size(self._blob)
        count = min(count, self._end - self._at)
        ends = time.monotonic() + TRY_FOR_S
        while count > 0:
            if self._response is None:
                self._response = self._store.get(self._blob, self._at, self._end - self._at)
            try:
                data: bytes = self._response.read(count)
            except self._store.broken as error:
                _log.info("the store of blobs broke off in %s: %s", self._blob, error)
                data = b""
            if data:
                self._at += len(data)
                return data
            self.close()
            if time.monotonic() > ends:
                raise StoreError(f"the store of blobs breaks off in {self._blob}")
            time.sleep(0.2)
        return b""

    def close(self) -> None:
        """No more is read; a connection with octets left is of no more use."""
        if self._response is not None:
            if self._at < self._end:
                self._response.close()
            self._response.release_conn()
            self._response = None


def _new() -> str:
    name = ids.hex_token(12)
    return f"{name[:2]}/{name}"


def _cut(blob: str, offset: int, size: int, most: int) -> list[tuple[str, int, int]]:
    """A slice in pieces of about the same size, none of them larger than `most`."""
    count = max(1, math.ceil(size / most))
    edges = [offset + size * number // count for number in range(count + 1)]
    return [(blob, low, high - low) for low, high in pairwise(edges)]


def _next(pages: Any) -> list[Listed] | None:
    return next(pages, None)
