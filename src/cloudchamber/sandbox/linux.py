# SPDX-License-Identifier: Apache-2.0
"""The kernel's calls that Python 3.11 does not offer: namespaces, mounts, capabilities.

Sources: unshare(2), setns(2), mount(2), pivot_root(2), mount_setattr(2), open_tree(2), move_mount(2), prctl(2),
capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from functools import cache
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
_IN_MODIFY = 0x2
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 36, 38, 47

_MACHINE = os.uname().machine
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_RECURSIVE, _AT_EMPTY_PATH = -100, 0x8000, 0x1000
_OPEN_TREE_CLONE, _FROM_DESCRIPTOR = 1, 4
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4

KEPT_CAPABILITIES = frozenset({0, 1, 3, 4, 5, 6, 7, 8, 10, 18})
"""What an instance's root needs, all within its own user namespace.

CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT
"""


@cache
def libc() -> ctypes.CDLL:
    """The C library, with errno kept."""
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library


def supported() -> bool:
    """Whether this kernel and machine are ones whose call numbers are known here."""
    return sys.platform == "linux" and _MACHINE in _PIVOT_ROOT


def release() -> tuple[int, int]:
    """Version of the kernel: major and minor number."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(takewhile(str.isdigit, minor)) or 0)


def check(result: int, what: str) -> int:
    """The result, or an `OSError` that says which call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Leave the shared namespaces named by `flags`."""
    check(libc().unshare(flags), f"unshare {flags:#x}")


def setns(descriptor: int, kind: int) -> None:
    """Enter the namespace of this descriptor."""
    check(libc().setns(descriptor, kind), f"setns {kind:#x}")


@contextlib.contextmanager
def inside_network(there: int, back: int) -> Generator[None]:
    """Sockets made in this block belong to the network namespace `there`."""
    setns(there, NEWNET)
    try:
        yield
    finally:
        setns(back, NEWNET)


@contextlib.contextmanager
def inside_mounts(there: int) -> Generator[None]:
    """Paths in this block are those of the mount namespace `there`; only for a process of one thread."""
    held = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in ("/proc/self/ns/mnt", "/", ".")]
    back, root, here = held
    try:
        setns(there, NEWNS)
        try:
            yield
        finally:
            setns(back, NEWNS)  # which makes the top of that namespace our root: perhaps not what it was
            os.fchdir(root)
            os.chroot(".")
            os.fchdir(here)
    finally:
        for descriptor in held:
            os.close(descriptor)


def watch_file(path: str) -> int:
    """A descriptor of inotify that can be read, without waiting, when a file was written.

    Raises:
        OSError: the file is not there, or there is no inotify.
    """
    heard = check(libc().inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK), "inotify_init1")
    try:
        check(libc().inotify_add_watch(heard, os.fsencode(path), ctypes.c_uint32(_IN_MODIFY)), "inotify_add_watch")
    except OSError:
        os.close(heard)
        raise
    return heard


def prctl(option: int, argument: int = 0) -> None:
    """One operation on this process."""
    zero = ctypes.c_ulong(0)
    check(libc().prctl(option, ctypes.c_ulong(argument), zero, zero, zero), f"prctl {option}")


def mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """Mount; see mount(2)."""

    def octets(text: str | None) -> bytes | None:
        return None if text is None else os.fsencode(text)

    call = libc().mount
    result = call(octets(source), octets(target), octets(kind), ctypes.c_ulong(flags), octets(data))
    check(result, f"mount {source} on {target}")


def unmount(target: str) -> None:
    """Unmount at once from the tree, and for real when nobody uses it any more."""
    check(libc().umount2(os.fsencode(target), 2), f"umount {target}")


def pivot_root_here() -> None:
    """Make the current folder the root, and let the old one go."""
    check(libc().syscall(_PIVOT_ROOT[_MACHINE], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def detached_tree(source: str, *, read_only: bool) -> int:
    """A copy of what is mounted at a path, itself mounted nowhere yet: `nosuid`, private, perhaps read-only.

    Raises:
        OSError: the path is not there, or the kernel is older than 5.12.
    """
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC
    made = check(libc().syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(source), flags), f"open_tree {source}")
    attributes = struct.pack("=QQQQ", _ATTR_NOSUID | (_ATTR_RDONLY if read_only else 0), 0, PRIVATE, 0)
    how = _AT_EMPTY_PATH | _AT_RECURSIVE
    try:
        check(libc().syscall(_MOUNT_SETATTR, made, b"", how, attributes, len(attributes)), "mount_setattr")
    except OSError:
        os.close(made)
        raise
    return made


def attach_tree(tree: int, target: str) -> None:
    """Mount what `detached_tree` made."""
    where = os.fsencode(target)
    check(libc().syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, where, _FROM_DESCRIPTOR), f"move_mount {target}")


_KEPT_FLAGS = ((os.ST_NOSUID, NOSUID), (os.ST_NODEV, NODEV), (os.ST_NOEXEC, NOEXEC), (os.ST_RDONLY, RDONLY))


def harden_tree(target: str, *, read_only: bool) -> None:
    """Make a mount and all that is mounted below it `nosuid`, `nodev` and perhaps read-only."""
    wanted = _ATTR_NOSUID | (_ATTR_RDONLY if read_only else 0)
    attributes = struct.pack("=QQQQ", wanted, 0, 0, 0)
    result = libc().syscall(_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target), _AT_RECURSIVE, attributes, len(attributes))
    if result == 0:
        return
    # Why: kernels before 5.12 have no recursive call; there every mount below is changed one by one.
    real = os.path.realpath(target)
    for point in _mounts_below(real):
        kept = sum(flag for seen, flag in _KEPT_FLAGS if os.statvfs(point).f_flag & seen)
        mount(None, point, None, BIND | REMOUNT | kept | NOSUID | (RDONLY if read_only else 0))


def _mounts_below(real: str) -> list[str]:
    points: list[str] = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            point = line.split(" ", 5)[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
            if point == real or point.startswith(real.rstrip("/") + "/"):
                points.append(point)
    return points


def drop_capabilities() -> None:
    """Give up every capability that an instance's root does not need, for ever."""
    for number in range(64):
        if number not in KEPT_CAPABILITIES and libc().prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            break
    mask = sum(1 << number for number in KEPT_CAPABILITIES)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    header, data = struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", low, low, 0, high, high, 0)
    check(libc().capset(header, data), "capset")
