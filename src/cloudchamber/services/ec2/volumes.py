# SPDX-License-Identifier: Apache-2.0
"""Volumes: make, attach, detach, modify, describe, delete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import devices, disks, errors, images, names, needs, tables, views
from cloudchamber.services.ec2.checks import many, page, select, specified_tags, tagged, takes, with_token
from cloudchamber.services.ec2.compute import Compute
from cloudchamber.services.ec2.instances import wanted
from cloudchamber.services.ec2.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

VOLUMES_MAX = 500
"""Volumes of one account: each is a folder on this machine."""

_FILTERS = {
    "attachment.attach-time": "Attachments.AttachTime",
    "attachment.delete-on-termination": "Attachments.DeleteOnTermination",
    "attachment.device": "Attachments.Device",
    "attachment.instance-id": "Attachments.InstanceId",
    "attachment.status": "Attachments.State",
    "availability-zone": "AvailabilityZone",
    "availability-zone-id": "AvailabilityZoneId",
    "create-time": "CreateTime",
    "encrypted": "Encrypted",
    "multi-attach-enabled": "MultiAttachEnabled",
    "size": "Size",
    "snapshot-id": "SnapshotId",
    "status": "State",
    "volume-id": "VolumeId",
    "volume-type": "VolumeType",
}


def _attachment(row: disks.Volume) -> dict[str, Any]:
    return {
        "VolumeId": row.id,
        "InstanceId": row.instance_id,
        "Device": row.device,
        "State": row.attachment,
        "AttachTime": moment(row.attached),
        "DeleteOnTermination": bool(row.delete_on_termination),
    }


def _volume(row: disks.Volume, tags: Mapping[str, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "VolumeId": row.id,
        "Size": row.size_gib,
        "VolumeType": row.type,
        "State": row.state,
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": dict(names.zones(row.region)).get(row.zone, row.zone),
        "CreateTime": moment(row.created),
        "SnapshotId": row.snapshot_id,
        "Encrypted": False,
        "MultiAttachEnabled": False,
        "Attachments": [_attachment(row)] if row.instance_id else [],
        "Operator": {"Managed": False},
    }
    if row.iops:
        shown["Iops"] = row.iops
    if row.throughput:
        shown["Throughput"] = row.throughput
    return tagged(shown, tags)


@operation("CreateVolume", needs=needs.create_volume)
@takes(
    "AvailabilityZone", "AvailabilityZoneId", "Size", "SnapshotId", "VolumeType", "Iops", "Throughput",
    "TagSpecifications", "ClientToken",
)  # fmt: skip
async def create_volume(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a volume, empty or of a snapshot. Its size is what AWS would give it; nothing here enforces it.

    Raises:
        UnsupportedOperation: encryption, an Outpost, multi-attach.

    Source: Amazon EC2 API Reference, CreateVolume.
    """
    devices.plain(request)
    zone = _zone(call, request)
    snapshot_id = request.get("SnapshotId") or ""
    least = images.snapshot_for(call, snapshot_id).size_gib if snapshot_id else 0
    size_gib = int(request.get("Size") or least)
    if not size_gib:
        raise errors.MissingParameter("The request must contain the parameter size/snapshot")
    if size_gib < least:
        raise errors.InvalidParameterValue(
            f"The specified volume size ({size_gib}) is smaller than snapshot's size ({least})."
        )
    kind = request.get("VolumeType") or "gp2"
    reached = devices.performance(kind, size_gib, request.get("Iops"), request.get("Throughput"))
    tags = specified_tags(request, "volume").get("volume", {})
    token = request.get("ClientToken") or ""
    row = disks.Volume(
        ids.hex_id("vol"), call.account, call.region, zone, size_gib, kind, *reached, "creating",
        call.now.timestamp(), snapshot_id, token,
    )  # fmt: skip

    def change(tx: Tx) -> disks.Volume:
        for one in disks.listed(tx, disks.Volume, call.account, call.region):
            if token and one.client_token == token:
                if (one.zone, one.size_gib, one.type, one.snapshot_id) != (zone, size_gib, kind, snapshot_id):
                    raise errors.IdempotentParameterMismatch(
                        "The request uses the same client token as a previous, but non-identical request."
                    )
                return one
        if disks.count(tx, disks.Volume, call.account) >= VOLUMES_MAX:
            raise errors.VolumeLimitExceeded(f"Maximum number of volumes ({VOLUMES_MAX}) exceeded.")
        disks.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return row

    made = await call.doors.database.write(change)
    call.doors.part("ec2", Compute).storage.wake(made.id)
    return _volume(made, tags)


