# SPDX-License-Identifier: Apache-2.0
"""Versions of objects: which row is the current one, and what becomes of the others.

INVARIANT: `s3_objects` has a row for a key exactly if the newest version is an object, and that row is it. All others,
and every delete marker, are in `s3_versions`. So the current version is one look-up, and listings of keys never meet
what is not current.

Source: Amazon S3 User Guide, "How S3 Versioning works", "Working with delete markers" and "Working with objects in a
versioning-suspended bucket".
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.s3 import tables
from cloudchamber.services.s3.errors import InvalidArgument
from cloudchamber.services.s3.storage import STANDARD
from cloudchamber.services.s3.tables import NULL, Bucket, Object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.services.s3.tables import Content, Current
    from cloudchamber.store.database import Reader, Tx

ENABLED = "Enabled"
_COLUMNS = (
    "bucket, key, seq, version, size, etag, modified, checksum, body, blob, tags, stored, lock, replication, storage"
)
_VERSION = (
    "o.key, o.size, o.etag, o.modified, o.checksum, o.body, o.blob, o.tags, o.stored, o.seq, o.version, o.lock, "
    "o.replication, 1, o.marker"
)
_SALT_OCTETS, _SEQ_OCTETS, _SEAL_OCTETS = 12, 8, 4


def new_id(seq: int) -> str:
    """A version id: 32 characters that say nothing to others; `seq_of` reads the version's place from it."""
    salt = bytes.fromhex(ids.hex_token(_SALT_OCTETS))
    return base64.b64encode(salt + _veiled(salt, _sealed(seq.to_bytes(_SEQ_OCTETS, "big"))), b"._").decode()


def seq_of(version: str) -> int | None:
    """The place of a version among its key's; None if no version has such an id."""
    try:
        octets = base64.b64decode(version.encode(), b"._", validate=True)
    except ValueError:
        return None
    if len(octets) != _SALT_OCTETS + _SEQ_OCTETS + _SEAL_OCTETS:
        return None
    place = _veiled(octets[:_SALT_OCTETS], octets[_SALT_OCTETS:])
    seq = int.from_bytes(place[:_SEQ_OCTETS], "big")
    return seq if _sealed(place[:_SEQ_OCTETS]) == place and seq < 1 << 63 else None


def _sealed(place: bytes) -> bytes:
    """Why: S3 tells an id that none of its versions can have from one whose version is gone."""
    return place + hashlib.sha256(b"version" + place).digest()[:_SEAL_OCTETS]


def _veiled(salt: bytes, place: bytes) -> bytes:
    veil = hashlib.sha256(salt).digest()
    return bytes(a ^ b for a, b in zip(place, veil, strict=False))


def checked(version: str) -> str:
    """A version id of a request.

    Raises:
        InvalidArgument: no version could have it.
    """
    if version != NULL and seq_of(version) is None:
        raise unknown(version)
    return version


def unknown(version: str) -> InvalidArgument:
    """The error for an id that no version can have."""
    return InvalidArgument(
        "Invalid version id specified" if version else "Version id cannot be the empty string",
        ArgumentName="versionId",
        ArgumentValue=version,
    )


def find(db: Reader, bucket: str, key: str, version: str, *, body: bool = False) -> Object | None:
    """One version, a delete marker maybe; None if it is not there."""
    current = tables.find_object(db, bucket, key, body=body)
    if current is not None and current.version == version:
        return current
    if version == NULL:
        return _one(db, "o.bucket = ? AND o.key = ? AND o.version = 'null'", (bucket, key), body=body)
    seq = seq_of(version)
    if seq is None:
        return None
    return _one(
        db, "o.bucket = ? AND o.key = ? AND o.seq = ? AND o.version = ?", (bucket, key, seq, version), body=body
    )


def newest(db: Reader, bucket: str, key: str) -> Object | None:
    """The newest of those versions that `s3_objects` does not hold: the current one, if that is a delete marker."""
    return _one(db, "o.bucket = ? AND o.key = ? ORDER BY o.seq DESC LIMIT 1", (bucket, key))


