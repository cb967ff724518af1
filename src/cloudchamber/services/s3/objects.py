# SPDX-License-Identifier: Apache-2.0
"""Objects: put, get, head, delete."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import each_by_itself, operation
from cloudchamber.contract.stored import Stored
from cloudchamber.services.s3 import (
    checks,
    checksums,
    conditions,
    deletion,
    labels,
    lookup,
    needs,
    object_lock,
    owning,
    plain,
    replication,
    rfc2047,
    rules,
    sse,
    storage,
    tables,
)
from cloudchamber.services.s3.content import Publication, body_of, publish, ready, receive, send
from cloudchamber.services.s3.errors import (
    InvalidArgument,
    InvalidPartNumber,
    InvalidRedirectLocation,
    InvalidRequest,
    MalformedXML,
    NoSuchVersion,
    Unimplemented,
)
from cloudchamber.services.s3.names import canonical_id, check_metadata, quoted, tags_of_header
from cloudchamber.services.s3.part import live
from cloudchamber.services.s3.tables import Content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Object
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]

DELETE_KEYS_MAX = 1000
_DIRECTORY_ONLY = (
    ("IfMatchLastModifiedTime", "x-amz-if-match-last-modified-time"),
    ("IfMatchSize", "x-amz-if-match-size"),
)
"""Conditions of deletions that only directory buckets know: S3 answers so for others (recorded, February 2026)."""
_DELETES_AT_ONCE = 32
_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
_OVERRIDES = {f"Response{name}": name for name in _KEPT}


def stored_of(request: Request) -> dict[str, Any]:
    """What an object keeps of its request: headers and metadata."""
    headers: dict[str, Any] = {name: request[name] for name in _KEPT if request.get(name)}
    if "ContentEncoding" in headers:
        codings = [coding.strip() for coding in headers["ContentEncoding"].split(",")]
        if "aws-chunked" in codings:
            headers["ContentEncoding"] = ",".join(coding for coding in codings if coding != "aws-chunked")
        if not headers["ContentEncoding"]:
            del headers["ContentEncoding"]
    if isinstance(request.get("Expires"), datetime):
        headers["Expires"] = request["Expires"].timestamp()
    where = request.get("WebsiteRedirectLocation")
    if where is not None:
        if not where.startswith(("/", "http://", "https://")):
            raise InvalidRedirectLocation()
        headers["WebsiteRedirectLocation"] = where
    stored: dict[str, Any] = dict(storage.asked(request))
    if headers:
        stored["headers"] = headers
    metadata = request.get("Metadata")
    if metadata:
        check_metadata(metadata)
        stored["metadata"] = {name.lower(): rfc2047.decoded(value) for name, value in metadata.items()}
    return stored


@operation("PutObject", needs=needs.put_object)
async def put_object(call: Call, request: Request) -> dict[str, Any]:
    """Store one object; it appears whole or not at all.

    Raises:
        NoSuchBucket: the bucket does not exist.
        PreconditionFailed: `If-Match` or `If-None-Match` did not hold.
        BadDigest: a checksum did not match; nothing was stored.

    Source: Amazon S3 API Reference, PutObject.
    """
    bucket = checks.bucket(call, request)
    key = checks.key(request)
    if plain.MEMBERS.issuperset(request) and plain.fits(bucket) and call.segment.name == "PutObject":
        done = await _put_plain(call, request)
        if done is not None:
            return done
    checks.refuse(request)
    conditions.check_write_form(request)
    stored = stored_of(request) | owning.stored_acl(call, bucket, request)
    tags = tags_of_header(request["Tagging"]) if request.get("Tagging") else {}
    lock = object_lock.asked(bucket, request, call.now)
    wanted = checksums.wanted(call, request)
    body = body_of(request)
    encryption = await sse.wanted(call, bucket, request, body.length)
    stored |= encryption.stored
    kept = object_lock.applied(bucket, lock or {}, call.now)
    draft = labels.draft(call, live(call.doors).keeper, bucket, key, tags, stored, kept)
    received = await receive(call, body, wanted, request, encryption=encryption, draft=draft)
    made = Publication(
        bucket.name,
        key,
        received.content,
        received.etag,
        received.checksum,
        tags,
        stored,
        "ObjectCreated:Post" if call.segment.name == "PostObject" else "ObjectCreated:Put",
        request,
        lock=lock,
    )
    done = await publish(call, made)
    call.note(bytes=received.content.size)
    expiration = rules.expiration(bucket.lifecycle, key, received.content.size, tags, done.modified)
    return {
        "ETag": quoted(received.etag),
        **checksums.members(received.checksum),
        **done.told,
        **encryption.told,
        **({} if expiration is None else {"Expiration": expiration}),
    }


async def _put_plain(call: Call, request: Request) -> dict[str, Any] | None:
    """As `put_object`, in few steps; None: it takes more of them."""
    doors = call.doors
    part = live(doors)
    stored = stored_of(request)
    made = plain.received(call, part, request, stored)
    if made is None:
        return None
    size = len(made.data)
    try:
        blob = await doors.database.write(made)
    except plain.OtherwiseError:
        content = Content(size, data=made.data, nonce=made.stored["nonce"])
        etag, checksum, event = made.etag, made.checksum, "ObjectCreated:Put"
        again = Publication(made.bucket, made.key, content, etag, checksum, {}, made.stored, event, request)
        told = (await publish(call, again)).told
    else:
        told = {}
        if blob is not None:
            part.blobs.delete((blob,))
    call.note(bytes=size)
    algorithm = checksums.algorithm_of(made.checksum)
    return Stored(
        {"ETag": quoted(made.etag), **checksums.members(made.checksum), **told, **sse.OURS.told},
        plain.Again(part, doors.database, made.bucket, algorithm, stored),
    )


def described(call: Call, found: Object) -> dict[str, Any]:
    """Response members that GET and HEAD share."""
    response: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": datetime.fromtimestamp(found.modified, UTC),
        "ETag": quoted(found.etag),
        "ContentLength": found.size,
        "ContentType": "binary/octet-stream",
        "Metadata": rfc2047.encoded(found.metadata),
        **found.headers,
    }
    if "Expires" in response:
        response["Expires"] = datetime.fromtimestamp(response["Expires"], UTC)
    response |= sse.of_object(found.stored)
    if "class" in found.stored:
        response |= storage.told(found, call.now)
    if found.versioned:
        response["VersionId"] = found.version
    if found.lock:
        response |= object_lock.told(found)
    if found.replication:
        response |= replication.told(found)
    if found.tags:
        response["TagCount"] = len(found.tag_values)
    return response


def _override(call: Call, response: dict[str, Any], request: Request) -> None:
    """`response-content-type` and its like; only for callers that are known."""
    given = [member for member in (*_OVERRIDES, "ResponseExpires") if member in request]
    if given and call.principal.kind == "anonymous":
        raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
    for member in given:
        if isinstance(request[member], str) and not _latin(request[member]):
            raise InvalidArgument(
                "Header value cannot be represented using ISO-8859-1.",
                ArgumentName=re.sub("(?<!^)(?=[A-Z])", "-", member).lower(),
                ArgumentValue=request[member],
            )
        response[_OVERRIDES.get(member, "Expires")] = request[member]


def _checksum(found: Object) -> dict[str, str]:
    """Members of the checksum. Of an upload under the customer's key S3 knows none that was not asked for: recorded."""
    parts = found.stored.get("parts")
    if parts and not parts[0][1] and "c" in (found.stored.get("sse") or {}):
        return {}
    return checksums.members(found.checksum)


