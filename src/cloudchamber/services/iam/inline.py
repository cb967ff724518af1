# SPDX-License-Identifier: Apache-2.0
"""Policies inside users, groups and roles, and managed policies attached to them: the same for all three."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import aws_managed, documents, linked, needs, tables
from cloudchamber.services.iam.errors import LimitExceeded, NoSuchEntity, PolicyNotAttachable
from cloudchamber.services.iam.names import WORDS, Kind, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]
    Run = Callable[[Call, Request], Awaitable[dict[str, Any]]]

ATTACHED_MAX = 10


def _put(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def put(call: Call, request: Request) -> dict[str, Any]:
        """Write an inline policy, replacing the one of that name. Source: IAM API Reference, PutRolePolicy."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{title}Name"])
            text = request["PolicyDocument"]
            documents.identity(text)
            others = [t for n, t in tables.inline(tx, found) if n.lower() != request["PolicyName"].lower()]
            limit = WORDS[kind].inline_max
            if sum(map(documents.size, [*others, text])) > limit:
                raise LimitExceeded(f"Maximum policy size of {limit} bytes exceeded for {kind} {found.name}")
            tx.execute(
                "INSERT INTO iam_inline VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
                (call.account, kind, found.name, request["PolicyName"], text),
            )

        await call.doors.database.write(change)
        return {}

    return put


