# SPDX-License-Identifier: Apache-2.0
"""What a running instance really answers.

The system check runs a program in the instance's sandbox, which needs the sandbox's own first process; the instance
check is what that program asks: whether the guest's init answers on its control socket.
Source: Amazon EC2 User Guide, Status checks for Amazon EC2 instances.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cloudchamber.sandbox.sandboxes import Sandbox
    from cloudchamber.services.ec2 import tables

Level = Literal["ok", "impaired", "initializing", "insufficient-data", "not-applicable"]

_CONTROL = Path(__file__).resolve().parent / "guest" / "control.py"
_ANSWERS_WITHIN_S = 5.0
_BOOTS_WITHIN_S = 60.0
"""How long an init that does not answer yet may still be booting; AWS gives some minutes."""
_FRESH_S = 1.0
_CHECKS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Health:
    """Levels of one instance's checks; `since` is when it began to fail (POSIX seconds), 0 if it does not."""

    system: Level
    instance: Level
    since: float = 0.0


class Checks:
    """Looks at running instances when somebody asks, and remembers for a second."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Sandbox, Health]] = {}
        self._slots = asyncio.Semaphore(_CHECKS_AT_ONCE)

    async def of(self, row: tables.Instance, sandbox: Sandbox | None, now_s: float, *, held: bool) -> Health:
        """The health of one instance. One that is `held` for a copy is what it was before."""
        if row.state == "pending":
            return Health("initializing", "initializing")
        if row.state != "running":
            return Health("not-applicable", "not-applicable")
        young = now_s - row.started_at < _BOOTS_WITHIN_S
        if sandbox is None:
            # Why: it has just been started again, or has just ended; its row follows at once.
            level: Level = "initializing" if young or row.rebooting else "impaired"
            return Health(level, level, 0.0 if level == "initializing" else now_s)
        last = self._last.get(row.id)
        if last is not None and last[1] is sandbox and (held or now_s - last[0] < _FRESH_S):
            return last[2]
        if held:
            return Health("ok", "insufficient-data")
        async with self._slots:
            found = await _look(sandbox)
        if young and found.instance == "impaired" and (last is None or last[2].instance != "ok"):
            found = Health(found.system, "initializing")
        elif found.since == 0.0 and "impaired" in (found.system, found.instance):
            began = last[2].since if last is not None and last[2].since else now_s
            found = Health(found.system, found.instance, began)
        self._last[row.id] = (now_s, sandbox, found)
        self._last = {key: value for key, value in self._last.items() if now_s - value[0] < 3600}
        return found


async def _look(sandbox: Sandbox) -> Health:
    """Run our `systemctl` inside: it asks the guest's init for its units."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        argv = (sys.executable, "-I", "-S", str(_CONTROL), "systemctl", "list-units")
        code = await asyncio.wait_for(sandbox.run(argv, fds=(null, null, null), env={}), _ANSWERS_WITHIN_S)
    except TimeoutError:
        return Health("ok", "impaired")
    except OSError:
        return Health("impaired", "impaired")
    finally:
        os.close(null)
    return Health("ok", "ok" if code == 0 else "impaired")
