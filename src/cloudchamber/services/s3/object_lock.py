# SPDX-License-Identifier: Apache-2.0
"""Object Lock: versions that nobody deletes before their time, or while a legal hold is on.

A version's `lock` is JSON: ``Mode`` and ``Until`` (POSIX seconds), ``Hold`` (``ON``, ``OFF``), as far as they are set.

Source: Amazon S3 User Guide, "Locking objects with Object Lock"; Amazon S3 API Reference, PutObjectRetention.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, lookup, needs, tables, versions
from cloudchamber.services.s3.errors import (
    AccessForbidden,
    InvalidArgument,
    InvalidBucketState,
    InvalidRequest,
    InvalidRetentionPeriod,
    MalformedXML,
    NoSuchObjectLockConfiguration,
    ObjectLockConfigurationNotFoundError,
)
from cloudchamber.wire.errors import MissingRequestBodyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket, Object
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]

MODES = ("GOVERNANCE", "COMPLIANCE")
DAYS_MAX, YEARS_MAX = 36_500, 100
ENABLED = json.dumps({"ObjectLockEnabled": "Enabled"})
_PROTECTED = "Access Denied because object protected by object lock."
_MISSING = "Bucket is missing Object Lock Configuration"
_PACIFIC = timezone(timedelta(hours=-8))


def asked(bucket: Bucket, request: Request, now: datetime) -> dict[str, Any]:
    """The lock that the headers of a write ask for.

    Raises:
        InvalidArgument: it makes no sense.
        InvalidRequest: the bucket has no Object Lock.
    """
    mode, until = request.get("ObjectLockMode"), request.get("ObjectLockRetainUntilDate")
    hold = request.get("ObjectLockLegalHoldStatus")
    if mode is None and until is None and hold is None:
        return {}
    if (mode is None) != (until is None):
        lacking = "x-amz-object-lock-mode" if mode is None else "x-amz-object-lock-retain-until-date"
        raise InvalidArgument(
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied",
            ArgumentName=lacking,
        )
    if mode is not None and mode not in MODES:
        raise InvalidArgument(
            "Unknown wormMode directive.", ArgumentName="x-amz-object-lock-mode", ArgumentValue=str(mode)
        )
    if hold not in (None, "ON", "OFF"):
        raise InvalidArgument(
            "Legal Hold must be either of 'ON' or 'OFF'",
            ArgumentName="x-amz-object-lock-legal-hold",
            ArgumentValue=str(hold),
        )
    if until is not None:
        _check_future(until, now, "x-amz-object-lock-retain-until-date")
    if not bucket.object_lock:
        raise InvalidRequest(_MISSING)
    lock: dict[str, Any] = {}
    if mode is not None and until is not None:
        lock |= {"Mode": mode, "Until": until.timestamp()}
    if hold is not None:
        lock["Hold"] = hold
    return lock


def applied(bucket: Bucket, lock: Mapping[str, Any], now: datetime) -> str | None:
    """The lock of a new version: what was asked for, and the bucket's default where no retention was."""
    if not bucket.object_lock:
        return None
    rule = json.loads(bucket.object_lock).get("Rule", {}).get("DefaultRetention")
    if rule and "Mode" not in lock:
        days = timedelta(days=rule["Days"]) if "Days" in rule else timedelta(days=365 * rule["Years"])
        lock = {**lock, "Mode": rule["Mode"], "Until": (now + days).timestamp()}
    return json.dumps(lock) if lock else None


def check_delete(found: Object, now: datetime, *, bypass: bool) -> None:
    """Whether a version may be deleted for good.

    Raises:
        AccessForbidden: a legal hold or a retention is in force.
    """
    if not found.lock:
        return
    lock: dict[str, Any] = json.loads(found.lock)
    if lock.get("Hold") == "ON":
        raise AccessForbidden(_PROTECTED)
    if _in_force(lock, now) and not (bypass and lock["Mode"] == "GOVERNANCE"):
        raise AccessForbidden(_PROTECTED)


