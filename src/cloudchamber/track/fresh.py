# SPDX-License-Identifier: Apache-2.0
"""Segments as they were just written: many in one row, in no index, until there is time or somebody asks.

Why: four indexes cost ten times what the segments cost. Under load a row of 500 is appended at once; it is unfolded
into the table of segments when the chamber has a moment, row by row, by one statement that holds up no other thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from cloudchamber.track.track import NAMES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from cloudchamber.track.track import Segment

SCHEMA = """CREATE TABLE IF NOT EXISTS segments (
  id TEXT PRIMARY KEY, track_id TEXT NOT NULL, request_id TEXT NOT NULL, started REAL NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_track ON segments (track_id, started);
CREATE INDEX IF NOT EXISTS by_request ON segments (request_id);
CREATE INDEX IF NOT EXISTS by_time ON segments (started, track_id);
CREATE TABLE IF NOT EXISTS fresh (row INTEGER PRIMARY KEY, count INTEGER NOT NULL, body TEXT NOT NULL);
"""
ROW_MAX = 500
"""Segments of one row."""
_UNFOLD = """INSERT OR REPLACE INTO segments
SELECT value ->> '$.id', value ->> '$.track_id', value ->> '$.request_id', value ->> '$.started', value
FROM fresh, json_each(fresh.body) WHERE fresh.row = ?"""


def append(db: sqlite3.Connection, batch: Sequence[Segment]) -> None:
    """Keep some segments, within the caller's transaction."""
    for first in range(0, len(batch), ROW_MAX):
        some = batch[first : first + ROW_MAX]
        db.execute("INSERT INTO fresh (count, body) VALUES (?, ?)", (len(some), _json(some)))


def unfold(db: sqlite3.Connection, rows: Iterable[int]) -> int:
    """Put the segments of some rows where they are found by id, request, track and time; how many rows that were."""
    done = 0
    for row in rows:
        db.execute("BEGIN")
        db.execute(_UNFOLD, (row,))
        db.execute("DELETE FROM fresh WHERE row = ?", (row,))
        db.execute("COMMIT")
        done += 1
    return done


def rows(db: sqlite3.Connection, text: str = "", limit: int = -1) -> list[int]:
    """Rows that have not been unfolded, the oldest first; only those in which `text` occurs."""
    found = db.execute("SELECT row FROM fresh WHERE instr(body, ?) ORDER BY row LIMIT ?", (text, limit))
    return [row for (row,) in found]


def trim(db: sqlite3.Connection, kept_max: int) -> None:
    """Drop the oldest segments, within the caller's transaction: about as many as are kept stay."""
    left = kept_max
    for row, count in db.execute("SELECT row, count FROM fresh ORDER BY row DESC").fetchall():
        if left <= 0:
            db.execute("DELETE FROM fresh WHERE row <= ?", (row,))
            break
        left -= count
    db.execute(
        "DELETE FROM segments WHERE started < (SELECT started FROM segments ORDER BY started DESC LIMIT 1 OFFSET ?)",
        (max(left, 0),),
    )


def _json(some: Sequence[Segment]) -> str:
    """A list of segments; one that cannot be written is kept without its notes and decisions."""
    try:
        return orjson.dumps(some, default=str).decode()
    except TypeError:  # Why: such as a lone surrogate that a client sent in a name
        return f"[{','.join([_alone(one) for one in some])}]"


def _alone(segment: Segment) -> str:
    try:
        return orjson.dumps(segment, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        plain = {name: _plain(getattr(segment, name)) for name in NAMES if name not in ("decisions", "notes")}
        return orjson.dumps(plain).decode()


def _plain(value: object) -> object:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
