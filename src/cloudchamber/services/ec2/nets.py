# SPDX-License-Identifier: Apache-2.0
"""Rows of networks: VPCs, subnets, routes, gateways, Elastic IP addresses; and the default VPC of a region."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, TypeVar

from cloudchamber.base import ids
from cloudchamber.services.ec2 import errors, names, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudchamber.store.database import Reader, Tx

PUBLIC = ipaddress.IPv4Network("127.64.0.0/10")
"""Where public addresses come from: this machine alone can reach them, and needs no set-up for it."""
_TRIES = 64


@dataclass(frozen=True, slots=True)
class Vpc:
    """A virtual private cloud with one IPv4 block."""

    id: str
    account: str
    region: str
    cidr: str
    is_default: int = 0
    dns_support: int = 1
    dns_hostnames: int = 0


@dataclass(frozen=True, slots=True)
class Subnet:
    """A part of a VPC's block in one zone; `public_on_launch`: instances get a public address."""

    id: str
    account: str
    region: str
    vpc_id: str
    cidr: str
    zone: str
    is_default: int = 0
    public_on_launch: int = 0

    @property
    def zone_id(self) -> str:
        """The zone's id (``use1-az1``)."""
        return dict(names.zones(self.region)).get(self.zone, self.zone)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A table of routes; the route to the VPC itself is in every one, without a row."""

    id: str
    account: str
    region: str
    vpc_id: str


@dataclass(frozen=True, slots=True)
class Route:
    """What is for `cidr` goes to `target`: a gateway's id."""

    table_id: str
    cidr: str
    target: str


@dataclass(frozen=True, slots=True)
class Association:
    """A table that serves a subnet, or (`subnet_id` empty) every subnet of the VPC that has none of its own."""

    id: str
    table_id: str
    vpc_id: str
    subnet_id: str = ""


@dataclass(frozen=True, slots=True)
class InternetGateway:
    """A VPC's way to the internet; `vpc_id` is empty while it is detached."""

    id: str
    account: str
    region: str
    vpc_id: str = ""


@dataclass(frozen=True, slots=True)
class NatGateway:
    """The way out for instances without a public address. Times are POSIX seconds; `deleted` 0 while it lives."""

    id: str
    account: str
    region: str
    vpc_id: str
    subnet_id: str
    allocation_id: str
    private_ip: str
    connectivity: str
    client_token: str
    created: float
    deleted: float = 0.0


@dataclass(frozen=True, slots=True)
class Address:
    """An Elastic IP address."""

    id: str
    account: str
    region: str
    ip: str
    association_id: str = ""
    instance_id: str = ""
    nat_gateway_id: str = ""


Row = Vpc | Subnet | RouteTable | InternetGateway | NatGateway | Address
R = TypeVar("R", Vpc, Subnet, RouteTable, InternetGateway, NatGateway, Address)
_TABLES: dict[type, str] = {
    Vpc: "ec2_vpcs",
    Subnet: "ec2_subnets",
    RouteTable: "ec2_route_tables",
    Route: "ec2_routes",
    Association: "ec2_route_associations",
    InternetGateway: "ec2_internet_gateways",
    NatGateway: "ec2_nat_gateways",
    Address: "ec2_addresses",
}


def insert(tx: Tx, row: Row | Route | Association) -> None:
    """Add a row; sqlite3.IntegrityError where there is one."""
    values = [getattr(row, one.name) for one in fields(row)]
    tx.execute(f"INSERT INTO {_TABLES[type(row)]} VALUES ({', '.join('?' * len(values))})", values)


def update(tx: Tx, row: Row, **values: object) -> None:
    """Change columns of a row."""
    known = {one.name for one in fields(row)}
    if not known.issuperset(values):
        raise ValueError(f"no such columns: {set(values) - known}")
    tx.execute(
        f"UPDATE {_TABLES[type(row)]} SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?",
        [*values.values(), row.id],
    )


def delete(tx: Tx, row: Row) -> None:
    """Remove a row and its tags."""
    tables.delete_tags(tx, row.id)
    tx.execute(f"DELETE FROM {_TABLES[type(row)]} WHERE id = ?", (row.id,))


def find(db: Reader, kind: type[R], identifier: str) -> R | None:
    """A row by its id, whosever it is."""
    row = db.execute(f"SELECT * FROM {_TABLES[kind]} WHERE id = ?", (identifier,)).fetchone()
    return kind(*row) if row is not None else None


def listed(db: Reader, kind: type[R], account: str, region: str) -> list[R]:
    """Rows of an account in a region, in the order in which they were made."""
    rows = db.execute(
        f"SELECT * FROM {_TABLES[kind]} WHERE account = ? AND region = ? ORDER BY rowid", (account, region)
    )
    return [kind(*row) for row in rows]