def check_bypass(bucket: Bucket, request: Request) -> bool:
    """Whether a request asks to bypass governance; only where there is Object Lock."""
    if "BypassGovernanceRetention" in request and not bucket.object_lock:
        raise InvalidArgument(
            "x-amz-bypass-governance-retention is only applicable to Object Lock enabled buckets.",
            ArgumentName="x-amz-bypass-governance-retention",
        )
    return bool(request.get("BypassGovernanceRetention"))


def told(found: Object) -> dict[str, Any]:
    """Members of GET and HEAD."""
    lock: dict[str, Any] = json.loads(found.lock or "{}")
    members: dict[str, Any] = {}
    if "Mode" in lock:
        members["ObjectLockMode"] = lock["Mode"]
        members["ObjectLockRetainUntilDate"] = datetime.fromtimestamp(lock["Until"], UTC)
    if "Hold" in lock:
        members["ObjectLockLegalHoldStatus"] = lock["Hold"]
    return members


def _in_force(lock: Mapping[str, Any], now: datetime) -> bool:
    return "Until" in lock and lock["Until"] > now.timestamp()


def _check_future(until: datetime, now: datetime, name: str) -> None:
    if until <= now:
        raise InvalidArgument(
            "The retain until date must be in the future!",
            ArgumentName=name,
            ArgumentValue=until.astimezone(_PACIFIC).strftime("%a %b %d %H:%M:%S PST %Y"),
        )


# The bucket's configuration ------------------------------------------------------------------------------------------


@operation("PutObjectLockConfiguration", needs=needs.on_bucket("s3:PutBucketObjectLockConfiguration"))
async def put_object_lock_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Turn Object Lock on, for good, and set the default retention.

    Raises:
        InvalidBucketState: the bucket keeps no versions.

    Source: Amazon S3 API Reference, PutObjectLockConfiguration.
    """
    bucket = checks.bucket(call, request)
    if "ObjectLockConfiguration" not in request:
        raise MissingRequestBodyError("Request Body is empty")
    value = json.dumps(_configuration(request["ObjectLockConfiguration"]))

    def change(tx: Tx) -> None:
        if tables.bucket(tx, bucket.name).versioning != versions.ENABLED:
            raise InvalidBucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
        tables.configure_bucket(tx, bucket.name, "object_lock", value)

    await call.doors.database.write(change)
    return {}


def _configuration(given: Request) -> dict[str, Any]:
    if given.get("ObjectLockEnabled") != "Enabled":
        raise MalformedXML()
    if "Rule" not in given:
        return {"ObjectLockEnabled": "Enabled"}
    default: Request = given["Rule"].get("DefaultRetention") or {}
    if default.get("Mode") not in MODES or ("Days" in default) == ("Years" in default):
        raise MalformedXML()
    unit, most = ("Days", DAYS_MAX) if "Days" in default else ("Years", YEARS_MAX)
    length = int(default[unit])
    if length <= 0:
        raise InvalidRetentionPeriod()
    if length > most:
        raise InvalidRetentionPeriod("Default retention period too large")
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": default["Mode"], unit: length}}}


@operation("GetObjectLockConfiguration", needs=needs.on_bucket("s3:GetBucketObjectLockConfiguration"))
async def get_object_lock_configuration(call: Call, request: Request) -> dict[str, Any]:
    """The configuration. Source: Amazon S3 API Reference, GetObjectLockConfiguration."""
    bucket = checks.bucket(call, request)
    if not bucket.object_lock:
        raise ObjectLockConfigurationNotFoundError(BucketName=bucket.name)
    return {"ObjectLockConfiguration": json.loads(bucket.object_lock)}


# Versions ------------------------------------------------------------------------------------------------------------


async def _locked(call: Call, request: Request, method: str) -> tuple[Bucket, Object]:
    bucket = checks.bucket(call, request)
    if not bucket.object_lock:
        raise InvalidRequest(_MISSING)
    return bucket, await lookup.existing(call, request, method=method, strict=True)


async def _change(
    call: Call, bucket: Bucket, request: Request, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """Set a version's lock from what it is inside the transaction."""

    def write(tx: Tx) -> None:
        version = request.get("VersionId")
        if version is None:
            now = tables.find_object(tx, bucket.name, request["Key"])
        else:
            now = versions.find(tx, bucket.name, request["Key"], version)
        if now is not None and not now.marker:
            lock: dict[str, Any] = change(json.loads(now.lock or "{}"))
            versions.change(tx, bucket.name, now, "lock", json.dumps(lock) if lock else None)

    await call.doors.database.write(write)
    return {}


