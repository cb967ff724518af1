# SPDX-License-Identifier: Apache-2.0
"""Events that survive: written in the transaction that causes them, delivered at least once.

A service adds a message in its own `write` with `emit`; a subscriber to the topic gets it after the commit,
again after a crash, and again (later each time) while it raises. Messages with the same `key` form a lane: they are
delivered in order, one at a time; different lanes run side by side. What may run now is found by an index over
lanes, so that a long or a blocked lane costs the others nothing.
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

BUSY = frozenset(("outbox", "outbox_lanes"))
"""Its tables."""
_log = logging.getLogger(__name__)

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS outbox (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  key TEXT NOT NULL,
  payload TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  due REAL NOT NULL DEFAULT 0
)""",
    "CREATE INDEX IF NOT EXISTS outbox_by_lane ON outbox (topic, key, id)",
    """CREATE TABLE IF NOT EXISTS outbox_lanes (
  topic TEXT NOT NULL,
  key TEXT NOT NULL,
  due REAL NOT NULL,
  PRIMARY KEY (topic, key)
) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS outbox_lanes_by_due ON outbox_lanes (topic, due)",
)

LOOK_AGAIN_S = 5.0
_PAUSE_S = 1.0
_POSIX = 1e8
"""A lane's `due` below this is its turn, above it a POSIX time."""


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
    """Add a message to the transaction. `due` is a POSIX time before which it is not delivered.

    Raises:
        TypeError: `payload` is not JSON; the write that emits it fails as a whole.
    """
    row = tx.execute(
        "INSERT INTO outbox (topic, key, payload, due) VALUES (?, ?, ?, ?)",
        (topic, key, json.dumps(payload, separators=(",", ":")), due),
    ).lastrowid
    tx.execute("INSERT OR IGNORE INTO outbox_lanes VALUES (?, ?, ?)", (topic, key, _turn(row or 0, due)))


def _turn(row: int, due: float) -> float:
    """When a lane with this first message may run: lanes that wait for nothing go by age."""
    return due if due >= _POSIX else min(row * 1e-6, _POSIX / 2)


