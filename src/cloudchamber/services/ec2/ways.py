# SPDX-License-Identifier: Apache-2.0
"""Where what an instance sends may go: to another instance by its private address, or out where a route leads.

Both sides' security groups and the route table of the subnet are asked, in AWS's order.
Source: Amazon VPC User Guide, Route tables, Internet gateways, NAT gateways, Security groups.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudchamber.services.ec2 import nets, permissions, routing, tables
from cloudchamber.services.ec2.filters import Verdict, authorize_with

if TYPE_CHECKING:
    from cloudchamber.sandbox.sandboxes import Sandbox
    from cloudchamber.store.database import Reader

Protocol: TypeAlias = Literal["tcp", "udp"]


class Instances(typing.Protocol):
    """Where running instances are found."""

    def sandbox(self, instance_id: str) -> Sandbox | None: ...


@dataclass(frozen=True, slots=True)
class Way:
    """Where a connection goes: into `peer`, or out of this machine; or nowhere, for the reason of `refused`."""

    peer: tables.Instance | None = None
    refused: Verdict | None = None
    by: str = ""
    """What let it through: rules and route."""


def way(db: Reader, row: tables.Instance, address: str, port: int, protocol: Protocol = "tcp") -> Way:
    """Decide one connection of an instance, or one flow of its datagrams."""
    peer = tables.by_private_ip(db, address, row.vpc_id)
    mine = [rule for one in row.groups for rule in tables.rules(db, one)]
    out = permissions.admitting(
        mine, port, address, peer.groups if peer is not None else (), egress=True, protocol=protocol
    )
    if out is None:
        groups = ", ".join(row.groups)
        reason = f"no egress rule of {groups} lets {row.id} connect to {protocol} {address}:{port}"
        remedy = authorize_with("egress", row.groups, port, f"--cidr {address}/32", protocol)
        return Way(refused=Verdict(None, reason, remedy))
    subnet = nets.find(db, nets.Subnet, row.subnet_id)
    vpc = nets.find(db, nets.Vpc, row.vpc_id)
    if subnet is None or vpc is None:
        return Way(refused=Verdict(None, f"the subnet {row.subnet_id} is gone"))
    by = f"{out.group_id} {out.id}"
    if ipaddress.IPv4Address(address) in ipaddress.IPv4Network(vpc.cidr):
        return _within(db, row, peer, address, port, by, protocol)
    return _abroad(db, row, subnet, address, by)


def _within(
    db: Reader, row: tables.Instance, peer: tables.Instance | None, address: str, port: int, by: str, protocol: Protocol
) -> Way:
    if peer is None or peer.state != "running":
        return Way(refused=Verdict(None, f"no running instance of {row.vpc_id} has the address {address}"))
    theirs = [rule for one in peer.groups for rule in tables.rules(db, one)]
    admitted = permissions.admitting(theirs, port, row.private_ip, row.groups, egress=False, protocol=protocol)
    if admitted is None:
        reason = (
            f"no ingress rule of {', '.join(peer.groups)} lets {row.id} ({', '.join(row.groups)}) connect to "
            f"{protocol}/{port} of {peer.id}"
        )
        remedy = authorize_with(
            "ingress", peer.groups, port, f"--source-group {row.groups[0]}" if row.groups else "", protocol
        )
        return Way(refused=Verdict(None, reason, remedy))
    return Way(peer, by=f"{by}, local route, {admitted.group_id} {admitted.id}")


def _abroad(db: Reader, row: tables.Instance, subnet: nets.Subnet, address: str, by: str) -> Way:
    table = nets.table_of(db, subnet)
    route = best(nets.routes(db, table.id), address)
    if route is None:
        return Way(
            refused=Verdict(
                None, f"no route of {table.id}, which serves {subnet.id}, leads to {address}",
                _route_with(table),
            )
        )  # fmt: skip
    if not routing.leads(db, row.vpc_id, route.target):
        return Way(
            refused=Verdict(None, f"the route {route.cidr} of {table.id} is a blackhole: {route.target} is gone")
        )
    if route.target.startswith("igw-"):
        if not row.public_ip and nets.address_of(db, row.id) is None:
            return Way(
                refused=Verdict(
                    None, f"{row.id} has no public address, and {route.target} takes no one without",
                    f"aws ec2 associate-address --instance-id {row.id} --allocation-id eipalloc-...",
                )
            )  # fmt: skip
    elif (refused := _through_nat(db, route.target, address)) is not None:
        return Way(refused=refused)
    place = ipaddress.IPv4Address(address)
    if not place.is_global or place.is_multicast or place.is_reserved:
        return Way(refused=Verdict(None, f"{address} is not an address of the internet"))
    return Way(by=f"{by}, route {route.cidr} to {route.target}")


def _route_with(table: nets.RouteTable) -> str:
    to_all = "--destination-cidr-block 0.0.0.0/0 --gateway-id igw-..."
    return f"aws ec2 create-route --route-table-id {table.id} {to_all}"


def _through_nat(db: Reader, nat_id: str, address: str) -> Verdict | None:
    nat = nets.find(db, nets.NatGateway, nat_id)
    if nat is None or nat.connectivity != "public":
        return Verdict(None, f"{nat_id} is a private NAT gateway: it leads to no internet")
    subnet = nets.find(db, nets.Subnet, nat.subnet_id)
    further = best(nets.routes(db, nets.table_of(db, subnet).id), address) if subnet is not None else None
    if further is None or not further.target.startswith("igw-") or not routing.leads(db, nat.vpc_id, further.target):
        return Verdict(None, f"the subnet {nat.subnet_id} of {nat_id} has no route to an internet gateway")
    return None


def best(routes: list[nets.Route], address: str) -> nets.Route | None:
    """The most specific route to an address."""
    wanted = ipaddress.IPv4Address(address)
    fitting = [one for one in routes if wanted in ipaddress.IPv4Network(one.cidr)]
    return max(fitting, key=lambda one: ipaddress.IPv4Network(one.cidr).prefixlen, default=None)


def is_own(address: str) -> bool:
    """Whether this machine itself has an address: its services are no internet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((address, 0))
        return True
    return False
