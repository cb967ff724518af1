# SPDX-License-Identifier: Apache-2.0
"""One large body on its way to a file: buffers that the socket fills, and lanes of work that empty them.

A buffer that is full goes to every lane at once: one hashes it (MD5), another too (SHA-256), one encrypts and writes.
Each lane takes buffers in order, on a thread; several lanes of one body run at the same time. When all lanes are done
with a buffer it is filled again. The event loop only passes buffers on, and is woken only if a body waits for one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.store.room import refusal
from cloudchamber.store.writeback import WrittenOnce, scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from cloudchamber.store.blobs import BlobRef, Blobs

HELD_SMALL = 16 * 1024


class Digest(Protocol):
    """What sees every octet on its way in: a hash of hashlib, a checksum, or whoever counts."""

    def update(self, data: Any, /) -> object: ...


class Cipher(Protocol):
    """Encrypts octets in order, as they are written; the same number comes out."""

    def update_into(self, data: Any, into: Any, /) -> int: ...


class _Buffer:
    """Octets that lanes are busy with."""

    __slots__ = ("octets", "pending", "view")

    def __init__(self, octets: memoryview, view: memoryview, pending: int) -> None:
        self.octets = octets
        """All of it, for whoever fills it next."""
        self.view = view
        """What is filled."""
        self.pending = pending


_NONE = memoryview(b"")
"""Instead of octets: no more come."""


class _Lane:
    """Work that takes buffers in order."""

    __slots__ = ("queue", "running", "submit", "work")

    def __init__(self, work: Callable[[memoryview], object], submit: Callable[..., object]) -> None:
        self.work = work
        self.submit = submit
        self.queue: deque[_Buffer] = deque()
        self.running = False


class Sink:
    """Takes one body. Small ones are held in memory; the octets of larger ones go through lanes to a temporary file.

    It is a `base.body.Intake`, and besides takes octets by `write`.
    """

    def __init__(
        self,
        blobs: Blobs,
        digests: Sequence[Digest],
        cipher: Callable[[], Cipher] | None,
        inline_max: int,
        *,
        labelled: bool = True,
    ) -> None:
        """`labelled`: whether `commit` will have a label. If not, the file is durable as soon as it is written."""
        self._blobs = blobs
        self._loop = asyncio.get_running_loop()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._digests: list[Digest] = [self._md5, *digests]
        self._cipher_of = cipher
        self._cipher: Cipher | None = None
        self._inline_max = inline_max
        self._early = not labelled and blobs.straight
        self._held: list[bytes] = []
        self._held_size = 0
        self._octets: memoryview | None = None
        self._used = 0
        self._lanes: list[_Lane] = []
        self._light: list[Digest] = []
        self._lock = threading.Lock()
        self._busy = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._file: WrittenOnce | None = None
        self._name = self._shard = ""
        self._job: asyncio.Future[Any] | None = None
        self._committed = self._synced = self._counted = False
        self.size = 0
        self.inline: bytes | None = None
        """The body, if it was small; set by `finish`."""

    # octets come

    async def write(self, chunk: bytes) -> None:
        """Take octets that are in memory already."""
        if not self._lanes and self._octets is None:
            self._held.append(chunk)
            self._held_size += len(chunk)
            self.size += len(chunk)
            if self._held_size <= max(self._inline_max, HELD_SMALL):
                return
            self.size -= self._held_size
            held, self._held = self._held, []
            for one in held:
                await self._copy(one)
            return
        await self._copy(chunk)

    async def _copy(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            room = self.room()
            if room is None:
                await self.wait()
                continue
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.filled(count)
            view = view[count:]

    def also(self, digest: Digest) -> None:
        """Let another digest see every octet; before the first comes."""
        assert self.size == 0 and not self._lanes, "octets have come already"
        self._digests.append(digest)

    def room(self) -> memoryview | None:
        """Where the next octets go; None while lanes are busy with all that this body may hold, or have failed."""
        if self._octets is None:
            if self._busy >= self._blobs.each or self._error is not None:
                return None
            if not self._counted:
                self._counted = True
                self._blobs.opened(1)
            self._octets, self._used = self._blobs.buffer(), 0
        return self._octets[self._used :]

    def filled(self, count: int) -> None:
        """So many octets were put where `room` said."""
        assert self._octets is not None
        self._used += count
        self.size += count
        if self._used == len(self._octets):
            self._send_off()

    async def wait(self) -> None:
        """Until there is room.

        Raises:
            ServiceUnavailable: the disk is full or read-only. ChamberError: it failed.
        """
        while self._busy >= self._blobs.each and self._error is None:
            await self._one_back()
        if self._error is not None:
            raise self._error

    async def settle(self) -> None:
        """No more octets come: wait until all were hashed and written. Afterwards the digests are complete."""
        if self._octets is not None and self._used:
            self._send_off()
        if self._early and self._lanes:  # Why here: the hashes are at work still, for as long as a sync takes
            self._early = False
            self._send(_Buffer(_NONE, _NONE, 1), self._lanes[:1])
        while self._busy:
            await self._one_back()
        if self._error is not None:
            raise self._error

    async def finish(self) -> None:
        """As `settle`; a small body is `inline` then, and any other in its file."""
        if not self._lanes and self._octets is None:
            data = b"".join(self._held)
            self._held.clear()
            if len(data) <= self._inline_max:
                self.inline = data
                for digest in self._digests:
                    digest.update(data)
                return
            self.size = 0
            await self._copy(data)
            if not data:
                self._begin()
                await self._blobs.run(self._open)
        await self.settle()

    @property
    def md5(self) -> bytes:
        """MD5 of all octets, after `finish`."""
        return self._md5.digest()

    # lanes

    def _begin(self) -> None:
        """Slow hashes get a lane each; what is quick goes with the writing, while the octets are near."""
        self._name = ids.hex_token(12)
        if self._cipher_of is not None:
            self._cipher = self._cipher_of()
        slow = [digest for digest in self._digests if hasattr(digest, "block_size")]  # Why: hashes of hashlib have it
        self._light = [digest for digest in self._digests if digest not in slow]
        blobs = self._blobs
        self._lanes = [_Lane(self._take, blobs.submit_write), *(_Lane(one.update, blobs.submit) for one in slow)]

    def _send_off(self) -> None:
        octets = self._octets
        assert octets is not None
        if not self._lanes:
            self._begin()
        self._octets = None
        self._send(_Buffer(octets, octets[: self._used], len(self._lanes)), self._lanes)

    def _send(self, buffer: _Buffer, lanes: Sequence[_Lane]) -> None:
        with self._lock:
            self._busy += 1
        for lane in lanes:
            with self._lock:
                lane.queue.append(buffer)
                begin, lane.running = not lane.running, True
            if begin:
                lane.submit(self._run, lane)

    def _run(self, lane: _Lane) -> None:
        """Work off a lane; on a thread."""
        while True:
            with self._lock:
                if not lane.queue:
                    lane.running = False
                    return
                buffer = lane.queue.popleft()
            if self._error is None:
                try:
                    lane.work(buffer.view)
                except BaseException as error:  # noqa: BLE001 - whoever waits for the body hears it
                    self._error = refusal(error) if isinstance(error, OSError) else error
            self._done(buffer)

    def _done(self, buffer: _Buffer) -> None:
        """A lane is done with a buffer. Only whoever waits for one wakes the event loop."""
        with self._lock:
            buffer.pending -= 1
            if buffer.pending:
                return
            self._blobs.give_back(buffer.octets)
            self._busy -= 1
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and everybody who would wait with it
                self._loop.call_soon_threadsafe(_wake, waiter)

    async def _one_back(self) -> None:
        """Until all lanes are done with a buffer, if any is at work."""
        with self._lock:
            if not self._busy:
                return
            waiter = self._waiter = self._loop.create_future()
        await waiter

    def _open(self) -> WrittenOnce:
        if self._file is None:
            self._file = self._blobs.open_temporary(self._name)
        return self._file

    def _take(self, view: memoryview) -> None:
        """Hash quickly, encrypt, write, and publish at the end; on a thread."""
        if not view:
            self._publish(self._open(), None)
            return
        if self._blobs.room is not None:
            self._blobs.room.check(len(view))
        file = self._open()
        for digest in self._light:
            digest.update(view)
        if self._cipher is not None:
            plain, view = view, scratch(len(view))
            self._cipher.update_into(plain, view)
        file.add(view)

    # the end

    async def commit(self, label: Callable[[str], bytes] | None = None) -> BlobRef:
        """Make a large body durable; nobody knows of it yet. `label` makes of its name what is written behind it."""
        assert self._file is not None, "small bodies are kept in rows"
        if not self._shard:
            job = self._job = self._blobs.run(self._publish, self._file, label)
            await asyncio.shield(job)
        self._committed = True
        self._file.close()
        if not self._synced:
            await self._blobs.sync_shard(self._shard)
        return self._blobs.ref(self._shard, self._name, self.size)

    def _publish(self, file: WrittenOnce, label: Callable[[str], bytes] | None) -> None:
        """Make what was written durable; on a thread."""
        if label is not None:
            file.add_small(label(self._name))
        self._shard = self._blobs.publish(file.descriptor, self._name)
        self._synced = self._blobs.synced_alone(self._shard)

    async def close(self) -> None:
        """Forget what was not committed."""
        if self._job is not None:
            try:
                await asyncio.shield(self._job)
            except (ServiceError, ChamberError, OSError, asyncio.CancelledError):
                pass
        if self._busy and self._error is None:
            self._error = asyncio.CancelledError()
        while self._busy:
            await self._one_back()
        self._held.clear()
        if self._octets is not None:
            self._blobs.give_back(self._octets)
            self._octets = None
        if self._file is not None:
            self._file.close()
        if self._name and not self._committed:
            await self._blobs.run(self._blobs.forget, self._name, self._shard)

    async def __aenter__(self) -> Sink:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held or not (self._lanes or self._octets or self._job):
            self._held.clear()
            return
        try:
            # Why shielded: lanes must never meet a file that was closed, and maybe opened anew as another
            await asyncio.shield(asyncio.ensure_future(self.close()))
        finally:
            if self._counted:
                self._counted = False
                self._blobs.opened(-1)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
