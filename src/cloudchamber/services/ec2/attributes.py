# SPDX-License-Identifier: Apache-2.0
"""Attributes of an instance, and its metadata options."""

from __future__ import annotations

import base64
import platform
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import catalog, disks, errors, launch, needs, tables, views
from cloudchamber.services.ec2.checks import inner, refuse, takes
from cloudchamber.services.ec2.compute import Compute
from cloudchamber.services.ec2.instances import look, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

_BOOLEANS = {"DisableApiTermination": "terminate_protection", "DisableApiStop": "stop_protection"}
_MEMBERS = {
    "instanceType": "InstanceType",
    "userData": "UserData",
    "disableApiTermination": "DisableApiTermination",
    "disableApiStop": "DisableApiStop",
    "instanceInitiatedShutdownBehavior": "InstanceInitiatedShutdownBehavior",
    "groupSet": "Groups",
    "blockDeviceMapping": "BlockDeviceMappings",
    "sourceDestCheck": "SourceDestCheck",
    "ebsOptimized": "EbsOptimized",
}
_WITHOUT_VALUE = ("Groups", "BlockDeviceMappings")


@operation("DescribeInstanceAttribute", needs=needs.on("DescribeInstanceAttribute", "InstanceId"))
@takes("InstanceId", "Attribute")
async def describe_instance_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of an instance.

    Source: Amazon EC2 API Reference, DescribeInstanceAttribute.
    """
    seen = look(call)
    row = wanted(seen, [request["InstanceId"]])[0]
    values: dict[str, dict[str, Any]] = {
        "instanceType": {"InstanceType": {"Value": row.type}},
        "userData": {"UserData": {"Value": base64.b64encode(row.user_data).decode()} if row.user_data else {}},
        "disableApiTermination": {"DisableApiTermination": {"Value": row.terminate_protection}},
        "disableApiStop": {"DisableApiStop": {"Value": row.stop_protection}},
        "instanceInitiatedShutdownBehavior": {"InstanceInitiatedShutdownBehavior": {"Value": row.shutdown_behavior}},
        "groupSet": {"Groups": [{"GroupId": one} for one in row.groups]},
        "rootDeviceName": {"RootDeviceName": {"Value": "/dev/xvda"}},
        "sourceDestCheck": {"SourceDestCheck": {"Value": True}},
        "ebsOptimized": {"EbsOptimized": {"Value": row.ebs_optimized}},
        "enaSupport": {"EnaSupport": {"Value": True}},
        "productCodes": {"ProductCodes": []},
        "blockDeviceMapping": {"BlockDeviceMappings": views.block_devices(row, seen)},
        "enclaveOptions": {"EnclaveOptions": {"Enabled": False}},
        "kernel": {"KernelId": {}},
        "ramdisk": {"RamdiskId": {}},
        "sriovNetSupport": {"SriovNetSupport": {"Value": "simple"}},
    }
    attribute = request["Attribute"]
    if attribute not in values:
        raise errors.InvalidParameterValue(
            f"Value ({attribute}) for parameter attribute is invalid. Unknown attribute."
        )
    return {"InstanceId": row.id, **values[attribute]}


@operation("ModifyInstanceAttribute", needs=needs.modify("ModifyInstanceAttribute"))
@takes("InstanceId", "Attribute", "Value", *_MEMBERS.values())
async def modify_instance_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change one attribute; type and user data only while the instance is stopped.

    Source: Amazon EC2 API Reference, ModifyInstanceAttribute.
    """
    name, value = _one(request)
    instance = wanted(look(call), [request["InstanceId"]])[0]
    if name == "BlockDeviceMappings":
        await _keep_volumes(call, instance.id, value)
        return {}
    values = _columns(call, instance.vpc_id, name, value)

    def change(tx: Tx) -> None:
        row = wanted(views.region(tx, call.account, call.region, call.now.timestamp()), [request["InstanceId"]])[0]
        if name in ("InstanceType", "UserData", "EbsOptimized") and row.state != "stopped":
            raise errors.IncorrectInstanceState(f"The instance '{row.id}' is not in the 'stopped' state.")
        if row.state in ("terminated", "shutting-down"):
            raise errors.IncorrectInstanceState(f"The instance '{row.id}' is not in a state that allows this.")
        if values:
            tables.update_instance(tx, row.id, **values)

    await call.doors.database.write(change)
    if name == "Groups":
        await call.doors.part("ec2", Compute).rules_changed()
    return {}


