# SPDX-License-Identifier: Apache-2.0
"""Parameters of a template: declarations, values, constraints. Pure but for `check_patterns`.

Source: AWS CloudFormation User Guide, "Parameters section".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.kinds import is_list, is_map
from cloudchamber.services.cloudformation.patterns import matches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VALUE_MAX_BYTES = 4096
MASK = "****"
_SSM = "AWS::SSM::Parameter::Value<"
_MEMBERS = frozenset(
    {
        "Type",
        "Default",
        "Description",
        "NoEcho",
        "AllowedValues",
        "AllowedPattern",
        "ConstraintDescription",
        "MinLength",
        "MaxLength",
        "MinValue",
        "MaxValue",
    }
)
_AWS_TYPES = frozenset(
    {
        "AWS::EC2::AvailabilityZone::Name",
        "AWS::EC2::Image::Id",
        "AWS::EC2::Instance::Id",
        "AWS::EC2::KeyPair::KeyName",
        "AWS::EC2::SecurityGroup::GroupName",
        "AWS::EC2::SecurityGroup::Id",
        "AWS::EC2::Subnet::Id",
        "AWS::EC2::VPC::Id",
        "AWS::EC2::Volume::Id",
        "AWS::Route53::HostedZone::Id",
    }
)
_TYPES = frozenset({"String", "Number", "List<Number>", "CommaDelimitedList", "AWS::SSM::Parameter::Name"}) | {
    form for name in _AWS_TYPES for form in (name, f"List<{name}>")
}
_SSM_TYPES = frozenset({"String", "List<String>", "CommaDelimitedList"}) | {
    form for name in _AWS_TYPES for form in (name, f"List<{name}>")
}


@dataclass(frozen=True, slots=True)
class Value:
    """One parameter's value: what was given, and for SSM types what it stands for."""

    given: str
    resolved: str = ""