_MISSING: dict[type, tuple[type[errors.Ec2Error], str]] = {
    Vpc: (errors.InvalidVpcIDNotFound, "The vpc ID '{}' does not exist"),
    Subnet: (errors.InvalidSubnetIDNotFound, "The subnet ID '{}' does not exist"),
    RouteTable: (errors.InvalidRouteTableIDNotFound, "The routeTable ID '{}' does not exist"),
    InternetGateway: (errors.InvalidInternetGatewayIDNotFound, "The internetGateway ID '{}' does not exist"),
    NatGateway: (errors.NatGatewayNotFound, "The Nat Gateway {} was not found"),
    Address: (errors.InvalidAllocationIDNotFound, "The allocation ID '{}' does not exist"),
}


def missing(kind: type, identifier: str) -> errors.Ec2Error:
    """AWS's error for what is not there."""
    error, words = _MISSING[kind]
    return error(words.format(identifier))


def get(db: Reader, kind: type[R], account: str, region: str, identifier: str) -> R:
    """A row by its id.

    Raises:
        Ec2Error: there is none in this account and region; the code is the kind's (`InvalidVpcID.NotFound`).
    """
    row = find(db, kind, identifier)
    if row is None or (row.account, row.region) != (account, region):
        raise missing(kind, identifier)
    return row


def of_vpc(db: Reader, kind: type[R], vpc_id: str) -> list[R]:
    """Rows that belong to a VPC."""
    rows = db.execute(f"SELECT * FROM {_TABLES[kind]} WHERE vpc_id = ? ORDER BY rowid", (vpc_id,))
    return [kind(*row) for row in rows]


def default_vpc(db: Reader, account: str, region: str) -> Vpc | None:
    """The default VPC of a region, unless it was deleted."""
    row = db.execute(
        "SELECT * FROM ec2_vpcs WHERE account = ? AND region = ? AND is_default = 1", (account, region)
    ).fetchone()
    return Vpc(*row) if row is not None else None


# Routes


def routes(db: Reader, table_id: str) -> list[Route]:
    """The routes of a table, without the one to its VPC."""
    return [
        Route(*row) for row in db.execute("SELECT * FROM ec2_routes WHERE table_id = ? ORDER BY rowid", (table_id,))
    ]


def routes_to(db: Reader, target: str) -> list[Route]:
    """The routes that lead to a gateway."""
    return [Route(*row) for row in db.execute("SELECT * FROM ec2_routes WHERE target = ?", (target,))]


def put_route(tx: Tx, route: Route) -> None:
    """Replace a route."""
    tx.execute("INSERT OR REPLACE INTO ec2_routes VALUES (?, ?, ?)", (route.table_id, route.cidr, route.target))


def delete_route(tx: Tx, table_id: str, cidr: str) -> bool:
    """Remove a route; whether there was one."""
    done = tx.execute("DELETE FROM ec2_routes WHERE table_id = ? AND cidr = ?", (table_id, cidr))
    return done.rowcount > 0


def associations(db: Reader, vpc_id: str) -> list[Association]:
    """Which table serves which subnet of a VPC."""
    rows = db.execute("SELECT * FROM ec2_route_associations WHERE vpc_id = ? ORDER BY rowid", (vpc_id,))
    return [Association(*row) for row in rows]


def association(db: Reader, identifier: str) -> Association | None:
    """An association by its id."""
    row = db.execute("SELECT * FROM ec2_route_associations WHERE id = ?", (identifier,)).fetchone()
    return Association(*row) if row is not None else None


def delete_association(tx: Tx, identifier: str) -> None:
    """Remove an association."""
    tx.execute("DELETE FROM ec2_route_associations WHERE id = ?", (identifier,))


def table_of(db: Reader, subnet: Subnet) -> RouteTable:
    """The table that serves a subnet: its own, or its VPC's main table."""
    row = db.execute(
        "SELECT t.* FROM ec2_route_associations a JOIN ec2_route_tables t ON t.id = a.table_id "
        "WHERE a.vpc_id = ? AND a.subnet_id IN (?, '') ORDER BY a.subnet_id DESC LIMIT 1",
        (subnet.vpc_id, subnet.id),
    ).fetchone()
    return RouteTable(*row)


# Addresses


def address_of(db: Reader, instance_id: str) -> Address | None:
    """The Elastic IP address of an instance."""
    row = db.execute("SELECT * FROM ec2_addresses WHERE instance_id = ?", (instance_id,)).fetchone()
    return Address(*row) if row is not None else None


def free_public_address(db: Reader) -> str:
    """A public address that nobody has.

    Raises:
        AddressLimitExceeded: none was found.
    """
    taken = {row[0] for row in db.execute("SELECT ip FROM ec2_addresses")}
    taken |= {row.public_ip for row in tables.all_instances(db)}
    for _ in range(_TRIES):
        address = str(PUBLIC[1 + int.from_bytes(bytes.fromhex(ids.hex_token(4)), "big") % (PUBLIC.num_addresses - 2)])
        if address not in taken:
            return address
    raise errors.AddressLimitExceeded("The maximum number of addresses has been reached.")


