# SPDX-License-Identifier: Apache-2.0
"""Internet gateways and NAT gateways."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, needs, nets, tables
from cloudchamber.services.ec2.checks import (
    described,
    many,
    named,
    specified_tags,
    tag_list,
    takes,
)
from cloudchamber.services.ec2.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

DELETED_VISIBLE_S = 3600.0


# Internet gateways


def _gateway(row: nets.InternetGateway, tags: Mapping[str, str]) -> dict[str, Any]:
    attached = [{"VpcId": row.vpc_id, "State": "available"}] if row.vpc_id else []
    return {"InternetGatewayId": row.id, "OwnerId": row.account, "Attachments": attached, "Tags": tag_list(tags)}


@operation("CreateInternetGateway", needs=needs.create("CreateInternetGateway", "internet-gateway"))
@takes("TagSpecifications")
async def create_internet_gateway(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make an internet gateway that is attached to nothing yet.

    Source: Amazon EC2 API Reference, CreateInternetGateway.
    """
    tags = specified_tags(request, "internet-gateway").get("internet-gateway", {})
    row = nets.InternetGateway(ids.hex_id("igw"), call.account, call.region)

    def change(tx: Tx) -> None:
        nets.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)

    await call.doors.database.write(change)
    return {"InternetGateway": _gateway(row, tags)}


@operation("AttachInternetGateway", needs=needs.on("AttachInternetGateway", "InternetGatewayId", "VpcId"))
@takes("InternetGatewayId", "VpcId")
async def attach_internet_gateway(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a VPC its way to the internet.

    Raises:
        Resource.AlreadyAssociated: the gateway has a VPC. InvalidParameterValue: the VPC has a gateway.

    Source: Amazon EC2 API Reference, AttachInternetGateway.
    """

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.InternetGateway, call.account, call.region, request["InternetGatewayId"])
        vpc = nets.get(tx, nets.Vpc, call.account, call.region, request["VpcId"])
        if row.vpc_id:
            raise errors.ResourceAlreadyAssociated(f"resource {row.id} is already attached to network {row.vpc_id}")
        if nets.of_vpc(tx, nets.InternetGateway, vpc.id):
            raise errors.InvalidParameterValue(f"Network {vpc.id} already has an internet gateway attached")
        nets.update(tx, row, vpc_id=vpc.id)

    await call.doors.database.write(change)
    return {}


@operation("DetachInternetGateway", needs=needs.on("DetachInternetGateway", "InternetGatewayId", "VpcId"))
@takes("InternetGatewayId", "VpcId")
async def detach_internet_gateway(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a VPC's way to the internet away.

    Raises:
        DependencyViolation: Elastic IP addresses or NAT gateways of the VPC use it.

    Source: Amazon EC2 API Reference, DetachInternetGateway.
    """

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.InternetGateway, call.account, call.region, request["InternetGatewayId"])
        vpc = nets.get(tx, nets.Vpc, call.account, call.region, request["VpcId"])
        if row.vpc_id != vpc.id:
            raise errors.GatewayNotAttached(f"resource {row.id} is not attached to network {vpc.id}")
        here = {one.id for one in tables.all_instances(tx) if one.vpc_id == vpc.id}
        mapped = [one for one in nets.listed(tx, nets.Address, call.account, call.region) if one.instance_id in here]
        public = [one for one in nets.of_vpc(tx, nets.NatGateway, vpc.id) if not one.deleted and one.allocation_id]
        if mapped or public:
            raise errors.DependencyViolation(
                f"Network {vpc.id} has some mapped public address(es). Please unmap those public address(es) before "
                "detaching the gateway."
            )
        nets.update(tx, row, vpc_id="")

    await call.doors.database.write(change)
    return {}


