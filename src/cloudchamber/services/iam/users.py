# SPDX-License-Identifier: Apache-2.0
"""Users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import credentials, entities, needs, tables
from cloudchamber.services.iam.errors import DeleteConflict
from cloudchamber.services.iam.names import page, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


def user_name(call: Call, request: Mapping[str, Any]) -> str:
    """The user a request is about: the one it names, or the one that calls.

    Raises:
        ValidationError: it names none, and no user calls.
    """
    name: str = request.get("UserName") or needs.own_name(call)
    if not name:
        raise ValidationError("Must specify userName when calling with non-User credentials")
    return name


@operation("CreateUser", needs=needs.create("CreateUser", "user"))
async def create_user(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a user, who may do nothing yet. Source: IAM API Reference, CreateUser."""

    def change(tx: Tx) -> dict[str, Any]:
        return tables.shape(tx, entities.create(tx, call, "user", request))

    return {"User": await call.doors.database.write(change)}


@operation("GetUser", needs=needs.entity("GetUser", "user"))
async def get_user(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A user; without a name, the caller, who may be the root user. Source: IAM API Reference, GetUser."""
    if "UserName" not in request and call.principal.kind == "root":
        born = call.doors.folder.stat().st_ctime
        root = {"Path": "/", "UserId": call.account, "Arn": call.principal.arn, "CreateDate": tables.moment(born)}
        return {"User": root | {"UserName": "root"}}
    return {"User": entities.shape(call, "user", user_name(call, request))}


@operation("ListUsers", needs=needs.listing("ListUsers", "user"))
async def list_users(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Users below a path prefix, by name. Source: IAM API Reference, ListUsers."""

    def look(db: Reader) -> dict[str, Any]:
        found = tables.listed(db, call.account, "user", request.get("PathPrefix", "/"))
        some, more = page(request, found, lambda user: user.name.lower())
        return {"Users": [tables.shape(db, user, whole=False) for user in some]} | more

    return call.doors.database.read(look)


@operation("UpdateUser", needs=needs.entity("UpdateUser", "user"))
async def update_user(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a user another name or path; keys, policies and groups go with it. Source: IAM API Reference, UpdateUser."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "user", request["UserName"])
        path = path_of({"Path": request.get("NewPath", found.path)})
        entities.move(tx, found, request.get("NewUserName", found.name), path, call.doors)

    await call.doors.database.write(change)
    return {}


@operation("DeleteUser", needs=needs.entity("DeleteUser", "user"))
async def delete_user(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a user that has no keys, policies or groups left. Source: IAM API Reference, DeleteUser."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "user", request["UserName"])
        if tables.collections(tx, "group", found):
            raise DeleteConflict("Cannot delete entity, must remove users from group first.")
        credentials.refuse_if_any(tx, found)
        entities.delete(tx, found, call.doors)

    await call.doors.database.write(change)
    return {}
