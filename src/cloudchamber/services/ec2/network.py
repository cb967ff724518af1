# SPDX-License-Identifier: Apache-2.0
"""The default VPC and what is in it; regions and zones."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, names, needs, views
from cloudchamber.services.ec2.checks import many, page, select, tag_list, takes, with_token
from cloudchamber.services.ec2.instances import look

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call


def _same(view: dict[str, Any]) -> Mapping[str, Any]:
    return view


def _named(
    rows: list[dict[str, Any]], key: str, given: Sequence[str], error: type[errors.Ec2Error], what: str
) -> list[dict[str, Any]]:
    """The rows with these ids; all of them for none."""
    known = {row[key] for row in rows}
    for one in given:
        if one not in known:
            raise error(f"The {what} '{one}' does not exist")
    return [row for row in rows if not given or row[key] in given]


@operation("DescribeVpcs", needs=needs.look("DescribeVpcs"))
@takes("Filters", "VpcIds", "NextToken", "MaxResults")
async def describe_vpcs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The default VPC.

    Source: Amazon EC2 API Reference, DescribeVpcs; Amazon VPC User Guide, Default VPCs.
    """
    vpc = names.vpc_id(call.account, call.region)
    block = {
        "AssociationId": names.stable_id("vpc-cidr-assoc", vpc),
        "CidrBlock": names.VPC_CIDR,
        "CidrBlockState": {"State": "associated"},
    }
    rows: list[dict[str, Any]] = [
        {
            "VpcId": vpc,
            "OwnerId": call.account,
            "State": "available",
            "CidrBlock": names.VPC_CIDR,
            "CidrBlockAssociationSet": [block],
            "DhcpOptionsId": "default",
            "InstanceTenancy": "default",
            "IsDefault": True,
            "Tags": tag_list(look(call).tags.get(vpc, {})),
        }
    ]
    rows = _named(rows, "VpcId", many(request, "VpcIds"), errors.InvalidVpcIDNotFound, "vpc ID")
    paths = {
        "vpc-id": "VpcId",
        "cidr": "CidrBlock",
        "cidr-block-association.cidr-block": "CidrBlockAssociationSet.CidrBlock",
        "is-default": "IsDefault",
        "isDefault": "IsDefault",
        "owner-id": "OwnerId",
        "state": "State",
        "dhcp-options-id": "DhcpOptionsId",
    }
    rows, token = page(select(rows, request.get("Filters"), paths, _same), request, lambda row: row["VpcId"])
    return with_token({"Vpcs": rows}, token)


