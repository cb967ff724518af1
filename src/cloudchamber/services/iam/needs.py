# SPDX-License-Identifier: Apache-2.0
"""What each request needs.

Source: Service Authorization Reference, "Actions, resources, and condition keys for AWS IAM".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from cloudchamber.contract.operation import Need
from cloudchamber.services.iam import tables
from cloudchamber.services.iam.names import WORDS, Kind, arn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

    Request: TypeAlias = Mapping[str, Any]
    Needs: TypeAlias = Callable[[Call, Request], Iterable[Need]]


def own_name(call: Call) -> str:
    """Name of the user that calls; empty for other callers."""
    return call.principal.arn.rsplit("/", 1)[-1] if call.principal.kind == "user" else ""


def entity(action: str, kind: Kind, *, keys: tuple[str, ...] = ()) -> Needs:
    """On one existing entity, by its full ARN. `keys`: which condition keys of IAM the action has."""
    member = f"{WORDS[kind].title}Name"

    def needs(call: Call, request: Request) -> Iterable[Need]:
        name: str = request.get(member) or own_name(call)
        found = call.doors.database.read(lambda db: tables.find(db, call.account, kind, name))
        where = found.arn if found is not None else arn(call.account, kind, "/", name)
        context = tag_keys(request)
        if "policy" in keys:
            context["iam:PolicyARN"] = request["PolicyArn"]
        if "boundary" in keys:
            boundary = request.get("PermissionsBoundary", found.boundary if found is not None else "")
            if boundary:
                context["iam:PermissionsBoundary"] = boundary
        return (Need(f"iam:{action}", where, context),)

    return needs


def keys(action: str) -> Needs:
    """On the user whose access keys are meant; the root user's own are under its own ARN."""
    of_user = entity(action, "user")

    def needs(call: Call, request: Request) -> Iterable[Need]:
        if "UserName" not in request and call.principal.kind == "root":
            return (Need(f"iam:{action}", call.principal.arn),)
        return of_user(call, request)

    return needs


def create(action: str, kind: Kind) -> Needs:
    """On the entity that is to be made."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        tags = tag_keys(request)
        context = dict(tags)
        if "PermissionsBoundary" in request:
            context["iam:PermissionsBoundary"] = request["PermissionsBoundary"]
        where = arn(call.account, kind, request.get("Path", "/"), request[f"{WORDS[kind].title}Name"])
        yield Need(f"iam:{action}", where, context)
        if tags:
            yield Need(f"iam:Tag{WORDS[kind].title}", where, tags)

    return needs


def listing(action: str, kind: str) -> Needs:
    """On everything below a path prefix."""
    return lambda call, request: (
        Need(f"iam:{action}", f"arn:aws:iam::{call.account}:{kind}{request.get('PathPrefix', '/')}"),
    )


def account(action: str) -> Needs:
    """On no resource."""
    return lambda call, request: (Need(f"iam:{action}", "*"),)


def managed(action: str) -> Needs:
    """On a managed policy."""
    return lambda call, request: (Need(f"iam:{action}", request["PolicyArn"], tag_keys(request)),)


def create_policy(call: Call, request: Request) -> Iterable[Need]:
    """CreatePolicy: on the policy that is to be made."""
    where = arn(call.account, "policy", request.get("Path", "/"), request["PolicyName"])
    yield Need("iam:CreatePolicy", where, tag_keys(request))
    if request.get("Tags"):
        yield Need("iam:TagPolicy", where, tag_keys(request))


def on(action: str, member: str) -> Needs:
    """On what a member of the request names by its ARN."""
    return lambda call, request: (Need(f"iam:{action}", request[member], tag_keys(request)),)


def provider_create(kind: str, where: str, request: Request) -> Iterable[Need]:
    """On the identity provider that is to be made; `kind` as operations name it: ``SAMLProvider``."""
    yield Need(f"iam:Create{kind}", where, tag_keys(request))
    if request.get("Tags"):
        yield Need(f"iam:Tag{kind}", where, tag_keys(request))


def deletion_task(call: Call, request: Request) -> Iterable[Need]:
    """GetServiceLinkedRoleDeletionStatus: on the role that the task deletes."""
    where = f"arn:aws:iam::{call.account}:role/{request['DeletionTaskId'].removeprefix('task/').rpartition('/')[0]}"
    yield Need("iam:GetServiceLinkedRoleDeletionStatus", where)


def tag_keys(request: Request) -> dict[str, ContextValue]:
    """Condition keys of the tags in a request."""
    context: dict[str, ContextValue] = {}
    if request.get("Tags"):
        context["aws:TagKeys"] = tuple(tag["Key"] for tag in request["Tags"])
        for tag in request["Tags"]:
            context[f"aws:RequestTag/{tag['Key']}"] = tag["Value"]
    if request.get("TagKeys"):
        context["aws:TagKeys"] = tuple(request["TagKeys"])
    return context
