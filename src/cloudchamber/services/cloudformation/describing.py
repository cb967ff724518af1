# SPDX-License-Identifier: Apache-2.0
"""Stacks, their resources, events and exports, as they are."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.cloudformation import asking, needs, parameters, tables
from cloudchamber.services.cloudformation.paging import PAGE, page, position, token_of
from cloudchamber.services.cloudformation.template import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.cloudformation.tables import Resource, Stack

_LATEST = 1 << 60
_UNCHECKED = "NOT_CHECKED"


def _filled(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value not in ("", None)}


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


@operation("DescribeStacks", needs=needs.on_stack("DescribeStacks"))
async def describe_stacks(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One stack by name or id (deleted ones by id), or all that are not deleted.

    Raises:
        ValidationError: the stack does not exist.

    Source: AWS CloudFormation API Reference, DescribeStacks.
    """
    name = request.get("StackName", "")
    if name:
        stack = asking.find(call, name)
        if stack is None:
            raise ValidationError(f"Stack with id {name} does not exist")
        return {"Stacks": [_stack(stack)]}
    found = call.doors.database.read(lambda db: tables.stacks(db, call.account, call.region))
    shown, token = page([stack for stack in found if not stack.deleted], request.get("NextToken", ""))
    return _filled({"Stacks": [_stack(stack) for stack in shown], "NextToken": token})


def _stack(stack: Stack) -> dict[str, Any]:
    settings = stack.settings
    declared: Mapping[str, Any] = parse(stack.processed).parameters if stack.processed else {}
    return _filled(
        {
            "StackId": stack.stack_id,
            "StackName": stack.name,
            "ChangeSetId": stack.change_set_id,
            "Description": settings.description,
            "Parameters": parameters.shown(declared, stack.parameters),
            "CreationTime": _time(stack.created),
            "DeletionTime": _time(stack.deleted),
            "LastUpdatedTime": _time(stack.updated),
            "RollbackConfiguration": {},
            "StackStatus": stack.status,
            "StackStatusReason": stack.reason,
            "DisableRollback": settings.disable_rollback,
            "NotificationARNs": [],
            "TimeoutInMinutes": settings.timeout_min or None,
            "Capabilities": list(settings.capabilities),
            "Outputs": [dict(output) for output in stack.outputs],
            "RoleARN": settings.role_arn,
            "Tags": [{"Key": key, "Value": value} for key, value in settings.tags.items()],
            "EnableTerminationProtection": settings.termination_protection,
            "DriftInformation": {"StackDriftStatus": _UNCHECKED},
        }
    )


