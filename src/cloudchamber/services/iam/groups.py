# SPDX-License-Identifier: Apache-2.0
"""Groups of users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import entities, needs, tables
from cloudchamber.services.iam.errors import DeleteConflict, LimitExceeded
from cloudchamber.services.iam.names import page, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

GROUPS_MAX = 10


@operation("CreateGroup", needs=needs.create("CreateGroup", "group"))
async def create_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a group. Source: IAM API Reference, CreateGroup."""

    def change(tx: Tx) -> dict[str, Any]:
        return tables.shape(tx, entities.create(tx, call, "group", request))

    return {"Group": await call.doors.database.write(change)}


@operation("GetGroup", needs=needs.entity("GetGroup", "group"))
async def get_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A group and its users. Source: IAM API Reference, GetGroup."""

    def look(db: Reader) -> dict[str, Any]:
        group = tables.get(db, call.account, "group", request["GroupName"])
        some, more = page(request, tables.members(db, group), str.lower)
        users = [tables.get(db, call.account, "user", name) for name in some]
        return {"Group": tables.shape(db, group), "Users": [tables.shape(db, u, whole=False) for u in users]} | more

    return call.doors.database.read(look)


@operation("ListGroups", needs=needs.listing("ListGroups", "group"))
async def list_groups(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Groups below a path prefix, by name. Source: IAM API Reference, ListGroups."""

    def look(db: Reader) -> dict[str, Any]:
        found = tables.listed(db, call.account, "group", request.get("PathPrefix", "/"))
        some, more = page(request, found, lambda group: group.name.lower())
        return {"Groups": [tables.shape(db, group) for group in some]} | more

    return call.doors.database.read(look)


@operation("ListGroupsForUser", needs=needs.entity("ListGroupsForUser", "user"))
async def list_groups_for_user(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The groups that a user is in. Source: IAM API Reference, ListGroupsForUser."""

    def look(db: Reader) -> dict[str, Any]:
        user = tables.get(db, call.account, "user", request["UserName"])
        some, more = page(request, tables.collections(db, "group", user), lambda group: group.name.lower())
        return {"Groups": [tables.shape(db, group) for group in some]} | more

    return call.doors.database.read(look)


@operation("UpdateGroup", needs=needs.entity("UpdateGroup", "group"))
async def update_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a group another name or path. Source: IAM API Reference, UpdateGroup."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "group", request["GroupName"])
        path = path_of({"Path": request.get("NewPath", found.path)})
        entities.move(tx, found, request.get("NewGroupName", found.name), path, call.doors)

    await call.doors.database.write(change)
    return {}


@operation("DeleteGroup", needs=needs.entity("DeleteGroup", "group"))
async def delete_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a group that has no users and policies left. Source: IAM API Reference, DeleteGroup."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "group", request["GroupName"])
        if tables.members(tx, found):
            raise DeleteConflict("Cannot delete entity, must remove users from group first.")
        entities.delete(tx, found, call.doors)

    await call.doors.database.write(change)
    return {}


@operation("AddUserToGroup", needs=needs.entity("AddUserToGroup", "group"))
async def add_user_to_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Put a user into a group; its policies apply from the next call. Source: IAM API Reference, AddUserToGroup."""

    def change(tx: Tx) -> None:
        group = tables.get(tx, call.account, "group", request["GroupName"])
        user = tables.get(tx, call.account, "user", request["UserName"])
        others = {other.name for other in tables.collections(tx, "group", user)} - {group.name}
        if len(others) >= GROUPS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for GroupsPerUser: {GROUPS_MAX}")
        tx.execute(
            "INSERT OR IGNORE INTO iam_members (account, member, collection, kind) VALUES (?, ?, ?, 'group')",
            (call.account, user.name, group.name),
        )

    await call.doors.database.write(change)
    return {}


@operation("RemoveUserFromGroup", needs=needs.entity("RemoveUserFromGroup", "group"))
async def remove_user_from_group(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a user out of a group. Source: IAM API Reference, RemoveUserFromGroup."""

    def change(tx: Tx) -> None:
        group = tables.get(tx, call.account, "group", request["GroupName"])
        user = tables.get(tx, call.account, "user", request["UserName"])
        tx.execute(
            "DELETE FROM iam_members WHERE account = ? AND kind = 'group' AND collection = ? AND member = ?",
            (call.account, group.name, user.name),
        )

    await call.doors.database.write(change)
    return {}
