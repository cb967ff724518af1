# SPDX-License-Identifier: Apache-2.0
"""A program of its own: put one PostgreSQL program into its place and become it.

Run as ``python -I -S launch.py SPEC`` with a JSON object: `argv`, `cwd`, `environment`, `uid` (0: stay who we are),
`mounts` (pairs of source and target, the targets below ``/mnt``), `files` (pairs, bound over existing files), `log`
(a file for its output, or empty) and `detach` (a session of its own; the launcher returns as soon as the program runs).

PostgreSQL refuses to run as root, initdb wants a name for its user, and the state folder is closed to everybody
else. So as root the program gets a user id of its own and a private mount namespace, in which its data and its binaries
are visible below ``/mnt`` and nothing of the path to them needs to be open to anybody.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x1000, 0x4000, 0x40000
_ROOM = "/mnt"


def _mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {target}: {os.strerror(number)}")


def _unshare() -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS):
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")


def _place(mounts: list[list[str]], files: list[list[str]]) -> None:
    """Make the private view of the file system."""
    _unshare()
    _mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    # Why: handles first, because the room may hide what they name (a state folder below /mnt).
    held = [(os.open(source, os.O_PATH), target) for source, target in (*mounts, *files)]
    _mount("tmpfs", _ROOM, "tmpfs", _MS_NOSUID, "mode=0711,size=64k")
    for _, target in mounts:
        os.makedirs(target, 0o711)
    for handle, target in held:
        _mount(f"/proc/self/fd/{handle}", target, "", _MS_BIND)
        os.close(handle)


def _become(spec: dict[str, Any]) -> None:
    if spec["mounts"]:
        _place(spec["mounts"], spec["files"])
    uid = spec["uid"]
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    os.umask(0o077)
    os.chdir(spec["cwd"])
    os.execve(spec["argv"][0], spec["argv"], spec["environment"])


def _redirect(log: str) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    if log:
        out = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(out, 1)
        os.dup2(out, 2)


def _detached(spec: dict[str, Any]) -> int:
    """Fork the program; return once it was executed, or with the reason why it was not."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reading)
            os.setsid()
            _redirect(spec["log"])
            _become(spec)
        except BaseException as error:  # noqa: BLE001 - the last thing this process can do is to say why
            os.write(writing, str(error).encode())
        os._exit(127)
    os.close(writing)
    reason = b"".join(iter(lambda: os.read(reading, 4096), b""))
    sys.stderr.buffer.write(reason)
    return 1 if reason else 0


def main() -> int:
    """Run the program that SPEC describes."""
    spec = json.loads(sys.argv[1])
    if spec["detach"]:
        return _detached(spec)
    _redirect(spec["log"])
    _become(spec)
    return 127


if __name__ == "__main__":
    sys.exit(main())
