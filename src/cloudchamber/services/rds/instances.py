# SPDX-License-Identifier: Apache-2.0
"""DB instances: create, describe, modify, delete."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import operation
from cloudchamber.services.rds import asked, names, needs, places, states, subnets, tables, views
from cloudchamber.services.rds.build import set_password
from cloudchamber.services.rds.errors import (
    DBInstanceAlreadyExists,
    DBInstanceNotFound,
    InstanceQuotaExceeded,
    InvalidDBInstanceState,
    InvalidParameterCombination,
)
from cloudchamber.services.rds.part import Databases
from cloudchamber.services.rds.scram import verifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call, Doors

_INSTANCES_MAX = 40
_IMMEDIATE: dict[str, str] = {
    "DeletionProtection": "protected",
    "PubliclyAccessible": "public",
    "EnableIAMDatabaseAuthentication": "iam",
    "CopyTagsToSnapshot": "copy_tags",
    "AutoMinorVersionUpgrade": "auto_minor",
}


def part(doors: Doors) -> Databases:
    """The live side."""
    return doors.part("rds", Databases)


def find(call: Call, identifier: str) -> tables.Instance:
    """A DB instance by identifier or ARN.

    Raises:
        DBInstanceNotFound: there is none.
    """
    name = identifier.rpartition(":db:")[2].lower() if identifier.startswith("arn:") else identifier.lower()
    row = call.doors.database.read(lambda db: tables.by_name(db, call.account, call.region, name))
    if row is None or (identifier.startswith("arn:") and identifier != row.arn):
        raise DBInstanceNotFound(f"DBInstance {name} not found.")
    return row


def show(call: Call, row: tables.Instance) -> dict[str, Any]:
    """`DBInstance` of a row."""

    def read(db: tables.Reader) -> tuple[dict[str, str], subnets.SubnetGroup | None]:
        return tables.tags(db, row.arn), subnets.find(db, row.account, row.region, row.subnet_group)

    tags, placed = call.doors.database.read(read)
    return _shown(row, tags, placed)


def _shown(row: tables.Instance, tags: Mapping[str, str], placed: subnets.SubnetGroup | None) -> dict[str, Any]:
    shown = views.instance(row, tags)
    return {**shown, "DBSubnetGroup": subnets.view(placed)} if placed is not None else shown


async def move(call: Call, row: tables.Instance, event: states.Event, message: str, **changes: Any) -> tables.Instance:
    """Change a row's status because somebody asked for it, with changes and an event, in one write.

    Raises:
        InvalidDBInstanceState: not from its status.
    """
    at = call.now.timestamp()

    def write(tx: tables.Tx) -> tables.Instance:
        now = tables.by_id(tx, row.resource_id)
        state = states.after(now.status, event) if now is not None else None
        if now is None or state is None:
            status = now.status if now is not None else "deleted"
            raise InvalidDBInstanceState(f"Instance {row.name} is not in available state: it is {status}.")
        changed = tables.change(tx, row.resource_id, status=state, **changes)
        tables.happened(tx, row, at, "notification", message)
        return changed or now

    changed = await call.doors.database.write(write)
    part(call.doors).wake(row.resource_id)
    return changed


@operation("CreateDBInstance", needs=needs.create_db_instance)
async def create_db_instance(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a DB instance: a PostgreSQL server of its own. It is ``creating`` when this returns.

    Raises:
        DBInstanceAlreadyExists: the identifier is taken. InvalidParameterValue, InvalidParameterCombination: see names
            and `asked`; what is not available here is refused by its name.

    Source: Amazon RDS API Reference, CreateDBInstance.
    """
    row = asked.create(call.account, call.region, request, call.now.timestamp())
    tags = names.tags(request.get("Tags"))
    doors = call.doors
    existing = doors.database.read(lambda db: tables.listed(db, call.account, call.region))
    if any(one.name == row.name for one in existing):
        raise DBInstanceAlreadyExists("DB instance already exists")
    if len(existing) >= _INSTANCES_MAX:
        raise InstanceQuotaExceeded(f"There are {_INSTANCES_MAX} DB instances; no more are allowed.")
    placed = await subnets.of_instance(call, row.subnet_group)
    vpc_id = placed.vpc_id if placed is not None else ""
    groups = await places.groups(call, request.get("VpcSecurityGroupIds"), vpc_id)
    address, port, moved = places.endpoint(doors, row.port)
    row = dataclasses.replace(row, groups=groups, address=address, port=port, vpc_id=vpc_id)
    if request.get("ManageMasterUserPassword"):
        row = await _managed_password(call, row)
    else:
        row = dataclasses.replace(row, verifier=verifier(str(request["MasterUserPassword"]), _salt()))

    def write(tx: tables.Tx) -> None:
        tables.add(tx, row)
        tables.tag(tx, row.arn, tags)
        if moved:
            tables.happened(tx, row, row.created, "notification", moved)

    try:
        await doors.database.write(write)
    except BaseException as error:
        await _drop_secret(call, row)
        if isinstance(error, sqlite3.IntegrityError):
            raise DBInstanceAlreadyExists("DB instance already exists") from error
        raise
    part(doors).wake(row.resource_id)
    return {"DBInstance": _shown(row, tags, placed)}


