# SPDX-License-Identifier: Apache-2.0
"""When keys and roles were last used, by the record of tracks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.iam import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.services.iam.tables import Entity

    Request = Mapping[str, Any]

WINDOW_S = 400 * 86400
"""AWS tells of the last 400 days. Source: IAM User Guide, "Refine permissions using last accessed information"."""


def of_role(doors: Doors, role: Entity, now: datetime) -> dict[str, Any]:
    """`RoleLastUsed` of a role; empty if it was not used."""
    found = doors.recorder.seen(role.arn)
    # Why: who is given the name of a deleted role did nothing of what that one did
    if found is None or found.last < max(int(role.created), now.timestamp() - WINDOW_S):
        return {}
    return {"LastUsedDate": tables.moment(found.last), "Region": found.region or doors.region}


def of_key(doors: Doors, key: str) -> dict[str, Any]:
    """`AccessKeyLastUsed` of a long-term key."""
    found = doors.recorder.seen(key)
    if found is None:
        return {"ServiceName": "N/A", "Region": "N/A"}
    return {
        "LastUsedDate": tables.moment(found.last),
        "ServiceName": found.service,
        "Region": found.region or doors.region,
    }


def _needed(call: Call, request: Request) -> Iterable[Need]:
    user = _user(call, request["AccessKeyId"])
    return (Need("iam:GetAccessKeyLastUsed", user.arn if user is not None else f"arn:aws:iam::{call.account}:user/*"),)


@operation("GetAccessKeyLastUsed", needs=_needed)
async def get_access_key_last_used(call: Call, request: Request) -> dict[str, Any]:
    """When, where and for what a key was last used. Source: IAM API Reference, GetAccessKeyLastUsed.

    Raises:
        AccessDenied: the account has no such key; AWS does not tell whether another one has it.
    """
    key = request["AccessKeyId"]
    user = _user(call, key)
    if user is None:
        raise AccessDenied(
            f"User: {call.principal.arn} is not authorized to perform: iam:GetAccessKeyLastUsed on resource: "
            f"access key {key}"
        )
    return {"UserName": user.name, "AccessKeyLastUsed": of_key(call.doors, key)}


def _user(call: Call, key: str) -> Entity | None:
    sql = "SELECT user FROM iam_keys WHERE id = ? AND account = ?"
    row = call.doors.database.read(lambda db: db.execute(sql, (key, call.account)).fetchone())
    return call.doors.database.read(lambda db: tables.find(db, call.account, "user", row[0])) if row else None