def _one(db: Reader, where: str, values: tuple[Any, ...], *, body: bool = False) -> Object | None:
    join = "LEFT JOIN s3_bodies b ON b.id = o.body" if body else ""
    data = "b.data" if body else "NULL"
    row = db.execute(f"SELECT {_VERSION}, {data} FROM s3_versions o {join} WHERE {where}", values).fetchone()
    return None if row is None else tables.object_of(row[:14], row[15], marker=bool(row[14]))


def put(
    tx: Tx,
    bucket: Bucket,
    key: str,
    content: Content,
    *,
    old: Object | Current | None,
    seq: int,
    etag: str,
    modified: int,
    checksum: str,
    tags: Mapping[str, str],
    stored: Mapping[str, Any],
    lock: str | None = None,
    replication: str | None = None,
) -> tuple[str, list[str]]:
    """Make a new current version; `old` is the one in `s3_objects`. Its id, and blobs to delete after the commit."""
    gone: list[str] = []
    version = NULL
    if bucket.versioning:
        seq = _behind(tx, bucket.name, key, old, seq)
        if bucket.versioning == ENABLED:
            version = content.version if content.seq == seq else new_id(seq)
        else:
            gone += _drop_null(tx, bucket.name, key)
        if old is not None and (version != NULL or old.version != NULL):
            _step_down(tx, bucket.name, key)
            old = None
    tables.put_object(
        tx,
        bucket.name,
        key,
        content,
        old=old,
        seq=seq,
        version=version,
        etag=etag,
        modified=modified,
        checksum=checksum,
        tags=tags,
        stored=stored,
        lock=lock,
        replication=replication,
    )
    if old is not None and old.blob is not None:
        gone.append(old.blob)
    return version, gone


def insert(
    tx: Tx, bucket: str, made: Object, data: bytes | None, blob: str | None, status: str, storage_class: str = ""
) -> bool:
    """Put a copy of a version of another bucket, with its id, to its place among those that are there.

    `storage_class`: the copy's; empty: the version's own. False if it is there already.
    """
    if find(tx, bucket, made.key, made.version) is not None:
        return False
    stored = {name: value for name, value in made.stored.items() if name != "restore"}
    if storage_class:
        stored |= {"class": storage_class}
    if stored.get("class") == STANDARD:
        del stored["class"]
    old = tables.find_object(tx, bucket, made.key)
    top = old if old is not None else newest(tx, bucket, made.key)
    body = tx.execute("INSERT INTO s3_bodies (data) VALUES (?)", (data,)).lastrowid if data else None
    current = not made.marker and (top is None or top.seq < made.seq)
    if old is not None and old.seq < made.seq:
        _step_down(tx, bucket, made.key)
    values = (
        bucket,
        made.key,
        made.seq,
        made.version,
        made.size,
        made.etag,
        made.modified,
        made.checksum,
        body,
        blob,
        made.tags,
        json.dumps(stored, separators=(",", ":")),
        None,
        json.dumps({"status": status}),
        stored.get("class"),
    )
    marks = ", ".join("?" * len(values))
    if current:
        tx.execute(f"INSERT INTO s3_objects ({_COLUMNS}) VALUES ({marks})", values)
    else:
        tx.execute(f"INSERT INTO s3_versions ({_COLUMNS}, marker) VALUES ({marks}, ?)", (*values, made.marker))
    return True


def mark(
    tx: Tx, bucket: Bucket, key: str, *, old: Object | None, seq: int, modified: int, replication: str | None = None
) -> tuple[str, list[str]]:
    """Put a delete marker on top, in a bucket that has or had versioning. Its id, and blobs to delete afterwards."""
    gone: list[str] = []
    seq = _behind(tx, bucket.name, key, old, seq)
    version = new_id(seq) if bucket.versioning == ENABLED else NULL
    if version == NULL:
        gone += _drop_null(tx, bucket.name, key)
    if old is not None and version == old.version == NULL:
        gone += _forget(tx, bucket.name, old)
    elif old is not None:
        _step_down(tx, bucket.name, key)
    tx.execute(
        "INSERT INTO s3_versions (bucket, key, seq, version, marker, size, etag, modified, stored, replication) "
        "VALUES (?, ?, ?, ?, 1, 0, '', ?, '{}', ?)",
        (bucket.name, key, seq, version, modified, replication),
    )
    return version, gone


