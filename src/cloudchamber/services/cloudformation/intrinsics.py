# SPDX-License-Identifier: Apache-2.0
"""Intrinsic functions, conditions and rules. Pure.

What is not known before it is made (the id of a new instance) is `UNKNOWN`, CloudFormation's own words for it in
change sets; every function hands it on.
Source: AWS CloudFormation User Guide, "Intrinsic function reference", "Rules syntax reference".
"""

from __future__ import annotations

import base64
import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.kinds import is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

UNKNOWN = "{{changeSet:KNOWN_AFTER_APPLY}}"
PSEUDO = frozenset(
    {
        "AWS::AccountId",
        "AWS::NoValue",
        "AWS::NotificationARNs",
        "AWS::Partition",
        "AWS::Region",
        "AWS::StackId",
        "AWS::StackName",
        "AWS::URLSuffix",
    }
)
# Why `$` only after the mark: ``${!name:-$(command)}`` is a shell's text, kept as it is but for the mark.
_IN_SUB = re.compile(r"\$\{(?:!(?P<literal>[^{}]*)|(?P<name>[^${}]+))\}")
_REFUSED = {
    "Fn::Transform": "macros",
    "Fn::ForEach": "AWS::LanguageExtensions",
    "Fn::Length": "AWS::LanguageExtensions",
    "Fn::ToJsonString": "AWS::LanguageExtensions",
    "Fn::RefAll": "parameters of resource types in rules",
    "Fn::ValueOf": "parameter attributes in rules",
    "Fn::ValueOfAll": "parameter attributes in rules",
}
TEXT_MAX = 1_000_000


class _NoValue:
    """What ``!Ref AWS::NoValue`` gives: the property is not there."""


NO_VALUE = _NoValue()


def nothing_yet(logical_id: str) -> Any:
    """A resource that does not exist yet."""
    return UNKNOWN


def no_attribute_yet(logical_id: str, attribute: str) -> Any:
    """An attribute of a resource that does not exist yet."""
    return UNKNOWN


def no_export(name: str) -> str:
    """Nobody exports anything."""
    raise ValidationError(f"No export named {name} found.")


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean while values are resolved."""

    parameters: Mapping[str, Any]
    pseudo: Mapping[str, Any]
    mappings: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict[str, Any])
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])
    resources: frozenset[str] = frozenset()
    zones: tuple[str, ...] = ()
    ref: Callable[[str], Any] = nothing_yet
    attribute: Callable[[str, str], Any] = no_attribute_yet
    export: Callable[[str], str] = no_export


def resolve(value: Any, scope: Scope) -> Any:
    """`value` with every function evaluated; members that became NoValue are left out.

    Raises:
        ValidationError: a function is wrong, unknown or not supported.
    """
    if is_map(value):
        name = function_of(value)
        if name:
            return _call(name, value[name], scope)
        resolved = {key: resolve(item, scope) for key, item in value.items()}
        return {key: item for key, item in resolved.items() if item is not NO_VALUE}
    if is_list(value):
        items = [resolve(item, scope) for item in value]
        return [item for item in items if item is not NO_VALUE]
    if value is None:
        raise ValidationError("Template format error: 'null' values are not allowed in templates")
    return value


def function_of(value: Mapping[str, Any]) -> str:
    """The function that a mapping of one member stands for, or nothing."""
    if len(value) == 1:
        (key,) = value
        if key == "Ref" or key.startswith("Fn::"):
            return key
        if key == "Condition" and isinstance(value[key], str):
            return key
    return ""


def knows(value: Any) -> bool:
    """Whether a resolved value has nothing unknown in it."""
    if isinstance(value, str):
        return UNKNOWN not in value
    if is_map(value):
        return all(knows(item) for item in value.values())
    if is_list(value):
        return all(knows(item) for item in value)
    return True


def holds(value: Any, scope: Scope, busy: tuple[str, ...] = ()) -> bool:
    """Whether a condition holds.

    Raises:
        ValidationError: it is no condition, names one that does not exist, or goes round in a circle.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in ("true", "false"):
        return value == "true"
    name = function_of(value) if is_map(value) else ""
    argument: Any = value[name] if is_map(value) and name else None
    if name == "Condition":
        return condition(str(argument), scope, busy)
    if name == "Fn::Equals":
        left, right = _arguments(name, argument, 2)
        return _text(resolve(left, scope)) == _text(resolve(right, scope))
    if name == "Fn::Not":
        (inner,) = _arguments(name, argument, 1)
        return not holds(inner, scope, busy)
    if name in ("Fn::And", "Fn::Or"):
        if not is_list(argument) or not 2 <= len(argument) <= 10:
            raise ValidationError(
                f"Template error: every {name} object requires a list of 2 to 10 condition parameters"
            )
        parts = [holds(item, scope, busy) for item in argument]
        return all(parts) if name == "Fn::And" else any(parts)
    if name in ("Fn::Contains", "Fn::EachMemberIn", "Fn::EachMemberEquals"):
        return _among(name, argument, scope)
    if name in _REFUSED:
        raise _refused(name)
    raise ValidationError(
        "Template format error: Conditions can only be boolean operations on parameters and conditions"
    )


