# SPDX-License-Identifier: Apache-2.0
"""Keeps segments: joins them into tracks, answers questions about them, tells those who follow.

Tracks are a record for people, not the truth of a service: they are written behind, in batches, to a database of
their own, and the last second may be missing after a crash.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import orjson

from cloudchamber.track.track import Segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_SCHEMA = """CREATE TABLE IF NOT EXISTS segments (
  id TEXT PRIMARY KEY, track_id TEXT NOT NULL, request_id TEXT NOT NULL, started REAL NOT NULL, body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_track ON segments (track_id);
CREATE INDEX IF NOT EXISTS by_request ON segments (request_id);
CREATE INDEX IF NOT EXISTS by_time ON segments (started);
"""
KEPT_MAX = 200_000
_FLUSH_AFTER_S = 0.25
_NAMES = tuple(f.name for f in fields(Segment))


class Recorder:
    """The chamber's memory of what happened."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(_SCHEMA)
        self._pending: list[Segment] = []
        self._flush: asyncio.TimerHandle | None = None
        self._followers: set[asyncio.Queue[Segment]] = set()
        self._written = 0

    def record(self, segment: Segment) -> None:
        """Keep a finished segment."""
        self._pending.append(segment)
        for queue in self._followers:
            if not queue.full():
                queue.put_nowait(segment)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(_FLUSH_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write what is pending."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        pending, self._pending = self._pending, []
        if not pending:
            return
        rows = [
            (
                s.id,
                s.track_id,
                s.request_id,
                s.started,
                orjson.dumps(s, default=str, option=orjson.OPT_NON_STR_KEYS).decode(),
            )
            for s in pending
        ]
        self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?)", rows)
        self._written += len(rows)
        if self._written > KEPT_MAX // 20:
            self._written = 0
            self._db.execute(
                "DELETE FROM segments WHERE started < "
                "(SELECT started FROM segments ORDER BY started DESC LIMIT 1 OFFSET ?)",
                (KEPT_MAX,),
            )
        self._db.execute("COMMIT")

    def track(self, track_id: str) -> list[Segment]:
        """The segments of one track, by the time they began."""
        return self._select("SELECT body FROM segments WHERE track_id = ? ORDER BY started", (track_id,))

    def by_request(self, request_id: str) -> Segment | None:
        """The segment of one request (`x-amzn-RequestId`), or with that segment id."""
        found = self._select(
            "SELECT body FROM segments WHERE request_id = ? OR id = ? LIMIT 1", (request_id, request_id)
        )
        return found[0] if found else None

    def recent(self, limit: int = 50, before: float = 0.0) -> list[list[Segment]]:
        """The latest tracks, newest first, each with all its segments."""
        self.flush()
        rows = self._db.execute(
            "SELECT track_id, min(started) AS began FROM segments WHERE started < ? GROUP BY track_id ORDER BY began DESC LIMIT ?",
            (before or time.time() + 1, limit),  # noqa: TID251 - compared with what is in the table only
        ).fetchall()
        return [self.track(row[0]) for row in rows]

    async def follow(self) -> AsyncIterator[Segment]:
        """Segments as they are recorded; a follower that is too slow misses some."""
        queue: asyncio.Queue[Segment] = asyncio.Queue(1000)
        self._followers.add(queue)
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)

    def close(self) -> None:
        """Write what is pending and close."""
        self.flush()
        self._db.close()

    def _select(self, sql: str, values: tuple[str, ...]) -> list[Segment]:
        self.flush()
        return [segment(json.loads(row[0])) for row in self._db.execute(sql, values)]


def segment(body: dict[str, Any]) -> Segment:
    """A segment from its JSON."""
    return Segment(**{name: body[name] for name in _NAMES if name in body})