def remove(tx: Tx, bucket: str, found: Object) -> list[str]:
    """Remove one version for good; the next one becomes current. Blobs to delete after the commit."""
    gone = _forget(tx, bucket, found)
    if tables.find_object(tx, bucket, found.key) is None:
        top = newest(tx, bucket, found.key)
        if top is not None and not top.marker:
            tx.execute(
                f"INSERT INTO s3_objects ({_COLUMNS}) SELECT {_COLUMNS} FROM s3_versions "
                "WHERE bucket = ? AND key = ? AND seq = ?",
                (bucket, top.key, top.seq),
            )
            _delete_row(tx, bucket, top)
    return gone


def move(tx: Tx, bucket: str, found: Object, storage_class: str) -> None:
    """Set the storage class of one version; a restored copy of it goes."""
    stored = {name: value for name, value in found.stored.items() if name != "restore"}
    stored = {**stored, "class": storage_class}
    change(tx, bucket, found, "stored", json.dumps(stored, separators=(",", ":")))
    change(tx, bucket, found, "storage", storage_class)
    forget_restores(tx, bucket, found)


def forget_restores(tx: Tx, bucket: str, found: Object) -> None:
    """Tell no more of a version's restored copy."""
    sql = "DELETE FROM s3_restores WHERE bucket = ? AND key = ? AND version = ?"
    tx.execute(sql, (bucket, found.key, found.version))


def change(tx: Tx, bucket: str, found: Object, column: str, value: str | None) -> None:
    """Set `tags`, `lock`, `replication`, `storage` or `stored` of one version."""
    for table in ("s3_objects", "s3_versions"):
        sql = f"UPDATE {table} SET {column} = ? WHERE bucket = ? AND key = ? AND seq = ? AND version = ?"
        if tx.execute(sql, (value, bucket, found.key, found.seq, found.version)).rowcount:
            return


def _behind(tx: Tx, bucket: str, key: str, old: Object | Current | None, seq: int) -> int:
    """A place after every version that is there, whatever the clock says."""
    top = old if old is not None else newest(tx, bucket, key)
    return seq if top is None else max(seq, top.seq + 1)


def _step_down(tx: Tx, bucket: str, key: str) -> None:
    tx.execute(
        f"INSERT INTO s3_versions ({_COLUMNS}, marker) SELECT {_COLUMNS}, 0 FROM s3_objects "
        "WHERE bucket = ? AND key = ?",
        (bucket, key),
    )
    tx.execute("DELETE FROM s3_objects WHERE bucket = ? AND key = ?", (bucket, key))


def _drop_null(tx: Tx, bucket: str, key: str) -> list[str]:
    """Remove the null version that is not current."""
    found = _one(tx, "o.bucket = ? AND o.key = ? AND o.version = 'null'", (bucket, key))
    return [] if found is None else _forget(tx, bucket, found)


def _forget(tx: Tx, bucket: str, found: Object) -> list[str]:
    if found.body is not None:
        tx.execute("DELETE FROM s3_bodies WHERE id = ?", (found.body,))
    _delete_row(tx, bucket, found)
    sql = "DELETE FROM s3_objects WHERE bucket = ? AND key = ? AND seq = ? AND version = ?"
    tx.execute(sql, (bucket, found.key, found.seq, found.version))
    return [] if found.blob is None else [found.blob]


def _delete_row(tx: Tx, bucket: str, found: Object) -> None:
    sql = "DELETE FROM s3_versions WHERE bucket = ? AND key = ? AND seq = ? AND version = ?"
    tx.execute(sql, (bucket, found.key, found.seq, found.version))


def tags_of(db: Reader, bucket: str, key: str, version: str | None) -> dict[str, str]:
    """Tags of an object, or of one version of it; none if it does not exist."""
    if not version:
        return tables.object_tags(db, bucket, key)
    found = find(db, bucket, key, version)
    return json.loads(found.tags) if found is not None and found.tags else {}
