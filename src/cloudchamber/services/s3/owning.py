# SPDX-License-Identifier: Apache-2.0
"""Who owns a new object, and its ACL; and who may be named in ACLs here.

Source: Amazon S3 User Guide, "Controlling ownership of objects and disabling ACLs for your bucket" and "Blocking
public access to your Amazon S3 storage".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3 import acl
from cloudchamber.services.s3.acl import Acl, People
from cloudchamber.services.s3.errors import AccessControlListNotSupported, AccessForbidden

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.services.s3.tables import Bucket, Object

    Request = Mapping[str, Any]

_WITHOUT_ACLS = (None, "bucket-owner-full-control")


def people(doors: Doors) -> People:
    """The accounts here. Names and addresses count only with the older defaults, as they did then."""
    accounts = doors.identities.accounts.all()
    ids = {one.canonical_id: one.id for one in accounts}
    if not doors.legacy_buckets:
        return People(ids)
    return People(ids, {one.id: one.name for one in accounts}, {one.email: one.id for one in accounts if one.email})


def uploader(bucket: Bucket, stored: Mapping[str, Any]) -> str:
    """The account that will own the object of an upload."""
    kept = stored.get("acl")
    return kept["owner"] if kept and bucket.ownership != acl.ENFORCED else bucket.account


def blocks(bucket: Bucket, name: str) -> bool:
    """Whether a switch of the public access block is on, the bucket's own or its account's."""
    return any(json.loads(block).get(name) for block in (bucket.public_access_block, bucket.account_block) if block)


def writer(call: Call, bucket: Bucket) -> str:
    """The account that owns what this call writes, before Object Ownership has its say."""
    kind = call.principal.kind
    return acl.ANONYMOUS if kind == "anonymous" else bucket.account if kind == "service" else call.principal.account


def of_new(call: Call, bucket: Bucket, request: Request) -> Acl | None:
    """The ACL of a new object; None where it is the bucket owner's alone.

    Raises:
        AccessControlListNotSupported: the bucket has no ACLs, and this one would grant something.
        AccessForbidden: it is public, and the bucket blocks public ACLs.
    """
    said = request.get("ACL")
    headed = any(name.startswith("Grant") for name in request)
    if bucket.ownership == acl.ENFORCED:
        if said is not None:
            acl.canned(said, bucket.account, bucket.account)
        if said not in _WITHOUT_ACLS or headed:
            raise AccessControlListNotSupported()
        return None
    owner = writer(call, bucket)
    if owner == bucket.account and said is None and not headed:
        return None
    full = said == "bucket-owner-full-control"
    if not full and headed and bucket.ownership == "BucketOwnerPreferred":
        asked = acl.asked(request, owner, bucket.account, people(call.doors))
        full = asked is not None and (f"account:{bucket.account}", "FULL_CONTROL") in asked.grants
    if full and bucket.ownership == "BucketOwnerPreferred":
        owner = bucket.account
    made = acl.asked(request, owner, bucket.account, people(call.doors)) or acl.private(owner)
    check_public(call, bucket, made, "s3:PutObject", f"{bucket.name}/{request['Key']}")
    return None if made == acl.private(bucket.account) else made


def stored_acl(call: Call, bucket: Bucket, request: Request) -> dict[str, Any]:
    """The same, as an object's `stored` keeps it."""
    made = of_new(call, bucket, request)
    return {} if made is None else {"acl": made.kept()}


def check_public(call: Call, bucket: Bucket, made: Acl, action: str, resource: str) -> None:
    """Refuse a public ACL where public ACLs are blocked."""
    if made.public and blocks(bucket, "BlockPublicAcls"):
        raise AccessForbidden(
            f"User: {call.principal.arn} is not authorized to perform: {action} on resource: "
            f'"arn:aws:s3:::{resource}" because public ACLs are prevented by the BlockPublicAcls setting in S3 Block '
            "Public Access."
        )


def of_object(bucket: Bucket, found: Object) -> Acl:
    """The ACL of an object that is there; the owner's alone while the bucket owner is enforced."""
    if bucket.ownership == acl.ENFORCED:
        return acl.private(bucket.account)
    return acl.kept(found.stored.get("acl"), bucket.account)


def of_bucket(bucket: Bucket, kept: str | None) -> Acl:
    """The ACL of a bucket."""
    if bucket.ownership == acl.ENFORCED or not kept:
        return acl.private(bucket.account)
    return acl.kept(json.loads(kept), bucket.account)
