# SPDX-License-Identifier: Apache-2.0
"""What each mode does not stop, in words. The attack table in tests/sandbox asserts the same."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.sandbox.cgroups import LimitsBy
    from cloudchamber.sandbox.spec import Mode

_KERNEL = "a hole in the kernel: all sandboxes share this machine's kernel, which is no wall between enemies"
_DISK = "using as much disk as is free: an instance's volume has no quota (its console has)"
_SHARED = "listening on any free port: sandboxes share the machine's ports, so two cannot both have port 80"
_TMP = "writing more to /tmp than its size: it is a folder of the machine's disk"
_LANDLOCK = (
    "connecting to unix sockets that have a path (a local database, ssh-agent): guard those by password",
    "sending UDP packets, so also DNS, to anywhere",
)
_LANDLOCK_TCP, _LANDLOCK_SCOPES = 4, 6
_WITHOUT_TCP = "connecting to any TCP address: the rule for it needs Linux 6.7"
_WITHOUT_SCOPES = "signalling your other processes, and abstract unix sockets: the rule for these needs Linux 6.12"
_PLAIN = (
    "reading and writing every file of your user, including this chamber's state and your keys",
    "seeing, signalling and debugging every process of your user",
    "connecting to any address: this machine's services, your network, the internet",
)
_RLIMITS = (
    "memory beyond the limit when it is spread over several processes: no control group may be made here, "
    "so the limit holds for each process by itself and ends in MemoryError instead of a kill"
)
_NO_NFT = (
    "outbound connections of an instance to the services of its own router by port: `nft` is not installed, so "
    "security groups are enforced where connections are made (nothing else leads out of an instance)"
)


_SETTINGS = Path("/proc/sys")
_FORBIDS = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""Settings of the system, the value that forbids namespaces to an ordinary user, and one that allows them."""


def setting() -> str:
    """The command that allows user namespaces where a setting of the system forbids them, else empty."""
    for name, forbids, allows in _FORBIDS:
        with contextlib.suppress(OSError):
            if (_SETTINGS / name).read_text(encoding="ascii").strip() == forbids:
                return f"sudo sysctl {name.replace('/', '.')}={allows}"
    return ""


def stronger(mode: str, refused: Mapping[str, str]) -> tuple[str, str]:
    """Why a chamber has no namespaces, and what to do about it; empty texts when it has them."""
    if mode.startswith("ns-"):
        return "", ""
    tried = refused.get("ns-root" if os.geteuid() == 0 else "ns-user", "")
    if not tried:
        return f"it was started with --sandbox {mode}", "'cloudchamber stop', then start it without --sandbox"
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return tried, setting() or "run this container with --privileged"
    return tried, setting() or "allow user namespaces on this machine, or run the chamber as root"


def not_blocked(mode: Mode, limits_by: LimitsBy, *, landlock: int, nft: bool) -> tuple[str, ...]:
    """What this mode does not stop; `landlock` is the version of its ABI here, 0 without it."""
    found: list[str] = []
    if mode == "plain":
        found += (*_PLAIN, _SHARED, _TMP)
    elif mode == "landlock":
        found += (*_LANDLOCK, _SHARED, _TMP)
        found += [_WITHOUT_TCP] if landlock < _LANDLOCK_TCP else []
        found += [_WITHOUT_SCOPES] if landlock < _LANDLOCK_SCOPES else []
    elif not nft:
        found.append(_NO_NFT)
    return (*found, *((_RLIMITS,) if limits_by == "rlimits" else ()), _DISK, _KERNEL)
