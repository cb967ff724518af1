# SPDX-License-Identifier: Apache-2.0
"""What each request needs. Source: Service Authorization Reference, "Actions, ... for AWS CloudFormation"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from cloudchamber.contract.operation import Need
from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.names import CALLER, stack_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

    Request: TypeAlias = Mapping[str, Any]
    Needs: TypeAlias = Callable[[Call, Request], Iterable[Need]]


def on_stack(action: str) -> Needs:
    """On the stack that the request names (all stacks if it names none), with the condition keys of the action."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"cloudformation:{action}", _stack(call, request), _context(request))
        role = request.get("RoleARN")
        if role:
            yield Need("iam:PassRole", role, {"iam:PassedToService": CALLER})

    return needs


def on_template(action: str) -> Needs:
    """On nothing, or on the stack whose template is meant."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        where = _stack(call, request) if request.get("StackName") else "*"
        yield Need(f"cloudformation:{action}", where, _context(request))

    return needs


def anywhere(action: str) -> Needs:
    """On nothing."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"cloudformation:{action}", "*", {})

    return needs


def _stack(call: Call, request: Request) -> str:
    name: str = request.get("StackName", "")
    if not name and str(request.get("ChangeSetName", "")).startswith("arn:"):
        found = call.doors.database.read(lambda db: tables.change_set(db, request["ChangeSetName"], ""))
        return found.stack_id if found else stack_arn(call.region, call.account, "*", "*")
    if not name:
        return stack_arn(call.region, call.account, "*", "*")
    if name.startswith("arn:"):
        return name
    stack = call.doors.database.read(lambda db: tables.stack_by_name(db, call.account, call.region, name))
    return stack.stack_id if stack else stack_arn(call.region, call.account, name, "*")


def _context(request: Request) -> dict[str, ContextValue]:
    context: dict[str, ContextValue] = {}
    for member, key in (
        ("TemplateURL", "cloudformation:TemplateUrl"),
        ("RoleARN", "cloudformation:RoleArn"),
        ("ChangeSetName", "cloudformation:ChangeSetName"),
    ):
        if request.get(member):
            context[key] = str(request[member])
    if request.get("ResourceTypes"):
        context["cloudformation:ResourceTypes"] = tuple(request["ResourceTypes"])
    tags = request.get("Tags") or ()
    for tag in tags:
        context[f"aws:RequestTag/{tag['Key']}"] = tag["Value"]
    if tags:
        context["aws:TagKeys"] = tuple(tag["Key"] for tag in tags)
    return context
