# SPDX-License-Identifier: Apache-2.0
"""The users and roles that there are, as IAM lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from cloudchamber.contract.identity import Principal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


class AskAsRoot(Protocol):
    """A call as the root user of an account."""

    async def __call__(self, service: str, operation: str, request: Mapping[str, Any], account: str = "") -> Any:
        """The operation's response."""
        ...


async def entities(ask: AskAsRoot, account: str) -> AsyncIterator[tuple[Principal, str]]:
    """Each user and role of an account, with its name; a role as a session of it."""
    for operation, members in (("ListUsers", "Users"), ("ListRoles", "Roles")):
        more: dict[str, Any] = {}
        while True:
            answer = await ask("iam", operation, more, account=account)
            for one in answer[members]:
                yield _principal(account, one), one.get("UserName") or one["RoleName"]
            if not answer.get("IsTruncated"):
                break
            more = {"Marker": answer["Marker"]}


def _principal(account: str, one: Mapping[str, Any]) -> Principal:
    if "UserName" in one:
        return Principal("user", account, one["Arn"], one["UserId"], one["Arn"])
    session = f"arn:aws:sts::{account}:assumed-role/{one['RoleName']}/any-session"
    return Principal("assumed-role", account, session, f"{one['RoleId']}:any-session", one["Arn"])
