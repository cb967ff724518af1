# SPDX-License-Identifier: Apache-2.0
"""The object, or the version of one, that a request is about; and what S3 says where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3 import checks, tables, versions
from cloudchamber.services.s3.errors import AccessForbidden, MethodNotAllowed, NoSuchKey, NoSuchVersion
from cloudchamber.wire import scalars

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.errors import ServiceError
    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket, Object

    Request = Mapping[str, Any]


async def existing(
    call: Call, request: Request, *, body: bool = False, method: str = "GET", strict: bool = False
) -> Object:
    """The version that `VersionId` names, or the current one; with the octets of its body row if `body`.

    `strict`: a delete marker that is current is refused as one that is named, not as a key that is missing.

    Raises:
        NoSuchBucket, NoSuchKey, NoSuchVersion
        InvalidArgument: no version could have that id.
        MethodNotAllowed: it is a delete marker.
        AccessForbidden: the caller may hear only that there is none.
    """
    bucket, key, version = request["Bucket"], checks.key(request), request.get("VersionId")
    if version is None:
        found = call.doors.database.peek(lambda db: tables.find_object(db, bucket, key, body=body))
        if found is None or "ExpectedBucketOwner" in request:  # Why: else the bucket exists, for it is not empty
            checks.bucket(call, request)
        if found is None:
            raise await absent(call, bucket, key, method if strict else "")
        if call.missing_only:  # Why: it came after the decision
            raise AccessForbidden()
        return found
    owner = checks.bucket(call, request)
    named = version_of(owner, version)
    found = call.doors.database.read(lambda db: versions.find(db, bucket, key, named, body=body))
    if found is None:
        raise NoSuchVersion(Key=key, VersionId=version)
    if call.missing_only:
        raise AccessForbidden()
    if found.marker:
        raise refused(found, method)
    return found


def version_of(bucket: Bucket, version: str) -> str:
    """A version id, checked; in a bucket without versioning there is only ``null``."""
    if not bucket.versioning and version != versions.NULL:
        raise versions.unknown(version)
    return versions.checked(version)


def refused(marker: Object, method: str) -> MethodNotAllowed:
    """What S3 answers of a delete marker. Source: Amazon S3 User Guide, "Working with delete markers"."""
    headers = {
        "x-amz-delete-marker": "true",
        "x-amz-version-id": marker.version,
        "Allow": "DELETE",
        "Last-Modified": scalars.http_date(scalars.from_epoch(marker.modified)),
    }
    return MethodNotAllowed(headers=headers, Method=method, ResourceType="DeleteMarker")


async def absent(call: Call, bucket: str, key: str, method: str = "") -> ServiceError:
    """The error for a key without a current object: it may have a delete marker, which is told by header."""
    top = call.doors.database.peek(lambda db: versions.newest(db, bucket, key))
    if top is None:
        return await checks.missing(call, bucket, key)
    if method:
        return refused(top, method)
    error = await checks.missing(call, bucket, key)
    headers = {"x-amz-delete-marker": "true", "x-amz-version-id": top.version}
    return NoSuchKey(headers=headers, Key=key) if isinstance(error, NoSuchKey) else error
