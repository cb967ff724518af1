# SPDX-License-Identifier: Apache-2.0
"""What a malicious program tries, from inside: prints {attempt: "OPEN" or why it did not work}. Not a test itself."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import sys

TARGETS = json.loads(os.environ["TARGETS"])
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long
X86 = os.uname().machine == "x86_64"


def connect(address, family=socket.AF_INET):
    with socket.socket(family) as made:
        made.settimeout(2)
        made.connect(address)


def call(number, *arguments):
    if LIBC.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
    os.unlink(path)


def read(path, wanted):
    with open(path, "rb") as file:
        assert wanted.encode() in file.read(65536)


def devices():
    there = [path for path in ("/dev/kvm", "/dev/vda", "/dev/sda", "/dev/mem") if os.path.exists(path)]
    opened = [os.open(path, os.O_RDWR) for path in there]
    assert opened


def host_mount_namespace():
    assert os.readlink("/proc/1/ns/mnt") == TARGETS["mnt"]
    os.close(os.open("/proc/1/ns/mnt", os.O_RDONLY))


def mount():
    if LIBC.mount(b"t", b"/tmp", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mount")


def fds_of_init():
    for name in os.listdir("/proc/1/fd"):
        assert not os.readlink(f"/proc/1/fd/{name}").startswith(("net:", "/proc"))
        os.close(os.open(f"/proc/1/fd/{name}", os.O_RDONLY))
    raise PermissionError


def lo_down():
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, b"lo" + b"\0" * 14 + b"\x01\0" + b"\0" * 14)


state, pid = TARGETS["state"], TARGETS["pid"]
ATTEMPTS = {
    "read the chamber's state": lambda: read(f"{state}/keys.db", "KEYS"),
    "write the chamber's state": lambda: write(f"{state}/new"),
    "read another instance's volume": lambda: read(f"{state}/sandbox/i-other/volume/data", "DATA"),
    "read a secret in the user's home": lambda: read(TARGETS["home"] + "/.ssh/id", "SSH"),
    "read another sandbox's temporary file": lambda: read(TARGETS["tmp"], "TMP"),
    "read /etc/shadow of the host": lambda: read("/etc/shadow", "root:") or read("/etc/shadow", TARGETS["shadow"]),
    "write the host's /usr": lambda: write("/usr/cloudchamber-attack"),
    "see the chamber's process": lambda: read(f"/proc/{pid}/cmdline", TARGETS["mark"]),
    "read the chamber's environment": lambda: read(f"/proc/{pid}/environ", "topsecret"),
    "ptrace the chamber": lambda: call(101 if X86 else 117, 0x4206, pid, 0, 0),
    "signal the chamber": lambda: os.kill(pid, 0),
    "connect to a database on the host's loopback": lambda: connect(("127.0.0.1", TARGETS["db"])),
    "connect to another sandbox's metadata port": lambda: connect(("127.0.0.1", TARGETS["imds"])),
    "connect to the host's own address": lambda: connect((TARGETS["lan"], TARGETS["lan_port"])),
    "connect to an abstract unix socket": lambda: connect("\0" + TARGETS["abstract"], socket.AF_UNIX),
    "connect to a unix socket with a path": lambda: connect(TARGETS["unix"], socket.AF_UNIX),
    "make a user namespace": lambda: call(272 if X86 else 97, 0x10000000),
    "clone3": lambda: call(435, None, 0),
    "mount": mount,
    "bpf": lambda: call(321 if X86 else 280, 5, ctypes.create_string_buffer(128), 128),
    "io_uring": lambda: call(425, 4, ctypes.create_string_buffer(120)),
    "add_key": lambda: call(248 if X86 else 217, b"user", b"cc", b"x", 1, -3),
    "open a disk or /dev/kvm": devices,
    "write /proc/sys": lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),
    "enter the host's mount namespace": host_mount_namespace,
    "use what its PID 1 has open": fds_of_init if os.getpid() < 50 else lambda: 1 / 0,
    "change its network": lo_down,
    "connect to its own endpoint": lambda: connect(("127.0.0.1", int(os.environ["ENDPOINT"].split(":")[1]))),
}

if __name__ == "__main__":
    found = {}
    for name, attempt in ATTEMPTS.items():
        try:
            attempt()
            found[name] = "OPEN"
        except BaseException as error:  # noqa: BLE001 - every way to fail counts
            found[name] = f"{type(error).__name__}: {error}"
    print("RESULT " + json.dumps(found), flush=True)
    sys.exit(0)
