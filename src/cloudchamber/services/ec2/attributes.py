# SPDX-License-Identifier: Apache-2.0
"""Attributes of an instance, and its metadata options."""

from __future__ import annotations

import base64
import platform
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import catalog, errors, launch, needs, tables, views
from cloudchamber.services.ec2.checks import takes
from cloudchamber.services.ec2.compute import Compute
from cloudchamber.services.ec2.instances import look, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

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
}


@operation("DescribeInstanceAttribute", needs=needs.on("DescribeInstanceAttribute", "InstanceId"))
@takes("InstanceId", "Attribute")
async def describe_instance_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of an instance.

    Source: Amazon EC2 API Reference, DescribeInstanceAttribute.
    """
    row = wanted(look(call), [request["InstanceId"]])[0]
    values: dict[str, dict[str, Any]] = {
        "instanceType": {"InstanceType": {"Value": row.type}},
        "userData": {"UserData": {"Value": base64.b64encode(row.user_data).decode()} if row.user_data else {}},
        "disableApiTermination": {"DisableApiTermination": {"Value": row.terminate_protection}},
        "disableApiStop": {"DisableApiStop": {"Value": row.stop_protection}},
        "instanceInitiatedShutdownBehavior": {"InstanceInitiatedShutdownBehavior": {"Value": row.shutdown_behavior}},
        "groupSet": {"Groups": [{"GroupId": one} for one in row.groups]},
        "rootDeviceName": {"RootDeviceName": {"Value": "/dev/xvda"}},
        "sourceDestCheck": {"SourceDestCheck": {"Value": True}},
        "ebsOptimized": {"EbsOptimized": {"Value": False}},
        "enaSupport": {"EnaSupport": {"Value": True}},
        "productCodes": {"ProductCodes": []},
        "blockDeviceMapping": {"BlockDeviceMappings": []},
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
    values = _columns(call, instance.vpc_id, name, value)

    def change(tx: Tx) -> None:
        row = wanted(views.region(tx, call.account, call.region, call.now.timestamp()), [request["InstanceId"]])[0]
        if name in ("InstanceType", "UserData") and row.state != "stopped":
            raise errors.IncorrectInstanceState(f"The instance '{row.id}' is not in the 'stopped' state.")
        if row.state in ("terminated", "shutting-down"):
            raise errors.IncorrectInstanceState(f"The instance '{row.id}' is not in a state that allows this.")
        tables.update_instance(tx, row.id, **values)

    await call.doors.database.write(change)
    if name == "Groups":
        await call.doors.part("ec2", Compute).rules_changed()
    return {}


def _one(request: Mapping[str, Any]) -> tuple[str, Any]:
    """The attribute to change and its value, from either form of the request."""
    given = {name: request[name] for name in _MEMBERS.values() if request.get(name) is not None}
    if request.get("Attribute"):
        name = _MEMBERS.get(request["Attribute"])
        if name is None or name == "Groups":
            raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
        text = request.get("Value") or ""
        given[name] = {
            "Value": text == "true" if name in _BOOLEANS else base64.b64decode(text) if name == "UserData" else text
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
    inner = value.get("Value")
    if name in _BOOLEANS:
        return {_BOOLEANS[name]: bool(inner)}
    if name == "InstanceType":
        return {"type": launch.instance_type(inner or "", catalog.architecture(platform.machine())).name}
    if name == "UserData":
        data = inner.encode() if isinstance(inner, str) else bytes(inner or b"")
        launch.check_user_data(data)
        return {"user_data": data}
    if inner not in ("stop", "terminate"):
        raise errors.InvalidParameterValue(
            f"Value ({inner}) for parameter InstanceInitiatedShutdownBehavior is invalid."
        )
    return {"shutdown_behavior": inner}


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
