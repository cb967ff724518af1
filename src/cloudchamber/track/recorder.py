# SPDX-License-Identifier: Apache-2.0
"""Keeps segments: joins them into tracks, answers questions about them, tells those who follow.

Tracks are a record for people, not the truth of a service: they are written behind, in small batches, to a database of
their own that is never synced. The last moment may be missing after a crash, and segments are dropped rather than that
a request fails for them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from cloudchamber.track import fresh, usage
from cloudchamber.track.track import NAMES, Segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from cloudchamber.track.usage import LastUsed, Seen, Usage

KEPT_MAX = 200_000
"""Segments that are kept; older ones go."""
PENDING_MAX = 40_000
"""Segments in memory that the disk has not taken."""
FOLLOWER_MAX = 1000
TRACK_SEGMENTS_MAX = 5000
UNFOLDED_AT_END_MAX = 20
"""Rows of fresh segments that are still unfolded when the chamber stops."""
_FLUSH_AFTER_S = 0.25
_UNFOLD_AFTER_S = 0.05
"""Between two rows that are unfolded, which takes 5 ms each: what a flood left must not hold up what comes next."""
_BATCH = 4000
"""Segments written at once, on a thread of their own: what decisions are added up costs less the more there are."""
_ROWS = 100
"""Rows of one statement: while it runs, other threads run too."""
_AGAIN_S = 5.0
"""How long to leave a database alone that refused."""
_TRACK = "SELECT body FROM segments WHERE track_id = ? ORDER BY started LIMIT ?"
_Repeated: TypeAlias = tuple[Segment, str, str, str, float, float]
"""A segment, and what `Segment.again` takes."""
_Batch: TypeAlias = list[Segment | _Repeated]
_log = logging.getLogger(__name__)


class Recorder:
    """The chamber's memory of what happened. `record` never fails and never waits."""

    def __init__(self, path: Path) -> None:
        self._db = _open(path)
        self._reader = sqlite3.connect(path, isolation_level=None, timeout=1)
        self._pending: deque[Segment | _Repeated] = deque()
        self._thread = ThreadPoolExecutor(1, "tracks")
        self._running: tuple[_Batch, Future[sqlite3.Error | None]] | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._followers: set[asyncio.Queue[Segment]] = set()
        self._dropped = 0
        self._written = 0
        self._behind = bool(fresh.rows(self._db, limit=1))
        """Whether there may be segments that nobody finds before they are unfolded."""
        self._ill = False

    def record(self, segment: Segment) -> None:
        """Keep a finished segment."""
        for follower in self._followers:
            if not follower.full():
                follower.put_nowait(segment)
        self._keep(segment)

    def repeat(self, like: Segment, digits: str, id: str, request_id: str, started: float, ended: float) -> None:
        """Keep a segment that is like another but for what `Segment.again` takes; it is made when it is written."""
        if self._followers:
            self.record(like.again(digits, id, request_id, started, ended))
        else:
            self._keep((like, digits, id, request_id, started, ended))

    @property
    def late(self) -> bool:
        """Whether so much waits to be written that nothing should be answered sooner than it must be."""
        return len(self._pending) > PENDING_MAX // 2

    def _keep(self, one: Segment | _Repeated) -> None:
        self._pending.append(one)
        waiting = len(self._pending)
        if waiting > PENDING_MAX:
            self._pending.popleft()
            self._dropped += 1
        if self._running is None and (self._flush is None or waiting == _BATCH):
            self._soon(_FLUSH_AFTER_S if waiting < _BATCH else 0.0)

    def flush(self) -> None:
        """Write all that is pending; what the disk refuses stays pending."""
        self._settle()
        while self._pending:
            batch = self._next()
            if not self._taken(batch, self._try(batch)):
                return

    def track(self, track_id: str) -> list[Segment]:
        """The segments of one track, by the time they began; at most 5,000."""
        self._unfold(track_id)
        return self._select(_TRACK, (track_id, TRACK_SEGMENTS_MAX))

    def by_request(self, request_id: str) -> Segment | None:
        """The segment of one request (`x-amzn-RequestId`), or with that segment id."""
        if not request_id:  # Why: many steps are no request, and have none
            return None
        self._unfold(request_id)
        found = self._select("SELECT body FROM segments WHERE request_id = ? LIMIT 1", (request_id,))
        found = found or self._select("SELECT body FROM segments WHERE id = ?", (request_id,))
        return found[0] if found else None

    def usage(self, account: str, entity: str) -> list[Usage]:
        """All that a user or role of an account asked of IAM, added up; `entity` is its ARN, path included."""
        self.flush()
        return usage.of_entity(self._reader, entity) if usage.account_of(entity) == account else []

    def last_used(self, account: str, entity: str) -> list[LastUsed]:
        """Each action that a user or role of an account asked for, with the last time."""
        self.flush()
        return usage.last_used(self._reader, entity) if usage.account_of(entity) == account else []

    def seen(self, who: str) -> Seen | None:
        """When a long-term key (its id), or a user or role (its ARN), last asked for anything."""
        self.flush()
        return usage.seen(self._reader, who)

    def last_denied(self) -> Segment | None:
        """The latest step that IAM denied."""
        self.flush()
        return self.by_request(usage.last_denied(self._reader))

    def recent(self, limit: int = 50, before: float = 0.0) -> list[list[Segment]]:
        """The latest tracks, newest first by their latest segment, each with all its segments."""
        return list(islice(self.walk_back(before), limit))

    def walk_back(self, before: float = 0.0) -> Iterator[list[Segment]]:
        """As `recent`, one after the other; only as much is read as is taken. Not to be kept across an `await`."""
        self._unfold()
        rows = self._reader.execute(
            "SELECT track_id FROM segments WHERE started < ? ORDER BY started DESC", (before or float("inf"),)
        )
        met: set[str] = set()
        with closing(rows):
            for (track_id,) in rows:
                if track_id not in met:
                    met.add(track_id)
                    yield self._select(_TRACK, (track_id, TRACK_SEGMENTS_MAX))

    async def follow(self) -> AsyncIterator[Segment]:
        """Segments as they are recorded; a follower that is too slow misses some."""
        follower: asyncio.Queue[Segment] = asyncio.Queue(FOLLOWER_MAX)
        self._followers.add(follower)
        try:
            while True:
                yield await follower.get()
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """Write what is pending and close."""
        if self._flush is not None:
            self._flush.cancel()
        self.flush()
        if not self._ill:
            with contextlib.suppress(sqlite3.Error):  # Why: they are kept, and found at the next start
                fresh.unfold(self._db, fresh.rows(self._db, limit=UNFOLDED_AT_END_MAX))
        self._behind = False
        self._thread.shutdown()
        self._reader.close()
        self._db.close()

    def _soon(self, after_s: float) -> None:
        if self._running is None:
            if self._flush is not None:
                self._flush.cancel()
            self._flush = asyncio.get_running_loop().call_later(after_s, self._write_behind)

    def _write_behind(self) -> None:
        """Hand the oldest segments to the thread: a slow disk must hold up no request."""
        self._flush = None
        loop = asyncio.get_running_loop()
        batch = self._next()
        # Why not under load: what is found by nobody yet is found when somebody asks.
        job = self._thread.submit(self._try, batch, unfold=len(batch) < fresh.ROW_MAX)
        self._running = batch, job

        def tell(_: Future[sqlite3.Error | None]) -> None:
            with contextlib.suppress(RuntimeError):  # Why: a loop that ended needs no word; `close` asks by itself
                loop.call_soon_threadsafe(self._written_behind)

        job.add_done_callback(tell)

    def _written_behind(self) -> None:
        self._settle()
        if self._ill:
            self._soon(_AGAIN_S)
        elif self._pending:
            self._soon(_FLUSH_AFTER_S if len(self._pending) < _BATCH else 0.001)
        elif self._behind:
            self._soon(_UNFOLD_AFTER_S)

    def _settle(self) -> None:
        """Wait for what the thread is writing, if it is."""
        if self._running is not None:
            (batch, job), self._running = self._running, None
            self._taken(batch, job.result())

    def _next(self) -> _Batch:
        return [self._pending.popleft() for _ in range(min(len(self._pending), _BATCH))]

    def _try(self, batch: _Batch, *, unfold: bool = False) -> sqlite3.Error | None:
        """Write segments, and unfold one row of those that were; what the database said, if it refused them."""
        try:
            if batch:
                self._insert(batch)
            if unfold:
                self._behind = fresh.unfold(self._db, fresh.rows(self._db, limit=1)) > 0
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.rollback()
            return error
        return None

    def _taken(self, batch: _Batch, refusal: sqlite3.Error | None) -> bool:
        """Whether a batch was written; one that was refused is kept."""
        if refusal is not None:
            self._pending.extendleft(reversed(batch))
            if not self._ill:
                _log.warning("tracks cannot be written: %s", refusal)
            self._ill = True
            return False
        if self._ill or self._dropped:
            _log.warning("tracks are written again; %d segments are missing", self._dropped)
            self._ill, self._dropped = False, 0
        return True

    def _insert(self, batch: _Batch) -> None:
        segments = [one if isinstance(one, Segment) else one[0].again(*one[1:]) for one in batch]
        self._db.execute("BEGIN")
        fresh.append(self._db, segments)
        self._behind = True
        usage.add(self._db, segments, _ROWS)
        self._written += len(batch)
        if self._written > KEPT_MAX // 50:
            self._written = 0
            fresh.trim(self._db, KEPT_MAX)
            usage.trim(self._db)
        self._db.execute("COMMIT")

    def _unfold(self, text: str = "") -> None:
        """Write what is pending; let the segments be found in which `text` occurs, or all."""
        self.flush()
        if not self._behind:
            return
        try:
            fresh.unfold(self._db, fresh.rows(self._db, json.dumps(text, ensure_ascii=False)[1:-1]))
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.rollback()
            _log.warning("tracks cannot be unfolded: %s", error)
            return
        self._behind = bool(text)

    def _select(self, sql: str, values: tuple[Any, ...]) -> list[Segment]:
        return [segment(json.loads(row[0])) for row in self._reader.execute(sql, values)]


def segment(body: dict[str, Any]) -> Segment:
    """A segment from its JSON."""
    return Segment(**{name: body[name] for name in NAMES if name in body})


def _open(path: Path) -> sqlite3.Connection:
    """Open the database of tracks; one that is broken is put aside, for tracks are worth less than a start."""
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        _log.warning("the record of tracks was put aside as %s.broken: %s", path.name, error)
        path.replace(path.with_name(f"{path.name}.broken"))
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(OSError):  # Why: SQLite says in its own words what is wrong
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=1)
    try:
        db.execute("PRAGMA page_size=16384")  # Why: rows of many segments are large, and each page is a system call
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=OFF")
        db.executescript(fresh.SCHEMA + usage.SCHEMA)
    except sqlite3.Error:
        db.close()
        raise
    return db
