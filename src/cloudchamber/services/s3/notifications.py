# SPDX-License-Identifier: Apache-2.0
"""Notification configuration of buckets. Source: Amazon S3 User Guide, "Amazon S3 Event Notifications"."""

from __future__ import annotations

import json
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of destination: the member of its configurations, that of its ARN, S3's word for it, its service."""

    member: str
    arn: str
    word: str
    service: str


_LAMBDA = _Kind("LambdaFunctionConfigurations", "LambdaFunctionArn", "CloudFunction", "lambda")
_QUEUE = _Kind("QueueConfigurations", "QueueArn", "Queue", "sqs")
_TOPIC = _Kind("TopicConfigurations", "TopicArn", "Topic", "sns")
_KINDS = (_LAMBDA, _QUEUE, _TOPIC)


@operation("PutBucketNotificationConfiguration", needs=needs.on_bucket("s3:PutBucketNotification"))
async def put_bucket_notification_configuration(call: Call, request: Request) -> dict[str, Any]:
    """Replace the notification configuration, after it was seen that S3 may invoke each function.

    Queues and topics exist nowhere here. Who skips validation may name them, as one that does not exist on AWS; events
    for them go nowhere.

    Raises:
        InvalidArgument: a destination does not exist, or does not let S3 in for this bucket; nothing changed.

    Source: Amazon S3 API Reference, PutBucketNotificationConfiguration.
    """
    bucket = checks.bucket(call, request)
    wanted: Request = request["NotificationConfiguration"]
    if "EventBridgeConfiguration" in wanted:
        raise Unimplemented("Amazon EventBridge (EventBridgeConfiguration) is not implemented by this chamber yet")
    kept = {kind.member: [_checked(bucket, kind, c) for c in wanted.get(kind.member, [])] for kind in _KINDS}
    found = [one for configurations in kept.values() for one in configurations]
    if len(found) > CONFIGURATIONS_MAX:
        raise InvalidArgument("The number of notification configurations exceeds the limit of 100")
    if kept[_LAMBDA.member] and call.doors.database.shared:
        raise Unimplemented("Lambda runs on one machine only: chambers that share their state do not offer it")
    _check_ids(found)
    _check_overlap(found)
    if not request.get("SkipDestinationValidation"):
        _check_destinations(call, bucket, kept)
    for kind in (_QUEUE, _TOPIC):
        if kept[kind.member]:
            call.note(undelivered=f"{kind.service} is not offered here: events for {kind.word.lower()}s go nowhere")
    value = json.dumps({member: of for member, of in kept.items() if of}) if found else None
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, bucket.name, "notification", value))
    return {}


@operation("GetBucketNotificationConfiguration", needs=needs.on_bucket("s3:GetBucketNotification"))
async def get_bucket_notification_configuration(call: Call, request: Request) -> dict[str, Any]:
    """The notification configuration. Source: Amazon S3 API Reference, GetBucketNotificationConfiguration."""
    bucket = checks.bucket(call, request)
    return json.loads(bucket.notification) if bucket.notification else {}


def _checked(bucket: Bucket, kind: _Kind, given: Request) -> dict[str, Any]:
    """One configuration, its ARN, events and filter checked, with an id."""
    _check_arn(bucket, kind, str(given[kind.arn]))
    for event in given["Events"]:
        of, _, name = event.rpartition(":")
        if name == "*" and of in EVENTS and of != "s3":
            continue
        if name not in EVENTS.get(of, ()):
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
    kept = {"Id": given.get("Id") or ids.request_id(), kind.arn: given[kind.arn]}
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


def _check_arn(bucket: Bucket, kind: _Kind, arn: str) -> None:
    """Whether it is the ARN of such a destination in the bucket's region, whatever is skipped."""
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        raise InvalidArgument("The ARN could not be parsed", ArgumentName=kind.word, ArgumentValue=arn) from None
    if parsed.service != kind.service or parsed.region != bucket.region:
        raise InvalidArgument("The ARN is not well formed", ArgumentName=kind.word, ArgumentValue=arn)


def _check_destinations(call: Call, bucket: Bucket, kept: Mapping[str, list[dict[str, Any]]]) -> None:
    """Whether each destination exists, and lets S3 in for this bucket: all that do not are named together."""
    wrong: list[tuple[str, str]] = []
    for kind in _KINDS:
        for arn in dict.fromkeys(str(one[kind.arn]) for one in kept[kind.member]):
            if kind is not _LAMBDA:
                wrong.append((arn, f"The destination {kind.word.lower()} does not exist"))
            elif not _lets_in(call, bucket, arn):
                wrong.append((f"{arn}, null", f"Not authorized to invoke function [{arn}]"))
    if wrong:
        members: dict[str, str] = {}
        for number, (name, reason) in enumerate(wrong, 1):
            members |= {f"ArgumentName{number}": name, f"ArgumentValue{number}": reason}
        raise InvalidArgument("Unable to validate the following destination configurations", headers=None, **members)


def _lets_in(call: Call, bucket: Bucket, arn: str) -> bool:
    """Whether the function exists, and its policy lets S3 invoke it for this bucket."""
    doors = call.doors
    owner = doors.services.get("lambda")
    if owner is None or owner.facts(doors, arn) is None:
        return False
    principal = service_principal("s3.amazonaws.com", bucket.account, bucket_arn(bucket.name))
    need = Need("lambda:InvokeFunction", arn)
    try:
        doors.parts["front"].permit(principal, need, call.trace, service="lambda", name="InvokeFunction (may S3?)")
    except AccessDenied:
        return False
    return True
