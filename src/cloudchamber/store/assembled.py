# SPDX-License-Identifier: Apache-2.0
"""A blob of several files: a folder that holds a link to each, ``<number>.<octets>``, and maybe a ``label``.

What an upload brought in parts lies on the disk already and is durable; its object is these files under a second name,
and nothing is copied to make it. Of each file so many octets count as its name says.
"""

from __future__ import annotations

import os
import shutil
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING

from cloudchamber.store.writeback import write_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

LABEL = "label"


def assemble(folder: Path, files: Sequence[tuple[Path, int]], label: bytes) -> int:
    """Make a folder with a link to each file, in order, and sync it; octets of all. Its own name is not synced.

    Raises:
        OSError: a file system without links, or with too many of one file; nothing is left.
    """
    folder.mkdir(mode=0o700)
    try:
        for number, (file, octets) in enumerate(files):
            os.link(file, folder / f"{number:05d}.{octets}")
        if label:
            descriptor = os.open(folder / LABEL, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, label)
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return sum(octets for _, octets in files)


def parts(blob: Path) -> list[tuple[Path, int]]:
    """The files of a blob, in order, with the octets of each that count; of one that is a single file, itself."""
    if not blob.is_dir():
        return [(blob, blob.stat().st_size)]
    return [(file, int(file.suffix[1:])) for file in sorted(blob.iterdir()) if file.name != LABEL]


def size(blob: Path) -> int:
    """Octets that are there of a blob."""
    return sum(min(file.stat().st_size, octets) for file, octets in parts(blob))


def pieces(blob: Path, offset: int, length: int) -> Iterator[tuple[Path, int, int]]:
    """Which octets of which files a range of a blob is: file, offset, length (-1: the rest); fewer if it is short."""
    for file, octets in parts(blob):
        if offset >= octets:
            offset -= octets
            continue
        count = octets - offset if length < 0 else min(octets - offset, length)
        if count > 0:
            yield file, offset, count
        offset, length = 0, length if length < 0 else length - count
        if length == 0:
            return


class Assembled:
    """Reads the files of a blob as one."""

    def __init__(self, folder: Path, offset: int) -> None:
        self._files = parts(folder)
        self._ends = list(accumulate(octets for _, octets in self._files))
        self._at = offset
        self._open: BinaryIO | None = None
        self._number = -1

    def read(self, count: int, /) -> bytes:
        """The next octets, `count` at most; none at the end."""
        number = bisect_right(self._ends, self._at)
        if number == len(self._files):
            return b""
        if number != self._number or self._open is None:
            self.close()
            self._open, self._number = self._files[number][0].open("rb", buffering=0), number
            self._open.seek(self._at - (self._ends[number - 1] if number else 0))
        data = self._open.read(min(count, self._ends[number] - self._at))
        self._at += len(data)
        return data

    def close(self) -> None:
        """No more is read."""
        if self._open is not None:
            self._open.close()
            self._open = None
