# SPDX-License-Identifier: Apache-2.0
"""VPCs and their subnets."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, names, needs, nets, tables
from cloudchamber.services.ec2.checks import (
    described,
    many,
    named,
    specified_tags,
    tag_list,
    takes,
)
from cloudchamber.services.ec2.instances import look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.ec2.views import Seen
    from cloudchamber.store.database import Reader, Tx

VPCS_MAX = 100
SUBNETS_MAX = 200
_PREFIXES = range(16, 29)


def _vpc(row: nets.Vpc, tags: Mapping[str, str]) -> dict[str, Any]:
    block = {
        "AssociationId": names.stable_id("vpc-cidr-assoc", row.id),
        "CidrBlock": row.cidr,
        "CidrBlockState": {"State": "associated"},
    }
    return {
        "VpcId": row.id,
        "OwnerId": row.account,
        "State": "available",
        "CidrBlock": row.cidr,
        "CidrBlockAssociationSet": [block],
        "Ipv6CidrBlockAssociationSet": [],
        "DhcpOptionsId": names.stable_id("dopt", row.account, row.region),
        "InstanceTenancy": "default",
        "IsDefault": bool(row.is_default),
        "Tags": tag_list(tags),
    }


def block(text: str, error: type[errors.Ec2Error]) -> ipaddress.IPv4Network:
    """An IPv4 block of the size that VPCs and subnets may have.

    Raises:
        InvalidParameterValue: not a block. Or `error`: too large or too small.
    """
    try:
        if "/" not in text:
            raise ValueError(text)
        # Why not strict: "We modify the specified CIDR block to its canonical form" (CreateVpc, CreateSubnet).
        found = ipaddress.IPv4Network(text, strict=False)
    except ValueError:
        raise errors.InvalidParameterValue(
            f"Value ({text}) for parameter cidrBlock is invalid. This is not a valid CIDR block."
        ) from None
    if found.prefixlen not in _PREFIXES:
        raise error(f"The CIDR '{text}' is invalid.")
    return found


@operation("CreateVpc", needs=needs.create("CreateVpc", "vpc"))
@takes("CidrBlock", "InstanceTenancy", "TagSpecifications")
async def create_vpc(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a VPC with its main route table and its default security group.

    Raises:
        InvalidVpc.Range: the block is larger than /16 or smaller than /28.
        UnsupportedOperation: dedicated tenancy.

    Source: Amazon EC2 API Reference, CreateVpc.
    """
    if not request.get("CidrBlock"):
        raise errors.MissingParameter("Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
    found = block(request["CidrBlock"], errors.InvalidVpcRange)
    if found.is_loopback or found.is_link_local or found.is_multicast:
        raise errors.InvalidVpcRange(f"The CIDR '{found}' is invalid.")
    if (request.get("InstanceTenancy") or "default") != "default":
        raise errors.UnsupportedOperation("Dedicated tenancy is not supported by this EC2 endpoint.")
    tags = specified_tags(request, "vpc").get("vpc", {})
    row = nets.Vpc(ids.hex_id("vpc"), call.account, call.region, str(found))
    group_id, table_id = ids.hex_id("sg"), ids.hex_id("rtb")

    def change(tx: Tx) -> None:
        if len(nets.listed(tx, nets.Vpc, call.account, call.region)) >= VPCS_MAX:
            raise errors.VpcLimitExceeded("The maximum number of VPCs has been reached.")
        nets.furnish(tx, row, group_id, table_id=table_id)
        tables.put_tags(tx, call.account, call.region, row.id, tags)

    await call.doors.database.write(change)
    return {"Vpc": _vpc(row, tags)}


@operation("CreateDefaultVpc", needs=needs.look("CreateDefaultVpc"))
@takes()
async def create_default_vpc(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make the default VPC again after it was deleted.

    Raises:
        DefaultVpcAlreadyExists: there is one.

    Source: Amazon EC2 API Reference, CreateDefaultVpc.
    """

    def change(tx: Tx) -> nets.Vpc:
        if nets.default_vpc(tx, call.account, call.region) is not None:
            raise errors.DefaultVpcAlreadyExists("A Default VPC already exists for this account in this region.")
        return nets.make_default_vpc(tx, call.account, call.region, nets.default_subnets(call.account, call.region))

    return {"Vpc": _vpc(await call.doors.database.write(change), {})}


@operation("DeleteVpc", needs=needs.on("DeleteVpc", "VpcId"))
@takes("VpcId")
async def delete_vpc(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a VPC in which nothing is left but what it was made with.

    Raises:
        DependencyViolation: subnets, gateways, route tables or security groups are left.

    Source: Amazon EC2 API Reference, DeleteVpc.
    """

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.Vpc, call.account, call.region, request["VpcId"])
        own = nets.of_vpc(tx, nets.RouteTable, row.id)
        groups = tables.groups_of_vpc(tx, row.id)
        living = [one for one in nets.of_vpc(tx, nets.NatGateway, row.id) if not one.deleted]
        gateways = nets.of_vpc(tx, nets.InternetGateway, row.id)
        if nets.of_vpc(tx, nets.Subnet, row.id) or gateways or living or len(own) > 1 or len(groups) > 1:
            raise errors.DependencyViolation(f"The vpc '{row.id}' has dependencies and cannot be deleted.")
        for one in nets.associations(tx, row.id):
            nets.delete_association(tx, one.id)
        for table in own:
            nets.delete(tx, table)
        for group in groups:
            tables.delete_group(tx, group.id)
        nets.delete(tx, row)

    await call.doors.database.write(change)
    return {}


@operation("DescribeVpcs", needs=needs.look("DescribeVpcs"))
@takes("Filters", "VpcIds", "NextToken", "MaxResults")
async def describe_vpcs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List VPCs.

    Source: Amazon EC2 API Reference, DescribeVpcs; Amazon VPC User Guide, Default VPCs.
    """
    seen = look(call)
    found = call.doors.database.read(lambda db: nets.listed(db, nets.Vpc, call.account, call.region))
    rows = [_vpc(row, seen.tags.get(row.id, {})) for row in found]
    rows = named(rows, "VpcId", many(request, "VpcIds"), lambda one: nets.missing(nets.Vpc, one))
    paths = {
        "vpc-id": "VpcId",
        "cidr": "CidrBlock",
        "cidr-block-association.cidr-block": "CidrBlockAssociationSet.CidrBlock",
        "cidr-block-association.state": "CidrBlockAssociationSet.CidrBlockState.State",
        "is-default": "IsDefault",
        "isDefault": "IsDefault",
        "owner-id": "OwnerId",
        "state": "State",
        "dhcp-options-id": "DhcpOptionsId",
    }
    return described(rows, request, "Vpcs", "VpcId", paths)


@operation("DescribeVpcAttribute", needs=needs.on("DescribeVpcAttribute", "VpcId"))
@takes("VpcId", "Attribute")
async def describe_vpc_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One attribute of a VPC.

    Source: Amazon EC2 API Reference, DescribeVpcAttribute.
    """
    row = call.doors.database.read(lambda db: nets.get(db, nets.Vpc, call.account, call.region, request["VpcId"]))
    shown = {
        "enableDnsSupport": {"EnableDnsSupport": {"Value": bool(row.dns_support)}},
        "enableDnsHostnames": {"EnableDnsHostnames": {"Value": bool(row.dns_hostnames)}},
        "enableNetworkAddressUsageMetrics": {"EnableNetworkAddressUsageMetrics": {"Value": False}},
    }
    if request["Attribute"] not in shown:
        raise errors.InvalidParameterValue(f"Value ({request['Attribute']}) for parameter attribute is invalid.")
    return {"VpcId": row.id, **shown[request["Attribute"]]}


@operation("ModifyVpcAttribute", needs=needs.on("ModifyVpcAttribute", "VpcId"))
@takes("VpcId", "EnableDnsSupport", "EnableDnsHostnames")
async def modify_vpc_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Switch names on or off: `EnableDnsSupport` the name service, `EnableDnsHostnames` public names.

    Source: Amazon EC2 API Reference, ModifyVpcAttribute.
    """
    columns = {"EnableDnsSupport": "dns_support", "EnableDnsHostnames": "dns_hostnames"}
    values = {columns[name]: int(request[name]["Value"]) for name in columns if request.get(name)}
    if len(values) != 1:
        raise errors.InvalidParameterCombination(
            "Fields for multiple attribute types specified" if values else "No attributes specified."
        )

    def change(tx: Tx) -> None:
        nets.update(tx, nets.get(tx, nets.Vpc, call.account, call.region, request["VpcId"]), **values)

    await call.doors.database.write(change)
    return {}


def _subnet(row: nets.Subnet, seen: Seen) -> dict[str, Any]:
    used = sum(one.subnet_id == row.id and one.state != "terminated" for one in seen.instances)
    return {
        "SubnetId": row.id,
        "SubnetArn": names.arn("subnet", row.id, row.region, row.account),
        "VpcId": row.vpc_id,
        "OwnerId": row.account,
        "State": "available",
        "CidrBlock": row.cidr,
        "AvailableIpAddressCount": ipaddress.ip_network(row.cidr).num_addresses - 5 - used,
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": row.zone_id,
        "DefaultForAz": bool(row.is_default),
        "MapPublicIpOnLaunch": bool(row.public_on_launch),
        "AssignIpv6AddressOnCreation": False,
        "Ipv6CidrBlockAssociationSet": [],
        "MapCustomerOwnedIpOnLaunch": False,
        "EnableDns64": False,
        "Ipv6Native": False,
        "PrivateDnsNameOptionsOnLaunch": {
            "HostnameType": "ip-name",
            "EnableResourceNameDnsARecord": False,
            "EnableResourceNameDnsAAAARecord": False,
        },
        "Tags": tag_list(seen.tags.get(row.id, {})),
    }


@operation("CreateSubnet", needs=needs.create("CreateSubnet", "subnet", within="VpcId"))
@takes("VpcId", "CidrBlock", "AvailabilityZone", "AvailabilityZoneId", "TagSpecifications")
async def create_subnet(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a subnet in one zone of a VPC.

    Raises:
        InvalidSubnet.Range: the block is not within the VPC's. InvalidSubnet.Conflict: it overlaps another.

    Source: Amazon EC2 API Reference, CreateSubnet.
    """
    if not request.get("CidrBlock"):
        raise errors.MissingParameter("Either 'cidrBlock' or 'ipv4IpamPoolId' should be provided.")
    wanted = block(request["CidrBlock"], errors.InvalidSubnetRange)
    tags = specified_tags(request, "subnet").get("subnet", {})
    subnet_id, zone = ids.hex_id("subnet"), _zone(call, request)

    def change(tx: Tx) -> nets.Subnet:
        vpc = nets.get(tx, nets.Vpc, call.account, call.region, request["VpcId"])
        if not wanted.subnet_of(ipaddress.IPv4Network(vpc.cidr)):
            raise errors.InvalidSubnetRange(f"The CIDR '{wanted}' is invalid.")
        others = nets.of_vpc(tx, nets.Subnet, vpc.id)
        if any(wanted.overlaps(ipaddress.IPv4Network(one.cidr)) for one in others):
            raise errors.InvalidSubnetConflict(f"The CIDR '{wanted}' conflicts with another subnet")
        if len(others) >= SUBNETS_MAX:
            raise errors.SubnetLimitExceeded("The maximum number of subnets has been reached.")
        row = nets.Subnet(subnet_id, call.account, call.region, vpc.id, str(wanted), zone)
        nets.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return row

    row = await call.doors.database.write(change)
    return {"Subnet": _subnet(row, look(call))}


def _zone(call: Call, request: Mapping[str, Any]) -> str:
    known = names.zones(call.region)
    name, zone_id = request.get("AvailabilityZone"), request.get("AvailabilityZoneId")
    for zone, identifier in known:
        if (not name or name == zone) and (not zone_id or zone_id == identifier):
            return zone
    letters = ", ".join(zone for zone, _ in known)
    raise errors.InvalidParameterValue(
        f"Value ({name or zone_id}) for parameter availabilityZone is invalid. Subnets can currently only be created "
        f"in the following availability zones: {letters}."
    )


@operation("DeleteSubnet", needs=needs.on("DeleteSubnet", "SubnetId"))
@takes("SubnetId")
async def delete_subnet(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a subnet that nothing is in.

    Raises:
        DependencyViolation: instances, NAT gateways or databases are in it.

    Source: Amazon EC2 API Reference, DeleteSubnet.
    """
    asked = getattr(call.doors.parts.get("rds"), "uses_subnet", None)
    in_use = bool(asked(request["SubnetId"])) if asked is not None else False

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.Subnet, call.account, call.region, request["SubnetId"])
        if in_use or nets.used_private(tx, row) & {str(one) for one in ipaddress.IPv4Network(row.cidr)}:
            raise errors.DependencyViolation(f"The subnet '{row.id}' has dependencies and cannot be deleted.")
        for one in nets.associations(tx, row.vpc_id):
            if one.subnet_id == row.id:
                nets.delete_association(tx, one.id)
        nets.delete(tx, row)

    await call.doors.database.write(change)
    return {}


@operation("DescribeSubnets", needs=needs.look("DescribeSubnets"))
@takes("Filters", "SubnetIds", "NextToken", "MaxResults")
async def describe_subnets(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List subnets.

    Source: Amazon EC2 API Reference, DescribeSubnets.
    """
    seen = look(call)
    found = call.doors.database.read(lambda db: nets.listed(db, nets.Subnet, call.account, call.region))
    rows = [_subnet(row, seen) for row in found]
    rows = named(rows, "SubnetId", many(request, "SubnetIds"), lambda one: nets.missing(nets.Subnet, one))
    paths = {
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
        "availability-zone": "AvailabilityZone",
        "availabilityZone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "cidr-block": "CidrBlock",
        "cidr": "CidrBlock",
        "cidrBlock": "CidrBlock",
        "default-for-az": "DefaultForAz",
        "defaultForAz": "DefaultForAz",
        "map-public-ip-on-launch": "MapPublicIpOnLaunch",
        "owner-id": "OwnerId",
        "state": "State",
        "subnet-arn": "SubnetArn",
    }
    return described(rows, request, "Subnets", "SubnetId", paths)


@operation("ModifySubnetAttribute", needs=needs.on("ModifySubnetAttribute", "SubnetId"))
@takes("SubnetId", "MapPublicIpOnLaunch")
async def modify_subnet_attribute(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Say whether instances that are launched into a subnet get a public address.

    Source: Amazon EC2 API Reference, ModifySubnetAttribute.
    """
    if not request.get("MapPublicIpOnLaunch"):
        raise errors.MissingParameter("The request must contain an attribute to modify")
    public = int(request["MapPublicIpOnLaunch"]["Value"])

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.Subnet, call.account, call.region, request["SubnetId"])
        nets.update(tx, row, public_on_launch=public)

    await call.doors.database.write(change)
    return {}


def _acl(db: Reader, row: nets.Vpc) -> dict[str, Any]:
    acl_id = names.stable_id("acl", row.id)
    entries = [
        {"CidrBlock": "0.0.0.0/0", "Egress": egress, "Protocol": "-1", "RuleAction": action, "RuleNumber": number}
        for egress in (True, False)
        for number, action in ((100, "allow"), (32767, "deny"))
    ]
    served = [
        {"NetworkAclAssociationId": names.stable_id("aclassoc", one.id), "NetworkAclId": acl_id, "SubnetId": one.id}
        for one in nets.of_vpc(db, nets.Subnet, row.id)
    ]
    return {
        "NetworkAclId": acl_id,
        "VpcId": row.id,
        "OwnerId": row.account,
        "IsDefault": True,
        "Entries": entries,
        "Associations": served,
        "Tags": tag_list(tables.tags(db, acl_id)),
    }


@operation("DescribeNetworkAcls", needs=needs.look("DescribeNetworkAcls"))
@takes("Filters", "NetworkAclIds", "NextToken", "MaxResults")
async def describe_network_acls(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Each VPC's default network ACL, which lets everything through; others cannot be made.

    Source: Amazon EC2 API Reference, DescribeNetworkAcls.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        return [_acl(db, row) for row in nets.listed(db, nets.Vpc, call.account, call.region)]

    rows = call.doors.database.read(read)
    given = many(request, "NetworkAclIds")
    rows = named(
        rows, "NetworkAclId", given,
        lambda one: errors.InvalidNetworkAclIDNotFound(f"The networkAcl ID '{one}' does not exist"),
    )  # fmt: skip
    paths = {
        "network-acl-id": "NetworkAclId",
        "vpc-id": "VpcId",
        "default": "IsDefault",
        "association.subnet-id": "Associations.SubnetId",
        "owner-id": "OwnerId",
    }
    return described(rows, request, "NetworkAcls", "NetworkAclId", paths)


@operation("DescribeDhcpOptions", needs=needs.look("DescribeDhcpOptions"))
@takes("Filters", "DhcpOptionsIds", "NextToken", "MaxResults")
async def describe_dhcp_options(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The region's default set: Amazon's name service; others cannot be made.

    Source: Amazon EC2 API Reference, DescribeDhcpOptions.
    """
    options_id = names.stable_id("dopt", call.account, call.region)
    domain = names.private_dns("0.0.0.0", call.region).partition(".")[2]
    row = {
        "DhcpOptionsId": options_id,
        "OwnerId": call.account,
        "DhcpConfigurations": [
            {"Key": "domain-name", "Values": [{"Value": domain}]},
            {"Key": "domain-name-servers", "Values": [{"Value": "AmazonProvidedDNS"}]},
        ],
        "Tags": [],
    }
    rows = named(
        [row], "DhcpOptionsId", many(request, "DhcpOptionsIds"),
        lambda one: errors.InvalidDhcpOptionIDNotFound(f"The dhcpOption ID '{one}' does not exist"),
    )  # fmt: skip
    paths = {"dhcp-options-id": "DhcpOptionsId", "owner-id": "OwnerId", "key": "DhcpConfigurations.Key"}
    return described(rows, request, "DhcpOptions", "DhcpOptionsId", paths)
