# SPDX-License-Identifier: Apache-2.0
"""Notification configuration of buckets. Source: Amazon S3 User Guide, "Amazon S3 Event Notifications"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.arn import Arn
from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.identity import service_principal
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.s3 import checks, needs, tables
from cloudchamber.services.s3.errors import InvalidArgument, Unimplemented
from cloudchamber.services.s3.names import bucket_arn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket

    Request = Mapping[str, Any]

EVENTS = {
    "s3:ObjectCreated": ("Put", "Post", "Copy", "CompleteMultipartUpload"),
    "s3:ObjectRemoved": ("Delete", "DeleteMarkerCreated"),
    "s3:LifecycleExpiration": ("Delete", "DeleteMarkerCreated"),
    "s3:ObjectRestore": ("Post", "Completed", "Delete"),
    "s3": ("LifecycleTransition",),
}
CONFIGURATIONS_MAX = 100
_OTHER_EVENTS = ("s3:Object", "s3:Lifecycle", "s3:Replication", "s3:Intelligent", "s3:Reduced")
_OTHERS = {
    "TopicConfigurations": "Amazon SNS destinations",
    "QueueConfigurations": "Amazon SQS destinations",
    "EventBridgeConfiguration": "Amazon EventBridge",
}


@operation("PutBucketNotificationConfiguration", needs=needs.on_bucket("s3:PutBucketNotification"))
async def put_bucket_notification_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Replace the notification configuration, after it was seen that S3 may invoke each function.

    Raises:
        InvalidArgument: a function does not exist, or its policy does not let S3 in for this bucket; nothing changed.

    Source: Amazon S3 API Reference, PutBucketNotificationConfiguration.
    """
    bucket = checks.bucket(call, request)
    wanted: Request = request["NotificationConfiguration"]
    for member, kind in _OTHERS.items():
        if member in wanted and wanted[member] != []:
            raise Unimplemented(f"{kind} ({member}) are not implemented by this chamber yet")
    found = [_checked(c) for c in wanted.get("LambdaFunctionConfigurations", [])]
    if len(found) > CONFIGURATIONS_MAX:
        raise InvalidArgument("The number of notification configurations exceeds the limit of 100")
    if found and call.doors.database.shared:
        raise Unimplemented("Lambda runs on one machine only: chambers that share their state do not offer it")
    _check_ids(found)
    _check_overlap(found)
    if not request.get("SkipDestinationValidation"):
        for arn in dict.fromkeys(c["LambdaFunctionArn"] for c in found):
            _check_destination(call, bucket, arn)
    value = json.dumps({"LambdaFunctionConfigurations": found}) if found else None
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, bucket.name, "notification", value))
    return {}


@operation("GetBucketNotificationConfiguration", needs=needs.on_bucket("s3:GetBucketNotification"))
async def get_bucket_notification_configuration(call: Call, request: Request) -> dict[str, Any]:
    """The notification configuration. Source: Amazon S3 API Reference, GetBucketNotificationConfiguration."""
    bucket = checks.bucket(call, request)
    return json.loads(bucket.notification) if bucket.notification else {}


def _checked(given: Request) -> dict[str, Any]:
    """One configuration, its events and filter checked, with an id."""
    for event in given["Events"]:
        kind, _, name = event.rpartition(":")
        if name == "*" and kind in EVENTS and kind != "s3":
            continue
        if name not in EVENTS.get(kind, ()):
            if event.startswith(_OTHER_EVENTS):
                raise Unimplemented(f"Event {event} is not implemented by this chamber yet")
            raise InvalidArgument(
                "The event is not supported for notifications", ArgumentName="Event", ArgumentValue=event
            )
    rules: list[Request] = given.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    names = [str(rule.get("Name", "")).lower() for rule in rules]
    if set(names) - {"prefix", "suffix"}:
        raise InvalidArgument("filter rule name must be either prefix or suffix", ArgumentName="FilterRule.Name")
    for name in ("prefix", "suffix"):
        if names.count(name) > 1:
            raise InvalidArgument(
                f"Cannot specify more than one {name} rule in a filter.", ArgumentName="FilterRule.Name"
            )
    kept = {"Id": given.get("Id") or ids.request_id(), "LambdaFunctionArn": given["LambdaFunctionArn"]}
    made: dict[str, Any] = {**kept, "Events": list(given["Events"])}
    if rules:
        clean = [{"Name": name.capitalize(), "Value": r.get("Value", "")} for name, r in zip(names, rules, strict=True)]
        made["Filter"] = {"Key": {"FilterRules": clean}}
    return made


def _check_ids(found: list[dict[str, Any]]) -> None:
    named = [c["Id"] for c in found]
    if len(set(named)) != len(named):
        raise InvalidArgument("Same ID used for multiple configurations. IDs must be unique", ArgumentName="Id")


def _check_overlap(found: list[dict[str, Any]]) -> None:
    """No two configurations may want the same event of the same key."""
    for index, one in enumerate(found):
        for other in found[:index]:
            if not _all_events(one) & _all_events(other):
                continue
            (prefix, suffix), (prefix2, suffix2) = _filter(one), _filter(other)
            prefixes = prefix.startswith(prefix2) or prefix2.startswith(prefix)
            if prefixes and (suffix.endswith(suffix2) or suffix2.endswith(suffix)):
                raise InvalidArgument(
                    "Configurations overlap. Configurations on the same bucket cannot share a common event type."
                )


def _all_events(configuration: Request) -> set[str]:
    found: set[str] = set()
    for event in configuration["Events"]:
        kind, _, name = event.rpartition(":")
        found.update(f"{kind}:{n}" for n in (EVENTS[kind] if name == "*" else (name,)))
    return found


def _filter(configuration: Request) -> tuple[str, str]:
    rules = {r["Name"]: r["Value"] for r in configuration.get("Filter", {}).get("Key", {}).get("FilterRules", [])}
    return rules.get("Prefix", ""), rules.get("Suffix", "")


def _check_destination(call: Call, bucket: Bucket, arn: str) -> None:
    """Whether the function exists, and its policy lets S3 invoke it for this bucket."""
    doors = call.doors
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        raise InvalidArgument("The ARN is not well formed", ArgumentName="CloudFunction", ArgumentValue=arn) from None
    owner = doors.services.get("lambda")
    if parsed.service != "lambda" or parsed.region != bucket.region or owner is None:
        raise InvalidArgument("The ARN is not well formed", ArgumentName="CloudFunction", ArgumentValue=arn)
    if owner.facts(doors, arn) is None:
        raise _unreachable(arn, "The destination Lambda function does not exist")
    principal = service_principal("s3.amazonaws.com", bucket.account, bucket_arn(bucket.name))
    need = Need("lambda:InvokeFunction", arn)
    try:
        doors.parts["front"].permit(principal, need, call.trace, service="lambda", name="InvokeFunction (may S3?)")
    except AccessDenied:
        raise _unreachable(arn, f"Not authorized to invoke function [{arn}]") from None


def _unreachable(arn: str, reason: str) -> InvalidArgument:
    return InvalidArgument(
        "Unable to validate the following destination configurations",
        ArgumentName1=f"{arn}, null",
        ArgumentValue1=reason,
    )
