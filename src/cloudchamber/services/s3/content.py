# SPDX-License-Identifier: Apache-2.0
"""Octets on their way in and out, and the one write that publishes an object."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.body import FileSlice, Held, Pourable, at_once
from cloudchamber.base.drawn import Drawn
from cloudchamber.base.errors import InternalFailure, ServiceError
from cloudchamber.services.s3 import checksums, conditions, events, object_lock, replication, tables, versions
from cloudchamber.services.s3.encryption import Summed
from cloudchamber.services.s3.errors import EntityTooLarge
from cloudchamber.services.s3.part import S3Part, live
from cloudchamber.services.s3.tables import Content
from cloudchamber.store.blobs import CHUNK, INLINE_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Mapping, Sequence

    from cloudchamber.base.body import Body, ReplyBody
    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.checksums import Wanted
    from cloudchamber.services.s3.labels import Draft
    from cloudchamber.services.s3.sse import Encryption
    from cloudchamber.services.s3.tables import Object
    from cloudchamber.store.database import Tx

_PIECE = 256 * 1024
"""Octets that are decrypted in one go, while they are in the processor's cache."""
QUICK = ("CRC32C:", "CRC64NVME:")
"""Checksums that are compared in passing: they cost a twentieth of decrypting. CRC32 and SHA would halve its speed."""
POUR_MIN = 128 * 1024
"""Octets from which on a body is poured from the socket into the sink's buffers."""
PUT_MAX = 5 * 1024**3
"""Source: Amazon S3 User Guide, "Uploading objects": 5 GB in one operation."""


@dataclass(slots=True)
class Received:
    """A body that was received, verified, and made durable if it is large; no row knows of it yet."""

    content: Content
    etag: str
    checksum: str


def body_of(request: Mapping[str, Any]) -> Body:
    """The body of a request; in-process callers may hand over octets."""
    body = request.get("Body", b"")
    return Held(bytes(body)) if isinstance(body, bytes | bytearray) else body


async def receive(
    call: Call,
    body: Body | AsyncIterator[bytes],
    wanted: Wanted,
    request: Mapping[str, Any],
    *,
    encryption: Encryption,
    inline_max: int = INLINE_MAX,
    more: tuple[Any, ...] = (),
    draft: Draft | None = None,
) -> Received:
    """Take a body, compare what was said of it, make it durable. `more` digests see the octets, too.

    `draft`: what a file says of its object.

    Raises:
        EntityTooLarge, BadDigest, InvalidRequest: nothing is kept.
    """
    part = live(call.doors)
    checksums.check_md5_form(request)
    length = getattr(body, "length", None)
    if length is not None and length > PUT_MAX:
        raise EntityTooLarge(ProposedSize=str(length), MaxSizeAllowed=str(PUT_MAX))
    part.room.check(length or 0)
    key = encryption.key
    nonce = part.keeper.nonce() if encryption.on else None
    data = at_once(body, inline_max)
    if data is not None:
        md5 = hashlib.md5(data, usedforsecurity=False).digest()
        for digest in (wanted.digest, *more):
            digest.update(data)
        checksum = _checked(wanted, body, request, md5)
        return _small(part, data, nonce, key, _etag(md5, encryption), checksum)
    summed = Summed(part.keeper.cipher(nonce, 0, key)) if nonce is not None and key is not None else None
    cipher = None if nonce is None else partial(part.keeper.cipher, nonce) if summed is None else lambda: summed
    labelled = draft is not None
    async with part.blobs.receive((wanted.digest, *more), cipher, inline_max, labelled=labelled) as sink:
        if length is not None and length > POUR_MIN and isinstance(body, Pourable):
            await body.pour(sink)
        else:
            async for chunk in body:
                await sink.write(chunk)
                if sink.size > PUT_MAX:
                    raise EntityTooLarge(ProposedSize=str(sink.size), MaxSizeAllowed=str(PUT_MAX))
        await sink.finish()
        md5 = sink.md5
        checksum = _checked(wanted, body, request, md5)
        etag = _etag(md5, encryption)
        if sink.inline is not None:
            return _small(part, sink.inline, nonce, key, etag, checksum)
        if nonce is not None and summed is not None:
            nonce = summed.told(nonce)
        if draft is None:
            blob = await sink.commit()
            return Received(Content(sink.size, blob=blob.id, nonce=nonce), etag, checksum)
        draft = draft.named()
        blob = await sink.commit(draft.label(sink.size, etag, checksum, nonce))
        content = Content(sink.size, blob=blob.id, nonce=nonce, seq=draft.seq, version=draft.version)
        return Received(content, etag, checksum)


