# SPDX-License-Identifier: Apache-2.0
"""Multipart uploads. Source: Amazon S3 User Guide, "Uploading and copying objects using multipart upload"."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import (
    checks,
    checksums,
    completion,
    conditions,
    needs,
    object_lock,
    owning,
    rules,
    sse,
    storage,
    tables,
)
from cloudchamber.services.s3.acl import owner_shown
from cloudchamber.services.s3.checksums import Wanted
from cloudchamber.services.s3.content import body_of, octets, receive
from cloudchamber.services.s3.copying import copied_range, source, source_told
from cloudchamber.services.s3.errors import InvalidArgument, InvalidRequest
from cloudchamber.services.s3.listing import encoding
from cloudchamber.services.s3.names import quoted, tags_of_header
from cloudchamber.services.s3.objects import stored_of
from cloudchamber.services.s3.part import live
from cloudchamber.services.s3.tables import Part, Upload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

PARTS_MAX = 10_000
PAGE_MAX = 1000
NUMBER_MAX = 2**31 - 1
_NO_FILE_TOO_SMALL = -1


def _checksum_plan(request: Request) -> tuple[str, str]:
    """Algorithm and type of an upload's checksum."""
    algorithm, kind = request.get("ChecksumAlgorithm", ""), request.get("ChecksumType", "")
    if algorithm and algorithm not in checksums.WIDTHS:
        raise InvalidRequest(
            "Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            "[CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
        )
    if kind and not algorithm:
        raise InvalidRequest(
            "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
        )
    if not algorithm:
        return "", "FULL_OBJECT"
    if not kind:
        kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    wrong = (algorithm.startswith("SHA") and kind == "FULL_OBJECT") or (
        algorithm == "CRC64NVME" and kind == "COMPOSITE"
    )
    if wrong or kind not in ("FULL_OBJECT", "COMPOSITE"):
        raise InvalidRequest(
            f"The {kind} checksum type cannot be used with the {algorithm.lower()} checksum algorithm."
        )
    return algorithm, kind


@operation("CreateMultipartUpload", needs=needs.put_object)
async def create_multipart_upload(call: Call, request: Request) -> dict[str, Any]:
    """Begin an upload in parts. Source: Amazon S3 API Reference, CreateMultipartUpload."""
    bucket = checks.bucket(call, request)
    key = checks.key(request)
    checks.refuse(request)
    algorithm, kind = _checksum_plan(request)
    tags = tags_of_header(request["Tagging"]) if request.get("Tagging") else {}
    stored = stored_of(request) | owning.stored_acl(call, bucket, request)
    lock = object_lock.asked(bucket, request, call.now)
    if lock:
        stored["lock"] = lock
    encryption = await sse.wanted(call, bucket, request, None)
    if encryption.on:
        stored |= {"encrypt": True, **encryption.stored}
    upload_id = f"{int(call.now.timestamp() * 1_000_000):014x}{ids.hex_token(24)}"
    upload = Upload(
        upload_id,
        bucket.name,
        key,
        call.now.timestamp(),
        call.principal.arn,
        algorithm,
        kind,
        json.dumps(tags) if tags else None,
        stored,
    )

    def change(tx: Any) -> None:
        tables.bucket(tx, bucket.name)
        tables.add_upload(tx, upload)

    await call.doors.database.write(change)
    response: dict[str, Any] = {"Bucket": bucket.name, "Key": key, "UploadId": upload_id}
    if algorithm:
        response |= {"ChecksumAlgorithm": algorithm, "ChecksumType": kind}
    return response | encryption.told | _abortion(bucket, upload)


def _abortion(bucket: tables.Bucket, upload: Upload) -> dict[str, Any]:
    """When a lifecycle rule will end the upload."""
    found = rules.abortion(bucket.lifecycle, upload.key, upload.initiated)
    return {} if found is None else {"AbortDate": found[0], "AbortRuleId": found[1]}


def _upload(call: Call, request: Request) -> Upload:
    bucket = checks.bucket(call, request)
    key = checks.key(request)
    return call.doors.database.read(lambda db: tables.upload(db, bucket.name, key, request["UploadId"]))


def _number(request: Request) -> int:
    number = int(request["PartNumber"])
    if not 1 <= number <= PARTS_MAX:
        raise InvalidArgument(
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=str(number),
        )
    return number


async def _store_part(
    call: Call, upload: Upload, number: int, body: Body | AsyncIterator[bytes], wanted: Wanted, request: Request
) -> tuple[Part, str]:
    """Receive a part and make it durable, then known; with the checksum that the client is told."""
    algorithm = upload.checksum_algorithm or checksums.DEFAULT
    ours = wanted.digest if wanted.algorithm == algorithm else checksums.new(algorithm)
    more = () if ours is wanted.digest else (ours,)
    encryption = await sse.of_part(call, upload.stored, request)
    received = await receive(
        call, body, wanted, request, encryption=encryption, inline_max=_NO_FILE_TOO_SMALL, more=more
    )
    content = received.content
    assert content.blob is not None
    part = Part(
        number,
        content.size,
        received.etag,
        int(call.now.timestamp()),
        f"{algorithm}:{checksums.text(ours.digest())}",
        content.blob,
        content.nonce or "",
    )

    def change(tx: Any) -> list[str]:
        tables.upload(tx, upload.bucket, upload.key, upload.id)
        return tables.put_part(tx, upload.id, part)

    blobs = live(call.doors).blobs
    try:
        blobs.delete(await call.doors.database.write(change))
    except ServiceError:  # the upload ended meanwhile: no row names the part
        blobs.delete((part.blob,))
        raise
    return part, received.checksum if wanted.given or upload.checksum_algorithm else ""


@operation("UploadPart", needs=needs.on_object("s3:PutObject"))
async def upload_part(call: Call, request: Request) -> dict[str, Any]:
    """Store one part; a part of the same number is replaced. Source: Amazon S3 API Reference, UploadPart."""
    number = _number(request)
    upload = _upload(call, request)
    checks.refuse(request)
    wanted = checksums.wanted(call, request, upload.checksum_algorithm or checksums.DEFAULT)
    if upload.checksum_algorithm not in ("", wanted.algorithm):
        raise InvalidRequest(
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.checksum_algorithm.lower()}, actual "
            f"checksum Type: {wanted.algorithm.lower()}"
        )
    part, told = await _store_part(call, upload, number, body_of(request), wanted, request)
    call.note(bytes=part.size)
    response = {"ETag": quoted(part.etag), **checksums.members(told)}
    response.pop("ChecksumType", None)
    return response | _encryption(upload.stored)


