# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's AWS::EC2::Volume and AWS::EC2::VolumeAttachment.

Source: CloudFormation Template Reference, AWS::EC2::Volume, AWS::EC2::VolumeAttachment.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import many
from cloudchamber.services.ec2.resources import TAG, retag, tags_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.resource import Agent, Properties

_POLL_S = 0.05
_WITHIN_S = 600.0
_NUMBERS = ("Size", "Iops", "Throughput")
_TEXTS = ("AvailabilityZone", "SnapshotId", "VolumeType")


def _request(given: Properties) -> dict[str, Any]:
    found: dict[str, Any] = {name: str(given[name]) for name in _TEXTS if given.get(name)}
    found |= {name: int(given[name]) for name in _NUMBERS if given.get(name) is not None}
    for name in ("Encrypted", "MultiAttachEnabled"):
        if given.get(name) is not None:
            found[name] = str(given[name]).lower() == "true"
    if given.get("KmsKeyId"):
        found["KmsKeyId"] = str(given["KmsKeyId"])
    return found


async def _volume(agent: Agent, volume_id: str) -> Mapping[str, Any]:
    return (await agent.ask("ec2", "DescribeVolumes", {"VolumeIds": [volume_id]}))["Volumes"][0]


async def _until(agent: Agent, volume_id: str, ready: Callable[[Mapping[str, Any]], bool]) -> None:
    """Wait for a volume.

    Raises:
        IncorrectState: it failed, or did not get there in time.
    """
    ends = agent.clock.monotonic() + _WITHIN_S
    while True:
        view = await _volume(agent, volume_id)
        if ready(view):
            return
        if view["State"] == "error" or agent.clock.monotonic() > ends:
            raise errors.IncorrectState(f"Volume {volume_id} did not stabilize: it is {view['State']}.")
        await asyncio.sleep(_POLL_S)


async def _create_volume(agent: Agent, given: Properties) -> Made:
    request = _request(given)
    tags = tags_of(agent, many(given, "Tags"))
    if tags:
        request["TagSpecifications"] = [{"ResourceType": "volume", "Tags": tags}]
    # Why: a retry after a crash of the engine must find the volume of its first try.
    request["ClientToken"] = hashlib.sha256(f"{agent.stack_id}/{agent.name()}".encode()).hexdigest()
    volume_id = (await agent.ask("ec2", "CreateVolume", request))["VolumeId"]
    agent.begun(volume_id)
    try:
        await _until(agent, volume_id, lambda view: view["State"] in ("available", "in-use"))
    except BaseException:
        with contextlib.suppress(ServiceError):
            await agent.ask("ec2", "DeleteVolume", {"VolumeId": volume_id})
        raise
    return Made(volume_id, {"VolumeId": volume_id})


async def _update_volume(agent: Agent, volume_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, volume_id, old, new)
    changed = {
        name: value
        for name, value in _request(new).items()
        if name in (*_NUMBERS, "VolumeType") and old.get(name) != new.get(name)
    }
    if changed:
        await agent.ask("ec2", "ModifyVolume", {"VolumeId": volume_id, **changed})
    return Made(volume_id, {"VolumeId": volume_id})


async def _delete_volume(agent: Agent, volume_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidVolumeNotFound):
        if agent.snapshot:
            description = f"Last snapshot of {agent.logical_id} of stack {agent.stack_name}"
            await agent.ask("ec2", "CreateSnapshot", {"VolumeId": volume_id, "Description": description})
        # Why: an instance that is being terminated lets go of it in a moment.
        await _until(agent, volume_id, lambda view: view["State"] != "in-use")
        await agent.ask("ec2", "DeleteVolume", {"VolumeId": volume_id})


async def _attach(agent: Agent, given: Properties) -> Made:
    volume_id, instance_id = str(given["VolumeId"]), str(given["InstanceId"])
    device = str(given.get("Device") or await _free_device(agent, instance_id))
    request = {"VolumeId": volume_id, "InstanceId": instance_id, "Device": device}
    await agent.ask("ec2", "AttachVolume", request)
    await _until(agent, volume_id, lambda view: any(one["State"] == "attached" for one in view["Attachments"]))
    return Made(f"{volume_id}|{instance_id}")


async def _free_device(agent: Agent, instance_id: str) -> str:
    answer = await agent.ask("ec2", "DescribeInstances", {"InstanceIds": [instance_id]})
    used = {one["DeviceName"] for one in answer["Reservations"][0]["Instances"][0]["BlockDeviceMappings"]}
    return next(one for one in (f"/dev/sd{letter}" for letter in "fghijklmnopqrstuvwxyz") if one not in used)


async def _detach(agent: Agent, physical_id: str, given: Properties) -> None:
    volume_id, _, instance_id = physical_id.partition("|")
    with contextlib.suppress(errors.InvalidVolumeNotFound, errors.IncorrectState, errors.InvalidAttachmentNotFound):
        await agent.ask("ec2", "DetachVolume", {"VolumeId": volume_id, "InstanceId": instance_id})
        await _until(agent, volume_id, lambda view: not view["Attachments"])


TYPES = (
    ResourceType(
        "AWS::EC2::Volume",
        {
            "AvailabilityZone": Property("replace", required=True),
            "SnapshotId": Property("replace"),
            "Size": Property(),
            "VolumeType": Property(),
            "Iops": Property(),
            "Throughput": Property(),
            "Encrypted": Property("replace"),
            "KmsKeyId": Property("replace"),
            "MultiAttachEnabled": Property("replace"),
            "Tags": Property(shape=TAG),
        },
        _create_volume,
        _delete_volume,
        _update_volume,
        ("VolumeId",),
        snapshot=True,
    ),
    ResourceType(
        "AWS::EC2::VolumeAttachment",
        {
            "VolumeId": Property("replace", required=True),
            "InstanceId": Property("replace", required=True),
            "Device": Property("replace"),
        },
        _attach,
        _detach,
    ),
)
