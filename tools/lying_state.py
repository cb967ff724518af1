# SPDX-License-Identifier: Apache-2.0
"""Reads a state folder without a chamber: what its database says of S3, and whether the octets are as it says."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tools.lying_clients import Said


def found_in(state: Path) -> dict[str, Any]:
    """All that a state folder's database says, in the words of `Worker.now`; every body is read and compared."""
    db = sqlite3.connect(state / "chamber.db")
    db.row_factory = sqlite3.Row
    try:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        if "s3_parts" not in tables:
            return {}
        return _rows(db, Reading(state))
    finally:
        db.close()


def _rows(db: sqlite3.Connection, reading: Reading) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in db.execute("SELECT * FROM s3_buckets"):
        found[f"bucket {row['name']}"] = row["versioning"]
        if row["lifecycle"]:
            found[f"rules {row['name']}"] = json.loads(row["lifecycle"])["Rules"][0]["ID"]
        if row["tags"]:
            found[f"tags {row['name']}"] = json.loads(row["tags"])["t"]
    for table in ("s3_objects", "s3_versions"):
        marker = "o.marker" if table == "s3_versions" else "0 AS marker"
        for row in db.execute(f"SELECT o.*, {marker}, b.data FROM {table} o LEFT JOIN s3_bodies b ON b.id = o.body"):
            place = f"object {row['bucket']} {row['key']} {row['version']}"
            tags: Any = json.loads(row["tags"]) if row["tags"] else {}
            restored = "restore" in json.loads(row["stored"])
            found[place] = {"etag": "" if row["marker"] else row["etag"], "tags": tags, "restored": restored}
            if not row["marker"]:
                reading.check(place, row)
    for row in db.execute("SELECT * FROM s3_parts"):
        found[f"part {row['upload']} {row['number']}"] = row["etag"]
        reading.part(row)
    return found


class Reading:
    """Reads bodies of a state folder as the chamber would."""

    def __init__(self, state: Path) -> None:
        from cloudchamber.services.s3.encryption import Keeper
        from cloudchamber.store.assembled import parts

        self._parts_of = parts
        self._blobs = state / "s3" / "blobs"
        self._keeper = Keeper(state / "s3" / "key")

    def _plain(self, data: bytes, nonce: str | None) -> bytes:
        return self._keeper.cipher(nonce).update(data) if nonce else data

    def check(self, place: str, row: sqlite3.Row) -> None:
        """The object's octets have its size and ETag."""
        stored = json.loads(row["stored"])
        size = row["size"]
        data = row["data"] or b""
        if row["blob"] is not None:
            data = b"".join(path.read_bytes()[:count] for path, count in self._parts_of(self._blobs / row["blob"]))[
                :size
            ]
        assert len(data) == size, place
        if "parts" not in stored:
            assert hashlib.md5(self._plain(data, stored.get("nonce"))).hexdigest() == row["etag"], place
            return
        at, md5s = 0, b""
        nonces = [nonce for _, nonce in stored.get("nonces", [])] or [None] * len(stored["parts"])
        for (length, _), nonce in zip(stored["parts"], nonces, strict=True):
            md5s += hashlib.md5(self._plain(data[at : at + length], nonce)).digest()
            at += length
        assert f"{hashlib.md5(md5s).hexdigest()}-{len(stored['parts'])}" == row["etag"], place

    def part(self, row: sqlite3.Row) -> None:
        """A part's octets have its size and ETag."""
        data = (self._blobs / row["blob"]).read_bytes()[: row["size"]]
        assert hashlib.md5(self._plain(data, row["nonce"])).hexdigest() == row["etag"], row["blob"]


def events_in(state: Path) -> set[tuple[str, str]]:
    """Events that wait for delivery: name and version id."""
    db = sqlite3.connect(state / "chamber.db")
    try:
        payloads = [json.loads(r[0]) for r in db.execute("SELECT payload FROM outbox WHERE topic = 's3.notification'")]
    except sqlite3.OperationalError:
        payloads = []
    finally:
        db.close()
    told = [record for payload in payloads for record in json.loads(payload["event"])["Records"]]
    return {(one["eventName"], one["s3"]["object"].get("versionId", "")) for one in told}


def promises(state: Path) -> list[str]:
    """What the database promises and does not keep: copies that nobody will make, ends that nobody was told of."""
    db = sqlite3.connect(state / "chamber.db")
    db.row_factory = sqlite3.Row
    try:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'outbox_lanes_by_due'").fetchone():
            return []
        return [*_copies(db), *_ends(db)]
    finally:
        db.close()


def _copies(db: sqlite3.Connection) -> list[str]:
    payloads = [json.loads(r[0]) for r in db.execute("SELECT payload FROM outbox WHERE topic = 's3.replication'")]
    ordered = {(one["bucket"], one["key"], one["version"], one["to"]) for one in payloads}
    rows = {
        (row["bucket"], row["key"], row["version"]): row
        for table in ("s3_objects", "s3_versions")
        for row in db.execute(f"SELECT bucket, key, version, etag, replication FROM {table}")
    }
    wrong: list[str] = []
    for (bucket, key, version), row in rows.items():
        for to, status in json.loads(row["replication"] or "{}").get("of", {}).items():
            copy = rows.get((to, key, version))
            if status == "PENDING" and (bucket, key, version, to) not in ordered:
                wrong.append(f"nobody copies {bucket}/{key} {version}")
            if status == "COMPLETED" and (copy is None or copy["etag"] != row["etag"]):
                wrong.append(f"the copy of {bucket}/{key} {version} is not there")
    return wrong


def _ends(db: sqlite3.Connection) -> list[str]:
    """Each marker of the last seconds (its event is given up after some tries, for nobody takes it)."""
    payloads = [json.loads(r[0]) for r in db.execute("SELECT payload FROM outbox WHERE topic = 's3.notification'")]
    told = {
        record["s3"]["object"].get("versionId")
        for payload in payloads
        for record in json.loads(payload["event"])["Records"]
    }
    last = db.execute(
        "SELECT max(modified) FROM (SELECT modified FROM s3_objects UNION ALL SELECT modified FROM s3_versions)"
    )
    after = (last.fetchone()[0] or 0) - 3
    rows = db.execute("SELECT * FROM s3_versions WHERE marker = 1 AND bucket LIKE 'aged%' AND modified > ?", (after,))
    return [f"nobody is told of the end of {row['key']}" for row in rows if row["version"] not in told]


def compare(mine: dict[str, Any], events: set[tuple[str, str]] | None, said: Sequence[Said], at_s: float) -> None:
    """What one client was told before `at_s` is there; what it was not told is there whole or not at all."""
    told = [one for one in said if one.answered_s < at_s]
    allowed = [told[-1].after if told else {}]
    if len(told) < len(said) and said[len(told)].sent_s < at_s:
        allowed.append(said[len(told)].after)
    if mine not in allowed:
        last = allowed[0]
        wrong = {p: (last.get(p), mine.get(p)) for p in last.keys() | mine.keys() if last.get(p) != mine.get(p)}
        raise AssertionError(f"after {told[-1].what if told else 'nothing'}: (should be, is) {wrong}")
    if events is None:
        return
    missing = {one.event for one in told if one.event is not None and one.answered_s > at_s - 5.0} - events
    assert not missing, f"events of what was answered: {missing}"
