# SPDX-License-Identifier: Apache-2.0
"""Events that survive: written in the transaction that causes them, delivered at least once.

A service adds a message in its own `write` with `emit`; a subscriber to the topic gets it after the commit,
again after a crash, and again (later each time) while it raises. Messages with the same `key` are delivered in
order, one at a time; different keys run side by side.
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.base.clock import Clock
    from cloudchamber.store.database import Database, Reader, Tx

_log = logging.getLogger(__name__)

SCHEMA = """CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  key TEXT NOT NULL,
  payload TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL DEFAULT 0
)"""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `attempts` counts the deliveries that failed before this one."""

    id: int
    topic: str
    key: str
    payload: Mapping[str, Any]
    attempts: int


class Retry(Exception):  # noqa: N818 - an outcome, not a failure
    """Raised by a subscriber: deliver this again in `after_s` seconds, and count it as an attempt."""

    def __init__(self, after_s: float) -> None:
        super().__init__(f"again in {after_s} s")
        self.after_s = after_s


def emit(tx: Tx, topic: str, key: str, payload: Mapping[str, Any], due: float = 0.0) -> None:
    """Add a message to the transaction. `due` is a POSIX time before which it is not delivered."""
    tx.execute(
        "INSERT INTO outbox (topic, key, payload, due) VALUES (?, ?, ?, ?)",
        (topic, key, json.dumps(payload), due),
    )


class Outbox:
    """Delivers messages to subscribers."""

    def __init__(self, database: Database, clock: Clock, in_flight_max: int = 64) -> None:
        self._database = database
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._subscribers: dict[str, Callable[[Message], Awaitable[None]]] = {}
        self._busy: dict[int, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    def subscribe(self, topic: str, deliver: Callable[[Message], Awaitable[None]]) -> None:
        """Deliver every message of `topic` to `deliver`; returning means handled, raising means again."""
        self._subscribers[topic] = deliver
        self._wake.set()

    def nudge(self) -> None:
        """Say that a message may have been added (after the commit), so that nobody waits for the next look."""
        self._wake.set()

    async def start(self) -> None:
        """Create the table and begin to deliver."""
        await self._database.write(lambda tx: tx.execute(SCHEMA) and None)
        self._pump = asyncio.create_task(self._deliver_for_ever(), name="outbox")

    async def stop(self) -> None:
        """Stop delivering; what was not handled is delivered after the next start."""
        tasks = [t for t in (self._pump, *self._tasks) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def backlog(self) -> int:
        """Messages not handled yet."""
        return int(self._database.read(lambda db: db.execute("SELECT count(*) FROM outbox").fetchone()[0]))

    async def _deliver_for_ever(self) -> None:
        while True:
            self._wake.clear()
            wait_s = self._start_due()
            try:
                await asyncio.wait_for(self._wake.wait(), wait_s)
            except TimeoutError:
                continue

    def _start_due(self) -> float:
        """Start whatever may run now; seconds until something may be due."""
        now = self._clock.now().timestamp()

        def look(db: Reader) -> list[Any]:
            return db.execute("SELECT * FROM outbox ORDER BY id LIMIT 1000").fetchall()

        keys = set(self._busy.values())
        next_due = now + 5.0
        for row in self._database.read(look):
            lane = f"{row['topic']}\0{row['key']}"
            if row["id"] in self._busy or lane in keys or row["topic"] not in self._subscribers:
                continue
            keys.add(lane)
            if row["due"] > now:
                next_due = min(next_due, row["due"])
            elif len(self._busy) < self._in_flight_max:
                self._busy[row["id"]] = lane
                message = Message(
                    row["id"], row["topic"], row["key"], json.loads(row["payload"]), row["attempts"]
                )
                task = asyncio.create_task(self._deliver(message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return max(0.001, next_due - now)

    async def _deliver(self, message: Message) -> None:
        try:
            after_s: float | None = None
            try:
                await self._subscribers[message.topic](message)
            except Retry as retry:
                after_s = retry.after_s
            except Exception:  # the edge of somebody else's code: the message stays and is tried again
                _log.exception("delivery of %s %s failed", message.topic, message.id)
                after_s = min(300.0, 0.5 * 2 ** min(message.attempts, 10))
            if after_s is None:
                await self._database.write(
                    lambda tx: tx.execute("DELETE FROM outbox WHERE id = ?", (message.id,)) and None
                )
            else:
                due = self._clock.now().timestamp() + after_s
                await self._database.write(
                    lambda tx: (
                        tx.execute(
                            "UPDATE outbox SET attempts = attempts + 1, due = ? WHERE id = ?",
                            (due, message.id),
                        )
                        and None
                    )
                )
        finally:
            self._busy.pop(message.id, None)
            self._wake.set()
