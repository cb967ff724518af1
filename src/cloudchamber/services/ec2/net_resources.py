# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's network types, and launch templates.

Source: CloudFormation Template Reference, AWS::EC2::VPC, Subnet, InternetGateway, VPCGatewayAttachment, RouteTable,
Route, SubnetRouteTableAssociation, NatGateway, EIP, EIPAssociation, LaunchTemplate.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import many
from cloudchamber.services.ec2.resources import TAG, retag, tags_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties


def _true(value: object) -> bool:
    return str(value).lower() == "true"


def _specified(agent: Agent, kind: str, given: Properties) -> dict[str, Any]:
    tags = tags_of(agent, many(given, "Tags"))
    return {"TagSpecifications": [{"ResourceType": kind, "Tags": tags}]} if tags else {}


def _token(agent: Agent) -> str:
    return hashlib.sha256(f"{agent.stack_id}/{agent.name()}".encode()).hexdigest()


def _some(given: Properties, *names: str) -> dict[str, str]:
    return {name: str(given[name]) for name in names if given.get(name)}


async def _one(agent: Agent, operation: str, member: str, identifier: str, answer: str) -> Mapping[str, Any]:
    return (await agent.ask("ec2", operation, {member: [identifier]}))[answer][0]


# AWS::EC2::VPC


async def _create_vpc(agent: Agent, given: Properties) -> Made:
    request = _some(given, "CidrBlock", "InstanceTenancy")
    vpc_id = (await agent.ask("ec2", "CreateVpc", {**request, **_specified(agent, "vpc", given)}))["Vpc"]["VpcId"]
    agent.begun(vpc_id)
    try:
        await _names(agent, vpc_id, {}, given)
        return await _vpc_made(agent, vpc_id)
    except BaseException:
        with contextlib.suppress(ServiceError):
            await agent.ask("ec2", "DeleteVpc", {"VpcId": vpc_id})
        raise


async def _names(agent: Agent, vpc_id: str, old: Properties, new: Properties) -> None:
    for name, default in (("EnableDnsSupport", True), ("EnableDnsHostnames", False)):
        before, after = _true(old.get(name, default)), _true(new.get(name, default))
        if before != after:
            await agent.ask("ec2", "ModifyVpcAttribute", {"VpcId": vpc_id, name: {"Value": after}})


async def _vpc_made(agent: Agent, vpc_id: str) -> Made:
    view = await _one(agent, "DescribeVpcs", "VpcIds", vpc_id, "Vpcs")
    own = {"Filters": [{"Name": "vpc-id", "Values": [vpc_id]}]}
    groups = (await agent.ask("ec2", "DescribeSecurityGroups", own))["SecurityGroups"]
    acls = (await agent.ask("ec2", "DescribeNetworkAcls", own))["NetworkAcls"]
    attributes = {
        "VpcId": vpc_id,
        "CidrBlock": view["CidrBlock"],
        "CidrBlockAssociations": [one["AssociationId"] for one in view["CidrBlockAssociationSet"]],
        "Ipv6CidrBlocks": [],
        "DefaultSecurityGroup": next(one["GroupId"] for one in groups if one["GroupName"] == "default"),
        "DefaultNetworkAcl": acls[0]["NetworkAclId"],
    }
    return Made(vpc_id, attributes)


async def _update_vpc(agent: Agent, vpc_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, vpc_id, old, new)
    await _names(agent, vpc_id, old, new)
    return await _vpc_made(agent, vpc_id)


async def _delete_vpc(agent: Agent, vpc_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidVpcIDNotFound):
        await agent.ask("ec2", "DeleteVpc", {"VpcId": vpc_id})


# AWS::EC2::Subnet


