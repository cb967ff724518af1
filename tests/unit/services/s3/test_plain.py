# SPDX-License-Identifier: Apache-2.0
"""The short way of PutObject: the same rows as the whole way, and none where the bucket asks for more."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cloudchamber.base.clock import SystemClock
from cloudchamber.services.s3 import plain, tables, versions
from cloudchamber.services.s3.encryption import Keeper
from cloudchamber.services.s3.errors import NoSuchBucket
from cloudchamber.services.s3.events import Sequencer
from cloudchamber.services.s3.tables import Content
from cloudchamber.store.database import Database, Tx
from cloudchamber.store.migrate import migrate

STORED = {"headers": {"ContentType": "text/plain"}, "metadata": {"a": "b"}}


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    made = Database(tmp_path / "state.db", tables.BUSY)
    await migrate(made, {"s3": Path(tables.__file__).parent / "migrations"})
    for name in ("short", "whole"):
        await made.write(
            lambda tx, n=name: tables.add_bucket(tx, n, "1" * 12, "us-east-1", 0.0, plain.acl.ENFORCED, None)
        )
    yield made
    await made.close()


@pytest.fixture
def part(tmp_path: Path) -> Any:
    return SimpleNamespace(keeper=Keeper(tmp_path / "key"), sequencer=Sequencer(SystemClock()))


def small(part: Any, database: Database, data: bytes) -> plain.Small:
    return plain.Small(part, database, "short", "k", 7, data, "e" * 32, "CRC32:AAAAAA==", STORED)


def whole(database: Database, part: Any, made: plain.Small) -> Any:
    """The same object by the whole way, in another bucket."""

    def change(tx: Tx) -> list[str]:
        bucket = tables.bucket(tx, "whole")
        content = Content(len(made.data), data=made.data, nonce=made.stored["nonce"])
        return versions.put(
            tx, bucket, "k", content, old=tables.current(tx, "whole", "k"), seq=part.sequencer.number(),
            etag=made.etag, modified=made.modified, checksum=made.checksum, tags={}, stored=STORED,
        )[1]  # fmt: skip

    return database.write(change)


def rows(database: Database, bucket: str) -> list[Any]:
    columns = "o.key, size, etag, modified, checksum, blob, tags, stored, version, lock, replication, storage, b.data"
    sql = f"SELECT {columns} FROM s3_objects o LEFT JOIN s3_bodies b ON b.id = o.body WHERE bucket = ?"
    return [tuple(row) for row in database.read(lambda db: db.execute(sql, (bucket,)).fetchall())]


def bodies(database: Database) -> int:
    return database.read(lambda db: db.execute("SELECT count(*) FROM s3_bodies").fetchone()[0])


async def test_both_ways_come_to_the_same_rows(database: Database, part: Any) -> None:
    for data in (b"one", b"another", b"", b"", b"again"):
        made = small(part, database, data)
        assert await database.write(made) is None
        assert await whole(database, part, made) == []
        assert rows(database, "short") == rows(database, "whole")
        assert bodies(database) == (2 if data else 0)
        assert part.keeper.small(made.stored["nonce"], rows(database, "short")[0][-1] or b"") == data


async def test_what_was_there_of_a_large_or_tagged_object_is_gone(database: Database, part: Any) -> None:
    def large(tx: Tx) -> None:
        tables.put_object(
            tx, "short", "k", Content(1, blob="B"), old=None, seq=1, version="null", etag="", modified=1, checksum="",
            tags={"t": "1"}, stored={"class": "GLACIER_IR"}, lock=None, replication="{}",
        )  # fmt: skip

    await database.write(large)
    made = small(part, database, b"x")
    assert await database.write(made) == "B"
    await whole(database, part, made)
    assert rows(database, "short") == rows(database, "whole")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("versioning", "Enabled"),
        ("versioning", "Suspended"),
        ("notification", "{}"),
        ("encryption", "{}"),
        ("object_lock", "{}"),
        ("lifecycle", "[]"),
        ("replication", "{}"),
        ("ownership", "ObjectWriter"),
    ],
)
async def test_a_bucket_that_has_begun_to_ask_for_more_gets_nothing(
    database: Database, part: Any, column: str, value: str
) -> None:
    made = small(part, database, b"x")
    assert plain.fits(tables.known_bucket(database, "short"))
    await database.write(lambda tx: tables.configure_bucket(tx, "short", column, value))
    with pytest.raises(plain.OtherwiseError):
        await database.write(made)
    assert rows(database, "short") == []


async def test_a_bucket_that_is_gone(database: Database, part: Any) -> None:
    made = small(part, database, b"x")
    await database.write(lambda tx: tables.remove_bucket(tx, "short") and None)
    with pytest.raises(NoSuchBucket):
        await database.write(made)
