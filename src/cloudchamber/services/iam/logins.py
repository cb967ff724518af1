# SPDX-License-Identifier: Apache-2.0
"""Login profiles: the passwords of users, and the account's policy about them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied, ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import needs, passwords, tables
from cloudchamber.services.iam.errors import (
    EntityAlreadyExists,
    EntityTemporarilyUnmodifiable,
    InvalidUserType,
    NoSuchEntity,
    PasswordPolicyViolation,
)
from cloudchamber.services.iam.users import user_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.passwords import Rules
    from cloudchamber.store.database import Reader, Tx

_REMEMBERED = 24
"""Passwords that PasswordReusePrevention can reach back to."""


@operation("CreateLoginProfile", needs=needs.entity("CreateLoginProfile", "user"))
async def create_login_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a user a password, which is kept as its hash. Source: IAM API Reference, CreateLoginProfile."""
    if "Password" not in request:
        raise ValidationError(
            "1 validation error detected: Value null at 'password' failed to satisfy constraint: "
            "Member must not be null"
        )
    name, password = user_name(call, request), request["Password"]
    user = call.doors.database.read(lambda db: tables.get(db, call.account, "user", name))
    own = call.doors.database.read(lambda db: passwords.rules(db, call.account))
    if call.doors.database.read(lambda db: row(db, call.account, user.name)) is not None:
        raise _taken(user.name)
    passwords.check(own, call.account, password)
    kept = await asyncio.to_thread(passwords.hashed, password)
    reset = bool(request.get("PasswordResetRequired"))
    now = call.now.timestamp()

    def change(tx: Tx) -> dict[str, Any]:
        user = tables.get(tx, call.account, "user", name)
        if row(tx, call.account, user.name) is not None:
            raise _taken(user.name)
        tx.execute("INSERT INTO iam_logins VALUES (?, ?, ?, ?, ?, ?)", (call.account, user.name, kept, now, now, reset))
        return _shape(tx, call.account, user.name)

    return {"LoginProfile": await call.doors.database.write(change)}


@operation("GetLoginProfile", needs=needs.entity("GetLoginProfile", "user"))
async def get_login_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a user has a password, and since when. Source: IAM API Reference, GetLoginProfile."""
    name = user_name(call, request)

    def look(db: Reader) -> dict[str, Any]:
        return _shape(db, call.account, tables.get(db, call.account, "user", name).name)

    return {"LoginProfile": call.doors.database.read(look)}


@operation("UpdateLoginProfile", needs=needs.entity("UpdateLoginProfile", "user"))
async def update_login_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set another password for a user. Source: IAM API Reference, UpdateLoginProfile."""
    name = call.doors.database.read(lambda db: tables.get(db, call.account, "user", request["UserName"]).name)
    before = call.doors.database.read(lambda db: _get(db, call.account, name))
    kept = await _next(call, name, request["Password"]) if "Password" in request else before["hash"]
    reset = bool(request.get("PasswordResetRequired", before["reset"]))
    await call.doors.database.write(lambda tx: _replace(tx, call, name, before["hash"], kept, reset))
    return {}


