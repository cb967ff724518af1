# SPDX-License-Identifier: Apache-2.0
"""Rows, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from cloudchamber.services.s3.errors import NoSuchBucket, NoSuchUpload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.store.database import Database, Reader, Tx

NULL = "null"
"""Version of an object that was stored without versioning. Source: Amazon S3 User Guide, "How S3 Versioning works"."""
BUSY = frozenset(("s3_objects", "s3_bodies", "s3_versions", "s3_uploads", "s3_parts", "s3_log_lines"))
"""Tables of what is stored; buckets and their configuration lie in others, and change seldom."""
REMEMBERED = frozenset(("s3_objects", "s3_bodies", "s3_versions"))
"""Those of them that responses rest on which are remembered."""
_BUCKET = (
    "name, account, region, created, ownership, policy, tags, public_access_block, encryption, notification, "
    "versioning, object_lock, lifecycle, replication, "
    "(SELECT block FROM s3_accounts WHERE s3_accounts.account = s3_buckets.account)"
)
_OBJECT = (
    "o.key, o.size, o.etag, o.modified, o.checksum, o.body, o.blob, o.tags, o.stored, o.seq, o.version, o.lock, "
    "o.replication, (SELECT CASE WHEN versioning = '' THEN 0 ELSE 1 END + "
    "CASE WHEN lifecycle IS NULL THEN 0 ELSE 2 END FROM s3_buckets WHERE name = o.bucket)"
)


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket; configuration members are JSON, None where there is none."""

    name: str
    account: str
    region: str
    created: float
    ownership: str
    policy: str | None
    tags: str | None
    public_access_block: str | None
    encryption: str | None
    notification: str | None
    versioning: str
    """``Enabled``, ``Suspended``, or empty: never set."""
    object_lock: str | None
    lifecycle: str | None
    replication: str | None
    account_block: str | None = None
    """The public access block of the owner's account."""


@dataclass(slots=True)
class Object:
    """One object; nobody changes it. Its octets are in the row of `body`, or in the file `blob`, or there are none.

    `stored` holds ``headers`` (response members), ``metadata``, ``parts`` (pairs of size and checksum, for objects that
    were uploaded in parts) and ``nonce`` (base64, where the octets are encrypted).
    """

    key: str
    size: int
    etag: str
    modified: int
    checksum: str
    body: int | None
    blob: str | None
    tags: str | None
    stored: Mapping[str, Any]
    data: bytes | None = None
    seq: int = 0
    """Its place among the versions of its key: the newest has the greatest."""
    version: str = NULL
    lock: str | None = None
    replication: str | None = None
    versioned: bool = False
    """Whether its bucket has, or had, versioning."""
    expiring: bool = False
    """Whether its bucket has lifecycle rules."""
    marker: bool = False
    """Whether it is a delete marker: then there is nothing but key, version and time."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers to give back, by response member."""
        return self.stored.get("headers") or {}

    @property
    def metadata(self) -> Mapping[str, str]:
        """User metadata."""
        return self.stored.get("metadata") or {}

    @property
    def tag_values(self) -> dict[str, str]:
        """Tags."""
        return json.loads(self.tags) if self.tags else {}


class Current(NamedTuple):
    """Of an object, what a write needs to know that replaces it."""

    body: int | None
    blob: str | None
    etag: str
    seq: int
    version: str


@dataclass(slots=True)
class Content:
    """Where an object's octets are, before a row says so: `data` for a row of their own, or a durable `blob`."""

    size: int
    data: bytes | None = None
    blob: str | None = None
    nonce: str | None = None
    seq: int = 0
    """The place among its key's versions that its file's label says; 0: it has none."""
    version: str = ""
    """The version id that goes with it."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One multipart upload in progress."""

    id: str
    bucket: str
    key: str
    initiated: float
    initiator: str
    checksum_algorithm: str
    checksum_type: str
    tags: str | None
    stored: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an upload; its octets are always a file, encrypted where `nonce` is not empty."""

    number: int
    size: int
    etag: str
    modified: int
    checksum: str
    blob: str
    nonce: str = ""


def bucket(db: Reader, name: str) -> Bucket:
    """One bucket.

    Raises:
        NoSuchBucket: there is none.
    """
    found = find_bucket(db, name)
    if found is None:
        raise NoSuchBucket(BucketName=name)
    return found


def find_bucket(db: Reader, name: str) -> Bucket | None:
    """One bucket, or None."""
    row = db.execute(f"SELECT {_BUCKET} FROM s3_buckets WHERE name = ?", (name,)).fetchone()
    return None if row is None else Bucket(*row)


def packed(stored: Mapping[str, Any]) -> str:
    """`Object.stored` as its row keeps it."""
    try:
        return orjson.dumps(stored).decode()
    except TypeError:  # Why: such as half of a surrogate pair in a metadata value
        return json.dumps(stored, separators=(",", ":"))


def unpacked(text: str) -> dict[str, Any]:
    """What `packed` was given."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def known_bucket(database: Database, name: str, tx: Tx | None = None) -> Bucket:
    """As `bucket`, remembered while no bucket changes; `tx` is the transaction that asks."""
    return database.recall(("s3 bucket", name), lambda db: bucket(db, name), tx)


