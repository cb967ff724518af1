# SPDX-License-Identifier: Apache-2.0
"""Responses that are kept: never longer than the rows stand still, and only those that are for anybody."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from cloudchamber.services.s3.recent import KEPT_MAX, Recent
from cloudchamber.store.database import Database, Tx
from cloudchamber.wire.codec import Kept

ASKED = {"Bucket": "b", "Key": "k"}


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    made = Database(tmp_path / "state.db")
    await made.write(lambda tx: tx.execute("CREATE TABLE t (x)") and None)
    yield made
    await made.close()


async def test_a_response_lasts_until_the_next_commit(database: Database) -> None:
    recent = Recent(database)
    made = recent.keep(recent.stamp(), "GetObject", ASKED, {"Body": b"x"})
    assert isinstance(made, Kept)
    assert recent.find("GetObject", ASKED) is made
    assert recent.find("HeadObject", ASKED) is None
    assert recent.find("GetObject", {**ASKED, "ChecksumMode": "ENABLED"}) is None
    await database.write(lambda tx: tx.execute("INSERT INTO t VALUES (1)") and None)
    assert recent.find("GetObject", ASKED) is None


async def test_what_was_read_before_a_commit_is_not_kept_after_it(database: Database) -> None:
    recent = Recent(database)
    stamp = recent.stamp()
    await database.write(lambda tx: tx.execute("INSERT INTO t VALUES (1)") and None)
    recent.keep(stamp, "GetObject", ASKED, {"Body": b"old"})
    assert recent.find("GetObject", ASKED) is None


async def test_nothing_is_given_while_a_commit_is_under_way(database: Database) -> None:
    recent = Recent(database)
    recent.keep(recent.stamp(), "GetObject", ASKED, {"Body": b"old"})
    reached, go_on, loop = threading.Event(), threading.Event(), asyncio.get_running_loop()

    class Slow:
        """The writer's connection, held up in its COMMIT."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def execute(self, sql: str, *values: Any) -> Any:
            done = self._real.execute(sql, *values)
            if sql == "COMMIT":  # readers see it from here on
                reached.set()
                go_on.wait(30)
            return done

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    database._writer = Slow(database._writer)  # type: ignore[assignment]

    def change(tx: Tx) -> None:
        tx.execute("INSERT INTO t VALUES (1)")

    database.inline_max_s = -1.0  # Why: on its own thread, the loop would wait for itself
    writes = [loop.create_task(database.write(change)) for _ in range(2)]
    await asyncio.to_thread(reached.wait, 30)
    assert database.peek(lambda db: db.execute("SELECT count(*) FROM t").fetchone()[0]) == 2
    assert recent.find("GetObject", ASKED) is None
    assert recent.stamp() < 0
    recent.keep(recent.stamp(), "GetObject", ASKED, {"Body": b"new"})
    assert recent.find("GetObject", ASKED) is None
    go_on.set()
    await asyncio.gather(*writes)


@pytest.mark.parametrize(
    "response",
    [
        {"Body": b"x", "ServerSideEncryption": "aws:kms"},
        {"Body": b"x", "SSECustomerAlgorithm": "AES256"},
        {"Body": iter(())},
    ],
)
async def test_what_others_decide_anew_is_not_kept(database: Database, response: dict[str, Any]) -> None:
    recent = Recent(database)
    assert recent.keep(recent.stamp(), "GetObject", ASKED, response) is response
    assert recent.find("GetObject", ASKED) is None


@pytest.mark.parametrize("more", [{"Range": "bytes=0-1"}, {"IfMatch": "x"}, {"VersionId": "v"}, {"PartNumber": 1}])
async def test_requests_with_more_than_a_key_are_answered_anew(database: Database, more: dict[str, Any]) -> None:
    recent = Recent(database)
    recent.keep(recent.stamp(), "GetObject", ASKED, {"Body": b"x"})
    assert recent.find("GetObject", {**ASKED, **more}) is None
    made = recent.keep(recent.stamp(), "GetObject", {**ASKED, **more}, {"Body": b"x"})
    assert not isinstance(made, Kept)


async def test_memory_is_bounded(database: Database) -> None:
    recent = Recent(database)
    for number in range(KEPT_MAX * 2 + 10):
        recent.keep(recent.stamp(), "GetObject", {"Bucket": "b", "Key": str(number)}, {"Body": b"x"})
    asked = [{"Bucket": "b", "Key": str(number)} for number in range(KEPT_MAX * 2 + 10)]
    assert 0 < sum(recent.find("GetObject", one) is not None for one in asked) <= KEPT_MAX
    for number in range(100):
        recent.keep(recent.stamp(), "GetObject", {"Bucket": "b", "Key": str(number)}, {"Body": bytes(1024 * 1024)})
    kept = [recent.find("GetObject", one) for one in asked[:100]]
    assert sum(len(one["Body"]) for one in kept if one is not None) <= 10 * 1024 * 1024


async def test_settings_end_also_responses_that_are_not_kept_any_more(database: Database) -> None:
    recent = Recent(database)

    def kept(key: str) -> Any:
        return recent.keep(recent.stamp(), "GetObject", {**ASKED, "Key": key}, {"Body": b""}, alone=True)

    first, *_ = [kept(str(number)) for number in range(KEPT_MAX + 1)]
    assert recent.find("GetObject", {**ASKED, "Key": "0"}) is None and first.alone.holds
    recent.forget()
    assert not first.alone.holds and kept("0").alone.holds
