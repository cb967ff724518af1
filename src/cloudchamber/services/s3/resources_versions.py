# SPDX-License-Identifier: Apache-2.0
"""Properties of CloudFormation's AWS::S3::Bucket about versions: versioning, Object Lock, lifecycle rules.

Source: AWS CloudFormation Template Reference, "AWS::S3::Bucket VersioningConfiguration", "... ObjectLockConfiguration",
"... LifecycleConfiguration" and "... Rule".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.resource import Property

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent

_TAG = Property(shape={"Key": Property(required=True), "Value": Property(required=True)})
_MOVE = Property(
    shape={
        "StorageClass": Property(required=True),
        "TransitionInDays": Property(),
        "TransitionDate": Property(),
    }
)
_NONCURRENT_MOVE = Property(
    shape={
        "StorageClass": Property(required=True),
        "TransitionInDays": Property(required=True),
        "NewerNoncurrentVersions": Property(),
    }
)
_RULE = Property(
    required=True,
    shape={
        "Id": Property(),
        "Status": Property(required=True),
        "Prefix": Property(),
        "TagFilters": _TAG,
        "ObjectSizeGreaterThan": Property(),
        "ObjectSizeLessThan": Property(),
        "ExpirationInDays": Property(),
        "ExpirationDate": Property(),
        "ExpiredObjectDeleteMarker": Property(),
        "NoncurrentVersionExpirationInDays": Property(),
        "Transition": _MOVE,
        "Transitions": _MOVE,
        "NoncurrentVersionTransition": _NONCURRENT_MOVE,
        "NoncurrentVersionTransitions": _NONCURRENT_MOVE,
        "NoncurrentVersionExpiration": Property(
            shape={"NoncurrentDays": Property(required=True), "NewerNoncurrentVersions": Property()}
        ),
        "AbortIncompleteMultipartUpload": Property(shape={"DaysAfterInitiation": Property(required=True)}),
    },
)
PROPERTIES = {
    "VersioningConfiguration": Property(shape={"Status": Property(required=True)}),
    "ObjectLockEnabled": Property("replace"),
    "ObjectLockConfiguration": Property(
        shape={
            "ObjectLockEnabled": Property(),
            "Rule": Property(
                shape={
                    "DefaultRetention": Property(shape={"Mode": Property(), "Days": Property(), "Years": Property()})
                }
            ),
        }
    ),
    "LifecycleConfiguration": Property(shape={"Rules": _RULE, "TransitionDefaultMinimumObjectSize": Property()}),
}
"""The properties, and how they are written."""


async def apply_versioning(agent: Agent, bucket: str, value: Any) -> None:
    """Begin to keep versions; without the property, keep no more."""
    status = "Suspended" if value is None else value["Status"]
    await agent.ask("s3", "PutBucketVersioning", {"Bucket": bucket, "VersioningConfiguration": {"Status": status}})


async def apply_object_lock(agent: Agent, bucket: str, value: Any) -> None:
    """Set the default retention."""
    made: dict[str, Any] = {"ObjectLockEnabled": "Enabled"}
    given: dict[str, Any] = value or {}
    rule: dict[str, Any] | None = given.get("Rule", {}).get("DefaultRetention")
    if rule:
        numbers = {name: int(rule[name]) for name in ("Days", "Years") if name in rule}
        made["Rule"] = {"DefaultRetention": {"Mode": rule.get("Mode"), **numbers}}
    await agent.ask("s3", "PutObjectLockConfiguration", {"Bucket": bucket, "ObjectLockConfiguration": made})


async def apply_lifecycle(agent: Agent, bucket: str, value: Any) -> None:
    """Replace the lifecycle rules."""
    if value is None:
        await agent.ask("s3", "DeleteBucketLifecycle", {"Bucket": bucket})
        return
    configuration = {"Rules": [_rule(given) for given in value["Rules"]]}
    request: dict[str, Any] = {"Bucket": bucket, "LifecycleConfiguration": configuration}
    if "TransitionDefaultMinimumObjectSize" in value:
        request["TransitionDefaultMinimumObjectSize"] = value["TransitionDefaultMinimumObjectSize"]
    await agent.ask("s3", "PutBucketLifecycleConfiguration", request)


def _rule(given: Mapping[str, Any]) -> dict[str, Any]:
    """A rule as S3's own API writes it."""
    rule: dict[str, Any] = {"Status": given["Status"], "Filter": _filter(given)}
    if "Id" in given:
        rule["ID"] = given["Id"]
    expiration: dict[str, Any] = {}
    if "ExpirationInDays" in given:
        expiration["Days"] = int(given["ExpirationInDays"])
    if "ExpirationDate" in given:
        expiration["Date"] = _moment(str(given["ExpirationDate"]))
    if "ExpiredObjectDeleteMarker" in given:
        expiration["ExpiredObjectDeleteMarker"] = str(given["ExpiredObjectDeleteMarker"]).lower() == "true"
    if expiration:
        rule["Expiration"] = expiration
    if "NoncurrentVersionExpirationInDays" in given:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(given["NoncurrentVersionExpirationInDays"])}
    for name in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
        if name in given:
            rule[name] = {member: int(number) for member, number in given[name].items()}
    moves = [_move(one) for one in _several(given, "Transition")]
    if moves:
        rule["Transitions"] = moves
    noncurrent = [_noncurrent_move(one) for one in _several(given, "NoncurrentVersionTransition")]
    if noncurrent:
        rule["NoncurrentVersionTransitions"] = noncurrent
    return rule


def _several(given: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """A property that may be written alone, under its old name, or as a list."""
    return [*([given[name]] if name in given else []), *given.get(f"{name}s", [])]


def _move(given: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {"StorageClass": given["StorageClass"]}
    if "TransitionInDays" in given:
        made["Days"] = int(given["TransitionInDays"])
    if "TransitionDate" in given:
        made["Date"] = _moment(str(given["TransitionDate"]))
    return made


def _noncurrent_move(given: Mapping[str, Any]) -> dict[str, Any]:
    made = {"StorageClass": given["StorageClass"], "NoncurrentDays": int(given["TransitionInDays"])}
    if "NewerNoncurrentVersions" in given:
        made["NewerNoncurrentVersions"] = int(given["NewerNoncurrentVersions"])
    return made


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValidationError(f"AWS::S3::Bucket: {text} is no date") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _filter(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if given.get("Prefix"):
        found["Prefix"] = given["Prefix"]
    for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan"):
        if name in given:
            found[name] = int(given[name])
    tags = [{"Key": tag["Key"], "Value": str(tag["Value"])} for tag in given.get("TagFilters", [])]
    if not tags and len(found) < 2:
        return found
    if len(tags) == 1 and not found:
        return {"Tag": tags[0]}
    return {"And": {**found, **({"Tags": tags} if tags else {})}}
