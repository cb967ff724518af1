# SPDX-License-Identifier: Apache-2.0
"""What an operation will change: resolved properties now and then, compared. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.graph import names_in, order
from cloudchamber.services.cloudformation.intrinsics import UNKNOWN, knows, resolve
from cloudchamber.services.cloudformation.kinds import is_list, is_map
from cloudchamber.services.cloudformation.parameters import MASK
from cloudchamber.services.cloudformation.shapes import check_properties

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.resource import Property, ResourceType
    from cloudchamber.services.cloudformation.intrinsics import Scope
    from cloudchamber.services.cloudformation.template import Declared

Update = Literal["in-place", "interrupt", "replace"]
_STRENGTH: tuple[Update, ...] = ("replace", "interrupt", "in-place")


@dataclass(frozen=True, slots=True)
class Current:
    """A resource as it is: what was applied, and what it gives to others.

    `shown` are the properties with secret parameters masked, `declared` those with functions, as in its template.
    """

    logical_id: str
    type: str
    physical_id: str
    ref: str
    properties: Mapping[str, Any]
    attributes: Mapping[str, Any]
    shown: Mapping[str, Any] = field(default_factory=dict[str, Any])
    declared: Mapping[str, Any] = field(default_factory=dict[str, Any])
    masked: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that changes. `dynamic`: whether it does is known only when it is applied."""

    name: str
    update: Update
    kind: Literal["Add", "Modify", "Remove"]
    dynamic: bool
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one resource."""

    action: Literal["Add", "Modify", "Remove"]
    logical_id: str
    type: str
    physical_id: str = ""
    replacement: Literal["", "True", "False", "Conditional"] = ""
    differences: tuple[Difference, ...] = ()
    tags: bool = False
    policy_action: str = ""
    shown_before: Mapping[str, Any] = field(default_factory=dict[str, Any])
    shown_after: Mapping[str, Any] = field(default_factory=dict[str, Any])
    declared: Mapping[str, Any] = field(default_factory=dict[str, Any])
    declared_before: Mapping[str, Any] = field(default_factory=dict[str, Any])


def compare(kind: ResourceType, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The properties that differ, by name, each with what its change does to the resource.

    Raises:
        ValidationError: a custom resource would change to another function.
    """
    token: Any = after.get("ServiceToken")
    if kind.open and knows(token) and before.get("ServiceToken") != token:
        raise ValidationError("Modifying service token is not allowed.")
    found: list[Difference] = []
    for name in sorted(set(before) | set(after)):
        old, new = before.get(name), after.get(name)
        if old == new and type(old) is type(new) and knows(new):
            continue
        if _same(old, new):
            continue
        change: Literal["Add", "Modify", "Remove"] = (
            "Add" if name not in before else "Remove" if name not in after else "Modify"
        )
        member = kind.properties.get(name)
        update = "in-place" if member is None else _update(member, old, new)
        found.append(Difference(name, update, change, not knows(new), old, new))
    return tuple(found)


def _same(old: Any, new: Any) -> bool:
    """Whether two values mean the same to CloudFormation: ``"20"`` and ``20`` do, ``true`` and ``"true"`` too."""
    return knows(new) and _canonical(old) == _canonical(new)


