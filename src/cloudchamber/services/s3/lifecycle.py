# SPDX-License-Identifier: Apache-2.0
"""Lifecycle configuration of buckets. Source: Amazon S3 User Guide, "Managing the lifecycle of objects"."""

from __future__ import annotations

import copy
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, rules, tables
from cloudchamber.services.s3.errors import InvalidRequest, MalformedXML, NoSuchLifecycleConfiguration
from cloudchamber.services.s3.part import live

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

_SIZES = (rules.ALL_SMALL, rules.VARYING)


@operation("PutBucketLifecycleConfiguration", needs=needs.on_bucket("s3:PutLifecycleConfiguration"))
async def put_bucket_lifecycle_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Replace the rules; what they end already is ended soon, all else at midnight UTC.

    Raises:
        MalformedXML, InvalidRequest, InvalidArgument: the rules are not valid; nothing changed.

    Source: Amazon S3 API Reference, PutBucketLifecycleConfiguration.
    """
    bucket = checks.bucket(call, request)
    size = request.get("TransitionDefaultMinimumObjectSize") or _SIZES[0]
    if size not in _SIZES:
        raise InvalidRequest(f"Invalid TransitionDefaultMinimumObjectSize found: {size}")
    given = request.get("LifecycleConfiguration", {}).get("Rules")
    if not given:
        raise MalformedXML()
    kept = {"Rules": rules.checked(given, lambda: ids.token(36)), "TransitionDefaultMinimumObjectSize": size}
    value = json.dumps(kept, separators=(",", ":"))
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, bucket.name, "lifecycle", value))
    live(call.doors).sweeper.look()
    return {"TransitionDefaultMinimumObjectSize": size}


@operation("GetBucketLifecycleConfiguration", needs=needs.on_bucket("s3:GetLifecycleConfiguration"))
async def get_bucket_lifecycle_configuration(call: Call, request: Request) -> dict[str, Any]:
    """The rules. Source: Amazon S3 API Reference, GetBucketLifecycleConfiguration."""
    bucket = checks.bucket(call, request)
    if not bucket.lifecycle:
        raise NoSuchLifecycleConfiguration(BucketName=bucket.name)
    told: dict[str, Any] = copy.deepcopy(dict(rules.read(bucket.lifecycle)))
    for rule in told["Rules"]:
        for one in (rule.get("Expiration", {}), *rule.get("Transitions", ())):
            if "Date" in one:
                one["Date"] = datetime.fromisoformat(one["Date"])
    return told


@operation("DeleteBucketLifecycle", needs=needs.on_bucket("s3:PutLifecycleConfiguration"))
async def delete_bucket_lifecycle(call: Call, request: Request) -> dict[str, Any]:
    """Remove the rules. Source: Amazon S3 API Reference, DeleteBucketLifecycle."""
    bucket = checks.bucket(call, request)
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, bucket.name, "lifecycle", None))
    return {}
