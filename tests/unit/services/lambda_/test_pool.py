# SPDX-License-Identifier: Apache-2.0
"""Environments come, are used again, and go: idle, evicted, with credentials that end; the clock is moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cloudchamber.services.lambda_ import pool
from cloudchamber.services.lambda_.environment import Environment, Work
from cloudchamber.services.lambda_.errors import TooManyRequestsException
from cloudchamber.services.lambda_.outcome import Outcome
from cloudchamber.services.lambda_.pool import Pools, Tuning
from cloudchamber.services.lambda_.tables import Function
from cloudchamber.track.track import Trace

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
WORK = Work("r", b"{}", Trace.begin(0))


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.passed_s)

    def monotonic(self) -> float:
        return self.passed_s


class Room:
    """An environment without a sandbox: what the pool sees of one."""

    made: list[Room]

    def __init__(self, doors: Any, function: Function, *_: Any, provisioned: bool = False) -> None:
        self.function, self.generation, self.provisioned = function, function.generation, provisioned
        self.memory_mb, self.runs, self.idle_since = function.memory_mb, 0, 0.0
        self.id, self.ended, self.frozen, self.runtime_note = str(len(Room.made)), False, False, ""
        self._clock = doors.clock
        self._session = SimpleNamespace(expires_at=doors.clock.now() + timedelta(hours=1))
        self._exited: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.gate: asyncio.Event | None = None
        Room.made.append(self)

    async def start(self, request_id: str, trace: Any) -> Outcome | None:
        return None

    async def run(self, function: Function, work: Work) -> Outcome:
        self.runs += 1
        if self.gate is not None:
            await self.gate.wait()
        self.idle_since = self._clock.monotonic()
        return Outcome(b"null")

    async def settled(self) -> bool:
        return True

    async def end(self) -> None:
        self.ended = True

    usable = Environment.usable


def function(name: str = "f", **values: Any) -> Function:
    made = Function(
        arn=f"arn:aws:lambda:us-east-1:000000000000:function:{name}", account="000000000000", region="us-east-1",
        name=name, configuration={"MemorySize": 1024, "Timeout": 3, "Runtime": "python3.12", "Role": "r"},
        code_sha="0" * 64, generation=1, state="Active", update_status="Successful", reason="", reserved=None,
        recursion="Terminate", statements=(), policy_revision="", events=None, tags={},
    )  # fmt: skip
    return replace(made, **values)


class Archive:
    async def files(self, function: Function) -> None:
        return None


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hands:
    Room.made = []
    monkeypatch.setattr(pool, "Environment", Room)
    return Hands()


def pools(clock: Hands, **tuning: Any) -> Pools:
    doors: Any = SimpleNamespace(clock=clock)
    archive: Any = Archive()
    made: Any = None
    return Pools(doors, archive, made, made, Tuning(**tuning))


def test_an_environment_is_used_again_until_it_was_idle_for_long(clock: Hands) -> None:
    async def scene() -> None:
        some = pools(clock, idle_s=300)
        for _ in range(3):
            await some.run(function(), WORK, {})
        assert len(Room.made) == 1
        clock.passed_s = 299
        some.reap()
        await some.run(function(), WORK, {})
        assert len(Room.made) == 1
        clock.passed_s += 301
        some.reap()
        await asyncio.sleep(0)
        assert Room.made[0].ended
        assert some.status() == []
        await some.run(function(), WORK, {})
        assert len(Room.made) == 2
        await some.stop()

    run(scene())


def test_credentials_end_and_their_environment_before_them(clock: Hands) -> None:
    async def scene() -> None:
        some = pools(clock, idle_s=1e9)
        await some.run(function(), WORK, {})
        clock.passed_s = 3600 - 70  # timeout of 3 s and a minute
        await some.run(function(), WORK, {})
        assert len(Room.made) == 1
        clock.passed_s = 3600 - 50
        await some.run(function(), WORK, {})
        await asyncio.sleep(0)
        assert len(Room.made) == 2
        assert Room.made[0].ended
        clock.passed_s += 3600
        some.reap()
        await asyncio.sleep(0)
        assert all(room.ended for room in Room.made)
        await some.stop()

    run(scene())


def test_new_code_ends_old_environments(clock: Hands) -> None:
    async def scene() -> None:
        some = pools(clock)
        await some.run(function(), WORK, {})
        some.refresh(function().key, 2)
        await some.run(function(generation=2), WORK, {})
        await asyncio.sleep(0)
        assert [room.ended for room in Room.made] == [True, False]
        await some.run(function(version="1", generation=0), WORK, {})
        assert len(Room.made) == 3
        await some.forget(function().arn, "1")
        assert [room.ended for room in Room.made] == [True, False, True]
        await some.stop()

    run(scene())


def test_the_longest_idle_makes_room(clock: Hands) -> None:
    async def scene() -> None:
        some = pools(clock)
        some._memory_max_mb = 2048
        await some.run(function("a"), WORK, {})
        clock.passed_s = 1
        await some.run(function("b"), WORK, {})
        clock.passed_s = 2
        await some.run(function("c"), WORK, {})
        await asyncio.sleep(0)
        assert [room.ended for room in Room.made] == [True, False, False]
        gate = asyncio.Event()
        for room in Room.made[1:]:
            room.gate = gate
        going = [asyncio.create_task(some.run(function(name), WORK, {})) for name in ("b", "c")]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsException):
            await some.run(function("d"), WORK, {})
        gate.set()
        await asyncio.gather(*going)
        await some.stop()

    run(scene())


def test_versions_share_what_is_reserved(clock: Hands) -> None:
    async def scene() -> None:
        some = pools(clock)
        limited = function(reserved=1)
        await some.run(limited, WORK, {})
        Room.made[0].gate = gate = asyncio.Event()
        going = asyncio.create_task(some.run(limited, WORK, {}))
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsException) as caught:
            await some.run(replace(limited, version="1"), WORK, {})
        assert caught.value.members["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        gate.set()
        await going
        await some.stop()

    run(scene())


def test_provisioned_environments_are_kept_and_made_again(clock: Hands) -> None:
    async def scene() -> None:
        some = pools(clock, idle_s=300)
        version = function(version="1", generation=0)
        some.provision({version.key: (version, 2)})
        for _ in range(5):
            await asyncio.sleep(0)
        assert some.provisioned(version.key) == (2, 0, "")
        clock.passed_s = 1000
        some.reap()
        assert some.provisioned(version.key)[0] == 2
        clock.passed_s = 3600  # their credentials have ended
        some.reap()
        some.provision({version.key: (version, 2)})
        for _ in range(5):
            await asyncio.sleep(0)
        assert some.provisioned(version.key) == (2, 0, "")
        assert [room.ended for room in Room.made] == [True, True, False, False]
        some.provision({})
        await asyncio.sleep(0)
        assert all(room.ended for room in Room.made)
        await some.stop()

    run(scene())
