# SPDX-License-Identifier: Apache-2.0
"""Walking through and removing folders that somebody in a sandbox has written: links are not followed, depth is bound.

Why not the library's: it calls itself for each folder within a folder, and a thousand of those end it with an error
that nobody expects of a folder.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEPTH_MAX = 400
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def walk(top: Path) -> Iterator[tuple[int, list[tuple[str, os.stat_result]]]]:
    """The descriptor of every folder from `top` down, open until the next one, with the names in it and what they are.

    Folders that cannot be opened, and what went in between, are left out.

    Raises:
        OSError: there is no `top`, or folders are more than `DEPTH_MAX` deep.
    """
    opened = [os.open(top, _FOLDER)]
    waiting: list[list[str]] = []
    try:
        while opened:
            if len(waiting) < len(opened):
                entries = _entries(opened[-1])
                waiting.append([name for name, seen in entries if stat.S_ISDIR(seen.st_mode)])
                yield opened[-1], entries
            if not waiting[-1]:
                waiting.pop()
                os.close(opened.pop())
                continue
            if len(opened) > DEPTH_MAX:
                raise OSError(errno.ELOOP, f"folders are more than {DEPTH_MAX} deep", str(top))
            try:
                opened.append(os.open(waiting[-1].pop(), _FOLDER, dir_fd=opened[-1]))
            except OSError:
                continue
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _entries(folder: int) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    for name in os.listdir(folder):
        try:
            found.append((name, os.stat(name, dir_fd=folder, follow_symlinks=False)))
        except FileNotFoundError:
            continue
    return found


def remove(path: Path) -> None:
    """Remove a folder with all that is in it, also what its owner may not enter; nothing to remove is well.

    Raises:
        OSError: something of it is left.
    """
    try:
        shutil.rmtree(path)
    except (OSError, RecursionError):
        _remove_deep(path)


def _remove_deep(path: Path) -> None:
    """By programs: they go as deep as there are folders."""
    if not os.path.lexists(path):
        return
    if _run("rm", "-rf", "--", str(path)) != 0:
        _run("chmod", "-R", "u+rwx", "--", str(path))
        if _run("rm", "-rf", "--", str(path)) != 0:
            raise OSError(errno.ENOTEMPTY, "could not be removed whole", str(path))


def _run(*command: str) -> int:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode
