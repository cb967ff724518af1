# SPDX-License-Identifier: Apache-2.0
"""Buckets: create, head, delete, list, and where they are."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import acl, checks, needs, object_lock, owning, settings, tables, versions
from cloudchamber.services.s3.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    IllegalLocationConstraint,
    InvalidArgument,
    InvalidBucketAclWithBlockPublicAccess,
    InvalidBucketAclWithObjectOwnership,
    InvalidLocationConstraint,
    InvalidTag,
    TooManyBuckets,
    Unimplemented,
)
from cloudchamber.services.s3.names import (
    BUCKET_TAGS_MAX,
    OWNERSHIPS,
    REGIONS,
    bucket_arn,
    check_bucket_name,
    tags_of_set,
)
from cloudchamber.services.s3.part import live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]

BUCKETS_MAX = 10_000
ALL_BLOCKED = json.dumps(
    dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
)
_LIMITS = frozenset(("BucketRegion", "ContinuationToken", "MaxBuckets", "Prefix"))
"""With one of these a listing tells regions. Source: Amazon S3 API Reference, Bucket, "BucketRegion"."""
_EU = "EU"
"""An older name of eu-west-1, which a bucket's location keeps."""
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")


def _location(call: Call, request: Request) -> str:
    """The bucket's region. Source: Amazon S3 API Reference, CreateBucket, "LocationConstraint"."""
    configuration = request.get("CreateBucketConfiguration", {})
    for member in ("Location", "Bucket"):
        if configuration.get(member):
            raise Unimplemented(f"{member}: directory buckets are not implemented by this chamber yet")
    wanted = _constraint(request)
    if wanted is None:
        if call.region != "us-east-1":
            raise IllegalLocationConstraint(
                "The unspecified location constraint is incompatible for the region specific endpoint this request "
                "was sent to."
            )
        return call.region
    region = "eu-west-1" if wanted == _EU else wanted
    known = _REGION.fullmatch(region) is not None
    if call.region == "us-east-1" and (wanted == "us-east-1" or not known):
        raise InvalidLocationConstraint(LocationConstraint=wanted)
    if call.region not in ("us-east-1", region) or not known:
        raise IllegalLocationConstraint(
            f"The {wanted} location constraint is incompatible for the region specific endpoint this request was sent "
            "to."
        )
    return region


def _tags(given: list[Request]) -> dict[str, str]:
    """Tags of a new bucket; S3 has other words here for those that begin like AWS's own."""
    for tag in given:
        if str(tag.get("Key", "")).lower().startswith("aws:"):
            raise InvalidTag(
                'User-defined tag keys can\'t start with "aws:". This prefix is reserved for system tags. Remove '
                '"aws:" from your tag keys and try again.'
            )
    return tags_of_set(given, BUCKET_TAGS_MAX)


def _constraint(request: Request) -> str | None:
    return request.get("CreateBucketConfiguration", {}).get("LocationConstraint")


@operation("CreateBucket", needs=needs.create_bucket)
async def create_bucket(call: Call, request: Request) -> dict[str, Any]:
    """Create a bucket, owner enforced and public access blocked, as S3 does since April 2023.

    Raises:
        BucketAlreadyExists: another account has it.
        BucketAlreadyOwnedByYou: it is there already; in us-east-1 that is a success.

    Source: Amazon S3 API Reference, CreateBucket.
    """
    name = request["Bucket"]
    check_bucket_name(name)
    region = _location(call, request)
    legacy = call.doors.legacy_buckets
    ownership = request.get("ObjectOwnership", "ObjectWriter" if legacy else acl.ENFORCED)
    if ownership not in OWNERSHIPS:
        raise InvalidArgument(
            f"Invalid x-amz-object-ownership header: {ownership}", ArgumentName="x-amz-object-ownership"
        )
    granted = _acl(call, request, ownership)
    if request.get("BucketNamespace", "global") != "global":
        raise Unimplemented(
            "Account regional namespaces are not implemented by this chamber yet", Header="x-amz-bucket-namespace"
        )
    tags = _tags(request.get("CreateBucketConfiguration", {}).get("Tags", []))
    created = float(int(call.now.timestamp()))

    def change(tx: Tx) -> None:
        old = tables.find_bucket(tx, name)
        if old is not None:
            if old.account != call.account:
                raise BucketAlreadyExists(BucketName=name)
            if call.region == region == old.region == "us-east-1" and not tags:
                # Why: creating a bucket again there "resets the bucket access control lists", also when none is sent
                settings.put(tx, name, "acl", None if granted is None else granted.kept())
                return
            raise BucketAlreadyOwnedByYou(BucketName=name)
        count = tx.execute("SELECT count(*) FROM s3_buckets WHERE account = ?", (call.account,)).fetchone()[0]
        if count >= BUCKETS_MAX:
            raise TooManyBuckets()
        block = None if legacy else ALL_BLOCKED
        tables.add_bucket(tx, name, call.account, region, created, ownership, block)
        if granted is not None:
            settings.put(tx, name, "acl", granted.kept())
        if tags:
            tables.configure_bucket(tx, name, "tags", json.dumps(tags))
        if _constraint(request) == _EU:
            settings.put(tx, name, "location", _EU)
        if request.get("ObjectLockEnabledForBucket"):
            tables.configure_bucket(tx, name, "versioning", versions.ENABLED)
            tables.configure_bucket(tx, name, "object_lock", object_lock.ENABLED)

    await call.doors.database.write(change)
    return {"Location": _address(call, name, region), "BucketArn": bucket_arn(name)}


