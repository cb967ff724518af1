# SPDX-License-Identifier: Apache-2.0
"""ACLs of buckets and objects, and Object Ownership."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import acl, checks, lookup, needs, owning, settings, tables, versions
from cloudchamber.services.s3.errors import (
    AccessControlListNotSupported,
    InvalidBucketAclWithObjectOwnership,
    MalformedXML,
    OwnershipControlsNotFoundError,
)
from cloudchamber.services.s3.names import OWNERSHIPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]


def _acl_of(call: Call, bucket: tables.Bucket) -> acl.Acl:
    return owning.of_bucket(bucket, call.doors.database.peek(lambda db: settings.text(db, bucket.name, "acl")))


@operation("PutBucketOwnershipControls", needs=needs.on_bucket("s3:PutBucketOwnershipControls"))
async def put_bucket_ownership_controls(call: Call, request: Request) -> dict[str, Any]:
    """Set Object Ownership.

    Raises:
        InvalidBucketAclWithObjectOwnership: the bucket's ACL grants something, and would count no more.

    Source: Amazon S3 API Reference, PutBucketOwnershipControls.
    """
    bucket = checks.bucket(call, request)
    rules: list[Request] = request["OwnershipControls"].get("Rules", [])
    if len(rules) != 1 or rules[0].get("ObjectOwnership") not in OWNERSHIPS:
        raise MalformedXML()
    ownership: str = rules[0]["ObjectOwnership"]

    def change(tx: Tx) -> None:
        now = tables.bucket(tx, bucket.name)
        made = owning.of_bucket(now, settings.text(tx, bucket.name, "acl"))
        if ownership == acl.ENFORCED and not made.private:
            raise InvalidBucketAclWithObjectOwnership()
        tables.configure_bucket(tx, bucket.name, "ownership", ownership)

    await call.doors.database.write(change)
    return {}


@operation("GetBucketOwnershipControls", needs=needs.on_bucket("s3:GetBucketOwnershipControls"))
async def get_bucket_ownership_controls(call: Call, request: Request) -> dict[str, Any]:
    """Object Ownership. Source: Amazon S3 API Reference, GetBucketOwnershipControls."""
    bucket = checks.bucket(call, request)
    if not bucket.ownership:
        raise OwnershipControlsNotFoundError(BucketName=bucket.name)
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": bucket.ownership}]}}


@operation("DeleteBucketOwnershipControls", needs=needs.on_bucket("s3:PutBucketOwnershipControls"))
async def delete_bucket_ownership_controls(call: Call, request: Request) -> dict[str, Any]:
    """Remove Object Ownership: ACLs count again. Source: Amazon S3 API Reference, DeleteBucketOwnershipControls."""
    bucket = checks.bucket(call, request)
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, bucket.name, "ownership", ""))
    return {}


@operation("GetBucketAcl", needs=needs.on_bucket("s3:GetBucketAcl"))
async def get_bucket_acl(call: Call, request: Request) -> dict[str, Any]:
    """The bucket's ACL. Source: Amazon S3 API Reference, GetBucketAcl."""
    bucket = checks.bucket(call, request)
    return acl.shown(_acl_of(call, bucket), owning.people(call.doors))


@operation("PutBucketAcl", needs=needs.on_bucket("s3:PutBucketAcl"))
async def put_bucket_acl(call: Call, request: Request) -> dict[str, Any]:
    """Set the bucket's ACL; in force for the next call.

    Raises:
        AccessControlListNotSupported: the bucket owner is enforced.
        AccessForbidden: it is public, and the bucket blocks public ACLs.

    Source: Amazon S3 API Reference, PutBucketAcl.
    """
    bucket = checks.bucket(call, request)
    made = acl.put(request, bucket.account, bucket.account, owning.people(call.doors))
    if bucket.ownership == acl.ENFORCED:
        if "ACL" in request or made.grants != acl.private(bucket.account).grants:
            raise AccessControlListNotSupported()
        return {}
    owning.check_public(call, bucket, made, "s3:PutBucketAcl", bucket.name)
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "acl", made.kept()))
    return {}


@operation("GetObjectAcl", needs=needs.on_object("s3:GetObjectAcl"))
async def get_object_acl(call: Call, request: Request) -> dict[str, Any]:
    """An object's ACL. Source: Amazon S3 API Reference, GetObjectAcl."""
    bucket = checks.bucket(call, request)
    found = await lookup.existing(call, request)
    return acl.shown(owning.of_object(bucket, found), owning.people(call.doors))


@operation("PutObjectAcl", needs=needs.on_object("s3:PutObjectAcl"))
async def put_object_acl(call: Call, request: Request) -> dict[str, Any]:
    """Set an object's ACL; in force for the next call. Source: Amazon S3 API Reference, PutObjectAcl."""
    bucket = checks.bucket(call, request)
    found = await lookup.existing(call, request, method="PUT", strict=True)
    owner = owning.of_object(bucket, found).owner
    made = acl.put(request, owner, bucket.account, owning.people(call.doors))
    if bucket.ownership == acl.ENFORCED:
        said = request.get("ACL", "bucket-owner-full-control") != "bucket-owner-full-control"
        if said or made.grants != acl.private(bucket.account).grants:
            raise AccessControlListNotSupported()
        return {}
    owning.check_public(call, bucket, made, "s3:PutObjectAcl", f"{bucket.name}/{found.key}")
    value = json.dumps({**found.stored, "acl": made.kept()}, separators=(",", ":"))
    await call.doors.database.write(lambda tx: versions.change(tx, bucket.name, found, "stored", value))
    return {}