def _get(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def get(call: Call, request: Request) -> dict[str, Any]:
        """An inline policy, percent-encoded. Source: IAM API Reference, GetRolePolicy."""

        def look(db: Reader) -> dict[str, Any]:
            found = tables.get(db, call.account, kind, request[f"{title}Name"])
            for policy_name, text in tables.inline(db, found):
                if policy_name.lower() == request["PolicyName"].lower():
                    told = {f"{title}Name": found.name, "PolicyName": policy_name}
                    return told | {"PolicyDocument": quote(text, safe="")}
            raise NoSuchEntity(f"The {kind} policy with name {request['PolicyName']} cannot be found.")

        return call.doors.database.read(look)

    return get


def _list(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def list_(call: Call, request: Request) -> dict[str, Any]:
        """Names of the inline policies. Source: IAM API Reference, ListRolePolicies."""

        def look(db: Reader) -> dict[str, Any]:
            found = tables.get(db, call.account, kind, request[f"{title}Name"])
            some, more = page(request, [n for n, _ in tables.inline(db, found)], lambda n: n)
            return {"PolicyNames": list(some)} | more

        return call.doors.database.read(look)

    return list_


def _delete(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def delete(call: Call, request: Request) -> dict[str, Any]:
        """Remove an inline policy. Source: IAM API Reference, DeleteRolePolicy."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{title}Name"])
            gone = tx.execute(
                "DELETE FROM iam_inline WHERE account = ? AND kind = ? AND entity = ? AND name = ?",
                (call.account, kind, found.name, request["PolicyName"]),
            )
            if not gone.rowcount:
                raise NoSuchEntity(f"The {kind} policy with name {request['PolicyName']} cannot be found.")

        await call.doors.database.write(change)
        return {}

    return delete


def _attach(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def attach(call: Call, request: Request) -> dict[str, Any]:
        """Attach a managed policy; again is no error. Source: IAM API Reference, AttachRolePolicy."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{title}Name"])
            if request["PolicyArn"].count(":") < 5 or not request["PolicyArn"].startswith("arn:"):
                raise ValidationError("Invalid ARN:  Could not be parsed!")
            policy = tables.managed(tx, request["PolicyArn"])
            if policy is None or policy.account not in ("aws", call.account):
                raise NoSuchEntity(f"Policy {request['PolicyArn']} does not exist or is not attachable.")
            if policy.account == "aws" and policy.path.startswith(aws_managed.SERVICE_LINKED):
                raise PolicyNotAttachable("Cannot attach a Service Role Policy to a Customer Role.")
            if len(set(tables.attached(tx, found)) - {request["PolicyArn"]}) >= ATTACHED_MAX:
                raise LimitExceeded(f"Cannot exceed quota for PoliciesPer{title}: {ATTACHED_MAX}")
            tx.execute(
                "INSERT OR IGNORE INTO iam_attached VALUES (?, ?, ?, ?)",
                (call.account, kind, found.name, request["PolicyArn"]),
            )

        await call.doors.database.write(change)
        return {}

    return attach


def _detach(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def detach(call: Call, request: Request) -> dict[str, Any]:
        """Detach a managed policy; the next call is decided without it. Source: IAM API Reference, DetachRolePolicy."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{title}Name"])
            gone = tx.execute(
                "DELETE FROM iam_attached WHERE account = ? AND kind = ? AND entity = ? AND arn = ?",
                (call.account, kind, found.name, request["PolicyArn"]),
            )
            if not gone.rowcount:
                raise NoSuchEntity(f"Policy {request['PolicyArn']} was not found.")

        await call.doors.database.write(change)
        return {}

    return detach


def _list_attached(kind: Kind) -> Run:
    title = WORDS[kind].title

    async def list_attached(call: Call, request: Request) -> dict[str, Any]:
        """The managed policies that are attached. Source: IAM API Reference, ListAttachedRolePolicies."""

        def look(db: Reader) -> dict[str, Any]:
            found = tables.get(db, call.account, kind, request[f"{title}Name"])
            prefix = request.get("PathPrefix", "/")
            told = [
                {"PolicyName": one.name, "PolicyArn": one.arn}
                for one in (tables.managed(db, arn) for arn in tables.attached(db, found))
                if one is not None and one.path.startswith(prefix)
            ]
            some, more = page(request, told, lambda one: one["PolicyArn"])
            return {"AttachedPolicies": list(some)} | more

        return call.doors.database.read(look)

    return list_attached


put_user_policy = operation("PutUserPolicy", needs=needs.entity("PutUserPolicy", "user", keys=("boundary",)))(
    _put("user")
)
put_group_policy = operation("PutGroupPolicy", needs=needs.entity("PutGroupPolicy", "group", keys=("boundary",)))(
    _put("group")
)
put_role_policy = operation("PutRolePolicy", needs=needs.entity("PutRolePolicy", "role", keys=("boundary",)))(
    _put("role")
)
get_user_policy = operation("GetUserPolicy", needs=needs.entity("GetUserPolicy", "user"))(_get("user"))
get_group_policy = operation("GetGroupPolicy", needs=needs.entity("GetGroupPolicy", "group"))(_get("group"))
get_role_policy = operation("GetRolePolicy", needs=needs.entity("GetRolePolicy", "role"))(_get("role"))
list_user_policies = operation("ListUserPolicies", needs=needs.entity("ListUserPolicies", "user"))(_list("user"))
list_group_policies = operation("ListGroupPolicies", needs=needs.entity("ListGroupPolicies", "group"))(_list("group"))
list_role_policies = operation("ListRolePolicies", needs=needs.entity("ListRolePolicies", "role"))(_list("role"))
delete_user_policy = operation("DeleteUserPolicy", needs=needs.entity("DeleteUserPolicy", "user", keys=("boundary",)))(
    _delete("user")
)
delete_group_policy = operation(
    "DeleteGroupPolicy", needs=needs.entity("DeleteGroupPolicy", "group", keys=("boundary",))
)(_delete("group"))
delete_role_policy = operation("DeleteRolePolicy", needs=needs.entity("DeleteRolePolicy", "role", keys=("boundary",)))(
    _delete("role")
)
attach_user_policy = operation(
    "AttachUserPolicy", needs=needs.entity("AttachUserPolicy", "user", keys=("policy", "boundary"))
)(_attach("user"))
attach_group_policy = operation(
    "AttachGroupPolicy", needs=needs.entity("AttachGroupPolicy", "group", keys=("policy", "boundary"))
)(_attach("group"))
attach_role_policy = operation(
    "AttachRolePolicy", needs=needs.entity("AttachRolePolicy", "role", keys=("policy", "boundary"))
)(_attach("role"))
detach_user_policy = operation(
    "DetachUserPolicy", needs=needs.entity("DetachUserPolicy", "user", keys=("policy", "boundary"))
)(_detach("user"))
detach_group_policy = operation(
    "DetachGroupPolicy", needs=needs.entity("DetachGroupPolicy", "group", keys=("policy", "boundary"))
)(_detach("group"))
detach_role_policy = operation(
    "DetachRolePolicy", needs=needs.entity("DetachRolePolicy", "role", keys=("policy", "boundary"))
)(_detach("role"))
list_attached_user_policies = operation(
    "ListAttachedUserPolicies", needs=needs.entity("ListAttachedUserPolicies", "user")
)(_list_attached("user"))
list_attached_group_policies = operation(
    "ListAttachedGroupPolicies", needs=needs.entity("ListAttachedGroupPolicies", "group")
)(_list_attached("group"))
list_attached_role_policies = operation(
    "ListAttachedRolePolicies", needs=needs.entity("ListAttachedRolePolicies", "role")
)(_list_attached("role"))
