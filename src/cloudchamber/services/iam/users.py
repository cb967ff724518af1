# SPDX-License-Identifier: Apache-2.0
"""Users and their access keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import credentials, entities, needs, tables
from cloudchamber.services.iam.errors import DeleteConflict, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.names import page, path_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

KEYS_MAX = 2


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
        some, more = page(request, found, lambda user: user.name)
        return {"Users": [tables.shape(db, user, whole=False) for user in some]} | more

    return call.doors.database.read(look)


@operation("UpdateUser", needs=needs.entity("UpdateUser", "user"))
async def update_user(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a user another name or path; keys, policies and groups go with it. Source: IAM API Reference, UpdateUser."""

    def change(tx: Tx) -> None:
        found = tables.get(tx, call.account, "user", request["UserName"])
        path = path_of({"Path": request.get("NewPath", found.path)})
        entities.move(tx, found, request.get("NewUserName", found.name), path)

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
        entities.delete(tx, found)

    await call.doors.database.write(change)
    return {}


@operation("CreateAccessKey", needs=needs.entity("CreateAccessKey", "user"))
async def create_access_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make an access key; the only time its secret is told. Source: IAM API Reference, CreateAccessKey."""
    name, key, secret = user_name(call, request), ids.access_key_id(), ids.secret_key()

    def change(tx: Tx) -> str:
        found = tables.get(tx, call.account, "user", name)
        if len(_keys(tx, call.account, name)) >= KEYS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}")
        row = (key, call.account, found.name, secret, "Active", call.now.timestamp())
        tx.execute("INSERT INTO iam_keys VALUES (?, ?, ?, ?, ?, ?)", row)
        return found.name

    told = {"UserName": await call.doors.database.write(change), "AccessKeyId": key, "Status": "Active"}
    return {"AccessKey": told | {"SecretAccessKey": secret, "CreateDate": tables.moment(call.now.timestamp())}}


@operation("ListAccessKeys", needs=needs.entity("ListAccessKeys", "user"))
async def list_access_keys(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A user's access keys, without their secrets. Source: IAM API Reference, ListAccessKeys."""
    name = user_name(call, request)

    def look(db: Reader) -> dict[str, Any]:
        found = tables.get(db, call.account, "user", name)
        some, more = page(request, _keys(db, call.account, found.name), lambda key: key["AccessKeyId"])
        return {"AccessKeyMetadata": list(some)} | more

    return call.doors.database.read(look)


@operation("UpdateAccessKey", needs=needs.entity("UpdateAccessKey", "user"))
async def update_access_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Switch an access key on or off. Source: IAM API Reference, UpdateAccessKey."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        _key(tx, call.account, name, request["AccessKeyId"])
        tx.execute("UPDATE iam_keys SET status = ? WHERE id = ?", (request["Status"], request["AccessKeyId"]))

    await call.doors.database.write(change)
    return {}


@operation("DeleteAccessKey", needs=needs.entity("DeleteAccessKey", "user"))
async def delete_access_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove an access key; the next call with it fails. Source: IAM API Reference, DeleteAccessKey."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        _key(tx, call.account, name, request["AccessKeyId"])
        tx.execute("DELETE FROM iam_keys WHERE id = ?", (request["AccessKeyId"],))

    await call.doors.database.write(change)
    return {}


def _keys(db: Reader, account: str, user: str) -> list[dict[str, Any]]:
    rows = db.execute("SELECT * FROM iam_keys WHERE account = ? AND user = ? ORDER BY id", (account, user))
    return [
        {
            "UserName": row["user"],
            "AccessKeyId": row["id"],
            "Status": row["status"],
            "CreateDate": tables.moment(row["created"]),
        }
        for row in rows
    ]


def _key(db: Reader, account: str, user: str, key: str) -> None:
    tables.get(db, account, "user", user)
    if key not in {own["AccessKeyId"] for own in _keys(db, account, user)}:
        raise NoSuchEntity(f"The Access Key with id {key} cannot be found.")
