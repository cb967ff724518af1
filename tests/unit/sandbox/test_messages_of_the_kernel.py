# SPDX-License-Identifier: Apache-2.0
"""Octets for the kernel: the seccomp program run by a small machine, netlink frames, Landlock's structure."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.sandbox import landlock, netlink, seccomp
from cloudchamber.sandbox.seccomp import _ARCHITECTURES, _CLONE, _DEBUGGING, _DENIED, _IOCTL

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = ["x86_64", "aarch64"]


def decide(code: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the kernel would decide: the BPF machine, as far as the program uses it."""
    data = struct.pack("=IIQ6Q", number, architecture, 0, *(list(arguments) + [0] * 6)[:6])
    steps = list(struct.iter_unpack("=HBBI", code))
    position, held = 0, 0
    for _ in range(len(steps)):
        operation, if_true, if_false, value = steps[position]
        position += 1
        if operation == 0x20:
            held = struct.unpack_from("=I", data, value)[0]
        elif operation == 0x06:
            return value
        else:
            true = {0x15: held == value, 0x35: held >= value, 0x45: bool(held & value)}[operation]
            position += if_true if true else if_false
    raise AssertionError("the program does not end")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("ptrace", [True, False])
def test_denied_calls_fail_and_debugging_only_when_asked(machine, ptrace):
    code, own = seccomp.program(machine, ptrace=ptrace), _ARCHITECTURES[machine]
    for number in _DENIED[machine].values():
        assert decide(code, own, number) == ERRNO | errno.EPERM
    for number in _DEBUGGING[machine].values():
        assert decide(code, own, number) == (ALLOW if ptrace else ERRNO | errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_namespaces_cannot_be_made_by_any_clone(machine):
    code, own = seccomp.program(machine, ptrace=False), _ARCHITECTURES[machine]
    assert decide(code, own, 435) == ERRNO | errno.ENOSYS
    for flag in (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(code, own, _CLONE[machine], flag | 17) == ERRNO | errno.EPERM
    assert decide(code, own, _CLONE[machine], 0x003D0F00) == ALLOW  # a thread
    assert decide(code, own, _CLONE[machine], 0x01200011) == ALLOW  # a fork


@pytest.mark.parametrize("machine", MACHINES)
def test_terminals_cannot_be_typed_into(machine):
    code, own = seccomp.program(machine, ptrace=False), _ARCHITECTURES[machine]
    assert decide(code, own, _IOCTL[machine], 0, 0x5412) == ERRNO | errno.EPERM
    assert decide(code, own, _IOCTL[machine], 0, 0x541C) == ERRNO | errno.EPERM
    assert decide(code, own, _IOCTL[machine], 0, 0x5401) == ALLOW


def test_other_architectures_are_killed_and_x32_is_unknown():
    code = seccomp.program("x86_64", ptrace=False)
    assert decide(code, 0x40000003, 1) == KILL
    assert decide(code, _ARCHITECTURES["x86_64"], 0x40000000 | 1) == ERRNO | errno.ENOSYS


@given(st.integers(0, 460))
def test_every_number_ends_in_a_decision(number):
    for machine in MACHINES:
        decision = decide(seccomp.program(machine, ptrace=False), _ARCHITECTURES[machine], number)
        assert decision == ALLOW or decision & 0xFFFF0000 == ERRNO


@given(st.integers(0, 65535), st.binary(max_size=40))
def test_attributes_are_padded_to_four(kind, value):
    made = netlink.attribute(kind, value)
    length, seen = struct.unpack_from("=HH", made)
    assert (length, seen, len(made) % 4) == (4 + len(value), kind, 0)
    assert made[4:length] == value


def test_a_frame_says_its_length_and_wants_an_answer():
    made = netlink.frame(netlink.veth_pair("vpc0", "eth0", 4321), sequence=7)
    length, kind, flags, sequence, _ = struct.unpack_from("=IHHII", made)
    assert (length, kind, sequence) == (len(made), 16, 7)
    assert flags & 5 == 5
    assert b"veth\0" in made
    assert b"eth0\0" in made
    assert struct.pack("=I", 4321) in made


def test_an_address_of_an_interface_octet_by_octet():
    kind, _, body = netlink.add_address(3, "172.31.0.5", 20)
    address = bytes([172, 31, 0, 5])
    assert kind == 20
    assert body == struct.pack("=BBBBI", 2, 20, 0, 0, 3) + b"\x08\0\x01\0" + address + b"\x08\0\x02\0" + address


@pytest.mark.parametrize(("abi", "size"), [(1, 8), (3, 8), (4, 16), (5, 16), (6, 24), (7, 24)])
def test_landlock_asks_only_for_what_the_kernel_knows(abi, size):
    made = landlock.ruleset(abi)
    assert len(made) == size
    files = struct.unpack_from("=Q", made)[0]
    assert files & 0x1FFF == 0x1FFF
    assert bool(files & 1 << 15) == (abi >= 5)
