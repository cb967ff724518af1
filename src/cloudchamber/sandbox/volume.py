# SPDX-License-Identifier: Apache-2.0
"""The folders of an instance's volume, made ready without a trust in what is there.

A volume may have been a further volume of another instance, or a snapshot of one: its top was that instance's to write,
links included. Everything here goes folder by folder and follows none.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from cloudchamber.sandbox import etc

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from cloudchamber.sandbox.etc import Owner

_FIRST_FOLDERS = ("var/log", "var/tmp", "var/lib", "var/cache", "var/spool", "home/ec2-user")
_USER = 1000


def make_ready(volume: Path, kept: Sequence[str], owner: Owner | None) -> None:
    """Have every folder of `kept` (`etc` is left to its own) in the volume; what is there and no folder is removed.

    A volume without an `etc` gets the folders of a new instance. `owner` is who the instance's root is outside.
    """
    volume.mkdir(mode=0o700, parents=True, exist_ok=True)
    top = os.open(volume, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name in kept:
            _clear(top, name)
        if "etc" not in os.listdir(top):
            _furnish(top, owner)
        for name in kept:
            if name != "etc":
                os.close(etc.step_into(os.dup(top), name, owner))
        _set_mode(top, "root", 0o700, owner)
    finally:
        os.close(top)


def _clear(folder: int, name: str) -> None:
    """Remove what has that name, unless it is a folder."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=folder)


def _opened(top: int, path: str, owner: Owner | None) -> int:
    folder = os.dup(top)
    for name in path.split("/"):
        _clear(folder, name)
        folder = etc.step_into(folder, name, owner)
    return folder


def _set_mode(top: int, path: str, mode: int, owner: Owner | None) -> None:
    folder = _opened(top, path, owner)
    try:
        os.fchmod(folder, mode)
    finally:
        os.close(folder)


def _furnish(top: int, owner: Owner | None) -> None:
    for path in _FIRST_FOLDERS:
        os.close(_opened(top, path, owner))
    _set_mode(top, "var/tmp", 0o1777, owner)
    folder = _opened(top, "var", owner)
    try:
        with contextlib.suppress(FileExistsError):
            os.symlink("/run", "run", dir_fd=folder)
    finally:
        os.close(folder)
    if owner:
        folder = _opened(top, "home/ec2-user", owner)
        try:
            os.fchown(folder, owner[0] + _USER, owner[1] + _USER)
        finally:
            os.close(folder)