@operation("DeleteLoginProfile", needs=needs.entity("DeleteLoginProfile", "user"))
async def delete_login_profile(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a user's password away; access keys stay. Source: IAM API Reference, DeleteLoginProfile."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        user = tables.get(tx, call.account, "user", name)
        _get(tx, call.account, user.name)
        for table in ("iam_logins", "iam_old_passwords"):
            tx.execute(f"DELETE FROM {table} WHERE account = ? AND user = ?", (call.account, user.name))

    await call.doors.database.write(change)
    return {}


@operation("ChangePassword", needs=needs.entity("ChangePassword", "user"))
async def change_password(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change the caller's own password; the old one is asked for. Source: IAM API Reference, ChangePassword.

    Raises:
        InvalidUserType: the caller is no IAM user.
        AccessDenied: the old password is wrong.
    """
    name = needs.own_name(call)
    if not name:
        raise InvalidUserType("Only IAM Users can change their own password")
    before = call.doors.database.read(lambda db: _get(db, call.account, name))
    if not await asyncio.to_thread(passwords.matches, request["OldPassword"], before["hash"]):
        raise AccessDenied("The old password was incorrect.")
    kept = await _next(call, name, request["NewPassword"])
    await call.doors.database.write(lambda tx: _replace(tx, call, name, before["hash"], kept, reset=False))
    return {}


@operation("UpdateAccountPasswordPolicy", needs=needs.account("UpdateAccountPasswordPolicy"))
async def update_account_password_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set what new passwords must be; what is not given goes back to its default. Source: IAM API Reference,
    UpdateAccountPasswordPolicy."""
    text = passwords.of_request(request).text()

    def change(tx: Tx) -> None:
        tx.execute(
            "INSERT INTO iam_password_policies VALUES (?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
            (call.account, text),
        )

    await call.doors.database.write(change)
    return {}


@operation("GetAccountPasswordPolicy", needs=needs.account("GetAccountPasswordPolicy"))
async def get_account_password_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The account's own password policy. Source: IAM API Reference, GetAccountPasswordPolicy."""
    own = call.doors.database.read(lambda db: passwords.rules(db, call.account))
    if own is None:
        raise NoSuchEntity(f"The Password Policy with domain name {call.account} cannot be found.")
    return {"PasswordPolicy": own.told()}


@operation("DeleteAccountPasswordPolicy", needs=needs.account("DeleteAccountPasswordPolicy"))
async def delete_account_password_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Go back to AWS's default policy. Source: IAM API Reference, DeleteAccountPasswordPolicy."""

    def change(tx: Tx) -> None:
        if not tx.execute("DELETE FROM iam_password_policies WHERE account = ?", (call.account,)).rowcount:
            raise NoSuchEntity("The account policy with name PasswordPolicy cannot be found.")

    await call.doors.database.write(change)
    return {}


def row(db: Reader, account: str, user: str) -> sqlite3.Row | None:
    """A user's row of `iam_logins`; None without a password."""
    return db.execute("SELECT * FROM iam_logins WHERE account = ? AND user = ?", (account, user)).fetchone()


def _get(db: Reader, account: str, user: str) -> sqlite3.Row:
    found = row(db, account, user)
    if found is None:
        raise NoSuchEntity(f"Login Profile for User {user} cannot be found.")
    return found


def _shape(db: Reader, account: str, user: str) -> dict[str, Any]:
    found = _get(db, account, user)
    return {
        "UserName": found["user"],
        "CreateDate": tables.moment(found["created"]),
        "PasswordResetRequired": bool(found["reset"]),
    }


def _taken(user: str) -> EntityAlreadyExists:
    return EntityAlreadyExists(f"Login Profile for user {user} already exists.")


async def _next(call: Call, user: str, password: str) -> str:
    """The hash of a user's next password, if the account's policy lets it be.

    Raises:
        PasswordPolicyViolation: it does not, or the user had that password lately.
    """

    def look(db: Reader) -> tuple[Rules | None, list[str]]:
        old = db.execute(
            "SELECT hash FROM iam_old_passwords WHERE account = ? AND user = ? ORDER BY retired DESC, rowid DESC",
            (call.account, user),
        )
        return passwords.rules(db, call.account), [_get(db, call.account, user)["hash"], *(one[0] for one in old)]

    own, had = call.doors.database.read(look)
    passwords.check(own, call.account, password)
    again = had[: own.PasswordReusePrevention] if own is not None else []

    def work() -> str:
        if any(passwords.matches(password, one) for one in again):
            raise PasswordPolicyViolation("Password does not conform to the account password policy.")
        return passwords.hashed(password)

    return await asyncio.to_thread(work)


def _replace(tx: Tx, call: Call, user: str, before: str, kept: str, reset: bool) -> None:
    """Put the new hash where the old one still is; another change in between wins."""
    found = _get(tx, call.account, user)
    if found["hash"] != before:
        raise EntityTemporarilyUnmodifiable("Login profile for the user is being changed. Try again later.")
    now = call.now.timestamp()
    if kept != before:
        tx.execute("INSERT INTO iam_old_passwords VALUES (?, ?, ?, ?)", (call.account, user, before, now))
        tx.execute(
            "DELETE FROM iam_old_passwords WHERE account = ?1 AND user = ?2 AND rowid NOT IN (SELECT rowid FROM "
            "iam_old_passwords WHERE account = ?1 AND user = ?2 ORDER BY retired DESC, rowid DESC LIMIT ?3)",
            (call.account, user, _REMEMBERED),
        )
    tx.execute(
        "UPDATE iam_logins SET hash = ?, reset = ?, changed = ? WHERE account = ? AND user = ?",
        (kept, reset, now if kept != before else found["changed"], call.account, user),
    )
