# SPDX-License-Identifier: Apache-2.0
"""Replication of buckets to others of this chamber: the configuration, and what a write has to be copied to.

Source: Amazon S3 User Guide, "Replicating objects within and across Regions" and "Replication configuration file
elements".
"""

from __future__ import annotations

import asyncio
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, peers, rules, storage, tables, versions
from cloudchamber.services.s3.errors import (
    InvalidRequest,
    MalformedXML,
    ReplicationConfigurationNotFoundError,
    Unimplemented,
)
from cloudchamber.services.s3.names import split_arn
from cloudchamber.store.outbox import emit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket, Object
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]

TOPIC = "s3.replication"
RULES_MAX = 1000
PENDING, COMPLETED, REPLICA, FAILED = "PENDING", "COMPLETED", "REPLICA", "FAILED"
_NOT_BUILT = ("AccessControlTranslation", "EncryptionConfiguration")


@operation("PutBucketReplication", needs=needs.put_bucket_replication)
async def put_bucket_replication(call: Call, request: Request) -> dict[str, Any]:
    """Replace the rules; what is written from now on is copied.

    Raises:
        InvalidRequest: one of the buckets keeps no versions.

    Source: Amazon S3 API Reference, PutBucketReplication.
    """
    bucket = checks.bucket(call, request)
    given: Request = request["ReplicationConfiguration"]
    wanted: list[Request] = given.get("Rules", [])
    if not 1 <= len(wanted) <= RULES_MAX or not given.get("Role"):
        raise MalformedXML()
    made = [_rule(rule, number) for number, rule in enumerate(wanted)]
    value = json.dumps({"Role": given["Role"], "Rules": made})
    elsewhere = {rule["Destination"]["Bucket"]: await _versioned_elsewhere(call, rule) for rule in made}

    def change(tx: Tx) -> None:
        if tables.bucket(tx, bucket.name).versioning != versions.ENABLED:
            raise InvalidRequest("Versioning must be 'Enabled' on the bucket to apply a replication configuration")
        for rule in made:
            if elsewhere[rule["Destination"]["Bucket"]]:
                continue
            target = tables.find_bucket(tx, split_arn(rule["Destination"]["Bucket"])[0])
            if target is None or target.versioning != versions.ENABLED:
                raise InvalidRequest("Destination bucket must have versioning enabled.")
            if rule["Destination"].get("Account", target.account) != target.account:
                raise InvalidRequest("The destination bucket is not owned by the account that Account names.")
        tables.configure_bucket(tx, bucket.name, "replication", value)

    await call.doors.database.write(change)
    return {}


async def _versioned_elsewhere(call: Call, rule: Request) -> bool:
    """Whether the destination is in another chamber, and keeps versions there.

    Raises:
        InvalidRequest: it is, and nobody answers there, or refuses who asks.
    """
    name = split_arn(rule["Destination"]["Bucket"])[0]
    peer = peers.read(call.doors.folder).get(name)
    if peer is None or call.doors.database.peek(lambda db: tables.find_bucket(db, name)) is not None:
        return False
    try:
        return await asyncio.to_thread(peers.versioned, name, peer, call.doors.clock)
    except (peers.PeerRefused, peers.PeerSilent) as error:
        raise InvalidRequest(f"Destination bucket {name} cannot be reached: {error}") from error


def _rule(given: Request, number: int) -> dict[str, Any]:
    destination: Request = given.get("Destination") or {}
    if given.get("Status") not in ("Enabled", "Disabled") or not destination.get("Bucket"):
        raise MalformedXML()
    if "Prefix" in given and "Filter" in given:
        raise MalformedXML()
    for member in _NOT_BUILT:
        if member in destination:
            raise Unimplemented(f"Destination.{member} is not implemented by this chamber yet")
    if destination.get("StorageClass", storage.STANDARD) not in storage.DOWNWARDS:
        raise MalformedXML()
    if given.get("SourceSelectionCriteria"):
        raise Unimplemented("SourceSelectionCriteria is not implemented by this chamber yet")
    if given.get("ExistingObjectReplication", {}).get("Status") == "Enabled":
        raise Unimplemented("ExistingObjectReplication is not implemented by this chamber yet")
    rule: dict[str, Any] = {"ID": given.get("ID") or ids.token(36), "Status": given["Status"]}
    rule["Destination"] = dict(destination)
    if "Prefix" in given:
        rule["Prefix"] = given["Prefix"]
        return rule
    markers: Request = given.get("DeleteMarkerReplication") or {"Status": "Disabled"}
    rule["Filter"] = given.get("Filter") or {}
    if markers.get("Status") == "Enabled" and rules.by_tags(rule):
        raise InvalidRequest("Delete marker replication is not supported if any Tag filter is specified.")
    return {**rule, "Priority": int(given.get("Priority", number)), "DeleteMarkerReplication": dict(markers)}


