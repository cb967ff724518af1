# SPDX-License-Identifier: Apache-2.0
"""Access keys of users, and of the root user, who manages its own by naming nobody.

Source: IAM API Reference, CreateAccessKey: "This operation works for access keys under the AWS account. Consequently,
you can use this operation to manage AWS account root user credentials."
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import needs, tables
from cloudchamber.services.iam.errors import InvalidInput, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.names import page
from cloudchamber.services.iam.users import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]

KEYS_MAX = 2
_ROOT = ""
"""In place of a user's name: keys of the account's root user, beside the one that the account came with."""


def _whose(call: Call, request: Request) -> str:
    """The user whose keys are meant."""
    if "UserName" not in request and call.principal.kind == "root":
        return _ROOT
    return user_name(call, request)


@operation("CreateAccessKey", needs=needs.keys("CreateAccessKey"))
async def create_access_key(call: Call, request: Request) -> dict[str, Any]:
    """Make an access key; the only time its secret is told. Source: IAM API Reference, CreateAccessKey."""
    name, key, secret = _whose(call, request), ids.access_key_id(), ids.secret_key()

    def change(tx: Tx) -> str:
        found = tables.get(tx, call.account, "user", name).name if name else _ROOT
        if len(_all(tx, call, found)) >= KEYS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}")
        row = (key, call.account, found, secret, "Active", call.now.timestamp())
        tx.execute("INSERT INTO iam_keys VALUES (?, ?, ?, ?, ?, ?)", row)
        return found or "root"

    told = {"UserName": await call.doors.database.write(change), "AccessKeyId": key, "Status": "Active"}
    return {"AccessKey": told | {"SecretAccessKey": secret, "CreateDate": tables.moment(call.now.timestamp())}}


@operation("ListAccessKeys", needs=needs.keys("ListAccessKeys"))
async def list_access_keys(call: Call, request: Request) -> dict[str, Any]:
    """Access keys, without their secrets. Source: IAM API Reference, ListAccessKeys."""
    name = _whose(call, request)

    def look(db: Reader) -> dict[str, Any]:
        found = tables.get(db, call.account, "user", name).name if name else _ROOT
        some, more = page(request, _all(db, call, found), lambda key: key["AccessKeyId"])
        return {"AccessKeyMetadata": list(some)} | more

    return call.doors.database.read(look)


@operation("UpdateAccessKey", needs=needs.keys("UpdateAccessKey"))
async def update_access_key(call: Call, request: Request) -> dict[str, Any]:
    """Switch an access key on or off. Source: IAM API Reference, UpdateAccessKey."""
    name, key = _whose(call, request), request["AccessKeyId"]

    def change(tx: Tx) -> None:
        _there(tx, call, name, key)
        tx.execute("UPDATE iam_keys SET status = ? WHERE id = ?", (request["Status"], key))

    await call.doors.database.write(change)
    return {}


@operation("DeleteAccessKey", needs=needs.keys("DeleteAccessKey"))
async def delete_access_key(call: Call, request: Request) -> dict[str, Any]:
    """Remove an access key; the next call with it fails. Source: IAM API Reference, DeleteAccessKey."""
    name, key = _whose(call, request), request["AccessKeyId"]

    def change(tx: Tx) -> None:
        _there(tx, call, name, key)
        tx.execute("DELETE FROM iam_keys WHERE id = ?", (key,))

    await call.doors.database.write(change)
    return {}


def _all(db: Reader, call: Call, user: str) -> list[dict[str, Any]]:
    """A user's keys by id; the root user's with the one that the account came with."""
    sql = "SELECT id, status, created FROM iam_keys WHERE account = ? AND user = ?"
    found = [(row[0], row[1], row[2]) for row in db.execute(sql, (call.account, user))]
    if user == _ROOT:
        found.append((call.doors.identities.root_key(call.account), "Active", born(db, call)))
    return [
        {"UserName": user or "root", "AccessKeyId": key, "Status": status, "CreateDate": tables.moment(created)}
        for key, status, created in sorted(found)
    ]


def born(db: Reader, call: Call) -> float:
    """When the account was made; the first one with the chamber's folder."""
    row = db.execute("SELECT created FROM iam_accounts WHERE id = ?", (call.account,)).fetchone()
    return float(row[0]) if row is not None else call.doors.folder.stat().st_ctime


def _there(db: Reader, call: Call, user: str, key: str) -> None:
    """Check that the key may be changed.

    Raises:
        NoSuchEntity: the user, or the key, is not there. InvalidInput: it is the one that opens the chamber.
    """
    if user:
        tables.get(db, call.account, "user", user)
    elif key == call.doors.identities.root_key(call.account):
        raise InvalidInput("The access key that the account came with cannot be changed in this chamber.")
    if key not in {own["AccessKeyId"] for own in _all(db, call, user)}:
        raise NoSuchEntity(f"The Access Key with id {key} cannot be found.")
