# SPDX-License-Identifier: Apache-2.0
"""Asynchronous invocations: accepted only when they are on disk, run at least once, retried, and never lost in silence.

Why not the outbox: a run may take 15 minutes, and events of a function that is throttled must not hold up those of
others; here a row waits for its own time, and payloads are read only when a run begins.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.arn import Arn
from cloudchamber.base.body import Held
from cloudchamber.base.errors import ServiceError
from cloudchamber.services.lambda_ import tables
from cloudchamber.services.lambda_.environment import Work, assume
from cloudchamber.services.lambda_.errors import (
    RecursiveInvocationException,
    ResourceNotFoundException,
    TooManyRequestsException,
)
from cloudchamber.services.lambda_.events import destination, invocation_record, record_key
from cloudchamber.services.lambda_.names import LATEST, Reference
from cloudchamber.services.lambda_.outcome import Outcome
from cloudchamber.track.track import Segment, Trace, segment_id

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.events import Condition
    from cloudchamber.services.lambda_.pool import Tuning
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Reader, Tx

    Run = Callable[[Function, Work, dict[str, Any]], Awaitable[Outcome]]

_log = logging.getLogger(__name__)
_RETRIES = 2
_AGE_S = 21_600.0
_BACKOFF_MAX_S = 300.0
_LOOK_AGAIN_S = 5.0
_PAUSE_S = 1.0
_WAITING_MAX = 500_000
"""Events between the oldest and the newest that wait: a disk is not endless."""


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted event; `attempts` counts runs that failed, `throttles` the times that nothing could run."""

    id: str
    arn: str
    qualifier: str
    payload: bytes
    context: str
    trace: Trace
    accepted_s: float
    attempts: int
    throttles: int


def _event(row: sqlite3.Row) -> Event:
    trace = Trace.parse(row["trace"])
    if trace is None:
        raise ValueError(f"event {row['id']} has no track")
    return Event(
        row["id"], row["arn"], row["qualifier"], bytes(row["payload"]), row["context"], trace, row["accepted"],
        row["attempts"], row["throttles"],
    )  # fmt: skip


def _functions(db: Reader) -> list[tuple[str, int | None]]:
    """Functions with events, each with its reserved concurrency; by jumps along the index, not by all events."""
    rows = db.execute(
        "WITH RECURSIVE some(arn) AS (SELECT min(arn) FROM lambda_events UNION ALL "
        "SELECT (SELECT min(arn) FROM lambda_events WHERE arn > some.arn) FROM some WHERE some.arn IS NOT NULL) "
        "SELECT some.arn, f.reserved FROM some LEFT JOIN lambda_functions f ON f.arn = some.arn "
        "WHERE some.arn IS NOT NULL"
    )
    return [(row[0], row[1]) for row in rows]


def _first(db: Reader, arn: str, limit: int) -> list[sqlite3.Row]:
    return db.execute("SELECT id, due FROM lambda_events WHERE arn = ? ORDER BY due LIMIT ?", (arn, limit)).fetchall()