def _checked(wanted: Wanted, body: Any, request: Mapping[str, Any], md5: bytes) -> str:
    """The checksum as it is stored, after all that the client said of its octets was compared."""
    checksums.check_md5(request, md5)
    return f"{wanted.algorithm}:{wanted.verify(body if hasattr(body, 'trailers') else None)}"


def _etag(md5: bytes, encryption: Encryption) -> str:
    # Why: an MD5 would tell what is in it. Source: Amazon S3 API Reference, Object, "ETag": objects encrypted by
    # SSE-C or SSE-KMS "have ETags that are not an MD5 digest of their object data".
    return md5.hex() if encryption.kept is None else ids.hex_token(16)


def _small(part: S3Part, data: bytes, nonce: str | None, key: bytes | None, etag: str, checksum: str) -> Received:
    """A body for a row of its own."""
    if nonce is not None and key is not None:
        summed = Summed(part.keeper.cipher(nonce, 0, key))
        data = summed.update(data)
        nonce = summed.told(nonce)
    elif nonce is not None:
        data = part.keeper.small(nonce, data)
    return Received(Content(len(data), data=data, nonce=nonce), etag, checksum)


def send(call: Call, found: Object, offset: int, length: int, key: bytes | None = None) -> ReplyBody:
    """The octets of an object, or a part of them, as a reply's body. `key`: what decrypts it, if not the chamber's."""
    part = live(call.doors)
    if "wrong" in found.stored:  # a scrub found its octets changed
        raise InternalFailure("We encountered an internal error. Please try again.")
    nonce: str | None = found.stored.get("nonce")
    if found.blob is None:
        data = found.data or b""
        if nonce is not None:
            data = part.keeper.small(nonce, data, key)
        return data if length == len(data) else data[offset : offset + length]
    pieces: list[tuple[int, str]] = found.stored.get("nonces") or ([(found.size, nonce)] if nonce is not None else [])
    if not pieces:
        return part.blobs.reply(found.blob, offset, length)
    made = _decrypted(part, found.blob, pieces, offset, length, key)
    return Drawn(_compared(found, made) if length == found.size and found.checksum.startswith(QUICK) else made)


