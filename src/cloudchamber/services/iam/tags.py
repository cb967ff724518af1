# SPDX-License-Identifier: Apache-2.0
"""Tags and permissions boundaries of users, roles, instance profiles and managed policies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import documents, entities, linked, needs, tables
from cloudchamber.services.iam.errors import NoSuchEntity
from cloudchamber.services.iam.names import WORDS, Kind, page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]
    Run = Callable[[Call, Request], Awaitable[dict[str, Any]]]


def _arn(db: Reader, call: Call, kind: Kind | None, request: Request) -> str:
    """ARN of what carries the tags; None stands for a managed policy."""
    if kind is not None:
        return tables.get(db, call.account, kind, request[f"{WORDS[kind].title}Name"]).arn
    if tables.managed(db, request["PolicyArn"]) is None:
        raise NoSuchEntity(f"Policy {request['PolicyArn']} was not found.")
    return request["PolicyArn"]


def _tag(kind: Kind | None) -> Run:
    async def tag(call: Call, request: Request) -> dict[str, Any]:
        """Add tags, replacing those of the same key. Source: IAM API Reference, TagRole."""

        def change(tx: Tx) -> None:
            tables.put_tags(tx, _arn(tx, call, kind, request), request["Tags"])

        await call.doors.database.write(change)
        return {}

    return tag


def _untag(kind: Kind | None) -> Run:
    async def untag(call: Call, request: Request) -> dict[str, Any]:
        """Remove tags by key. Source: IAM API Reference, UntagRole."""

        def change(tx: Tx) -> None:
            arn = _arn(tx, call, kind, request)
            tx.executemany("DELETE FROM iam_tags WHERE arn = ? AND key = ?", [(arn, key) for key in request["TagKeys"]])

        await call.doors.database.write(change)
        return {}

    return untag


def _list(kind: Kind | None) -> Run:
    async def list_tags(call: Call, request: Request) -> dict[str, Any]:
        """Tags, by key. Source: IAM API Reference, ListRoleTags."""

        def look(db: Reader) -> dict[str, Any]:
            told = tables.tag_list(tables.tags(db, _arn(db, call, kind, request)))
            some, more = page(request, sorted(told, key=lambda one: one["Key"]), lambda one: one["Key"])
            return {"Tags": list(some)} | more

        return call.doors.database.read(look)

    return list_tags


def _put_boundary(kind: Kind) -> Run:
    async def put_boundary(call: Call, request: Request) -> dict[str, Any]:
        """Set the boundary. Source: IAM API Reference, PutRolePermissionsBoundary."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{WORDS[kind].title}Name"])
            documents.boundary(tx, request["PermissionsBoundary"])
            entities.change(tx, call.account, kind, found.name, "boundary", request["PermissionsBoundary"])

        await call.doors.database.write(change)
        return {}

    return put_boundary


def _delete_boundary(kind: Kind) -> Run:
    async def delete_boundary(call: Call, request: Request) -> dict[str, Any]:
        """Remove the boundary. Source: IAM API Reference, DeleteRolePermissionsBoundary."""

        def change(tx: Tx) -> None:
            found = linked.changeable(tx, call.account, kind, request[f"{WORDS[kind].title}Name"])
            if not found.boundary:
                raise NoSuchEntity(f"{kind.capitalize()} {found.name} has no permissions boundary.")
            entities.change(tx, call.account, kind, found.name, "boundary", "")

        await call.doors.database.write(change)
        return {}

    return delete_boundary


tag_user = operation("TagUser", needs=needs.entity("TagUser", "user"))(_tag("user"))
tag_role = operation("TagRole", needs=needs.entity("TagRole", "role"))(_tag("role"))
tag_instance_profile = operation("TagInstanceProfile", needs=needs.entity("TagInstanceProfile", "instance-profile"))(
    _tag("instance-profile")
)
tag_policy = operation("TagPolicy", needs=needs.managed("TagPolicy"))(_tag(None))
untag_user = operation("UntagUser", needs=needs.entity("UntagUser", "user"))(_untag("user"))
untag_role = operation("UntagRole", needs=needs.entity("UntagRole", "role"))(_untag("role"))
untag_instance_profile = operation(
    "UntagInstanceProfile", needs=needs.entity("UntagInstanceProfile", "instance-profile")
)(_untag("instance-profile"))
untag_policy = operation("UntagPolicy", needs=needs.managed("UntagPolicy"))(_untag(None))
list_user_tags = operation("ListUserTags", needs=needs.entity("ListUserTags", "user"))(_list("user"))
list_role_tags = operation("ListRoleTags", needs=needs.entity("ListRoleTags", "role"))(_list("role"))
list_instance_profile_tags = operation(
    "ListInstanceProfileTags", needs=needs.entity("ListInstanceProfileTags", "instance-profile")
)(_list("instance-profile"))
list_policy_tags = operation("ListPolicyTags", needs=needs.managed("ListPolicyTags"))(_list(None))
put_user_permissions_boundary = operation(
    "PutUserPermissionsBoundary", needs=needs.entity("PutUserPermissionsBoundary", "user", keys=("boundary",))
)(_put_boundary("user"))
put_role_permissions_boundary = operation(
    "PutRolePermissionsBoundary", needs=needs.entity("PutRolePermissionsBoundary", "role", keys=("boundary",))
)(_put_boundary("role"))
delete_user_permissions_boundary = operation(
    "DeleteUserPermissionsBoundary", needs=needs.entity("DeleteUserPermissionsBoundary", "user", keys=("boundary",))
)(_delete_boundary("user"))
delete_role_permissions_boundary = operation(
    "DeleteRolePermissionsBoundary", needs=needs.entity("DeleteRolePermissionsBoundary", "role", keys=("boundary",))
)(_delete_boundary("role"))