@operation("GetBucketReplication", needs=needs.on_bucket("s3:GetReplicationConfiguration"))
async def get_bucket_replication(call: Call, request: Request) -> dict[str, Any]:
    """The rules. Source: Amazon S3 API Reference, GetBucketReplication."""
    bucket = checks.bucket(call, request)
    if not bucket.replication:
        raise ReplicationConfigurationNotFoundError(BucketName=bucket.name)
    return {"ReplicationConfiguration": json.loads(bucket.replication)}


@operation("DeleteBucketReplication", needs=needs.on_bucket("s3:PutReplicationConfiguration"))
async def delete_bucket_replication(call: Call, request: Request) -> dict[str, Any]:
    """Copy nothing any more. Source: Amazon S3 API Reference, DeleteBucketReplication."""
    bucket = checks.bucket(call, request)
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, bucket.name, "replication", None))
    return {}


@lru_cache(256)
def _read(text: str) -> Request:
    return json.loads(text)


def targets(bucket: Bucket, key: str, size: int, tags: Mapping[str, str], *, marker: bool = False) -> Sequence[str]:
    """Names of the buckets that a new version (or delete marker) is to be copied to."""
    if not bucket.replication or bucket.versioning != versions.ENABLED:
        return ()
    found: list[Request] = [
        rule
        for rule in _read(bucket.replication)["Rules"]
        if rule["Status"] == "Enabled" and rules.matches(rule, key, size, tags)
    ]
    first: dict[str, Request] = {}
    for rule in sorted(found, key=lambda rule: -rule.get("Priority", 0)):
        first.setdefault(split_arn(rule["Destination"]["Bucket"])[0], rule)
    if not marker:
        return list(first)
    # Why: rules of the first form (with Prefix) have always copied delete markers.
    return [
        n for n, r in first.items() if r.get("DeleteMarkerReplication", {"Status": "Enabled"})["Status"] == "Enabled"
    ]


def _classes(bucket: Bucket) -> dict[str, str]:
    """The storage class of copies, by target; empty: that of the source."""
    made: dict[str, str] = {}
    for rule in sorted(_read(bucket.replication or "{}")["Rules"], key=lambda rule: -rule.get("Priority", 0)):
        where: Request = rule["Destination"]
        if rule["Status"] == "Enabled":
            made.setdefault(split_arn(where["Bucket"])[0], where.get("StorageClass", ""))
    return made


def pending(to: Sequence[str]) -> str | None:
    """What a version keeps of its copies, before any is made."""
    return json.dumps({"status": PENDING, "of": dict.fromkeys(to, PENDING)}) if to else None


def told(found: Object) -> dict[str, str]:
    """`ReplicationStatus`."""
    return {"ReplicationStatus": json.loads(found.replication)["status"]} if found.replication else {}


def order(tx: Tx, bucket: Bucket, key: str, version: str, to: Sequence[str]) -> None:
    """Order copies in the transaction that writes the version; they are made in the order of the key's versions."""
    classes = _classes(bucket) if to else {}
    for name in to:
        payload = {
            "bucket": bucket.name,
            "account": bucket.account,
            "region": bucket.region,
            "key": key,
            "version": version,
            "to": name,
            "class": classes.get(name, ""),
            "role": _read(bucket.replication or "{}")["Role"],
        }
        emit(tx, TOPIC, f"{bucket.name}/{key} {name}", payload)