def _compared(found: Object, pieces: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    """All octets of an object; the last ones only if they are what was stored. On a thread."""
    algorithm, _, expected = found.checksum.partition(":")
    digest, held = checksums.new(algorithm), b""
    try:
        for data in pieces:
            digest.update(data)
            if held:
                yield held
            held = data
    finally:
        pieces.close()
    actual = checksums.text(digest.digest())
    if actual != expected and "-" not in expected:
        raise OSError(
            f"{found.key} is not what was stored: {algorithm} should be {expected}, is {actual}; "
            "its last octets were held back. 'cloudchamber scrub' puts it aside"
        )
    yield held


async def ready(body: ReplyBody) -> ReplyBody:
    """A body whose first octets are here: what cannot be read at all is an error, not an answer that breaks off."""
    if not isinstance(body, Drawn):
        return body
    first = await asyncio.to_thread(next, body.pieces, b"")
    return Drawn(_begun(first, body.pieces))


def _begun(first: bytes, rest: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
    if first:
        yield first
        yield from rest


def _decrypted(
    part: S3Part, blob: str, pieces: Sequence[tuple[int, str]], offset: int, length: int, key: bytes | None
) -> Generator[bytes, None, None]:
    """Octets of a file whose `pieces` (parts of an upload) were encrypted one by one; on a thread."""
    file = part.blobs.open(blob, offset, length)
    try:
        for size, nonce in pieces:
            if offset >= size:
                offset -= size
                continue
            count = min(size - offset, length)
            cipher = part.keeper.cipher(nonce, offset, key)
            offset, length = 0, length - count
            while count > 0:
                data = file.read(min(_PIECE, count))
                if not data:
                    raise OSError(f"blob {blob} is shorter than its row says")
                count -= len(data)
                yield cipher.update(data)
            if length <= 0:
                return
    finally:
        file.close()


async def octets(call: Call, found: Object, offset: int, length: int, key: bytes | None = None) -> AsyncIterator[bytes]:
    """The octets of an object as chunks, for copying."""
    body = send(call, found, offset, length, key)
    if isinstance(body, bytes):
        yield body
    elif isinstance(body, FileSlice):
        file = await asyncio.to_thread(body.path.open, "rb")
        try:
            await asyncio.to_thread(file.seek, body.offset)
            while length > 0 and (data := await asyncio.to_thread(file.read, min(CHUNK, length))):
                length -= len(data)
                yield data
        finally:
            file.close()
    else:
        async for data in body:
            yield data


@dataclass(slots=True)
class Publication:
    """An object that is about to appear; nobody changes it."""

    bucket: str
    key: str
    content: Content
    etag: str
    checksum: str
    tags: Mapping[str, str]
    stored: Mapping[str, Any]
    event: str
    """``ObjectCreated:Put`` and the like."""
    conditions: Mapping[str, Any]
    """The request, for If-Match and If-None-Match."""
    upload: str = ""
    """The multipart upload that ends with it."""
    lock: Mapping[str, Any] | None = None
    """Retention and legal hold that were asked for."""


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a publication."""

    modified: int
    """POSIX time, in seconds."""
    version: str
    """Its version id; empty in a bucket without versioning."""

    @property
    def told(self) -> dict[str, str]:
        """`VersionId`, as S3 tells it of a write: not of null versions."""
        return {} if self.version in ("", tables.NULL) else {"VersionId": self.version}


async def publish(call: Call, made: Publication) -> Published:
    """Make an object appear whole, with tags, checksum and events, in one write.

    Raises:
        NoSuchBucket, NoSuchUpload, PreconditionFailed, NoSuchKey: nothing appeared; the blob is removed.
    """
    part = live(call.doors)
    modified = int(call.now.timestamp())

    def change(tx: Tx) -> tuple[str, list[str], int]:
        bucket = tables.known_bucket(call.doors.database, made.bucket, tx)
        upload = tables.upload(tx, made.bucket, made.key, made.upload) if made.upload else None
        old = tables.current(tx, made.bucket, made.key)
        conditions.check_write(old, made.key, made.conditions)
        if upload is not None:
            conditions.check_conflict(old, upload, made.conditions)
        to = replication.targets(bucket, made.key, made.content.size, made.tags)
        version, gone = versions.put(
            tx,
            bucket,
            made.key,
            made.content,
            old=old,
            seq=made.content.seq or part.sequencer.number(),
            etag=made.etag,
            modified=modified,
            checksum=made.checksum,
            tags=made.tags,
            stored=made.stored,
            lock=object_lock.applied(bucket, made.lock or {}, call.now),
            replication=replication.pending(to),
        )
        replication.order(tx, bucket, made.key, version, to)
        if made.upload:
            gone += tables.remove_upload(tx, made.upload)
        described = {"size": made.content.size, "eTag": made.etag}
        if bucket.versioning:
            described["versionId"] = version
        emitted = events.emit_matching(tx, call, part.sequencer, bucket, made.event, made.key, described)
        return version if bucket.versioning else "", gone, emitted + len(to)

    try:
        part.room.check()
        version, gone, emitted = await call.doors.database.write(change)
    except ServiceError:
        # Why: only here is it sure that no row names the blob; after any other failure the sweep decides.
        if made.content.blob is not None:
            part.blobs.delete((made.content.blob,))
        raise
    if gone:
        part.blobs.delete(gone)
    if emitted:
        call.doors.outbox.nudge()
    return Published(modified, version)