def _address(call: Call, name: str, region: str) -> str:
    """Where a new bucket is: its path in us-east-1, its host name elsewhere."""
    host = call.headers.get("host") if call.headers is not None else ""
    if region == "us-east-1" or not host:
        return f"/{name}"
    return f"http://{host if host.startswith(f'{name}.') else f'{name}.{host}'}/"


def _says_acl(request: Request) -> bool:
    return "ACL" in request or any(name.startswith("Grant") for name in request)


def _acl(call: Call, request: Request, ownership: str) -> acl.Acl | None:
    """The ACL of a new bucket; None: the owner's alone."""
    made = acl.asked(request, call.account, call.account, owning.people(call.doors)) if _says_acl(request) else None
    if made is None or made == acl.private(call.account):
        return None
    if ownership == acl.ENFORCED:
        raise InvalidBucketAclWithObjectOwnership()
    if made.public and not call.doors.legacy_buckets:
        raise InvalidBucketAclWithBlockPublicAccess()
    return made


@operation("HeadBucket", needs=needs.on_bucket("s3:ListBucket"))
async def head_bucket(call: Call, request: Request) -> dict[str, Any]:
    """Whether the bucket exists and may be read. Source: Amazon S3 API Reference, HeadBucket."""
    bucket = checks.bucket(call, request)
    return {"BucketRegion": bucket.region, "BucketArn": bucket_arn(bucket.name), "AccessPointAlias": False}


@operation("DeleteBucket", needs=needs.on_bucket("s3:DeleteBucket"))
async def delete_bucket(call: Call, request: Request) -> dict[str, Any]:
    """Delete an empty bucket; unfinished uploads go with it. Source: Amazon S3 API Reference, DeleteBucket."""
    bucket = checks.bucket(call, request)

    def change(tx: Tx) -> list[str]:
        tables.bucket(tx, bucket.name)
        if not tables.is_empty(tx, bucket.name):
            more = ". You must delete all versions in the bucket." if bucket.versioning else ""
            raise BucketNotEmpty(BucketNotEmpty.text + more if more else "", BucketName=bucket.name)
        return tables.remove_bucket(tx, bucket.name)

    part = live(call.doors)
    part.blobs.delete(await call.doors.database.write(change))
    if bucket.name in part.log.targets or bucket.name in part.payers:
        part.read_settings()
    return {}


@operation("ListBuckets", needs=needs.list_buckets)
async def list_buckets(call: Call, request: Request) -> dict[str, Any]:
    """Buckets of the caller's account, by name. Source: Amazon S3 API Reference, ListBuckets."""
    limit = int(request.get("MaxBuckets", BUCKETS_MAX))
    if not 1 <= limit <= BUCKETS_MAX:
        raise InvalidArgument(
            "Argument max-buckets must be an integer between 1 and 10000",
            ArgumentName="max-buckets",
            ArgumentValue=str(limit),
        )
    after, prefix = _name_of(request.get("ContinuationToken", "")), request.get("Prefix", "")
    found = call.doors.database.read(lambda db: tables.buckets(db, call.account, after, prefix, BUCKETS_MAX))
    region = request.get("BucketRegion")
    if region:
        if region not in REGIONS:
            raise InvalidArgument(f"Argument value {region} is not a valid AWS Region", ArgumentName="bucket-region")
        found = [bucket for bucket in found if bucket.region == region]
    shown = found[:limit]
    response: dict[str, Any] = {"Owner": acl.owner_shown(call.account, owning.people(call.doors))}
    response["Buckets"] = [
        {
            "Name": bucket.name,
            "CreationDate": datetime.fromtimestamp(bucket.created, UTC),
            "BucketArn": bucket_arn(bucket.name),
            **({"BucketRegion": bucket.region} if _LIMITS.intersection(request) else {}),
        }
        for bucket in shown
    ]
    if prefix:
        response["Prefix"] = prefix
    if len(found) > limit:
        response["ContinuationToken"] = base64.b64encode(f"after {shown[-1].name}".encode()).decode()
    return response


def _name_of(token: str) -> str:
    """The name behind which a page begins, by the token of the page before."""
    try:
        text = base64.b64decode(token, validate=True).decode()
    except ValueError:
        text = "?"
    if token and not text.startswith("after "):
        raise InvalidArgument("The continuation token provided is incorrect", ArgumentName="continuation-token")
    return text.removeprefix("after ")


@operation("GetBucketLocation", needs=needs.on_bucket("s3:GetBucketLocation"))
async def get_bucket_location(call: Call, request: Request) -> dict[str, Any]:
    """Where the bucket is; nothing for us-east-1. Source: Amazon S3 API Reference, GetBucketLocation."""
    bucket = checks.bucket(call, request)
    if bucket.region == "us-east-1":
        return {}
    kept = settings.get(call, bucket.name, "location") if bucket.region == "eu-west-1" else None
    return {"LocationConstraint": kept or bucket.region}
