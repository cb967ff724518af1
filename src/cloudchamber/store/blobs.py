# SPDX-License-Identifier: Apache-2.0
"""Large bodies as files: the only place with temporary file -> write -> rename -> fdatasync -> fsync of the folder.

A blob is written whole, then committed (durable, but known to nobody), then named by a row in the same database
transaction that publishes it. A blob without a row is an orphan: it is swept at the next start. Each start writes into
shards (folders) of its own, so that the sweep never meets a blob that is being made. A blob is a file, or a folder with
the files that it was assembled of.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, TypeVarTuple

from cloudchamber.base import ids
from cloudchamber.base.body import FileSlice
from cloudchamber.base.drawn import Drawn
from cloudchamber.store.assembled import Assembled, assemble, parts, pieces
from cloudchamber.store.intake import Sink
from cloudchamber.store.room import refusal
from cloudchamber.store.writeback import WrittenOnce, aligned, write_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from cloudchamber.base.body import ReplyBody
    from cloudchamber.store.intake import Cipher, Digest
    from cloudchamber.store.room import Room

INLINE_MAX = 16 * 1024
"""Bodies up to this size stay in memory and are kept in a row."""
CHUNK = 1024 * 1024
"""Octets that are hashed and written in one go, off the event loop."""
CHUNK_MIN = 16 * 1024
FREE_MAX = 8 * 1024 * 1024
"""Octets of buffers that are kept for the next bodies: new ones must be mapped and cleared."""
IDLE_S = 5.0
"""How long after the last body they are kept."""
BUFFERS_EACH = ((2, 7), (8, 3))
"""Buffers of one body that may be hashed and written while another is filled, of so many bodies; of more, each has one.
The fewer wait for each other, the less it matters how soon a busy machine wakes whom."""
SHARD_BLOBS = 1024
SYNCED_ALONE = 2
"""So many bodies on their way each sync the folder: to share one sync would cost them another thread's turn."""
HELD_MAX = 12 * 1024 * 1024
"""Octets that all large bodies together hold in memory, about: the more there are, the less each has."""
GRACE_S = 10.0
"""How long a deleted blob's file stays, for replies that are about to open it."""
_COPY = 8 * 1024 * 1024

_log = logging.getLogger(__name__)

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


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