@operation("DescribeDBInstances", needs=needs.on_instance("DescribeDBInstances"))
async def describe_db_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One DB instance by identifier, or all, by filters and in pages.

    Raises:
        DBInstanceNotFound: `DBInstanceIdentifier` names none.

    Source: Amazon RDS API Reference, DescribeDBInstances.
    """
    if request.get("DBInstanceIdentifier"):
        return {"DBInstances": [show(call, find(call, str(request["DBInstanceIdentifier"])))]}
    wanted = asked.filters(request, ("db-instance-id", "dbi-resource-id", "engine", "db-cluster-id", "domain"))
    after, size = asked.page(request)
    rows = call.doors.database.read(lambda db: tables.listed(db, call.account, call.region, after))
    kept = [row for row in rows if _matches(row, wanted)]
    answer: dict[str, Any] = {"DBInstances": [show(call, row) for row in kept[:size]]}
    if len(kept) > size:
        answer["Marker"] = pages.token(kept[size - 1].name)
    return answer


@operation("ModifyDBInstance", needs=needs.on_instance("ModifyDBInstance"))
async def modify_db_instance(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change a DB instance. Class, storage and port wait for the maintenance window unless `ApplyImmediately`.

    Raises:
        DBInstanceNotFound, InvalidDBInstanceState, InvalidParameterValue, InvalidParameterCombination.

    Source: Amazon RDS API Reference, ModifyDBInstance; RDS User Guide, "Settings for DB instances".
    """
    row = find(call, str(request["DBInstanceIdentifier"]))
    asked.modify(request)
    if row.status not in ("available", "stopped"):
        raise InvalidDBInstanceState(f"Database instance is not in available state: it is {row.status}.")
    now: dict[str, Any] = {ours: bool(request[wire]) for wire, ours in _IMMEDIATE.items() if wire in request}
    if "VpcSecurityGroupIds" in request:
        now["groups"] = await places.groups(call, request["VpcSecurityGroupIds"], row.vpc_id)
    for wire, ours in (
        ("PreferredMaintenanceWindow", "maintenance_window"),
        ("PreferredBackupWindow", "backup_window"),
    ):
        if wire in request:
            now[ours] = str(request[wire])
    later = asked.later(row, request)
    if "MasterUserPassword" in request:
        now["verifier"] = await _new_password(call, row, str(request["MasterUserPassword"]))
    if not later or not request.get("ApplyImmediately"):
        now["pending"] = {**row.pending, **later}
        changed = await call.doors.database.write(lambda tx: tables.change(tx, row.resource_id, **now))
        return {"DBInstance": show(call, changed or row)}
    if row.status == "stopped":
        now |= {**row.pending, **later, "pending": {}}
        changed = await call.doors.database.write(lambda tx: tables.change(tx, row.resource_id, **now))
        return {"DBInstance": show(call, changed or row)}
    now["pending"] = {**row.pending, **later}
    return {"DBInstance": show(call, await move(call, row, "modify", "Applying modification", **now))}


@operation("DeleteDBInstance", needs=needs.on_instance("DeleteDBInstance"))
async def delete_db_instance(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a DB instance and its data. It is ``deleting`` when this returns.

    Raises:
        InvalidParameterCombination: it is protected, or a final snapshot is asked for (there are none yet).

    Source: Amazon RDS API Reference, DeleteDBInstance.
    """
    row = find(call, str(request["DBInstanceIdentifier"]))
    if row.protected:
        raise InvalidParameterCombination(
            "Cannot delete protected DB Instance, please disable deletion protection and try again."
        )
    if not request.get("SkipFinalSnapshot"):
        if not request.get("FinalDBSnapshotIdentifier"):
            raise InvalidParameterCombination(
                "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            )
        raise InvalidParameterCombination(
            "FinalDBSnapshotIdentifier is not available: cloudchamber takes no snapshots yet. Use SkipFinalSnapshot."
        )
    if request.get("FinalDBSnapshotIdentifier"):
        raise InvalidParameterCombination(
            "FinalDBSnapshotIdentifier can not be specified when deleting with SkipFinalSnapshot."
        )
    if row.status == "deleting":
        raise InvalidDBInstanceState(f"Instance {row.name} is already being deleted.")
    return {"DBInstance": show(call, await move(call, row, "delete", "DB instance is being deleted"))}


def _matches(row: tables.Instance, wanted: Mapping[str, tuple[str, ...]]) -> bool:
    values = {
        "db-instance-id": (row.name, row.arn), "dbi-resource-id": (row.resource_id,), "engine": ("postgres",),
    }  # fmt: skip
    return all(set(values.get(name, ())) & set(any_of) for name, any_of in wanted.items())


def _salt() -> bytes:
    return bytes.fromhex(ids.hex_token(16))


async def _managed_password(call: Call, row: tables.Instance) -> tables.Instance:
    """A password of ours, in a secret that RDS owns."""
    password = ids.token(24)
    request = {
        "Name": f"rds!db-{ids.request_id()}",
        "Description": f"Secret associated with primary RDS DB instance: {row.arn}",
        "SecretString": json.dumps({"username": row.master, "password": password}),
        "Tags": [{"Key": "aws:rds:primaryDBInstanceArn", "Value": row.arn}],
    }
    via = dataclasses.replace(call.principal, via=(*call.principal.via, "rds.amazonaws.com"))
    made = await call.ask("secretsmanager", "CreateSecret", request, principal=via)
    return dataclasses.replace(row, secret_arn=made["ARN"], secret_owned=True, verifier=verifier(password, _salt()))


async def _drop_secret(call: Call, row: tables.Instance) -> None:
    if not row.secret_owned:
        return
    via = dataclasses.replace(call.principal, via=(*call.principal.via, "rds.amazonaws.com"))
    try:
        await call.ask(
            "secretsmanager", "DeleteSecret",
            {"SecretId": row.secret_arn, "ForceDeleteWithoutRecovery": True}, principal=via,
        )  # fmt: skip
    except ServiceError as error:
        call.note(secret_left=error.code)


async def _new_password(call: Call, row: tables.Instance, text: str) -> str:
    """Give the master user another password, at once; its verifier."""
    if row.secret_arn:
        raise InvalidParameterCombination(
            "You can't specify MasterUserPassword for an instance with ManageMasterUserPassword enabled."
        )
    made = verifier(names.password(text), _salt())
    if row.status != "available":
        raise InvalidDBInstanceState(
            "The master user's password can be changed only while the DB instance is available."
        )
    await set_password(part(call.doors).engine, row, made)
    return made