def check_declarations(parameters: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse declarations with unknown members or types.

    Raises:
        ValidationError: the member or the type, by name.
    """
    for name, declared in parameters.items():
        unknown = sorted(set(declared) - _MEMBERS)
        if unknown:
            raise ValidationError(f"Invalid template parameter property '{unknown[0]}'")
        kind = declared.get("Type")
        if not isinstance(kind, str):
            raise ValidationError(
                f"Template format error: Every Parameters object must contain a Type member. ({name})"
            )
        inner = kind[len(_SSM) : -1] if kind.startswith(_SSM) and kind.endswith(">") else None
        if kind not in _TYPES and inner not in _SSM_TYPES:
            raise ValidationError(f"Template format error: Unrecognized parameter type: {kind}")
        _check_constraints(name, declared)


def _check_constraints(name: str, declared: Mapping[str, Any]) -> None:
    for member in ("MinLength", "MaxLength", "MinValue", "MaxValue"):
        if member in declared and not _is_number(declared[member], whole=member.endswith("Length")):
            raise ValidationError(f"Template format error: {member} of parameter {name} must be a number.")
    for member in ("AllowedPattern", "ConstraintDescription", "Description"):
        if member in declared and not isinstance(declared[member], str):
            raise ValidationError(f"Template format error: {member} of parameter {name} must be a string.")
    allowed = declared.get("AllowedValues")
    if "AllowedValues" in declared and (not is_list(allowed) or any(is_list(v) or is_map(v) for v in allowed)):
        raise ValidationError(f"Template format error: AllowedValues of parameter {name} must be a list of strings.")


def _is_number(value: Any, *, whole: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return False
    try:
        number = float(value)
    except ValueError:
        return False
    return math.isfinite(number) and (not whole or str(value).isdecimal())


def is_ssm(declared: Mapping[str, Any]) -> bool:
    """Whether the value names an SSM parameter whose value is meant."""
    return str(declared.get("Type", "")).startswith(_SSM)


def is_secret(declared: Mapping[str, Any]) -> bool:
    """Whether the value is masked wherever it is shown."""
    return declared.get("NoEcho") in (True, "true", "True")


def choose(
    parameters: Mapping[str, Mapping[str, Any]],
    given: Sequence[Mapping[str, Any]],
    previous: Mapping[str, Value],
) -> dict[str, str]:
    """The text of every parameter: given, previous, or default; constraints checked.

    Raises:
        ValidationError: unknown or missing ones, by name, or a constraint that does not hold.
    """
    asked: dict[str, str] = {}
    for item in given:
        name = item.get("ParameterKey", "")
        if item.get("UsePreviousValue"):
            if name not in previous:
                raise ValidationError(
                    f"Invalid input for parameter key {name}. Cannot specify usePreviousValue as true for a parameter "
                    "key not in the previous template"
                )
            asked[name] = previous[name].given
        else:
            asked[name] = item.get("ParameterValue", "")
    unknown = [name for name in asked if name not in parameters]
    if unknown:
        raise ValidationError(f"Parameters: [{', '.join(unknown)}] do not exist in the template")
    values = {
        name: asked[name] if name in asked else _scalar(declared["Default"])
        for name, declared in parameters.items()
        if name in asked or declared.get("Default") is not None
    }
    missing = [name for name in parameters if name not in values]
    if missing:
        raise ValidationError(f"Parameters: [{', '.join(missing)}] must have values")
    for name, text in values.items():
        _check(name, parameters[name], text)
    return values


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        raise ValidationError("Template format error: Every Default member must be a string.")
    return str(value)


def _check(name: str, declared: Mapping[str, Any], text: str) -> None:
    if len(text.encode()) > VALUE_MAX_BYTES:
        raise ValidationError(f"Parameter '{name}' must contain at most {VALUE_MAX_BYTES} bytes")
    problem = _problem(declared, text)
    if problem:
        raise _unsatisfied(name, declared, problem)


def _unsatisfied(name: str, declared: Mapping[str, Any], problem: str) -> ValidationError:
    described = declared.get("ConstraintDescription")
    if described and not problem.startswith("must be one of"):
        return ValidationError(f"Parameter '{name}' failed to satisfy constraint: {described}")
    return ValidationError(f"Parameter '{name}' {problem}")


async def check_patterns(parameters: Mapping[str, Mapping[str, Any]], values: Mapping[str, str]) -> None:
    """Check values against `AllowedPattern`.

    Raises:
        ValidationError: the first that does not match.
    """
    checks = [
        (name, str(declared["AllowedPattern"]), item)
        for name, declared in parameters.items()
        if declared.get("AllowedPattern") is not None
        for item in (_items(values[name]) if _several(str(declared["Type"])) else [values[name]])
    ]
    for (name, pattern, _), matched in zip(checks, await matches([c[1:] for c in checks]), strict=True):
        if not matched:
            raise _unsatisfied(name, parameters[name], f"must match pattern {pattern}")


def _several(kind: str) -> bool:
    return kind.startswith("List<") or kind == "CommaDelimitedList"


def _problem(declared: Mapping[str, Any], text: str) -> str:
    kind = str(declared["Type"])
    items = _items(text) if _several(kind) else [text]
    if kind in ("Number", "List<Number>"):
        for item in items:
            problem = _number_problem(declared, item)
            if problem:
                return problem
    allowed = declared.get("AllowedValues")
    if allowed is not None:
        if not is_list(allowed):
            raise ValidationError("Template format error: AllowedValues must be a list.")
        names = [_scalar(item) for item in allowed]
        if any(item not in names for item in items):
            return f"must be one of AllowedValues: [{', '.join(names)}]"
    if "MinLength" in declared and len(text) < int(declared["MinLength"]):
        return f"must contain at least {declared['MinLength']} characters"
    if "MaxLength" in declared and len(text) > int(declared["MaxLength"]):
        return f"must contain at most {declared['MaxLength']} characters"
    return ""


def _number_problem(declared: Mapping[str, Any], text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return "must be a number"
    if "MinValue" in declared and number < float(declared["MinValue"]):
        return f"must be a number not less than {declared['MinValue']}"
    if "MaxValue" in declared and number > float(declared["MaxValue"]):
        return f"must be a number not greater than {declared['MaxValue']}"
    return ""


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text else []


def meaning(declared: Mapping[str, Any], value: Value) -> Any:
    """What `Ref` of the parameter gives: text, a number, or a list."""
    kind = str(declared["Type"])
    text = value.given
    if kind.startswith(_SSM):
        kind, text = kind[len(_SSM) : -1], value.resolved
    if kind == "CommaDelimitedList" or (kind.startswith("List<") and kind != "List<Number>"):
        return _items(text)
    if kind == "List<Number>":
        return [_number(item) for item in _items(text)]
    return _number(text) if kind == "Number" else text


def _number(text: str) -> Any:
    # Why: what would print differently ("010", "1e3") stays the text it was.
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if str(number) == text:
            return number
    return text


def masked(declared: Mapping[str, Any], value: Value) -> Any:
    """`meaning`, with the values of `NoEcho` parameters hidden."""
    return MASK if is_secret(declared) else meaning(declared, value)


def shown(parameters: Mapping[str, Mapping[str, Any]], values: Mapping[str, Value]) -> list[dict[str, Any]]:
    """The values as DescribeStacks answers them."""
    answer: list[dict[str, Any]] = []
    for name, value in values.items():
        hide = is_secret(parameters.get(name, {}))
        row: dict[str, Any] = {"ParameterKey": name, "ParameterValue": MASK if hide else value.given}
        if value.resolved:
            row["ResolvedValue"] = MASK if hide else value.resolved
        answer.append(row)
    return answer
