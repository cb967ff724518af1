# SPDX-License-Identifier: Apache-2.0
"""The database under people who fail, go away, or all come at once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from cloudchamber.base.errors import ChamberError
from cloudchamber.store.database import INLINE_MAX_S, INLINE_SEVERAL_MAX_S, INLINE_WRITES_MAX, Database


@pytest.fixture
async def database(tmp_path):
    made = Database(tmp_path / "chamber.db")
    await made.write(lambda tx: tx.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)") and None)
    yield made
    await made.close()


def insert(number):
    return lambda tx: tx.execute("INSERT INTO t VALUES (?, 'x')", (number,)).lastrowid


def numbers(database) -> list[int]:
    return database.read(lambda db: [row[0] for row in db.execute("SELECT a FROM t ORDER BY a")])


async def test_one_failure_takes_nobody_with_it(database):
    def fail(tx):
        tx.execute("INSERT INTO t VALUES (99, 'x')")
        raise ValueError("mine")

    def stop(tx):
        raise StopIteration

    def break_the_transaction(tx):
        tx.execute("INSERT INTO t VALUES (98, 'x')")
        tx.execute("ROLLBACK")

    changes = (insert(1), fail, insert(2), stop, break_the_transaction, insert(1), insert(3))
    done = await asyncio.gather(*(database.write(c) for c in changes), return_exceptions=True)
    assert [type(d) for d in done[1::2]] == [ValueError, RuntimeError, type(done[5])]
    assert isinstance(done[5], Exception)
    assert (done[0], done[2], done[6]) == (1, 2, 3)
    assert numbers(database) == [1, 2, 3]


async def test_a_constraint_checked_at_the_commit_fails_alone(database):
    def schema(tx):
        tx.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        tx.execute("CREATE TABLE child (p INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")

    await database.write(schema)

    def orphan(tx):
        tx.execute("INSERT INTO child VALUES (7)")

    done = await asyncio.gather(*(database.write(c) for c in (insert(1), orphan, insert(2))), return_exceptions=True)
    assert (done[0], done[2]) == (1, 2)
    assert isinstance(done[1], Exception)
    assert numbers(database) == [1, 2]


@pytest.mark.parametrize(("sync_s", "count", "own"), [
    (0.0, 1, True), (0.0, 5, True), (0.0, INLINE_WRITES_MAX + 1, False),
    (INLINE_SEVERAL_MAX_S * 1.5, 1, True), (INLINE_SEVERAL_MAX_S * 1.5, 5, False), (INLINE_MAX_S * 1.5, 1, False),
])  # fmt: skip
async def test_the_loop_commits_by_itself_what_a_quick_disk_takes_at_once(database, sync_s, count, own):
    seen: list[int] = []
    database._sync_s = sync_s
    changes = database.changes
    await asyncio.gather(*(database.write(lambda _: seen.append(threading.get_ident())) for _ in range(count)))
    assert {thread == threading.get_ident() for thread in seen} == {own}
    assert len(seen) == count
    assert database.changes == changes + 1, "they share one commit"


async def test_a_write_of_another_loop_is_told_to_that_loop(database):
    other = threading.Thread(target=lambda: asyncio.run(database.write(insert(2))))
    mine = asyncio.ensure_future(database.write(insert(1)))
    await asyncio.sleep(0)  # it is pending: the other's joins it before this loop turns
    other.start()
    while len(database._pending) < 2 and other.is_alive():
        threading.Event().wait(0.001)
    assert await mine == 1
    await asyncio.to_thread(other.join)
    assert numbers(database) == [1, 2]


async def test_a_caller_that_went_away_stops_nobody(database):
    gate = threading.Event()

    def slow(tx):
        gate.wait(10)

    # The first two are committed on the committer's thread; it waits there while the others queue up.
    database._sync_s = 1.0
    first = [asyncio.create_task(database.write(slow)), asyncio.create_task(database.write(insert(1)))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    lost = [asyncio.create_task(database.write(insert(n))) for n in range(10, 20)]
    stays = asyncio.create_task(database.write(insert(2)))
    await asyncio.sleep(0)
    for task in lost:
        task.cancel()
    gate.set()
    assert await stays == 2
    await asyncio.gather(*first, *lost, return_exceptions=True)
    assert await database.write(insert(3)) == 3


async def test_a_loop_that_ended_stops_nobody(database):
    async def leave():
        for number in (30, 31):
            task = asyncio.ensure_future(database.write(insert(number)))
            await asyncio.sleep(0)
            task.cancel()

    thread = threading.Thread(target=lambda: asyncio.run(leave()))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert await database.write(insert(1)) == 1


async def test_a_full_disk_is_said_and_passes(database):
    await database.write(insert(1))
    pages = database.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
    database._writer.execute(f"PRAGMA max_page_count = {pages}")

    def large(tx):
        tx.execute("INSERT INTO t VALUES (50, ?)", ("x" * 100_000,))

    with pytest.raises((ChamberError, Exception), match="full"):
        await database.write(large)
    done = await asyncio.gather(database.write(large), database.write(insert(2)), return_exceptions=True)
    assert "full" in str(done[0])
    assert done[1] == 2
    database._writer.execute("PRAGMA max_page_count = 1000000")
    await database.write(large)
    assert numbers(database) == [1, 2, 50]


async def test_reads_inside_reads_and_on_other_threads(database):
    await database.write(insert(1))
    assert database.read(lambda db: numbers(database)) == [1]
    assert await asyncio.to_thread(numbers, database) == [1]
    assert await database.query(lambda db: db.execute("SELECT count(*) FROM t").fetchone()[0]) == 1


async def test_closing_finishes_what_was_asked_for(tmp_path):
    database = Database(tmp_path / "chamber.db")
    await database.write(lambda tx: tx.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)") and None)
    writes = [asyncio.create_task(database.write(insert(n))) for n in range(100)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*writes) == list(range(100))
    with pytest.raises(ChamberError):
        await database.write(insert(200))
    again = Database(tmp_path / "chamber.db")
    assert len(numbers(again)) == 100
    await again.close()


@pytest.fixture
async def settled(tmp_path):
    """A database with a table `t` that seldom changes, and a busy one."""
    made = Database(tmp_path / "chamber.db", frozenset(("busy", "kept")), frozenset(("kept",)))

    def schema(tx):
        tx.execute("CREATE TABLE kept (a INTEGER PRIMARY KEY, b TEXT)")
        tx.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)")
        tx.execute("CREATE TABLE busy (a INTEGER PRIMARY KEY, b TEXT)")
        tx.execute("INSERT INTO t VALUES (1, 'first')")

    await made.write(schema)
    yield made
    await made.close()


def look(db):
    return db.execute("SELECT b FROM t WHERE a = 1").fetchone()[0]


async def test_the_stamp_stands_still_while_nothing_is_written_that_is_remembered(settled):
    stamp = settled.stamp
    for _ in range(2):  # Why twice: the second time the statement is known
        await settled.write(lambda tx: tx.execute("INSERT OR REPLACE INTO busy VALUES (1, 'x')") and None)
        await settled.write(lambda tx: tx.execute("SELECT count(*) FROM kept") and None)
        assert settled.stamp == stamp
    for sql in ("INSERT OR REPLACE INTO kept VALUES (1, 'x')", "INSERT OR REPLACE INTO t VALUES (2, 'x')") * 2:
        stamp, before = settled.stamp, settled.settled
        await settled.write(lambda tx, sql=sql: tx.execute(sql) and None)
        assert settled.stamp > stamp
        assert (settled.settled > before) == (" t " in sql)


async def test_commits_to_busy_tables_leave_what_is_remembered(settled):
    before = settled.settled
    assert settled.recall("t", look) == "first"
    for sql in (
        "INSERT INTO busy VALUES (1, 'x')",
        "INSERT OR REPLACE INTO busy VALUES (1, 'y')",
        "UPDATE busy SET b = 'z'",
        "DELETE FROM busy WHERE a = 1",
        "SELECT count(*) FROM t",
    ):
        changes = settled.changes
        await settled.write(lambda tx, sql=sql: tx.execute(sql) and None)
        assert (settled.changes, settled.settled) == (changes + 1, before)
    assert settled.recall("t", lambda db: pytest.fail("it was remembered")) == "first"


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE t SET b = 'second'",
        "INSERT OR REPLACE INTO t VALUES (1, 'second')",
        "  update t SET b = 'second'",
        "WITH s (b) AS (SELECT 'second') UPDATE t SET b = (SELECT b FROM s)",
        "REPLACE INTO t VALUES (1, 'second')",
    ],
)
async def test_any_other_write_makes_it_forgotten(settled, sql):
    assert settled.recall("t", look) == "first"
    await settled.write(lambda tx: tx.execute(sql) and None)
    assert settled.recall("t", look) == "second"


async def test_every_way_to_write_is_seen(settled):
    for number, how in enumerate(
        (
            lambda tx, b: tx.executemany("UPDATE t SET b = ?", [(b,)]),
            lambda tx, b: tx.cursor().execute("UPDATE t SET b = ?", (b,)),
        )
    ):
        settled.recall("t", look)
        await settled.write(lambda tx, how=how, number=number: how(tx, str(number)) and None)
        assert settled.recall("t", look) == str(number)


async def test_a_transaction_sees_its_own_changes_and_those_before_it_in_the_batch(settled):
    settled.recall("t", look)

    def change(tx):
        tx.execute("UPDATE t SET b = 'changed'")
        return settled.recall("t", look, tx)

    found = await asyncio.gather(
        settled.write(lambda tx: settled.recall("t", look, tx)),
        settled.write(change),
        settled.write(lambda tx: settled.recall("t", look, tx)),
    )
    assert found == ["first", "changed", "changed"]


async def test_what_is_read_in_an_older_snapshot_is_not_remembered(settled):
    def outer(db):
        look(db)
        writer = threading.Thread(target=asyncio.run, args=(settled.write(lambda tx: tx.execute("DELETE FROM t")),))
        writer.start()
        writer.join()
        return settled.recall("t", look)

    assert settled.read(outer) == "first"
    assert settled.recall("t", lambda db: db.execute("SELECT count(*) FROM t").fetchone()[0]) == 0
