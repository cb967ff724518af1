# SPDX-License-Identifier: Apache-2.0
"""Whether the machine that hosts the instances restarted since the chamber ran last."""

from __future__ import annotations

from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def restarted(kept: Path) -> bool:
    """Compare this boot of the machine with the one that the file `kept` names, and keep this one."""
    try:
        now = _BOOT.read_text(encoding="ascii")
    except OSError:
        return False
    try:
        before = kept.read_text(encoding="ascii")
    except OSError:
        before = now
    kept.write_text(now, encoding="ascii")
    return before != now
