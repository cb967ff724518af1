# SPDX-License-Identifier: Apache-2.0
"""What a malicious program tries, from inside: prints {attempt: "OPEN" or why it did not work}. Not a test itself."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import time

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


def tell(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.settimeout(1)
        made.sendto(b"hello", (address, port))
        assert b"VICTIM" in made.recv(100)


def child(work):
    """Run in a process of its own; OPEN if that comes to its end."""
    made = os.fork()
    if made == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - every way to fail counts
            os._exit(1)
        os._exit(0)
    status = os.waitpid(made, 0)[1]
    assert status == 0, f"ended with {os.waitstatus_to_exitcode(status)}"


def others_memory():
    with open(f"/proc/{pid}/maps", encoding="ascii") as file:
        there = int(file.readline().partition("-")[0], 16)
    here = ctypes.create_string_buffer(8)
    local, remote = (ctypes.c_void_p * 2)(ctypes.addressof(here), 8), (ctypes.c_void_p * 2)(there, 8)
    call(310 if X86 else 270, pid, local, ctypes.c_ulong(1), remote, ctypes.c_ulong(1), ctypes.c_ulong(0))


def others_descriptor():
    taken = LIBC.syscall(438, os.pidfd_open(pid), 1, 0)
    if taken < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")


def others_namespaces():
    for kind in ("net", "mnt", "user"):
        held = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        if LIBC.setns(held, 0):
            raise OSError(ctypes.get_errno(), "setns")


def cloned(flags):
    made = LIBC.syscall(56 if X86 else 220, flags | signal.SIGCHLD, None, None, None, None)
    if made == 0:
        os._exit(0)
    if made < 0:
        raise OSError(ctypes.get_errno(), "clone")
    os.waitpid(made, 0)


def nested():
    """A namespace in which it would be root, and then one of what only root may have."""
    call(272 if X86 else 97, 0x10000000)
    call(272 if X86 else 97, 0x00020000 | 0x40000000)


def much_memory():
    """Three times its limit, touched."""
    held = []
    for _ in range(3 * TARGETS["memory_mib"] // 16):
        held.append(bytearray(b"x" * (16 << 20)))


def many_processes():
    """Twice as many as it may have, all alive at once."""
    made = []
    try:
        for _ in range(2 * TARGETS["pids"]):
            one = os.fork()
            if one == 0:
                time.sleep(60)
                os._exit(0)
            made.append(one)
    finally:
        for one in made:
            os.kill(one, signal.SIGKILL)
            os.waitpid(one, 0)


def full_tmp():
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), "cloudchamber-full")
    try:
        with open(path, "wb") as file:
            for _ in range(2 * TARGETS["tmp_mib"]):
                file.write(b"x" * (1 << 20))
    finally:
        os.unlink(path)


def by_handle():
    handle = ctypes.create_string_buffer(b"\x08\0\0\0\x01\0\0\0" + b"\x02" * 8)
    call(304 if X86 else 265, os.open("/", os.O_RDONLY), handle, 0)


def many_files():
    held = []
    try:
        for _ in range(TARGETS["open_files"] + 10):
            held.append(os.open("/dev/null", os.O_RDONLY))
    finally:
        for one in held:
            os.close(one)


def typed_into_the_terminal():
    import fcntl

    fcntl.ioctl(os.open("/dev/tty", os.O_RDWR), 0x5412, b"x")


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
    "make a user namespace": lambda: child(lambda: call(272 if X86 else 97, 0x10000000)),
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
    "read the chamber's memory": others_memory,
    "take a descriptor of the chamber": others_descriptor,
    "enter the chamber's namespaces": others_namespaces,
    "make namespaces within a user namespace": lambda: child(nested),
    "clone into a user namespace": lambda: cloned(0x10000000),
    "clone into a network of its own": lambda: cloned(0x40000000),
    "open a file by its handle": by_handle,
    "perf_event_open": lambda: call(298 if X86 else 241, ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "userfaultfd": lambda: call(323 if X86 else 282, 0),
    "keyctl": lambda: call(250 if X86 else 219, 0, -3, 0),
    "load a module of the kernel": lambda: call(175 if X86 else 105, None, 0, b""),
    "read the kernel's memory": lambda: os.close(os.open("/proc/kcore", os.O_RDONLY)),
    "read the kernel's log": lambda: call(103 if X86 else 116, 3, ctypes.create_string_buffer(100), 100),
    "set the clock": lambda: call(164 if X86 else 170, ctypes.create_string_buffer(b"\x01" * 16), None),
    "type into the chamber's terminal": typed_into_the_terminal,
    "send UDP to the host's loopback": lambda: tell("127.0.0.1", TARGETS["udp"]),
    "send UDP to the host's own address": lambda: tell(TARGETS["lan"], TARGETS["udp"]),
    "use more memory than it has": lambda: child(much_memory),
    "have more processes than it may": lambda: child(many_processes),
    "write more to /tmp than it has": full_tmp,
    "open more files than it may": many_files,
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