@operation("DeleteInternetGateway", needs=needs.on("DeleteInternetGateway", "InternetGatewayId"))
@takes("InternetGatewayId")
async def delete_internet_gateway(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a gateway that is attached to nothing.

    Source: Amazon EC2 API Reference, DeleteInternetGateway.
    """

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.InternetGateway, call.account, call.region, request["InternetGatewayId"])
        if row.vpc_id:
            raise errors.DependencyViolation(f"The internetGateway '{row.id}' has dependencies and cannot be deleted.")
        nets.delete(tx, row)

    await call.doors.database.write(change)
    return {}


@operation("DescribeInternetGateways", needs=needs.look("DescribeInternetGateways"))
@takes("Filters", "InternetGatewayIds", "NextToken", "MaxResults")
async def describe_internet_gateways(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List internet gateways.

    Source: Amazon EC2 API Reference, DescribeInternetGateways.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        found = nets.listed(db, nets.InternetGateway, call.account, call.region)
        return [_gateway(row, tables.tags(db, row.id)) for row in found]

    rows = call.doors.database.read(read)
    given = many(request, "InternetGatewayIds")
    rows = named(rows, "InternetGatewayId", given, lambda one: nets.missing(nets.InternetGateway, one))
    paths = {
        "attachment.state": "Attachments.State",
        "attachment.vpc-id": "Attachments.VpcId",
        "internet-gateway-id": "InternetGatewayId",
        "owner-id": "OwnerId",
    }
    return described(rows, request, "InternetGateways", "InternetGatewayId", paths)


# NAT gateways


def _nat(db: Reader, row: nets.NatGateway) -> dict[str, Any]:
    address = {
        "PrivateIp": row.private_ip,
        "NetworkInterfaceId": f"eni-{row.id.removeprefix('nat-')}",
        "IsPrimary": True,
    }
    elastic = nets.find(db, nets.Address, row.allocation_id) if row.allocation_id else None
    if elastic is not None:
        address |= {"AllocationId": elastic.id, "PublicIp": elastic.ip, "AssociationId": elastic.association_id}
    shown: dict[str, Any] = {
        "NatGatewayId": row.id,
        "VpcId": row.vpc_id,
        "SubnetId": row.subnet_id,
        "State": "deleted" if row.deleted else "available",
        "ConnectivityType": row.connectivity,
        "CreateTime": moment(row.created),
        "NatGatewayAddresses": [{**address, "Status": "succeeded"}],
        "Tags": tag_list(tables.tags(db, row.id)),
    }
    if row.deleted:
        shown["DeleteTime"] = moment(row.deleted)
    return shown


@operation("CreateNatGateway", needs=needs.create_nat_gateway)
@takes("SubnetId", "AllocationId", "ConnectivityType", "PrivateIpAddress", "TagSpecifications", "ClientToken")
async def create_nat_gateway(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a NAT gateway in a public subnet; it is available at once.

    Raises:
        InvalidAllocationID.NotFound: no such address. Resource.AlreadyAssociated: somebody uses it.

    Source: Amazon EC2 API Reference, CreateNatGateway.
    """
    tags = specified_tags(request, "natgateway").get("natgateway", {})
    connectivity = request.get("ConnectivityType") or "public"
    if connectivity not in ("public", "private"):
        raise errors.InvalidParameterValue(f"Value ({connectivity}) for parameter connectivityType is invalid.")
    if (connectivity == "public") != bool(request.get("AllocationId")):
        raise errors.MissingParameter("The request must contain the parameter AllocationId")
    nat_id, token = ids.hex_id("nat"), request.get("ClientToken") or ""

    def change(tx: Tx) -> dict[str, Any]:
        subnet = nets.get(tx, nets.Subnet, call.account, call.region, request["SubnetId"])
        for one in nets.of_vpc(tx, nets.NatGateway, subnet.vpc_id):
            if token and one.client_token == token:
                return _nat(tx, one)
        private_ip = _nat_address(tx, subnet, request.get("PrivateIpAddress") or "")
        row = nets.NatGateway(
            nat_id, call.account, call.region, subnet.vpc_id, subnet.id, request.get("AllocationId") or "",
            private_ip, connectivity, token, call.now.timestamp(),
        )  # fmt: skip
        if row.allocation_id:
            if not nets.of_vpc(tx, nets.InternetGateway, subnet.vpc_id):
                raise errors.GatewayNotAttached(f"Network {subnet.vpc_id} has no Internet gateway attached")
            elastic = nets.get(tx, nets.Address, call.account, call.region, row.allocation_id)
            if elastic.association_id:
                raise errors.ResourceAlreadyAssociated(f"resource {elastic.id} is already associated")
            nets.update(tx, elastic, association_id=f"eipassoc-{nat_id.removeprefix('nat-')}", nat_gateway_id=nat_id)
        nets.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        return _nat(tx, row)

    return {"NatGateway": await call.doors.database.write(change), **({"ClientToken": token} if token else {})}


def _nat_address(db: Reader, subnet: nets.Subnet, wanted: str) -> str:
    if not wanted:
        return nets.free_private(db, subnet, 1)[0]
    if wanted in nets.used_private(db, subnet) | nets.reserved(subnet.cidr):
        raise errors.InvalidIPAddressInUse(f"Address {wanted} is in use.")
    if ipaddress.IPv4Address(wanted) not in ipaddress.IPv4Network(subnet.cidr):
        raise errors.InvalidParameterValue(f"Address {wanted} does not fall within the subnet's address range")
    return wanted


@operation("DeleteNatGateway", needs=needs.on("DeleteNatGateway", "NatGatewayId"))
@takes("NatGatewayId")
async def delete_nat_gateway(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a NAT gateway and let go of its address; it stays visible, as `deleted`, for an hour.

    Source: Amazon EC2 API Reference, DeleteNatGateway.
    """
    now = call.now.timestamp()

    def change(tx: Tx) -> str:
        row = nets.get(tx, nets.NatGateway, call.account, call.region, request["NatGatewayId"])
        if not row.deleted:
            nets.update(tx, row, deleted=now)
            elastic = nets.find(tx, nets.Address, row.allocation_id)
            if elastic is not None:
                nets.update(tx, elastic, association_id="", nat_gateway_id="")
        return row.id

    return {"NatGatewayId": await call.doors.database.write(change)}


@operation("DescribeNatGateways", needs=needs.look("DescribeNatGateways"))
@takes("Filter", "NatGatewayIds", "NextToken", "MaxResults")
async def describe_nat_gateways(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List NAT gateways.

    Source: Amazon EC2 API Reference, DescribeNatGateways.
    """
    since = call.now.timestamp() - DELETED_VISIBLE_S

    def read(db: Reader) -> list[dict[str, Any]]:
        found = nets.listed(db, nets.NatGateway, call.account, call.region)
        return [_nat(db, row) for row in found if not row.deleted or row.deleted > since]

    rows = call.doors.database.read(read)
    given = many(request, "NatGatewayIds")
    rows = named(rows, "NatGatewayId", given, lambda one: nets.missing(nets.NatGateway, one))
    paths = {"nat-gateway-id": "NatGatewayId", "state": "State", "subnet-id": "SubnetId", "vpc-id": "VpcId"}
    return described(rows, request, "NatGateways", "NatGatewayId", paths, "Filter")
