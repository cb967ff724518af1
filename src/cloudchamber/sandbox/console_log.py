# SPDX-License-Identifier: Apache-2.0
"""What a sandbox writes to stdout and stderr, on disk, but never more than two files of a fixed size."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LARGEST_BYTES = 8 << 20


class ConsoleLog:
    """`console.log` of a sandbox; when it is full it becomes `console.log.1` and a new one begins."""

    def __init__(self, folder: Path, *, largest_bytes: int = LARGEST_BYTES) -> None:
        self._path = folder / "console.log"
        self._largest = largest_bytes
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._file).st_size

    def write(self, data: bytes) -> None:
        """Append; a full disk loses the line, not the sandbox."""
        with contextlib.suppress(OSError):
            if self._size + len(data) > self._largest:
                os.close(self._file)
                os.replace(self._path, self._path.with_name("console.log.1"))
                self._open()
            self._size += os.write(self._file, data)


def tail(folder: Path, limit: int) -> bytes:
    """The last `limit` octets of both files together."""
    found = b""
    for name in ("console.log", "console.log.1"):
        with contextlib.suppress(FileNotFoundError), open(folder / name, "rb") as log:
            wanted = limit - len(found)
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - wanted))
            found = log.read() + found
        if len(found) >= limit:
            break
    return found
