# SPDX-License-Identifier: Apache-2.0
"""Transactions on PostgreSQL whose changes are sent without waiting: each caller hears of its own, and none is lost."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from cloudchamber.store.postgres import PostgresDatabase

_TABLES = (
    "CREATE TABLE numbers (id INTEGER PRIMARY KEY, value INTEGER NOT NULL)",
    "CREATE TABLE often (id TEXT PRIMARY KEY, value INTEGER NOT NULL)",
)


@pytest.fixture(scope="module")
def url(stand):
    with psycopg.connect(stand.postgres.url, autocommit=True) as made:
        made.execute("CREATE DATABASE of_writers")
    return stand.postgres.url.rpartition("/")[0] + "/of_writers"


@pytest.fixture
def aside(url):
    """A connection beside the chamber's."""
    with psycopg.connect(url, autocommit=True) as made:
        made.execute("DROP TABLE IF EXISTS numbers, often")
        for statement in _TABLES:
            made.execute(statement.replace("INTEGER PRIMARY KEY", "BIGINT PRIMARY KEY"))
        yield made


def during(url, *works):
    """Run coroutines over one database of a chamber, at once."""

    async def all_of() -> list:
        database = PostgresDatabase(url, frozenset(("often",)))
        try:
            return await asyncio.gather(*(work(database) for work in works), return_exceptions=True)
        finally:
            await database.close()

    return asyncio.run(all_of())


def put(key, value=1):
    return lambda database: database.write(
        lambda tx: tx.execute("INSERT INTO often VALUES (?, ?)", (key, value)) and None
    )


def kept(aside):
    return dict(aside.execute("SELECT id, value FROM often").fetchall())


def test_what_fails_late_is_told_to_its_own_caller(url, aside):
    told = during(url, put("a"), put("b"), put("a", 2), put("c"))
    assert [isinstance(one, psycopg.errors.UniqueViolation) for one in told] == [False, False, True, False]
    assert kept(aside) == {"a": 1, "b": 1, "c": 1}


def test_a_lone_write_that_fails_late_is_no_success(url, aside):
    aside.execute("INSERT INTO often VALUES ('a', 1)")
    told = during(url, put("a", 2))
    assert isinstance(told[0], psycopg.errors.UniqueViolation)
    assert kept(aside) == {"a": 1}


def test_how_many_rows_were_changed_is_known_at_once(url, aside):
    aside.execute("INSERT INTO often VALUES ('a', 1), ('b', 1)")

    def change(tx):
        every = tx.execute("UPDATE often SET value = value + 1").rowcount
        return every, tx.execute("DELETE FROM often WHERE id = ?", ("none",)).rowcount

    assert during(url, lambda database: database.write(change)) == [(2, 0)]
    assert kept(aside) == {"a": 2, "b": 2}


def end_of(aside, tx) -> None:
    pid = tx.execute("SELECT pg_backend_pid()").fetchone()[0]
    aside.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))


@pytest.mark.parametrize("writes", [1, 3])
def test_a_connection_that_is_lost_before_the_commit_costs_nothing(url, aside, writes):
    ran = []

    def change(tx, key):
        tx.execute("INSERT INTO often VALUES (?, 1)", (key,))
        ran.append(key)
        if len(ran) == 1:
            end_of(aside, tx)
        return tx.execute("SELECT id FROM often WHERE id = ?", (key,)).fetchone()[0]

    def work(key):
        return lambda database: database.write(lambda tx: change(tx, key))

    assert during(url, *(work(str(n)) for n in range(writes))) == [str(n) for n in range(writes)]
    assert len(ran) > writes
    assert kept(aside) == {str(n): 1 for n in range(writes)}


def test_a_connection_that_was_lost_in_between_is_made_anew(url, aside):
    async def work(database):
        pid = await database.write(lambda tx: tx.execute("SELECT pg_backend_pid()").fetchone()[0])
        aside.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        await put("a")(database)

    assert during(url, work) == [None]
    assert kept(aside) == {"a": 1}


def test_what_is_remembered_within_a_batch_is_what_holds_there(url, aside):
    aside.execute("INSERT INTO numbers VALUES (1, 0)")

    def number(db):
        return db.execute("SELECT value FROM numbers WHERE id = 1").fetchone()[0]

    def step(database, more):
        def change(tx):
            before = database.recall("the number", number, tx)
            if more:
                tx.execute("UPDATE numbers SET value = ? WHERE id = 1", (before + more,))
            tx.execute("INSERT INTO often VALUES (?, ?)", (f"{before}+{more}", before))
            return before

        return database.write(change)

    steps = [1, 0, 10, 100]
    assert during(url, *(lambda database, more=more: step(database, more) for more in steps)) == [0, 1, 1, 11]


def test_two_writers_count_in_one_line(url, aside):
    aside.execute("INSERT INTO often VALUES ('n', 0)")

    def count(tx):
        found = tx.execute("SELECT value FROM often WHERE id = 'n'").fetchone()[0]
        tx.execute("UPDATE often SET value = ? WHERE id = 'n'", (found + 1,))
        return found

    async def both() -> list[int]:
        two = PostgresDatabase(url), PostgresDatabase(url)
        try:
            return await asyncio.gather(*(two[n % 2].write(count) for n in range(100)))
        finally:
            for one in two:
                await one.close()

    assert sorted(asyncio.run(both())) == list(range(100))
    assert kept(aside) == {"n": 100}
