# SPDX-License-Identifier: Apache-2.0
"""Listings: written at once as they would be written value by value; cost by what is told, never by what there is."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.s3 import listing, versioning
from cloudchamber.services.s3.contents import Contents
from cloudchamber.services.s3.listing import Page, key_page
from cloudchamber.wire import s3
from cloudchamber.wire.model import load
from cloudchamber.wire.xml import Writers

MIGRATIONS = Path(listing.__file__).parent / "migrations"
KEYS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["a b", "a+b", "a&b", "a\nb", "<k>", "plain/k", "ü*~", "\x01"]
)
OWNERS = [None, {"ID": "1f"}, {"ID": "1f", "DisplayName": "a&b"}]
ROWS = st.tuples(
    KEYS,
    st.integers(0, 2**43),
    st.sampled_from(["d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-3"]),
    st.integers(0, 2**32),
    st.sampled_from(["", "CRC64NVME:AAAAAAAAAAA=", "SHA256:aGVsbG8=-7"]),
    st.sampled_from([None, "GLACIER"]),
)


@given(st.lists(ROWS, max_size=5), st.sampled_from(OWNERS))
def test_contents_are_what_the_model_would_write(rows: list[Any], owner: dict[str, str] | None) -> None:
    operation = load("s3").operations["ListObjects"]
    shape = operation.service.resolve(operation.output["members"]["Contents"])
    write = Writers(operation.service).element(shape, "Contents")
    values = listing._contents(Page(objects=rows), owner)
    assert Contents(rows, owner).xml() == write(values)
    assert write(Contents(rows, owner)) == write(values)
    encode = s3.url_encoder(operation)
    assert encode is not None
    told = [encode({"EncodingType": "url", "Contents": one})["Contents"] for one in (values, Contents(rows, owner))]
    assert write(told[0]) == write(told[1])


@given(st.lists(st.tuples(ROWS, st.booleans(), st.booleans()), max_size=5), st.sampled_from(OWNERS[1:]))
def test_versions_are_what_the_model_would_write(rows: list[Any], owner: dict[str, str]) -> None:
    operation = load("s3").operations["ListObjectVersions"]
    found = versioning.Page()
    told: dict[str, list[Any]] = {"Versions": [], "DeleteMarkers": []}
    for (key, size, etag, modified, checksum, storage), marker, newest in rows:
        row = (key, 7, "a.b", int(marker), size, etag, modified, checksum, storage)
        found.rows.append((row, newest))
        told["DeleteMarkers" if marker else "Versions"].append(versioning._told(row, newest, owner))
    quick: dict[str, Any] = {}
    versioning._fill(quick, found, owner)
    encode = s3.url_encoder(operation)
    assert encode is not None
    encoded = [encode({"EncodingType": "url", **one}) for one in (told, quick)]
    for member, tag in (("Versions", "Version"), ("DeleteMarkers", "DeleteMarker")):
        shape = operation.service.resolve(operation.output["members"][member])
        write = Writers(operation.service).element(shape, tag)
        assert write(quick.get(member, [])) == write(told[member])
        assert write(encoded[1].get(member, [])) == write(encoded[0][member])


def bucket_of(keys: list[str]) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.row_factory = sqlite3.Row
    for migration in sorted(MIGRATIONS.glob("*.sql")):
        db.executescript(migration.read_text())
    db.executemany(
        "INSERT INTO s3_objects (bucket, key, size, etag, modified, stored) VALUES ('b', ?, 1, 'e', 0, '{}')",
        ((key,) for key in keys),
    )
    return db


def steps(db: sqlite3.Connection, **wanted: Any) -> tuple[int, Page]:
    """Steps of SQLite's machine that a page takes."""
    count = 0

    def one() -> int:
        nonlocal count
        count += 1
        return 0

    db.set_progress_handler(one, 1)
    try:
        page = key_page(db, "b", wanted.get("prefix", ""), wanted.get("delimiter", ""), wanted.get("after", ""), 1000)
    finally:
        db.set_progress_handler(None, 0)
    return count, page


@pytest.fixture(scope="module")
def buckets() -> dict[int, sqlite3.Connection]:
    """Keys ``k/<100 folders>/<number>``, a few and many."""
    return {
        size: bucket_of([f"k/{number % 100:02d}/{number // 100:07d}" for number in range(size)])
        for size in (2_000, 200_000)
    }


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"after": "k/07/"},
        {"prefix": "k/"},
        {"delimiter": "/"},
        {"delimiter": "/", "prefix": "k/"},
        {"delimiter": "/", "prefix": "k/", "after": "k/50/0000005"},
        {"delimiter": "/", "prefix": "k/07/", "after": "k/07/0000003"},
    ],
)
def test_a_page_costs_the_same_whatever_the_bucket_holds(
    buckets: dict[int, sqlite3.Connection], wanted: dict[str, Any]
) -> None:
    few, many = (steps(buckets[size], **wanted) for size in (2_000, 200_000))
    told = [len(page.objects) + len(page.prefixes) for _, page in (few, many)]
    assert told[1] >= told[0] > 0
    # Why as a ratio of what is told: the page of the small bucket may hold less
    assert many[0] / told[1] <= few[0] / told[0] * 1.2 + 2


def test_a_folder_is_skipped_by_one_look(buckets: dict[int, sqlite3.Connection]) -> None:
    """A hundred folders of 2,000 keys each: no more than the first keys of each are read."""
    count, page = steps(buckets[200_000], delimiter="/", prefix="k/")
    assert len(page.prefixes) == 100
    assert count < 100 * 100
