# SPDX-License-Identifier: Apache-2.0
"""Configurations that are validated and kept, and given back as they were put.

Inventories, metrics, analytics and intelligent tiering make nothing here: there are no reports, no CloudWatch, and one
kind of storage. Transfer acceleration has nothing to speed up; its host names are answered all the same. That others
pay is in force: who is not of the bucket's account must say so.

Source: Amazon S3 API Reference, each operation.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, settings
from cloudchamber.services.s3.errors import (
    IdMismatch,
    InvalidRequest,
    InvalidS3DestinationBucket,
    MalformedXML,
    NoSuchConfiguration,
    S3Error,
    TooManyConfigurations,
)
from cloudchamber.services.s3.part import live

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]

PAGE = 100
KEPT_MAX = 1000
_ARN = re.compile(r"arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FIELDS = frozenset(
    ("Size", "LastModifiedDate", "StorageClass", "ETag", "IsMultipartUploaded", "ReplicationStatus", "EncryptionStatus",
     "ObjectLockRetainUntilDate", "ObjectLockMode", "ObjectLockLegalHoldStatus", "IntelligentTieringAccessTier",
     "BucketKeyStatus", "ChecksumAlgorithm", "ObjectAccessControlList", "ObjectOwner", "LifecycleExpirationDate")
)  # fmt: skip


def _inventory(kept: Request) -> None:
    target: Request = kept["Destination"]["S3BucketDestination"]
    if not _ARN.fullmatch(target["Bucket"]):
        raise InvalidS3DestinationBucket()
    known = (
        target["Format"] in ("CSV", "ORC", "Parquet")
        and kept["Schedule"]["Frequency"] in ("Daily", "Weekly")
        and kept["IncludedObjectVersions"] in ("All", "Current")
        and _FIELDS.issuperset(kept.get("OptionalFields") or ())
    )
    if not known:
        raise MalformedXML()


def _metrics(kept: Request) -> None:
    if "Filter" in kept and not kept["Filter"]:
        raise MalformedXML()


def _analytics(kept: Request) -> None:
    export = kept["StorageClassAnalysis"].get("DataExport")
    if export is not None:
        target = export["Destination"]["S3BucketDestination"]
        if not _ARN.fullmatch(target["Bucket"]) or target["Format"] != "CSV" or export["OutputSchemaVersion"] != "V_1":
            raise MalformedXML()


def _tiering(kept: Request) -> None:
    days = {"ARCHIVE_ACCESS": 90, "DEEP_ARCHIVE_ACCESS": 180}
    tiers = kept["Tierings"]
    if not tiers or kept["Status"] not in ("Enabled", "Disabled"):
        raise MalformedXML()
    for tier in tiers:
        if tier["AccessTier"] not in days or not days[tier["AccessTier"]] <= int(tier["Days"]) <= 730:
            raise MalformedXML()


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of configuration, of which a bucket has several by id. `name`: ``Inventory``."""

    name: str
    check: Callable[[Request], None]
    mismatch: type[S3Error] = MalformedXML

    @property
    def member(self) -> str:
        """Member of requests and responses."""
        return f"{self.name}Configuration"

    def place(self, request: Request) -> str:
        """Name of the setting."""
        return f"{self.name.lower()}:{request['Id']}"

    async def put(self, call: Call, request: Request) -> dict[str, Any]:
        """Keep one."""
        bucket = checks.bucket(call, request)
        kept, place = request[self.member], self.place(request)
        if kept["Id"] != request["Id"]:
            raise self.mismatch()
        self.check(kept)

        def change(tx: Tx) -> None:
            old = settings.text(tx, bucket.name, place)
            if old is None and len(settings.listed(tx, bucket.name, self.name.lower())) >= KEPT_MAX:
                raise TooManyConfigurations()
            settings.put(tx, bucket.name, place, kept)

        await call.doors.database.write(change)
        return {}

    async def get(self, call: Call, request: Request) -> dict[str, Any]:
        """One, as it was put."""
        kept = settings.get(call, checks.bucket(call, request).name, self.place(request))
        if kept is None:
            raise NoSuchConfiguration()
        return {self.member: kept}

    async def delete(self, call: Call, request: Request) -> dict[str, Any]:
        """Forget one."""
        bucket, place = checks.bucket(call, request), self.place(request)

        def change(tx: Tx) -> None:
            if settings.text(tx, bucket.name, place) is None:
                raise NoSuchConfiguration()
            settings.put(tx, bucket.name, place, None)

        await call.doors.database.write(change)
        return {}

    async def page(self, call: Call, request: Request) -> dict[str, Any]:
        """A page of them, by id."""
        bucket, after = checks.bucket(call, request), request.get("ContinuationToken", "")
        found = call.doors.database.read(lambda db: settings.listed(db, bucket.name, self.name.lower()))
        found = [one for one in found if one["Id"] > after]
        shown = found[:PAGE]
        response: dict[str, Any] = {"IsTruncated": len(found) > PAGE}
        if shown:
            response[f"{self.member}List"] = shown
        if after:
            response["ContinuationToken"] = after
        if len(found) > PAGE:
            response["NextContinuationToken"] = shown[-1]["Id"]
        return response


