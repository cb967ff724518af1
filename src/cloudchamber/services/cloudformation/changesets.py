# SPDX-License-Identifier: Apache-2.0
"""Change sets: what an operation would do, to be looked at and then done."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.cloudformation import asking, needs, parameters, tables
from cloudchamber.services.cloudformation.engine import Engine
from cloudchamber.services.cloudformation.errors import (
    AlreadyExistsException,
    ChangeSetNotFound,
    InvalidChangeSetStatus,
    TransformFailed,
)
from cloudchamber.services.cloudformation.intrinsics import knows, resolve
from cloudchamber.services.cloudformation.names import (
    change_set_arn,
    check_change_set_name,
    check_stack_name,
    stack_arn,
)
from cloudchamber.services.cloudformation.paging import page
from cloudchamber.services.cloudformation.plan import described
from cloudchamber.services.cloudformation.prepare import Prepared, make_aim, prepare, template_text
from cloudchamber.services.cloudformation.tables import ChangeSet, Stack
from cloudchamber.services.cloudformation.template import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
_VALUES = ("BeforeContext", "AfterContext")


def _found(call: Call, request: Mapping[str, Any]) -> ChangeSet:
    name, stack_name = request["ChangeSetName"], request.get("StackName", "")
    if not name.startswith("arn:") and not stack_name:
        raise ValidationError("StackName must be specified if ChangeSetName is not specified as an ARN.")
    stack = asking.find(call, stack_name) if stack_name else None
    if stack_name and stack is None:
        raise ValidationError(f"Stack [{stack_name}] does not exist")
    found = call.doors.database.read(lambda db: tables.change_set(db, name, stack.stack_id if stack else ""))
    if found is None or found.stack_id.split(":")[4] != call.account:
        raise ChangeSetNotFound(f"ChangeSet [{name}] does not exist")
    return found


@operation("CreateChangeSet", needs=needs.on_stack("CreateChangeSet"))
async def create_change_set(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Work out what a template would change. It is complete (or failed) when this returns.

    Raises:
        AlreadyExistsException: the change set, or for CREATE the stack, exists.
        ValidationError: what is wrong with the request or the template.

    Source: AWS CloudFormation API Reference, CreateChangeSet.
    """
    name = check_change_set_name(request["ChangeSetName"])
    asking.refuse_unsupported(request)
    stack = _stack_for(call, request)
    text = stack.template if request.get("UsePreviousTemplate") else await template_text(call, request)
    wanted = replace(stack, settings=asking.settings_of(request, stack.settings))
    found = ChangeSet(
        change_set_arn(call.region, call.account, name, ids.request_id()),
        stack.stack_id,
        name,
        "FAILED",
        "UNAVAILABLE",
        iso(call.now),
        _asked(request, wanted, text),
    )
    try:
        prepared = await prepare(
            call.doors,
            asking.caller_of(call, wanted),
            wanted,
            text,
            request.get("Parameters", ()),
            acknowledged=wanted.settings.capabilities,
            expand=True,
        )
        found = _compared(call, stack, wanted, prepared, found)
        if request.get("ImportExistingResources"):
            await _refuse_imports(call, found, prepared)
    except TransformFailed as failed:
        found = replace(found, reason=failed.message)
    await call.doors.database.write(lambda tx: _publish(call, tx, stack, wanted, found))
    return {"Id": found.change_set_id, "StackId": stack.stack_id}


def _stack_for(call: Call, request: Mapping[str, Any]) -> Stack:
    kind, name = request.get("ChangeSetType", "UPDATE"), request["StackName"]
    stack = asking.find(call, name)
    if kind == "CREATE":
        if stack is not None and not stack.deleted:
            if stack.status != "REVIEW_IN_PROGRESS":
                again = f"cannot be created again with the changeSet [{request['ChangeSetName']}]."
                raise AlreadyExistsException(f"Stack [{stack.name}] already exists and {again}")
            return stack
        stack_id = stack_arn(call.region, call.account, check_stack_name(name), ids.request_id())
        return Stack(stack_id, name, call.account, call.region, "REVIEW_IN_PROGRESS", iso(call.now))
    if kind != "UPDATE":
        raise ValidationError(f"ChangeSetType {kind} is not supported here")
    if stack is None or stack.deleted:
        raise ValidationError(f"Stack [{name}] does not exist")
    asking.check_updatable(stack)
    return stack


def _asked(request: Mapping[str, Any], wanted: Stack, text: str) -> dict[str, Any]:
    return {
        "kind": request.get("ChangeSetType", "UPDATE"),
        "description": request.get("Description", ""),
        "on_stack_failure": request.get("OnStackFailure", ""),
        "nested": bool(request.get("IncludeNestedStacks", False)),
        "deployment": dict(request.get("DeploymentConfig") or {}),
        "settings": asdict(wanted.settings),
        "template": text,
        "processed": "",
        "values": "{}",
        "shown": [],
        "zones": [],
        "changes": [],
        "tags_changed": False,
    }


