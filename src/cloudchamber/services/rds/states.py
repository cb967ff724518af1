# SPDX-License-Identifier: Apache-2.0
"""The life of a DB instance as a table: pure. Source: Amazon RDS User Guide, "Viewing DB instance status"."""

from __future__ import annotations

from typing import Literal

State = Literal[
    "creating", "available", "modifying", "rebooting", "stopping", "stopped", "starting", "deleting", "failed"
]
Event = Literal["modify", "reboot", "stop", "start", "delete", "works", "ended", "broke", "gave-up"]
"""``modify reboot stop start delete`` are asked for. The others happen: it takes connections, it was stopped, its
server ended by itself, it cannot be made to work."""

TABLE: dict[tuple[State, Event], State] = {
    ("creating", "works"): "available",
    ("creating", "gave-up"): "failed",
    ("creating", "delete"): "deleting",
    ("available", "modify"): "modifying",
    ("available", "reboot"): "rebooting",
    ("available", "broke"): "rebooting",
    ("available", "stop"): "stopping",
    ("available", "delete"): "deleting",
    ("modifying", "works"): "available",
    ("modifying", "gave-up"): "failed",
    ("modifying", "delete"): "deleting",
    ("rebooting", "works"): "available",
    ("rebooting", "gave-up"): "failed",
    ("rebooting", "delete"): "deleting",
    ("stopping", "ended"): "stopped",
    ("stopped", "start"): "starting",
    ("stopped", "delete"): "deleting",
    ("starting", "works"): "available",
    ("starting", "gave-up"): "failed",
    ("starting", "delete"): "deleting",
    ("failed", "delete"): "deleting",
}
RISING: frozenset[str] = frozenset(("creating", "modifying", "rebooting", "starting"))
"""On the way to ``available``."""


def after(state: State, event: Event) -> State | None:
    """The state that follows; None where AWS answers InvalidDBInstanceState, or where nothing changes."""
    return TABLE.get((state, event))