def _latin(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return True


def _select(found: Object, request: Request, response: dict[str, Any]) -> tuple[int, int]:
    """Offset and length of what is asked for: a part, a range, or all; fills in what the client is told of it."""
    chosen: tuple[int, int] | None
    if "PartNumber" in request:
        if "Range" in request:
            raise InvalidRequest("Cannot specify both Range header and partNumber query parameter")
        chosen = _part(found, request, response)
    else:
        chosen = conditions.byte_range(request.get("Range"), found.size)
    whole = chosen is None or ("Range" in request and chosen == (0, found.size))
    if whole and request.get("ChecksumMode", "").upper() == "ENABLED":
        response.update(_checksum(found))
    if chosen is None:
        return 0, found.size
    offset, length = chosen
    response["ContentLength"] = length
    if found.size:
        response["ContentRange"] = f"bytes {offset}-{offset + length - 1}/{found.size}"
    return chosen


def _part(found: Object, request: Request, response: dict[str, Any]) -> tuple[int, int]:
    number, parts = int(request["PartNumber"]), found.stored.get("parts")
    if parts is None:
        if number != 1:
            raise InvalidPartNumber(ActualPartCount="1", PartNumberRequested=str(number))
        if request.get("ChecksumMode", "").upper() == "ENABLED":
            response |= checksums.members(found.checksum)
        return 0, found.size
    if not 1 <= number <= len(parts):
        raise InvalidPartNumber(ActualPartCount=str(len(parts)), PartNumberRequested=str(number))
    response["PartsCount"] = len(parts)
    checksum = parts[number - 1][1]
    kind = checksums.kind(found.checksum)
    told = kind == "COMPOSITE" or len(parts) == 1  # Why: else the sum is of the whole object, and S3 tells none
    if checksum and told and request.get("ChecksumMode", "").upper() == "ENABLED":
        response |= {**checksums.members(checksum), "ChecksumType": kind}
    sizes = [size for size, _ in parts]
    return sum(sizes[: number - 1]), sizes[number - 1]


def _readable(call: Call, request: Request, payers: frozenset[str]) -> None:
    """What is checked before anything is read, or given from memory: who pays, and a header that reads do not have."""
    if request["Bucket"] in payers:
        checks.bucket(call, request)
    if call.headers is not None and "x-amz-server-side-encryption" in call.headers:
        raise InvalidArgument(
            "x-amz-server-side-encryption header is not supported for this operation.",
            ArgumentName="x-amz-server-side-encryption",
            ArgumentValue=call.headers.get("x-amz-server-side-encryption"),
        )


async def _find(call: Call, request: Request, *, body: bool) -> Object:
    """The object of a GET or HEAD, its conditions checked."""
    found = await lookup.existing(call, request, body=body, method="GET" if body else "HEAD")
    conditions.check_read(found, request, call.now)
    return found


def _expiration(call: Call, found: Object, request: Request) -> dict[str, str]:
    """`Expiration` of a current version that is asked for as such."""
    if not found.expiring or "VersionId" in request:
        return {}
    bucket = checks.bucket(call, request)
    told = rules.expiration(bucket.lifecycle, found.key, found.size, found.tag_values, found.modified)
    return {} if told is None else {"Expiration": told}


@operation("GetObject", needs=needs.on_object("s3:GetObject"))
async def get_object(call: Call, request: Request) -> dict[str, Any]:
    """Fetch an object, a range, or a part. Source: Amazon S3 API Reference, GetObject."""
    part = live(call.doors)
    _readable(call, request, part.payers)
    recent = part.recent
    kept = recent.find("GetObject", request) if not call.missing_only else None
    if kept is not None:
        call.note(bytes=kept["ContentLength"])
        return kept
    stamp = recent.stamp()
    found = await _find(call, request, body=True)
    storage.check_readable(found, call.now)
    key = await sse.key_of(call, found.stored, request)
    response = described(call, found) | _expiration(call, found, request)
    offset, length = _select(found, request, response)
    _override(call, response, request)
    body = send(call, found, offset, length, key)
    response["Body"] = await ready(body) if call.doors.database.shared else body
    call.note(bytes=length)
    if "restore" in found.stored:  # Why: what is told of it changes with time
        return response
    return recent.keep(stamp, "GetObject", request, response, alone=part.alone(request["Bucket"]))


@operation("HeadObject", needs=needs.on_object("s3:GetObject"))
async def head_object(call: Call, request: Request) -> dict[str, Any]:
    """What GetObject would say, without the octets. Source: Amazon S3 API Reference, HeadObject."""
    part = live(call.doors)
    _readable(call, request, part.payers)
    recent = part.recent
    kept = recent.find("HeadObject", request) if not call.missing_only else None
    if kept is not None:
        return kept
    stamp = recent.stamp()
    found = await _find(call, request, body=False)
    await sse.key_of(call, found.stored, request, unwrap=False)
    response = described(call, found) | _expiration(call, found, request)
    _select(found, request, response)
    _override(call, response, request)
    if "restore" in found.stored:
        return response
    return recent.keep(stamp, "HeadObject", request, response, alone=part.alone(request["Bucket"]))


@operation("DeleteObject", needs=needs.delete_object)
async def delete_object(call: Call, request: Request) -> dict[str, Any]:
    """Delete an object; that it does not exist is no error. With versions, put a delete marker on top.

    A version that is named is gone for good. Source: Amazon S3 API Reference, DeleteObject.
    """
    bucket = checks.bucket(call, request)
    key = checks.key(request)
    checks.refuse({k: v for k, v in request.items() if k == "MFA"})
    for member, header in _DIRECTORY_ONLY:
        if member in request:
            raise Unimplemented(Header=header)
    object_lock.check_bypass(bucket, request)
    named = lookup.version_of(bucket, request["VersionId"]) if "VersionId" in request else None
    part = live(call.doors)

    def change(tx: Tx) -> deletion.Deleted:
        now = tables.bucket(tx, bucket.name)
        return deletion.delete(tx, call, part.sequencer, now, key, named, request)

    done = await call.doors.database.write(change)
    part.blobs.delete(done.gone)
    if done.emitted:
        call.doors.outbox.nudge()
    return done.told


@operation("DeleteObjects", needs=each_by_itself)
async def delete_objects(call: Call, request: Request) -> dict[str, Any]:
    """Delete up to 1,000 objects or versions; each is decided, done and answered for by itself.

    Source: Amazon S3 API Reference, DeleteObjects.
    """
    object_lock.check_bypass(checks.bucket(call, request), request)
    checks.refuse({k: v for k, v in request.items() if k == "MFA"})
    wanted: list[Request] = request["Delete"].get("Objects", [])
    if not 1 <= len(wanted) <= DELETE_KEYS_MAX:
        raise MalformedXML()
    turn = asyncio.Semaphore(_DELETES_AT_ONCE)

    async def delete(one: Request) -> tuple[str, dict[str, Any]]:
        named: dict[str, Any] = {name: one[name] for name in ("Key", "VersionId") if one.get(name)}
        asked: dict[str, Any] = {"Bucket": request["Bucket"], **named}
        if "ETag" in one:
            asked["IfMatch"] = one["ETag"]
        if "BypassGovernanceRetention" in request:
            asked["BypassGovernanceRetention"] = request["BypassGovernanceRetention"]
        try:
            async with turn:
                done = await call.ask("s3", "DeleteObject", asked, part=True)
        except ServiceError as error:
            if "VersionId" in named and isinstance(error, InvalidArgument):  # Why: so S3 says it here, and only here
                error = NoSuchVersion()
            return "Errors", {**named, "Code": error.code, "Message": error.message}
        if done.get("DeleteMarker"):
            named |= {"DeleteMarker": True, "DeleteMarkerVersionId": done["VersionId"]}
        return "Deleted", named

    outcomes = await asyncio.gather(*(delete(one) for one in wanted))
    response: dict[str, Any] = {}
    for kind, told in outcomes:
        if kind == "Errors" or not request["Delete"].get("Quiet"):
            response.setdefault(kind, []).append(told)
    return response


@operation("GetObjectAttributes", needs=needs.on_object("s3:GetObject", "s3:GetObjectAttributes"))
async def get_object_attributes(call: Call, request: Request) -> dict[str, Any]:
    """Chosen attributes of an object. Source: Amazon S3 API Reference, GetObjectAttributes."""
    found = await _find(call, request, body=False)
    await sse.key_of(call, found.stored, request, unwrap=False)
    wanted = set(request["ObjectAttributes"])
    response: dict[str, Any] = {"LastModified": datetime.fromtimestamp(found.modified, UTC)}
    if found.versioned:
        response["VersionId"] = found.version
    if "ETag" in wanted:
        response["ETag"] = found.etag
    if "ObjectSize" in wanted:
        response["ObjectSize"] = found.size
    if "StorageClass" in wanted:
        response["StorageClass"] = storage.of(found.stored)
    if "Checksum" in wanted and (told := _checksum(found)):
        response["Checksum"] = {name: value.partition("-")[0] for name, value in told.items()}
    parts = found.stored.get("parts")
    if "ObjectParts" in wanted and parts is not None:
        composite = checksums.kind(found.checksum) == "COMPOSITE"
        response["ObjectParts"] = _parts_page(parts, request) if composite else {"TotalPartsCount": len(parts)}
    return response


def _parts_page(parts: list[list[Any]], request: Request) -> dict[str, Any]:
    after, limit = int(request.get("PartNumberMarker", 0)), min(int(request.get("MaxParts", 1000)), 1000)
    page: list[dict[str, Any]] = []
    for number, (size, checksum) in enumerate(parts[after : after + limit], after + 1):
        members = checksums.members(checksum)
        members.pop("ChecksumType", None)
        page.append({"PartNumber": number, "Size": size, **members})
    told: dict[str, Any] = {"TotalPartsCount": len(parts), "PartNumberMarker": after, "MaxParts": limit}
    told["IsTruncated"] = after + limit < len(parts)
    told["NextPartNumberMarker"] = page[-1]["PartNumber"] if page else 0
    if page:
        told["Parts"] = page
    return told


def owner(account: str) -> dict[str, str]:
    """An `Owner`, as S3 writes it today: without a display name."""
    return {"ID": canonical_id(account)}
