# SPDX-License-Identifier: Apache-2.0
"""What can be launched: Amazon's image and images of one's own."""

from __future__ import annotations

import json
import platform
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import catalog, devices, disks, errors, needs, snapshots, tables, views
from cloudchamber.services.ec2.checks import (
    many,
    page,
    select,
    specified_tags,
    tagged,
    takes,
    with_token,
)
from cloudchamber.services.ec2.compute import Compute
from cloudchamber.services.ec2.instances import wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

AMAZON = "137112412989"
"""The account that owns Amazon Linux images on AWS."""
IMAGES_MAX = 200
_NAME = re.compile(r"[A-Za-z0-9()\[\] ./\-'@_]{3,128}", re.ASCII)
_FROM_SSM = "resolve:ssm:"


@dataclass(frozen=True, slots=True)
class Launchable:
    """What a launch needs to know of an image."""

    id: str
    architecture: str
    disks: tuple[devices.Disk, ...]


def _same(view: dict[str, Any]) -> Mapping[str, Any]:
    return view


# What a launch asks


async def resolved(call: Call, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """The request with the image that its `resolve:ssm:` names, if it does so.

    Raises:
        InvalidParameterValue: the caller cannot read that parameter, or it names no image.

    Source: Amazon EC2 User Guide, "Reference AMIs using Systems Manager parameters".
    """
    image = str(request.get("ImageId") or "")
    if not image.startswith(_FROM_SSM):
        return request
    name = image.removeprefix(_FROM_SSM)
    try:
        answer = await call.ask("ssm", "GetParameters", {"Names": [name]})
    except ServiceError as error:
        raise errors.InvalidParameterValue(f"The parameter '{name}' could not be read: {error.message}") from None
    if not answer.get("Parameters"):
        raise errors.InvalidParameterValue(f"The Systems Manager parameter '{name}' does not exist.")
    return {**request, "ImageId": answer["Parameters"][0]["Value"]}


def launchable(call: Call, image_id: str) -> Launchable:
    """An image that this account may launch.

    Raises:
        MissingParameter, InvalidAMIID.Malformed, InvalidAMIID.NotFound, InvalidAMIID.Unavailable.
    """
    if not image_id:
        raise errors.MissingParameter("The request must contain the parameter ImageId")
    for image in catalog.images(catalog.architecture(platform.machine())):
        if image.id == image_id:
            return Launchable(image.id, image.architecture, catalog.DISKS)
    row = call.doors.database.read(
        lambda db: disks.get(db, disks.Image, call.account, call.region, image_id, shared=True)
    )
    state, _ = call.doors.database.read(lambda db: _state(db, row))
    if state != "available":
        raise errors.InvalidAMIIDUnavailable(f"The image id '[{image_id}]' is not available: it is {state}.")
    return Launchable(row.id, row.architecture, tuple(disk(one) for one in row.devices()))


def snapshot_for(call: Call, snapshot_id: str) -> disks.Snapshot:
    """A snapshot that this account may make a volume of.

    Raises:
        InvalidSnapshot.NotFound, IncorrectState: there is none, or it is not whole.
    """
    row = call.doors.database.read(
        lambda db: disks.get(db, disks.Snapshot, call.account, call.region, snapshot_id, shared=True)
    )
    if row.state != "completed":
        raise errors.IncorrectState(f"Snapshot '{row.id}' is in the '{row.state}' state.")
    return row


def disk(kept: Mapping[str, Any]) -> devices.Disk:
    """A disk of an image, from its row."""
    return devices.Disk(**kept)


# Views


def _state(db: Reader, row: disks.Image) -> tuple[str, str]:
    """State of an image, from that of its snapshots, and why it failed."""
    found = [disks.find(db, disks.Snapshot, one["snapshot"]) for one in row.devices() if one["snapshot"]]
    for one in found:
        if one is None or one.state == "error":
            return "failed", one.message if one is not None else "its snapshot is gone"
    return ("pending" if any(one is not None and one.state == "pending" for one in found) else "available"), ""


def _amazon(image: catalog.Image) -> dict[str, Any]:
    return {
        **_common(image.id, image.name, image.description, image.architecture),
        "ImageLocation": f"amazon/{image.name}",
        "ImageOwnerAlias": "amazon",
        "OwnerId": AMAZON,
        "CreationDate": image.created,
        "Public": True,
        "State": "available",
        "BlockDeviceMappings": [devices.view(one) for one in catalog.DISKS],
        "ImdsSupport": "v2.0",
    }


def _common(identifier: str, name: str, description: str, architecture: str) -> dict[str, Any]:
    return {
        "ImageId": identifier,
        "Name": name,
        "Description": description,
        "Architecture": architecture,
        "ImageType": "machine",
        "PlatformDetails": "Linux/UNIX",
        "UsageOperation": "RunInstances",
        "EnaSupport": True,
        "Hypervisor": "xen",
        "RootDeviceName": disks.ROOT_DEVICE,
        "RootDeviceType": "ebs",
        "VirtualizationType": "hvm",
    }


def _own(db: Reader, row: disks.Image) -> dict[str, Any]:
    state, reason = _state(db, row)
    created = datetime.fromtimestamp(row.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    shown: dict[str, Any] = {
        **_common(row.id, row.name, row.description, row.architecture),
        "ImageLocation": f"{row.account}/{row.name}",
        "OwnerId": row.account,
        "CreationDate": created,
        "Public": disks.ALL in json.loads(row.shared),
        "State": state,
        "BlockDeviceMappings": [devices.view(disk(one)) for one in row.devices()],
    }
    if row.source_instance:
        shown["SourceInstanceId"] = row.source_instance
    if row.source_image:
        shown |= {"SourceImageId": row.source_image, "SourceImageRegion": row.source_region}
    if row.imds:
        shown["ImdsSupport"] = row.imds
    if reason:
        shown["StateReason"] = {"Code": "Client.SnapshotFailed", "Message": reason}
    return tagged(shown, tables.tags(db, row.id))


_FILTERS = {
    "architecture": "Architecture",
    "block-device-mapping.delete-on-termination": "BlockDeviceMappings.Ebs.DeleteOnTermination",
    "block-device-mapping.device-name": "BlockDeviceMappings.DeviceName",
    "block-device-mapping.encrypted": "BlockDeviceMappings.Ebs.Encrypted",
    "block-device-mapping.snapshot-id": "BlockDeviceMappings.Ebs.SnapshotId",
    "block-device-mapping.volume-size": "BlockDeviceMappings.Ebs.VolumeSize",
    "block-device-mapping.volume-type": "BlockDeviceMappings.Ebs.VolumeType",
    "description": "Description",
    "hypervisor": "Hypervisor",
    "image-id": "ImageId",
    "image-type": "ImageType",
    "is-public": "Public",
    "name": "Name",
    "owner-alias": "ImageOwnerAlias",
    "owner-id": "OwnerId",
    "root-device-name": "RootDeviceName",
    "root-device-type": "RootDeviceType",
    "source-image-id": "SourceImageId",
    "source-image-region": "SourceImageRegion",
    "source-instance-id": "SourceInstanceId",
    "state": "State",
    "virtualization-type": "VirtualizationType",
    "ena-support": "EnaSupport",
    "creation-date": "CreationDate",
    "platform-details": "PlatformDetails",
}


@operation("DescribeImages", needs=needs.look("DescribeImages"))
@takes(
    "ImageIds",
    "Owners",
    "ExecutableUsers",
    "IncludeDeprecated",
    "IncludeDisabled",
    "MaxResults",
    "NextToken",
    "Filters",
)
async def describe_images(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List what this account may launch here: this machine itself (Amazon's image), and images of accounts.

    Source: Amazon EC2 API Reference, DescribeImages.
    """

    def read(db: Reader) -> list[tuple[dict[str, Any], str]]:
        amazons = catalog.images(catalog.architecture(platform.machine()))
        found = [(_amazon(one), '["all"]') for one in amazons]
        rows = disks.seen(db, disks.Image, call.account, call.region)
        return [*found, *((_own(db, row), row.shared) for row in rows)]

    found = call.doors.database.read(read)
    known = {row["ImageId"] for row, _ in found}
    for one in many(request, "ImageIds"):
        disks.check_id(disks.Image, one)
    unknown = [one for one in many(request, "ImageIds") if one not in known]
    if len(unknown) > 1:
        raise errors.InvalidAMIIDNotFound(f"The image ids '[{', '.join(unknown)}]' do not exist")
    if unknown:
        raise disks.missing(disks.Image, unknown[0])
    if request.get("ImageIds"):
        found = [(row, shared) for row, shared in found if row["ImageId"] in request["ImageIds"]]
    owners = {call.account if one == "self" else one for one in many(request, "Owners")}
    if owners:
        found = [(row, s) for row, s in found if owners & {row["OwnerId"], row.get("ImageOwnerAlias", "")}]
    if request.get("ExecutableUsers"):
        found = [(row, s) for row, s in found if _launchable_by(row, s, request["ExecutableUsers"], call.account)]
    rows, token = page(
        select([row for row, _ in found], request.get("Filters"), _FILTERS, _same), request, lambda row: row["ImageId"]
    )
    return with_token({"Images": rows}, token)


def _launchable_by(view: Mapping[str, Any], shared: str, users: Sequence[str], account: str) -> bool:
    """Whether explicit permission is given to one of these; the owner's own (`self`) is not explicit, as on AWS."""
    return bool({account if one == "self" else one for one in users} & set(json.loads(shared)))


# Making images


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise errors.InvalidAMINameMalformed(
            "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, '(', ')', '.', "
            "'-', '/' and '_'"
        )


def _check_free(tx: Tx, call: Call, name: str) -> None:
    rows = disks.listed(tx, disks.Image, call.account, call.region)
    used = next((row.id for row in rows if row.name == name), "")
    if used:
        raise errors.InvalidAMINameDuplicate(f"AMI name {name} is already in use by AMI {used}")
    if disks.count(tx, disks.Image, call.account) >= IMAGES_MAX:
        raise errors.InvalidParameterValue(f"At most {IMAGES_MAX} images can be made here.")


@operation("CreateImage", needs=needs.create_image)
@takes("InstanceId", "Name", "Description", "NoReboot", "BlockDeviceMappings", "TagSpecifications", "SnapshotLocation")
async def create_image(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make an image of an instance's volumes.

    A running instance is rebooted for it, so that nothing is half written; with `NoReboot` it only stands still.

    Source: Amazon EC2 API Reference, CreateImage.
    """
    if (request.get("SnapshotLocation") or "regional") != "regional":
        raise errors.UnsupportedOperation("Snapshots outside of the region are not supported by this EC2 endpoint.")
    _check_name(request["Name"])
    tags = specified_tags(request, "image", "snapshot")
    image_id = ids.hex_id("ami")

    def change(tx: Tx) -> tuple[tables.Instance, list[str]]:
        region = views.region(tx, call.account, call.region, call.now.timestamp())
        instance = wanted(region, [request["InstanceId"]])[0]
        if instance.state not in ("running", "stopped"):
            raise errors.IncorrectState(f"Instance '{instance.id}' is not 'running' or 'stopped'.")
        _check_free(tx, call, request["Name"])
        reboot = instance.state == "running" and not request.get("NoReboot")
        taken = _snapshots_of(tx, call, request, instance, image_id, reboot=reboot, tags=tags.get("snapshot", {}))
        if reboot:
            tables.update_instance(tx, instance.id, rebooting=True)
        _insert(tx, call, request, image_id, taken, tags.get("image", {}), source_instance=instance.id)
        return instance, [] if reboot else [one.snapshot for one in taken if one.snapshot]

    instance, now = await call.doors.database.write(change)
    compute = call.doors.part("ec2", Compute)
    if now:
        await compute.storage.take(instance.id, now)
    else:
        compute.wake(instance.id)
    return {"ImageId": image_id}


def _snapshots_of(
    tx: Tx,
    call: Call,
    request: Mapping[str, Any],
    instance: tables.Instance,
    image_id: str,
    *,
    reboot: bool,
    tags: Mapping[str, str],
) -> list[devices.Disk]:
    """Drafts of snapshots of an instance's volumes, and the devices that the image has by them."""
    volumes = disks.of_instance(tx, instance.id)
    if not any(one.is_root for one in volumes):
        raise errors.InvalidParameterValue(f"Instance {instance.id} does not have a root volume.")
    have = [
        devices.Disk(
            one.device, one.size_gib, one.type, one.iops, one.throughput, one.id, bool(one.delete_on_termination)
        )
        for one in volumes
    ]
    by_id = {one.id: one for one in volumes}
    wanted_devices = devices.launched(have, devices.requested(request), lambda one: snapshot_for(call, one).size_gib)
    snapshots.check_room(tx, call, len(wanted_devices))
    found: list[devices.Disk] = []
    for one in wanted_devices:
        volume = by_id.get(one.snapshot)
        if volume is None:
            found.append(one)
            continue
        snapshots.check_usable(volume)
        text = f"Created by CreateImage({instance.id}) for {image_id}"
        row = replace(snapshots.draft(call, volume, text, at_reboot=reboot), size_gib=one.size_gib)
        disks.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        found.append(replace(one, snapshot=row.id))
    return found


def _insert(
    tx: Tx,
    call: Call,
    request: Mapping[str, Any],
    image_id: str,
    mappings: Sequence[devices.Disk],
    tags: Mapping[str, str],
    **more: Any,
) -> None:
    disks.insert(
        tx,
        disks.Image(
            image_id,
            call.account,
            call.region,
            request["Name"],
            snapshots.described(request),
            more.pop("architecture", "") or catalog.architecture(platform.machine()),
            call.now.timestamp(),
            disks.ROOT_DEVICE,
            disks.as_json(one.kept() for one in mappings),
            **more,
        ),
    )
    tables.put_tags(tx, call.account, call.region, image_id, tags)


@operation("RegisterImage", needs=needs.register_image)
@takes(
    "Name", "Description", "Architecture", "RootDeviceName", "BlockDeviceMappings", "VirtualizationType", "EnaSupport",
    "ImdsSupport", "TagSpecifications",
)  # fmt: skip
async def register_image(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make an image of snapshots.

    Source: Amazon EC2 API Reference, RegisterImage.
    """
    _check_name(request["Name"])
    machine = catalog.architecture(platform.machine())
    if (request.get("Architecture") or machine) != machine:
        raise errors.UnsupportedOperation(
            f"The architecture '{request['Architecture']}' is not supported by this EC2 endpoint: this machine is "
            f"{machine}."
        )
    if (request.get("VirtualizationType") or "hvm") != "hvm":
        raise errors.UnsupportedOperation("The parameter VirtualizationType is not supported by this EC2 endpoint.")
    if request.get("RootDeviceName") not in (None, "", disks.ROOT_DEVICE, "/dev/sda1"):
        raise errors.UnsupportedOperation(
            f"The parameter RootDeviceName is not supported by this EC2 endpoint: it is {disks.ROOT_DEVICE}."
        )
    if (request.get("ImdsSupport") or "v2.0") != "v2.0":
        raise errors.InvalidParameterValue(f"Value ({request['ImdsSupport']}) for parameter imdsSupport is invalid.")
    mappings = devices.launched((), devices.requested(request), lambda one: snapshot_for(call, one).size_gib)
    root = next((one for one in mappings if one.device == disks.ROOT_DEVICE), None)
    if root is None or not root.snapshot:
        raise errors.InvalidBlockDeviceMapping(f"The root device {disks.ROOT_DEVICE} must have a snapshot.")
    tags = specified_tags(request, "image", "snapshot").get("image", {})
    image_id = ids.hex_id("ami")

    def change(tx: Tx) -> None:
        _check_free(tx, call, request["Name"])
        _insert(tx, call, request, image_id, mappings, tags, imds=request.get("ImdsSupport") or "")

    await call.doors.database.write(change)
    return {"ImageId": image_id}


@operation("CopyImage", needs=needs.copy_image)
@takes("SourceRegion", "SourceImageId", "Name", "Description", "ClientToken", "CopyImageTags", "TagSpecifications")
async def copy_image(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Copy an image with its snapshots into the call's region. Amazon's own image is the same in every region.

    Source: Amazon EC2 API Reference, CopyImage.
    """
    _check_name(request["Name"])
    tags = specified_tags(request, "image", "snapshot")
    image_id, token = ids.hex_id("ami"), request.get("ClientToken") or ""
    wanted_image = json.dumps([request["SourceRegion"], request["SourceImageId"], request["Name"]])

    def change(tx: Tx) -> tuple[str, list[str]]:
        used = tables.token(tx, call.account, call.region, token) if token else None
        if used is not None:
            if used[0] != wanted_image:
                raise errors.IdempotentParameterMismatch(
                    "The request uses the same client token as a previous, but non-identical request."
                )
            return used[1], []
        source = disks.get(
            tx, disks.Image, call.account, request["SourceRegion"], request["SourceImageId"], shared=True
        )
        state, _ = _state(tx, source)
        if state != "available":
            raise errors.InvalidAMIIDUnavailable(f"The image id '[{source.id}]' is not available: it is {state}.")
        _check_free(tx, call, request["Name"])
        own = tables.tags(tx, source.id) if request.get("CopyImageTags") and source.account == call.account else {}
        copies = _copied(tx, call, source, image_id, tags.get("snapshot", {}))
        _insert(
            tx, call, {"Description": source.description, **request}, image_id, copies,
            {**own, **tags.get("image", {})}, architecture=source.architecture, source_image=source.id,
            source_region=source.region, imds=source.imds,
        )  # fmt: skip
        if token:
            tables.keep_token(tx, call.account, call.region, token, wanted_image, image_id)
        return image_id, [one.snapshot for one in copies if one.snapshot]

    made, begun = await call.doors.database.write(change)
    for one in begun:
        call.doors.part("ec2", Compute).storage.copy(one)
    return {"ImageId": made}


def _copied(tx: Tx, call: Call, source: disks.Image, image_id: str, tags: Mapping[str, str]) -> list[devices.Disk]:
    found = [disk(one) for one in source.devices()]
    snapshots.check_room(tx, call, len(found))
    text = f"Copied for DestinationAmi {image_id} from SourceAmi {source.id}"
    copies: list[devices.Disk] = []
    for one in found:
        original = disks.find(tx, disks.Snapshot, one.snapshot) if one.snapshot else None
        if original is None:
            copies.append(one)
            continue
        row = disks.Snapshot(
            ids.hex_id("snap"), call.account, call.region, original.volume_id, original.size_gib, text, "pending", 0,
            call.now.timestamp(), source=original.id,
        )  # fmt: skip
        disks.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        copies.append(replace(one, snapshot=row.id))
    return copies


def mine(db: Reader, call: Call, image_id: str) -> disks.Image:
    """An image of the caller's account.

    Raises:
        AuthFailure, InvalidAMIID.NotFound: it is another's, or there is none.
    """
    if image_id in {one.id for one in catalog.images(catalog.architecture(platform.machine()))}:
        raise errors.AuthFailure(f"Not authorized for image:{image_id}")
    row = disks.get(db, disks.Image, call.account, call.region, image_id, shared=True)
    if row.account != call.account:
        raise errors.AuthFailure(f"Not authorized for image:{image_id}")
    return row


@operation("DeregisterImage", needs=needs.on("DeregisterImage", "ImageId"))
@takes("ImageId", "DeleteAssociatedSnapshots")
async def deregister_image(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Forget an image; instances of it stay, and its snapshots too unless they are to go with it.

    Source: Amazon EC2 API Reference, DeregisterImage.
    """

    def change(tx: Tx) -> list[dict[str, str]]:
        row = mine(tx, call, request["ImageId"])
        disks.delete(tx, disks.Image, row.id)
        gone: list[dict[str, str]] = []
        for one in row.devices() if request.get("DeleteAssociatedSnapshots") else ():
            found = disks.find(tx, disks.Snapshot, one["snapshot"])
            if found is None or found.account != call.account:
                continue
            if disks.images_with(tx, found.id):
                gone.append({"SnapshotId": found.id, "ReturnCode": "skipped"})
            else:
                disks.delete(tx, disks.Snapshot, found.id)
                gone.append({"SnapshotId": found.id, "ReturnCode": "success"})
        return gone

    gone = await call.doors.database.write(change)
    call.doors.part("ec2", Compute).storage.forget()
    return {"Return": True, **({"DeleteSnapshotResults": gone} if gone else {})}
