# SPDX-License-Identifier: Apache-2.0
"""The clock that rules run by. A run is on disk, in the outbox, in the same moment in which the rule's next one is set:
so it happens at least once, also after a crash. What was due while the chamber was down runs once, at its start."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.services.events import schedule, tables
from cloudchamber.store.outbox import emit
from cloudchamber.track.track import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.events.tables import Rule
    from cloudchamber.store.database import Tx
    from cloudchamber.store.outbox import Message

TOPIC = "events.run"
_LOOK_S = 30.0
_AGE_S = 86_400.0
RETRIES = 185
"""How often, and for how long, a target is tried again. Source: Amazon EventBridge API Reference, RetryPolicy."""
_log = logging.getLogger(__name__)


class SchedulePart:
    """Runs rules when they are due."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to look at the clock."""
        self._doors.outbox.subscribe(TOPIC, self.deliver)
        self._task = asyncio.create_task(self._tick_for_ever(), name="events-schedule")

    async def stop(self) -> None:
        """Stop; rules run on after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def status(self) -> list[Mapping[str, Any]]:
        """When the next rule is due."""
        at = self._doors.database.read(tables.next_due)
        if at is None:
            return []
        return [{"kind": "schedule", "id": "events", "state": "waiting", "detail": f"next at {_time(at)}"}]

    def nudge(self) -> None:
        """A rule changed: look again."""
        self._wake.set()

    async def _tick_for_ever(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.tick()
                at = self._doors.database.read(tables.next_due)
            except Exception:  # noqa: BLE001 - the edge of a task: rules must run on after trouble with the disk
                _log.exception("rules could not be run")
                at = None
            now = self._doors.clock.now().timestamp()
            wait_s = _LOOK_S if at is None else min(_LOOK_S, max(0.01, at - now))
            # Why: no wait_for, which loses a cancellation that comes together with the event (Python 3.11).
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def tick(self) -> int:
        """Run what is due now; how many rules."""
        now = self._doors.clock.now()
        if not self._doors.database.read(lambda db: tables.due(db, now.timestamp())):
            return 0

        def publish(tx: Tx) -> int:
            rules = tables.due(tx, now.timestamp())
            for rule in rules:
                self._run(tx, rule, now)
            return len(rules)

        done = await self._doors.database.write(publish)
        self._doors.outbox.nudge()
        return done

    def _run(self, tx: Tx, rule: Rule, now: datetime) -> None:
        assert rule.due is not None
        was = datetime.fromtimestamp(rule.due, UTC)
        following = schedule.parse(rule.schedule).after(was)
        if following is not None and following <= now:  # the chamber was down: not all that was missed, only one
            following = schedule.parse(rule.schedule).after(now)
        tables.put(tx, replace(rule, due=None if following is None else following.timestamp()))
        event = json.dumps(
            {
                "version": "0",
                "id": ids.request_id(),
                "detail-type": "Scheduled Event",
                "source": "aws.events",
                "account": rule.account,
                "time": _time(rule.due),
                "region": rule.region,
                "resources": [rule.arn],
                "detail": {},
            }
        )
        for target in rule.targets:
            retry: Mapping[str, Any] = target.get("RetryPolicy", {})
            payload = {
                "rule": rule.arn,
                "account": rule.account,
                "region": rule.region,
                "function": target["Arn"],
                "event": target.get("Input", event),
                "until": now.timestamp() + float(retry.get("MaximumEventAgeInSeconds", _AGE_S)),
                "retries": int(retry.get("MaximumRetryAttempts", RETRIES)),
            }
            emit(tx, TOPIC, f"{rule.arn} {target['Id']}", payload)

    async def deliver(self, message: Message) -> None:
        """Hand one event to its function; raises to be tried again."""
        payload = message.payload
        now = self._doors.clock.now().timestamp()
        principal = service_principal("events.amazonaws.com", payload["account"], payload["rule"])
        request = {
            "FunctionName": payload["function"],
            "InvocationType": "Event",
            "Payload": str(payload["event"]).encode(),
        }
        try:
            await self._doors.ask(
                "lambda", "Invoke", request, principal=principal, trace=Trace.begin(int(now)), region=payload["region"]
            )
        except ServiceError as error:
            again = message.attempts < int(payload.get("retries", RETRIES)) and now < float(payload["until"])
            if again and error.status in (429, 500, 503):
                raise
            _log.warning("rule %s could not run %s: %s", payload["rule"], payload["function"], error.message)


def _time(at: float) -> str:
    return iso(datetime.fromtimestamp(at, UTC))[:19] + "Z"