async def _create_subnet(agent: Agent, given: Properties) -> Made:
    request = _some(given, "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId")
    answer = await agent.ask("ec2", "CreateSubnet", {**request, **_specified(agent, "subnet", given)})
    subnet_id = answer["Subnet"]["SubnetId"]
    agent.begun(subnet_id)
    if _true(given.get("MapPublicIpOnLaunch")):
        await _public(agent, subnet_id, given)
    return await _subnet_made(agent, subnet_id)


async def _public(agent: Agent, subnet_id: str, given: Properties) -> None:
    public = {"MapPublicIpOnLaunch": {"Value": _true(given.get("MapPublicIpOnLaunch"))}}
    await agent.ask("ec2", "ModifySubnetAttribute", {"SubnetId": subnet_id, **public})


async def _subnet_made(agent: Agent, subnet_id: str) -> Made:
    view = await _one(agent, "DescribeSubnets", "SubnetIds", subnet_id, "Subnets")
    names = ("SubnetId", "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId")
    return Made(subnet_id, {**{name: view[name] for name in names}, "Ipv6CidrBlocks": []})


async def _update_subnet(agent: Agent, subnet_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, subnet_id, old, new)
    if old.get("MapPublicIpOnLaunch") != new.get("MapPublicIpOnLaunch"):
        await _public(agent, subnet_id, new)
    return await _subnet_made(agent, subnet_id)


async def _delete_subnet(agent: Agent, subnet_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidSubnetIDNotFound):
        await agent.ask("ec2", "DeleteSubnet", {"SubnetId": subnet_id})


# AWS::EC2::InternetGateway and its attachment


async def _create_gateway(agent: Agent, given: Properties) -> Made:
    answer = await agent.ask("ec2", "CreateInternetGateway", _specified(agent, "internet-gateway", given))
    gateway_id = answer["InternetGateway"]["InternetGatewayId"]
    return Made(gateway_id, {"InternetGatewayId": gateway_id})


async def _update_gateway(agent: Agent, gateway_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, gateway_id, old, new)
    return Made(gateway_id, {"InternetGatewayId": gateway_id})


async def _delete_gateway(agent: Agent, gateway_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidInternetGatewayIDNotFound):
        await agent.ask("ec2", "DeleteInternetGateway", {"InternetGatewayId": gateway_id})


async def _attach(agent: Agent, given: Properties) -> Made:
    await agent.ask("ec2", "AttachInternetGateway", _some(given, "InternetGatewayId", "VpcId"))
    return Made(f"IGW|{given['VpcId']}", {"AttachmentType": "IGW"})


async def _detach(agent: Agent, physical_id: str, given: Properties) -> None:
    gone = (errors.InvalidInternetGatewayIDNotFound, errors.GatewayNotAttached, errors.InvalidVpcIDNotFound)
    with contextlib.suppress(*gone):
        await agent.ask("ec2", "DetachInternetGateway", _some(given, "InternetGatewayId", "VpcId"))


# AWS::EC2::RouteTable, Route, SubnetRouteTableAssociation


async def _create_table(agent: Agent, given: Properties) -> Made:
    request = {**_some(given, "VpcId"), **_specified(agent, "route-table", given), "ClientToken": _token(agent)}
    table_id = (await agent.ask("ec2", "CreateRouteTable", request))["RouteTable"]["RouteTableId"]
    return Made(table_id, {"RouteTableId": table_id})


async def _update_table(agent: Agent, table_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, table_id, old, new)
    return Made(table_id, {"RouteTableId": table_id})


async def _delete_table(agent: Agent, table_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidRouteTableIDNotFound):
        await agent.ask("ec2", "DeleteRouteTable", {"RouteTableId": table_id})


_ROUTE = ("RouteTableId", "DestinationCidrBlock", "GatewayId", "NatGatewayId")


def _route_made(given: Properties) -> Made:
    return Made(
        f"{given['RouteTableId']}|{given['DestinationCidrBlock']}", {"CidrBlock": given["DestinationCidrBlock"]}
    )