def _canonical(value: Any) -> Any:
    if is_map(value):
        return {key: _canonical(item) for key, item in value.items()}
    if is_list(value):
        return [_canonical(item) for item in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _strongest(found: Iterable[Update], otherwise: Update) -> Update:
    there = set(found)
    for update in _STRENGTH:
        if update in there:
            return update
    return otherwise


def _update(member: Property, old: Any, new: Any) -> Update:
    if member.shape is None or member.update == "replace":
        return member.update
    if is_map(old) and is_map(new):
        kinds: list[Update] = [
            _update(member.shape[name], old.get(name), new.get(name))
            for name in set(old) | set(new)
            if name in member.shape and not _same(old.get(name), new.get(name))
        ]
        return _strongest(kinds, member.update)
    if is_list(old) and is_list(new) and len(old) == len(new):
        pairs = [(a, b) for a, b in zip(old, new, strict=True) if not _same(a, b)]
        return _strongest((_update(member, a, b) for a, b in pairs), member.update)
    return member.update


def lookup(attributes: Mapping[str, Any], name: str) -> Any:
    """An attribute by its GetAtt name, from flat (``"Endpoint.Address"``) or nested attributes.

    Raises:
        KeyError: there is none.
    """
    if name in attributes:
        return attributes[name]
    value: Any = attributes
    for part in name.split("."):
        if not is_map(value):
            raise KeyError(name)
        value = value[part]
    return value


@dataclass(frozen=True, slots=True)
class Goal:
    """What a stack shall be: resources, their edges, and the scopes that resolve their properties.

    `shown` is `scope` with the values of NoEcho parameters masked.
    """

    resources: Mapping[str, Declared]
    edges: Mapping[str, frozenset[str]]
    scope: Scope
    shown: Scope


def plan(
    goal: Goal, current: Mapping[str, Current], types: Mapping[str, ResourceType], *, tags_changed: bool = False
) -> list[Change]:
    """Every change, in the order in which it is applied; removals last.

    Raises:
        ValidationError: a property is unknown, or a resource changes its type.
    """
    fates: dict[str, Change | None] = {}

    def ref(name: str) -> Any:
        return UNKNOWN if _new(fates.get(name), name, current) else current[name].ref

    def attribute(name: str, wanted: str) -> Any:
        if _new(fates.get(name), name, current):
            return UNKNOWN
        try:
            return lookup(current[name].attributes, wanted)
        except KeyError:
            return UNKNOWN

    scope = replace(goal.scope, ref=ref, attribute=attribute)

    def shown_attribute(name: str, wanted: str) -> Any:
        value = attribute(name, wanted)
        return MASK if value != UNKNOWN and current[name].masked else value

    shown = replace(goal.shown, ref=ref, attribute=shown_attribute)
    for name in order(goal.edges):
        declared = goal.resources[name]
        kind = types[declared.type]
        properties = resolve(declared.properties, scope)
        check_properties(name, kind, properties)
        masked = resolve(declared.properties, shown)
        fates[name] = _fate(declared, kind, properties, masked, current.get(name), tags_changed=tags_changed)
    changes = [change for change in fates.values() if change is not None]
    for name, existing in reversed(list(current.items())):
        if name not in goal.resources:
            changes.append(
                Change(
                    "Remove",
                    name,
                    existing.type,
                    existing.physical_id,
                    policy_action="Delete",
                    shown_before=existing.shown,
                )
            )
    return changes


def _new(fate: Change | None, name: str, current: Mapping[str, Current]) -> bool:
    return name not in current or (fate is not None and fate.replacement in ("True", "Conditional"))


def _fate(
    declared: Declared,
    kind: ResourceType,
    properties: Mapping[str, Any],
    masked: Mapping[str, Any],
    existing: Current | None,
    *,
    tags_changed: bool,
) -> Change | None:
    name = declared.logical_id
    if existing is None:
        return Change("Add", name, declared.type, shown_after=masked, declared=declared.properties)
    if existing.type != declared.type:
        raise ValidationError(
            f"Update of resource type is not permitted. The new template modifies resource type of the "
            f"following resources: [{name}]"
        )
    differences = compare(kind, existing.properties, properties)
    tags = tags_changed and "Tags" in kind.properties
    if not differences and not tags:
        return None
    replacing = [item for item in differences if item.update == "replace"]
    replacement: Literal["True", "False", "Conditional"] = "False"
    if replacing:
        replacement = "Conditional" if all(item.dynamic for item in replacing) else "True"
    return Change(
        "Modify",
        name,
        declared.type,
        existing.physical_id,
        replacement,
        differences,
        tags,
        "ReplaceAndDelete" if replacement == "True" else "",
        existing.shown,
        masked,
        declared.properties,
        existing.declared,
    )


def described(change: Change, changed_parameters: frozenset[str], *, values: bool) -> dict[str, Any]:
    """One change as DescribeChangeSet answers it; `values` adds those before and after."""
    body: dict[str, Any] = {
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "ResourceType": change.type,
        "Scope": [],
        "Details": [],
    }
    if change.policy_action:
        body["PolicyAction"] = change.policy_action
    if change.physical_id:
        body["PhysicalResourceId"] = change.physical_id
    if change.action == "Modify":
        body["Replacement"] = change.replacement
        body["Scope"] = ["Properties"] * bool(change.differences) + ["Tags"] * change.tags
        for difference in change.differences:
            body["Details"].extend(_details(change, difference, changed_parameters, values=values))
        if change.tags:
            body["Details"].append(
                {
                    "Target": {"Attribute": "Tags", "RequiresRecreation": "Never"},
                    "Evaluation": "Static",
                    "ChangeSource": "DirectModification",
                }
            )
    if values:
        if change.action != "Add":
            body["BeforeContext"] = json.dumps({"Properties": change.shown_before}, sort_keys=True)
        if change.action != "Remove":
            body["AfterContext"] = json.dumps({"Properties": change.shown_after}, sort_keys=True)
    return {"Type": "Resource", "ResourceChange": body}


def _details(
    change: Change, difference: Difference, changed_parameters: frozenset[str], *, values: bool
) -> list[dict[str, Any]]:
    recreation = "Never"
    if difference.update == "replace":
        recreation = "Conditionally" if difference.dynamic else "Always"
    elif difference.update == "interrupt":
        recreation = "Conditionally"
    target: dict[str, Any] = {
        "Attribute": "Properties",
        "Name": difference.name,
        "RequiresRecreation": recreation,
        "AttributeChangeType": difference.kind,
        "Path": f"/Properties/{difference.name}",
    }
    if values:
        if difference.kind != "Add":
            target["BeforeValue"] = _value(change.shown_before.get(difference.name))
        if difference.kind != "Remove":
            target["AfterValue"] = _value(change.shown_after.get(difference.name))
    evaluation = "Dynamic" if difference.dynamic else "Static"
    details: list[dict[str, Any]] = []
    for source, entity in _sources(change, difference, changed_parameters):
        detail: dict[str, Any] = {"Target": target, "Evaluation": evaluation, "ChangeSource": source}
        if entity:
            detail["CausingEntity"] = entity
        details.append(detail)
    return details


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _sources(change: Change, difference: Difference, changed_parameters: frozenset[str]) -> list[tuple[str, str]]:
    declared = change.declared.get(difference.name)
    found: list[tuple[str, str]] = []
    if declared != change.declared_before.get(difference.name):
        found.append(("DirectModification", ""))
    for name, attribute in dict.fromkeys(names_in(declared)):
        if name in changed_parameters:
            found.append(("ParameterReference", name))
        elif difference.dynamic and attribute:
            found.append(("ResourceAttribute", f"{name}.{attribute}"))
        elif difference.dynamic and "::" not in name:
            found.append(("ResourceReference", name))
    return found or [("DirectModification", "")]
