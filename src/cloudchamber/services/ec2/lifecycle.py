# SPDX-License-Identifier: Apache-2.0
"""The life cycle of an instance as a table: pure. Source: Amazon EC2 User Guide, Instance lifecycle."""

from __future__ import annotations

from typing import Literal

State = Literal["pending", "running", "stopping", "stopped", "shutting-down", "terminated"]
Event = Literal["start", "stop", "terminate", "began", "failed", "ended", "gone"]
"""``start stop terminate`` are asked for; the others happen to a sandbox: it runs, could not begin, ended, is gone."""

CODES: dict[str, int] = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}

TABLE: dict[tuple[str, Event], State] = {
    ("pending", "began"): "running",
    ("pending", "failed"): "stopped",
    ("pending", "terminate"): "shutting-down",
    ("running", "start"): "running",
    ("running", "stop"): "stopping",
    ("running", "terminate"): "shutting-down",
    ("running", "ended"): "stopped",
    ("stopping", "stop"): "stopping",
    ("stopping", "gone"): "stopped",
    ("stopping", "ended"): "stopped",
    ("stopping", "terminate"): "shutting-down",
    ("stopped", "start"): "pending",
    ("stopped", "stop"): "stopped",
    ("stopped", "terminate"): "shutting-down",
    ("shutting-down", "terminate"): "shutting-down",
    ("shutting-down", "ended"): "shutting-down",
    ("shutting-down", "gone"): "terminated",
    ("terminated", "terminate"): "terminated",
}


def after(state: str, event: Event) -> State | None:
    """The state that follows; None where AWS answers IncorrectInstanceState."""
    return TABLE.get((state, event))


def view(state: str) -> dict[str, object]:
    """`InstanceState` as AWS writes it."""
    return {"Code": CODES[state], "Name": state}
