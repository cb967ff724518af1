# SPDX-License-Identifier: Apache-2.0
"""Have the disk begin to write what a file got, long before somebody waits for it."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_WRITE = 2
"""SYNC_FILE_RANGE_WRITE. Source: sync_file_range(2)."""


def begin_writing(file: int, offset: int, count: int) -> None:
    """Begin to write a range to disk, and do not wait. It makes nothing durable: that is what fdatasync is for."""
    begin = _sync_file_range()
    if begin is not None:
        begin(file, offset, count, _WRITE)


def write_all(file: int, octets: bytes) -> None:
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
