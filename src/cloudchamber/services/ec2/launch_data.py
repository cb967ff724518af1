# SPDX-License-Identifier: Apache-2.0
"""What a launch template would have to say for another instance like one that there is."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import needs, views
from cloudchamber.services.ec2.checks import takes
from cloudchamber.services.ec2.instances import look, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.ec2 import disks, tables


@operation("GetLaunchTemplateData", needs=needs.on("GetLaunchTemplateData", "InstanceId"))
@takes("InstanceId")
async def get_launch_template_data(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The launch template data of an instance as it is now.

    Source: Amazon EC2 API Reference, GetLaunchTemplateData.
    """
    seen = look(call)
    row = wanted(seen, [request["InstanceId"]])[0]
    data: dict[str, Any] = {
        "EbsOptimized": row.ebs_optimized,
        "BlockDeviceMappings": [_device(one) for one in seen.volumes.get(row.id, ())],
        "NetworkInterfaces": [_interface(row, seen)],
        "ImageId": row.image_id,
        "InstanceType": row.type,
        "Monitoring": {"Enabled": False},
        "Placement": {"AvailabilityZone": row.zone, "GroupName": "", "Tenancy": "default"},
        "DisableApiTermination": row.terminate_protection,
        "DisableApiStop": row.stop_protection,
        "InstanceInitiatedShutdownBehavior": row.shutdown_behavior,
        "HibernationOptions": {"Configured": False},
        "EnclaveOptions": {"Enabled": False},
        "MetadataOptions": {k: v for k, v in views.metadata_options(row).items() if k != "State"},
        "MaintenanceOptions": {"AutoRecovery": row.auto_recovery},
    }
    if row.key_name:
        data["KeyName"] = row.key_name
    if row.profile_arn:
        data["IamInstanceProfile"] = {"Arn": row.profile_arn}
    if row.user_data:
        data["UserData"] = base64.b64encode(row.user_data).decode()
    tags = {k: v for k, v in seen.tags.get(row.id, {}).items() if not k.startswith("aws:")}
    if tags:
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        data["TagSpecifications"] = [{"ResourceType": "instance", "Tags": pairs}]
    return {"LaunchTemplateData": data}


def _device(row: disks.Volume) -> dict[str, Any]:
    ebs: dict[str, Any] = {
        "Encrypted": False,
        "DeleteOnTermination": bool(row.delete_on_termination),
        "VolumeSize": row.size_gib,
        "VolumeType": row.type,
    }
    found = {"Iops": row.iops, "Throughput": row.throughput, "SnapshotId": row.snapshot_id}
    return {"DeviceName": row.device, "Ebs": {**ebs, **{name: value for name, value in found.items() if value}}}


def _interface(row: tables.Instance, seen: views.Seen) -> dict[str, Any]:
    return {
        "AssociatePublicIpAddress": views.public(row, seen) is not None,
        "DeleteOnTermination": True,
        "Description": row.interface_description,
        "DeviceIndex": 0,
        "NetworkCardIndex": 0,
        "Groups": list(row.groups),
        "InterfaceType": "interface",
        "PrivateIpAddresses": [{"Primary": True, "PrivateIpAddress": row.private_ip}],
        "SubnetId": row.subnet_id,
    }
