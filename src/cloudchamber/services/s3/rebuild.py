# SPDX-License-Identifier: Apache-2.0
"""Objects made anew from what their files say of themselves, where the database does not name them any more.

Not in files, and so lost with the database: bodies of up to 16 KiB, delete markers, what was changed of an object after
it was stored (tags, ACL, retention), unfinished uploads, and the configuration of buckets, which come back with the
defaults of new ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.s3 import labels, object_lock, tables, versions
from cloudchamber.services.s3.buckets import ALL_BLOCKED
from cloudchamber.services.s3.encryption import Keeper
from cloudchamber.services.s3.tables import NULL, Object
from cloudchamber.store import assembled, private

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cloudchamber.services.s3.labels import Label
    from cloudchamber.store.database import Database, Tx


@dataclass(slots=True)
class Rebuilt:
    """What was found."""

    files: int = 0
    known: int = 0
    """Files that rows name."""
    objects: int = 0
    """Versions that were made anew."""
    older: int = 0
    """Files of objects that have a newer one."""
    unlabelled: int = 0
    """Files that do not say what they are: parts of uploads, and files of versions before labels."""
    short: list[str] = field(default_factory=list[str])
    bodiless: int = 0
    """Rows of small objects whose octets are gone."""
    buckets: list[str] = field(default_factory=list[str])
    """Buckets that were made anew."""


def belongs(database: Database, folder: Path) -> bool:
    """Whether the blobs are those of the database."""
    try:
        word = (folder / "s3" / "identity").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return True
    row = database.read(lambda db: db.execute("SELECT word FROM s3_identity").fetchone())
    return row is not None and row[0] == word


async def rebuild(database: Database, folder: Path) -> Rebuilt:
    """Name again what lies in `folder`/s3/blobs, and bind it to the database."""
    found = Rebuilt()
    blobs, keeper = folder / "s3" / "blobs", Keeper(folder / "s3" / "key")
    found.bodiless = await database.write(_drop_bodiless)
    shards = sorted(p for p in blobs.iterdir() if p.is_dir() and p.name != "incoming") if blobs.is_dir() else []
    for shard in shards:
        named = list(_labelled(keeper, shard, found))
        await database.write(lambda tx, named=named: _name_all(tx, named, found))
    word = ids.hex_token(16)
    private.write(folder / "s3" / "identity", word.encode())

    def bind(tx: Tx) -> None:
        tx.execute("DELETE FROM s3_identity")
        tx.execute("INSERT INTO s3_identity VALUES (?)", (word,))

    await database.write(bind)
    return found


def _labelled(keeper: Keeper, shard: Path, found: Rebuilt) -> Iterator[tuple[str, Label | None]]:
    """Blobs of a shard, each with its label."""
    for path in sorted(shard.iterdir()):
        found.files += 1
        try:
            label = next((one for one in labels.read(keeper, path) if one["name"] == path.name), None)
        except (OSError, ValueError):
            label = None
        if label is not None and assembled.size(path) < label["size"]:
            found.short.append(f"{shard.name}/{path.name}")
            continue
        yield f"{shard.name}/{path.name}", label


def _name_all(tx: Tx, named: Sequence[tuple[str, Label | None]], found: Rebuilt) -> None:
    known = tables.known_blobs(tx, [blob for blob, _ in named])
    for blob, label in named:
        if blob in known:
            found.known += 1
        elif label is None:
            found.unlabelled += 1
        elif _name(tx, blob, label, found):
            found.objects += 1
        else:
            found.older += 1


def _name(tx: Tx, blob: str, label: Label, found: Rebuilt) -> bool:
    """Make the row of one file; False if there is a newer one."""
    _bucket(tx, label, found)
    bucket, key, version = label["bucket"], label["key"], label["version"]
    there = versions.find(tx, bucket, key, version)
    if there is not None:
        if version != NULL or there.seq >= label["seq"]:
            return False
        versions.remove(tx, bucket, there)
    made = Object(
        key,
        label["size"],
        label["etag"],
        label["modified"],
        label["checksum"],
        None,
        blob,
        json.dumps(label["tags"]) if label["tags"] else None,
        label["stored"],
        seq=label["seq"],
        version=version,
    )
    versions.insert(tx, bucket, made, None, blob, "")
    versions.change(tx, bucket, made, "replication", None)
    if label["lock"]:
        versions.change(tx, bucket, made, "lock", label["lock"])
    return True


def _bucket(tx: Tx, label: Label, found: Rebuilt) -> None:
    name = label["bucket"]
    bucket = tables.find_bucket(tx, name)
    if bucket is None:
        found.buckets.append(name)
        created = float(label["modified"])
        tables.add_bucket(tx, name, label["account"], label["region"], created, label["ownership"], ALL_BLOCKED)
    if name in found.buckets:
        if label["versioning"] and (bucket is None or bucket.versioning != versions.ENABLED):
            tables.configure_bucket(tx, name, "versioning", label["versioning"])
        if label["lock"]:
            tables.configure_bucket(tx, name, "object_lock", object_lock.ENABLED)


def _drop_bodiless(tx: Tx) -> int:
    """Rows whose octets were in the database, and are not there any more, say nothing that is true."""
    gone = 0
    for table in ("s3_objects", "s3_versions"):
        sql = f"SELECT bucket, key, seq FROM {table} WHERE body IS NOT NULL AND body NOT IN (SELECT id FROM s3_bodies)"
        rows: list[Any] = tx.execute(sql).fetchall()
        for row in rows:
            tx.execute(f"DELETE FROM {table} WHERE bucket = ? AND key = ? AND seq = ?", tuple(row))
        gone += len(rows)
    tx.execute("DELETE FROM s3_parts WHERE upload NOT IN (SELECT id FROM s3_uploads)")
    return gone