@operation("PutObjectRetention", needs=needs.put_object_retention)
async def put_object_retention(call: Call, request: Request) -> dict[str, Any]:
    """Set, prolong, shorten or remove a version's retention.

    Raises:
        AccessForbidden: it would make a retention weaker that is in force. In governance mode the header (and the
            permission) to bypass it allows that; in compliance mode nothing does.

    Source: Amazon S3 API Reference, PutObjectRetention.
    """
    bucket, _ = await _locked(call, request, "PUT")
    wanted: Request = request.get("Retention") or {}
    mode, until = wanted.get("Mode"), wanted.get("RetainUntilDate")
    if (mode is None) != (until is None) or mode not in (None, *MODES):
        raise MalformedXML()
    if until is not None:
        _check_future(until, call.now, "RetainUntilDate")
    bypass = bool(request.get("BypassGovernanceRetention"))

    def change(lock: dict[str, Any]) -> dict[str, Any]:
        if _in_force(lock, call.now):
            weaker = until is None or until.timestamp() < lock["Until"] or mode != lock["Mode"]
            if weaker and not (bypass and lock["Mode"] == "GOVERNANCE"):
                raise AccessForbidden(_PROTECTED)
        kept = {"Hold": lock["Hold"]} if "Hold" in lock else {}
        return kept if until is None else {**kept, "Mode": mode, "Until": until.timestamp()}

    return await _change(call, bucket, request, change)


@operation("GetObjectRetention", needs=needs.of_lock("s3:GetObjectRetention"))
async def get_object_retention(call: Call, request: Request) -> dict[str, Any]:
    """A version's retention. Source: Amazon S3 API Reference, GetObjectRetention."""
    _, found = await _locked(call, request, "GET")
    members = told(found)
    if "ObjectLockMode" not in members:
        raise NoSuchObjectLockConfiguration()
    until = members["ObjectLockRetainUntilDate"]
    return {"Retention": {"Mode": members["ObjectLockMode"], "RetainUntilDate": until}}


@operation("PutObjectLegalHold", needs=needs.put_object_legal_hold)
async def put_object_legal_hold(call: Call, request: Request) -> dict[str, Any]:
    """Put a legal hold on a version, or take it off. Source: Amazon S3 API Reference, PutObjectLegalHold."""
    if not request.get("LegalHold"):
        raise MalformedXML()
    bucket, _ = await _locked(call, request, "PUT")
    status = request["LegalHold"].get("Status")
    if status not in ("ON", "OFF"):
        raise MalformedXML()

    def change(lock: dict[str, Any]) -> dict[str, Any]:
        return {**lock, "Hold": status}

    return await _change(call, bucket, request, change)


@operation("GetObjectLegalHold", needs=needs.of_lock("s3:GetObjectLegalHold"))
async def get_object_legal_hold(call: Call, request: Request) -> dict[str, Any]:
    """Whether a version is held. Source: Amazon S3 API Reference, GetObjectLegalHold."""
    _, found = await _locked(call, request, "GET")
    hold = told(found).get("ObjectLockLegalHoldStatus")
    if hold is None:
        raise NoSuchObjectLockConfiguration()
    return {"LegalHold": {"Status": hold}}