async def _create_route(agent: Agent, given: Properties) -> Made:
    await agent.ask("ec2", "CreateRoute", _some(given, *_ROUTE))
    return _route_made(given)


async def _update_route(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    await agent.ask("ec2", "ReplaceRoute", _some(new, *_ROUTE))
    return _route_made(new)


async def _delete_route(agent: Agent, physical_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidRouteNotFound, errors.InvalidRouteTableIDNotFound):
        await agent.ask("ec2", "DeleteRoute", _some(given, "RouteTableId", "DestinationCidrBlock"))


async def _associate(agent: Agent, given: Properties) -> Made:
    answer = await agent.ask("ec2", "AssociateRouteTable", _some(given, "RouteTableId", "SubnetId"))
    return Made(answer["AssociationId"], {"Id": answer["AssociationId"]})


async def _associate_anew(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    request = {"AssociationId": physical_id, **_some(new, "RouteTableId")}
    answer = await agent.ask("ec2", "ReplaceRouteTableAssociation", request)
    return Made(answer["NewAssociationId"], {"Id": answer["NewAssociationId"]})


async def _disassociate(agent: Agent, physical_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidAssociationIDNotFound):
        await agent.ask("ec2", "DisassociateRouteTable", {"AssociationId": physical_id})


# AWS::EC2::NatGateway


async def _create_nat(agent: Agent, given: Properties) -> Made:
    request = _some(given, "SubnetId", "AllocationId", "ConnectivityType", "PrivateIpAddress")
    request |= {**_specified(agent, "natgateway", given), "ClientToken": _token(agent)}
    nat_id = (await agent.ask("ec2", "CreateNatGateway", request))["NatGateway"]["NatGatewayId"]
    return Made(nat_id, {"NatGatewayId": nat_id})


async def _update_nat(agent: Agent, nat_id: str, old: Properties, new: Properties) -> Made:
    await retag(agent, nat_id, old, new)
    return Made(nat_id, {"NatGatewayId": nat_id})


async def _delete_nat(agent: Agent, nat_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.NatGatewayNotFound):
        await agent.ask("ec2", "DeleteNatGateway", {"NatGatewayId": nat_id})


# AWS::EC2::EIP and EIPAssociation


async def _create_address(agent: Agent, given: Properties) -> Made:
    request = {**_some(given, "Domain"), **_specified(agent, "elastic-ip", given)}
    answer = await agent.ask("ec2", "AllocateAddress", request)
    ip, allocation_id = answer["PublicIp"], answer["AllocationId"]
    agent.begun(ip)
    if given.get("InstanceId"):
        try:
            associate = {"AllocationId": allocation_id, "InstanceId": given["InstanceId"]}
            await agent.ask("ec2", "AssociateAddress", associate)
        except BaseException:
            with contextlib.suppress(ServiceError):
                await agent.ask("ec2", "ReleaseAddress", {"AllocationId": allocation_id})
            raise
    return Made(ip, {"AllocationId": allocation_id, "PublicIp": ip})


async def _address(agent: Agent, ip: str) -> Mapping[str, Any] | None:
    try:
        return await _one(agent, "DescribeAddresses", "PublicIps", ip, "Addresses")
    except errors.InvalidAddressNotFound:
        return None


async def _update_address(agent: Agent, ip: str, old: Properties, new: Properties) -> Made:
    found = await _address(agent, ip)
    if found is None:
        raise errors.InvalidAddressNotFound(f"Address '{ip}' not found.")
    await retag(agent, found["AllocationId"], old, new)
    if old.get("InstanceId") != new.get("InstanceId"):
        if new.get("InstanceId"):
            associate = {"AllocationId": found["AllocationId"], "InstanceId": new["InstanceId"]}
            await agent.ask("ec2", "AssociateAddress", {**associate, "AllowReassociation": True})
        elif found.get("AssociationId"):
            await agent.ask("ec2", "DisassociateAddress", {"AssociationId": found["AssociationId"]})
    return Made(ip, {"AllocationId": found["AllocationId"], "PublicIp": ip})


async def _delete_address(agent: Agent, ip: str, given: Properties) -> None:
    found = await _address(agent, ip)
    if found is None:
        return
    if found.get("AssociationId") and found.get("InstanceId"):
        await agent.ask("ec2", "DisassociateAddress", {"AssociationId": found["AssociationId"]})
    await agent.ask("ec2", "ReleaseAddress", {"AllocationId": found["AllocationId"]})


async def _associate_address(agent: Agent, given: Properties) -> Made:
    request: dict[str, Any] = _some(given, "AllocationId", "InstanceId", "NetworkInterfaceId", "PrivateIpAddress")
    if given.get("EIP"):
        request["PublicIp"] = given["EIP"]
    answer = await agent.ask("ec2", "AssociateAddress", {**request, "AllowReassociation": True})
    return Made(answer["AssociationId"], {"Id": answer["AssociationId"]})


async def _disassociate_address(agent: Agent, physical_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidAssociationIDNotFound):
        await agent.ask("ec2", "DisassociateAddress", {"AssociationId": physical_id})


# AWS::EC2::LaunchTemplate


async def _create_template(agent: Agent, given: Properties) -> Made:
    tags = [*many(given, "TagSpecifications")]
    stack_tags = tags_of(agent, [])
    if stack_tags and not tags:
        tags = [{"ResourceType": "launch-template", "Tags": stack_tags}]
    request: dict[str, Any] = {
        "LaunchTemplateName": given.get("LaunchTemplateName") or agent.name(128),
        "LaunchTemplateData": _template_data(given),
        "ClientToken": _token(agent),
        **_some(given, "VersionDescription"),
        **({"TagSpecifications": tags} if tags else {}),
    }
    return _template_made((await agent.ask("ec2", "CreateLaunchTemplate", request))["LaunchTemplate"])


def _template_data(given: Properties) -> dict[str, Any]:
    """`LaunchTemplateData` with the types of the API: a template's values may be texts."""
    data = dict(given["LaunchTemplateData"])
    for name in ("DisableApiTermination", "DisableApiStop"):
        if name in data:
            data[name] = _true(data[name])
    interfaces = many(data, "NetworkInterfaces")
    if interfaces:
        data["NetworkInterfaces"] = [
            {
                **one,
                "DeviceIndex": int(one.get("DeviceIndex") or 0),
                **{n: _true(one[n]) for n in ("AssociatePublicIpAddress", "DeleteOnTermination") if n in one},
            }
            for one in interfaces
        ]
    return data


def _template_made(view: Mapping[str, Any]) -> Made:
    attributes = {
        "LaunchTemplateId": view["LaunchTemplateId"],
        "DefaultVersionNumber": str(view["DefaultVersionNumber"]),
        "LatestVersionNumber": str(view["LatestVersionNumber"]),
    }
    return Made(view["LaunchTemplateId"], attributes)


async def _update_template(agent: Agent, template_id: str, old: Properties, new: Properties) -> Made:
    if old["LaunchTemplateData"] != new["LaunchTemplateData"]:
        request = {"LaunchTemplateId": template_id, "LaunchTemplateData": _template_data(new)}
        await agent.ask("ec2", "CreateLaunchTemplateVersion", {**request, **_some(new, "VersionDescription")})
    view = await _one(agent, "DescribeLaunchTemplates", "LaunchTemplateIds", template_id, "LaunchTemplates")
    return _template_made(view)


async def _delete_template(agent: Agent, template_id: str, given: Properties) -> None:
    with contextlib.suppress(errors.InvalidLaunchTemplateIdNotFound):
        await agent.ask("ec2", "DeleteLaunchTemplate", {"LaunchTemplateId": template_id})


_TAGS = {"Tags": Property(shape=TAG)}
_REPLACE, _REPLACE_REQUIRED = Property("replace"), Property("replace", required=True)

TYPES = (
    ResourceType(
        "AWS::EC2::VPC",
        {
            "CidrBlock": _REPLACE_REQUIRED,
            "InstanceTenancy": _REPLACE,
            "EnableDnsSupport": Property(),
            "EnableDnsHostnames": Property(),
            **_TAGS,
        },
        _create_vpc,
        _delete_vpc,
        _update_vpc,
        ("VpcId", "CidrBlock", "CidrBlockAssociations", "Ipv6CidrBlocks", "DefaultSecurityGroup", "DefaultNetworkAcl"),
    ),
    ResourceType(
        "AWS::EC2::Subnet",
        {
            "VpcId": _REPLACE_REQUIRED,
            "CidrBlock": _REPLACE_REQUIRED,
            "AvailabilityZone": _REPLACE,
            "AvailabilityZoneId": _REPLACE,
            "MapPublicIpOnLaunch": Property(),
            **_TAGS,
        },
        _create_subnet,
        _delete_subnet,
        _update_subnet,
        ("SubnetId", "VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "Ipv6CidrBlocks"),
    ),
    ResourceType(
        "AWS::EC2::InternetGateway", _TAGS, _create_gateway, _delete_gateway, _update_gateway, ("InternetGatewayId",)
    ),
    ResourceType(
        "AWS::EC2::VPCGatewayAttachment",
        {"VpcId": _REPLACE_REQUIRED, "InternetGatewayId": _REPLACE_REQUIRED},
        _attach,
        _detach,
        None,
        ("AttachmentType",),
    ),
    ResourceType(
        "AWS::EC2::RouteTable", {"VpcId": _REPLACE_REQUIRED, **_TAGS}, _create_table, _delete_table, _update_table,
        ("RouteTableId",),
    ),
    ResourceType(
        "AWS::EC2::Route",
        {
            "RouteTableId": _REPLACE_REQUIRED,
            "DestinationCidrBlock": _REPLACE_REQUIRED,
            "GatewayId": Property(),
            "NatGatewayId": Property(),
        },
        _create_route,
        _delete_route,
        _update_route,
        ("CidrBlock",),
    ),
    ResourceType(
        "AWS::EC2::SubnetRouteTableAssociation",
        {"RouteTableId": Property(required=True), "SubnetId": _REPLACE_REQUIRED},
        _associate,
        _disassociate,
        _associate_anew,
        ("Id",),
    ),
    ResourceType(
        "AWS::EC2::NatGateway",
        {
            "SubnetId": _REPLACE_REQUIRED,
            "AllocationId": _REPLACE,
            "ConnectivityType": _REPLACE,
            "PrivateIpAddress": _REPLACE,
            **_TAGS,
        },
        _create_nat,
        _delete_nat,
        _update_nat,
        ("NatGatewayId",),
    ),
    ResourceType(
        "AWS::EC2::EIP", {"Domain": _REPLACE, "InstanceId": Property(), **_TAGS},
        _create_address, _delete_address, _update_address, ("AllocationId", "PublicIp"),
    ),
    ResourceType(
        "AWS::EC2::LaunchTemplate",
        {
            "LaunchTemplateName": _REPLACE,
            "LaunchTemplateData": Property(required=True),
            "VersionDescription": Property(),
            "TagSpecifications": _REPLACE,
        },
        _create_template,
        _delete_template,
        _update_template,
        ("LaunchTemplateId", "DefaultVersionNumber", "LatestVersionNumber"),
    ),
    ResourceType(
        "AWS::EC2::EIPAssociation",
        {
            "AllocationId": _REPLACE,
            "EIP": _REPLACE,
            "InstanceId": _REPLACE,
            "NetworkInterfaceId": _REPLACE,
            "PrivateIpAddress": _REPLACE,
        },
        _associate_address,
        _disassociate_address,
        None,
        ("Id",),
    ),
)  # fmt: skip
