# SPDX-License-Identifier: Apache-2.0
"""What each mode does not stop, in words. The attack table in tests/sandbox asserts the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cloudchamber.sandbox.cgroups import LimitsBy
    from cloudchamber.sandbox.spec import Mode

_KERNEL = "a hole in the kernel: all sandboxes share this machine's kernel, which is no wall between enemies"
_LANDLOCK = (
    "connecting to unix sockets that have a path (a local database, ssh-agent): guard those by password",
    "sending UDP packets, so also DNS, to anywhere",
    "two instances listening on one port: they share the machine's ports",
    "using as much disk as is free",
)
_PLAIN = (
    "reading and writing every file of your user, including this chamber's state and your keys",
    "seeing, signalling and debugging every process of your user",
    "connecting to any address: this machine's services, your network, the internet",
    "using as much disk as is free",
    "two instances listening on one port: they share the machine's ports",
)
_RLIMITS = (
    "memory beyond the limit when it is spread over several processes: no control group may be made here, "
    "so the limit holds for each process by itself and ends in MemoryError instead of a kill"
)


def not_blocked(mode: Mode, limits_by: LimitsBy) -> tuple[str, ...]:
    """What this mode does not stop."""
    by_mode = {"landlock": _LANDLOCK, "plain": _PLAIN}.get(mode, ())
    return (*by_mode, *((_RLIMITS,) if limits_by == "rlimits" else ()), _KERNEL)
