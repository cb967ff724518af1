# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow: pure, except that an existing instance is looked up if a policy asks.

Source: Service Authorization Reference, "Amazon RDS".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.rds import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

_ASKED = {
    "DBInstanceClass": "rds:DatabaseClass",
    "Engine": "rds:DatabaseEngine",
    "DBName": "rds:DatabaseName",
    "MultiAZ": "rds:MultiAz",
    "StorageEncrypted": "rds:StorageEncrypted",
    "AllocatedStorage": "rds:StorageSize",
    "Iops": "rds:Piops",
    "ManageMasterUserPassword": "rds:ManageMasterUserPassword",
}
"""Members of requests about DB instances, and which condition key each is."""
_CREATED = {**_ASKED, "PubliclyAccessible": "rds:PubliclyAccessible", "BackupTarget": "rds:BackupTarget"}


def _db(call: Call, name: str) -> str:
    if name.startswith("arn:"):
        return name
    return str(Arn("rds", call.region, call.account, f"db:{name.lower() or '*'}"))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _given(request: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, ContextValue]:
    return {keys[member]: _text(value) for member, value in request.items() if member in keys}


def _tags(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    """Condition keys of the tags in a request; RDS has names of its own for them too."""
    tags = {str(t.get("Key", "")): str(t.get("Value", "")) for t in request.get("Tags") or ()}
    context: dict[str, ContextValue] = {}
    for key, value in tags.items():
        context[f"aws:RequestTag/{key}"] = context[f"rds:req-tag/{key}"] = value
    keys = tuple(tags) or tuple(str(key) for key in request.get("TagKeys") or ())
    if keys:
        context["aws:TagKeys"] = keys
    return context


def create_db_instance(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """CreateDBInstance: on the instance and on the groups that it uses; AddTagsToResource for its tags.

    Source: Amazon RDS User Guide, "Identity-based policy examples for Amazon RDS": the policy names them all.
    """
    resource = _db(call, str(request.get("DBInstanceIdentifier", "")))
    tags = _tags(request)
    context: dict[str, ContextValue] = {"rds:Vpc": "true", **_given(request, _CREATED), **tags}
    major = str(request.get("EngineVersion", "")).partition(".")[0] or "18"
    engine = request.get("Engine", "postgres")
    yield Need("rds:CreateDBInstance", resource, context)
    shared = {key: value for key, value in context.items() if key in _OF_ACTION or key in tags}
    for kind, name in (
        ("pg", request.get("DBParameterGroupName") or f"default.{engine}{major}"),
        ("og", request.get("OptionGroupName") or f"default:{engine}-{major}"),
        ("subgrp", request.get("DBSubnetGroupName") or "default"),
    ):
        yield Need("rds:CreateDBInstance", str(Arn("rds", call.region, call.account, f"{kind}:{name}")), shared)
    if tags:
        yield Need("rds:AddTagsToResource", resource, tags)
    yield from _monitoring(request)


_OF_ACTION = ("rds:BackupTarget", "rds:ManageMasterUserPassword", "rds:PubliclyAccessible")


def _monitoring(request: Mapping[str, Any]) -> Iterable[Need]:
    if request.get("MonitoringRoleArn"):
        to = {"iam:PassedToService": "monitoring.rds.amazonaws.com"}
        yield Need("iam:PassRole", request["MonitoringRoleArn"], to)


def on_instance(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action on the instance that `DBInstanceIdentifier` names; on all if it names none."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        resource = _db(call, str(request.get("DBInstanceIdentifier", "")))
        asked = _given(request, _ASKED) if action == "ModifyDBInstance" else {}

        def look() -> Mapping[str, ContextValue]:
            return {**existing(call, resource), **asked}

        yield Need(f"rds:{action}", resource, asked, ("rds:", look))
        yield from _monitoring(request)

    return needs


def existing(call: Call, resource: str) -> dict[str, ContextValue]:
    """Condition keys of a DB instance that exists."""
    try:
        arn = Arn.parse(resource)
    except ValueError:
        return {}

    def read(db: tables.Reader) -> tuple[tables.Instance | None, dict[str, str]]:
        name = arn.resource.partition(":")[2]
        return tables.by_name(db, arn.account, arn.region, name), tables.tags(db, resource)

    row, tags = call.doors.database.read(read)
    if row is None:
        return {}
    keys: dict[str, ContextValue] = {f"rds:db-tag/{key}": value for key, value in tags.items()}
    keys |= {
        "rds:DatabaseClass": row.instance_class,
        "rds:DatabaseEngine": "postgres",
        "rds:MultiAz": "false",
        "rds:Piops": "0",
        "rds:StorageEncrypted": "false",
        "rds:StorageSize": str(row.storage_gib),
        "rds:Vpc": "true",
    }
    return {**keys, "rds:DatabaseName": row.database} if row.database else keys


def on_subnet_group(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action on the DB subnet group that `DBSubnetGroupName` names; AddTagsToResource for its tags."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        name = str(request.get("DBSubnetGroupName") or "*").lower()
        resource, tags = str(Arn("rds", call.region, call.account, f"subgrp:{name}")), _tags(request)
        yield Need(f"rds:{action}", resource, tags)
        if tags:
            yield Need("rds:AddTagsToResource", resource, tags)

    return needs


def on_resource(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action on the ARN in `ResourceName`."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        context = _tags(request)
        yield Need(f"rds:{action}", str(request.get("ResourceName", "*")), context)

    return needs


def anywhere(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action without a resource."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        yield Need(f"rds:{action}", "*")

    return needs
