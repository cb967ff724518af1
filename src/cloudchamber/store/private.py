# SPDX-License-Identifier: Apache-2.0
"""Small secret files: keys and tokens. They appear whole or not at all, and only their owner may read them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloudchamber.base.errors import ChamberError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 and its name (and its folder's) to the disk before returning; replaces an older one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def kept(path: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds; it is made when it is first asked for.

    Raises:
        ChamberError: it is there and cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        data = make()
        write(path, data)
        return data
    except OSError as error:
        raise ChamberError(f"cannot read {path}: {error}", "check the owner of the state folder") from error
