# SPDX-License-Identifier: Apache-2.0
"""What every request of S3 is checked for: the bucket, its expected owner, and what is not implemented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.services.s3 import storage, tables
from cloudchamber.services.s3.errors import (
    AccessForbidden,
    InvalidBucketOwnerAWSAccountID,
    NoSuchKey,
    NoSuchVersion,
    Unimplemented,
)
from cloudchamber.services.s3.names import check_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket

_REFUSED = {
    "ObjectLockEventHold": "x-amz-object-lock-event-hold",
    "ObjectLockEventHoldDurationDays": "x-amz-object-lock-event-hold-duration-days",
    "ObjectLockEventHoldDurationYears": "x-amz-object-lock-event-hold-duration-years",
    "ChecksumSHA512": "x-amz-checksum-sha512",
    "ChecksumMD5": "x-amz-checksum-md5",
    "ChecksumXXHASH64": "x-amz-checksum-xxhash64",
    "ChecksumXXHASH3": "x-amz-checksum-xxhash3",
    "ChecksumXXHASH128": "x-amz-checksum-xxhash128",
    "WriteOffsetBytes": "x-amz-write-offset-bytes",
    "MFA": "x-amz-mfa",
}


def bucket(call: Call, request: Mapping[str, Any]) -> Bucket:
    """The bucket that a request names.

    Raises:
        NoSuchBucket: there is none.
        AccessForbidden: its owner is not the expected one.
    """
    name = request["Bucket"]
    found = tables.known_bucket(call.doors.database, name)
    expected(found, request.get("ExpectedBucketOwner"))
    if name in call.doors.parts["s3"].payers:
        _pays(call, found, request)
    return found


def _pays(call: Call, found: Bucket, request: Mapping[str, Any]) -> None:
    """Who is not of the owner's account must say that it pays; who did not sign cannot.

    Source: Amazon S3 User Guide, "Using Requester Pays general purpose buckets for storage transfers and usage".
    """
    who = call.principal
    if who.kind == "service" or who.account == found.account:
        return
    if who.kind == "anonymous" or request.get("RequestPayer") != "requester":
        raise AccessForbidden("Bucket is a requester pays bucket")


def expected(found: Bucket, owner: str | None) -> None:
    """Compare `x-amz-expected-bucket-owner`. Source: Amazon S3 User Guide, "Verifying bucket ownership"."""
    if owner is None or owner == found.account:
        return
    if not (len(owner) == 12 and owner.isdigit()):
        raise InvalidBucketOwnerAWSAccountID(
            f"The value of the expected bucket owner parameter must be an AWS Account ID... [{owner}]"
        )
    raise AccessForbidden()


def refuse(request: Mapping[str, Any]) -> None:
    """Refuse by name what would change what an object is, and is not implemented."""
    for member, header in _REFUSED.items():
        if member in request:
            raise Unimplemented(f"{header} is not implemented by this chamber yet", Header=header)
    storage.check(request.get("StorageClass") or storage.STANDARD)


def version(request: Mapping[str, Any]) -> None:
    """Objects of a bucket without versioning have the version ``null`` only."""
    wanted = request.get("VersionId")
    if wanted not in (None, "", "null"):
        raise NoSuchVersion(Key=request["Key"], VersionId=wanted)


def key(request: Mapping[str, Any]) -> str:
    """The key, checked."""
    check_key(request["Key"])
    return request["Key"]


async def missing(call: Call, bucket_name: str, key_name: str) -> ServiceError:
    """The error for a key that is not there: who may not list the bucket by it may not know, and is told why.

    Source: Amazon S3 API Reference, GetObject, "Permissions"; the words as S3 has them since 2025 ("... is not
    authorized to perform: s3:ListBucket on resource: ...").
    """
    owner = call.doors.database.peek(lambda db: tables.bucket(db, bucket_name)).account
    if call.principal.kind != "root" or call.account != owner:
        try:
            await call.ask("s3", "ListObjectsV2", {"Bucket": bucket_name, "Prefix": key_name, "MaxKeys": 0})
        except AccessDenied as error:
            return AccessForbidden(error.message)
        except ServiceError:
            return AccessForbidden()
    return NoSuchKey(Key=key_name)
