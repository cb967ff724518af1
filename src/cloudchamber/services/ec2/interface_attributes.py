# SPDX-License-Identifier: Apache-2.0
"""Attributes of the one network interface of an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, interfaces, launch, needs, tables, views
from cloudchamber.services.ec2.checks import inner, refuse, takes
from cloudchamber.services.ec2.compute import Compute
from cloudchamber.services.ec2.instances import look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx


def _owner(seen: views.Seen, interface_id: str) -> tables.Instance:
    """The instance that an interface belongs to.

    Raises:
        InvalidNetworkInterfaceID.NotFound: there is no such interface.
    """
    for row in seen.instances:
        if row.eni_id == interface_id and row.state != "terminated":
            return row
    raise errors.InvalidNetworkInterfaceIDNotFound(f"The networkInterface ID '{interface_id}' does not exist")


@operation("DescribeNetworkInterfaceAttribute", needs=needs.look("DescribeNetworkInterfaceAttribute"))
@takes("NetworkInterfaceId", "Attribute")
async def describe_network_interface_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of an interface.

    Source: Amazon EC2 API Reference, DescribeNetworkInterfaceAttribute.
    """
    seen = look(call)
    shown = views.network_interface(_owner(seen, request["NetworkInterfaceId"]), seen)
    values: dict[str, dict[str, Any]] = {
        "description": {"Description": {"Value": shown["Description"]}},
        "groupSet": {"Groups": shown["Groups"]},
        "sourceDestCheck": {"SourceDestCheck": {"Value": shown["SourceDestCheck"]}},
        "attachment": {"Attachment": shown["Attachment"]},
        "associatePublicIpAddress": {"AssociatePublicIpAddress": "Association" in shown},
    }
    attribute = request.get("Attribute") or "description"
    if attribute not in values:
        raise errors.InvalidParameterValue(f"Value ({attribute}) for parameter attribute is invalid.")
    return {"NetworkInterfaceId": request["NetworkInterfaceId"], **values[attribute]}


@operation(
    "ModifyNetworkInterfaceAttribute", needs=needs.on("ModifyNetworkInterfaceAttribute", "NetworkInterfaceId", "Groups")
)
@takes("NetworkInterfaceId", "Groups", "Description", "SourceDestCheck", "Attachment")
async def modify_network_interface_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give an interface other security groups, which hold when this returns, or another description.

    Raises:
        UnsupportedOperation: the check of sources switched off, or an interface that outlives its instance.

    Source: Amazon EC2 API Reference, ModifyNetworkInterfaceAttribute.
    """
    row = _owner(look(call), request["NetworkInterfaceId"])
    _as_it_is(request, row)
    values: dict[str, Any] = {}
    if "Description" in request:
        values["interface_description"] = inner(request, "Description").get("Value") or ""
        interfaces.check_description(values["interface_description"])
    given = request.get("Groups")
    if given is not None:
        if not given:
            raise errors.InvalidParameterValue(
                "Value () for parameter groups is invalid. At least one group is needed."
            )
        values["groups"] = launch.resolve_groups(call, row.vpc_id, given)
    if not values:
        return {}

    def change(tx: Tx) -> None:
        now = views.region(tx, call.account, call.region, call.now.timestamp())
        tables.update_instance(tx, _owner(now, request["NetworkInterfaceId"]).id, **values)

    await call.doors.database.write(change)
    if "groups" in values:
        await call.doors.part("ec2", Compute).rules_changed()
    return {}


def _as_it_is(request: Mapping[str, Any], row: tables.Instance) -> None:
    """Refuse to change what cannot be otherwise here; to say it as it is, is nothing."""
    check = inner(request, "SourceDestCheck")
    if check and not check.get("Value"):
        raise errors.UnsupportedOperation(
            "The parameter SourceDestCheck is not supported by this EC2 endpoint with the value 'false': no instance "
            "forwards the traffic of others here. A NAT gateway does."
        )
    attachment = inner(request, "Attachment")
    refuse("Attachment.", attachment, {"AttachmentId", "DeleteOnTermination"})
    identifier = "eni-attach-" + row.eni_id.removeprefix("eni-")
    if attachment and attachment.get("AttachmentId") != identifier:
        raise errors.InvalidAttachmentIDNotFound(f"The attachment '{attachment.get('AttachmentId')}' does not exist.")
    if attachment.get("DeleteOnTermination") is False:
        raise errors.UnsupportedOperation("Network interfaces of their own are not supported by this EC2 endpoint.")