_INVENTORY = _Kind("Inventory", _inventory, IdMismatch)
_METRICS = _Kind("Metrics", _metrics)
_ANALYTICS = _Kind("Analytics", _analytics)
_TIERING = _Kind("IntelligentTiering", _tiering)

PUT_INVENTORY = operation("PutBucketInventoryConfiguration", needs=needs.on_bucket("s3:PutInventoryConfiguration"))(
    _INVENTORY.put
)
GET_INVENTORY = operation("GetBucketInventoryConfiguration", needs=needs.on_bucket("s3:GetInventoryConfiguration"))(
    _INVENTORY.get
)
DELETE_INVENTORY = operation(
    "DeleteBucketInventoryConfiguration", needs=needs.on_bucket("s3:PutInventoryConfiguration")
)(_INVENTORY.delete)
LIST_INVENTORY = operation("ListBucketInventoryConfigurations", needs=needs.on_bucket("s3:GetInventoryConfiguration"))(
    _INVENTORY.page
)
PUT_METRICS = operation("PutBucketMetricsConfiguration", needs=needs.on_bucket("s3:PutMetricsConfiguration"))(
    _METRICS.put
)
GET_METRICS = operation("GetBucketMetricsConfiguration", needs=needs.on_bucket("s3:GetMetricsConfiguration"))(
    _METRICS.get
)
DELETE_METRICS = operation("DeleteBucketMetricsConfiguration", needs=needs.on_bucket("s3:PutMetricsConfiguration"))(
    _METRICS.delete
)
LIST_METRICS = operation("ListBucketMetricsConfigurations", needs=needs.on_bucket("s3:GetMetricsConfiguration"))(
    _METRICS.page
)
PUT_ANALYTICS = operation("PutBucketAnalyticsConfiguration", needs=needs.on_bucket("s3:PutAnalyticsConfiguration"))(
    _ANALYTICS.put
)
GET_ANALYTICS = operation("GetBucketAnalyticsConfiguration", needs=needs.on_bucket("s3:GetAnalyticsConfiguration"))(
    _ANALYTICS.get
)
DELETE_ANALYTICS = operation(
    "DeleteBucketAnalyticsConfiguration", needs=needs.on_bucket("s3:PutAnalyticsConfiguration")
)(_ANALYTICS.delete)
LIST_ANALYTICS = operation("ListBucketAnalyticsConfigurations", needs=needs.on_bucket("s3:GetAnalyticsConfiguration"))(
    _ANALYTICS.page
)
PUT_TIERING = operation(
    "PutBucketIntelligentTieringConfiguration", needs=needs.on_bucket("s3:PutIntelligentTieringConfiguration")
)(_TIERING.put)
GET_TIERING = operation(
    "GetBucketIntelligentTieringConfiguration", needs=needs.on_bucket("s3:GetIntelligentTieringConfiguration")
)(_TIERING.get)
DELETE_TIERING = operation(
    "DeleteBucketIntelligentTieringConfiguration", needs=needs.on_bucket("s3:PutIntelligentTieringConfiguration")
)(_TIERING.delete)
LIST_TIERING = operation(
    "ListBucketIntelligentTieringConfigurations", needs=needs.on_bucket("s3:GetIntelligentTieringConfiguration")
)(_TIERING.page)


@operation("PutBucketAccelerateConfiguration", needs=needs.on_bucket("s3:PutAccelerateConfiguration"))
async def put_bucket_accelerate_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Keep the state. Source: Amazon S3 API Reference, PutBucketAccelerateConfiguration."""
    bucket = checks.bucket(call, request)
    if "." in bucket.name:
        raise InvalidRequest("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
    status = request["AccelerateConfiguration"].get("Status")
    if status not in ("Enabled", "Suspended"):
        raise MalformedXML()
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "accelerate", status))
    return {}


@operation("GetBucketAccelerateConfiguration", needs=needs.on_bucket("s3:GetAccelerateConfiguration"))
async def get_bucket_accelerate_configuration(call: Call, request: Request) -> dict[str, Any]:
    """The state, if it was ever set. Source: Amazon S3 API Reference, GetBucketAccelerateConfiguration."""
    status = settings.get(call, checks.bucket(call, request).name, "accelerate")
    return {} if status is None else {"Status": status}


@operation("PutBucketRequestPayment", needs=needs.on_bucket("s3:PutBucketRequestPayment"))
async def put_bucket_request_payment(call: Call, request: Request) -> dict[str, Any]:
    """Who pays; in force for the next call. Source: Amazon S3 API Reference, PutBucketRequestPayment."""
    bucket = checks.bucket(call, request)
    payer = request["RequestPaymentConfiguration"]["Payer"]
    if payer not in ("Requester", "BucketOwner"):
        raise MalformedXML()
    value = payer if payer == "Requester" else None
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "payer", value))
    live(call.doors).read_settings()
    return {}


@operation("GetBucketRequestPayment", needs=needs.on_bucket("s3:GetBucketRequestPayment"))
async def get_bucket_request_payment(call: Call, request: Request) -> dict[str, Any]:
    """Who pays. Source: Amazon S3 API Reference, GetBucketRequestPayment."""
    return {"Payer": settings.get(call, checks.bucket(call, request).name, "payer") or "BucketOwner"}
