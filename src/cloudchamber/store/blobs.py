# SPDX-License-Identifier: Apache-2.0
"""Large bodies as files: the only place with temporary file -> write -> fdatasync -> rename -> fsync of the folder.

A blob is written whole, then committed (durable, but known to nobody), then named by a row in the same database
transaction that publishes it. A blob without a row is an orphan: it is swept at the next start. Each start writes into
shards (folders) of its own, so that the sweep never meets a blob that is being made.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple

from cloudchamber.base import ids
from cloudchamber.base.body import FileSlice
from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.store.room import refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from cloudchamber.base.body import ReplyBody
    from cloudchamber.store.room import Room

INLINE_MAX = 16 * 1024
"""Bodies up to this size stay in memory and are kept in a row."""
CHUNK = 512 * 1024
"""Octets that are hashed and written in one go, off the event loop."""
SHARD_BLOBS = 1024
HELD_MAX = 16 * 1024 * 1024
"""Octets that all bodies together may hold in memory before they write: the more there are, the sooner each does."""
GRACE_S = 10.0
"""How long a deleted blob's file stays, for replies that are about to open it."""
_COPY = 8 * 1024 * 1024

_log = logging.getLogger(__name__)

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Digest(Protocol):
    """What sees every octet on its way in: a hash of hashlib, a checksum, or whoever counts."""

    def update(self, data: bytes, /) -> object: ...


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A committed blob."""

    id: str
    size: int


class Octets(Protocol):
    """What is read from the beginning to the end; no call waits for the event loop."""

    def read(self, count: int, /) -> bytes:
        """The next octets, `count` at most; none at the end."""
        ...

    def close(self) -> None:
        """No more is read."""
        ...


class Cipher(Protocol):
    """Encrypts octets in order, as they are written; the same number comes out."""

    def update(self, data: bytes, /) -> bytes: ...


class Sink:
    """Takes one body. Octets up to `INLINE_MAX` are held in memory; beyond, they go to a temporary file.

    Two chunks at most are in memory: one that is being written, one that is being received.
    """

    def __init__(
        self, blobs: Blobs, digests: Sequence[Digest], cipher: Callable[[], Cipher] | None, inline_max: int
    ) -> None:
        self._blobs = blobs
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._digests = (self._md5, *digests)
        self._cipher_of = cipher
        self._cipher: Cipher | None = None
        self._inline_max = inline_max
        self._held: list[bytes] = []
        self._held_size = 0
        self._file = -1
        self._name = ""
        self._job: asyncio.Future[Any] | None = None
        self._committed = False
        self.size = 0
        self.inline: bytes | None = None
        """The body, if it was small; set by `finish`."""

    async def write(self, chunk: bytes) -> None:
        """Take more octets."""
        self._held.append(chunk)
        self._held_size += len(chunk)
        self.size += len(chunk)
        if self._held_size >= self._blobs.chunk:
            await self._flush()

    async def finish(self) -> None:
        """No more octets come: hash and write the rest. Afterwards the digests are complete."""
        if self._file < 0 and self.size <= self._inline_max:
            self.inline = b"".join(self._held)
            self._held.clear()
            for digest in self._digests:
                digest.update(self.inline)
            return
        await self._flush()
        if self._job is not None:
            await self._job

    @property
    def md5(self) -> bytes:
        """MD5 of all octets, after `finish`."""
        return self._md5.digest()

    async def commit(self) -> BlobRef:
        """Make a large body durable; nobody knows of it yet."""
        assert self._file >= 0, "small bodies are kept in rows"
        file, name = self._file, self._name
        job = self._job = self._blobs.run(self._blobs.publish, file, name)
        shard = await asyncio.shield(job)
        self._file = -1
        self._committed = True
        os.close(file)
        await self._blobs.sync_shard(shard)
        return BlobRef(f"{shard}/{name}", self.size)

    async def close(self) -> None:
        """Forget what was not committed."""
        if self._job is not None:
            try:
                await asyncio.shield(self._job)
            except (ServiceError, ChamberError, OSError, asyncio.CancelledError):
                pass
        self._held.clear()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._name and not self._committed:
            self._blobs.forget(self._name)

    async def __aenter__(self) -> Sink:
        self._blobs.opened(1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        finally:
            self._blobs.opened(-1)

    async def _flush(self) -> None:
        if self._job is not None:
            await self._job
        if self._blobs.room is not None:
            self._blobs.room.check(self._held_size)
        if self._file < 0:
            self._name = ids.hex_token(12)
            try:
                self._file = self._blobs.open_temporary(self._name)
            except OSError as error:
                raise refusal(error) from error
            if self._cipher_of is not None:
                self._cipher = self._cipher_of()
        data = b"".join(self._held)
        self._held.clear()
        self._held_size = 0
        self._job = self._blobs.run(self._take, data)

    def _take(self, data: bytes) -> None:
        for digest in self._digests:
            digest.update(data)
        if self._cipher is not None:
            data = self._cipher.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]


class Blobs:
    """Files below one folder: `<shard>/<id>`, mode 0600."""

    grace_s = GRACE_S

    def __init__(self, folder: Path, threads: int = 4) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="blobs")
        self._old_shards = [path.name for path in folder.iterdir() if path.name != "incoming"]
        self._leftovers = [path.name for path in self._incoming.iterdir()]
        self._shard = ""
        self._in_shard = 0
        self._open = 0
        self.chunk = CHUNK
        """Octets that a sink gathers before it writes."""
        self.room: Room | None = None
        """Asked before octets are written, where somebody sets it."""
        self._syncs: dict[str, asyncio.Future[None]] = {}
        self._doomed: dict[str, asyncio.TimerHandle] = {}
        _sync(folder)

    def receive(
        self,
        digests: Sequence[Digest] = (),
        cipher: Callable[[], Cipher] | None = None,
        inline_max: int = INLINE_MAX,
    ) -> Sink:
        """A sink for one body; use it as ``async with``. `digests` see every octet, besides the sink's own MD5.

        `cipher` is asked for only if the body becomes a file; what is inline is left as it is.
        """
        return Sink(self, digests, cipher, inline_max)

    def path(self, blob: str) -> Path:
        """Where a blob lies."""
        return self._folder / blob

    def open(self, blob: str, offset: int, length: int) -> Octets:
        """The octets of a blob from `offset` on, to read on a thread; no more than `length` will be wanted."""
        file = self.path(blob).open("rb")
        file.seek(offset)
        return file

    def reply(self, blob: str, offset: int, length: int) -> ReplyBody:
        """Octets of a blob as the body of an answer."""
        return FileSlice(self.path(blob), offset, length)

    async def link(self, blob: str) -> str:
        """A second name for a blob's octets, durable; its id. Deleting one leaves the other."""
        if self.room is not None:
            self.room.check()
        name = ids.hex_token(12)
        shard = self._current_shard()

        def work() -> None:
            target = self._folder / shard / name
            try:
                os.link(self._folder / blob, target)
            except OSError:  # a file system without links, or with too many of this one
                self._copy([(blob, 0, -1)], name)
                os.rename(self._incoming / name, target)

        await self.run(work)
        await self.sync_shard(shard)
        return f"{shard}/{name}"

    async def join(self, slices: Sequence[tuple[str, int, int]]) -> BlobRef:
        """A new durable blob of slices of others: (blob, offset, length; -1 for the rest). The kernel copies."""
        if self.room is not None:
            self.room.check(sum(length for _, _, length in slices if length > 0))
        name = ids.hex_token(12)

        def work() -> tuple[str, int]:
            size = self._copy(slices, name)
            shard = self._current_shard()
            os.rename(self._incoming / name, self._folder / shard / name)
            return shard, size

        try:
            shard, size = await self.run(work)
        except BaseException:
            self.forget(name)
            raise
        await self.sync_shard(shard)
        return BlobRef(f"{shard}/{name}", size)

    def delete(self, blobs: Iterable[str]) -> None:
        """Remove blobs whose rows are gone, a little later: a reply may be about to open them."""
        loop = asyncio.get_running_loop()
        for blob in blobs:
            if blob not in self._doomed:
                self._doomed[blob] = loop.call_later(self.grace_s, self._remove_soon, blob)

    async def sweep(self, known: Callable[[Sequence[str]], set[str]]) -> int:
        """Remove what a crash left: temporary files, and blobs of earlier starts that no row names.

        `known` gets ids and returns those that rows name. Returns how many orphans there were.
        """
        leftovers, self._leftovers = self._leftovers, []
        for name in leftovers:
            self.forget(name)
        orphans = 0
        for shard in self._old_shards:
            names = await self.run(os.listdir, self._folder / shard)
            blobs = [f"{shard}/{name}" for name in names]
            kept = known(blobs) if blobs else set[str]()
            for blob in blobs:
                if blob not in kept and blob not in self._doomed:
                    orphans += 1
                    await self.run(self._remove, blob)
            if not kept:
                await self.run(self._remove_shard, shard)
        if orphans:
            _log.info("removed %d blobs that nothing names", orphans)
        return orphans

    async def orphans(self, known: Callable[[Sequence[str]], Awaitable[set[str]]], before_s: float) -> int:
        """Remove blobs that no row names and that nothing has touched since `before_s` (POSIX time); how many.

        Safe while blobs are made: what is younger is left alone, for it may be about to be named.
        """
        found = 0
        for shard in await self.run(_folders, self._folder):
            old = await self.run(_older, self._folder / shard, before_s)
            blobs = [f"{shard}/{name}" for name in old]
            kept = await known(blobs) if blobs else set[str]()
            for blob in blobs:
                if blob not in kept and blob not in self._doomed:
                    found += 1
                    await self.run(self._remove, blob)
        if found:
            _log.warning("removed %d blobs that nothing names", found)
        return found

    async def put_aside(self, blob: str, target: Path) -> None:
        """Move a blob out of here, durably. One that is not there is no error."""

        def work() -> None:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            try:
                os.rename(self._folder / blob, target)
            except FileNotFoundError:
                return
            _sync(target.parent)
            _sync((self._folder / blob).parent)

        await self.run(work)

    async def close(self) -> None:
        """Finish what runs, and remove what was deleted."""
        for blob, timer in list(self._doomed.items()):
            timer.cancel()
            self._remove(blob)
        self._doomed.clear()
        await asyncio.to_thread(self._threads.shutdown)

    # Below: for Sink.

    def opened(self, count: int) -> None:
        """More sinks are open, or fewer."""
        self._open += count
        self.chunk = max(INLINE_MAX, min(CHUNK, HELD_MAX // max(1, self._open)))

    def run(self, work: Callable[[*Ts], R], *args: *Ts) -> asyncio.Future[R]:
        """Run `work` on a thread of the blobs' own.

        Raises:
            ServiceUnavailable: the disk is full or read-only. ChamberError: it failed.
        """
        return asyncio.get_running_loop().run_in_executor(self._threads, _tried, work, *args)

    def open_temporary(self, name: str) -> int:
        """A new temporary file."""
        return os.open(self._incoming / name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def publish(self, file: int, name: str) -> str:
        """Sync a temporary file and move it to its shard; the shard's name. The folder is not synced yet."""
        os.fdatasync(file)
        shard = self._current_shard()
        os.rename(self._incoming / name, self._folder / shard / name)
        return shard

    async def sync_shard(self, shard: str) -> None:
        """Wait for a sync of the folder that begins after now; those who wait together share one."""
        waiting = self._syncs.get(shard)
        if waiting is None:
            running = self._syncs.get(f"{shard} running")
            waiting = self._syncs[shard] = asyncio.ensure_future(self._sync_after(shard, running))
        await asyncio.shield(waiting)

    def forget(self, name: str) -> None:
        """Remove a temporary file."""
        try:
            os.unlink(self._incoming / name)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("could not remove %s: %s", name, error)

    async def _sync_after(self, shard: str, running: asyncio.Future[None] | None) -> None:
        if running is not None:
            await asyncio.wait([running])
        mine = self._syncs.pop(shard)
        self._syncs[f"{shard} running"] = mine
        try:
            await self.run(_sync, self._folder / shard)
        finally:
            if self._syncs.get(f"{shard} running") is mine:
                del self._syncs[f"{shard} running"]

    def _current_shard(self) -> str:
        """Folder for the next blob. Safe on threads: at worst a shard holds a few more, or two are begun."""
        shard = self._shard
        if not shard or self._in_shard >= SHARD_BLOBS:
            shard = ids.hex_token(4)
            (self._folder / shard).mkdir(mode=0o700)
            _sync(self._folder)
            self._shard, self._in_shard = shard, 0
        self._in_shard += 1
        return shard

    def _copy(self, slices: Sequence[tuple[str, int, int]], name: str) -> int:
        """Copy slices into a temporary file and sync it; its size."""
        target = self.open_temporary(name)
        size = 0
        try:
            for blob, offset, length in slices:
                source = os.open(self._folder / blob, os.O_RDONLY | os.O_CLOEXEC)
                try:
                    left = os.fstat(source).st_size - offset if length < 0 else length
                    while left > 0:
                        done = _copy_some(source, target, min(left, _COPY), offset)
                        if done == 0:
                            raise OSError(f"blob {blob} is shorter than its row says")
                        offset, left, size = offset + done, left - done, size + done
                finally:
                    os.close(source)
            os.fdatasync(target)
        finally:
            os.close(target)
        return size

    def _remove_soon(self, blob: str) -> None:
        self._doomed.pop(blob, None)
        self._threads.submit(self._remove, blob)

    def _remove(self, blob: str) -> None:
        try:
            os.unlink(self._folder / blob)
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("could not remove blob %s: %s", blob, error)

    def _remove_shard(self, shard: str) -> None:
        try:
            os.rmdir(self._folder / shard)
        except OSError:  # not empty after all: the next start looks again
            pass


def _folders(folder: Path) -> list[str]:
    return [entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name != "incoming"]


def _older(folder: Path, before_s: float) -> list[str]:
    """Names of files that were neither written nor named since."""
    found: list[str] = []
    for entry in os.scandir(folder):
        try:
            if entry.stat(follow_symlinks=False).st_ctime < before_s:
                found.append(entry.name)
        except FileNotFoundError:
            continue
    return found


def _tried(work: Callable[[*Ts], R], *args: *Ts) -> R:
    try:
        return work(*args)
    except OSError as error:
        raise refusal(error) from error


def _copy_some(source: int, target: int, count: int, offset: int) -> int:
    copy: Callable[..., int] | None = getattr(os, "copy_file_range", None)
    if copy is not None:
        try:
            return copy(source, target, count, offset)
        except OSError:  # across file systems, or a kernel that cannot
            pass
    data = os.pread(source, min(count, CHUNK), offset)
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return len(data)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
