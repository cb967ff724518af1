# SPDX-License-Identifier: Apache-2.0
"""Snapshots: take, copy, describe, share, delete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import disks, errors, needs, sharing, tables, views
from cloudchamber.services.ec2.checks import (
    inner,
    many,
    page,
    refuse,
    select,
    specified_tags,
    tag_list,
    tagged,
    takes,
    with_token,
)
from cloudchamber.services.ec2.compute import Compute
from cloudchamber.services.ec2.instances import wanted
from cloudchamber.services.ec2.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

SNAPSHOTS_MAX = 500
"""Snapshots of one account: each is a whole copy on this machine."""
_DESCRIPTION_MAX = 255
_COPIED_VOLUME = "vol-ffffffff"
"""What AWS writes as the volume of a snapshot that is a copy."""

_FILTERS = {
    "description": "Description",
    "encrypted": "Encrypted",
    "owner-id": "OwnerId",
    "progress": "Progress",
    "snapshot-id": "SnapshotId",
    "start-time": "StartTime",
    "status": "State",
    "storage-tier": "StorageTier",
    "volume-id": "VolumeId",
    "volume-size": "VolumeSize",
}


def _snapshot(row: disks.Snapshot, tags: Mapping[str, str], progress: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "SnapshotId": row.id,
        "VolumeId": row.volume_id,
        "VolumeSize": row.size_gib,
        "Description": row.description,
        "State": row.state,
        "Progress": f"{progress if row.state == 'pending' else row.progress}%",
        "StartTime": moment(row.started),
        "OwnerId": row.account,
        "Encrypted": False,
        "StorageTier": "standard",
    }
    if row.completed:
        shown["CompletionTime"] = moment(row.completed)
        shown["FullSnapshotSizeInBytes"] = row.octets
    if row.message:
        shown["StateMessage"] = row.message
    return tagged(shown, tags)


def draft(call: Call, volume: disks.Volume, description: str, *, at_reboot: bool = False) -> disks.Snapshot:
    """A snapshot of a volume that is yet to be taken."""
    return disks.Snapshot(
        ids.hex_id("snap"), call.account, call.region, volume.id, volume.size_gib, description, "pending", 0,
        call.now.timestamp(), at_reboot=int(at_reboot),
    )  # fmt: skip


def check_room(tx: Tx, call: Call, more: int = 1) -> None:
    """Refuse more snapshots than an account may have.

    Raises:
        SnapshotLimitExceeded: there are that many.
    """
    if disks.count(tx, disks.Snapshot, call.account) + more > SNAPSHOTS_MAX:
        raise errors.SnapshotLimitExceeded(f"Maximum number of snapshots ({SNAPSHOTS_MAX}) exceeded.")


def described(request: Mapping[str, Any]) -> str:
    """`Description` of a request.

    Raises:
        InvalidParameterValue: it is too long.
    """
    text = str(request.get("Description") or "")
    if len(text) > _DESCRIPTION_MAX:
        raise errors.InvalidParameterValue(f"Description must be at most {_DESCRIPTION_MAX} characters.")
    return text


def check_usable(volume: disks.Volume) -> None:
    """Refuse a volume that has no files yet, or no more.

    Raises:
        IncorrectState: its state.
    """
    if volume.state not in ("available", "in-use"):
        raise errors.IncorrectState(f"Volume '{volume.id}' is in the '{volume.state}' state.")


@operation("CreateSnapshot", needs=needs.create_snapshot)
@takes("VolumeId", "Description", "TagSpecifications", "OutpostArn", "Location")
async def create_snapshot(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a volume as it is at this moment; its instance stands still until the copy is whole.

    Source: Amazon EC2 API Reference, CreateSnapshot.
    """
    if request.get("OutpostArn") or (request.get("Location") or "regional") != "regional":
        raise errors.UnsupportedOperation("Snapshots outside of the region are not supported by this EC2 endpoint.")
    description = described(request)
    tags = specified_tags(request, "snapshot").get("snapshot", {})

    def change(tx: Tx) -> tuple[disks.Snapshot, str]:
        volume = disks.get(tx, disks.Volume, call.account, call.region, request["VolumeId"])
        check_usable(volume)
        check_room(tx, call)
        row = draft(call, volume, description)
        disks.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return row, volume.instance_id

    row, instance_id = await call.doors.database.write(change)
    await call.doors.part("ec2", Compute).storage.take(instance_id, [row.id])
    return _snapshot(row, tags, 0)


