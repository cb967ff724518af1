# SPDX-License-Identifier: Apache-2.0
"""What carries lifecycle rules out: at the start, when rules change, and after every midnight UTC.

A bucket is walked through by key, some rows at a time. What is due is ended in small writes, each of which looks once
more whether it still is, and holds the events besides; so a crash in between loses nothing and does nothing twice.

Source: Amazon S3 User Guide, "Expiring objects", "How S3 Lifecycle interacts with S3 Versioning".
"""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.services.s3 import events, object_lock, rules, storage, tables, versions
from cloudchamber.services.s3.events import COMPLETED, described_of
from cloudchamber.services.s3.names import object_arn
from cloudchamber.track.track import Segment, Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.s3.events import Cause, Sequencer
    from cloudchamber.services.s3.tables import Bucket
    from cloudchamber.store.blobs import Blobs
    from cloudchamber.store.database import Reader, Tx

    Rule = Mapping[str, Any]

ROWS_AT_ONCE = 500
ENDED_AT_ONCE = 50
_LOOK_S = 60.0
_PAUSE_S = 5.0
_ROWS = (
    "SELECT key, seq, version, 0 AS marker, size, modified, tags, storage FROM s3_objects "
    "WHERE bucket = ?1 AND (key, -seq) > (?2, ?3) "
    "UNION ALL SELECT key, seq, version, marker, size, modified, tags, storage FROM s3_versions "
    "WHERE bucket = ?1 AND (key, -seq) > (?2, ?3) ORDER BY key, seq DESC LIMIT ?4"
)

_MOVED = {
    "STANDARD_IA": "S3.TRANSITION_SIA.OBJECT",
    "ONEZONE_IA": "S3.TRANSITION_ZIA.OBJECT",
    "INTELLIGENT_TIERING": "S3.TRANSITION_INT.OBJECT",
    "GLACIER_IR": "S3.TRANSITION_GIR.OBJECT",
    "GLACIER": "S3.TRANSITION.OBJECT",
    "DEEP_ARCHIVE": "S3.TRANSITION_GDA.OBJECT",
}
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "Transitions", "NoncurrentVersionTransitions")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """A version that a rule ends or moves: a current one (`seq` as it was seen), or one that is to go for good."""

    key: str
    version: str
    seq: int
    for_good: bool
    noncurrent: bool = False
    target: str = ""
    """The storage class that it is moved to; empty: it ends."""

    @property
    def name(self) -> str:
        """What is done, as access logs of S3 call it."""
        if self.target:
            return _MOVED[self.target]
        return "S3.EXPIRE.OBJECT"


@dataclass(slots=True)
class Walk:
    """Where a walk through a bucket stands, from row to row."""

    key: str = ""
    seq: int = 0
    newer: float = 0.0
    """When the next newer version of the key was made: since then the row is noncurrent."""
    noncurrent: int = -1
    """How many noncurrent versions of the key were met."""
    marker: Any = None
    """A current delete marker, until it is seen whether it stands alone."""
    smallest: str = rules.ALL_SMALL
    """Which objects are too small to be moved."""


