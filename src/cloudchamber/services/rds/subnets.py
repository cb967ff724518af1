# SPDX-License-Identifier: Apache-2.0
"""DB subnet groups: the VPC in which a DB instance is, and the subnets in which it may be."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import operation
from cloudchamber.services.rds import asked, names, needs, tables
from cloudchamber.services.rds.errors import (
    DBSubnetGroupAlreadyExists,
    DBSubnetGroupDoesNotCoverEnoughAZs,
    DBSubnetGroupNotFound,
    DBSubnetGroupQuotaExceeded,
    InvalidDBSubnetGroupState,
    InvalidParameterValue,
    InvalidSubnet,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

GROUPS_MAX = 50
_NAME = re.compile(r"[a-z0-9._ -]{1,255}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SubnetGroup:
    """One DB subnet group; `subnets` are subnet id -> zone."""

    account: str
    region: str
    name: str
    description: str
    vpc_id: str
    subnets: Mapping[str, str]

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:rds:{self.region}:{self.account}:subgrp:{self.name}"


def _read(row: Any) -> SubnetGroup:
    account, region, name, description, vpc_id, subnets = row
    return SubnetGroup(account, region, name, description, vpc_id, json.loads(subnets))


def find(db: Reader, account: str, region: str, name: str) -> SubnetGroup | None:
    """A group by its name."""
    row = db.execute(
        "SELECT * FROM rds_subnet_groups WHERE account = ? AND region = ? AND name = ?", (account, region, name.lower())
    ).fetchone()
    return _read(row) if row is not None else None


def put(tx: Tx, group: SubnetGroup) -> None:
    """Add or replace a group."""
    tx.execute(
        "INSERT OR REPLACE INTO rds_subnet_groups VALUES (?, ?, ?, ?, ?, ?)",
        (group.account, group.region, group.name, group.description, group.vpc_id, json.dumps(dict(group.subnets))),
    )


def view(group: SubnetGroup) -> dict[str, Any]:
    """`DBSubnetGroup`."""
    return {
        "DBSubnetGroupName": group.name,
        "DBSubnetGroupDescription": group.description,
        "VpcId": group.vpc_id,
        "SubnetGroupStatus": "Complete",
        "Subnets": [
            {
                "SubnetIdentifier": subnet,
                "SubnetAvailabilityZone": {"Name": zone},
                "SubnetOutpost": {},
                "SubnetStatus": "Active",
            }
            for subnet, zone in group.subnets.items()
        ],
        "DBSubnetGroupArn": group.arn,
        "SupportedNetworkTypes": ["IPV4"],
    }


async def _placed(call: Call, subnet_ids: list[str]) -> tuple[str, dict[str, str]]:
    """The VPC of subnets, and the zone of each.

    Raises:
        InvalidSubnet: one does not exist, or they are in several VPCs.
        DBSubnetGroupDoesNotCoverEnoughAZs: they are all in one zone.
    """
    try:
        found = (await call.ask("ec2", "DescribeSubnets", {"SubnetIds": subnet_ids}))["Subnets"]
    except ServiceError as error:
        if error.code.startswith("InvalidSubnet"):
            raise InvalidSubnet(f"Some input subnets in :{subnet_ids} are invalid.") from error
        raise
    vpcs = {one["VpcId"] for one in found}
    if len(vpcs) != 1:
        raise InvalidSubnet("The specified subnets are in more than one VPC.")
    zones = {str(one["SubnetId"]): str(one["AvailabilityZone"]) for one in found}
    if len(set(zones.values())) < 2:
        raise DBSubnetGroupDoesNotCoverEnoughAZs(
            "The DB subnet group doesn't meet Availability Zone (AZ) coverage requirement. Current AZ coverage: "
            f"{', '.join(sorted(set(zones.values())))}. Add subnets to cover at least 2 AZs."
        )
    return vpcs.pop(), zones


async def of_instance(call: Call, name: str) -> SubnetGroup | None:
    """The group of a DB instance that is to be made; `default`, which is the default VPC, is made with its first.

    None where there are no networks, or where no default VPC is.

    Raises:
        DBSubnetGroupNotFound: there is none of that name.
    """
    found = call.doors.database.read(lambda db: find(db, call.account, call.region, name))
    if found is not None:
        return found
    if name != "default":
        raise DBSubnetGroupNotFound(f"DB subnet group '{name}' does not exist.")
    if "ec2" not in call.doors.services:
        return None
    wanted = {"Filters": [{"Name": "default-for-az", "Values": ["true"]}]}
    listed = (await call.ask("ec2", "DescribeSubnets", wanted))["Subnets"]
    if not listed:
        raise InvalidSubnet("No default subnet detected in VPC. Please contact AWS Support to recreate default Subnets")
    zones = {str(one["SubnetId"]): str(one["AvailabilityZone"]) for one in listed}
    group = SubnetGroup(call.account, call.region, "default", "default", listed[0]["VpcId"], zones)
    await call.doors.database.write(lambda tx: put(tx, group))
    return group


@operation("CreateDBSubnetGroup", needs=needs.on_subnet_group("CreateDBSubnetGroup"))
async def create_db_subnet_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Name the subnets, in at least two zones of one VPC, in which DB instances may be.

    Raises:
        DBSubnetGroupAlreadyExists: the name is taken.

    Source: Amazon RDS API Reference, CreateDBSubnetGroup.
    """
    name = str(request["DBSubnetGroupName"]).lower()
    if not _NAME.fullmatch(name) or name == "default":
        raise InvalidParameterValue(
            "The parameter DBSubnetGroupName is not a valid identifier. It must not be 'default', and have at most 255 "
            "letters, numbers, periods, underscores, spaces, or hyphens."
        )
    vpc_id, zones = await _placed(call, [str(one) for one in request["SubnetIds"]])
    tags = names.tags(request.get("Tags"))
    group = SubnetGroup(call.account, call.region, name, str(request["DBSubnetGroupDescription"]), vpc_id, zones)

    def write(tx: Tx) -> None:
        if find(tx, call.account, call.region, name) is not None:
            raise DBSubnetGroupAlreadyExists(f"The DB subnet group '{name}' already exists.")
        if len(_listed(tx, call)) >= GROUPS_MAX:
            raise DBSubnetGroupQuotaExceeded("You have reached the maximum number of DB subnet groups.")
        put(tx, group)
        tables.tag(tx, group.arn, tags)

    await call.doors.database.write(write)
    return {"DBSubnetGroup": view(group)}