@operation("UploadPartCopy", needs=needs.upload_part_copy)
async def upload_part_copy(call: Call, request: Request) -> dict[str, Any]:
    """A part from an object, or from a range of one. Source: Amazon S3 API Reference, UploadPartCopy."""
    number = _number(request)
    upload = _upload(call, request)
    checks.refuse(request)
    _, found = await source(call, request)
    source_key = await sse.key_of(call, found.stored, request, sse.COPIED)
    offset, length = copied_range(request, found.size)
    algorithm = upload.checksum_algorithm or checksums.DEFAULT
    wanted = Wanted(algorithm, "", "", bool(upload.checksum_algorithm), checksums.new(algorithm))
    body = octets(call, found, offset, length, source_key)
    part, told = await _store_part(call, upload, number, body, wanted, request)
    result = {
        "ETag": quoted(part.etag),
        "LastModified": datetime.fromtimestamp(part.modified, UTC),
        **checksums.members(told),
    }
    result.pop("ChecksumType", None)
    return {"CopyPartResult": result, **source_told(found), **_encryption(upload.stored)}


@operation("CompleteMultipartUpload", needs=needs.on_object("s3:PutObject"))
async def complete_multipart_upload(call: Call, request: Request) -> dict[str, Any]:
    """Make the object of its parts; it appears whole or not at all.

    Raises:
        InvalidPart, InvalidPartOrder, EntityTooSmall, NoSuchUpload, BadDigest, PreconditionFailed

    Source: Amazon S3 API Reference, CompleteMultipartUpload.
    """
    conditions.check_write_form(request)
    checks.refuse(request)
    bucket = checks.bucket(call, request)
    key, upload_id = checks.key(request), request["UploadId"]
    try:
        upload = call.doors.database.read(lambda db: tables.upload(db, bucket.name, key, upload_id))
        sse.same_key(upload.stored, request)
        chosen = completion.choose(call, upload, request)
        etag = _md5_of_md5s([part.etag for part in chosen])
        checksum = completion.checksum(upload, chosen, request)
        made = await completion.publish(call, upload, chosen, etag, checksum, request)
        told = made.told
        size = sum(part.size for part in chosen)
        expiration = rules.expiration(bucket.lifecycle, key, size, json.loads(upload.tags or "{}"), made.modified)
        if expiration is not None:
            told["Expiration"] = expiration
    except ServiceError:
        # Why: a client that lost the first answer asks again, maybe while the first is still at work; both get the
        # same answer while the object is there.
        done = call.doors.database.read(lambda db: tables.find_object(db, bucket.name, key))
        if done is None or done.stored.get("upload") != upload_id:
            raise
        told = {"VersionId": done.version} if done.versioned and done.version != tables.NULL else {}
        return {**_completed(call, request, done.etag, done.checksum, sse.of_object(done.stored)), **told}
    return {**_completed(call, request, etag, checksum, _encryption(upload.stored)), **told}


