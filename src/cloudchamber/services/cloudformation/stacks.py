# SPDX-License-Identifier: Apache-2.0
"""Create, update and delete stacks."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.cloudformation import asking, needs, tables
from cloudchamber.services.cloudformation.engine import Engine
from cloudchamber.services.cloudformation.errors import AlreadyExistsException
from cloudchamber.services.cloudformation.names import check_stack_name, in_progress, stack_arn
from cloudchamber.services.cloudformation.prepare import prepare, template_text
from cloudchamber.services.cloudformation.tables import Settings, Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

NOTHING_TO_DO = "No updates are to be performed."


def _engine(call: Call) -> Engine:
    return call.doors.part("cloudformation", Engine)


@operation("CreateStack", needs=needs.on_stack("CreateStack"))
async def create_stack(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Begin to create a stack; everything that can be known to be wrong is refused before anything is created.

    Raises:
        AlreadyExistsException: a stack has the name.
        InsufficientCapabilitiesException: IAM resources or a transform were not acknowledged.
        ValidationError: what is wrong with the template, its parameters or a resource's properties.

    Source: AWS CloudFormation API Reference, CreateStack.
    """
    name, token = check_stack_name(request["StackName"]), request.get("ClientRequestToken", "")
    asking.refuse_unsupported(request)
    there = asking.find(call, name)
    if there is not None:
        if token and there.token == token:
            return {"StackId": there.stack_id}
        raise AlreadyExistsException(f"Stack [{name}] already exists")
    text = await template_text(call, request)
    stack_id = stack_arn(call.region, call.account, name, ids.request_id())
    stack = Stack(stack_id, name, call.account, call.region, "CREATE_IN_PROGRESS", iso(call.now))
    stack = replace(stack, settings=asking.settings_of(request, Settings()))
    prepared = await prepare(
        call.doors,
        asking.caller_of(call, stack),
        stack,
        text,
        request.get("Parameters", ()),
        acknowledged=stack.settings.capabilities,
        expand=False,
    )
    asking.changes_of(call, stack, prepared, tags_changed=False)
    fresh = replace(
        stack,
        settings=replace(stack.settings, description=prepared.original.description),
        template=text,
        processed=json.dumps(prepared.processed),
        parameters=prepared.values,
    )

    def change(tx: Tx) -> Stack:
        if tables.stack_by_name(tx, call.account, call.region, name):
            raise AlreadyExistsException(f"Stack [{name}] already exists")
        asking.check_room(call, tx)
        return asking.begin_create(call, tx, fresh, token)

    _engine(call).create(await call.doors.database.write(change), prepared.aim)
    return {"StackId": stack_id}