class Blobs:
    """Files below one folder: `<shard>/<id>`, mode 0600."""

    grace_s = GRACE_S
    straight = True
    """Whether files are here to stay, and go to the disk as soon as they can."""

    def __init__(self, folder: Path, threads: int = 4, writers: int = 8, syncs: int = 8) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="blobs")
        self._writers = ThreadPoolExecutor(writers, thread_name_prefix="writes")
        # Why others: a sync may take as long as a busy disk likes, and nobody's octets should wait for it
        self._syncers = ThreadPoolExecutor(syncs, thread_name_prefix="syncs")
        self._old_shards = [path.name for path in folder.iterdir() if path.name != "incoming"]
        self._leftovers = [path.name for path in self._incoming.iterdir()]
        self._shard = ""
        self._in_shard = 0
        self._open = 0
        self._free: list[memoryview] = []
        self._idle: asyncio.TimerHandle | None = None
        self.chunk = CHUNK
        """Octets that a sink gathers before it writes."""
        self.room: Room | None = None
        """Asked before octets are written, where somebody sets it."""
        self.each = BUFFERS_EACH[0][1]
        """Buffers that a sink may be busy with while it gathers."""
        self._syncs: dict[str, asyncio.Future[None]] = {}
        self._doomed: dict[str, asyncio.TimerHandle] = {}
        _sync(folder)

    def receive(
        self,
        digests: Sequence[Digest] = (),
        cipher: Callable[[], Cipher] | None = None,
        inline_max: int = INLINE_MAX,
        *,
        labelled: bool = True,
    ) -> Sink:
        """A sink for one body; use it as ``async with``. `digests` see every octet, besides the sink's own MD5.

        `cipher` is asked for only if the body becomes a file; what is inline is left as it is. Not `labelled`: its
        `commit` will have no label.
        """
        return Sink(self, digests, cipher, inline_max, labelled=labelled)

    def path(self, blob: str) -> Path:
        """Where a blob lies."""
        return self._folder / blob

    def open(self, blob: str, offset: int, length: int) -> Octets:
        """The octets of a blob from `offset` on, to read on a thread; no more than `length` will be wanted."""
        path = self.path(blob)
        try:
            file = path.open("rb", buffering=0)
        except IsADirectoryError:
            return Assembled(path, offset)
        file.seek(offset)
        return file

    def reply(self, blob: str, offset: int, length: int) -> ReplyBody:
        """Octets of a blob as the body of an answer."""
        path = self.path(blob)
        return Drawn(self._drawn(path, offset, length)) if path.is_dir() else FileSlice(path, offset, length)

    def _drawn(self, path: Path, offset: int, length: int) -> Generator[bytes, None, None]:
        files = Assembled(path, offset)
        try:
            while length > 0:
                octets = files.read(min(length, CHUNK))
                if not octets:
                    raise OSError(f"blob {path.name} is shorter than its row says")
                length -= len(octets)
                yield octets
        finally:
            files.close()

    async def link(self, blob: str, label: Callable[[str], bytes] | None = None) -> str:
        """A second name for a blob's octets, durable; its id. Deleting one leaves the other. `label`: as of a sink."""
        if self.room is not None:
            self.room.check()
        name = ids.hex_token(12)
        shard = self._current_shard()

        def work() -> None:
            target, path = self._folder / shard / name, self.path(blob)
            told = b"" if label is None else label(name)
            try:
                if path.is_dir():
                    assemble(target, parts(path), told)
                    return
                os.link(path, target)
            except OSError:  # a file system without links, or with too many of this one
                self._copy([(blob, 0, -1)], name)
                os.rename(self._incoming / name, target)
            if told:
                _append(target, told)

        await self.run(work)
        await self.sync_shard(shard)
        return f"{shard}/{name}"

    async def join(
        self, slices: Sequence[tuple[str, int, int]], label: Callable[[str], bytes] | None = None
    ) -> BlobRef:
        """A new durable blob of slices of others: (blob, offset, length; -1 for the rest).

        The beginnings of files are given a second name and not copied; anything else the kernel copies.
        """
        if self.room is not None:
            self.room.check(sum(length for _, _, length in slices if length > 0))
        name = ids.hex_token(12)

        whole = [(self.path(blob), length) for blob, offset, length in slices if offset == 0 and length >= 0]

        def work() -> tuple[str, int]:
            told = b"" if label is None else label(name)
            shard = self._current_shard()
            if len(whole) == len(slices) and all(_holds(path, size) for path, size in whole):
                try:
                    size = assemble(self._folder / shard / name, whole, told)
                except FileNotFoundError:
                    raise
                except OSError as error:
                    _log.info("parts are copied: %s", error)
                else:
                    _sync(self._folder / shard)
                    return shard, size
            size = self._copy(slices, name, told)
            os.rename(self._incoming / name, self._folder / shard / name)
            _sync(self._folder / shard)
            return shard, size

        try:
            shard, size = await self.run(work)
        except BaseException:
            self.forget(name)
            raise
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

    async def marked(self, word: str) -> str:
        """The word of whose blobs these are, where others could be met; here they are whose the folder is."""
        return word

    async def close(self) -> None:
        """Finish what runs, and remove what was deleted."""
        for blob, timer in list(self._doomed.items()):
            timer.cancel()
            self._remove(blob)
        self._doomed.clear()
        if self._idle is not None:
            self._idle.cancel()
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.to_thread(self._writers.shutdown)
        await asyncio.to_thread(self._syncers.shutdown)

    # Below: for Sink.

    def opened(self, count: int) -> None:
        """More large bodies are on their way, or fewer."""
        self._open += count
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if not self._open:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._free.clear)
        self.each = next((each for few, each in BUFFERS_EACH if self._open <= few), 1)
        chunk = max(CHUNK_MIN, min(CHUNK, HELD_MAX // max(1, self._open * (1 + self.each))))
        chunk = 1 << (chunk.bit_length() - 1)  # Why: so that it seldom changes, and buffers can be used again
        if chunk != self.chunk:
            self.chunk = chunk
            self._free.clear()

    def buffer(self) -> memoryview:
        """Room for octets on their way to a file."""
        while self._free:
            octets = self._free.pop()
            if len(octets) == self.chunk:
                return octets
        return aligned(self.chunk)

    def give_back(self, octets: memoryview) -> None:
        """A buffer is used no more; on any thread."""
        if len(octets) == self.chunk and len(self._free) * self.chunk < FREE_MAX:
            self._free.append(octets)

    def submit(self, work: Callable[[*Ts], R], *args: *Ts) -> Future[R]:
        """Have a thread do what needs the processor."""
        return self._threads.submit(work, *args)

    def submit_write(self, work: Callable[[*Ts], R], *args: *Ts) -> Future[R]:
        """Have a thread do what writes: it may wait for the disk, and nobody's hashes should wait for that."""
        return self._writers.submit(work, *args)

    def run(self, work: Callable[[*Ts], R], *args: *Ts) -> asyncio.Future[R]:
        """Have a thread do what waits for the disk.

        Raises:
            ServiceUnavailable: the disk is full or read-only. ChamberError: it failed.
        """
        return asyncio.get_running_loop().run_in_executor(self._syncers, _tried, work, *args)

    def open_temporary(self, name: str) -> WrittenOnce:
        """A new temporary file."""
        return WrittenOnce(self._incoming / name, straight=self.straight)

    def publish(self, file: int, name: str) -> str:
        """Move a temporary file to its shard and sync it; the shard's name. The folder is not synced yet."""
        shard = self._current_shard()
        # Why first: then one commit of the file system's journal holds the name and the octets. Nobody knows the name.
        os.rename(self._incoming / name, self._folder / shard / name)
        try:
            os.fdatasync(file)
        except OSError:
            self._remove(f"{shard}/{name}")
            raise
        return shard

    def synced_alone(self, shard: str) -> bool:
        """Sync the folder of a blob where few come, and nobody would share it; on a thread. Whether it was done."""
        if self._open > SYNCED_ALONE:
            return False
        _sync(self._folder / shard)
        return True

    def ref(self, shard: str, name: str, size: int) -> BlobRef:
        """What a committed blob is known by."""
        return BlobRef(f"{shard}/{name}", size)

    async def sync_shard(self, shard: str) -> None:
        """Wait for a sync of the folder that begins after now; those who wait together share one."""
        waiting = self._syncs.get(shard)
        if waiting is None:
            running = self._syncs.get(f"{shard} running")
            waiting = self._syncs[shard] = asyncio.ensure_future(self._sync_after(shard, running))
        await asyncio.shield(waiting)

    def forget(self, name: str, shard: str = "") -> None:
        """Remove a temporary file, or what was published of it and is not wanted."""
        try:
            os.unlink((self._folder / shard if shard else self._incoming) / name)
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

    def _copy(self, slices: Sequence[tuple[str, int, int]], name: str, label: bytes = b"") -> int:
        """Copy slices into a temporary file and sync it; its size."""
        target = self.open_temporary(name)
        size = 0
        try:
            for blob, offset, length in slices:
                size += self._copy_slice(blob, offset, length, target.descriptor)
            write_all(target.descriptor, label)
            os.fdatasync(target.descriptor)
        finally:
            target.close()
        return size

    def _copy_slice(self, blob: str, offset: int, length: int, target: int) -> int:
        size = 0
        for path, begin, count in pieces(self.path(blob), offset, length):
            source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                while count > 0:
                    done = _copy_some(source, target, min(count, _COPY), begin)
                    if done == 0:
                        raise OSError(f"blob {blob} became shorter")
                    begin, count, size = begin + done, count - done, size + done
            finally:
                os.close(source)
        if length >= 0 and size < length:
            raise OSError(f"blob {blob} is shorter than its row says")
        return size

    def _remove_soon(self, blob: str) -> None:
        self._doomed.pop(blob, None)
        self._syncers.submit(self._remove, blob)

    def _remove(self, blob: str) -> None:
        path = self.path(blob)
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                os.unlink(path)
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


def _holds(path: Path, size: int) -> bool:
    """Whether it is a file of that many octets at least."""
    about = path.stat()
    return stat.S_ISREG(about.st_mode) and about.st_size >= size


def _append(path: Path, octets: bytes) -> None:
    """Write behind what is there; not synced."""
    target = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        write_all(target, octets)
    finally:
        os.close(target)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
