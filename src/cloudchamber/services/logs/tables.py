# SPDX-License-Identifier: Apache-2.0
"""Rows of groups and streams."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.services.logs.errors import ResourceNotFoundException

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader


@dataclass(frozen=True, slots=True)
class Group:
    """One log group. `created` is in milliseconds."""

    id: int
    account: str
    region: str
    name: str
    created: int
    retention_days: int | None
    stored_bytes: int
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Stream:
    """One log stream. Times are in milliseconds, None before the first event."""

    id: int
    group_id: int
    name: str
    created: int
    first_event: int | None
    last_event: int | None
    last_ingestion: int | None


def group_of(row: sqlite3.Row) -> Group:
    """A row as a value."""
    return Group(
        row["id"],
        row["account"],
        row["region"],
        row["name"],
        row["created"],
        row["retention_days"],
        row["stored_bytes"],
        json.loads(row["tags"]),
    )


def stream_of(row: sqlite3.Row) -> Stream:
    """A row as a value."""
    return Stream(*(row[name] for name in Stream.__slots__))


def find_group(db: Reader, account: str, region: str, name: str) -> Group | None:
    """The group, or None."""
    row = db.execute(
        "SELECT * FROM logs_groups WHERE account = ? AND region = ? AND name = ?", (account, region, name)
    ).fetchone()
    return group_of(row) if row else None


def get_group(db: Reader, account: str, region: str, name: str) -> Group:
    """The group.

    Raises:
        ResourceNotFoundException: there is none.
    """
    found = find_group(db, account, region, name)
    if found is None:
        raise ResourceNotFoundException("The specified log group does not exist.")
    return found


def get_stream(db: Reader, group: Group, name: str) -> Stream:
    """The stream.

    Raises:
        ResourceNotFoundException: there is none.
    """
    row = db.execute("SELECT * FROM logs_streams WHERE group_id = ? AND name = ?", (group.id, name)).fetchone()
    if row is None:
        raise ResourceNotFoundException("The specified log stream does not exist.")
    return stream_of(row)
