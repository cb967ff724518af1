# SPDX-License-Identifier: Apache-2.0
"""The one network interface of an instance, from the two ways in which a launch may describe it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import many, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

_INSTANCE_LEVEL = {
    "SubnetId": "subnet ID",
    "SecurityGroupIds": "security groups",
    "SecurityGroups": "security groups",
    "PrivateIpAddress": "private address",
}
_DESCRIPTION_MAX = 255
_TAKEN = {
    "DeviceIndex",
    "NetworkCardIndex",
    "SubnetId",
    "Groups",
    "PrivateIpAddress",
    "PrivateIpAddresses",
    "AssociatePublicIpAddress",
    "DeleteOnTermination",
    "Description",
    "InterfaceType",
}


@dataclass(frozen=True, slots=True)
class Interface:
    """What a launch says of its interface; `public` None leaves it to the subnet."""

    subnet_id: str = ""
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    private_ip: str = ""
    public: bool | None = None
    description: str = ""


def primary(request: Mapping[str, Any]) -> Interface:
    """The primary interface of a launch, checked or not.

    Source: Amazon EC2 API Reference, RunInstances, InstanceNetworkInterfaceSpecification.
    """
    given = many(request, "NetworkInterfaces")
    if not given:
        return Interface(
            request.get("SubnetId") or "",
            tuple(many(request, "SecurityGroupIds")),
            tuple(many(request, "SecurityGroups")),
            request.get("PrivateIpAddress") or "",
        )
    one = given[0]
    return Interface(
        one.get("SubnetId") or "",
        tuple(many(one, "Groups")),
        (),
        one.get("PrivateIpAddress") or _first(one),
        one.get("AssociatePublicIpAddress"),
        one.get("Description") or "",
    )


def _first(given: Mapping[str, Any]) -> str:
    """The primary one of `PrivateIpAddresses`, which may stand there instead of `PrivateIpAddress`."""
    return next((str(one.get("PrivateIpAddress") or "") for one in many(given, "PrivateIpAddresses")), "")


def check_description(text: str) -> None:
    """Refuse a description of an interface that is longer than AWS takes.

    Raises:
        InvalidParameterValue: more than 255 characters.
    """
    if len(text) > _DESCRIPTION_MAX:
        raise errors.InvalidParameterValue(
            f"Value for parameter description is invalid: it has more than {_DESCRIPTION_MAX} characters."
        )


def check(request: Mapping[str, Any]) -> None:
    """Refuse what is not one interface, described in one way.

    Raises:
        InvalidParameterCombination: both ways at once.
        UnsupportedOperation: more than one interface, one that exists already, or a member that is not carried out.
    """
    given = many(request, "NetworkInterfaces")
    if not given:
        return
    for member, words in _INSTANCE_LEVEL.items():
        if request.get(member):
            raise errors.InvalidParameterCombination(
                f"Network interfaces and an instance-level {words} may not be specified on the same request"
            )
    one = given[0]
    if len(given) > 1 or int(one.get("DeviceIndex") or 0):
        raise errors.UnsupportedOperation("More than one network interface is not supported by this EC2 endpoint.")
    refuse("NetworkInterfaces.", one, _TAKEN)
    check_description(one.get("Description") or "")
    addresses = many(one, "PrivateIpAddresses")
    if addresses and one.get("PrivateIpAddress"):
        raise errors.InvalidParameterCombination(
            "Only one of PrivateIpAddress and PrivateIpAddresses may be specified for a network interface."
        )
    if len(addresses) > 1 or any(not address.get("Primary") for address in addresses):
        raise errors.UnsupportedOperation("More than one private address is not supported by this EC2 endpoint.")
    if one.get("DeleteOnTermination") is False or (one.get("InterfaceType") or "interface") != "interface":
        raise errors.UnsupportedOperation("Network interfaces of their own are not supported by this EC2 endpoint.")
