# SPDX-License-Identifier: Apache-2.0
"""The list of kernel calls that nothing in a sandbox needs, as a BPF program written by hand.

Sources: seccomp(2), the kernel's call tables of x86_64 and arm64. Building the program is pure; `install` is not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct

from cloudchamber.sandbox import linux

_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCHITECTURE, _FIRST, _SECOND = 0, 4, 16, 24
_X32 = 0x40000000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

_DENIED = {
    "x86_64": {
        "mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "setns": 308, "bpf": 321,
        "perf_event_open": 298, "keyctl": 250, "add_key": 248, "request_key": 249, "userfaultfd": 323,
        "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176,
        "open_by_handle_at": 304, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
        "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "move_mount": 429, "open_tree": 428,
        "mount_setattr": 442, "swapon": 167, "swapoff": 168, "reboot": 169, "acct": 163, "quotactl": 179,
        "iopl": 172, "ioperm": 173, "syslog": 103, "lookup_dcookie": 212, "settimeofday": 164,
        "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305, "nfsservctl": 180, "vhangup": 153,
    },
    "aarch64": {
        "mount": 40, "umount2": 39, "pivot_root": 41, "unshare": 97, "setns": 268, "bpf": 280,
        "perf_event_open": 241, "keyctl": 219, "add_key": 217, "request_key": 218, "userfaultfd": 282,
        "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106,
        "open_by_handle_at": 265, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
        "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "move_mount": 429, "open_tree": 428,
        "mount_setattr": 442, "swapon": 224, "swapoff": 225, "reboot": 142, "acct": 89, "quotactl": 60,
        "syslog": 116, "lookup_dcookie": 18, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171,
        "clock_adjtime": 266, "nfsservctl": 42, "vhangup": 58,
    },
}  # fmt: skip
_DEBUGGING = {
    "x86_64": {"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311},
    "aarch64": {"ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271},
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_IOCTL = {"x86_64": 16, "aarch64": 29}
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _refuse(number: int) -> bytes:
    return _instruction(_RETURN, 0, 0, _ERRNO | number)


def program(machine: str, *, ptrace: bool) -> bytes:
    """The filter's instructions, eight octets each."""
    step = _instruction
    parts = [
        step(_LOAD, 0, 0, _ARCHITECTURE),
        step(_IF_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        step(_RETURN, 0, 0, _KILL),
        step(_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        parts += [step(_IF_AT_LEAST, 0, 1, _X32), _refuse(errno.ENOSYS)]
    # Why: clone3 takes its flags by pointer, which a filter cannot read; without it the C library uses clone.
    parts += [step(_IF_EQUAL, 0, 1, _CLONE3), _refuse(errno.ENOSYS)]
    parts += [
        step(_IF_EQUAL, 0, 4, _CLONE[machine]),
        step(_LOAD, 0, 0, _FIRST),
        step(_IF_ANY_BIT, 0, 1, _NAMESPACES),
        _refuse(errno.EPERM),
        step(_RETURN, 0, 0, _ALLOW),
    ]
    parts += [
        step(_IF_EQUAL, 0, 5, _IOCTL[machine]),
        step(_LOAD, 0, 0, _SECOND),
        step(_IF_EQUAL, 1, 0, _TIOCSTI),
        step(_IF_EQUAL, 0, 1, _TIOCLINUX),
        _refuse(errno.EPERM),
        step(_RETURN, 0, 0, _ALLOW),
    ]
    denied = dict(_DENIED[machine]) if ptrace else _DENIED[machine] | _DEBUGGING[machine]
    for number in denied.values():
        parts += [step(_IF_EQUAL, 0, 1, number), _refuse(errno.EPERM)]
    parts.append(step(_RETURN, 0, 0, _ALLOW))
    return b"".join(parts)


def install(*, ptrace: bool) -> None:
    """Filter this process and all its children from now on."""
    code = program(os.uname().machine, ptrace=ptrace)
    held = ctypes.create_string_buffer(code, len(code))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held)))
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    mode_filter = 2
    linux.check(linux.libc().prctl(linux.PR_SET_SECCOMP, mode_filter, ctypes.byref(head), 0, 0), "seccomp")
