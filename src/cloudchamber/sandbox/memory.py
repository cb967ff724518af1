# SPDX-License-Identifier: Apache-2.0
"""How much memory the processes of a sandbox have used. Source: proc_pid_status(5), proc_tid_children(5)."""

from __future__ import annotations

import contextlib
import os
import re

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.MULTILINE)
_PROCESSES_MAX = 2_000


def peak_kb(pid: int) -> int:
    """The most that each process below `pid` has had in memory, added up; 0 where the system does not tell."""
    found, total = [pid], 0
    for process in found:
        below = _children(process)
        total += sum(_peak_kb(child) for child in below)
        found += below[: max(0, _PROCESSES_MAX - len(found))]
    return total


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task")[:_PROCESSES_MAX]:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found += [int(child) for child in file.read().split()]
    return found


def _peak_kb(pid: int) -> int:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        if found := _PEAK.search(file.read()):
            return int(found[1])
    return 0