def _zone(call: Call, request: Mapping[str, Any]) -> str:
    zones = names.zones(call.region)
    given, by_id = request.get("AvailabilityZone") or "", request.get("AvailabilityZoneId") or ""
    if not given and not by_id:
        raise errors.MissingParameter("The request must contain the parameter zone")
    found = [zone for zone, zone_id in zones if given in ("", zone) and by_id in ("", zone_id)]
    if not found:
        raise errors.InvalidParameterValue(f"The zone '{given or by_id}' does not exist.")
    return found[0]


@operation("DescribeVolumes", needs=needs.look("DescribeVolumes"))
@takes("VolumeIds", "Filters", "NextToken", "MaxResults", "IncludeManagedResources")
async def describe_volumes(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List volumes.

    Source: Amazon EC2 API Reference, DescribeVolumes.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        rows = disks.listed(db, disks.Volume, call.account, call.region)
        rows = disks.chosen(rows, disks.Volume, many(request, "VolumeIds"))
        return [_volume(row, tables.tags(db, row.id)) for row in rows]

    rows = call.doors.database.read(read)
    chosen, token = page(
        select(rows, request.get("Filters"), _FILTERS, lambda row: row), request, lambda row: row["VolumeId"]
    )
    return with_token({"Volumes": chosen}, token)


@operation("DescribeVolumeStatus", needs=needs.look("DescribeVolumeStatus"))
@takes("VolumeIds", "Filters", "NextToken", "MaxResults", "IncludeManagedResources")
async def describe_volume_status(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Whether each volume's files are there.

    Source: Amazon EC2 API Reference, DescribeVolumeStatus; Amazon EBS User Guide, volume status checks.
    """
    storage = call.doors.part("ec2", Compute).storage
    rows = call.doors.database.read(lambda db: disks.listed(db, disks.Volume, call.account, call.region))
    rows = disks.chosen(rows, disks.Volume, many(request, "VolumeIds"))

    def shown(row: disks.Volume) -> dict[str, Any]:
        status, enabled = "insufficient-data", "insufficient-data"
        if row.state in ("available", "in-use"):
            there = storage.is_there(row)
            status, enabled = ("ok", "passed") if there else ("impaired", "failed")
        return {
            "VolumeId": row.id,
            "AvailabilityZone": row.zone,
            "VolumeStatus": {
                "Status": status,
                "Details": [
                    {"Name": "io-enabled", "Status": enabled},
                    {"Name": "io-performance", "Status": "not-applicable"},
                ],
            },
            "Actions": [],
            "Events": [],
        }

    paths = {
        "availability-zone": "AvailabilityZone",
        "volume-status.status": "VolumeStatus.Status",
        "volume-status.details-name": "VolumeStatus.Details.Name",
        "volume-status.details-status": "VolumeStatus.Details.Status",
    }
    chosen, token = page(select(rows, request.get("Filters"), paths, shown), request, lambda row: row.id)
    return with_token({"VolumeStatuses": [shown(row) for row in chosen]}, token)


@operation("DescribeVolumeAttribute", needs=needs.on("DescribeVolumeAttribute", "VolumeId"))
@takes("VolumeId", "Attribute")
async def describe_volume_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of a volume.

    Source: Amazon EC2 API Reference, DescribeVolumeAttribute.
    """
    row = call.doors.database.read(lambda db: _mine(db, call, request["VolumeId"]))
    values: dict[str, dict[str, Any]] = {
        "autoEnableIO": {"AutoEnableIO": {"Value": True}},
        "productCodes": {"ProductCodes": []},
    }
    if request["Attribute"] not in values:
        raise errors.InvalidParameterValue(
            f"Value ({request['Attribute']}) for parameter attribute is invalid. Unknown attribute."
        )
    return {"VolumeId": row.id, **values[request["Attribute"]]}


def _mine(db: Reader, call: Call, volume_id: str) -> disks.Volume:
    return disks.get(db, disks.Volume, call.account, call.region, volume_id)


@operation("DeleteVolume", needs=needs.on("DeleteVolume", "VolumeId"))
@takes("VolumeId")
async def delete_volume(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a volume that nobody uses, with all that is in it.

    Source: Amazon EC2 API Reference, DeleteVolume.
    """

    def change(tx: Tx) -> str:
        row = _mine(tx, call, request["VolumeId"])
        if row.instance_id:
            raise errors.VolumeInUse(f"Volume {row.id} is currently attached to {row.instance_id}")
        if row.state not in ("available", "error", "deleting"):
            raise errors.IncorrectState(f"Volume '{row.id}' is in the '{row.state}' state.")
        disks.update(tx, disks.Volume, row.id, state="deleting")
        return row.id

    call.doors.part("ec2", Compute).storage.wake(await call.doors.database.write(change))
    return {}


@operation("AttachVolume", needs=needs.on("AttachVolume", "VolumeId", "InstanceId"))
@takes("VolumeId", "InstanceId", "Device")
async def attach_volume(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a volume to an instance: its files are in `/mnt/<volume id>` there, at once if the instance runs.

    Raises:
        VolumeInUse, IncorrectState, InvalidVolume.ZoneMismatch: it cannot be attached there.

    Source: Amazon EC2 API Reference, AttachVolume.
    """
    devices.check_name(request["Device"])
    device = disks.ROOT_DEVICE if request["Device"] == "/dev/sda1" else request["Device"]

    def change(tx: Tx) -> disks.Volume:
        row = _mine(tx, call, request["VolumeId"])
        instance = wanted(views.region(tx, call.account, call.region, call.now.timestamp()), [request["InstanceId"]])[0]
        _check_attach(tx, row, instance, device)
        values = {"instance_id": instance.id, "device": device, "attached": call.now.timestamp()}
        disks.update(tx, disks.Volume, row.id, state="in-use", attachment="attaching", **values)
        return _mine(tx, call, row.id)

    row = await call.doors.database.write(change)
    call.doors.part("ec2", Compute).storage.wake(row.id)
    return _attachment(row)


def _check_attach(tx: Tx, row: disks.Volume, instance: tables.Instance, device: str) -> None:
    if row.instance_id:
        raise errors.VolumeInUse(f"{row.id} is already attached to an instance")
    if row.state != "available":
        raise errors.IncorrectState(f"Volume '{row.id}' is not 'available'.")
    if instance.state not in ("running", "stopped"):
        raise errors.IncorrectState(f"Instance '{instance.id}' is not 'running' or 'stopped'.")
    if instance.zone != row.zone:
        raise errors.InvalidVolumeZoneMismatch(
            f"The volume '{row.id}' is not in the same availability zone as instance '{instance.id}'"
        )
    if device == disks.ROOT_DEVICE and instance.state != "stopped":
        raise errors.IncorrectState(f"Instance '{instance.id}' must be stopped to get another root volume.")
    have = disks.of_instance(tx, instance.id)
    if device in {one.device for one in have}:
        raise errors.InvalidParameterValue(
            f"Invalid value '{device}' for unixDevice. Attachment point {device} is already in use"
        )
    if len(have) >= devices.DEVICES_MAX:
        raise errors.AttachmentLimitExceeded(f"An instance can have at most {devices.DEVICES_MAX} volumes.")


@operation("DetachVolume", needs=needs.detach_volume)
@takes("VolumeId", "InstanceId", "Device", "Force")
async def detach_volume(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a volume from its instance; a root volume only while that is stopped.

    Source: Amazon EC2 API Reference, DetachVolume.
    """

    def change(tx: Tx) -> disks.Volume:
        row = _mine(tx, call, request["VolumeId"])
        if not row.instance_id or row.attachment == "detaching":
            raise errors.IncorrectState(f"Volume '{row.id}' is in the 'available' state.")
        named = request.get("InstanceId") or row.instance_id
        if named != row.instance_id or request.get("Device") not in (None, "", row.device):
            raise errors.InvalidAttachmentNotFound(
                f"The volume '{row.id}' is not attached to instance '{named}' as device "
                f"'{request.get('Device') or row.device}'."
            )
        instance = tables.instance(tx, row.instance_id)
        if row.is_root and instance is not None and instance.state != "stopped":
            raise errors.OperationNotPermitted(f"Unable to detach root volume '{row.id}' from instance '{instance.id}'")
        disks.update(tx, disks.Volume, row.id, attachment="detaching")
        return _mine(tx, call, row.id)

    row = await call.doors.database.write(change)
    call.doors.part("ec2", Compute).storage.wake(row.id)
    return _attachment(row)


@operation("ModifyVolume", needs=needs.on("ModifyVolume", "VolumeId"))
@takes("VolumeId", "Size", "VolumeType", "Iops", "Throughput", "MultiAttachEnabled")
async def modify_volume(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change size (up only), type and speed of a volume; done at once.

    Source: Amazon EC2 API Reference, ModifyVolume.
    """
    devices.plain(request)

    def change(tx: Tx) -> disks.Volume:
        row = _mine(tx, call, request["VolumeId"])
        if row.state not in ("available", "in-use"):
            raise errors.IncorrectState(f"Volume '{row.id}' is in the '{row.state}' state.")
        size_gib, kind = int(request.get("Size") or row.size_gib), request.get("VolumeType") or row.type
        if size_gib < row.size_gib:
            raise errors.InvalidParameterValue("New size cannot be smaller than existing size")
        kept_iops, kept_throughput = devices.carried(kind, row.iops, row.throughput)
        iops, throughput = request.get("Iops", kept_iops), request.get("Throughput", kept_throughput)
        reached = devices.performance(kind, size_gib, iops, throughput)
        if (size_gib, kind, *reached) == (row.size_gib, row.type, row.iops, row.throughput):
            raise errors.InvalidParameterValue("The volume has these values already; nothing would be modified.")
        note = {"from": [row.size_gib, row.type, row.iops, row.throughput], "at": call.now.timestamp()}
        values = {"size_gib": size_gib, "type": kind, "iops": reached[0], "throughput": reached[1]}
        disks.update(tx, disks.Volume, row.id, modification=json.dumps(note), **values)
        return _mine(tx, call, row.id)

    return {"VolumeModification": _modification(await call.doors.database.write(change))}


def _modification(row: disks.Volume) -> dict[str, Any]:
    note = json.loads(row.modification)
    shown: dict[str, Any] = {
        "VolumeId": row.id,
        "ModificationState": "completed",
        "Progress": 100,
        "StartTime": moment(note["at"]),
        "EndTime": moment(note["at"]),
        "OriginalMultiAttachEnabled": False,
        "TargetMultiAttachEnabled": False,
    }
    for side, values in (
        ("Original", note["from"]),
        ("Target", [row.size_gib, row.type, row.iops, row.throughput]),
    ):
        for name, value in zip(("Size", "VolumeType", "Iops", "Throughput"), values, strict=True):
            if value:
                shown[side + name] = value
    return shown


@operation("DescribeVolumesModifications", needs=needs.look("DescribeVolumesModifications"))
@takes("VolumeIds", "Filters", "NextToken", "MaxResults")
async def describe_volumes_modifications(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The last modification of each volume that had one.

    Source: Amazon EC2 API Reference, DescribeVolumesModifications.
    """
    given = many(request, "VolumeIds")
    rows = call.doors.database.read(lambda db: disks.listed(db, disks.Volume, call.account, call.region))
    rows = disks.chosen(rows, disks.Volume, given)
    for row in rows:
        if given and not row.modification:
            raise errors.InvalidVolumeModificationNotFound(f"Modification for volume '{row.id}' does not exist.")
    paths = {
        "modification-state": "ModificationState",
        "original-iops": "OriginalIops",
        "original-size": "OriginalSize",
        "original-volume-type": "OriginalVolumeType",
        "target-iops": "TargetIops",
        "target-size": "TargetSize",
        "target-volume-type": "TargetVolumeType",
        "volume-id": "VolumeId",
    }
    shown = [_modification(row) for row in rows if row.modification]
    chosen, token = page(
        select(shown, request.get("Filters"), paths, lambda row: row), request, lambda row: row["VolumeId"], most=500
    )
    return with_token({"VolumesModifications": chosen}, token)
