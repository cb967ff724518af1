# SPDX-License-Identifier: Apache-2.0
"""Listings against a model that scans everything."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.s3 import listing

ALPHABET = "ab/-\x00\ud7ff\ue000\U0010ffff"
TEXTS = st.text(st.sampled_from(ALPHABET), max_size=5)
KEYS = st.sets(st.text(st.sampled_from(ALPHABET), min_size=1, max_size=6), max_size=30)


def database(keys) -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    for migration in sorted((Path(listing.__file__).parent / "migrations").glob("*.sql")):
        db.executescript(migration.read_text())
    rows = [("b", key, 1, "etag", 0, "{}") for key in keys]
    db.executemany("INSERT INTO s3_objects (bucket, key, size, etag, modified, stored) VALUES (?, ?, ?, ?, ?, ?)", rows)
    return db


def model(keys, prefix: str, delimiter: str) -> list[tuple[str, str]]:
    """Everything that a listing tells, in order: ("key" or "prefix", name)."""
    told: dict[str, str] = {}
    for key in sorted(keys, key=str.encode):
        if key.startswith(prefix):
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            told.setdefault(*((key, "key") if at < 0 else (key[: at + len(delimiter)], "prefix")))
    return [(kind, name) for name, kind in told.items()]


def entries(page: listing.Page) -> list[tuple[str, str]]:
    found = [("key", row[0]) for row in page.objects] + [("prefix", prefix) for prefix in page.prefixes]
    return sorted(found, key=lambda entry: entry[1].encode())


@given(KEYS, TEXTS, st.text(st.sampled_from("ab/"), max_size=2), st.integers(1, 5))
def test_pages_together_tell_everything_once(keys, prefix, delimiter, size):
    db = database(keys)
    told: list[tuple[str, str]] = []
    after, truncated = "", True
    while truncated:
        page = listing.key_page(db, "b", prefix, delimiter, after, size)
        count = len(page.objects) + len(page.prefixes)
        assert count <= size
        assert count == size or not page.truncated
        told += entries(page)
        after, truncated = page.last, page.truncated
    db.close()
    assert told == model(keys, prefix, delimiter)


@given(KEYS, TEXTS, TEXTS)
def test_a_marker_leaves_out_what_is_not_greater(keys, prefix, marker):
    db = database(keys)
    page = listing.key_page(db, "b", prefix, "", marker, 1000)
    db.close()
    assert [row[0] for row in page.objects] == [
        key for key in sorted(keys, key=str.encode) if key.startswith(prefix) and key.encode() > marker.encode()
    ]


def test_common_prefixes_are_skipped_by_seeking():
    keys = [f"folder{n}/{i:04}" for n in range(5) for i in range(400)]
    db = database(keys)
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    db.set_progress_handler(count, 1)
    page = listing.key_page(db, "b", "", "/", "", 1000)
    db.set_progress_handler(None, 0)
    db.close()
    assert page.prefixes == [f"folder{n}/" for n in range(5)]
    one_page_of_rows = 256 * 30
    assert steps < 5 * one_page_of_rows


@given(st.text(max_size=4), st.text(max_size=4))
def test_nothing_with_the_prefix_is_greater_than_its_successor(prefix, rest):
    behind = listing.successor(prefix)
    if behind is not None:
        assert (prefix + rest).encode() < behind.encode()
