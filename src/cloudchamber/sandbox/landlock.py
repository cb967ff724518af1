# SPDX-License-Identifier: Apache-2.0
"""Landlock: a process gives up files, TCP connections and signals for good, without any privilege.

Source: landlock(7), the kernel's userspace-api/landlock. Each version of the ABI can do more; what this kernel cannot
is said by `modes.not_blocked`.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from typing import TYPE_CHECKING

from cloudchamber.sandbox import linux

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH, _RULE_PORT = 1, 2
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_OF_FIRST_VERSION = (1 << 13) - 1
_CONNECT_TCP = 2
_ABSTRACT_SOCKETS, _SIGNALS = 1, 2
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_FOR_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV


def version() -> int:
    """The ABI of this kernel; 0 when it has none."""
    if not linux.supported():
        return 0
    return max(0, linux.libc().syscall(_CREATE, None, 0, _ASK_VERSION))


def handled(abi: int) -> tuple[int, int, int]:
    """Rights over files, TCP and scopes that an ABI can take away."""
    files = _OF_FIRST_VERSION
    for since, right in ((2, _REFER), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        files |= right if abi >= since else 0
    return files, _CONNECT_TCP if abi >= 4 else 0, _ABSTRACT_SOCKETS | _SIGNALS if abi >= 6 else 0


def ruleset(abi: int) -> bytes:
    """The kernel's `struct landlock_ruleset_attr`, as long as this ABI knows it."""
    size = 8 if abi < 4 else 16 if abi < 6 else 24
    return struct.pack("=QQQ", *handled(abi))[:size]


def restrict(readable: Iterable[str], writable: Iterable[str], ports: Iterable[int]) -> None:
    """From now on: only these files, TCP connections only to these ports, signals only among ourselves.

    Raises:
        OSError: this kernel has no Landlock, or refuses.
    """
    abi = version()
    if not abi:
        raise OSError(38, "this kernel has no Landlock")
    files, tcp, _ = handled(abi)
    attributes = ruleset(abi)
    rules = linux.check(linux.libc().syscall(_CREATE, attributes, len(attributes), 0), "landlock_create_ruleset")
    try:
        for paths, rights in ((readable, _READ), (writable, files)):
            for path in paths:
                _allow_path(rules, path, rights & files)
        for port in ports if tcp else ():
            _add(rules, _RULE_PORT, struct.pack("=QQ", _CONNECT_TCP, port))
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.check(linux.libc().syscall(_RESTRICT, rules, 0), "landlock_restrict_self")
    finally:
        os.close(rules)


def _allow_path(rules: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            _add(rules, _RULE_PATH, struct.pack("=Qi", rights if is_folder else rights & _FOR_FILES, descriptor))
        finally:
            os.close(descriptor)


def _add(rules: int, kind: int, attributes: bytes) -> None:
    linux.check(linux.libc().syscall(_ADD_RULE, rules, kind, attributes, 0), "landlock_add_rule")