def buckets(db: Reader, account: str, after: str, prefix: str, limit: int) -> list[Bucket]:
    """Buckets of an account by name, behind `after`."""
    rows = db.execute(
        f"SELECT {_BUCKET} FROM s3_buckets WHERE account = ? AND name > ? AND substr(name, 1, ?) = ? "
        "ORDER BY name LIMIT ?",
        (account, after, len(prefix), prefix, limit),
    )
    return [Bucket(*row) for row in rows]


def add_bucket(tx: Tx, name: str, account: str, region: str, created: float, ownership: str, block: str | None) -> None:
    """A new bucket."""
    tx.execute(
        "INSERT INTO s3_buckets (name, account, region, created, ownership, public_access_block) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (name, account, region, created, ownership, block),
    )


def configure_bucket(tx: Tx, name: str, column: str, value: str | None) -> None:
    """Set one configuration member.

    Raises:
        NoSuchBucket: there is none.
    """
    if tx.execute(f"UPDATE s3_buckets SET {column} = ? WHERE name = ?", (value, name)).rowcount == 0:
        raise NoSuchBucket(BucketName=name)


def is_empty(db: Reader, name: str) -> bool:
    """Whether a bucket holds no object, no version and no delete marker."""
    sql = "SELECT 1 FROM {} WHERE bucket = ? LIMIT 1"
    return all(db.execute(sql.format(t), (name,)).fetchone() is None for t in ("s3_objects", "s3_versions"))


def remove_bucket(tx: Tx, name: str) -> list[str]:
    """Remove a bucket without objects, with its unfinished uploads; blobs to delete after the commit."""
    rows = tx.execute("SELECT id FROM s3_uploads WHERE bucket = ?", (name,)).fetchall()
    blobs = [blob for row in rows for blob in remove_upload(tx, row[0])]
    tx.execute("DELETE FROM s3_buckets WHERE name = ?", (name,))
    return blobs


def find_object(db: Reader, bucket_name: str, key: str, *, body: bool = False) -> Object | None:
    """One object, or None; with the octets of its body row if `body`."""
    if body:
        row = db.execute(
            f"SELECT {_OBJECT}, b.data FROM s3_objects o LEFT JOIN s3_bodies b ON b.id = o.body "
            "WHERE o.bucket = ? AND o.key = ?",
            (bucket_name, key),
        ).fetchone()
    else:
        row = db.execute(
            f"SELECT {_OBJECT}, NULL FROM s3_objects o WHERE o.bucket = ? AND o.key = ?", (bucket_name, key)
        ).fetchone()
    return None if row is None else object_of(row[:14], row[14])


def current(db: Reader, bucket_name: str, key: str) -> Current | None:
    """What a write needs to know of the object that it replaces; None if there is none."""
    row = db.execute(
        "SELECT body, blob, etag, seq, version FROM s3_objects WHERE bucket = ? AND key = ?", (bucket_name, key)
    ).fetchone()
    return None if row is None else Current(*row)


def object_of(row: Sequence[Any], data: bytes | None = None, *, marker: bool = False) -> Object:
    """An object of the columns that `find_object` selects."""
    name, size, etag, modified, checksum, row_id, blob, tags, stored, seq, version, lock, replication, had = row
    kept = unpacked(stored)
    return Object(
        name,
        size,
        etag,
        modified,
        checksum,
        row_id,
        blob,
        tags,
        kept,
        data,
        seq,
        version,
        lock,
        replication,
        bool(had & 1),
        bool(had & 2),
        marker,
    )


def object_tags(db: Reader, bucket_name: str, key: str) -> dict[str, str]:
    """Tags of an object; none if it does not exist."""
    row = db.execute("SELECT tags FROM s3_objects WHERE bucket = ? AND key = ?", (bucket_name, key)).fetchone()
    return json.loads(row[0]) if row is not None and row[0] else {}


