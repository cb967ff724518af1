# SPDX-License-Identifier: Apache-2.0
"""What each request needs. Source: Service Authorization Reference, "Actions, ... for AWS CloudFormation"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, cast

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
        yield Need(f"cloudformation:{action}", _stack(call, request), _context(action, request))
        role = request.get("RoleARN")
        if role:
            yield Need("iam:PassRole", role, {"iam:PassedToService": CALLER})

    return needs


def on_template(action: str) -> Needs:
    """On nothing, or on the stack whose template is meant."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        where = _stack(call, request) if request.get("StackName") else "*"
        yield Need(f"cloudformation:{action}", where, _context(action, request))

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


_TEMPLATE = {
    "TemplateURL": "cloudformation:TemplateUrl",
    "RoleARN": "cloudformation:RoleArn",
    "StackPolicyURL": "cloudformation:StackPolicyUrl",
    "ResourceTypes": "cloudformation:ResourceTypes",
}
_CHANGE_SET = {"ChangeSetName": "cloudformation:ChangeSetName"}
_MEMBERS: Mapping[str, Mapping[str, str]] = {
    "CreateStack": _TEMPLATE,
    "UpdateStack": _TEMPLATE,
    "CreateChangeSet": _TEMPLATE | _CHANGE_SET,
    "DescribeChangeSet": _CHANGE_SET,
    "ExecuteChangeSet": _CHANGE_SET,
    "DeleteChangeSet": _CHANGE_SET,
    "DeleteStack": {"RoleARN": _TEMPLATE["RoleARN"]},
    "ContinueUpdateRollback": {"RoleARN": _TEMPLATE["RoleARN"]},
    "ValidateTemplate": {"TemplateURL": _TEMPLATE["TemplateURL"]},
    "GetTemplateSummary": {"TemplateURL": _TEMPLATE["TemplateURL"]},
}
"""Members of requests, and which condition key of the action each is."""


def _context(action: str, request: Request) -> dict[str, ContextValue]:
    members = _MEMBERS.get(action, {})
    context: dict[str, ContextValue] = {}
    for member, key in members.items():
        value: Any = request.get(member)
        if value:
            context[key] = tuple(cast("list[str]", value)) if isinstance(value, list) else str(value)
    if action == "CreateChangeSet" and request.get("ResourcesToImport"):
        kinds = dict.fromkeys(str(one.get("ResourceType", "")) for one in request["ResourcesToImport"])
        context["cloudformation:ImportResourceTypes"] = tuple(kinds)
    tags = request.get("Tags") or ()
    for tag in tags:
        context[f"aws:RequestTag/{tag['Key']}"] = tag["Value"]
    if tags:
        context["aws:TagKeys"] = tuple(tag["Key"] for tag in tags)
    return context
