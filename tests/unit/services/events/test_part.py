# SPDX-License-Identifier: Apache-2.0
"""The clock that rules run by, moved by hand."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.services import events
from cloudchamber.services.events import tables
from cloudchamber.services.events.part import SchedulePart
from cloudchamber.services.events.rules import next_run
from cloudchamber.services.events.tables import Rule
from cloudchamber.store.database import Database
from cloudchamber.store.migrate import migrate
from cloudchamber.store.outbox import Message, Outbox

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class TooManyRequestsException(ServiceError):  # noqa: N818 - AWS names it so
    """The target's limit is reached."""

    code = "TooManyRequestsException"
    status = 429


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()


def test_rules_run_when_they_are_due(tmp_path: Path) -> None:
    asyncio.run(ticking(tmp_path))


async def ticking(folder: Path) -> None:
    clock: Any = Hands()
    database = Database(folder / "chamber.db")
    migrations = events.SERVICE.migrations
    assert migrations is not None
    await migrate(database, {"events": migrations})
    outbox = Outbox(database, clock)
    await outbox.start()
    doors: Any = SimpleNamespace(clock=clock, database=database, outbox=outbox)
    part = SchedulePart(doors)
    rule = Rule("arn:r", "0", "us-east-1", "r", "ENABLED", "", "rate(5 minutes)", ({"Id": "1", "Arn": "f"},), {}, None)
    due = next_run(rule, clock.now())
    kept = Rule(**{name: getattr(rule, name) for name in Rule.__slots__} | {"due": due})  # type: ignore[arg-type]
    await database.write(lambda tx: tables.put(tx, kept))

    def sent() -> list[dict[str, Any]]:
        rows = database.read(lambda db: db.execute("SELECT payload FROM outbox ORDER BY rowid").fetchall())
        return [json.loads(row[0]) for row in rows]

    assert await part.tick() == 0
    clock.at = NOON + timedelta(minutes=5)
    assert await part.tick() == 1
    assert await part.tick() == 0
    (first,) = sent()
    assert json.loads(first["event"])["time"] == "2026-11-23T12:05:00Z"
    clock.at = NOON + timedelta(hours=3)  # the chamber was down meanwhile: what was missed runs once
    assert await part.tick() == 1
    assert await part.tick() == 0
    assert len(sent()) == 2
    assert database.read(tables.next_due) == (NOON + timedelta(hours=3, minutes=5)).timestamp()
    await outbox.stop()
    await database.close()


def test_a_target_is_tried_again_as_its_policy_says() -> None:
    clock: Any = Hands()
    asked: list[str] = []

    async def ask(service: str, operation: str, request: Any, **_: Any) -> None:
        asked.append(operation)
        raise TooManyRequestsException("Rate Exceeded.")

    part = SchedulePart(SimpleNamespace(clock=clock, ask=ask))  # type: ignore[arg-type]
    until = clock.at.timestamp() + 60
    payload = {"rule": "arn:r", "account": "0", "region": "us-east-1", "function": "f", "event": "{}", "until": until}

    def again(attempts: int, **members: Any) -> bool:
        message = Message(1, "events.run", "arn:r 1", {**payload, **members}, attempts)
        try:
            asyncio.run(part.deliver(message))
        except TooManyRequestsException:
            return True
        return False

    assert not again(0, retries=0)
    assert again(0, retries=1) and not again(1, retries=1)
    assert again(100)  # the default: 185 times, for a day
    assert not again(185)
    clock.at += timedelta(seconds=61)
    assert not again(0, retries=3)
    assert len(asked) == 6
