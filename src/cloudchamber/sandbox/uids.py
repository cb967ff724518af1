# SPDX-License-Identifier: Apache-2.0
"""User ids for sandboxes of real root: 65536 of their own for each, held by a lock as long as the sandbox lives."""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path

COUNT = 65536
FIRST = 0x70000000
SLOTS = 4000
_LOCKS = Path("/run/cloudchamber/uids")


class NoFreeUidsError(OSError):
    """Every range of user ids is in use."""


def take(folder: Path, earlier: int | None) -> tuple[int, int]:
    """First id of a free range and the descriptor that holds it; the one of an `earlier` run if it is free."""
    _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    wanted = int.from_bytes(hashlib.sha256(os.fsencode(folder)).digest()[:4], "big") % SLOTS
    if earlier is not None and FIRST <= earlier < FIRST + SLOTS * COUNT:
        wanted = (earlier - FIRST) // COUNT
    for step in range(SLOTS):
        slot = (wanted + step) % SLOTS
        held = os.open(_LOCKS / str(slot), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(held)
            continue
        return FIRST + slot * COUNT, held
    raise NoFreeUidsError("every range of user ids is in use")


def shifted(number: int, first: int) -> int:
    """The same id of a sandbox in another range; ids of the host become the sandbox's root."""
    if FIRST <= number < FIRST + SLOTS * COUNT:
        return first + (number - FIRST) % COUNT
    return first