async def _refuse_imports(call: Call, found: ChangeSet, prepared: Prepared) -> None:
    """Refuse to import what exists already; to create what does not is what ``ImportExistingResources`` does too.

    Only buckets are looked for: other resources with a name that is taken fail when they are created.
    """
    added = {c["ResourceChange"]["LogicalResourceId"] for c in found.body["changes"] if _adds(c)}
    for name, declared in prepared.aim.goal.resources.items():
        if name not in added or declared.type != "AWS::S3::Bucket" or not declared.deletion_policy.startswith("Retain"):
            continue
        bucket = resolve(declared.properties.get("BucketName", ""), prepared.aim.goal.scope)
        if not isinstance(bucket, str) or not bucket or not knows(bucket):
            continue
        try:
            await call.ask("s3", "HeadBucket", {"Bucket": bucket})
        except ServiceError:
            continue
        raise ValidationError(
            f"ImportExistingResources: bucket {bucket} of {name} exists already, and importing it is not supported "
            "here; delete the bucket (or give the resource another name)"
        )


def _adds(change: Mapping[str, Any]) -> bool:
    return change["ResourceChange"]["Action"] == "Add"


def _compared(call: Call, stack: Stack, wanted: Stack, prepared: Prepared, found: ChangeSet) -> ChangeSet:
    tags_changed = stack.status != "REVIEW_IN_PROGRESS" and wanted.settings.tags != stack.settings.tags
    changes = asking.changes_of(call, wanted, prepared, tags_changed=tags_changed)
    altered = asking.changed_parameters(stack, prepared)
    settings = replace(wanted.settings, description=prepared.original.description)
    body = {
        **found.body,
        "settings": asdict(settings),
        "processed": json.dumps(prepared.processed),
        "values": tables.values_to_json(prepared.values),
        "shown": parameters.shown(prepared.original.parameters, prepared.values),
        "zones": list(prepared.aim.goal.scope.zones),
        "changes": [described(change, altered, values=True) for change in changes],
        "tags_changed": tags_changed,
    }
    fresh = stack.status == "REVIEW_IN_PROGRESS"
    if not fresh and not changes and not tags_changed and not asking.other_changes(stack, prepared, altered):
        return replace(found, body=body, reason=NO_CHANGES)
    return replace(found, body=body, status="CREATE_COMPLETE", execution="AVAILABLE")


def _publish(call: Call, tx: Tx, stack: Stack, wanted: Stack, found: ChangeSet) -> None:
    if tables.change_set(tx, found.name, stack.stack_id):
        raise AlreadyExistsException(f"ChangeSet {found.name} already exists")
    if tables.stack_by_id(tx, stack.stack_id) is None:
        if tables.stack_by_name(tx, call.account, call.region, stack.name):
            raise AlreadyExistsException(f"Stack [{stack.name}] already exists")
        asking.check_room(call, tx)
        fresh = replace(wanted, reason="User Initiated", change_set_id=found.change_set_id)
        tables.put_stack(tx, fresh)
        tables.add_stack_event(tx, fresh, iso(call.now))
    tables.put_change_set(tx, found)