@operation("UpdateStack", needs=needs.on_stack("UpdateStack"))
async def update_stack(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Begin to update a stack.

    Raises:
        ValidationError: ``No updates are to be performed.``, the stack's state, or what is wrong.
        InsufficientCapabilitiesException: IAM resources or a transform were not acknowledged.

    Source: AWS CloudFormation API Reference, UpdateStack.
    """
    asking.refuse_unsupported(request)
    stack = asking.existing(call, request["StackName"])
    token = request.get("ClientRequestToken", "")
    if token and stack.token == token:
        return {"StackId": stack.stack_id}
    asking.check_updatable(stack)
    text = stack.template if request.get("UsePreviousTemplate") else await template_text(call, request)
    wanted = replace(stack, settings=asking.settings_of(request, stack.settings))
    prepared = await prepare(
        call.doors,
        asking.caller_of(call, wanted),
        wanted,
        text,
        request.get("Parameters", ()),
        acknowledged=wanted.settings.capabilities,
        expand=False,
    )
    tags_changed = wanted.settings.tags != stack.settings.tags
    changes = asking.changes_of(call, wanted, prepared, tags_changed=tags_changed)
    altered = asking.changed_parameters(stack, prepared)
    if not changes and not tags_changed and not asking.other_changes(stack, prepared, altered):
        raise ValidationError(NOTHING_TO_DO)
    fresh = replace(
        wanted,
        settings=replace(wanted.settings, description=prepared.original.description),
        template=text,
        processed=json.dumps(prepared.processed),
        parameters=prepared.values,
        change_set_id="",
    )
    begun = await call.doors.database.write(lambda tx: asking.begin_update(call, tx, stack, fresh, token))
    _engine(call).update(begun, prepared.aim, tags_changed=tags_changed)
    return {"StackId": stack.stack_id}


@operation("DeleteStack", needs=needs.on_stack("DeleteStack"))
async def delete_stack(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Begin to delete a stack; one that does not exist is deleted already.

    Raises:
        ValidationError: it is protected, another operation is under way, or others use its exports.

    Source: AWS CloudFormation API Reference, DeleteStack.
    """
    stack = asking.find(call, request["StackName"])
    if request.get("DeletionMode", "STANDARD") != "STANDARD":
        raise ValidationError("DeletionMode FORCE_DELETE_STACK is not supported here")
    deployment: Mapping[str, Any] = request.get("DeploymentConfig") or {}
    if deployment.get("DisableRollback"):
        raise ValidationError("DeploymentConfig.DisableRollback is not supported here")
    if stack is None or stack.deleted or stack.status == "DELETE_IN_PROGRESS":
        return {}
    if stack.settings.termination_protection:
        raise ValidationError(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    retain = tuple(request.get("RetainResources", ()))
    if retain and stack.status != "DELETE_FAILED":
        raise ValidationError("RetainResources can only be specified for stacks in DELETE_FAILED state")
    settings = replace(stack.settings, role_arn=request.get("RoleARN") or stack.settings.role_arn)
    if stack.status == "CREATE_IN_PROGRESS":
        # Why: CloudFormation deletes a stack that is being created; what was begun is deleted with it.
        await _engine(call).interrupt(stack.stack_id)

    def change(tx: Tx) -> Stack:
        now = tables.stack_by_id(tx, stack.stack_id)
        if now is None or now.deleted or (in_progress(now.status) and now.status != "CREATE_IN_PROGRESS"):
            state = now.status if now else "DELETE_COMPLETE"
            raise ValidationError(f"Stack [{stack.name}] cannot be deleted while in status {state}")
        for row in tables.exports(tx, stack.account, stack.region):
            users = tables.importers(tx, stack.account, stack.region, row["name"])
            if row["stack_id"] == stack.stack_id and users:
                raise ValidationError(
                    f"Export {row['name']} cannot be deleted as it is in use by {' and '.join(users)}"
                )
        return asking.begin_delete(
            call, tx, replace(now, settings=settings), request.get("ClientRequestToken", ""), retain
        )

    _engine(call).delete(await call.doors.database.write(change), retain)
    return {}


@operation("UpdateTerminationProtection", needs=needs.on_stack("UpdateTerminationProtection"))
async def update_termination_protection(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Protect a stack from deletion, or no more.

    Source: AWS CloudFormation API Reference, UpdateTerminationProtection.
    """
    stack = asking.existing(call, request["StackName"])

    def change(tx: Tx) -> None:
        now = tables.stack_by_id(tx, stack.stack_id)
        if now is None or now.deleted:
            raise ValidationError(f"Stack [{stack.name}] does not exist")
        settings = replace(now.settings, termination_protection=bool(request["EnableTerminationProtection"]))
        tables.put_stack(tx, replace(now, settings=settings))

    await call.doors.database.write(change)
    return {"StackId": stack.stack_id}


@operation("ContinueUpdateRollback", needs=needs.on_stack("ContinueUpdateRollback"))
async def continue_update_rollback(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Try again to roll back an update whose rollback failed.

    Raises:
        ValidationError: the stack is in another state, or resources shall be skipped.

    Source: AWS CloudFormation API Reference, ContinueUpdateRollback.
    """
    for name in ("ResourcesToSkip", "ForceRollback"):
        if request.get(name):
            raise ValidationError(f"{name} is not supported here")
    stack = asking.existing(call, request["StackName"])

    def change(tx: Tx) -> Stack:
        now = tables.stack_by_id(tx, stack.stack_id)
        if now is None or now.status != "UPDATE_ROLLBACK_FAILED":
            raise ValidationError(f"Stack:{stack.stack_id} is not in UPDATE_ROLLBACK_FAILED state")
        return asking.begin_unwind(call, tx, now, request.get("ClientRequestToken", ""))

    _engine(call).go_on_unwinding(await call.doors.database.write(change))
    return {}


@operation("CancelUpdateStack", needs=needs.on_stack("CancelUpdateStack"))
async def cancel_update_stack(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Stop an update and roll it back.

    Raises:
        ValidationError: no update is under way.

    Source: AWS CloudFormation API Reference, CancelUpdateStack.
    """
    stack = asking.existing(call, request["StackName"])
    if stack.status == "UPDATE_IN_PROGRESS":
        await _engine(call).interrupt(stack.stack_id)
        stack = asking.existing(call, stack.stack_id)
    if stack.status != "UPDATE_IN_PROGRESS":
        raise ValidationError("CancelUpdateStack cannot be called from current stack status")
    _engine(call).cancel_update(stack)
    return {}
