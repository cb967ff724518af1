# SPDX-License-Identifier: Apache-2.0
"""Event notifications: which configurations match, and the record that a function gets.

Source: Amazon S3 User Guide, "Event message structure" and "Configuring event notifications using object key name
filtering".
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.services.s3.names import bucket_arn, canonical_id
from cloudchamber.store.outbox import emit
from cloudchamber.track.track import Trace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cloudchamber.base.clock import Clock
    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket, Object
    from cloudchamber.store.database import Tx

TOPIC = "s3.notification"
EMPTY = hashlib.md5(usedforsecurity=False).hexdigest()
"""ETag that records of delete markers have."""


COMPLETED, DELETED = "ObjectRestore:Completed", "ObjectRestore:Delete"
"""A restored copy is there; it is gone."""


class Sequencer:
    """Gives events of one key their order: hexadecimal numbers that only grow."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def number(self) -> int:
        """The next number; called by the one writer, so its order is the order of commits."""
        self._last = max(self._last + 1, int(self._clock.now().timestamp() * 1_000_000))
        return self._last

    def next(self) -> str:
        """The next number as events write it."""
        return f"{self.number():018X}"


@lru_cache(1024)
def configurations(notification: str) -> Sequence[Mapping[str, Any]]:
    """Lambda configurations of a bucket's stored notification configuration."""
    return json.loads(notification).get("LambdaFunctionConfigurations", [])


def matches(configuration: Mapping[str, Any], event: str, key: str) -> bool:
    """Whether a configuration wants `event` (``ObjectCreated:Put``) of `key`."""
    kind = event.partition(":")[0]
    if not {f"s3:{event}", f"s3:{kind}:*"}.intersection(configuration["Events"]):
        return False
    for rule in configuration.get("Filter", {}).get("Key", {}).get("FilterRules", []):
        value = rule.get("Value", "")
        fits = key.startswith(value) if rule["Name"].lower() == "prefix" else key.endswith(value)
        if not fits:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Cause:
    """Who did it, from where, and on which track: what a record says besides what happened."""

    now: datetime
    principal_id: str
    peer: str
    request_id: str
    host_id: str
    trace: str

    @classmethod
    def of_call(cls, call: Call) -> Cause:
        """A request."""
        principal = f"AWS:{call.principal.user_id or call.principal.account}"
        return cls(call.now, principal, call.peer, call.request_id, call.segment.id, call.trace.header())

    @classmethod
    def of_service(cls, now: datetime) -> Cause:
        """S3 itself, by a lifecycle rule."""
        track = Trace.begin(int(now.timestamp()))
        return cls(now, "s3.amazonaws.com", "s3.amazonaws.com", ids.request_id(), ids.segment_id(), track.header())


def emit_matching(
    tx: Tx,
    call: Call | Cause,
    sequencer: Sequencer,
    bucket: Bucket,
    event: str,
    key: str,
    described: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> int:
    """Add one message for each configuration that matches; how many. `described`: ``size``, ``eTag`` and
    ``versionId``, as far as the event has them; `more`: further members of the record."""
    if not bucket.notification:
        return 0
    found = [c for c in configurations(bucket.notification) if matches(c, event, key)]
    if not found:
        return 0
    cause = call if isinstance(call, Cause) else Cause.of_call(call)
    sequence = sequencer.next()
    for configuration in found:
        record = record_of(cause, bucket, event, key, described, sequence, configuration["Id"]) | dict(more or {})
        arn = configuration["LambdaFunctionArn"]
        payload = {
            "function_arn": arn,
            "account": bucket.account,
            "bucket_arn": bucket_arn(bucket.name),
            "region": bucket.region,
            "trace": cause.trace,
            "event": json.dumps({"Records": [record]}, separators=(",", ":")),
        }
        emit(tx, TOPIC, f"{arn} {bucket.name}/{key}", payload)
    return len(found)


def described_of(versioning: str, found: Object) -> dict[str, Any]:
    """What records of restores and transitions say of the object."""
    named = {"versionId": found.version} if versioning else {}
    return {"size": found.size, "eTag": found.etag, **named}


def record_of(
    cause: Cause,
    bucket: Bucket,
    event: str,
    key: str,
    described: Mapping[str, Any],
    sequence: str,
    configuration_id: str,
) -> dict[str, Any]:
    """One record, with every field that S3 writes."""
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": bucket.region,
        "eventTime": iso(cause.now),
        "eventName": event,
        "userIdentity": {"principalId": cause.principal_id},
        "requestParameters": {"sourceIPAddress": cause.peer},
        "responseElements": {
            "x-amz-request-id": cause.request_id,
            "x-amz-id-2": cause.host_id,
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": bucket.name,
                "ownerIdentity": {"principalId": canonical_id(bucket.account)},
                "arn": bucket_arn(bucket.name),
            },
            "object": {"key": quote_plus(key, safe="/"), **described, "sequencer": sequence},
        },
    }
