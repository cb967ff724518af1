# SPDX-License-Identifier: Apache-2.0
"""What no bucket here has, because it cannot be set yet: asked for it, S3 says that it is not there.

These answers are true, and clients that look before they act (Terraform, CDK) go on. Setting any of it is refused.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, tables
from cloudchamber.services.s3.errors import (
    NoSuchCORSConfiguration,
    NoSuchLifecycleConfiguration,
    NoSuchWebsiteConfiguration,
    ObjectLockConfigurationNotFoundError,
    ReplicationConfigurationNotFoundError,
)
from cloudchamber.services.s3.listing import encoding, key_page, limit_of
from cloudchamber.services.s3.names import canonical_id, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]


@operation("GetBucketCors", needs=needs.on_bucket("s3:GetBucketCORS"))
async def get_bucket_cors(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketCors."""
    raise NoSuchCORSConfiguration(BucketName=checks.bucket(call, request).name)


@operation("GetBucketLifecycleConfiguration", needs=needs.on_bucket("s3:GetLifecycleConfiguration"))
async def get_bucket_lifecycle_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketLifecycleConfiguration."""
    raise NoSuchLifecycleConfiguration(BucketName=checks.bucket(call, request).name)


@operation("GetBucketWebsite", needs=needs.on_bucket("s3:GetBucketWebsite"))
async def get_bucket_website(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketWebsite."""
    raise NoSuchWebsiteConfiguration(BucketName=checks.bucket(call, request).name)


@operation("GetBucketReplication", needs=needs.on_bucket("s3:GetReplicationConfiguration"))
async def get_bucket_replication(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetBucketReplication."""
    checks.bucket(call, request)
    raise ReplicationConfigurationNotFoundError()


@operation("GetObjectLockConfiguration", needs=needs.on_bucket("s3:GetBucketObjectLockConfiguration"))
async def get_object_lock_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Source: Amazon S3 API Reference, GetObjectLockConfiguration."""
    raise ObjectLockConfigurationNotFoundError(BucketName=checks.bucket(call, request).name)


@operation("GetBucketLogging", needs=needs.on_bucket("s3:GetBucketLogging"))
async def get_bucket_logging(call: Call, request: Request) -> dict[str, Any]:
    """Off. Source: Amazon S3 API Reference, GetBucketLogging."""
    checks.bucket(call, request)
    return {}


@operation("GetBucketAccelerateConfiguration", needs=needs.on_bucket("s3:GetAccelerateConfiguration"))
async def get_bucket_accelerate_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Never set. Source: Amazon S3 API Reference, GetBucketAccelerateConfiguration."""
    checks.bucket(call, request)
    return {}


@operation("GetBucketRequestPayment", needs=needs.on_bucket("s3:GetBucketRequestPayment"))
async def get_bucket_request_payment(call: Call, request: Request) -> dict[str, Any]:
    """The owner pays. Source: Amazon S3 API Reference, GetBucketRequestPayment."""
    checks.bucket(call, request)
    return {"Payer": "BucketOwner"}


@operation("ListObjectVersions", needs=needs.on_bucket("s3:ListBucketVersions"))
async def list_object_versions(call: Call, request: Request) -> dict[str, Any]:
    """Every object has one version, ``null``. Source: Amazon S3 API Reference, ListObjectVersions."""
    bucket = checks.bucket(call, request)
    encoding(request)
    limit, prefix, delimiter = limit_of(request), request.get("Prefix", ""), request.get("Delimiter", "")
    marker = request.get("KeyMarker", "")
    found = call.doors.database.read(lambda db: key_page(db, bucket.name, prefix, delimiter, marker, limit))
    response: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "KeyMarker": marker,
        "VersionIdMarker": request.get("VersionIdMarker", ""),
        "MaxKeys": limit,
        "IsTruncated": found.truncated,
    }
    if found.truncated:
        response |= {"NextKeyMarker": found.last, "NextVersionIdMarker": "null"}
    for member in ("Delimiter", "EncodingType"):
        if request.get(member):
            response[member] = request[member]
    if found.objects:
        response["Versions"] = [_version(row, bucket) for row in found.objects]
    if found.prefixes:
        response["CommonPrefixes"] = [{"Prefix": p} for p in found.prefixes]
    return response


def _version(row: Any, bucket: tables.Bucket) -> dict[str, Any]:
    return {
        "Key": row["key"],
        "VersionId": "null",
        "IsLatest": True,
        "LastModified": datetime.fromtimestamp(row["modified"], UTC),
        "ETag": quoted(row["etag"]),
        "Size": row["size"],
        "StorageClass": "STANDARD",
        "Owner": {"ID": canonical_id(bucket.account)},
    }