@operation("CreateSnapshots", needs=needs.create_snapshots)
@takes("InstanceSpecification", "Description", "TagSpecifications", "CopyTagsFromSource", "OutpostArn", "Location")
async def create_snapshots(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Copy all volumes of an instance as they are at one moment.

    Source: Amazon EC2 API Reference, CreateSnapshots.
    """
    if request.get("OutpostArn") or (request.get("Location") or "regional") != "regional":
        raise errors.UnsupportedOperation("Snapshots outside of the region are not supported by this EC2 endpoint.")
    source = inner(request, "InstanceSpecification")
    refuse("InstanceSpecification.", source, {"InstanceId", "ExcludeBootVolume", "ExcludeDataVolumeIds"})
    description = described(request)
    given = specified_tags(request, "snapshot").get("snapshot", {})
    left_out = set(many(source, "ExcludeDataVolumeIds"))
    copied = request.get("CopyTagsFromSource") == "volume"

    def change(tx: Tx) -> list[tuple[disks.Snapshot, dict[str, str]]]:
        region = views.region(tx, call.account, call.region, call.now.timestamp())
        instance = wanted(region, [source.get("InstanceId") or ""])[0]
        chosen = [
            one
            for one in disks.of_instance(tx, instance.id)
            if one.id not in left_out and not (one.is_root and source.get("ExcludeBootVolume"))
        ]
        if not chosen:
            raise errors.InvalidParameterValue("The request must leave at least one volume to take a snapshot of.")
        check_room(tx, call, len(chosen))
        made: list[tuple[disks.Snapshot, dict[str, str]]] = []
        for volume in chosen:
            check_usable(volume)
            row = draft(call, volume, description)
            tags = {**(tables.tags(tx, volume.id) if copied else {}), **given}
            disks.insert(tx, row)
            tables.put_tags(tx, call.account, call.region, row.id, tags)
            made.append((row, tags))
        return made

    made = await call.doors.database.write(change)
    storage = call.doors.part("ec2", Compute).storage
    await storage.take(str(source.get("InstanceId")), [row.id for row, _ in made])
    return {"Snapshots": [_info(row, tags) for row, tags in made]}


def _info(row: disks.Snapshot, tags: Mapping[str, str]) -> dict[str, Any]:
    names_of = ("Description", "Encrypted", "VolumeId", "State", "VolumeSize", "StartTime", "Progress")
    shown = _snapshot(row, tags, 0)
    return tagged({**{name: shown[name] for name in names_of}, "OwnerId": row.account, "SnapshotId": row.id}, tags)


@operation("CopySnapshot", needs=needs.copy_snapshot)
@takes(
    "SourceRegion", "SourceSnapshotId", "Description", "TagSpecifications", "DestinationRegion", "PresignedUrl",
    "Encrypted", "KmsKeyId",
)  # fmt: skip
async def copy_snapshot(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a snapshot into the call's region, from whichever region of this chamber.

    Source: Amazon EC2 API Reference, CopySnapshot.
    """
    if request.get("Encrypted") or request.get("KmsKeyId"):
        raise errors.UnsupportedOperation("Encrypted snapshots are not supported by this EC2 endpoint.")
    if request.get("DestinationRegion") not in (None, "", call.region):
        raise errors.InvalidParameterValue("DestinationRegion must be the region that the request is sent to.")
    tags = specified_tags(request, "snapshot").get("snapshot", {})

    def change(tx: Tx) -> disks.Snapshot:
        source = disks.get(
            tx, disks.Snapshot, call.account, request["SourceRegion"], request["SourceSnapshotId"], shared=True
        )
        if source.state != "completed":
            raise errors.IncorrectState(f"The snapshot '{source.id}' is in the '{source.state}' state.")
        check_room(tx, call)
        row = disks.Snapshot(
            ids.hex_id("snap"), call.account, call.region, _COPIED_VOLUME, source.size_gib, described(request),
            "pending", 0, call.now.timestamp(), source=source.id,
        )  # fmt: skip
        disks.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return row

    row = await call.doors.database.write(change)
    call.doors.part("ec2", Compute).storage.copy(row.id)
    return {"SnapshotId": row.id, "Tags": tag_list(tags)}


@operation("DescribeSnapshots", needs=needs.look("DescribeSnapshots"))
@takes("SnapshotIds", "OwnerIds", "RestorableByUserIds", "Filters", "NextToken", "MaxResults")
async def describe_snapshots(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List the snapshots that this account may use.

    Source: Amazon EC2 API Reference, DescribeSnapshots.
    """
    storage = call.doors.part("ec2", Compute).storage
    owners = {call.account if one == "self" else one for one in many(request, "OwnerIds")}
    users = {call.account if one == "self" else one for one in many(request, "RestorableByUserIds")}

    def read(db: Reader) -> list[dict[str, Any]]:
        rows = disks.seen(db, disks.Snapshot, call.account, call.region)
        rows = disks.chosen(rows, disks.Snapshot, many(request, "SnapshotIds"))
        rows = [row for row in rows if not owners or row.account in owners]
        rows = [row for row in rows if not users or users & {row.account, *json.loads(row.shared)}]
        return [_snapshot(row, tables.tags(db, row.id), storage.progress(row.id)) for row in rows]

    rows = call.doors.database.read(read)
    chosen, token = page(
        select(rows, request.get("Filters"), _FILTERS, lambda row: row), request, lambda row: row["SnapshotId"]
    )
    return with_token({"Snapshots": chosen}, token)


def _mine(db: Reader, call: Call, snapshot_id: str) -> disks.Snapshot:
    return disks.get(db, disks.Snapshot, call.account, call.region, snapshot_id)


@operation("DeleteSnapshot", needs=needs.on("DeleteSnapshot", "SnapshotId"))
@takes("SnapshotId")
async def delete_snapshot(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a snapshot; volumes that were made of it stay.

    Source: Amazon EC2 API Reference, DeleteSnapshot.
    """

    def change(tx: Tx) -> None:
        row = _mine(tx, call, request["SnapshotId"])
        used = disks.images_with(tx, row.id)
        if used:
            raise errors.InvalidSnapshotInUse(f"The snapshot {row.id} is currently in use by {used[0]}")
        disks.delete(tx, disks.Snapshot, row.id)

    await call.doors.database.write(change)
    call.doors.part("ec2", Compute).storage.forget()
    return {}


@operation("DescribeSnapshotAttribute", needs=needs.on("DescribeSnapshotAttribute", "SnapshotId"))
@takes("SnapshotId", "Attribute")
async def describe_snapshot_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Who may make volumes of a snapshot.

    Source: Amazon EC2 API Reference, DescribeSnapshotAttribute.
    """
    row = call.doors.database.read(lambda db: _mine(db, call, request["SnapshotId"]))
    if request["Attribute"] == "productCodes":
        return {"SnapshotId": row.id, "ProductCodes": []}
    if request["Attribute"] != "createVolumePermission":
        raise errors.InvalidParameterValue(
            f"Value ({request['Attribute']}) for parameter attribute is invalid. Unknown attribute."
        )
    return {"SnapshotId": row.id, "CreateVolumePermissions": sharing.view(row.shared)}


@operation("ModifySnapshotAttribute", needs=needs.on("ModifySnapshotAttribute", "SnapshotId"))
@takes("SnapshotId", "Attribute", "CreateVolumePermission", "OperationType", "UserIds", "GroupNames")
async def modify_snapshot_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let other accounts, or everybody, make volumes of a snapshot; or no more.

    Source: Amazon EC2 API Reference, ModifySnapshotAttribute.
    """
    add, remove = sharing.changes(request, "CreateVolumePermission", "createVolumePermission", "GroupNames")

    def change(tx: Tx) -> None:
        row = _mine(tx, call, request["SnapshotId"])
        disks.update(tx, disks.Snapshot, row.id, shared=sharing.changed(row.shared, add, remove))

    await call.doors.database.write(change)
    return {}


@operation("ResetSnapshotAttribute", needs=needs.on("ResetSnapshotAttribute", "SnapshotId"))
@takes("SnapshotId", "Attribute")
async def reset_snapshot_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take back what other accounts may do with a snapshot.

    Source: Amazon EC2 API Reference, ResetSnapshotAttribute.
    """
    if request["Attribute"] != "createVolumePermission":
        raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")

    def change(tx: Tx) -> None:
        row = _mine(tx, call, request["SnapshotId"])
        disks.update(tx, disks.Snapshot, row.id, shared="[]")

    await call.doors.database.write(change)
    return {}
