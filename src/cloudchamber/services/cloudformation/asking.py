# SPDX-License-Identifier: Apache-2.0
"""What the operations on stacks have in common: settings from requests, finding stacks, beginning operations."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation import tables
from cloudchamber.services.cloudformation.agent import Caller
from cloudchamber.services.cloudformation.engine import operation_json, previous_json
from cloudchamber.services.cloudformation.errors import LimitExceededException
from cloudchamber.services.cloudformation.graph import names_in
from cloudchamber.services.cloudformation.names import ROLLED_BACK, UPDATABLE
from cloudchamber.services.cloudformation.plan import Current, plan
from cloudchamber.services.cloudformation.prepare import Prepared, resource_types
from cloudchamber.services.cloudformation.tables import Settings, Stack
from cloudchamber.services.cloudformation.template import parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.services.cloudformation.plan import Change
    from cloudchamber.store.database import Tx

STACKS_MAX = 2000
TAGS_MAX = 50
_REFUSED = (
    "StackPolicyBody",
    "StackPolicyURL",
    "StackPolicyDuringUpdateBody",
    "StackPolicyDuringUpdateURL",
    "NotificationARNs",
    "ResourcesToImport",
    "DisableValidation",
    "ResourceTypes",
    "DeploymentMode",
)


def refuse_unsupported(request: Mapping[str, Any]) -> None:
    """Refuse what would change the behaviour and is not built.

    Raises:
        ValidationError: the member, by name.
    """
    for name in _REFUSED:
        if request.get(name):
            raise ValidationError(f"{name} is not supported here")
    watched: Mapping[str, Any] = request.get("RollbackConfiguration") or {}
    if watched.get("RollbackTriggers"):
        raise ValidationError("RollbackConfiguration.RollbackTriggers is not supported here")


def settings_of(request: Mapping[str, Any], before: Settings, description: str = "") -> Settings:
    """The settings that a request asks for; what it does not say stays as it was.

    Raises:
        ValidationError: too many tags, a reserved or repeated key, or both ways to say what a failure does.
    """
    tags = before.tags
    if "Tags" in request:
        tags = {tag["Key"]: tag["Value"] for tag in request["Tags"]}
        if len(tags) != len(request["Tags"]):
            raise ValidationError("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
        if len(tags) > TAGS_MAX:
            raise ValidationError(f"At most {TAGS_MAX} tags are allowed on a stack")
        if any(key.lower().startswith("aws:") for key in tags):
            raise ValidationError("aws: prefixed tag key names are not allowed for external use.")
    if "DisableRollback" in request and "OnFailure" in request:
        raise ValidationError("You can specify either DisableRollback or OnFailure, but not both.")
    deployment: Mapping[str, Any] = request.get("DeploymentConfig") or {}
    return replace(
        before,
        description=description,
        capabilities=tuple(request.get("Capabilities", ())),
        tags=tags,
        role_arn=request.get("RoleARN") or before.role_arn,
        disable_rollback=bool(request.get("DisableRollback", deployment.get("DisableRollback", False))),
        on_failure=request.get("OnFailure", "ROLLBACK"),
        timeout_min=int(request.get("TimeoutInMinutes", 0)),
        retain_except_on_create=bool(request.get("RetainExceptOnCreate", False)),
        termination_protection=bool(request.get("EnableTerminationProtection", before.termination_protection)),
    )


def find(call: Call, name: str) -> Stack | None:
    """A stack by its name or id."""
    return call.doors.database.read(lambda db: tables.find_stack(db, call.account, call.region, name))


def check_room(call: Call, tx: Tx) -> None:
    """Refuse one stack too many.

    Raises:
        LimitExceededException: the quota of stacks is reached.
    """
    if tables.count(tx, call.account, call.region) >= STACKS_MAX:
        raise LimitExceededException(f"Limit for stack has been exceeded: {STACKS_MAX}")


def existing(call: Call, name: str) -> Stack:
    """A stack that must exist and not be deleted.

    Raises:
        ValidationError: there is none.
    """
    stack = find(call, name)
    if stack is None or stack.deleted:
        raise ValidationError(f"Stack [{name}] does not exist")
    return stack


def check_updatable(stack: Stack) -> None:
    """Refuse an update of a stack in the wrong state.

    Raises:
        ValidationError: its state.
    """
    if stack.status not in UPDATABLE:
        hint = " Delete it and create it again." if stack.status == ROLLED_BACK else ""
        raise ValidationError(
            f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.{hint}".rstrip()
        )


def caller_of(call: Call, stack: Stack) -> Caller:
    """As whom the stack calls."""
    return Caller(call.doors, call.principal, stack.settings.role_arn, stack.stack_id, call.trace)


def current_of(call: Call, stack_id: str) -> dict[str, Current]:
    """The resources of a stack as `plan` wants them."""
    rows = call.doors.database.read(lambda db: tables.resources(db, stack_id))
    return {
        name: Current(
            name,
            row.type,
            row.physical_id,
            row.body.ref or row.physical_id,
            row.body.properties,
            row.body.attributes,
            row.body.shown,
            row.body.declared,
            row.body.masked,
        )
        for name, row in rows.items()
        if row.exists and row.physical_id and row.status != "CREATE_FAILED"
    }


def changes_of(call: Call, stack: Stack, prepared: Prepared, *, tags_changed: bool) -> list[Change]:
    """What applying a template to a stack changes; every property is checked on the way.

    Raises:
        ValidationError: a resource or a property is not possible.
    """
    types = resource_types(call.doors)
    current = current_of(call, stack.stack_id)
    return plan(prepared.aim.goal, current, types, tags_changed=tags_changed)


def other_changes(stack: Stack, prepared: Prepared, changed_parameters: frozenset[str]) -> bool:
    """Whether an update changes something besides properties: outputs, policies, metadata of resources."""
    old, new = parse(stack.processed), prepared.aim.template
    if old.outputs != new.outputs:
        return True
    used = {name for output in new.outputs.values() for name, _ in names_in([output.value, output.export])}
    if used & changed_parameters:
        return True
    for name, declared in new.resources.items():
        before = old.resources.get(name)
        if before is not None and replace(before, properties={}) != replace(declared, properties={}):
            return True
    return False


def changed_parameters(stack: Stack, prepared: Prepared) -> frozenset[str]:
    """Names of the parameters whose values differ."""
    names = set(stack.parameters) | set(prepared.values)
    return frozenset(n for n in names if stack.parameters.get(n) != prepared.values.get(n))


def begin_update(call: Call, tx: Tx, stack: Stack, fresh: Stack, token: str) -> Stack:
    """Write that an update begins; the caller's view of the stack must still be true.

    Raises:
        ValidationError: another operation began meanwhile.
    """
    now = tables.stack_by_id(tx, stack.stack_id)
    if now is None or now.deleted:
        raise ValidationError(f"Stack [{stack.name}] does not exist")
    check_updatable(now)
    return _begin(
        call, tx, replace(fresh, previous=previous_json(now), updated=iso(call.now)), "UPDATE_IN_PROGRESS", token
    )


def begin_create(call: Call, tx: Tx, fresh: Stack, token: str) -> Stack:
    """Write that a creation begins."""
    return _begin(call, tx, fresh, "CREATE_IN_PROGRESS", token)


def begin_delete(call: Call, tx: Tx, stack: Stack, token: str, retain: Sequence[str]) -> Stack:
    """Write that a deletion begins."""
    return _begin(call, tx, stack, "DELETE_IN_PROGRESS", token, retain=list(retain))


def begin_unwind(call: Call, tx: Tx, stack: Stack, token: str) -> Stack:
    """Write that a failed rollback is tried again."""
    return _begin(call, tx, stack, "UPDATE_ROLLBACK_IN_PROGRESS", token)


def _begin(call: Call, tx: Tx, stack: Stack, status: str, token: str, **more: Any) -> Stack:
    begun = replace(
        stack,
        status=status,
        reason="User Initiated",
        token=token,
        operation=operation_json(call.principal, call.trace, **more),
    )
    tables.put_stack(tx, begun)
    tables.add_stack_event(tx, begun, iso(call.now))
    return begun
