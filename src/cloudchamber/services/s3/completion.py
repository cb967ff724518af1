# SPDX-License-Identifier: Apache-2.0
"""From parts to an object. Source: Amazon S3 API Reference, CompleteMultipartUpload."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3 import checksums, content, labels, object_lock, tables
from cloudchamber.services.s3.errors import (
    BadDigest,
    EntityTooLarge,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
    MalformedXML,
)
from cloudchamber.services.s3.part import live
from cloudchamber.services.s3.tables import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Part, Upload

    Request = Mapping[str, Any]

PART_MIN = 5 * 1024**2
OBJECT_MAX = 50 * 1024**4


def choose(call: Call, upload: Upload, request: Request) -> list[Part]:
    """The parts that the request names, in order, each as it was uploaded."""
    wanted: list[Request] = request.get("MultipartUpload", {}).get("Parts", [])
    if not wanted:
        if call.doors.legacy_buckets and "MultipartUpload" not in request:
            raise MalformedXML()  # Why: so S3 said in 2022 (aws/aws-cli, issue 6966)
        raise InvalidRequest("You must specify at least one part")
    numbers = [int(one.get("PartNumber", 0)) for one in wanted]
    if any(b <= a for a, b in pairwise(numbers)):
        raise InvalidPartOrder(UploadId=upload.id)
    there = {part.number: part for part in call.doors.database.read(lambda db: tables.parts(db, upload.id))}
    mode = upload.checksum_type if upload.checksum_algorithm else "null"
    if request.get("ChecksumType", mode) != mode:
        raise InvalidRequest(
            f"The upload was created using the {mode} checksum mode. The complete request must use the same checksum "
            "mode."
        )
    _check_complete(upload, wanted)
    chosen: list[Part] = []
    for one, number in zip(wanted, numbers, strict=True):
        part = there.get(number)
        etag = str(one.get("ETag", "")).strip('"')
        if part is None or etag != part.etag or not _same_checksum(upload, part, one):
            raise InvalidPart(UploadId=upload.id, PartNumber=str(number), ETag=etag)
        chosen.append(part)
    for part in chosen[:-1]:
        if part.size < PART_MIN:
            raise EntityTooSmall(
                ProposedSize=str(part.size),
                MinSizeAllowed=str(PART_MIN),
                PartNumber=str(part.number),
                ETag=part.etag,
            )
    size = sum(part.size for part in chosen)
    if size > OBJECT_MAX:
        raise EntityTooLarge(ProposedSize=str(size), MaxSizeAllowed=str(OBJECT_MAX))
    if "MpuObjectSize" in request and int(request["MpuObjectSize"]) != size:
        raise InvalidRequest(
            f"The provided 'x-amz-mp-object-size' header value {request['MpuObjectSize']} does not match what was "
            f"computed: {size}"
        )
    return chosen


def _check_complete(upload: Upload, wanted: list[Request]) -> None:
    """A checksum of checksums wants each of them said, and no others: recorded on AWS."""
    if upload.checksum_type != "COMPOSITE":
        return
    member = f"Checksum{upload.checksum_algorithm}"
    for one in wanted:
        others = [name for name in checksums.WIDTHS if f"Checksum{name}" in one and name != upload.checksum_algorithm]
        if others:
            raise BadDigest(
                f"The {others[0].lower()} you specified for part {one.get('PartNumber')} did not match what we "
                "received."
            )
        if member not in one:
            raise InvalidRequest(
                f"The upload was created using a {upload.checksum_algorithm.lower()} checksum. The complete request "
                f"must include the checksum for each part. It was missing for part {one.get('PartNumber')} in the "
                "request."
            )


def _same_checksum(upload: Upload, part: Part, one: Request) -> bool:
    if not upload.checksum_algorithm:  # Why: an upload that was begun without one knows none of its parts'
        return not any(f"Checksum{name}" in one for name in checksums.WIDTHS)
    algorithm, _, value = part.checksum.partition(":")
    given = one.get(f"Checksum{algorithm}")
    return given is None or given == value


def checksum(upload: Upload, chosen: list[Part], request: Request) -> str:
    """The object's checksum, compared with the client's."""
    algorithm = upload.checksum_algorithm or checksums.DEFAULT
    values = [part.checksum.partition(":")[2] for part in chosen]
    if upload.checksum_type == "COMPOSITE":
        value = checksums.composite(algorithm, values)
    else:
        value = checksums.combined(algorithm, [(v, p.size) for v, p in zip(values, chosen, strict=True)])
    if not _as_said(upload, algorithm, value, request):
        raise BadDigest(f"The {algorithm.lower()} you specified did not match the calculated checksum.")
    return f"{algorithm}:{value}"


def _as_said(upload: Upload, algorithm: str, value: str, request: Request) -> bool:
    """Whether what the client says is the object's checksum; for one of the whole object it must say its type, too."""
    said = {name: request[f"Checksum{name}"] for name in checksums.WIDTHS if f"Checksum{name}" in request}
    if not upload.checksum_algorithm or not said:  # Why: S3 looks at nothing that is said of an upload without one
        return True
    if upload.checksum_type == "FULL_OBJECT":
        return "ChecksumType" in request and said == {algorithm: value}
    return algorithm not in said or said[algorithm] in (value, value.partition("-")[0])


async def publish(
    call: Call, upload: Upload, chosen: list[Part], etag: str, checksum_value: str, request: Request
) -> content.Published:
    """One file of all parts, then the object and the end of the upload in one write."""
    stored = {
        name: upload.stored[name] for name in ("headers", "metadata", "acl", "sse", "class") if name in upload.stored
    }
    given = upload.checksum_algorithm != ""
    stored["upload"] = upload.id
    if upload.stored.get("encrypt"):
        stored["nonces"] = [[part.size, part.nonce] for part in chosen]
    stored["parts"] = [[part.size, part.checksum if given else ""] for part in chosen]
    bucket = call.doors.database.read(lambda db: tables.bucket(db, upload.bucket))
    tags: dict[str, str] = json.loads(upload.tags) if upload.tags else {}
    lock = object_lock.applied(bucket, upload.stored.get("lock", {}), call.now)
    draft = labels.draft(call, live(call.doors).keeper, bucket, upload.key, tags, stored, lock).named()
    size = sum(part.size for part in chosen)
    whole = await _join(call, chosen, size, draft, draft.label(size, etag, checksum_value, None))
    made = content.Publication(
        upload.bucket,
        upload.key,
        whole,
        etag,
        checksum_value,
        tags,
        stored,
        "ObjectCreated:CompleteMultipartUpload",
        request,
        upload.id,
        upload.stored.get("lock", {}),
    )
    done = await content.publish(call, made)
    call.note(bytes=whole.size, parts=len(chosen))
    return done


async def _join(
    call: Call, chosen: list[Part], size: int, draft: labels.Draft, label: Callable[[str], bytes] | None
) -> Content:
    blobs = live(call.doors).blobs
    if len(chosen) == 1:
        blob = await blobs.link(chosen[0].blob, label)
    else:
        blob = (await blobs.join([(part.blob, 0, part.size) for part in chosen], label)).id
    return Content(size, blob=blob, seq=draft.seq, version=draft.version)
