# SPDX-License-Identifier: Apache-2.0
"""Restoring archived objects. Source: Amazon S3 User Guide, "Restoring an archived object"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, events, lookup, needs, rules, storage, tables, versions
from cloudchamber.services.s3.errors import (
    InvalidArgument,
    InvalidObjectState,
    MalformedXML,
    RestoreAlreadyInProgress,
    Unimplemented,
)
from cloudchamber.services.s3.events import COMPLETED, DELETED, described_of
from cloudchamber.services.s3.part import live

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Object
    from cloudchamber.store.database import Tx

    Request = Mapping[str, Any]

TIERS = ("Bulk", "Standard", "Expedited")
"""The slowest first."""
_SELECTED = ("Type", "SelectParameters", "OutputLocation")


@operation("RestoreObject", needs=needs.restore_object)
async def restore_object(call: Call, request: Request) -> dict[str, Any]:
    """Order a copy of an archived object that can be read for some days; of one that is there, set the days anew.

    ``Renewed`` in the response says that it was there: S3 answers 200 then, and else 202.

    Raises:
        InvalidObjectState: the object is not archived.
        RestoreAlreadyInProgress: it is being restored, and no faster tier is asked for.

    Source: Amazon S3 API Reference, RestoreObject.
    """
    bucket = checks.bucket(call, request)
    wanted: Request = request.get("RestoreRequest") or {}
    days, tier = _asked(wanted)
    if wanted.get("Description"):
        call.note(description=wanted["Description"][:256])
    found = await lookup.existing(call, request, method="POST", strict=True)
    part = live(call.doors)

    def change(tx: Tx) -> tuple[bool, int]:
        now = versions.find(tx, bucket.name, request["Key"], found.version)
        current = found if now is None else now
        renewed, restore = _restore(current, days, tier, call.now, part.restore_s)
        kept = json.dumps({**current.stored, "restore": restore}, separators=(",", ":"))
        versions.change(tx, bucket.name, current, "stored", kept)
        order(tx, bucket.name, current, restore, completed=renewed)
        if renewed:
            return True, 0
        described = described_of(bucket.versioning, current)
        return False, events.emit_matching(
            tx, call, part.sequencer, tables.bucket(tx, bucket.name), "ObjectRestore:Post", current.key, described
        )

    renewed, emitted = await call.doors.database.write(change)
    if emitted:
        call.doors.outbox.nudge()
    part.sweeper.look()
    return {"Renewed": True} if renewed else {}


def add_status(call: Call, bucket: str, request: Request, entries: list[dict[str, Any]]) -> None:
    """`RestoreStatus` of the archived objects of a listing, where that is asked for."""
    if "RestoreStatus" not in request.get("OptionalObjectAttributes", ()):
        return
    for entry in entries:
        if entry.get("StorageClass") in storage.ARCHIVED:
            key, version = entry["Key"], entry.get("VersionId")
            found = call.doors.database.read(
                lambda db, key=key, version=version: (
                    versions.find(db, bucket, key, version) if version else tables.find_object(db, bucket, key)
                )
            )
            if found is not None:
                entry["RestoreStatus"] = storage.status(found.stored, call.now)


def _asked(wanted: Request) -> tuple[int, str]:
    for member in _SELECTED:
        if member in wanted:
            raise Unimplemented(f"{member} (S3 Select) is not implemented by this chamber")
    days = wanted.get("Days")
    if days is None:
        raise MalformedXML()
    if int(days) < 1:
        raise InvalidArgument("restoration days should be at least 1", ArgumentName="Days", ArgumentValue=str(days))
    tier = wanted.get("GlacierJobParameters", {}).get("Tier") or wanted.get("Tier") or "Standard"
    if tier not in TIERS:
        raise MalformedXML()
    return int(days), tier


def _restore(found: Object, days: int, tier: str, now: datetime, fixed_s: float | None) -> tuple[bool, dict[str, Any]]:
    """Whether there is a restored copy already, and what the object is to keep of the restore."""
    kind = storage.of(found.stored)
    times = storage.RETRIEVAL_S.get(kind)
    if times is None:
        text = "Restore is not allowed for the object's current storage class"
        raise InvalidObjectState(text, StorageClass=kind)
    if tier not in times:
        raise InvalidArgument("Retrieval option is not supported by this storage class")
    state = storage.restore_of(found.stored, now)
    at = now.timestamp()
    if state is None:
        ready = at + (times[tier] if fixed_s is None else fixed_s)
    elif "true" in state:
        before: Request = found.stored["restore"]
        if TIERS.index(tier) <= TIERS.index(before["tier"]):
            raise RestoreAlreadyInProgress()
        ready = min(before["ready"], at + times[tier])
    else:
        ready = found.stored["restore"]["ready"]
        until = rules.after(at, days).timestamp()
        return True, {"ready": ready, "until": until, "days": days, "tier": tier}
    return False, {"ready": ready, "until": rules.after(ready, days).timestamp(), "days": days, "tier": tier}


def order(tx: Tx, bucket: str, found: Object, restore: Request, *, completed: bool) -> None:
    """What is to be told of the restored copy, and when."""
    due = [(DELETED, restore["until"])] if completed else [(COMPLETED, restore["ready"]), (DELETED, restore["until"])]
    for event, at in due:
        tx.execute(
            "INSERT OR REPLACE INTO s3_restores (bucket, key, version, event, at) VALUES (?, ?, ?, ?, ?)",
            (bucket, found.key, found.version, event, at),
        )