@operation("ListStacks", needs=needs.on_stack("ListStacks"))
async def list_stacks(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Every stack, deleted ones too, or those in some states.

    Source: AWS CloudFormation API Reference, ListStacks.
    """
    wanted = set(request.get("StackStatusFilter", ()))
    found = call.doors.database.read(lambda db: tables.stacks(db, call.account, call.region))
    shown, token = page([s for s in found if not wanted or s.status in wanted], request.get("NextToken", ""))
    rows = [
        _filled(
            {
                "StackId": stack.stack_id,
                "StackName": stack.name,
                "TemplateDescription": stack.settings.description,
                "CreationTime": _time(stack.created),
                "LastUpdatedTime": _time(stack.updated),
                "DeletionTime": _time(stack.deleted),
                "StackStatus": stack.status,
                "StackStatusReason": stack.reason,
                "DriftInformation": {"StackDriftStatus": _UNCHECKED},
            }
        )
        for stack in shown
    ]
    return _filled({"StackSummaries": rows, "NextToken": token})


@operation("DescribeStackEvents", needs=needs.on_stack("DescribeStackEvents"))
async def describe_stack_events(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What happened to a stack, latest first.

    Raises:
        ValidationError: the stack does not exist.

    Source: AWS CloudFormation API Reference, DescribeStackEvents.
    """
    name = request.get("StackName", "")
    stack = asking.find(call, name)
    if stack is None:
        raise ValidationError(f"Stack [{name}] does not exist")
    before = position(request.get("NextToken", ""), _LATEST)
    rows = call.doors.database.read(lambda db: tables.events(db, stack.stack_id, before, PAGE + 1))
    token = token_of(rows[PAGE - 1]["seq"]) if len(rows) > PAGE else ""
    told = [
        _filled(
            {
                "StackId": stack.stack_id,
                "EventId": row["event_id"],
                "StackName": stack.name,
                "LogicalResourceId": row["logical_id"],
                "PhysicalResourceId": row["physical_id"],
                "ResourceType": row["type"],
                "Timestamp": _time(row["at"]),
                "ResourceStatus": row["status"],
                "ResourceStatusReason": row["reason"],
                "ResourceProperties": row["properties"],
                "ClientRequestToken": row["token"],
            }
        )
        for row in rows[:PAGE]
    ]
    return _filled({"StackEvents": told, "NextToken": token})


def _resources(call: Call, request: Mapping[str, Any]) -> tuple[Stack, dict[str, Resource]]:
    name = request.get("StackName", "")
    stack = asking.find(call, name)
    if stack is None:
        raise ValidationError(f"Stack with id {name} does not exist")
    return stack, call.doors.database.read(lambda db: tables.resources(db, stack.stack_id))


def _resource(row: Resource, time_name: str) -> dict[str, Any]:
    return _filled(
        {
            "LogicalResourceId": row.logical_id,
            "PhysicalResourceId": row.physical_id,
            "ResourceType": row.type,
            time_name: _time(row.at),
            "ResourceStatus": row.status,
            "ResourceStatusReason": row.reason,
            "DriftInformation": {"StackResourceDriftStatus": _UNCHECKED},
        }
    )


@operation("DescribeStackResources", needs=needs.on_stack("DescribeStackResources"))
async def describe_stack_resources(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The resources of a stack, or the stack of a physical resource; at most 100.

    Raises:
        ValidationError: the stack or the physical resource does not exist.

    Source: AWS CloudFormation API Reference, DescribeStackResources.
    """
    physical = request.get("PhysicalResourceId", "")
    if bool(physical) == bool(request.get("StackName")):
        raise ValidationError("Either StackName or PhysicalResourceId must be specified, but not both.")
    if physical:
        found = call.doors.database.read(
            lambda db: db.execute(
                "SELECT r.stack_id FROM cloudformation_resources r JOIN cloudformation_stacks s "
                "ON s.stack_id = r.stack_id WHERE r.physical_id = ? AND s.account = ? AND s.deleted = '' LIMIT 1",
                (physical, call.account),
            ).fetchone()
        )
        if found is None:
            raise ValidationError(f"Stack for {physical} does not exist")
        request = {**request, "StackName": found["stack_id"]}
    stack, rows = _resources(call, request)
    wanted = request.get("LogicalResourceId", "")
    shown = [
        {"StackName": stack.name, "StackId": stack.stack_id, **_resource(row, "Timestamp")}
        for row in rows.values()
        if not wanted or row.logical_id == wanted
    ]
    return {"StackResources": shown[:100]}


@operation("DescribeStackResource", needs=needs.on_stack("DescribeStackResource"))
async def describe_stack_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One resource of a stack.

    Raises:
        ValidationError: the stack or the resource does not exist.

    Source: AWS CloudFormation API Reference, DescribeStackResource.
    """
    stack, rows = _resources(call, request)
    row = rows.get(request["LogicalResourceId"])
    if row is None:
        raise ValidationError(f"Resource {request['LogicalResourceId']} does not exist for stack {stack.name}")
    detail = {"StackName": stack.name, "StackId": stack.stack_id, **_resource(row, "LastUpdatedTimestamp")}
    if row.body.metadata is not None:
        detail["Metadata"] = json.dumps(row.body.metadata)
    return {"StackResourceDetail": detail}


@operation("ListStackResources", needs=needs.on_stack("ListStackResources"))
async def list_stack_resources(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The resources of a stack, by pages.

    Raises:
        ValidationError: the stack does not exist.

    Source: AWS CloudFormation API Reference, ListStackResources.
    """
    _, rows = _resources(call, request)
    shown, token = page([_resource(row, "LastUpdatedTimestamp") for row in rows.values()], request.get("NextToken", ""))
    return _filled({"StackResourceSummaries": shown, "NextToken": token})


@operation("ListExports", needs=needs.anywhere("ListExports"))
async def list_exports(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Every exported output of the region.

    Source: AWS CloudFormation API Reference, ListExports.
    """
    rows = call.doors.database.read(lambda db: tables.exports(db, call.account, call.region))
    shown, token = page(rows, request.get("NextToken", ""))
    found = [{"ExportingStackId": r["stack_id"], "Name": r["name"], "Value": r["value"]} for r in shown]
    return _filled({"Exports": found, "NextToken": token})


@operation("ListImports", needs=needs.anywhere("ListImports"))
async def list_imports(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The stacks that use an export.

    Raises:
        ValidationError: there is no such export, or nobody uses it.

    Source: AWS CloudFormation API Reference, ListImports.
    """
    name = request["ExportName"]
    found = call.doors.database.read(lambda db: tables.importers(db, call.account, call.region, name))
    if not found:
        raise ValidationError(f"Export '{name}' is not imported by any stack.")
    shown, token = page(found, request.get("NextToken", ""))
    return _filled({"Imports": shown, "NextToken": token})