@operation("DescribeSubnets", needs=needs.look("DescribeSubnets"))
@takes("Filters", "SubnetIds", "NextToken", "MaxResults")
async def describe_subnets(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The default subnets, one in each zone.

    Source: Amazon EC2 API Reference, DescribeSubnets.
    """
    seen = look(call)
    rows: list[dict[str, Any]] = []
    for subnet in names.subnets(call.account, call.region):
        used = sum(row.subnet_id == subnet.id and row.state != "terminated" for row in seen.instances)
        rows.append(
            {
                "SubnetId": subnet.id,
                "SubnetArn": names.arn("subnet", subnet.id, call.region, call.account),
                "VpcId": names.vpc_id(call.account, call.region),
                "OwnerId": call.account,
                "State": "available",
                "CidrBlock": subnet.cidr,
                "AvailableIpAddressCount": ipaddress.ip_network(subnet.cidr).num_addresses - 5 - used,
                "AvailabilityZone": subnet.zone,
                "AvailabilityZoneId": subnet.zone_id,
                "DefaultForAz": True,
                "MapPublicIpOnLaunch": True,
                "AssignIpv6AddressOnCreation": False,
                "Ipv6CidrBlockAssociationSet": [],
                "MapCustomerOwnedIpOnLaunch": False,
                "EnableDns64": False,
                "Ipv6Native": False,
                "Tags": tag_list(seen.tags.get(subnet.id, {})),
            }
        )
    rows = _named(rows, "SubnetId", many(request, "SubnetIds"), errors.InvalidSubnetIDNotFound, "subnet ID")
    paths = {
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
        "availability-zone": "AvailabilityZone",
        "availabilityZone": "AvailabilityZone",
        "availability-zone-id": "AvailabilityZoneId",
        "cidr-block": "CidrBlock",
        "cidr": "CidrBlock",
        "default-for-az": "DefaultForAz",
        "defaultForAz": "DefaultForAz",
        "map-public-ip-on-launch": "MapPublicIpOnLaunch",
        "owner-id": "OwnerId",
        "state": "State",
        "subnet-arn": "SubnetArn",
    }
    rows, token = page(select(rows, request.get("Filters"), paths, _same), request, lambda row: row["SubnetId"])
    return with_token({"Subnets": rows}, token)


@operation("DescribeAvailabilityZones", needs=needs.look("DescribeAvailabilityZones"))
@takes("ZoneNames", "ZoneIds", "AllAvailabilityZones", "Filters")
async def describe_availability_zones(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The zones of the region.

    Source: Amazon EC2 API Reference, DescribeAvailabilityZones.
    """
    rows: list[dict[str, Any]] = [
        {
            "ZoneName": zone,
            "ZoneId": zone_id,
            "RegionName": call.region,
            "State": "available",
            "OptInStatus": "opt-in-not-required",
            "ZoneType": "availability-zone",
            "GroupName": f"{call.region}-zg-1",
            "NetworkBorderGroup": call.region,
            "Messages": [],
        }
        for zone, zone_id in names.zones(call.region)
    ]
    for member, key in (("ZoneNames", "ZoneName"), ("ZoneIds", "ZoneId")):
        for one in many(request, member):
            if one not in {row[key] for row in rows}:
                raise errors.InvalidParameterValue(f"Invalid availability zone: [{one}]")
        if request.get(member):
            rows = [row for row in rows if row[key] in request[member]]
    paths = {
        "zone-name": "ZoneName",
        "zone-id": "ZoneId",
        "region-name": "RegionName",
        "state": "State",
        "zone-type": "ZoneType",
    }
    return {"AvailabilityZones": select(rows, request.get("Filters"), paths, _same)}


@operation("DescribeRegions", needs=needs.look("DescribeRegions"))
@takes("RegionNames", "AllRegions", "Filters")
async def describe_regions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The regions that are on by default; all of them live at the one endpoint.

    Source: Amazon EC2 API Reference, DescribeRegions.
    """
    rows: list[dict[str, Any]] = [
        {"RegionName": name, "Endpoint": f"ec2.{name}.amazonaws.com", "OptInStatus": "opt-in-not-required"}
        for name in names.REGIONS
    ]
    rows = _named(rows, "RegionName", many(request, "RegionNames"), errors.InvalidParameterValue, "region")
    paths = {"region-name": "RegionName", "endpoint": "Endpoint", "opt-in-status": "OptInStatus"}
    return {"Regions": select(rows, request.get("Filters"), paths, _same)}


@operation("DescribeNetworkInterfaces", needs=needs.look("DescribeNetworkInterfaces"))
@takes("NextToken", "MaxResults", "NetworkInterfaceIds", "Filters", "IncludeManagedResources")
async def describe_network_interfaces(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The primary interfaces of instances.

    Source: Amazon EC2 API Reference, DescribeNetworkInterfaces.
    """
    seen = look(call)
    rows = [views.network_interface(row, seen) for row in seen.instances if row.state != "terminated"]
    given = many(request, "NetworkInterfaceIds")
    rows = _named(rows, "NetworkInterfaceId", given, errors.InvalidNetworkInterfaceIDNotFound, "networkInterface ID")
    paths = {
        "network-interface-id": "NetworkInterfaceId",
        "attachment.instance-id": "Attachment.InstanceId",
        "availability-zone": "AvailabilityZone",
        "group-id": "Groups.GroupId",
        "group-name": "Groups.GroupName",
        "mac-address": "MacAddress",
        "owner-id": "OwnerId",
        "private-ip-address": "PrivateIpAddress",
        "addresses.private-ip-address": "PrivateIpAddresses.PrivateIpAddress",
        "private-dns-name": "PrivateDnsName",
        "status": "Status",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    }
    rows, token = page(
        select(rows, request.get("Filters"), paths, _same), request, lambda row: row["NetworkInterfaceId"]
    )
    return with_token({"NetworkInterfaces": rows}, token)


@operation("DescribeAddresses", needs=needs.look("DescribeAddresses"))
@takes("Filters")
async def describe_addresses(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Elastic IP addresses: there are none, and none can be allocated.

    Source: Amazon EC2 API Reference, DescribeAddresses.
    """
    return {"Addresses": []}
