# SPDX-License-Identifier: Apache-2.0
"""Route tables, what they serve, and their routes."""

from __future__ import annotations

import ipaddress
import sqlite3
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

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

ROUTES_MAX = 500
_TARGETS = ("GatewayId", "NatGatewayId")


def leads(db: Reader, vpc_id: str, target: str) -> bool:
    """Whether a route's target is there and belongs to the VPC; AWS calls the route a blackhole if not."""
    if target.startswith("igw-"):
        gateway = nets.find(db, nets.InternetGateway, target)
        return gateway is not None and gateway.vpc_id == vpc_id
    nat = nets.find(db, nets.NatGateway, target)
    return nat is not None and not nat.deleted


def _table(db: Reader, row: nets.RouteTable) -> dict[str, Any]:
    vpc = nets.find(db, nets.Vpc, row.vpc_id)
    routes: list[dict[str, Any]] = []
    if vpc is not None:
        routes.append(
            {
                "DestinationCidrBlock": vpc.cidr,
                "GatewayId": "local",
                "Origin": "CreateRouteTable",
                "State": "active",
            }
        )
    for one in nets.routes(db, row.id):
        member = "NatGatewayId" if one.target.startswith("nat-") else "GatewayId"
        state = "active" if leads(db, row.vpc_id, one.target) else "blackhole"
        routes.append({"DestinationCidrBlock": one.cidr, member: one.target, "Origin": "CreateRoute", "State": state})
    served = [
        {
            "Main": not one.subnet_id,
            "RouteTableAssociationId": one.id,
            "RouteTableId": row.id,
            **({"SubnetId": one.subnet_id} if one.subnet_id else {}),
            "AssociationState": {"State": "associated"},
        }
        for one in nets.associations(db, row.vpc_id)
        if one.table_id == row.id
    ]
    return {
        "RouteTableId": row.id,
        "VpcId": row.vpc_id,
        "OwnerId": row.account,
        "Routes": routes,
        "Associations": served,
        "PropagatingVgws": [],
        "Tags": tag_list(tables.tags(db, row.id)),
    }


@operation("CreateRouteTable", needs=needs.create("CreateRouteTable", "route-table", within="VpcId"))
@takes("VpcId", "TagSpecifications", "ClientToken")
async def create_route_table(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a route table that knows the way within its VPC.

    Source: Amazon EC2 API Reference, CreateRouteTable.
    """
    tags = specified_tags(request, "route-table").get("route-table", {})
    table_id, token = ids.hex_id("rtb"), request.get("ClientToken") or ""

    def change(tx: Tx) -> dict[str, Any]:
        vpc = nets.get(tx, nets.Vpc, call.account, call.region, request["VpcId"])
        used = tables.token(tx, call.account, call.region, token) if token else None
        known = nets.find(tx, nets.RouteTable, used[1]) if used else None
        if known is not None:
            return _table(tx, known)
        row = nets.RouteTable(table_id, call.account, call.region, vpc.id)
        nets.insert(tx, row)
        tables.put_tags(tx, call.account, call.region, row.id, tags)
        if token and not used:
            tables.keep_token(tx, call.account, call.region, token, vpc.id, row.id)
        return _table(tx, row)

    return {"RouteTable": await call.doors.database.write(change), **({"ClientToken": token} if token else {})}


@operation("DeleteRouteTable", needs=needs.on("DeleteRouteTable", "RouteTableId"))
@takes("RouteTableId")
async def delete_route_table(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a route table that serves nobody.

    Raises:
        DependencyViolation: it is a main table, or a subnet uses it.

    Source: Amazon EC2 API Reference, DeleteRouteTable.
    """

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.RouteTable, call.account, call.region, request["RouteTableId"])
        if any(one.table_id == row.id for one in nets.associations(tx, row.vpc_id)):
            raise errors.DependencyViolation(f"The routeTable '{row.id}' has dependencies and cannot be deleted.")
        nets.delete(tx, row)

    await call.doors.database.write(change)
    return {}


