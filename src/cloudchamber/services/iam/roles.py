# SPDX-License-Identifier: Apache-2.0
"""Roles and their trust policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import documents, entities, last_used, linked, needs, tables
from cloudchamber.services.iam.errors import DeleteConflict, InvalidInput
from cloudchamber.services.iam.names import page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


@operation("CreateRole", needs=needs.create("CreateRole", "role"))
async def create_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a role that whoever its trust policy names may assume. Source: IAM API Reference, CreateRole."""

    def change(tx: Tx) -> dict[str, Any]:
        documents.trust(tx, call.account, request["AssumeRolePolicyDocument"])
        if request.get("Path", "").startswith(linked.PATH):
            raise InvalidInput(f"The path {linked.PATH} is reserved for service-linked roles.")
        role = entities.create(
            tx,
            call,
            "role",
            request,
            trust=request["AssumeRolePolicyDocument"],
            description=request.get("Description", ""),
            session_s=int(request.get("MaxSessionDuration", 3600)),
        )
        told = tables.shape(tx, role)
        if "MaxSessionDuration" not in request:
            told.pop("MaxSessionDuration")
        return told

    return {"Role": await call.doors.database.write(change)}


@operation("GetRole", needs=needs.entity("GetRole", "role", keys=("boundary",)))
async def get_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A role; its trust policy is percent-encoded. Source: IAM API Reference, GetRole."""

    def look(db: Reader) -> dict[str, Any]:
        role = tables.get(db, call.account, "role", request["RoleName"])
        return tables.shape(db, role) | {"RoleLastUsed": last_used.of_role(call.doors, role, call.now)}

    return {"Role": call.doors.database.read(look)}


@operation("ListRoles", needs=needs.listing("ListRoles", "role"))
async def list_roles(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Roles below a path prefix, by name. Source: IAM API Reference, ListRoles."""

    def look(db: Reader) -> dict[str, Any]:
        found = tables.listed(db, call.account, "role", request.get("PathPrefix", "/"))
        some, more = page(request, found, lambda role: role.name.lower())
        return {"Roles": [tables.shape(db, role, whole=False) for role in some]} | more

    return call.doors.database.read(look)


@operation("UpdateRole", needs=needs.entity("UpdateRole", "role", keys=("boundary",)))
async def update_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change a role's description or longest session. Source: IAM API Reference, UpdateRole."""

    def change(tx: Tx) -> None:
        # Why: of a service-linked role the description alone may be changed
        find = linked.changeable if "MaxSessionDuration" in request else tables.get
        role = find(tx, call.account, "role", request["RoleName"])
        if "Description" in request:
            entities.change(tx, call.account, "role", role.name, "description", request["Description"])
        # Why: AWS puts back what is not given. Source: IAM API Reference, UpdateRole, MaxSessionDuration
        session_s = int(request.get("MaxSessionDuration", 3600))
        entities.change(tx, call.account, "role", role.name, "session_s", session_s)

    await call.doors.database.write(change)
    return {}


@operation("UpdateRoleDescription", needs=needs.entity("UpdateRoleDescription", "role", keys=("boundary",)))
async def update_role_description(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change a role's description. Source: IAM API Reference, UpdateRoleDescription."""

    def change(tx: Tx) -> dict[str, Any]:
        role = tables.get(tx, call.account, "role", request["RoleName"])
        entities.change(tx, call.account, "role", role.name, "description", request["Description"])
        return tables.shape(tx, tables.get(tx, call.account, "role", role.name))

    return {"Role": await call.doors.database.write(change)}


@operation("UpdateAssumeRolePolicy", needs=needs.entity("UpdateAssumeRolePolicy", "role", keys=("boundary",)))
async def update_assume_role_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a role's trust policy. Source: IAM API Reference, UpdateAssumeRolePolicy."""

    def change(tx: Tx) -> None:
        role = linked.changeable(tx, call.account, "role", request["RoleName"])
        documents.trust(tx, call.account, request["PolicyDocument"])
        entities.change(tx, call.account, "role", role.name, "trust", request["PolicyDocument"])

    await call.doors.database.write(change)
    return {}


@operation("DeleteRole", needs=needs.entity("DeleteRole", "role", keys=("boundary",)))
async def delete_role(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a role that is in no instance profile and has no policies left; its sessions end. Source: IAM API
    Reference, DeleteRole."""

    def change(tx: Tx) -> None:
        role = linked.changeable(tx, call.account, "role", request["RoleName"])
        if tables.collections(tx, "instance-profile", role):
            raise DeleteConflict("Cannot delete entity, must remove roles from instance profile first.")
        entities.delete(tx, role, call.doors)

    await call.doors.database.write(change)
    return {}