class Outbox:
    """Delivers messages to subscribers; at most `in_flight_max` of one topic at a time."""

    def __init__(self, database: Database, clock: Clock, in_flight_max: int = 64) -> None:
        self._database = database
        self._clock = clock
        self._in_flight_max = in_flight_max
        self._subscribers: dict[str, Callable[[Message], Awaitable[None]]] = {}
        self._busy: dict[str, set[str]] = {}
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
        """Create the tables and begin to deliver."""
        await self._database.write(_create)
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
            if not self._database.leads:
                await asyncio.sleep(_PAUSE_S)
                continue
            try:
                wait_s = min(self._start_due(topic) for topic in self._subscribers) if self._subscribers else None
            except Exception:  # noqa: BLE001 - the pump must outlive trouble with the disk
                _log.exception("the outbox could not be read; it looks again in %s s", LOOK_AGAIN_S)
                wait_s = LOOK_AGAIN_S
            # Why: no wait_for, which loses a cancellation that comes together with the event (Python 3.11).
            if self._database.shared:  # Why: other chambers emit, too
                wait_s = min(_PAUSE_S, _PAUSE_S if wait_s is None else wait_s)
            timer = None if wait_s is None else asyncio.get_running_loop().call_later(wait_s, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _start_due(self, topic: str) -> float:
        """Start what may run now; seconds until something may be due."""
        now = self._clock.now().timestamp()
        busy = self._busy.setdefault(topic, set())
        free = self._in_flight_max - len(busy)
        if free <= 0:
            return LOOK_AGAIN_S  # a delivery that ends wakes the pump
        rows, next_due = self._database.read(lambda db: _due(db, topic, now, len(busy), free))
        for key in rows:
            if key in busy:
                continue
            if free == 0:
                break
            free -= 1
            busy.add(key)
            task = asyncio.create_task(self._deliver(topic, key))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return min(LOOK_AGAIN_S, max(0.001, next_due - now))

    async def _deliver(self, topic: str, key: str) -> None:
        """Deliver the first message of a lane, and write down what came of it."""
        try:
            row = self._database.read(lambda db: _head(db, topic, key))
            if row is None:
                await self._database.write(lambda tx: _advance(tx, topic, key))
                return
            message_id: int = row["id"]
            after_s: float | None = None
            try:
                payload: Mapping[str, Any] = json.loads(row["payload"])
                await self._subscribers[topic](Message(message_id, topic, key, payload, row["attempts"]))
            except Retry as retry:
                after_s = retry.after_s
            except Exception:  # noqa: BLE001 - the edge of somebody else's code: the message stays, and is tried again
                _log.exception("delivery of %s %s failed", topic, message_id)
                after_s = min(300.0, 0.5 * 2 ** min(row["attempts"], 10))
            if after_s is None:
                await self._database.write(lambda tx: _handled(tx, topic, key, message_id))
            else:
                due = self._clock.now().timestamp() + max(after_s, 0.001)
                await self._database.write(lambda tx: _again(tx, topic, key, message_id, due))
        except Exception:  # noqa: BLE001 - no outcome was written: delivered again, but not in a tight loop
            _log.exception("the outcome of a delivery of %s could not be saved", topic)
            await asyncio.sleep(_PAUSE_S)
        finally:
            self._busy[topic].discard(key)
            self._wake.set()


def _create(tx: Tx) -> None:
    for statement in SCHEMA:
        tx.execute(statement)


def _due(db: Reader, topic: str, now: float, busy: int, free: int) -> tuple[list[str], float]:
    """Keys of lanes that may run (those that run already may be among them), and when the next one may."""
    # Why: retried lanes first, but only some, so that neither they nor the fresh ones wait for ever.
    retried = db.execute(
        "SELECT key FROM outbox_lanes WHERE topic = ? AND due >= ? AND due <= ? ORDER BY due LIMIT ?",
        (topic, _POSIX, now, busy + max(1, free // 4)),
    ).fetchall()
    fresh = db.execute(
        "SELECT key FROM outbox_lanes WHERE topic = ? AND due < ? ORDER BY due LIMIT ?",
        (topic, _POSIX, busy + free),
    ).fetchall()
    later = db.execute(
        "SELECT due FROM outbox_lanes WHERE topic = ? AND due > ? AND due >= ? ORDER BY due LIMIT 1",
        (topic, now, _POSIX),
    ).fetchone()
    return [row[0] for row in (*retried, *fresh)], later[0] if later else now + LOOK_AGAIN_S


def _head(db: Reader, topic: str, key: str) -> Any:
    return db.execute(
        "SELECT id, payload, attempts, due FROM outbox WHERE topic = ? AND key = ? ORDER BY id LIMIT 1", (topic, key)
    ).fetchone()


def _handled(tx: Tx, topic: str, key: str, message_id: int) -> None:
    tx.execute("DELETE FROM outbox WHERE id = ?", (message_id,))
    _advance(tx, topic, key)


def _again(tx: Tx, topic: str, key: str, message_id: int, due: float) -> None:
    tx.execute("UPDATE outbox SET attempts = attempts + 1, due = ? WHERE id = ?", (due, message_id))
    tx.execute("UPDATE outbox_lanes SET due = ? WHERE topic = ? AND key = ?", (due, topic, key))


def _advance(tx: Tx, topic: str, key: str) -> None:
    """Let the lane wait for its next message, or end it."""
    row = _head(tx, topic, key)
    if row is None:
        tx.execute("DELETE FROM outbox_lanes WHERE topic = ? AND key = ?", (topic, key))
    else:
        tx.execute(
            "UPDATE outbox_lanes SET due = ? WHERE topic = ? AND key = ?", (_turn(row["id"], row["due"]), topic, key)
        )