@operation("DescribeRouteTables", needs=needs.look("DescribeRouteTables"))
@takes("Filters", "RouteTableIds", "NextToken", "MaxResults")
async def describe_route_tables(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List route tables.

    Source: Amazon EC2 API Reference, DescribeRouteTables.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        return [_table(db, row) for row in nets.listed(db, nets.RouteTable, call.account, call.region)]

    rows = call.doors.database.read(read)
    given = many(request, "RouteTableIds")
    rows = named(rows, "RouteTableId", given, lambda one: nets.missing(nets.RouteTable, one))
    paths = {
        "association.main": "Associations.Main",
        "association.route-table-association-id": "Associations.RouteTableAssociationId",
        "association.route-table-id": "Associations.RouteTableId",
        "association.subnet-id": "Associations.SubnetId",
        "owner-id": "OwnerId",
        "route-table-id": "RouteTableId",
        "route.destination-cidr-block": "Routes.DestinationCidrBlock",
        "route.gateway-id": "Routes.GatewayId",
        "route.nat-gateway-id": "Routes.NatGatewayId",
        "route.origin": "Routes.Origin",
        "route.state": "Routes.State",
        "vpc-id": "VpcId",
    }
    return described(rows, request, "RouteTables", "RouteTableId", paths)


@operation("AssociateRouteTable", needs=needs.on("AssociateRouteTable", "RouteTableId", "SubnetId"))
@takes("RouteTableId", "SubnetId")
async def associate_route_table(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let a table serve a subnet.

    Raises:
        Resource.AlreadyAssociated: another one does.

    Source: Amazon EC2 API Reference, AssociateRouteTable.
    """
    if not request.get("SubnetId"):
        raise errors.MissingParameter("The request must contain the parameter subnetId")
    association_id = ids.hex_id("rtbassoc")

    def change(tx: Tx) -> str:
        row = nets.get(tx, nets.RouteTable, call.account, call.region, request["RouteTableId"])
        subnet = nets.get(tx, nets.Subnet, call.account, call.region, request["SubnetId"])
        if subnet.vpc_id != row.vpc_id:
            raise errors.InvalidParameterValue(
                f"Route table {row.id} and subnet {subnet.id} belong to different networks"
            )
        for one in nets.associations(tx, row.vpc_id):
            if one.subnet_id == subnet.id:
                if one.table_id == row.id:
                    return one.id
                raise errors.ResourceAlreadyAssociated(
                    f"the specified association for route table {row.id} conflicts with an existing association"
                )
        nets.insert(tx, nets.Association(association_id, row.id, row.vpc_id, subnet.id))
        return association_id

    found = await call.doors.database.write(change)
    return {"AssociationId": found, "AssociationState": {"State": "associated"}}


def _associated(db: Reader, call: Call, identifier: str) -> nets.Association:
    found = nets.association(db, identifier)
    table = nets.find(db, nets.RouteTable, found.table_id) if found is not None else None
    if found is None or table is None or (table.account, table.region) != (call.account, call.region):
        raise errors.InvalidAssociationIDNotFound(f"The association ID '{identifier}' does not exist")
    return found


@operation("DisassociateRouteTable", needs=needs.route_association("DisassociateRouteTable"))
@takes("AssociationId")
async def disassociate_route_table(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Leave a subnet to its VPC's main table.

    Source: Amazon EC2 API Reference, DisassociateRouteTable.
    """

    def change(tx: Tx) -> None:
        found = _associated(tx, call, request["AssociationId"])
        if not found.subnet_id:
            raise errors.InvalidParameterValue(f"cannot disassociate the main route table association {found.id}")
        nets.delete_association(tx, found.id)

    await call.doors.database.write(change)
    return {}


@operation("ReplaceRouteTableAssociation", needs=needs.route_association("ReplaceRouteTableAssociation"))
@takes("AssociationId", "RouteTableId")
async def replace_route_table_association(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let another table serve a subnet, or be the main one.

    Source: Amazon EC2 API Reference, ReplaceRouteTableAssociation.
    """
    association_id = ids.hex_id("rtbassoc")

    def change(tx: Tx) -> None:
        found = _associated(tx, call, request["AssociationId"])
        row = nets.get(tx, nets.RouteTable, call.account, call.region, request["RouteTableId"])
        if row.vpc_id != found.vpc_id:
            raise errors.InvalidParameterValue(f"Route table {row.id} belongs to another network")
        nets.delete_association(tx, found.id)
        nets.insert(tx, nets.Association(association_id, row.id, row.vpc_id, found.subnet_id))

    await call.doors.database.write(change)
    return {"NewAssociationId": association_id, "AssociationState": {"State": "associated"}}


# Routes


def _route(db: Reader, call: Call, request: Mapping[str, Any]) -> nets.Route:
    """The route that a request describes, its target checked."""
    row = nets.get(db, nets.RouteTable, call.account, call.region, request["RouteTableId"])
    cidr = _destination(request)
    vpc = nets.find(db, nets.Vpc, row.vpc_id)
    if vpc is not None and ipaddress.IPv4Network(cidr).subnet_of(ipaddress.IPv4Network(vpc.cidr)):
        raise errors.InvalidParameterValue(
            f"The destination CIDR block {cidr} is equal to or more specific than one of this VPC's CIDR blocks. This "
            "route can target only an interface or an instance."
        )
    given = [name for name in _TARGETS if request.get(name)]
    if len(given) != 1:
        raise errors.InvalidParameterCombination("Exactly one of GatewayId and NatGatewayId must be given.")
    target: str = request[given[0]]
    if given[0] == "NatGatewayId":
        nat = nets.find(db, nets.NatGateway, target)
        if nat is None or nat.account != call.account or nat.deleted:
            raise errors.InvalidNatGatewayIDNotFound(f"The natGateway ID '{target}' does not exist")
        if nat.vpc_id != row.vpc_id:
            raise errors.InvalidParameterValue(f"route table {row.id} and NAT gateway {target} are not in one network")
        return nets.Route(row.id, cidr, target)
    gateway = nets.find(db, nets.InternetGateway, target)
    if gateway is None or gateway.account != call.account:
        raise errors.InvalidGatewayIDNotFound(f"The gateway ID '{target}' does not exist")
    if gateway.vpc_id != row.vpc_id:
        raise errors.InvalidParameterValue(
            f"route table {row.id} and network gateway {target} belong to different networks"
        )
    return nets.Route(row.id, cidr, target)


def _destination(request: Mapping[str, Any]) -> str:
    text = request.get("DestinationCidrBlock") or ""
    if not text:
        raise errors.MissingParameter("The request must contain the parameter destinationCidrBlock")
    try:
        return str(ipaddress.IPv4Network(text, strict=False))
    except ValueError:
        raise errors.InvalidParameterValue(
            f"Value ({text}) for parameter destinationCidrBlock is invalid. This is not a valid CIDR block."
        ) from None


@operation("CreateRoute", needs=needs.on("CreateRoute", "RouteTableId"))
@takes("RouteTableId", "DestinationCidrBlock", *_TARGETS)
async def create_route(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add a route to an internet gateway or a NAT gateway.

    Raises:
        RouteAlreadyExists: there is one to that block.

    Source: Amazon EC2 API Reference, CreateRoute.
    """

    def change(tx: Tx) -> None:
        route = _route(tx, call, request)
        have = nets.routes(tx, route.table_id)
        if any(one.cidr == route.cidr and one.target == route.target for one in have):
            return
        if len(have) >= ROUTES_MAX:
            raise errors.RouteLimitExceeded("The maximum number of routes has been reached.")
        try:
            nets.insert(tx, route)
        except sqlite3.IntegrityError:
            raise errors.RouteAlreadyExists(f"The route identified by {route.cidr} already exists.") from None

    await call.doors.database.write(change)
    return {"Return": True}


@operation("ReplaceRoute", needs=needs.on("ReplaceRoute", "RouteTableId"))
@takes("RouteTableId", "DestinationCidrBlock", *_TARGETS)
async def replace_route(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Lead a block to another gateway.

    Source: Amazon EC2 API Reference, ReplaceRoute.
    """

    def change(tx: Tx) -> None:
        route = _route(tx, call, request)
        if not any(one.cidr == route.cidr for one in nets.routes(tx, route.table_id)):
            raise errors.InvalidParameterValue(
                f"There is no route defined for '{route.cidr}' in the route table. Use CreateRoute instead."
            )
        nets.put_route(tx, route)

    await call.doors.database.write(change)
    return {}


@operation("DeleteRoute", needs=needs.on("DeleteRoute", "RouteTableId"))
@takes("RouteTableId", "DestinationCidrBlock")
async def delete_route(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a route.

    Source: Amazon EC2 API Reference, DeleteRoute.
    """
    cidr = _destination(request)

    def change(tx: Tx) -> None:
        row = nets.get(tx, nets.RouteTable, call.account, call.region, request["RouteTableId"])
        if not nets.delete_route(tx, row.id, cidr):
            raise errors.InvalidRouteNotFound(f"no route with destination-cidr-block {cidr} in route table {row.id}")

    await call.doors.database.write(change)
    return {}
