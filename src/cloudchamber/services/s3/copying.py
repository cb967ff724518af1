# SPDX-License-Identifier: Apache-2.0
"""Copies inside the chamber. Source: Amazon S3 API Reference, CopyObject and UploadPartCopy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import (
    checks,
    checksums,
    conditions,
    labels,
    lookup,
    needs,
    object_lock,
    owning,
    rules,
    sse,
    storage,
)
from cloudchamber.services.s3.checksums import Wanted
from cloudchamber.services.s3.content import PUT_MAX, Publication, Received, octets, publish, receive
from cloudchamber.services.s3.errors import InvalidArgument, InvalidRequest, MethodNotAllowed
from cloudchamber.services.s3.names import copy_source, quoted, source_version, tags_of_header
from cloudchamber.services.s3.objects import stored_of
from cloudchamber.services.s3.part import live
from cloudchamber.services.s3.tables import NULL, Content

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.sse import Encryption
    from cloudchamber.services.s3.tables import Bucket, Object

    Request = Mapping[str, Any]

_CHANGES = frozenset(("ServerSideEncryption", "SSECustomerAlgorithm", "StorageClass", "WebsiteRedirectLocation"))
"""What of an object a copy onto itself may change, besides its metadata."""


async def source(call: Call, request: Request) -> tuple[str, Object]:
    """The source of a copy, its conditions checked, with its octets if they are in a row.

    Raises:
        NoSuchBucket, NoSuchKey, PreconditionFailed
    """
    bucket_name, key = copy_source(request["CopySource"])
    version = source_version(request["CopySource"])
    asked: dict[str, Any] = {"Bucket": bucket_name, "Key": key}
    if "ExpectedSourceBucketOwner" in request:
        asked["ExpectedBucketOwner"] = request["ExpectedSourceBucketOwner"]
    if version:
        asked["VersionId"] = version
    try:
        found = await lookup.existing(call, asked, body=True)
    except MethodNotAllowed:
        raise InvalidRequest(
            "The source of a copy request may not specifically refer to a delete marker by version id."
        ) from None
    conditions.check_copy(found, request, call.now)
    storage.check_source(found, call.now)
    return bucket_name, found


@operation("CopyObject", needs=needs.copy_object)
async def copy_object(call: Call, request: Request) -> dict[str, Any]:
    """Copy an object; the copy appears whole or not at all.

    Source: Amazon S3 API Reference, CopyObject.
    """
    bucket = checks.bucket(call, request)
    key = checks.key(request)
    checks.refuse(request)
    owned = owning.stored_acl(call, bucket, request)
    conditions.check_write_form(request)
    metadata, tagging = request.get("MetadataDirective", "COPY"), request.get("TaggingDirective", "COPY")
    for name, value in (("x-amz-metadata-directive", metadata), ("x-amz-tagging-directive", tagging)):
        if value not in ("COPY", "REPLACE"):
            raise InvalidArgument(f"Unknown {name.split('-')[2]} directive.", ArgumentName=name, ArgumentValue=value)
    lock = object_lock.asked(bucket, request, call.now)
    source_bucket, found = await source(call, request)
    if found.size > PUT_MAX:
        raise InvalidRequest(
            f"The specified copy source is larger than the maximum allowable size for a copy source: {PUT_MAX}"
        )
    unchanged = metadata == "COPY" and not _CHANGES.intersection(request) and not _encrypts_anew(bucket, found)
    older = bool(source_version(request["CopySource"])) and bucket.versioning != ""
    if (source_bucket, found.key) == (bucket.name, key) and unchanged and not older:
        raise InvalidRequest(
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes."
        )
    stored = _kept(found, request) | storage.asked(request) if metadata == "COPY" else stored_of(request)
    stored |= owned
    if tagging == "COPY":
        tags = found.tag_values
    else:
        tags = tags_of_header(request["Tagging"]) if request.get("Tagging") else {}
    sealed = "nonce" in found.stored or "nonces" in found.stored  # Why: a copy is not kept more openly than its source
    encryption = await sse.wanted(call, bucket, request, None if sealed else found.size)
    stored |= encryption.stored
    kept = object_lock.applied(bucket, lock or {}, call.now)
    draft = labels.draft(call, live(call.doors).keeper, bucket, key, tags, stored, kept)
    made = await _duplicate(call, found, request, encryption, draft)
    publication = Publication(
        bucket.name, key, made.content, made.etag, made.checksum, tags, stored, "ObjectCreated:Copy", request, lock=lock
    )
    done = await publish(call, publication)
    result = {
        "ETag": quoted(made.etag),
        "LastModified": datetime.fromtimestamp(done.modified, UTC),
        **checksums.members(made.checksum),
    }
    response: dict[str, Any] = {"CopyObjectResult": result}
    if done.version:
        response["VersionId"] = done.version
    response |= source_told(found)
    expiration = rules.expiration(bucket.lifecycle, key, made.content.size, tags, done.modified)
    if expiration is not None:
        response["Expiration"] = expiration
    return response | encryption.told


def _encrypts_anew(bucket: Bucket, found: Object) -> bool:
    """Whether a copy onto itself that asks for nothing changes the encryption: recorded on AWS."""
    return bucket.encryption is not None or "sse" in found.stored


def source_told(found: Object) -> dict[str, str]:
    """`CopySourceVersionId`; S3 does not tell it of null versions."""
    return {"CopySourceVersionId": found.version} if found.versioned and found.version != NULL else {}


def _kept(found: Object, request: Request) -> dict[str, Any]:
    """Headers and metadata of the source; where a website redirects is never copied, but may be set anew."""
    kept = {name: found.stored[name] for name in ("headers", "metadata") if name in found.stored}
    headers = {name: value for name, value in kept.get("headers", {}).items() if name != "WebsiteRedirectLocation"}
    if "WebsiteRedirectLocation" in request:
        headers |= stored_of({"WebsiteRedirectLocation": request["WebsiteRedirectLocation"]})["headers"]
    return {**kept, "headers": headers} if headers else {n: v for n, v in kept.items() if n != "headers"}


async def _duplicate(
    call: Call, found: Object, request: Request, encryption: Encryption, draft: labels.Draft
) -> Received:
    """The octets once more: by a second name for the file where nothing about them changes, else anew."""
    algorithm = request.get("ChecksumAlgorithm") or checksums.algorithm_of(found.checksum)
    whole = "-" not in found.etag and checksums.kind(found.checksum) == "FULL_OBJECT"
    same = whole and algorithm == checksums.algorithm_of(found.checksum)
    key = await sse.key_of(call, found.stored, request, sse.COPIED)
    plain = not found.stored.keys() & {"sse", "wrong"} and encryption.kept is None
    if same and plain and encryption.on == ("nonce" in found.stored):
        nonce = found.stored.get("nonce")
        if found.blob is None:
            return Received(Content(found.size, data=found.data, nonce=nonce), found.etag, found.checksum)
        draft = draft.named()
        label = draft.label(found.size, found.etag, found.checksum, nonce)
        blob = await live(call.doors).blobs.link(found.blob, label)
        content = Content(found.size, blob=blob, nonce=nonce, seq=draft.seq, version=draft.version)
        return Received(content, found.etag, found.checksum)
    if algorithm not in checksums.WIDTHS:
        raise InvalidRequest("Value for x-amz-checksum-algorithm header is invalid.")
    wanted = Wanted(algorithm, "", "", False, checksums.new(algorithm))
    body = octets(call, found, 0, found.size, key)
    return await receive(call, body, wanted, {}, encryption=encryption, draft=draft)


def copied_range(request: Request, size: int) -> tuple[int, int]:
    """Offset and length of `x-amz-copy-source-range`: ``bytes=first-last``, both there and inside the source."""
    text = request.get("CopySourceRange")
    if text is None:
        return 0, size
    first, dash, last = text.removeprefix("bytes=").partition("-")
    valid = text.startswith("bytes=") and dash and first.isdecimal() and last.isdecimal()
    if not valid or int(first) > int(last):
        raise InvalidArgument(
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the "
            "zero-based offsets of the first and last bytes to copy",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    if int(first) >= size:
        raise InvalidRequest("The specified copy range is invalid for the source object size")
    if int(last) >= size:
        raise InvalidArgument(
            f"Range specified is not valid for source object of size: {size}",
            ArgumentName="x-amz-copy-source-range",
            ArgumentValue=text,
        )
    return int(first), int(last) - int(first) + 1
