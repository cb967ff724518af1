# SPDX-License-Identifier: Apache-2.0
"""Attributes of images of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import devices, disks, errors, images, needs, sharing, snapshots
from cloudchamber.services.ec2.checks import (
    refuse,
    takes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


@operation("DescribeImageAttribute", needs=needs.on("DescribeImageAttribute", "ImageId"))
@takes("ImageId", "Attribute")
async def describe_image_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of an image of one's own.

    Source: Amazon EC2 API Reference, DescribeImageAttribute.
    """

    def read(db: Reader) -> dict[str, Any]:
        row = images.mine(db, call, request["ImageId"])
        values: dict[str, dict[str, Any]] = {
            "description": {"Description": {"Value": row.description}},
            "launchPermission": {"LaunchPermissions": sharing.view(row.shared)},
            "blockDeviceMapping": {"BlockDeviceMappings": [devices.view(images.disk(one)) for one in row.devices()]},
            "productCodes": {"ProductCodes": []},
            "sriovNetSupport": {"SriovNetSupport": {"Value": "simple"}},
            "imdsSupport": {"ImdsSupport": {"Value": row.imds} if row.imds else {}},
        }
        if request["Attribute"] not in values:
            raise errors.InvalidParameterValue(
                f"Value ({request['Attribute']}) for parameter attribute is invalid. Unknown attribute."
            )
        return {"ImageId": row.id, **values[request["Attribute"]]}

    return call.doors.database.read(read)


@operation("ModifyImageAttribute", needs=needs.on("ModifyImageAttribute", "ImageId"))
@takes(
    "ImageId", "Attribute", "Description", "LaunchPermission", "OperationType", "UserIds", "UserGroups", "Value",
    "ImdsSupport",
)  # fmt: skip
async def modify_image_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change who may launch an image, its description, or whether its instances must use IMDSv2.

    Source: Amazon EC2 API Reference, ModifyImageAttribute.
    """
    values = _described(request)
    shares = any(request.get(one) for one in ("LaunchPermission", "UserIds", "UserGroups", "OperationType"))
    if not values and not shares:
        raise errors.MissingParameter("The request must contain the parameter LaunchPermission or Description")
    if values and shares:
        raise errors.InvalidParameterCombination("Fields for multiple attribute types specified")
    if shares:
        add, remove = sharing.changes(request, "LaunchPermission", "launchPermission", "UserGroups")
    else:
        add, remove = [], []

    def change(tx: Tx) -> None:
        row = images.mine(tx, call, request["ImageId"])
        disks.update(tx, disks.Image, row.id, **values, shared=sharing.changed(row.shared, add, remove))

    await call.doors.database.write(change)
    return {}


def _described(request: Mapping[str, Any]) -> dict[str, str]:
    """Columns of the plain attributes that a request sets."""
    text, imds = request.get("Description"), request.get("ImdsSupport")
    if request.get("Attribute") == "description":
        text = {"Value": request.get("Value") or ""}
    elif request.get("Attribute") == "imdsSupport":
        imds = {"Value": request.get("Value") or ""}
    found: dict[str, str] = {}
    if text is not None:
        refuse("Description.", text, {"Value"})
        found["description"] = snapshots.described({"Description": text.get("Value")})
    if imds is not None:
        if imds.get("Value") != "v2.0":
            raise errors.InvalidParameterValue(f"Value ({imds.get('Value')}) for parameter imdsSupport is invalid.")
        found["imds"] = "v2.0"
    return found


@operation("ResetImageAttribute", needs=needs.on("ResetImageAttribute", "ImageId"))
@takes("ImageId", "Attribute")
async def reset_image_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take back what other accounts may do with an image.

    Source: Amazon EC2 API Reference, ResetImageAttribute.
    """
    if request["Attribute"] != "launchPermission":
        raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")

    def change(tx: Tx) -> None:
        disks.update(tx, disks.Image, images.mine(tx, call, request["ImageId"]).id, shared="[]")

    await call.doors.database.write(change)
    return {}
