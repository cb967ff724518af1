# SPDX-License-Identifier: Apache-2.0
"""Looks at everything that is stored: what is wrong is named and put aside, what nobody names is removed.

An object whose octets are wrong stays in listings and in HEAD; GET answers 500 `InternalError`, until it is written
anew or deleted. Its file is moved to `s3/quarantine`. A part of an upload that is wrong is forgotten, so that whoever
completes the upload hears `InvalidPart`, and sends it again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ChamberError, ServiceError
from cloudchamber.services.s3 import tables, versions
from cloudchamber.services.s3.verify import Fault, Pace, Verifier

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.s3.encryption import Keeper
    from cloudchamber.services.s3.tables import Object
    from cloudchamber.store.blobs import Blobs
    from cloudchamber.store.database import Reader, Tx

ROWS_AT_ONCE = 200
TOLD_EVERY = 64 * 1024 * 1024
"""Octets after which a scrub says how far it is."""
ORPHAN_AGE_S = 3600.0
"""How long a file that no row names is left alone: an upload may be about to name it."""
ORPHANS_EVERY_S = 3600.0
_PLACES = (
    "SELECT bucket, key, version, seq, blob, body FROM s3_objects WHERE (bucket, key, -seq) > (?1, ?2, ?3) "
    "AND (?4 = '' OR bucket = ?4) "
    "UNION ALL SELECT bucket, key, version, seq, blob, body FROM s3_versions WHERE marker = 0 "
    "AND (bucket, key, -seq) > (?1, ?2, ?3) AND (?4 = '' OR bucket = ?4) ORDER BY bucket, key, seq DESC LIMIT ?5"
)
_COUNT = (
    "SELECT (SELECT count(*) FROM s3_objects) + (SELECT count(*) FROM s3_versions WHERE marker = 0), "
    "(SELECT coalesce(sum(size), 0) FROM s3_objects) + (SELECT coalesce(sum(size), 0) FROM s3_versions), "
    "(SELECT count(*) FROM s3_parts)"
)

_log = logging.getLogger(__name__)


class Scrubber:
    """Scrubs while the chamber works; one scrub at a time."""

    def __init__(self, doors: Doors, blobs: Blobs, keeper: Keeper, folder: Path) -> None:
        self._doors = doors
        self._blobs = blobs
        self._keeper = keeper
        self._aside = folder / "quarantine"
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self.known_state = True
        """Whether the blobs are those of this database; else nothing may be swept."""

    def start(self) -> None:
        """Begin to look for orphans now and then."""
        if not self._doors.database.shared:
            self._task = asyncio.create_task(self._for_ever(), name="s3 orphans")

    async def stop(self) -> None:
        """Stop that."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _for_ever(self) -> None:
        while True:
            await asyncio.sleep(ORPHANS_EVERY_S)
            try:
                await self.sweep()
            except Exception:  # noqa: BLE001 - the edge: a disk in trouble must not end the looking
                _log.exception("orphans could not be looked for")

    async def sweep(self) -> int:
        """Remove files that no row names, unless they are too young to tell; how many."""
        if not self.known_state:
            return 0
        return await self._blobs.orphans(self._known, self._doors.clock.now().timestamp() - ORPHAN_AGE_S)

    async def _known(self, blobs: Sequence[str]) -> set[str]:
        return await self._doors.database.query(lambda db: tables.known_blobs(db, blobs))

    async def run(self, bucket: str = "", octets_per_s: float = 0.0) -> AsyncIterator[Mapping[str, Any]]:
        """Scrub everything, or one bucket. Yields ``{"kind": "begun" | "at" | "wrong" | "orphans" | "done", ...}``."""
        async with self._busy:
            pace = Pace(octets_per_s)
            verifier = Verifier(self._blobs, self._keeper, pace)
            objects, octets, parts = await self._doors.database.query(lambda db: tuple(db.execute(_COUNT).fetchone()))
            yield {"kind": "begun", "objects": objects, "octets": octets, "parts": parts}
            wrong = seen = told = 0
            with ThreadPoolExecutor(1, "scrub") as thread:
                for fault in await self._database():
                    wrong += 1
                    yield fault
                place = ("", "", 0)
                while rows := await self._doors.database.query(_behind(place, bucket)):
                    for row in rows:
                        place = (row["bucket"], row["key"], -row["seq"])
                        seen += 1
                        fault = await self._object(thread, verifier, row)
                        if fault is not None:
                            wrong += 1
                            yield fault
                        if pace.octets - told >= TOLD_EVERY:
                            told = pace.octets
                            yield {"kind": "at", "objects": seen, "octets": pace.octets, "at": f"{place[0]}/{place[1]}"}
                async for fault in self._parts(thread, verifier, bucket):
                    wrong += 1
                    yield fault
            if not bucket:
                yield {"kind": "orphans", "removed": await self.sweep()}
            yield {"kind": "done", "objects": seen, "octets": pace.octets, "wrong": wrong}

    def listed(self) -> list[dict[str, Any]]:
        """All that was put aside, the latest first; whether the object still waits for somebody to mend it."""
        rows = self._doors.database.read(
            lambda db: db.execute("SELECT * FROM s3_quarantine ORDER BY found DESC, id").fetchall()
        )
        return [self._listed(row) for row in rows]

    def _listed(self, row: Any) -> dict[str, Any]:
        found = self._doors.database.read(lambda db: versions.find(db, row["bucket"], row["key"], row["version"]))
        file = self._aside / row["id"]
        return {
            "id": row["id"],
            "found": iso(datetime.fromtimestamp(row["found"], UTC)),
            "bucket": row["bucket"],
            "key": row["key"],
            "version": row["version"],
            "file": str(file) if file.exists() else "",
            "wrong": row["wrong"],
            "expected": row["expected"],
            "actual": row["actual"],
            "open": found is not None and found.stored.get("wrong") == row["id"],
        }

    async def discard(self) -> int:
        """Remove files of quarantine whose objects were mended or deleted; how many."""
        gone = [one["id"] for one in self.listed() if not one["open"]]
        for name in gone:
            await asyncio.to_thread(_remove, self._aside / name)

        def change(tx: Tx) -> None:
            tx.executemany("DELETE FROM s3_quarantine WHERE id = ?", [(name,) for name in gone])

        await self._doors.database.write(change)
        return len(gone)

    async def _database(self) -> list[dict[str, Any]]:
        """What SQLite itself finds in its file."""
        if self._doors.database.shared:
            return []
        try:
            rows = await self._doors.database.query(lambda db: db.execute("PRAGMA quick_check(20)").fetchall())
        except sqlite3.DatabaseError as error:
            return [_told("", "", "", "chamber.db", Fault("unreadable", "ok", str(error)))]
        said = [row[0] for row in rows if row[0] != "ok"]
        return [_told("", "", "", "chamber.db", Fault("changed", "ok", one)) for one in said]

    async def _object(self, thread: ThreadPoolExecutor, verifier: Verifier, row: Any) -> dict[str, Any] | None:
        bucket, key, version = row["bucket"], row["key"], row["version"]
        found = await self._find(bucket, key, version)
        if found is None or found.stored.get("wrong"):
            return None
        fault = await asyncio.get_running_loop().run_in_executor(thread, verifier.object, found)
        if fault is None:
            return None
        place = f"s3/blobs/{found.blob}" if found.blob is not None else "chamber.db, s3_bodies"
        name = ids.hex_token(12)

        def change(tx: Tx) -> bool:
            now = versions.find(tx, bucket, key, version)
            if now is None or (now.seq, now.blob, now.body, now.etag) != (
                found.seq,
                found.blob,
                found.body,
                found.etag,
            ):
                return False  # written anew or deleted meanwhile: that was not rot
            versions.change(tx, bucket, now, "stored", json.dumps({**now.stored, "wrong": name}, separators=(",", ":")))
            self._note(tx, name, (bucket, key, version), place, fault)
            return True

        if not await self._doors.database.write(change):
            return None
        if found.blob is not None:
            await self._put_aside(found.blob, name)
        return _told(bucket, key, version, place, fault)

    async def _find(self, bucket: str, key: str, version: str) -> Object | None:
        return await self._doors.database.query(lambda db: versions.find(db, bucket, key, version, body=True))

    async def _parts(
        self, thread: ThreadPoolExecutor, verifier: Verifier, bucket: str
    ) -> AsyncIterator[dict[str, Any]]:
        place = ("", "")
        while uploads := await self._doors.database.query(_uploads_behind(place, bucket)):
            for row in uploads:
                place = (row["bucket"], row["id"])
                stored = json.loads(row["stored"])
                for part in await self._doors.database.query(lambda db, upload=row["id"]: tables.parts(db, upload)):
                    work = asyncio.get_running_loop().run_in_executor(
                        thread, lambda part=part, stored=stored: verifier.part(part, readable="sse" not in stored)
                    )
                    fault = await work
                    if fault is not None and await self._forget(row, part, fault):
                        where = f"s3/blobs/{part.blob}"
                        yield _told(row["bucket"], row["key"], f"part {part.number} of {row['id']}", where, fault)

    async def _forget(self, upload: Any, part: tables.Part, fault: Fault) -> bool:
        name = ids.hex_token(12)
        where = (upload["bucket"], upload["key"], f"part {part.number} of {upload['id']}")

        def change(tx: Tx) -> bool:
            sql = "DELETE FROM s3_parts WHERE upload = ? AND number = ? AND blob = ?"
            if not tx.execute(sql, (upload["id"], part.number, part.blob)).rowcount:
                return False
            self._note(tx, name, where, f"s3/blobs/{part.blob}", fault)
            return True

        gone = await self._doors.database.write(change)
        if gone:
            await self._put_aside(part.blob, name)
        return gone

    def _note(self, tx: Tx, name: str, where: tuple[str, str, str], place: str, fault: Fault) -> None:
        now = self._doors.clock.now().timestamp()
        values = (name, now, *where, place, fault.wrong, fault.expected, fault.actual)
        tx.execute("INSERT INTO s3_quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        _log.error(
            "%s/%s (version %s) is %s: %s should be %s, is %s; it was put aside",
            *where,
            fault.wrong,
            place,
            fault.expected,
            fault.actual,
        )

    async def _put_aside(self, blob: str, name: str) -> None:
        """Move a file to quarantine. What cannot be moved stays, and is not served either."""
        try:
            await self._blobs.put_aside(blob, self._aside / name)
        except (ServiceError, ChamberError, OSError) as error:
            _log.warning("%s could not be put aside: %s", blob, error)


def _remove(path: Path) -> None:
    if path.is_dir():  # what was assembled of several files
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _told(bucket: str, key: str, version: str, place: str, fault: Fault) -> dict[str, Any]:
    return {
        "kind": "wrong",
        "bucket": bucket,
        "key": key,
        "version": version,
        "place": place,
        "wrong": fault.wrong,
        "expected": fault.expected,
        "actual": fault.actual,
    }


def _behind(place: tuple[str, str, int], bucket: str) -> Callable[[Reader], list[Any]]:
    return lambda db: db.execute(_PLACES, (*place, bucket, ROWS_AT_ONCE)).fetchall()


def _uploads_behind(place: tuple[str, str], bucket: str) -> Callable[[Reader], list[Any]]:
    sql = "SELECT * FROM s3_uploads WHERE (bucket, id) > (?1, ?2) AND (?3 = '' OR bucket = ?3) ORDER BY 2, 1 LIMIT ?4"
    return lambda db: db.execute(sql, (*place, bucket, ROWS_AT_ONCE)).fetchall()