@operation("DescribeChangeSet", needs=needs.on_stack("DescribeChangeSet"))
async def describe_change_set(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What a change set would do.

    Source: AWS CloudFormation API Reference, DescribeChangeSet.
    """
    found = _found(call, request)
    body = found.body
    stack = call.doors.database.read(lambda db: tables.stack_by_id(db, found.stack_id))
    changes, token = page(body["changes"], request.get("NextToken", ""))
    answer: dict[str, Any] = {
        "ChangeSetName": found.name,
        "ChangeSetId": found.change_set_id,
        "StackId": found.stack_id,
        "StackName": stack.name if stack else "",
        "CreationTime": datetime.fromisoformat(found.created),
        "ExecutionStatus": found.execution,
        "Status": found.status,
        "NotificationARNs": [],
        "RollbackConfiguration": {},
        "Capabilities": list(body["settings"]["capabilities"]),
        "Tags": [{"Key": key, "Value": value} for key, value in body["settings"]["tags"].items()],
        "Parameters": body["shown"],
        "Changes": changes if request.get("IncludePropertyValues") else [_without_values(item) for item in changes],
        "IncludeNestedStacks": body["nested"],
    }
    for key, value in (
        ("Description", body["description"]),
        ("StatusReason", found.reason),
        ("OnStackFailure", body["on_stack_failure"]),
        ("DeploymentConfig", body["deployment"]),
        ("NextToken", token),
    ):
        if value:
            answer[key] = value
    return answer


def _without_values(change: Mapping[str, Any]) -> dict[str, Any]:
    body = {key: value for key, value in change["ResourceChange"].items() if key not in _VALUES}
    body["Details"] = [
        {
            **detail,
            "Target": {
                key: value
                for key, value in detail["Target"].items()
                if key not in ("BeforeValue", "AfterValue", "Path")
            },
        }
        for detail in body["Details"]
    ]
    return {**change, "ResourceChange": body}


@operation("ExecuteChangeSet", needs=needs.on_stack("ExecuteChangeSet"))
async def execute_change_set(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Begin to do what a change set says.

    Raises:
        InvalidChangeSetStatus: it failed, or was executed.

    Source: AWS CloudFormation API Reference, ExecuteChangeSet.
    """
    found = _found(call, request)
    if found.execution != "AVAILABLE":
        raise InvalidChangeSetStatus(
            f"ChangeSet [{found.change_set_id}] cannot be executed in its current status of [{found.status}]"
        )
    body = found.body
    stack = asking.existing(call, found.stack_id)
    settings = tables.settings_from(body["settings"])
    if "DisableRollback" in request:
        settings = replace(settings, disable_rollback=bool(request["DisableRollback"]))
    if body["on_stack_failure"]:
        settings = replace(settings, on_failure=body["on_stack_failure"])
    if request.get("RetainExceptOnCreate"):
        settings = replace(settings, retain_except_on_create=True)
    settings = replace(settings, termination_protection=stack.settings.termination_protection)
    fresh = replace(
        stack,
        settings=settings,
        template=body["template"],
        processed=body["processed"],
        parameters=tables.values_from_json(body["values"]),
        change_set_id=found.change_set_id,
    )
    aim = make_aim(call.doors, fresh, parse(fresh.processed), fresh.parameters, tuple(body["zones"]))
    begun = await call.doors.database.write(
        lambda tx: _begin(call, tx, found, stack, fresh, request.get("ClientRequestToken", ""))
    )
    engine = call.doors.part("cloudformation", Engine)
    if begun.status == "CREATE_IN_PROGRESS":
        engine.create(begun, aim)
    else:
        engine.update(begun, aim, tags_changed=body["tags_changed"])
    return {}


def _begin(call: Call, tx: Tx, found: ChangeSet, stack: Stack, fresh: Stack, token: str) -> Stack:
    now = tables.change_set(tx, found.change_set_id, "")
    if now is None or now.execution != "AVAILABLE":
        raise InvalidChangeSetStatus(f"ChangeSet [{found.change_set_id}] cannot be executed in its current status")
    if found.body["kind"] == "CREATE":
        current = tables.stack_by_id(tx, stack.stack_id)
        if current is None or current.status != "REVIEW_IN_PROGRESS":
            raise ValidationError(f"Stack:{stack.stack_id} is not in REVIEW_IN_PROGRESS state")
        begun = asking.begin_create(call, tx, fresh, token)
    else:
        begun = asking.begin_update(call, tx, stack, fresh, token)
    tables.drop_change_sets(tx, stack.stack_id, keep=found.change_set_id)
    tables.put_change_set(tx, replace(found, execution="EXECUTE_COMPLETE"))
    return begun


@operation("DeleteChangeSet", needs=needs.on_stack("DeleteChangeSet"))
async def delete_change_set(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a change set; one that does not exist is deleted already.

    Source: AWS CloudFormation API Reference, DeleteChangeSet.
    """
    try:
        found = _found(call, request)
    except ChangeSetNotFound:
        return {}
    await call.doors.database.write(
        lambda tx: (
            tx.execute("DELETE FROM cloudformation_change_sets WHERE change_set_id = ?", (found.change_set_id,))
            and None
        )
    )
    return {}


@operation("ListChangeSets", needs=needs.on_stack("ListChangeSets"))
async def list_change_sets(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The change sets of a stack.

    Source: AWS CloudFormation API Reference, ListChangeSets.
    """
    stack = asking.existing(call, request["StackName"])
    rows = call.doors.database.read(lambda db: tables.change_sets(db, stack.stack_id))
    summaries: list[dict[str, Any]] = []
    for found in rows:
        row = {
            "StackId": stack.stack_id,
            "StackName": stack.name,
            "ChangeSetId": found.change_set_id,
            "ChangeSetName": found.name,
            "ExecutionStatus": found.execution,
            "Status": found.status,
            "CreationTime": datetime.fromisoformat(found.created),
            "IncludeNestedStacks": found.body["nested"],
        }
        optional = {"StatusReason": found.reason, "Description": found.body["description"]}
        summaries.append({**row, **{key: value for key, value in optional.items() if value}})
    shown, token = page(summaries, request.get("NextToken", ""))
    return {"Summaries": shown} | ({"NextToken": token} if token else {})
