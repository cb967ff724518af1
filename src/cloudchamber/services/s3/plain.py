# SPDX-License-Identifier: Apache-2.0
"""PutObject as it is mostly asked for: a small body, nothing special said of it, in a bucket that asks for nothing.

Then most of what a write has to look at cannot be there: versions, locks, ACLs, conditions, tags, rules, copies,
events. What is left takes a fraction of the time, and comes to the same rows, words and errors as the whole way.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.base.body import at_once
from cloudchamber.services.s3 import acl, checksums, tables
from cloudchamber.store.blobs import INLINE_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.part import S3Part
    from cloudchamber.services.s3.tables import Bucket
    from cloudchamber.store.database import Database, Tx

MEMBERS = frozenset(
    ("Bucket", "Key", "Body", "ContentLength", "ContentMD5", "ContentType", "CacheControl", "ContentDisposition",
     "ContentEncoding", "ContentLanguage", "Expires", "Metadata", "ChecksumAlgorithm", "ExpectedBucketOwner",
     "RequestPayer", *checksums.MEMBERS)
)  # fmt: skip
"""Members of requests that this way reads."""
_WRITE = (
    "INSERT OR REPLACE INTO s3_objects (bucket, key, size, etag, modified, checksum, body, blob, tags, stored, seq, "
    "version, lock, replication, storage) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, NULL, ?, ?, 'null', NULL, NULL, NULL)"
)


class OtherwiseError(Exception):
    """The bucket has begun to ask for more; nothing was written."""


@lru_cache(256)
def fits(bucket: Bucket) -> bool:
    """Whether what is written to a bucket has no consequences but that it is there."""
    return (
        bucket.ownership == acl.ENFORCED
        and bucket.versioning == ""
        and bucket.encryption is None
        and bucket.notification is None
        and bucket.object_lock is None
        and bucket.lifecycle is None
        and bucket.replication is None
    )


class Small:
    """A small object that is about to appear: called with a transaction, it does. Nobody else changes it."""

    __slots__ = ("_database", "_part", "bucket", "checksum", "data", "etag", "key", "modified", "stored")

    def __init__(self, part: S3Part, database: Database, bucket: str, key: str, modified: int, data: bytes,
                 etag: str, checksum: str, stored: Mapping[str, Any]) -> None:  # fmt: skip
        """`data`: as it came; it is encrypted here."""
        nonce = part.keeper.nonce()
        self._part, self._database = part, database
        self.bucket, self.key, self.modified = bucket, key, modified
        self.data = part.keeper.small(nonce, data)
        self.etag, self.checksum = etag, checksum
        self.stored: dict[str, Any] = {**stored, "nonce": nonce}

    def __call__(self, tx: Tx) -> str | None:
        """Write it; the blob that nobody names any more.

        Raises:
            NoSuchBucket: it is gone.
            OtherwiseError: see there.
        """
        bucket, key, data = self.bucket, self.key, self.data
        if not fits(tables.known_bucket(self._database, bucket, tx)):
            raise OtherwiseError
        old = tx.execute("SELECT body, blob FROM s3_objects WHERE bucket = ? AND key = ?", (bucket, key)).fetchone()
        body, blob = old if old is not None else (None, None)
        if body is None:
            if data:
                body = tx.execute("INSERT INTO s3_bodies (data) VALUES (?)", (data,)).lastrowid
        elif data:
            tx.execute("UPDATE s3_bodies SET data = ? WHERE id = ?", (data, body))
        else:
            tx.execute("DELETE FROM s3_bodies WHERE id = ?", (body,))
            body = None
        number, stored = self._part.sequencer.number(), tables.packed(self.stored)
        tx.execute(_WRITE, (bucket, key, len(data), self.etag, self.modified, self.checksum, body, stored, number))
        return blob


class Again:
    """Stores small objects with the same headers and metadata in the same bucket: see `contract.stored.Storing`."""

    __slots__ = ("_algorithm", "_database", "_part", "_stored", "bucket")

    def __init__(
        self, part: S3Part, database: Database, bucket: str, algorithm: str, stored: Mapping[str, Any]
    ) -> None:
        self._part, self._database = part, database
        self.bucket, self._algorithm, self._stored = bucket, algorithm, stored

    def make(self, key: str, data: bytes, modified: int) -> Small | None:
        """An object of these octets; None: it takes more than this."""
        part, bucket = self._part, self.bucket
        if len(data) > INLINE_MAX or not part.alone(bucket) or not fits(tables.known_bucket(self._database, bucket)):
            return None
        part.room.check()
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        digest = checksums.new(self._algorithm)
        digest.update(data)
        checksum = f"{self._algorithm}:{checksums.text(digest.digest())}"
        return Small(part, self._database, bucket, key, modified, data, etag, checksum, self._stored)

    def done(self, blob: str | None) -> None:
        """It was written."""
        if blob is not None:
            self._part.blobs.delete((blob,))


def received(call: Call, part: S3Part, request: Mapping[str, Any], stored: Mapping[str, Any]) -> Small | None:
    """The object of a request whose body is small and has come; None: it has not, and nothing was taken of it.

    Raises:
        BadDigest, InvalidRequest: nothing is kept.
    """
    wanted = checksums.wanted(call, request)
    body: Any = request.get("Body", b"")
    checksums.check_md5_form(request)
    part.room.check()
    data = body if type(body) is bytes else at_once(body, INLINE_MAX)
    if data is None or len(data) > INLINE_MAX:
        return None
    md5 = hashlib.md5(data, usedforsecurity=False)
    wanted.digest.update(data)
    checksums.check_md5(request, md5.digest())
    trailed: Any = body if hasattr(body, "trailers") else None
    checksum = f"{wanted.algorithm}:{wanted.verify(trailed)}"
    modified = int(call.now.timestamp())
    return Small(
        part, call.doors.database, request["Bucket"], request["Key"], modified, data, md5.hexdigest(), checksum, stored
    )
