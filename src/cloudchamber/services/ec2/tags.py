# SPDX-License-Identifier: Apache-2.0
"""Tags of every kind of EC2 resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Facts, operation
from cloudchamber.services.ec2 import disks, errors, names, needs, nets, tables
from cloudchamber.services.ec2.checks import many, page, select, tags_from, takes, with_token
from cloudchamber.services.ec2.instances import look

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.store.database import Reader, Tx

_KINDS = {
    "i": "instance",
    "sg": "security-group",
    "sgr": "security-group-rule",
    "vpc": "vpc",
    "subnet": "subnet",
    "eni": "network-interface",
    "rtb": "route-table",
    "igw": "internet-gateway",
    "nat": "natgateway",
    "eipalloc": "elastic-ip",
    "acl": "network-acl",
    "lt": "launch-template",
    "vol": "volume",
    "snap": "snapshot",
    "ami": "image",
    "key": "key-pair",
}
_NETS: dict[str, type] = {
    "vpc": nets.Vpc,
    "subnet": nets.Subnet,
    "rtb": nets.RouteTable,
    "igw": nets.InternetGateway,
    "nat": nets.NatGateway,
    "eipalloc": nets.Address,
}
_DISKS: dict[str, type[disks.Row]] = {"vol": disks.Volume, "snap": disks.Snapshot, "ami": disks.Image}


def _check(db: Reader, call: Call, identifier: str) -> None:
    """Raise AWS's error unless the caller's account has the resource."""
    prefix = identifier.partition("-")[0]
    if prefix in _NETS:
        nets.get(db, _NETS[prefix], call.account, call.region, identifier)
        return
    if prefix in _DISKS:
        kind = _DISKS[prefix]
        if not names.well_formed(prefix, identifier):
            raise errors.InvalidID(f"The ID '{identifier}' is not valid")
        if not disks.is_there(db, kind, call.account, call.region, identifier):
            raise disks.missing(kind, identifier)
        return
    rows = tables.instances(db, call.account, call.region, call.now.timestamp())
    found = {
        "i": lambda: any(row.id == identifier for row in rows),
        "eni": lambda: any(row.eni_id == identifier and row.state != "terminated" for row in rows),
        "sg": lambda: _owned(db, call, "ec2_security_groups", identifier),
        "sgr": lambda: any(
            rule.id == identifier
            for one in tables.groups(db, call.account, call.region)
            for rule in tables.rules(db, one.id)
        ),
        "lt": lambda: _owned(db, call, "ec2_launch_templates", identifier),
        "key": lambda: _owned(db, call, "ec2_key_pairs", identifier),
        "acl": lambda: any(
            names.stable_id("acl", one.id) == identifier for one in nets.listed(db, nets.Vpc, call.account, call.region)
        ),
    }
    missing: dict[str, type[errors.Ec2Error]] = {
        "i": errors.InvalidInstanceIDNotFound,
        "eni": errors.InvalidNetworkInterfaceIDNotFound,
        "sg": errors.InvalidGroupNotFound,
        "sgr": errors.InvalidSecurityGroupRuleIdNotFound,
        "acl": errors.InvalidNetworkAclIDNotFound,
        "lt": errors.InvalidLaunchTemplateIdNotFound,
        "key": errors.InvalidKeyPairNotFound,
    }
    if prefix not in found:
        raise errors.InvalidID(f"The ID '{identifier}' is not valid")
    if not found[prefix]():
        raise missing[prefix](f"The {_KINDS[prefix]} ID '{identifier}' does not exist")


def _owned(db: Reader, call: Call, table: str, identifier: str) -> bool:
    sql = f"SELECT 1 FROM {table} WHERE id = ? AND account = ? AND region = ?"
    return db.execute(sql, (identifier, call.account, call.region)).fetchone() is not None


@operation("CreateTags", needs=needs.tags("CreateTags"))
@takes("Resources", "Tags")
async def create_tags(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add or overwrite tags of resources, all or none.

    Source: Amazon EC2 API Reference, CreateTags.
    """
    values = tags_from(many(request, "Tags"))

    def change(tx: Tx) -> None:
        for one in request["Resources"]:
            _check(tx, call, one)
            if len(tables.tags(tx, one) | values) > 50:
                raise errors.TagLimitExceeded("The maximum number of Tags for a resource has been reached.")
            tables.put_tags(tx, call.account, call.region, one, values)

    await call.doors.database.write(change)
    return {}


@operation("DeleteTags", needs=needs.tags("DeleteTags"))
@takes("Resources", "Tags")
async def delete_tags(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags: those named (with their value, if one is given), or all of the user's.

    Source: Amazon EC2 API Reference, DeleteTags.
    """
    given = request.get("Tags")

    def change(tx: Tx) -> None:
        for one in request["Resources"]:
            _check(tx, call, one)
            keys = (
                [(tag["Key"], tag.get("Value")) for tag in given]
                if given
                else [(key, None) for key in tables.tags(tx, one) if not key.startswith("aws:")]
            )
            tables.delete_tags(tx, one, keys)

    await call.doors.database.write(change)
    return {}


@operation("DescribeTags", needs=needs.look("DescribeTags"))
@takes("Filters", "MaxResults", "NextToken")
async def describe_tags(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List tags.

    Source: Amazon EC2 API Reference, DescribeTags.
    """
    rows: list[dict[str, Any]] = [
        {"ResourceId": resource, "ResourceType": _KINDS[resource.partition("-")[0]], "Key": key, "Value": value}
        for resource, values in look(call).tags.items()
        for key, value in values.items()
    ]

    def shown(row: dict[str, Any]) -> Mapping[str, Any]:
        return {**row, "Tags": [{"Key": row["Key"], "Value": row["Value"]}]}

    paths = {"key": "Key", "resource-id": "ResourceId", "resource-type": "ResourceType", "value": "Value"}
    rows, token = page(
        select(rows, request.get("Filters"), paths, shown), request, lambda row: f"{row['ResourceId']}/{row['Key']}"
    )
    return with_token({"Tags": rows}, token)


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and tags of an EC2 resource, for decisions; who may use images and snapshots of others is checked there."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or "/" not in parts[5]:
        return None
    identifier = parts[5].partition("/")[2]
    if identifier == "*" or not (parts[4] or parts[5].startswith(("image/", "snapshot/"))):
        return None
    return Facts(parts[4], tags=doors.database.read(lambda db: tables.tags(db, identifier)))