def condition(name: str, scope: Scope, busy: tuple[str, ...] = ()) -> bool:
    """Whether the named condition of the template holds."""
    if name not in scope.conditions:
        raise ValidationError(f"Template error: unresolved condition dependency {name} in the Conditions block")
    if name in busy:
        raise ValidationError(f"Template format error: Circular dependency between conditions: [{', '.join(busy)}]")
    return holds(scope.conditions[name], scope, (*busy, name))


def check_rules(rules: Mapping[str, Any], scope: Scope) -> None:
    """Evaluate the Rules section.

    Raises:
        ValidationError: an assertion failed, with its description.
    """
    failed: list[str] = []
    for name, rule in rules.items():
        if "RuleCondition" in rule and not holds(rule["RuleCondition"], scope):
            continue
        assertions: Any = rule.get("Assertions") or []
        if not is_list(assertions):
            raise ValidationError(f"Template format error: Assertions of rule {name} must be a list")
        for assertion in assertions:
            if not is_map(assertion) or "Assert" not in assertion:
                raise ValidationError(f"Template format error: every assertion of rule {name} must contain an Assert")
            if not holds(assertion["Assert"], scope):
                failed.append(f"{assertion.get('AssertDescription') or 'Assertion failed'} (rule {name})")
    if failed:
        raise ValidationError(f"Template validation error: {'; '.join(failed)}")


def _among(name: str, argument: Any, scope: Scope) -> bool:
    left, right = (resolve(item, scope) for item in _arguments(name, argument, 2))
    if not is_list(left):
        raise ValidationError(f"Template error: {name} requires a list as its first argument")
    if name == "Fn::Contains":
        return _text(right) in [_text(item) for item in left]
    if name == "Fn::EachMemberEquals":
        return all(_text(item) == _text(right) for item in left)
    return is_list(right) and {_text(i) for i in left} <= {_text(i) for i in right}


def _arguments(name: str, value: Any, count: int) -> list[Any]:
    if not is_list(value) or len(value) != count:
        raise ValidationError(f"Template error: every {name} object requires a list of {count} parameters")
    return value