def _completed(call: Call, request: Request, etag: str, checksum: str, encrypted: Mapping[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "Location": _location(call, request["Bucket"], request["Key"]),
        "Bucket": request["Bucket"],
        "Key": request["Key"],
        "ETag": quoted(etag),
    }
    ours = encrypted.get("ServerSideEncryption", "AES256") == "AES256" and "SSECustomerAlgorithm" not in encrypted
    # Why: of an object with another key S3 does not tell here the checksum that nobody asked for
    if ours or checksums.algorithm_of(checksum) != "CRC64NVME":
        response |= checksums.members(checksum)
    for member in ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"):
        if member in encrypted:
            response[member] = encrypted[member]
    return response


def _location(call: Call, bucket: str, key: str) -> str:
    """Address of an object, under the host that was asked."""
    host = call.headers.get("host") if call.headers is not None else ""
    scheme = "https" if call.secure else "http"
    base = f"{scheme}://{host}" if host else call.doors.endpoint
    where = quote(key, safe="")
    return f"{base}/{where}" if host.startswith(f"{bucket}.") else f"{base}/{bucket}/{where}"


def _encryption(stored: Mapping[str, Any]) -> dict[str, Any]:
    """How the object of an upload is encrypted, as its parts already are."""
    return sse.told(stored.get("sse")) if stored.get("encrypt") else {}


def _md5_of_md5s(etags: list[str]) -> str:
    """ETag of an object uploaded in parts. Source: Amazon S3 User Guide, "Checking object integrity"."""
    whole = hashlib.md5(b"".join(bytes.fromhex(etag) for etag in etags), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(etags)}"


@operation("AbortMultipartUpload", needs=needs.of_upload("s3:AbortMultipartUpload"))
async def abort_multipart_upload(call: Call, request: Request) -> dict[str, Any]:
    """End an upload and forget its parts. Source: Amazon S3 API Reference, AbortMultipartUpload."""
    if "IfMatchInitiatedTime" in request:
        raise InvalidRequest("x-amz-if-match-initiated-time is for directory buckets only")
    upload = _upload(call, request)

    def change(tx: Any) -> list[str]:
        tables.upload(tx, upload.bucket, upload.key, upload.id)
        return tables.remove_upload(tx, upload.id)

    live(call.doors).blobs.delete(await call.doors.database.write(change))
    return {}


def _page_size(request: Request, member: str) -> int:
    return min(_number_of(request, member, PAGE_MAX), PAGE_MAX)


def _number_of(request: Request, member: str, otherwise: int) -> int:
    """A number of the query."""
    number = int(request.get(member, otherwise))
    name = re.sub("(?<!^)(?=[A-Z])", "-", member).lower()
    if number < 0:
        raise InvalidArgument(
            f"Argument {name} must be an integer between 0 and {NUMBER_MAX}",
            ArgumentName=name,
            ArgumentValue=str(number),
        )
    if number > NUMBER_MAX:
        raise InvalidArgument(
            f"Provided {name} not an integer or within integer range", ArgumentName=name, ArgumentValue=str(number)
        )
    return number


@operation("ListParts", needs=needs.of_upload("s3:ListMultipartUploadParts"))
async def list_parts(call: Call, request: Request) -> dict[str, Any]:
    """Parts of an upload by number. Source: Amazon S3 API Reference, ListParts."""
    checks.refuse(request)
    upload = _upload(call, request)
    sse.same_key(upload.stored, request)
    after, limit = _number_of(request, "PartNumberMarker", 0), _page_size(request, "MaxParts")
    found = call.doors.database.read(lambda db: tables.parts(db, upload.id, after, limit + 1))
    shown = found[:limit]
    account = owning.uploader(checks.bucket(call, request), upload.stored)
    owner = owner_shown(account, owning.people(call.doors))
    response: dict[str, Any] = {
        "Bucket": upload.bucket,
        "Key": upload.key,
        "UploadId": upload.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": shown[-1].number if shown else 0,
        "MaxParts": limit,
        "IsTruncated": len(found) > limit > 0,
        "Initiator": _initiator(upload.initiator, owner),
        "Owner": owner,
        "StorageClass": storage.of(upload.stored),
    }
    if upload.checksum_algorithm:
        response |= {"ChecksumAlgorithm": upload.checksum_algorithm, "ChecksumType": upload.checksum_type}
    listed: list[dict[str, Any]] = []
    for part in shown:
        told = checksums.members(part.checksum) if upload.checksum_algorithm else {}
        told.pop("ChecksumType", None)
        listed.append(
            {
                "PartNumber": part.number,
                "LastModified": datetime.fromtimestamp(part.modified, UTC),
                "ETag": quoted(part.etag),
                "Size": part.size,
                **told,
            }
        )
    if listed:
        response["Parts"] = listed
    return response | _abortion(checks.bucket(call, request), upload)


@operation("ListMultipartUploads", needs=needs.on_bucket("s3:ListBucketMultipartUploads"))
async def list_multipart_uploads(call: Call, request: Request) -> dict[str, Any]:
    """Unfinished uploads by key and time. Source: Amazon S3 API Reference, ListMultipartUploads."""
    bucket = checks.bucket(call, request)
    encoding(request)
    prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
    key_marker, id_marker = request.get("KeyMarker", ""), request.get("UploadIdMarker", "")
    limit = _page_size(request, "MaxUploads")
    behind = id_marker if key_marker and id_marker else ("\U0010ffff" if key_marker else "")
    if key_marker and id_marker:
        _check_marker(call, bucket.name, key_marker, id_marker)
    found = call.doors.database.read(lambda db: _page(db, bucket.name, prefix, delimiter, (key_marker, behind), limit))
    uploads, prefixes, truncated, last = found
    if not uploads:  # Why: recorded: behind common prefixes alone AWS tells no marker; the last prefix serves as one
        last = ("", "")
    response: dict[str, Any] = {
        "Bucket": bucket.name,
        "KeyMarker": key_marker,
        "UploadIdMarker": id_marker if key_marker else "",
        "NextKeyMarker": last[0] if truncated or last[1] else "",
        "NextUploadIdMarker": last[1],
        "MaxUploads": limit,
        "IsTruncated": truncated,
    }
    if prefix:
        response["Prefix"] = prefix
    if delimiter:
        response["Delimiter"] = delimiter
    if "EncodingType" in request:
        response["EncodingType"] = request["EncodingType"]
    if uploads:
        people = owning.people(call.doors)
        response["Uploads"] = [
            _told(upload, owner_shown(owning.uploader(bucket, upload.stored), people)) for upload in uploads
        ]
    if prefixes:
        response["CommonPrefixes"] = [{"Prefix": p} for p in prefixes]
    return response


def _check_marker(call: Call, bucket: str, key: str, upload_id: str) -> None:
    """Refuse the id of an upload of another key."""
    sql = "SELECT key FROM s3_uploads WHERE id = ? AND bucket = ?"
    row = call.doors.database.read(lambda db: db.execute(sql, (upload_id, bucket)).fetchone())
    if row is not None and row[0] != key:
        raise InvalidArgument("Invalid uploadId marker", ArgumentName="upload-id-marker", ArgumentValue=upload_id)


def _initiator(arn: str, owner: Mapping[str, str]) -> dict[str, str]:
    """Who began an upload: a root user by its canonical id, others by their ARN; here S3 still tells a name."""
    if arn.endswith(":root"):
        return {"DisplayName": arn.split(":")[4], **owner}
    return {"ID": arn, "DisplayName": arn.rsplit("/", 1)[-1]} if arn.startswith("arn:") else dict(owner)


def _told(upload: Upload, owner: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "Key": upload.key,
        "UploadId": upload.id,
        "Initiated": datetime.fromtimestamp(int(upload.initiated), UTC),
        "StorageClass": storage.of(upload.stored),
        "Owner": owner,
        "Initiator": _initiator(upload.initiator, owner),
    }
    if upload.checksum_algorithm:
        told |= {"ChecksumAlgorithm": upload.checksum_algorithm, "ChecksumType": upload.checksum_type}
    return told


def _page(
    db: Any, bucket: str, prefix: str, delimiter: str, after: tuple[str, str], limit: int
) -> tuple[list[Upload], list[str], bool, tuple[str, str]]:
    """Uploads and common prefixes of one page, whether there is more, and the page's last key and upload id."""
    uploads: list[Upload] = []
    prefixes: list[str] = []
    low, last = max(after, (prefix, "")), ("", "")
    while rows := tables.uploads(db, bucket, *low, PAGE_MAX):
        for row in rows:
            low = (row.key, row.id)
            if not row.key.startswith(prefix):
                if row.key > prefix:
                    return uploads, prefixes, False, last
                continue
            at = row.key.find(delimiter, len(prefix)) if delimiter else -1
            rolled = row.key[: at + len(delimiter)] if at >= 0 else ""
            if rolled and (rolled in prefixes[-1:] or after[0].startswith(rolled)):
                continue
            if len(uploads) + len(prefixes) == limit:
                return uploads, prefixes, limit > 0, last
            if rolled:
                prefixes.append(rolled)
                last = (rolled, "")
            else:
                uploads.append(row)
                last = (row.key, row.id)
    return uploads, prefixes, False, last
