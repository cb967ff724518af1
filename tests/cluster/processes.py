# SPDX-License-Identifier: Apache-2.0
"""What is needed to start servers beside the tests."""

from __future__ import annotations

import ctypes
import signal
import socket
import time

START_WITHIN_S = 60
KEY = ("chambers", "secret-of-the-chambers")


def free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def wait_for(what: str, look) -> None:
    ends = time.monotonic() + START_WITHIN_S
    while not look():
        assert time.monotonic() < ends, f"{what} did not come up"
        time.sleep(0.05)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def end_with_us() -> None:
    """Let the kernel end this process when the tests end, however they do. Source: prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
