# SPDX-License-Identifier: Apache-2.0
"""Room on the disk: who needs much of it asks first, so that what frees room still finds some.

While less than `LOW` is left, the chamber counts as full: objects, parts and logs are refused, and everything that is
small (rows of other services) or frees room (deletions) goes on. A file beside the database holds a reserve; when the
database itself finds no room, it is given up once, and made anew when there is room again. Nobody needs to restart.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from typing import TYPE_CHECKING

from cloudchamber.base.errors import ChamberError, ServiceUnavailable

if TYPE_CHECKING:
    from pathlib import Path

LOW = 32 * 1024 * 1024
"""Octets that must stay free, besides the reserve."""
RESERVE = 16 * 1024 * 1024
NEARLY = 1024 * 1024 * 1024
"""Below this the disk is said to be nearly full."""
LOOK_S = 0.25
_FULL = (errno.ENOSPC, errno.EDQUOT)

_log = logging.getLogger(__name__)


def free_octets(folder: Path) -> int:
    """Octets that this user may still write on the disk of a folder."""
    about = os.statvfs(folder)
    return (about.f_bfree if os.geteuid() == 0 else about.f_bavail) * about.f_frsize


class Room:
    """The room on the disk of the state folder. Safe on threads: at worst two look at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reserve = folder / "reserve"
        self._next_look = 0.0
        self.full = False
        """Whether what needs room is refused, as of the last look."""
        total = os.statvfs(folder)
        size = total.f_blocks * total.f_frsize
        self._low = min(LOW, size // 16)
        self._size = min(RESERVE, size // 32)
        if free_octets(self._folder) < self._low // 8:
            self.give_up()  # Why: a start writes some files of its own
        self._look()

    def check(self, wanted: int = 0) -> None:
        """Ask before writing much; `wanted` octets, as far as they are known.

        Raises:
            ServiceUnavailable: there is no room.
        """
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_S
            self._look()
        if self.full or (wanted > self._low and wanted > free_octets(self._folder) - self._low):
            raise ServiceUnavailable("Service is unable to handle request: the disk of this chamber is full.")

    def give_up(self) -> bool:
        """Give the reserve up for what cannot wait; whether there was one."""
        try:
            self._reserve.unlink()
        except OSError:
            return False
        _log.error("the disk of %s has no room left: the reserve of %d MiB is given up", self._folder, self._size >> 20)
        return True

    def state(self) -> tuple[str, str]:
        """``available``, ``nearly full`` or ``full``, and how much is free, for people."""
        self._look()
        free = free_octets(self._folder)
        word = "full" if self.full else "nearly full" if free < NEARLY else "available"
        return word, f"{free / 1024**3:.1f} GiB free" if free >= NEARLY else f"{free / 1024**2:.0f} MiB free"

    def _look(self) -> None:
        try:
            free = free_octets(self._folder)
        except OSError:
            return
        if free < self._low:
            if not self.full:
                _log.error(
                    "the disk of %s is full (%d MiB left): objects are refused with 503 until there is room again; "
                    "reads and deletions go on. Delete objects, or free space on that disk",
                    self._folder,
                    free >> 20,
                )
            self.full = True
            return
        # Why a quarter more: a chamber at the edge must not change its mind with every object.
        if not self._held() and free > self._low * 5 // 4 + self._size:
            self._make()
        if self.full and free > self._low * 5 // 4:
            _log.warning("the disk of %s has room again: %d MiB; objects are taken", self._folder, free >> 20)
            self.full = False

    def _held(self) -> bool:
        try:
            return self._reserve.stat().st_size == self._size
        except OSError:
            return False

    def _make(self) -> None:
        try:
            descriptor = os.open(self._reserve, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, self._size)
            else:
                os.write(descriptor, bytes(self._size))
        except OSError:
            with contextlib.suppress(OSError):
                self._reserve.unlink()
        finally:
            os.close(descriptor)


def refusal(error: OSError) -> Exception:
    """What to raise for a file that could not be written; nothing of it was kept."""
    if error.errno in _FULL:
        return ServiceUnavailable("Service is unable to handle request: the disk of this chamber is full.")
    if error.errno == errno.EROFS:
        return ServiceUnavailable("Service is unable to handle request: the disk of this chamber is read-only.")
    if error.errno is None:  # our own word, not the disk's
        return error
    where = f" ({error.filename})" if error.filename else ""
    return ChamberError(
        f"the disk failed: {error.strerror}{where}",
        "look at 'dmesg' and the disk's own health, and run 'cloudchamber scrub'",
    )
