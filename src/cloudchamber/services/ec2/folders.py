# SPDX-License-Identifier: Apache-2.0
"""Copies of a volume's folder, whole or not at all. What is in it was written by an instance and is not trusted.

Links are copied as links and never followed; a file with several names stays one file; holes stay holes; nothing of
the copy shares a file with its source. Blocks are shared where the file system can (FICLONE), and otherwise copied.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from cloudchamber.sandbox import trees

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_CLONE = 0x40049409
"""FICLONE of <linux/fs.h>."""
_PART_OCTETS = 8 << 20
_ENTRIES_MAX = 2_000_000
remove = trees.remove
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def size(folder: Path) -> int:
    """Octets of the files of a folder, as far as they take place on the disk.

    Raises:
        OSError: there is no such folder, or it is too deep for a copy.
    """
    found = (seen for _, entries in trees.walk(folder) for _, seen in entries)
    return sum(seen.st_blocks * 512 for seen in found if not stat.S_ISDIR(seen.st_mode))


class Copy:
    """One copy of a folder. `told(octets)` hears how much is done; it may raise to end the copy."""

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told = told
        self._done = 0
        self._entries = 0
        self._names: dict[tuple[int, int], str] = {}
        self._as_root = os.geteuid() == 0

    def make(self, source: Path, target: Path) -> int:
        """Copy `source` to `target`, which appears only when all of it is on the disk; returns the octets copied.

        Raises:
            OSError: nothing of the copy is left.
        """
        part = target.with_name(f"{target.name}.part")
        remove(part)
        try:
            part.mkdir(mode=0o700)
            self._root = os.open(part, _FOLDER)
            try:
                here = os.open(source, _FOLDER)
                try:
                    self._folder(here, self._root, "")
                finally:
                    os.close(here)
                _write_out(self._root)
            finally:
                os.close(self._root)
            part.rename(target)
            _settle(target.parent)
        except BaseException:
            remove(part)
            raise
        return self._done

    def _folder(self, source: int, target: int, path: str, depth: int = 0) -> None:
        if depth > trees.DEPTH_MAX:
            raise OSError(errno.ELOOP, f"a volume with folders more than {trees.DEPTH_MAX} deep cannot be copied")
        for name in os.listdir(source):
            self._entries += 1
            if self._entries > _ENTRIES_MAX:
                raise OSError(errno.EMFILE, f"a volume of more than {_ENTRIES_MAX} files cannot be copied")
            seen = os.stat(name, dir_fd=source, follow_symlinks=False)
            self._entry(source, target, name, f"{path}{name}", seen, depth)
        self._like(source, target, os.fstat(source))

    def _entry(self, source: int, target: int, name: str, path: str, seen: os.stat_result, depth: int) -> None:
        kind = stat.S_IFMT(seen.st_mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=target)
            below, copy = self._opened(source, name, _FOLDER, seen), os.open(name, _FOLDER, dir_fd=target)
            try:
                self._folder(below, copy, f"{path}/", depth + 1)
            finally:
                os.close(below)
                os.close(copy)
            return
        known = (seen.st_dev, seen.st_ino)
        if seen.st_nlink > 1 and known in self._names:
            os.link(self._names[known], name, src_dir_fd=self._root, dst_dir_fd=target, follow_symlinks=False)
            return
        if kind == stat.S_IFREG:
            self._file(source, target, name, seen)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            self._owner(target, name, seen)
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, stat.S_IMODE(seen.st_mode), dir_fd=target)
            self._owner(target, name, seen)
        else:
            return  # sockets mean nothing without their program; devices cannot be made inside
        if seen.st_nlink > 1:
            self._names[known] = path

    def _opened(self, folder: int, name: str, flags: int, seen: os.stat_result) -> int:
        try:
            return os.open(name, flags, dir_fd=folder)
        except PermissionError:
            # Why: a file that its owner may not read is still the volume's; its owner is this user.
            handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                place, mode = f"/proc/self/fd/{handle}", stat.S_IMODE(seen.st_mode)
                os.chmod(place, mode | (0o500 if flags & os.O_DIRECTORY else 0o400))
                try:
                    return os.open(place, flags & ~os.O_NOFOLLOW)
                finally:
                    os.chmod(place, mode)
            finally:
                os.close(handle)

    def _file(self, source: int, target: int, name: str, seen: os.stat_result) -> None:
        # Why O_NONBLOCK: what was a file a moment ago may be a pipe now.
        read = self._opened(source, name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, seen)
        try:
            if not stat.S_ISREG(os.fstat(read).st_mode):
                return
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            write = os.open(name, flags, 0o600, dir_fd=target)
            try:
                self._content(read, write, seen.st_size)
                self._like(read, write, seen)
            finally:
                os.close(write)
        finally:
            os.close(read)

    def _content(self, read: int, write: int, length: int) -> None:
        try:
            fcntl.ioctl(write, _CLONE, read)
        except OSError:
            self._parts(read, write, length)
        else:
            self._count(length)

    def _parts(self, read: int, write: int, length: int) -> None:
        place = 0
        while place < length:
            try:
                begin = os.lseek(read, place, os.SEEK_DATA)
                end = min(os.lseek(read, begin, os.SEEK_HOLE), length)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # only a hole is left
            os.lseek(read, begin, os.SEEK_SET)
            os.lseek(write, begin, os.SEEK_SET)
            while begin < end:
                data = os.read(read, min(_PART_OCTETS, end - begin))
                if not data:
                    break
                written = 0
                while written < len(data):
                    written += os.write(write, data[written:])
                begin += len(data)
                self._count(len(data))
            place = end
        os.ftruncate(write, length)

    def _count(self, octets: int) -> None:
        self._done += octets
        self._told(self._done)

    def _like(self, source: int, copy: int, seen: os.stat_result) -> None:
        """Owner, mode, attributes and times; in this order, because a change of owner takes away set-id bits."""
        if self._as_root:
            os.fchown(copy, seen.st_uid, seen.st_gid)
        os.fchmod(copy, stat.S_IMODE(seen.st_mode))
        with contextlib.suppress(OSError):  # a file system that keeps none, or one that only the kernel may set
            for name in os.listxattr(source):
                os.setxattr(copy, name, os.getxattr(source, name))
        os.utime(copy, ns=(seen.st_atime_ns, seen.st_mtime_ns))

    def _owner(self, folder: int, name: str, seen: os.stat_result) -> None:
        if self._as_root:
            os.chown(name, seen.st_uid, seen.st_gid, dir_fd=folder, follow_symlinks=False)


def _write_out(folder: int) -> None:
    """Bring what was written to the disk."""
    # Why syncfs: a call for each of many thousand small files takes minutes, and os.sync writes every disk's.
    if ctypes.CDLL(None, use_errno=True).syncfs(folder) != 0:
        raise OSError(ctypes.get_errno(), "the copy could not be written to the disk")


def _settle(folder: Path) -> None:
    handle = os.open(folder, _FOLDER)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a link to one is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False
