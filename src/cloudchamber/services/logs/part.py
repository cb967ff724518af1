# SPDX-License-Identifier: Apache-2.0
"""Logs' live side: removes what is older than its group's retention."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.store.database import Tx

_log = logging.getLogger(__name__)
_EVERY_S = 600.0
_AT_ONCE = 5_000
_DAY_MS = 86_400_000


class LogsPart:
    """Applies retention."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def nudge(self) -> None:
        """A retention changed: look at once."""
        self._wake.set()

    async def start(self) -> None:
        """Begin to look, now and then."""
        self._task = asyncio.create_task(self._expire_for_ever(), name="logs-retention")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def status(self) -> list[Mapping[str, Any]]:
        """Nothing runs here that people would look for."""
        return []

    async def _expire_for_ever(self) -> None:
        while True:
            try:
                more = True
                while more:
                    more = await self.expire() == _AT_ONCE
            except Exception:  # noqa: BLE001 - the edge of a task: tried again next time
                _log.exception("retention failed")
            # Why: no wait_for, which loses a cancellation that comes together with the event (Python 3.11).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._wake.wait()
            self._wake.clear()

    async def expire(self) -> int:
        """Remove events older than their group keeps them, some at a time; how many went."""
        now = int(self._doors.clock.now().timestamp() * 1000)

        def publish(tx: Tx) -> int:
            done = tx.execute(
                "DELETE FROM logs_events WHERE id IN (SELECT e.id FROM logs_groups g JOIN logs_events e "
                "ON e.group_id = g.id AND e.timestamp < ? - g.retention_days * ? "
                "WHERE g.retention_days IS NOT NULL LIMIT ?)",
                (now, _DAY_MS, _AT_ONCE),
            )
            return done.rowcount

        return await self._doors.database.write(publish)
