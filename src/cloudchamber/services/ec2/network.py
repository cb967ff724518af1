# SPDX-License-Identifier: Apache-2.0
"""Regions, zones and network interfaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, names, needs, views
from cloudchamber.services.ec2.checks import described, many, named, same, select, takes
from cloudchamber.services.ec2.instances import look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


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
    return {"AvailabilityZones": select(rows, request.get("Filters"), paths, same)}


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
    given = many(request, "RegionNames")
    rows = named(rows, "RegionName", given, lambda one: errors.InvalidParameterValue(f"Invalid region: [{one}]"))
    paths = {"region-name": "RegionName", "endpoint": "Endpoint", "opt-in-status": "OptInStatus"}
    return {"Regions": select(rows, request.get("Filters"), paths, same)}


@operation("DescribeNetworkInterfaces", needs=needs.look("DescribeNetworkInterfaces"))
@takes("NextToken", "MaxResults", "NetworkInterfaceIds", "Filters", "IncludeManagedResources")
async def describe_network_interfaces(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The primary interfaces of instances.

    Source: Amazon EC2 API Reference, DescribeNetworkInterfaces.
    """
    seen = look(call)
    rows = [views.network_interface(row, seen) for row in seen.instances if row.state != "terminated"]
    given = many(request, "NetworkInterfaceIds")
    rows = named(
        rows, "NetworkInterfaceId", given,
        lambda one: errors.InvalidNetworkInterfaceIDNotFound(f"The networkInterface ID '{one}' does not exist"),
    )  # fmt: skip
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
        "association.public-ip": "Association.PublicIp",
        "association.allocation-id": "Association.AllocationId",
        "status": "Status",
        "subnet-id": "SubnetId",
        "vpc-id": "VpcId",
    }
    return described(rows, request, "NetworkInterfaces", "NetworkInterfaceId", paths)