class Sweeper:
    """Carries out the lifecycle rules of all buckets."""

    def __init__(self, doors: Doors, blobs: Blobs, sequencer: Sequencer) -> None:
        self._doors = doors
        self._blobs = blobs
        self._sequencer = sequencer
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._done: object = None
        """Rules and day of the last sweep, where others share the state."""

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.create_task(self._for_ever(), name="s3 lifecycle")

    async def stop(self) -> None:
        """End; what is left is done after the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def look(self) -> None:
        """Say that rules have changed."""
        self._wake.set()

    async def _for_ever(self) -> None:
        while True:
            self._wake.clear()
            now = self._doors.clock.now()
            until = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
            if self._doors.database.shared:  # Why: rules change in other chambers, and who leads may be another soon
                until = min(until, now + timedelta(seconds=_PAUSE_S))
            try:
                if self._doors.database.leads:
                    await self._sweep_anew(now)
                    until = min(until, self._next_restore(until))
                else:
                    self._done = None
            except (ChamberError, OSError):
                _log.exception("lifecycle rules could not be carried out; once more in %s s", _PAUSE_S)
                self._done = None
                until = now + timedelta(seconds=_PAUSE_S)
            while not self._wake.is_set() and (left := (until - self._doors.clock.now()).total_seconds()) > 0:
                try:
                    async with asyncio.timeout(min(left, _LOOK_S)):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def _sweep_anew(self, now: datetime) -> None:
        """Sweep; where others share the state, only if rules, day or restored copies are not those of the last time."""
        if self._doors.database.shared:
            sql = "SELECT name, lifecycle FROM s3_buckets WHERE lifecycle IS NOT NULL ORDER BY name"
            found = self._doors.database.read(lambda db: [tuple(row) for row in db.execute(sql).fetchall()])
            seen = (now.date(), hash(tuple(found)))
            if seen == self._done and self._next_restore(now + timedelta(seconds=1)) > now:
                return
            self._done = seen
        await self.sweep()

    async def sweep(self) -> int:
        """Do all that is due now; how many versions and uploads were ended or moved."""
        await self._restores()
        sql = "SELECT name FROM s3_buckets WHERE lifecycle IS NOT NULL ORDER BY name"
        names = [row[0] for row in self._doors.database.read(lambda db: db.execute(sql).fetchall())]
        return sum([await self._sweep_bucket(name) for name in names])

    async def _sweep_bucket(self, name: str) -> int:
        bucket = self._doors.database.read(lambda db: tables.find_bucket(db, name))
        found = rules.enabled(bucket.lifecycle) if bucket is not None else []
        if bucket is None or not found:
            return 0
        now = self._doors.clock.now()
        ended = await self._abort(bucket, now)
        if not any(action in rule for rule in found for action in _ACTIONS):
            return ended
        walk = Walk(smallest=rules.read(bucket.lifecycle or "{}")["TransitionDefaultMinimumObjectSize"])
        while True:
            rows = await self._doors.database.query(_rows_behind(name, walk.key, walk.seq))
            due = [one for row in rows for one in _step(walk, row, found, now)]
            if not rows:
                due += _alone(walk, found, now)
            for at in range(0, len(due), ENDED_AT_ONCE):
                ended += await self._end(name, due[at : at + ENDED_AT_ONCE], now)
            if not rows:
                return ended

    async def _end(self, name: str, due: list[Due], now: datetime) -> int:
        cause = events.Cause.of_service(now)

        def change(tx: Tx) -> tuple[list[str], list[Due], int]:
            bucket = tables.find_bucket(tx, name)
            gone: list[str] = []
            over: list[Due] = []
            emitted = 0
            if bucket is None or not bucket.lifecycle:
                return gone, over, 0
            for one in due:
                done = _end_one(tx, cause, self._sequencer, bucket, one, now)
                if done is not None:
                    gone += done[0]
                    emitted += done[1]
                    over.append(one)
            return gone, over, emitted

        gone, over, emitted = await self._doors.database.write(change)
        self._blobs.delete(gone)
        self._note(name, over, cause)
        if emitted:
            self._doors.outbox.nudge()
        return len(over)

    def _note(self, bucket: str, over: list[Due], cause: Cause) -> None:
        """Put onto a track what was done, one step for each kind."""
        trace = Trace.parse(cause.trace)
        for kind in dict.fromkeys(one.name for one in over):
            keys = [one.key for one in over if one.name == kind]
            at = cause.now.timestamp()
            step = Segment(trace.track_id if trace else "", ids.segment_id(), "", "s3", kind, at, at, 200)
            step.principal, step.resource = "s3.amazonaws.com", object_arn(bucket, keys[0])
            step.request_id, step.notes = cause.request_id, {"objects": len(keys)}
            self._doors.recorder.record(step)

    # Restored copies

    def _next_restore(self, otherwise: datetime) -> datetime:
        """When the next restored copy is ready, or goes."""
        row = self._doors.database.read(lambda db: db.execute("SELECT min(at) FROM s3_restores").fetchone())
        return otherwise if row[0] is None else datetime.fromtimestamp(row[0], UTC)

    async def _restores(self) -> None:
        """Tell of restored copies that are ready now, and take away those whose days are over."""
        now = self._doors.clock.now()
        sql = "SELECT bucket, key, version, event FROM s3_restores WHERE at <= ? ORDER BY at LIMIT ?"
        cause = events.Cause.of_service(now)

        def change(tx: Tx) -> tuple[int, int]:
            rows = tx.execute(sql, (now.timestamp(), ENDED_AT_ONCE)).fetchall()
            return len(rows), sum(_restored(tx, cause, self._sequencer, row, now) for row in rows)

        look = "SELECT 1 FROM s3_restores WHERE at <= ? LIMIT 1"
        while self._doors.database.read(lambda db: db.execute(look, (now.timestamp(),)).fetchone()) is not None:
            done, emitted = await self._doors.database.write(change)
            if emitted:
                self._doors.outbox.nudge()
            if not done:
                return

    async def _abort(self, bucket: Bucket, now: datetime) -> int:
        """Abort uploads that are too old."""
        low, ended = ("", ""), 0
        while found := self._doors.database.read(
            lambda db, low=low: tables.uploads(db, bucket.name, *low, ROWS_AT_ONCE)
        ):
            low = (found[-1].key, found[-1].id)
            for upload in found:
                at = rules.abortion(bucket.lifecycle, upload.key, upload.initiated)
                if at is not None and at[0] <= now:
                    gone = await self._doors.database.write(lambda tx, one=upload.id: tables.remove_upload(tx, one))
                    self._blobs.delete(gone)
                    ended += 1
        return ended


def _rows_behind(bucket: str, key: str, seq: int) -> Callable[[Reader], list[Any]]:
    return lambda db: db.execute(_ROWS, (bucket, key, -seq, ROWS_AT_ONCE)).fetchall()


def _step(walk: Walk, row: Any, found: list[Rule], now: datetime) -> list[Due]:
    """What becomes of one row, which follows those that `walk` has seen."""
    due: list[Due] = []
    if row["key"] != walk.key:
        due += _alone(walk, found, now)
        walk.noncurrent = -1
        if row["marker"]:
            walk.marker = row
        elif any(_over(rules.expires(rule, row["modified"]), now) for rule in _about(row, found)):
            due.append(Due(row["key"], row["version"], row["seq"], for_good=False))
        elif target := _moved(walk, row, found, now):
            due.append(Due(row["key"], row["version"], row["seq"], for_good=False, target=target))
    else:
        walk.marker = None
        walk.noncurrent += 1
        if any(_noncurrent_over(rule, walk, now) for rule in _about(row, found)):
            due.append(Due(row["key"], row["version"], row["seq"], for_good=True, noncurrent=True))
        elif not row["marker"] and (target := _moved(walk, row, found, now, noncurrent=True)):
            due.append(Due(row["key"], row["version"], row["seq"], for_good=False, noncurrent=True, target=target))
    walk.key, walk.seq, walk.newer = row["key"], row["seq"], row["modified"]
    return due


def _moved(walk: Walk, row: Any, found: list[Rule], now: datetime, *, noncurrent: bool = False) -> str:
    """The storage class that a version is moved to; empty: none. Of several the one that is furthest down."""
    at = row["storage"] or storage.STANDARD
    targets = [
        target
        for rule in _about(row, found)
        if (
            target := rules.noncurrent_move(rule, at, walk.noncurrent, walk.newer, now)
            if noncurrent
            else rules.move(rule, at, row["modified"], now)
        )
        and rules.large_enough(rule, row["size"], target, walk.smallest)
    ]
    return max(targets, key=storage.DOWNWARDS.index, default="")


def _alone(walk: Walk, found: list[Rule], now: datetime) -> list[Due]:
    """A delete marker with nothing below it hides nothing: it goes, if a rule says so or is old enough."""
    row, walk.marker = walk.marker, None
    if row is None:
        return []
    for rule in _about(row, found):
        wanted: Rule = rule.get("Expiration", {})
        if wanted.get("ExpiredObjectDeleteMarker") or _over(rules.expires(rule, row["modified"]), now):
            return [Due(row["key"], row["version"], row["seq"], for_good=True)]
    return []


def _about(row: Any, found: list[Rule]) -> list[Rule]:
    tags: dict[str, str] = json.loads(row["tags"]) if row["tags"] else {}
    return [rule for rule in found if rules.matches(rule, row["key"], row["size"], tags)]


def _over(at: datetime | None, now: datetime) -> bool:
    return at is not None and at <= now


def _noncurrent_over(rule: Rule, walk: Walk, now: datetime) -> bool:
    wanted: Rule | None = rule.get("NoncurrentVersionExpiration")
    if wanted is None or walk.noncurrent < int(wanted.get("NewerNoncurrentVersions", 0)):
        return False
    return _over(rules.after(walk.newer, int(wanted["NoncurrentDays"])), now)


def _end_one(
    tx: Tx, cause: Cause, sequencer: Sequencer, bucket: Bucket, one: Due, now: datetime
) -> tuple[list[str], int] | None:
    """End one version if it is still there as it was seen; blobs to delete afterwards, and how many events."""
    found = versions.find(tx, bucket.name, one.key, one.version)
    if found is None or found.seq != one.seq:
        return None
    current = tables.find_object(tx, bucket.name, one.key)
    if one.noncurrent and current is not None and current.seq == one.seq:
        return None
    if one.target:
        if not one.noncurrent and (current is None or current.seq != one.seq):
            return None
        versions.move(tx, bucket.name, found, one.target)
        more = {"lifecycleEventData": {"transitionEventData": {"destinationStorageClass": one.target}}}
        told = described_of(bucket.versioning, found)
        return [], events.emit_matching(tx, cause, sequencer, bucket, "LifecycleTransition", one.key, told, more)
    if not one.for_good and bucket.versioning:
        if current is None or current.seq != one.seq:
            return None
        made, gone = versions.mark(
            tx, bucket, one.key, old=current, seq=sequencer.number(), modified=int(now.timestamp())
        )
        named = {"eTag": events.EMPTY, "versionId": made}
        event = "LifecycleExpiration:DeleteMarkerCreated"
        return gone, events.emit_matching(tx, cause, sequencer, bucket, event, one.key, named)
    try:
        object_lock.check_delete(found, now, bypass=False)
    except ServiceError:  # locked: another day
        return None
    gone = versions.remove(tx, bucket.name, found)
    named = {"versionId": found.version} if bucket.versioning else {}
    return gone, events.emit_matching(tx, cause, sequencer, bucket, "LifecycleExpiration:Delete", one.key, named)


def _restored(tx: Tx, cause: Cause, sequencer: Sequencer, row: Any, now: datetime) -> int:
    """Tell of one restored copy that it is there, or that it is gone; how many events."""
    name, key, version, event = row["bucket"], row["key"], row["version"], row["event"]
    sql = "DELETE FROM s3_restores WHERE bucket = ? AND key = ? AND version = ? AND event = ?"
    tx.execute(sql, (name, key, version, event))
    bucket, found = tables.find_bucket(tx, name), versions.find(tx, name, key, version)
    restore: Mapping[str, Any] = found.stored.get("restore", {}) if found is not None else {}
    if bucket is None or found is None or not restore:
        return 0
    more: dict[str, Any] = {}
    if event == COMPLETED:
        until = iso(datetime.fromtimestamp(restore["until"], UTC))
        kind = storage.of(found.stored)
        told = {"lifecycleRestorationExpiryTime": until, "lifecycleRestoreStorageClass": kind}
        more = {"glacierEventData": {"restoreEventData": told}}
    elif restore["until"] > now.timestamp():
        return 0
    else:
        kept = {member: value for member, value in found.stored.items() if member != "restore"}
        versions.change(tx, name, found, "stored", json.dumps(kept, separators=(",", ":")))
    described = described_of(bucket.versioning, found)
    return events.emit_matching(tx, cause, sequencer, bucket, event, key, described, more)
