# SPDX-License-Identifier: Apache-2.0
"""A file that is written once, from its beginning to its end, with the disk at work as early as can be.

Large pieces go from our buffers to the disk past the kernel's page cache: copying them there costs as much as the
checksums, in a virtual machine whose host takes back free memory ten times that (64 MiB: 12 ms, or 160), and the sync
at the end would have to wait for all of it. What is small, or where a file system has no such way, goes through the
cache, and the disk is told to begin. Source: open(2), "O_DIRECT"; sync_file_range(2).
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALIGNED = 4096
"""What octets in memory, their number, and where they go must be multiples of, to go past the page cache."""
STRAIGHT_MIN = 256 * 1024
"""Octets that are written past the page cache; of fewer, each write would wait longer than it works."""
WRITE_BEHIND = 4 * 1024 * 1024
"""Octets in the page cache after which the disk is told to begin, so that the sync at the end finds little left."""
_WRITE = 2
"""SYNC_FILE_RANGE_WRITE. Source: sync_file_range(2)."""
_NO_WAY = (errno.EINVAL, errno.EOPNOTSUPP)
_PAST_CACHE = getattr(os, "O_DIRECT", 0) if sys.platform == "linux" else 0

_mine = threading.local()


def aligned(count: int) -> memoryview:
    """Room for so many octets that may go past the page cache."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):
        return memoryview(bytearray(count))
    return memoryview(mmap.mmap(-1, count, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


def scratch(count: int) -> memoryview:
    """Room for so many octets, as of `aligned`, that is this thread's; until it asks for some again."""
    room: memoryview | None = getattr(_mine, "room", None)
    if room is None or len(room) < count:
        room = _mine.room = aligned(count)
    return room[:count]


class WrittenOnce:
    """A new file, mode 0600, that octets are added to. On one thread at a time."""

    __slots__ = ("_past", "_straight", "_told", "descriptor", "written")

    def __init__(self, path: Path, *, straight: bool = True) -> None:
        """`straight`: large pieces go past the page cache, if the file system has a way."""
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.written = 0
        self._straight = straight and _PAST_CACHE != 0
        self._past = False
        self._told = 0

    def add(self, octets: memoryview) -> None:
        """Write octets of a buffer that `aligned` or `scratch` made, from its beginning."""
        whole = len(octets) // ALIGNED * ALIGNED
        if self._straight and whole >= STRAIGHT_MIN and self.written % ALIGNED == 0:
            octets = octets[self._add_straight(octets[:whole]) :]
        if octets:
            self.add_small(octets)

    def add_small(self, octets: bytes | memoryview) -> None:
        """Write octets through the page cache."""
        self._go_past(wanted=False)
        write_all(self.descriptor, octets)
        self.written += len(octets)
        if self.written - self._told >= WRITE_BEHIND:
            begin_writing(self.descriptor, self._told, self.written - self._told)
            self._told = self.written

    def close(self) -> None:
        """No more is written."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def _add_straight(self, octets: memoryview) -> int:
        """Write past the page cache; how many octets, fewer if the rest must go another way."""
        done = 0
        try:
            self._go_past(wanted=True)
            while len(octets) - done >= ALIGNED and done % ALIGNED == 0:
                count = os.write(self.descriptor, octets[done:])
                done += count
                self.written += count
        except OSError as error:
            if error.errno not in _NO_WAY:
                raise
            self._straight = False
        self._told = self.written
        return done

    def _go_past(self, *, wanted: bool) -> None:
        if self._past != wanted:
            import fcntl  # lazily, and not where there is none

            flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL)
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | _PAST_CACHE if wanted else flags & ~_PAST_CACHE)
            self._past = wanted


def begin_writing(file: int, offset: int, count: int) -> None:
    """Begin to write a range to disk, and do not wait. It makes nothing durable: that is what fdatasync is for."""
    begin = _sync_file_range()
    if begin is not None:
        begin(file, offset, count, _WRITE)


def write_all(file: int, octets: bytes | memoryview) -> None:
    """Write octets where the file stands."""
    view = memoryview(octets)
    while view:
        view = view[os.write(file, view) :]


@cache
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    if not sys.platform.startswith("linux") or not hasattr(os, "posix_fadvise"):
        return None
    import ctypes  # lazily: nobody needs it before the first large body

    try:
        function = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):  # a C library without it
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    function.restype = ctypes.c_int
    return function