class EventQueue:
    """The accepted events of all functions."""

    def __init__(self, doors: Doors, run: Run, settled: Callable[[str], Awaitable[None]], tuning: Tuning) -> None:
        self._doors = doors
        self._run = run
        self._settled = settled
        self._tuning = tuning
        self._wake = asyncio.Event()
        self._busy: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._told: list[Callable[[bytes, str], None]] = []

    def tell(self, dropped: Callable[[bytes, str], None]) -> None:
        """From now on say so when an event is given up: its payload, and what the function said last."""
        self._told.append(dropped)

    def start(self) -> None:
        """Begin with what was accepted before."""
        self._pump = asyncio.create_task(self._work_for_ever(), name="lambda-events")

    async def stop(self) -> None:
        """Stop; what has not been handled is run after the next start."""
        tasks = [t for t in (self._pump, *self._tasks) if t is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def nudge(self) -> None:
        """Look at once whether something may run."""
        self._wake.set()

    async def release(self, arn: str) -> None:
        """A limit of this function changed: its throttled events need not wait longer."""
        now = self._doors.clock.now().timestamp()
        sql = "UPDATE lambda_events SET due = ?, throttles = 0 WHERE arn = ? AND throttles > 0"
        await self._doors.database.write(lambda tx: tx.execute(sql, (now, arn)) and None)
        self._wake.set()

    def waiting(self, arn: str = "") -> int:
        """Events that are not handled yet, of one function or of all."""
        sql = "SELECT count(*) FROM lambda_events WHERE ? IN ('', arn)"
        return int(self._doors.database.read(lambda db: db.execute(sql, (arn,)).fetchone()[0]))

    async def accept(self, function: Function, work: Work) -> None:
        """Take an event for a function as it was asked for; returns when it is on disk."""
        now = self._doors.clock.now().timestamp()
        arn = function.arn
        values = (work.request_id, arn, function.qualifier, work.payload, work.context, work.trace.header(), now, now)

        def publish(tx: Tx) -> None:
            tables.get(tx, arn)
            newest = tx.execute("SELECT max(rowid) - min(rowid) FROM lambda_events").fetchone()[0]
            if newest is not None and newest > _WAITING_MAX:
                raise TooManyRequestsException("Rate Exceeded.", Reason="CallerRateLimitExceeded")
            tx.execute(
                "INSERT INTO lambda_events (id, arn, qualifier, payload, context, trace, accepted, due)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )

        await self._doors.database.write(publish)
        self._wake.set()

    async def _work_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                wait_s = self._start_due()
            except Exception:  # noqa: BLE001 - the pump must outlive trouble with the disk
                _log.exception("waiting events could not be read")
                wait_s = _LOOK_AGAIN_S
            # Why: no wait_for, which loses a cancellation that comes together with the event (Python 3.11).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _start_due(self) -> float:
        """Start what may run, function by function in turn; seconds until something else may be due."""
        now = self._doors.clock.now().timestamp()
        wait_s = _LOOK_AGAIN_S
        lanes: list[list[tuple[str, str]]] = []
        for arn, limit in self._doors.database.read(_functions):
            busy = sum(of == arn for of in self._busy.values())
            most = self._tuning.events_at_once if limit is None else max(1, min(limit, self._tuning.events_at_once))
            rows = self._doors.database.read(lambda db, arn=arn, most=most: _first(db, arn, most + 1))
            waiting = [row for row in rows if row["id"] not in self._busy]
            due = [(row["id"], arn) for row in waiting if row["due"] <= now]
            lanes.append(due[: max(0, most - busy)])
            wait_s = min([wait_s, *(row["due"] - now for row in waiting if row["due"] > now)])
        for turn in range(max(map(len, lanes), default=0)):
            for lane in lanes:
                if turn < len(lane) and len(self._busy) < self._tuning.events_at_once:
                    self._begin(*lane[turn])
        return max(0.001, wait_s)

    def _begin(self, event_id: str, arn: str) -> None:
        self._busy[event_id] = arn
        task = asyncio.create_task(self._handle(event_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, event_id: str) -> None:
        try:
            row = self._doors.database.read(
                lambda db: db.execute("SELECT * FROM lambda_events WHERE id = ?", (event_id,)).fetchone()
            )
            if row is not None:
                event = _event(row)
                await self._settled(event.arn)
                reference = Reference(event.arn, event.qualifier)
                try:
                    function = self._doors.database.read(lambda db: tables.chosen(db, reference, ids.fraction()))
                except ResourceNotFoundException:
                    await self._done(event)  # the function, the version or the alias is gone
                    self._tell(event, "The function does not exist any more")
                else:
                    await self._attempt(event, function)
        except Exception:  # noqa: BLE001 - the edge: the event stays, and is tried again after a while
            _log.exception("event %s could not be handled", event_id)
            await asyncio.sleep(_PAUSE_S)  # the delay below is a write, which may fail as well
            await self._later(event_id, _LOOK_AGAIN_S, "throttles")
        finally:
            self._busy.pop(event_id, None)
            self._wake.set()

    async def _attempt(self, event: Event, function: Function) -> None:
        settings = self._settings(event)
        age_s = self._doors.clock.now().timestamp() - event.accepted_s
        if age_s > float(settings.get("MaximumEventAgeInSeconds") or _AGE_S):
            await self._give_up(event, function, "EventAgeExceeded", Outcome(b""))
            return
        notes: dict[str, Any] = {"attempt": event.attempts + 1, "asynchronous": True}
        try:
            done = await self._run(function, Work(event.id, event.payload, event.trace, event.context), notes)
        except RecursiveInvocationException as error:
            await self._give_up(event, function, "RecursiveInvocation", Outcome(b"", error_type=error.code))
            return
        except TooManyRequestsException:
            await self._later(event.id, min(_BACKOFF_MAX_S, 0.25 * 2 ** min(event.throttles, 11)), "throttles")
            return
        except ServiceError as error:  # no environment could be made: not the function's fault, tried until too old
            _log.warning("event %s of %s must wait: %s", event.id, function.name, error.message)
            await self._later(event.id, min(_BACKOFF_MAX_S, 1.0 * 2 ** min(event.throttles, 9)), "throttles")
            return
        if not done.function_error:
            await self._send(event, function, "Success", done)
            await self._done(event)
            return
        retries = settings.get("MaximumRetryAttempts")
        if event.attempts >= (_RETRIES if retries is None else int(retries)):
            await self._give_up(event, function, "RetriesExhausted", done)
            return
        delays = self._tuning.retry_delays_s
        await self._later(event.id, delays[min(event.attempts, len(delays) - 1)], "attempts")

    def _settings(self, event: Event) -> Mapping[str, Any]:
        """The EventInvokeConfig of what was asked for: of the alias or version itself, if it was one."""
        found = self._doors.database.read(lambda db: tables.settings(db, event.arn, event.qualifier))
        return found.events or {}

    async def _later(self, event_id: str, after_s: float, count: str) -> None:
        due = self._doors.clock.now().timestamp() + after_s
        sql = f"UPDATE lambda_events SET due = ?, {count} = {count} + 1 WHERE id = ?"
        await self._doors.database.write(lambda tx: tx.execute(sql, (due, event_id)) and None)

    async def _done(self, event: Event) -> None:
        await self._doors.database.write(
            lambda tx: tx.execute("DELETE FROM lambda_events WHERE id = ?", (event.id,)) and None
        )

    async def _give_up(self, event: Event, function: Function, condition: Condition, last: Outcome) -> None:
        """Tell the destination, the log and the track that an event failed for good; then let go of it."""
        now = self._doors.clock.now().timestamp()
        segment = Segment(
            event.trace.track_id, segment_id(), event.trace.parent_id, "lambda", f"Drop event of {function.name}", now
        )
        segment.error, segment.resource = condition, function.arn
        runs = event.attempts + (0 if condition in ("EventAgeExceeded", "RecursiveInvocation") else 1)
        segment.notes = {"event": event.id, "runs": runs, "error_type": last.error_type}
        _log.warning("event %s of %s failed for good: %s after %d runs", event.id, function.name, condition, runs)
        told = await self._send(event, function, condition, last)
        if told:
            segment.notes["destination"] = told
        segment.ended = self._doors.clock.now().timestamp()
        self._doors.recorder.record(segment)
        await self._done(event)
        self._tell(event, last.payload.decode(errors="replace") or condition)

    def _tell(self, event: Event, why: str) -> None:
        for dropped in self._told:
            dropped(event.payload, why)

    async def _send(self, event: Event, function: Function, condition: Condition, last: Outcome) -> str:
        """Send the invocation record to the destination, if there is one; says where, or why it failed."""
        which = "OnSuccess" if condition == "Success" else "OnFailure"
        target = destination(self._settings(event), which)
        if not target:
            return ""
        now = self._doors.clock.now()
        record = invocation_record(
            now=now,
            request_id=event.id,
            arn=f"{event.arn}:{event.qualifier or LATEST}",
            version=function.version,
            condition=condition,
            runs=event.attempts + (0 if condition in ("EventAgeExceeded", "RecursiveInvocation") else 1),
            request_payload=event.payload,
            response_payload=last.payload,
            function_error=last.function_error,
        )
        try:
            await self._put(event, function, target, json.dumps(record, separators=(",", ":")).encode())
        except ServiceError as error:
            _log.warning("record of event %s did not reach %s: %s %s", event.id, target, error.code, error.message)
            return f"{target}: {error.code}"
        return str(target)

    async def _put(self, event: Event, function: Function, target: str, record: bytes) -> None:
        """Write to the destination as the execution role."""
        session = await assume(self._doors, function, event.trace)
        arn = Arn.parse(target)
        if arn.service == "lambda":
            request: dict[str, Any] = {"FunctionName": target, "InvocationType": "Event", "Payload": record}
            service, operation = "lambda", "Invoke"
        else:
            key = record_key(self._doors.clock.now(), function.name, event.id)
            request = {"Bucket": arn.resource, "Key": key, "Body": Held(record), "ContentType": "application/json"}
            service, operation = "s3", "PutObject"
        await self._doors.ask(
            service, operation, request, principal=session.principal, trace=event.trace, region=function.region
        )