async def _keep_volumes(call: Call, instance_id: str, given: Sequence[Mapping[str, Any]]) -> None:
    """Say which volumes of an instance go with it."""

    def change(tx: Tx) -> None:
        have = {row.device: row for row in disks.of_instance(tx, instance_id)}
        for one in given:
            refuse("BlockDeviceMappings.", one, {"DeviceName", "Ebs"})
            ebs = inner(one, "Ebs")
            refuse("BlockDeviceMappings.Ebs.", ebs, {"DeleteOnTermination", "VolumeId"})
            name = one.get("DeviceName") or ""
            row = have.get(disks.ROOT_DEVICE if name == "/dev/sda1" else name)
            if row is None or ebs.get("VolumeId") not in (None, "", row.id):
                raise errors.InvalidInstanceAttributeValue(
                    f"No device is currently mapped at {one.get('DeviceName') or ''}"
                )
            if ebs.get("DeleteOnTermination") is not None:
                disks.update(tx, disks.Volume, row.id, delete_on_termination=int(ebs["DeleteOnTermination"]))

    await call.doors.database.write(change)


@operation("ResetInstanceAttribute", needs=needs.on("ResetInstanceAttribute", "InstanceId"))
@takes("InstanceId", "Attribute")
async def reset_instance_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set an attribute to its default: the check of sources and destinations, which is always on here.

    Source: Amazon EC2 API Reference, ResetInstanceAttribute.
    """
    wanted(look(call), [request["InstanceId"]])
    if request["Attribute"] in ("kernel", "ramdisk"):
        raise errors.UnsupportedOperation(
            f"The attribute '{request['Attribute']}' is not supported by this EC2 endpoint."
        )
    if request["Attribute"] != "sourceDestCheck":
        raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    return {}


def _one(request: Mapping[str, Any]) -> tuple[str, Any]:
    """The attribute to change and its value, from either form of the request."""
    given = {name: request[name] for name in _MEMBERS.values() if request.get(name) is not None}
    if request.get("Attribute"):
        name = _MEMBERS.get(request["Attribute"])
        if name is None or name in _WITHOUT_VALUE:
            raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
        text = request.get("Value") or ""
        given[name] = {
            "Value": text == "true"
            if name in (*_BOOLEANS, "SourceDestCheck", "EbsOptimized")
            else base64.b64decode(text)
            if name == "UserData"
            else text
        }
    if len(given) != 1:
        raise errors.InvalidParameterCombination(
            "Fields for multiple attribute types specified" if given else "No attributes specified."
        )
    return next(iter(given.items()))


def _columns(call: Call, vpc_id: str, name: str, value: Any) -> dict[str, object]:
    if name == "Groups":
        if not value:
            raise errors.MissingParameter("The request must contain the parameter groupId")
        return {"groups": launch.resolve_groups(call, vpc_id, value)}
    given = value.get("Value")
    if name == "SourceDestCheck":
        if not given:
            raise errors.UnsupportedOperation(
                "The parameter SourceDestCheck is not supported by this EC2 endpoint with the value 'false': no "
                "instance forwards the traffic of others here. A NAT gateway does."
            )
        return {}
    if name == "EbsOptimized":
        return {"ebs_optimized": bool(given)}
    if name in _BOOLEANS:
        return {_BOOLEANS[name]: bool(given)}
    if name == "InstanceType":
        return {"type": launch.instance_type(given or "", catalog.architecture(platform.machine())).name}
    if name == "UserData":
        data = given.encode() if isinstance(given, str) else bytes(given or b"")
        launch.check_user_data(data)
        return {"user_data": data}
    if given not in ("stop", "terminate"):
        raise errors.InvalidParameterValue(
            f"Value ({given}) for parameter InstanceInitiatedShutdownBehavior is invalid."
        )
    return {"shutdown_behavior": given}


@operation("ModifyInstanceMetadataOptions", needs=needs.modify("ModifyInstanceMetadataOptions"))
@takes(
    "InstanceId", "HttpTokens", "HttpEndpoint", "HttpPutResponseHopLimit", "InstanceMetadataTags", "HttpProtocolIpv6"
)
async def modify_instance_metadata_options(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change how the metadata service answers, from the next request on.

    Source: Amazon EC2 API Reference, ModifyInstanceMetadataOptions.
    """
    options = {k: v for k, v in request.items() if k not in ("InstanceId", "DryRun")}
    launch.check_metadata(options)
    columns = {
        "HttpTokens": "http_tokens",
        "HttpEndpoint": "http_endpoint",
        "HttpPutResponseHopLimit": "hop_limit",
        "InstanceMetadataTags": "metadata_tags",
    }
    values: dict[str, object] = {columns[k]: v for k, v in options.items() if k in columns}

    def change(tx: Tx) -> tables.Instance:
        row = wanted(views.region(tx, call.account, call.region, call.now.timestamp()), [request["InstanceId"]])[0]
        if row.state in ("terminated", "shutting-down"):
            raise errors.IncorrectInstanceState(f"The instance '{row.id}' is not in a state that allows this.")
        if values:
            tables.update_instance(tx, row.id, **values)
        found = tables.instance(tx, row.id)
        return found if found is not None else row

    row = await call.doors.database.write(change)
    return {"InstanceId": row.id, "InstanceMetadataOptions": {**views.metadata_options(row), "State": "pending"}}
