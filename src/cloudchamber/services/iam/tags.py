# SPDX-License-Identifier: Apache-2.0
"""Tags and permissions boundaries of users, roles, instance profiles and managed policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Operation, operation
from cloudchamber.services.iam import documents, entities, needs, tables
from cloudchamber.services.iam.errors import NoSuchEntity
from cloudchamber.services.iam.names import WORDS, Kind, page

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import Need
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]
    Op = Operation[Request, dict[str, Any]]


def _title(kind: Kind | None) -> str:
    return WORDS[kind].title if kind is not None else "Policy"


def _needs(action: str, kind: Kind | None) -> needs.Needs:
    return needs.entity(action, kind) if kind is not None else needs.managed(action)


def _arn(db: Reader, call: Call, kind: Kind | None, request: Request) -> str:
    """ARN of what carries the tags; None stands for a managed policy."""
    if kind is not None:
        return tables.get(db, call.account, kind, request[f"{WORDS[kind].title}Name"]).arn
    if tables.managed(db, request["PolicyArn"]) is None:
        raise NoSuchEntity(f"Policy {request['PolicyArn']} was not found.")
    return request["PolicyArn"]


def _tag(kind: Kind | None) -> Op:
    name = f"Tag{_title(kind)}"

    @operation(name, needs=_needs(name, kind))
    async def tag(call: Call, request: Request) -> dict[str, Any]:
        """Add tags, replacing those of the same key. Source: IAM API Reference, TagRole."""

        def change(tx: Tx) -> None:
            tables.put_tags(tx, _arn(tx, call, kind, request), request["Tags"])

        await call.doors.database.write(change)
        return {}

    return tag


def _untag(kind: Kind | None) -> Op:
    name = f"Untag{_title(kind)}"

    @operation(name, needs=_needs(name, kind))
    async def untag(call: Call, request: Request) -> dict[str, Any]:
        """Remove tags by key. Source: IAM API Reference, UntagRole."""

        def change(tx: Tx) -> None:
            arn = _arn(tx, call, kind, request)
            tx.executemany("DELETE FROM iam_tags WHERE arn = ? AND key = ?", [(arn, key) for key in request["TagKeys"]])

        await call.doors.database.write(change)
        return {}

    return untag


def _list(kind: Kind | None) -> Op:
    name = f"List{_title(kind)}Tags"

    @operation(name, needs=_needs(name, kind))
    async def list_tags(call: Call, request: Request) -> dict[str, Any]:
        """Tags, by key. Source: IAM API Reference, ListRoleTags."""

        def look(db: Reader) -> dict[str, Any]:
            told = tables.tag_list(tables.tags(db, _arn(db, call, kind, request)))
            some, more = page(request, sorted(told, key=lambda one: one["Key"]), lambda one: one["Key"])
            return {"Tags": list(some)} | more

        return call.doors.database.read(look)

    return list_tags


def _put_boundary(kind: Kind) -> Op:
    name = f"Put{WORDS[kind].title}PermissionsBoundary"

    @operation(name, needs=needs.entity(name, kind, keys=("boundary",)))
    async def put_boundary(call: Call, request: Request) -> dict[str, Any]:
        """Set the boundary. Source: IAM API Reference, PutRolePermissionsBoundary."""

        def change(tx: Tx) -> None:
            found = tables.get(tx, call.account, kind, request[f"{WORDS[kind].title}Name"])
            documents.boundary(tx, request["PermissionsBoundary"])
            entities.change(tx, call.account, kind, found.name, "boundary", request["PermissionsBoundary"])

        await call.doors.database.write(change)
        return {}

    return put_boundary


def _delete_boundary(kind: Kind) -> Op:
    name = f"Delete{WORDS[kind].title}PermissionsBoundary"

    @operation(name, needs=needs.entity(name, kind, keys=("boundary",)))
    async def delete_boundary(call: Call, request: Request) -> dict[str, Any]:
        """Remove the boundary. Source: IAM API Reference, DeleteRolePermissionsBoundary."""

        def change(tx: Tx) -> None:
            found = tables.get(tx, call.account, kind, request[f"{WORDS[kind].title}Name"])
            if not found.boundary:
                raise NoSuchEntity(f"{kind.capitalize()} {found.name} has no permissions boundary.")
            entities.change(tx, call.account, kind, found.name, "boundary", "")

        await call.doors.database.write(change)
        return {}

    return delete_boundary


tag_user, tag_role, tag_instance_profile, tag_policy = _tag("user"), _tag("role"), _tag("instance-profile"), _tag(None)
untag_user, untag_role, untag_policy = _untag("user"), _untag("role"), _untag(None)
untag_instance_profile = _untag("instance-profile")
list_user_tags, list_role_tags, list_policy_tags = _list("user"), _list("role"), _list(None)
list_instance_profile_tags = _list("instance-profile")
put_user_permissions_boundary, put_role_permissions_boundary = _put_boundary("user"), _put_boundary("role")
delete_user_permissions_boundary, delete_role_permissions_boundary = _delete_boundary("user"), _delete_boundary("role")