def _listed(db: Reader, call: Call, after: str = "") -> list[SubnetGroup]:
    rows = db.execute(
        "SELECT * FROM rds_subnet_groups WHERE account = ? AND region = ? AND name > ? ORDER BY name",
        (call.account, call.region, after),
    )
    return [_read(row) for row in rows]


def _get(db: Reader, call: Call, name: str) -> SubnetGroup:
    found = find(db, call.account, call.region, name)
    if found is None:
        raise DBSubnetGroupNotFound(f"DB subnet group '{name}' does not exist.")
    return found


@operation("ModifyDBSubnetGroup", needs=needs.on_subnet_group("ModifyDBSubnetGroup"))
async def modify_db_subnet_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the subnets of a group, within its VPC, or its description.

    Source: Amazon RDS API Reference, ModifyDBSubnetGroup.
    """
    before = call.doors.database.read(lambda db: _get(db, call, str(request["DBSubnetGroupName"])))
    vpc_id, zones = await _placed(call, [str(one) for one in request["SubnetIds"]])
    if vpc_id != before.vpc_id:
        raise InvalidSubnet(f"The specified subnets are not in {before.vpc_id}, the VPC of the DB subnet group.")
    description = str(request.get("DBSubnetGroupDescription") or before.description)
    group = SubnetGroup(before.account, before.region, before.name, description, vpc_id, zones)

    def write(tx: Tx) -> None:
        _get(tx, call, before.name)
        put(tx, group)

    await call.doors.database.write(write)
    return {"DBSubnetGroup": view(group)}


@operation("DeleteDBSubnetGroup", needs=needs.on_subnet_group("DeleteDBSubnetGroup"))
async def delete_db_subnet_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a group that no DB instance is in.

    Raises:
        InvalidDBSubnetGroupState: it is `default`, or in use.

    Source: Amazon RDS API Reference, DeleteDBSubnetGroup.
    """

    def write(tx: Tx) -> None:
        group = _get(tx, call, str(request["DBSubnetGroupName"]))
        used = [one for one in tables.listed(tx, call.account, call.region) if one.subnet_group == group.name]
        if used or group.name == "default":
            raise InvalidDBSubnetGroupState(
                f"Cannot delete the subnet group '{group.name}' because at least one database instance: "
                f"{used[0].name} is still using it."
                if used
                else "The default DB subnet group cannot be deleted."
            )
        tx.execute(
            "DELETE FROM rds_subnet_groups WHERE account = ? AND region = ? AND name = ?",
            (call.account, call.region, group.name),
        )
        tx.execute("DELETE FROM rds_tags WHERE arn = ?", (group.arn,))

    await call.doors.database.write(write)
    return {}


@operation("DescribeDBSubnetGroups", needs=needs.on_subnet_group("DescribeDBSubnetGroups"))
async def describe_db_subnet_groups(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One DB subnet group by name, or all, in pages.

    Raises:
        DBSubnetGroupNotFound: `DBSubnetGroupName` names none.

    Source: Amazon RDS API Reference, DescribeDBSubnetGroups.
    """
    asked.filters(request, ())
    after, size = asked.page(request)
    if request.get("DBSubnetGroupName"):
        name = str(request["DBSubnetGroupName"])
        return {"DBSubnetGroups": [view(call.doors.database.read(lambda db: _get(db, call, name)))]}
    rows = call.doors.database.read(lambda db: _listed(db, call, after))
    answer: dict[str, Any] = {"DBSubnetGroups": [view(one) for one in rows[:size]]}
    if len(rows) > size:
        answer["Marker"] = pages.token(rows[size - 1].name)
    return answer