def used_private(db: Reader, subnet: Subnet) -> set[str]:
    """Addresses of a subnet that somebody has."""
    found = {row.private_ip for row in tables.all_instances(db) if row.subnet_id == subnet.id}
    return found | {one.private_ip for one in of_vpc(db, NatGateway, subnet.vpc_id) if not one.deleted}


def free_private(db: Reader, subnet: Subnet, count: int, also: Iterable[str] = ()) -> list[str]:
    """Free addresses of a subnet; its first four and its last are AWS's own.

    Raises:
        InsufficientFreeAddressesInSubnet: there are fewer.
    """
    block = ipaddress.IPv4Network(subnet.cidr)
    used = used_private(db, subnet) | set(also)
    size = block.num_addresses - 5
    # Why: an address is not given again at once, so that whoever still talks to a terminated instance meets nobody.
    offset = int.from_bytes(bytes.fromhex(ids.hex_token(4)), "big")
    found: list[str] = []
    for step in range(size):
        address = str(block[4 + (offset + step) % size])
        if address not in used:
            found.append(address)
            if len(found) == count:
                return found
    raise errors.InsufficientFreeAddressesInSubnet(
        f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of instances."
    )


def reserved(cidr: str) -> set[str]:
    """The addresses of a subnet that AWS keeps for itself."""
    block = ipaddress.IPv4Network(cidr)
    return {str(block[n]) for n in (0, 1, 2, 3, -1)}


# What every VPC has


def furnish(tx: Tx, vpc: Vpc, group_id: str, *, table_id: str) -> None:
    """Give a new VPC its main route table and its default security group."""
    insert(tx, vpc)
    insert(tx, RouteTable(table_id, vpc.account, vpc.region, vpc.id))
    insert(tx, Association(names.stable_id("rtbassoc", table_id), table_id, vpc.id))
    tables.insert_group(
        tx, tables.Group(group_id, vpc.account, vpc.region, vpc.id, "default", "default VPC security group")
    )
    tables.insert_rule(
        tx, tables.Rule(names.stable_id("sgr", group_id, "in"), group_id, False, "-1", -1, -1, "", group_id)
    )
    out = names.stable_id("sgr", group_id, "out")
    tables.insert_rule(tx, tables.Rule(out, group_id, True, "-1", -1, -1, "0.0.0.0/0", ""))


def have_defaults(db: Reader, account: str, region: str) -> bool:
    """Whether the default VPC of a region was made (it may have been deleted since)."""
    sql = "SELECT 1 FROM ec2_defaults WHERE account = ? AND region = ?"
    return db.execute(sql, (account, region)).fetchone() is not None


def make_defaults(tx: Tx, account: str, region: str) -> None:
    """Make the default VPC of a region with a subnet in each zone, if it was never made. Ids do not change.

    Source: Amazon VPC User Guide, Default VPCs.
    """
    if have_defaults(tx, account, region):
        return
    tx.execute("INSERT INTO ec2_defaults VALUES (?, ?)", (account, region))
    vpc_id = names.vpc_id(account, region)
    # Why: instances and groups from before networks were rows belong to it.
    for table in ("ec2_instances", "ec2_security_groups"):
        tx.execute(
            f"UPDATE {table} SET vpc_id = ? WHERE account = ? AND region = ? AND vpc_id = ''", (vpc_id, account, region)
        )
    make_default_vpc(tx, account, region, default_subnets(account, region))


def make_default_vpc(tx: Tx, account: str, region: str, subnets: Sequence[Subnet]) -> Vpc:
    """The default VPC itself: its group, its subnets, its gateway and the route to it."""
    vpc = Vpc(names.vpc_id(account, region), account, region, names.VPC_CIDR, 1, 1, 1)
    group_id = names.default_group_id(account, region)
    table_id, gateway_id = names.stable_id("rtb", vpc.id), names.stable_id("igw", vpc.id)
    if tables.group(tx, group_id) is None:
        furnish(tx, vpc, group_id, table_id=table_id)
    else:
        insert(tx, vpc)
        insert(tx, RouteTable(table_id, account, region, vpc.id))
        insert(tx, Association(names.stable_id("rtbassoc", table_id), table_id, vpc.id))
    insert(tx, InternetGateway(gateway_id, account, region, vpc.id))
    insert(tx, Route(table_id, "0.0.0.0/0", gateway_id))
    for subnet in subnets:
        insert(tx, subnet)
    return vpc


def default_subnets(account: str, region: str) -> list[Subnet]:
    """The default subnets, one /20 in each zone."""
    vpc_id = names.vpc_id(account, region)
    return [
        Subnet(names.stable_id("subnet", account, zone), account, region, vpc_id, f"172.31.{16 * n}.0/20", zone, 1, 1)
        for n, (zone, _) in enumerate(names.zones(region))
    ]
