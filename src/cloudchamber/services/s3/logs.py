# SPDX-License-Identifier: Apache-2.0
"""Where a bucket's access log goes; and the taking note of answers.

Source: Amazon S3 User Guide, "Enabling Amazon S3 server access logging".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import acl, checks, needs, owning, settings, tables
from cloudchamber.services.s3.access_log import Served
from cloudchamber.services.s3.errors import (
    CrossLocationLoggingProhibited,
    InvalidTargetBucketForLogging,
    MalformedXML,
)
from cloudchamber.services.s3.names import canonical_id
from cloudchamber.services.s3.part import live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.track.track import Segment
    from cloudchamber.wire.http import HttpReply, HttpRequest
    from cloudchamber.wire.route import Routed

    Request = Mapping[str, Any]


@operation("PutBucketLogging", needs=needs.on_bucket("s3:PutBucketLogging"))
async def put_bucket_logging(call: Call, request: Request) -> dict[str, Any]:
    """Set where the log goes, or stop it. Source: Amazon S3 API Reference, PutBucketLogging."""
    bucket = checks.bucket(call, request)
    wanted: Request | None = request["BucketLoggingStatus"].get("LoggingEnabled")
    if wanted is not None:
        _check(call, bucket, wanted)
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "logging", wanted))
    live(call.doors).read_settings()
    return {}


def _check(call: Call, bucket: tables.Bucket, wanted: Request) -> None:
    name = wanted.get("TargetBucket", "")
    target = call.doors.database.read(lambda db: tables.find_bucket(db, name))
    if target is None:
        raise InvalidTargetBucketForLogging(TargetBucket=name)
    if target.account != bucket.account:
        raise InvalidTargetBucketForLogging(
            "The owner for the bucket to be logged and the target bucket must be the same.", TargetBucket=name
        )
    if target.region != bucket.region:
        if bucket.region == "us-east-1":
            raise CrossLocationLoggingProhibited(TargetBucketLocation=target.region)
        raise CrossLocationLoggingProhibited(SourceBucketLocation=bucket.region, TargetBucketLocation=target.region)
    grants = wanted.get("TargetGrants")
    if grants:
        asked = {"AccessControlPolicy": {"Owner": {"ID": canonical_id(bucket.account)}, "Grants": grants}}
        acl.put(asked, bucket.account, bucket.account, owning.people(call.doors))
    form = wanted.get("TargetObjectKeyFormat", {})
    source_of = form.get("PartitionedPrefix", {}).get("PartitionDateSource", "EventTime")
    if len(form) > 1 or source_of not in ("EventTime", "DeliveryTime"):
        raise MalformedXML()


@operation("GetBucketLogging", needs=needs.on_bucket("s3:GetBucketLogging"))
async def get_bucket_logging(call: Call, request: Request) -> dict[str, Any]:
    """Where the log goes; nothing while it is off. Source: Amazon S3 API Reference, GetBucketLogging."""
    kept = settings.get(call, checks.bucket(call, request).name, "logging")
    return {} if kept is None else {"LoggingEnabled": kept}


def served(doors: Doors, request: HttpRequest, routed: Routed, reply: HttpReply, segment: Segment) -> None:
    """Take note of an answer, if its bucket has a log."""
    log = live(doors).log
    if routed.bucket in log.targets:
        told = dict(reply.headers)
        length = told.get("Content-Length", "")
        sent = int(length) if length.isdecimal() else len(reply.body) if isinstance(reply.body, bytes) else 0
        log.served(Served(request, routed, segment, reply.status, sent, told.get("x-amz-id-2", "")))