def _text(value: Any) -> Any:
    """A scalar as CloudFormation compares and joins it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


def _refused(name: str) -> ValidationError:
    return ValidationError(f"Template error: {name} is not supported here ({_REFUSED[name]})")


def _call(name: str, argument: Any, scope: Scope) -> Any:
    if name in _REFUSED:
        raise _refused(name)
    function = _TABLE.get(name)
    if function is None:
        raise ValidationError(f"Template error: unknown intrinsic function {name}")
    return function(argument, scope)


def _ref(argument: Any, scope: Scope) -> Any:
    if not isinstance(argument, str):
        raise ValidationError("Template format error: Every Ref object must have a single String value.")
    if argument == "AWS::NoValue":
        return NO_VALUE
    if argument in scope.pseudo:
        return scope.pseudo[argument]
    if argument in scope.parameters:
        return scope.parameters[argument]
    if argument in scope.resources:
        return scope.ref(argument)
    raise ValidationError(
        f"Template format error: Unresolved resource dependencies [{argument}] in the Resources block of the template"
    )


def _get_att(argument: Any, scope: Scope) -> Any:
    logical_id, attribute = getatt_names(argument)
    attribute = _text(resolve(attribute, scope))
    if not isinstance(attribute, str):
        raise ValidationError("Template error: the attribute of Fn::GetAtt must be a string")
    if logical_id not in scope.resources:
        raise ValidationError(
            "Template error: instance of Fn::GetAtt references undefined resource " + logical_id,
        )
    return scope.attribute(logical_id, attribute)


def getatt_names(argument: Any) -> tuple[str, Any]:
    """Logical id and attribute of a GetAtt, from its text or its list."""
    parts = argument.split(".", 1) if isinstance(argument, str) else argument
    if not is_list(parts) or len(parts) < 2 or not isinstance(parts[0], str):
        raise ValidationError(
            "Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the "
            "resource attribute"
        )
    return parts[0], parts[1] if len(parts) == 2 else ".".join(str(part) for part in parts[1:])


def _sub(argument: Any, scope: Scope) -> str:
    text, names = sub_parts(argument)
    local = {name: resolve(value, scope) for name, value in names.items()}

    def one(match: re.Match[str]) -> str:
        if match["literal"] is not None:
            return "${" + match["literal"] + "}"
        name = match["name"].strip()
        if name in local:
            value = local[name]
        elif "." in name and name not in scope.parameters:
            value = _get_att(name, scope)
        else:
            value = _ref(name, scope)
        if is_list(value):
            value = ",".join(str(_text(item)) for item in value)
        if is_map(value) or value is NO_VALUE:
            raise ValidationError(f"Template error: variable {name} in Fn::Sub expression does not resolve to a string")
        return str(_text(value))

    return _bounded(_IN_SUB.sub(one, text))


def sub_parts(argument: Any) -> tuple[str, Mapping[str, Any]]:
    """Text and own variables of a Sub, from either form."""
    if isinstance(argument, str):
        return argument, {}
    if is_list(argument) and len(argument) == 2 and isinstance(argument[0], str) and is_map(argument[1]):
        return argument[0], argument[1]
    raise ValidationError(
        "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string "
        "as first argument, and an optional second argument to specify a mapping of values to replace in the string"
    )


def sub_names(argument: Any) -> Iterator[str]:
    """Names that a Sub takes from the template: ``Bucket``, ``Db.Endpoint.Address``."""
    text, names = sub_parts(argument)
    for match in _IN_SUB.finditer(text):
        name = (match["name"] or "").strip()
        if name and name not in names:
            yield name


def _join(argument: Any, scope: Scope) -> Any:
    separator, items = _arguments("Fn::Join", argument, 2)
    resolved = resolve(items, scope)
    if resolved == UNKNOWN:
        return UNKNOWN
    if not isinstance(separator, str) or not is_list(resolved):
        raise ValidationError(
            "Template error: every Fn::Join object requires two parameters, (1) a string delimiter and (2) a list of "
            "strings to be joined or a function that returns a list of strings (such as Fn::GetAZs) to be joined."
        )
    return _bounded(separator.join(str(_text(item)) for item in resolved))


def _bounded(text: str) -> str:
    if len(text) > TEXT_MAX:
        raise ValidationError("Template error: a resolved value is longer than 1,000,000 characters")
    return text


def _select(argument: Any, scope: Scope) -> Any:
    index, items = _arguments("Fn::Select", argument, 2)
    index, items = resolve(index, scope), resolve(items, scope)
    if items == UNKNOWN or index == UNKNOWN:
        return UNKNOWN
    if not is_list(items):
        raise ValidationError("Template error: Fn::Select requires a list argument with two elements")
    try:
        number = int(index)
    except (TypeError, ValueError):
        raise ValidationError("Template error: Fn::Select requires an integer index") from None
    if not 0 <= number < len(items):
        raise ValidationError(f"Template error: Fn::Select cannot select nonexistent value at index {number}")
    return items[number]


def _split(argument: Any, scope: Scope) -> Any:
    separator, text = _arguments("Fn::Split", argument, 2)
    text = resolve(text, scope)
    if not isinstance(separator, str) or not separator or not isinstance(text, (str, int, float)):
        raise ValidationError(
            "Template error: every Fn::Split object requires two parameters, (1) a string delimiter and (2) a string "
            "to be split or a function that returns a string to be split."
        )
    # Why: how many parts an unknown text has is unknown too, so that Select of it stays unknown.
    return UNKNOWN if not knows(text) else str(_text(text)).split(separator)


def _find_in_map(argument: Any, scope: Scope) -> Any:
    name, top, second = (_text(resolve(item, scope)) for item in _arguments("Fn::FindInMap", argument, 3))
    try:
        return scope.mappings[name][top][second]
    except (KeyError, TypeError):
        raise ValidationError(f"Template error: Unable to get mapping for {name}::{top}::{second}") from None


def _if(argument: Any, scope: Scope) -> Any:
    name, yes, no = _arguments("Fn::If", argument, 3)
    if not isinstance(name, str):
        raise ValidationError("Template error: Fn::If requires the name of a condition as its first argument")
    return resolve(yes if condition(name, scope) else no, scope)


def _base64(argument: Any, scope: Scope) -> Any:
    value = resolve(argument, scope)
    if not isinstance(value, (str, int, float)):
        raise ValidationError("Template error: every Fn::Base64 object must have a String-typed value.")
    if not knows(value):
        return UNKNOWN
    return base64.b64encode(str(_text(value)).encode()).decode()


def _get_azs(argument: Any, scope: Scope) -> Any:
    region = resolve(argument, scope)
    if region not in ("", None, scope.pseudo.get("AWS::Region")):
        raise ValidationError(
            f"Template error: Fn::GetAZs of {region} is not supported here; the chamber is one region"
        )
    return list(scope.zones)


def _import_value(argument: Any, scope: Scope) -> Any:
    name = resolve(argument, scope)
    if not isinstance(name, str):
        raise ValidationError("Template error: every Fn::ImportValue object must have a String-typed value.")
    return scope.export(name)


def _cidr(argument: Any, scope: Scope) -> Any:
    values = resolve(argument, scope)
    if not is_list(values) or len(values) not in (2, 3):
        raise ValidationError("Template error: Fn::Cidr requires an ipBlock, a count and optionally cidrBits")
    if not knows(values):
        return UNKNOWN
    try:
        block = ipaddress.ip_network(str(values[0]))
        count, bits = int(values[1]), int(values[2]) if len(values) == 3 else 8
        prefix = block.max_prefixlen - bits
        if not 1 <= count <= 256 or prefix < block.prefixlen:
            raise ValueError
        first, step = int(block.network_address), 1 << bits
        if count * step > block.num_addresses:
            raise ValueError
        return [f"{ipaddress.ip_address(first + i * step)}/{prefix}" for i in range(count)]
    except ValueError:
        raise ValidationError(f"Template error: Fn::Cidr cannot make {values[1]} ranges of {values[0]}") from None


def _condition_value(argument: Any, scope: Scope) -> Any:
    # Why: policy documents have a member "Condition" too, but never as their only member with a text.
    if argument in scope.conditions:
        return condition(argument, scope)
    return {"Condition": argument}


_TABLE: dict[str, Callable[[Any, Scope], Any]] = {
    "Ref": _ref,
    "Fn::GetAtt": _get_att,
    "Fn::Sub": _sub,
    "Fn::Join": _join,
    "Fn::Select": _select,
    "Fn::Split": _split,
    "Fn::FindInMap": _find_in_map,
    "Fn::If": _if,
    "Fn::Base64": _base64,
    "Fn::GetAZs": _get_azs,
    "Fn::ImportValue": _import_value,
    "Fn::Cidr": _cidr,
    "Condition": _condition_value,
    "Fn::Equals": lambda a, s: holds({"Fn::Equals": a}, s),
    "Fn::And": lambda a, s: holds({"Fn::And": a}, s),
    "Fn::Or": lambda a, s: holds({"Fn::Or": a}, s),
    "Fn::Not": lambda a, s: holds({"Fn::Not": a}, s),
}
