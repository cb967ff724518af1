# SPDX-License-Identifier: Apache-2.0
"""Which resource needs which, in what order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.intrinsics import PSEUDO, condition, function_of, getatt_names, sub_names
from cloudchamber.services.cloudformation.kinds import is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudchamber.services.cloudformation.intrinsics import Scope
    from cloudchamber.services.cloudformation.template import Declared, Template


def names_in(value: Any, scope: Scope | None = None) -> Iterator[tuple[str, str]]:
    """Names that a value refers to, with the attribute where it is a GetAtt: ``("Db", "Endpoint.Address")``.

    With a `scope`, only the branch of each `Fn::If` that is taken counts.
    """
    if is_list(value):
        for item in value:
            yield from names_in(item, scope)
    if not is_map(value):
        return
    name = function_of(value)
    argument = value.get(name)
    if name == "Ref" and isinstance(argument, str):
        yield argument, ""
    elif name == "Fn::GetAtt":
        logical_id, attribute = getatt_names(argument)
        yield logical_id, attribute if isinstance(attribute, str) else ""
        yield from names_in(attribute, scope)
    elif name == "Fn::Sub":
        for text in sub_names(argument):
            first, _, attribute = text.partition(".")
            yield (text, "") if "::" in text else (first, attribute)
        yield from names_in(argument[1:] if is_list(argument) else None, scope)
    elif name == "Fn::If" and scope is not None and is_list(argument) and len(argument) == 3:
        yield from names_in(argument[1] if condition(str(argument[0]), scope) else argument[2], scope)
    else:
        for item in value.values():
            yield from names_in(item, scope)


def active(template: Template, scope: Scope) -> dict[str, Declared]:
    """The resources whose conditions hold."""
    return {
        name: declared
        for name, declared in template.resources.items()
        if not declared.condition or condition(declared.condition, scope)
    }


def check_names(template: Template) -> None:
    """Refuse references to what the template does not declare.

    Raises:
        ValidationError: names that are neither resources nor parameters, by block.
    """
    known = set(template.resources) | set(template.parameters) | PSEUDO
    missing: dict[str, None] = {}
    for declared in template.resources.values():
        missing.update(dict.fromkeys(name for name, _ in names_in(declared.properties) if name not in known))
        missing.update(dict.fromkeys(name for name in declared.depends_on if name not in template.resources))
        if declared.condition and declared.condition not in template.conditions:
            raise ValidationError(
                f"Template format error: Condition {declared.condition} of resource {declared.logical_id} is not "
                "defined"
            )
    _refuse_missing(missing, "Resources")
    missing = {}
    for output in template.outputs.values():
        missing.update(dict.fromkeys(n for n, _ in names_in([output.value, output.export]) if n not in known))
    _refuse_missing(missing, "Outputs")
    _check_conditions(template)
    allowed = set(template.parameters) | PSEUDO
    for name, value in template.conditions.items():
        for used, _ in names_in(value):
            if used not in allowed:
                raise ValidationError(
                    f"Template error: Unresolved dependencies [{used}]. Cannot reference resources in the Conditions "
                    f"block of the template ({name})"
                )


def _check_conditions(template: Template) -> None:
    """Refuse conditions that need themselves, round some circle; evaluation relies on there being none."""
    waiting = {
        name: frozenset(_conditions_in(value)) & set(template.conditions) for name, value in template.conditions.items()
    }
    placed: set[str] = set()
    while waiting:
        ready = [name for name, needed in waiting.items() if needed <= placed]
        if not ready:
            circle = ", ".join(_circle(waiting))
            raise ValidationError(f"Template format error: Circular dependency between conditions: [{circle}]")
        placed.update(ready)
        for name in ready:
            del waiting[name]


def _conditions_in(value: Any) -> Iterator[str]:
    if is_list(value):
        for item in value:
            yield from _conditions_in(item)
    if not is_map(value):
        return
    for key, item in value.items():
        if key == "Condition" and isinstance(item, str):
            yield item
        elif key == "Fn::If" and is_list(item) and item and isinstance(item[0], str):
            yield item[0]
        yield from _conditions_in(item)


def _refuse_missing(missing: Mapping[str, None], block: str) -> None:
    if missing:
        raise ValidationError(
            f"Template format error: Unresolved resource dependencies [{', '.join(missing)}] in the {block} block of "
            "the template"
        )


def edges(resources: Mapping[str, Declared], scope: Scope, template: Template) -> dict[str, frozenset[str]]:
    """For each active resource the resources that it needs.

    Raises:
        ValidationError: it needs a resource whose condition does not hold, or itself, round some circle.
    """
    found: dict[str, frozenset[str]] = {}
    missing: dict[str, None] = {}
    for name, declared in resources.items():
        used = [used for used, _ in names_in(declared.properties, scope) if used in template.resources]
        missing.update(dict.fromkeys(item for item in used if item not in resources))
        # Why: DependsOn on a resource that is off is no error; CloudFormation drops it.
        needed = {*used, *(item for item in declared.depends_on if item in resources)}
        found[name] = frozenset(needed & set(resources))
    _refuse_missing(missing, "Resources")
    order(found)
    return found


def order(needs: Mapping[str, frozenset[str]]) -> list[str]:
    """A sequence in which everything comes after what it needs; declared order where nothing decides.

    Raises:
        ValidationError: the members of a circle, named.
    """
    placed: dict[str, None] = {}
    waiting = dict(needs)
    while waiting:
        ready = [name for name, needed in waiting.items() if all(item in placed for item in needed)]
        if not ready:
            raise ValidationError(f"Circular dependency between resources: [{', '.join(_circle(waiting))}]")
        for name in ready:
            placed[name] = None
            del waiting[name]
    return list(placed)


def _circle(waiting: Mapping[str, frozenset[str]]) -> list[str]:
    path: list[str] = []
    name = next(iter(waiting))
    while name not in path:
        path.append(name)
        name = next(item for item in sorted(waiting[name]) if item in waiting)
    return sorted(path[path.index(name) :])
