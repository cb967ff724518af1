# SPDX-License-Identifier: Apache-2.0
"""The outbox: order in a lane, lanes side by side, nothing lost, nobody starved."""

from __future__ import annotations

import asyncio

import pytest

from cloudchamber.base.clock import SystemClock
from cloudchamber.store.database import Database
from cloudchamber.store.outbox import Outbox, Retry, emit


@pytest.fixture
async def database(tmp_path):
    made = Database(tmp_path / "chamber.db")
    yield made
    await made.close()


@pytest.fixture
async def outbox(database):
    made = Outbox(database, SystemClock())
    await made.start()
    yield made
    await made.stop()


async def test_a_lane_keeps_its_order_and_blocked_lanes_hold_up_nobody(database, outbox):
    got: list[tuple[str, int]] = []
    done = asyncio.Event()

    async def deliver(message):
        if message.key == "blocked":
            raise Retry(1000)
        got.append((message.key, message.payload["n"]))
        if len(got) == 200:
            done.set()

    def fill(tx):
        for n in range(1500):
            emit(tx, "t", "blocked", {"n": n})
            emit(tx, "nobody listens", str(n), {})
        for n in range(200):
            emit(tx, "t", f"lane {n % 7}", {"n": n})

    await database.write(fill)
    outbox.subscribe("t", deliver)
    await asyncio.wait_for(done.wait(), 20)
    for lane in range(7):
        mine = [n for key, n in got if key == f"lane {lane}"]
        assert mine == list(range(lane, 200, 7))


async def test_what_fails_is_tried_again_and_what_is_left_waits_for_the_next_start(database):
    attempts: list[int] = []
    done = asyncio.Event()

    async def fail(message):
        attempts.append(message.attempts)
        if len(attempts) < 3:
            raise Retry(0.001)
        done.set()
        await asyncio.Event().wait()

    first = Outbox(database, SystemClock())
    first.subscribe("t", fail)
    await first.start()
    await database.write(lambda tx: emit(tx, "t", "k", {"a": 1}))
    first.nudge()
    await asyncio.wait_for(done.wait(), 20)
    await first.stop()
    assert attempts == [0, 1, 2]
    assert first.backlog() == 1
    again: asyncio.Future = asyncio.get_running_loop().create_future()

    async def take(message):
        again.set_result(message)

    second = Outbox(database, SystemClock())
    second.subscribe("t", take)
    await second.start()
    message = await asyncio.wait_for(again, 20)
    assert (message.payload, message.attempts) == ({"a": 1}, 2)
    await second.stop()


async def test_a_payload_that_is_no_json_fails_the_write_that_emits_it(database, outbox):
    with pytest.raises(TypeError):
        await database.write(lambda tx: emit(tx, "t", "k", {"a": object()}))
    assert outbox.backlog() == 0


async def test_a_broken_row_does_not_stop_the_others(database, outbox):
    good = asyncio.Event()

    async def deliver(message):
        good.set()

    def fill(tx):
        emit(tx, "t", "bad", {})
        tx.execute("UPDATE outbox SET payload = '{'")
        emit(tx, "t", "good", {})

    await database.write(fill)
    outbox.subscribe("t", deliver)
    await asyncio.wait_for(good.wait(), 20)
    assert outbox.backlog() >= 1


@pytest.mark.parametrize("round_", range(20))
async def test_stopping_ends_even_while_deliveries_end(database, round_):
    outbox = Outbox(database, SystemClock())

    async def deliver(message):
        return None

    outbox.subscribe("t", deliver)
    await outbox.start()
    await database.write(lambda tx: [emit(tx, "t", str(n), {}) for n in range(round_)])
    outbox.nudge()
    for _ in range(round_):
        await asyncio.sleep(0)
    await asyncio.wait_for(outbox.stop(), 20)