def put_object(
    tx: Tx,
    bucket_name: str,
    key: str,
    content: Content,
    *,
    old: Object | Current | None,
    seq: int,
    version: str,
    etag: str,
    modified: int,
    checksum: str,
    tags: Mapping[str, str],
    stored: Mapping[str, Any],
    lock: str | None,
    replication: str | None,
) -> None:
    """Write the current version over `old`. The blob of `old` must be deleted after the commit."""
    body = old.body if old is not None else None
    if body is not None and content.data:
        tx.execute("UPDATE s3_bodies SET data = ? WHERE id = ?", (content.data, body))
    elif body is not None:
        tx.execute("DELETE FROM s3_bodies WHERE id = ?", (body,))
        body = None
    elif content.data:
        body = tx.execute("INSERT INTO s3_bodies (data) VALUES (?)", (content.data,)).lastrowid
    if content.nonce is not None:
        stored = {**stored, "nonce": content.nonce}
    tx.execute(
        "INSERT OR REPLACE INTO s3_objects "
        "(bucket, key, size, etag, modified, checksum, body, blob, tags, stored, seq, version, lock, replication, "
        "storage) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            bucket_name,
            key,
            content.size,
            etag,
            modified,
            checksum,
            body,
            content.blob,
            json.dumps(tags) if tags else None,
            packed(stored),
            seq,
            version,
            lock,
            replication,
            stored.get("class"),
        ),
    )


def known_blobs(db: Reader, blobs: Sequence[str]) -> set[str]:
    """Those of `blobs` that a row names."""
    names = json.dumps(list(blobs))
    rows = db.execute(
        "SELECT blob FROM s3_objects WHERE blob IN (SELECT value FROM json_each(?1)) AND blob IS NOT NULL "
        "UNION SELECT blob FROM s3_versions WHERE blob IN (SELECT value FROM json_each(?1)) AND blob IS NOT NULL "
        "UNION SELECT blob FROM s3_parts WHERE blob IN (SELECT value FROM json_each(?1))",
        (names,),
    )
    return {row[0] for row in rows}


def add_upload(tx: Tx, upload: Upload) -> None:
    """A new upload."""
    tx.execute(
        "INSERT INTO s3_uploads VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            upload.id,
            upload.bucket,
            upload.key,
            upload.initiated,
            upload.initiator,
            upload.checksum_algorithm,
            upload.checksum_type,
            upload.tags,
            json.dumps(upload.stored),
        ),
    )


def upload(db: Reader, bucket_name: str, key: str, upload_id: str) -> Upload:
    """One upload.

    Raises:
        NoSuchUpload: there is none of that id for the key.
    """
    row = db.execute(
        "SELECT * FROM s3_uploads WHERE id = ? AND bucket = ? AND key = ?", (upload_id, bucket_name, key)
    ).fetchone()
    if row is None:
        raise NoSuchUpload(UploadId=upload_id)
    return _upload(row)


def uploads(db: Reader, bucket_name: str, key: str, upload_id: str, limit: int) -> list[Upload]:
    """Uploads of a bucket by key and id, behind (`key`, `upload_id`)."""
    rows = db.execute(
        "SELECT * FROM s3_uploads WHERE bucket = ? AND (key, id) > (?, ?) ORDER BY key, id LIMIT ?",
        (bucket_name, key, upload_id, limit),
    )
    return [_upload(row) for row in rows]


def _upload(row: Any) -> Upload:
    upload_id, bucket_name, key, initiated, initiator, algorithm, kind, tags, stored = row
    return Upload(upload_id, bucket_name, key, initiated, initiator, algorithm, kind, tags, json.loads(stored))


def cross_uploads(tx: Tx, bucket_name: str, key: str) -> None:
    """Mark the uploads under way of a key: it was deleted meanwhile."""
    for row in tx.execute(
        "SELECT id, stored FROM s3_uploads WHERE bucket = ? AND key = ?", (bucket_name, key)
    ).fetchall():
        stored = json.dumps({**json.loads(row[1]), "crossed": True})
        tx.execute("UPDATE s3_uploads SET stored = ? WHERE id = ?", (stored, row[0]))


def remove_upload(tx: Tx, upload_id: str) -> list[str]:
    """Remove an upload and its parts; blobs to delete after the commit."""
    blobs = [row[0] for row in tx.execute("SELECT blob FROM s3_parts WHERE upload = ?", (upload_id,))]
    tx.execute("DELETE FROM s3_parts WHERE upload = ?", (upload_id,))
    tx.execute("DELETE FROM s3_uploads WHERE id = ?", (upload_id,))
    return blobs


def put_part(tx: Tx, upload_id: str, part: Part) -> list[str]:
    """Write a part over the one with its number; blobs to delete after the commit."""
    old = [
        row[0]
        for row in tx.execute("SELECT blob FROM s3_parts WHERE upload = ? AND number = ?", (upload_id, part.number))
    ]
    tx.execute(
        "INSERT OR REPLACE INTO s3_parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (upload_id, part.number, part.size, part.etag, part.modified, part.checksum, part.blob, part.nonce),
    )
    return old


def parts(db: Reader, upload_id: str, after: int = 0, limit: int = 10_000) -> list[Part]:
    """Parts by number, behind `after`."""
    rows = db.execute(
        "SELECT number, size, etag, modified, checksum, blob, nonce FROM s3_parts WHERE upload = ? AND number > ? "
        "ORDER BY number LIMIT ?",
        (upload_id, after, limit),
    )
    return [Part(*row) for row in rows]
