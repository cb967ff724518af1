# SPDX-License-Identifier: Apache-2.0
"""What a template says: its sections, checked for form. Pure.

Source: AWS CloudFormation User Guide, "Template sections" and "Resource attribute reference".
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.kinds import is_list, is_map
from cloudchamber.services.cloudformation.reading import read

if TYPE_CHECKING:
    from collections.abc import Mapping

INLINE_MAX_BYTES = 51_200
URL_MAX_BYTES = 1_048_576
RESOURCES_MAX = 500
SERVERLESS = "AWS::Serverless-2016-10-31"
_SECTIONS = frozenset(
    {
        "AWSTemplateFormatVersion",
        "Description",
        "Metadata",
        "Parameters",
        "Rules",
        "Mappings",
        "Conditions",
        "Transform",
        "Resources",
        "Outputs",
    }
)
_ATTRIBUTES = frozenset(
    {"Type", "Properties", "DependsOn", "Condition", "DeletionPolicy", "UpdateReplacePolicy", "Metadata"}
)
_REFUSED_ATTRIBUTES = frozenset({"CreationPolicy", "UpdatePolicy"})
_POLICIES = frozenset({"Delete", "Retain", "Snapshot", "RetainExceptOnCreate"})
_LOGICAL_ID = re.compile(r"[A-Za-z0-9]{1,255}")


@dataclass(frozen=True, slots=True)
class Declared:
    """One resource as the template declares it; `properties` still hold intrinsic functions."""

    logical_id: str
    type: str
    properties: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    condition: str = ""
    deletion_policy: str = "Delete"
    update_replace_policy: str = "Delete"
    metadata: Any = None


@dataclass(frozen=True, slots=True)
class Output:
    """One output; `value` and `export` still hold intrinsic functions."""

    name: str
    value: Any
    description: str = ""
    export: Any = None
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A template. `body` is everything as it was read."""

    body: Mapping[str, Any]
    description: str
    parameters: Mapping[str, Mapping[str, Any]]
    mappings: Mapping[str, Mapping[str, Mapping[str, Any]]]
    conditions: Mapping[str, Any]
    rules: Mapping[str, Any]
    transforms: tuple[str, ...]
    resources: Mapping[str, Declared]
    outputs: Mapping[str, Output] = field(default_factory=dict[str, Output])
    metadata: Any = None


def parse(text: str) -> Template:
    """Read a template from its text.

    Raises:
        ValidationError: what is wrong with its form, in CloudFormation's words.
    """
    return shape(read(text))


def shape(body: Mapping[str, Any]) -> Template:
    """Check the sections of a template that was read.

    Raises:
        ValidationError: an unknown section, an attribute that is not supported, a wrong structure.
    """
    transforms = _transforms(body.get("Transform"))
    serverless = SERVERLESS in transforms
    unknown = sorted(set(body) - _SECTIONS - ({"Globals"} if serverless else set()))
    if unknown:
        raise ValidationError(f"Invalid template property or properties [{', '.join(unknown)}]")
    version = body.get("AWSTemplateFormatVersion", "2010-09-09")
    if version != "2010-09-09":
        raise ValidationError("Template format error: Invalid value for version")
    description = body.get("Description") or ""
    if not isinstance(description, str):
        raise ValidationError("Template format error: Description must be a string.")
    if len(description.encode()) > 1024:
        raise ValidationError("Template format error: 'Description' length is greater than 1024.")
    resources = _section(body, "Resources")
    if not resources:
        raise ValidationError("Template format error: At least one Resources member must be defined.")
    if len(resources) > RESOURCES_MAX:
        raise ValidationError(
            f"Template format error: Number of resources, {len(resources)}, is greater than maximum allowed, "
            f"{RESOURCES_MAX}"
        )
    return Template(
        body,
        description,
        {name: _entry("Parameters", name, value) for name, value in _section(body, "Parameters").items()},
        _mappings(_section(body, "Mappings")),
        _section(body, "Conditions"),
        {name: _entry("Rules", name, value) for name, value in _section(body, "Rules").items()},
        transforms,
        {name: _declared(name, value, serverless=serverless) for name, value in resources.items()},
        {name: _output(name, value) for name, value in _section(body, "Outputs").items()},
        body.get("Metadata"),
    )


def _section(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not is_map(value):
        raise ValidationError(f"Template format error: [/{name}] must be an object.")
    for key in value:
        # Why: Globals and the like never get here; logical ids are letters and digits only.
        if name != "Mappings" and not _LOGICAL_ID.fullmatch(key):
            raise ValidationError(f"Template format error: {name} name {key} is non alphanumeric.")
    return value


def _entry(section: str, name: str, value: Any) -> Mapping[str, Any]:
    if not is_map(value):
        raise ValidationError(f"Template format error: [/{section}/{name}] must be an object.")
    return value


def _transforms(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    names = value if is_list(value) else [value]
    for name in names:
        if not isinstance(name, str):
            raise ValidationError("Template format error: a Transform with parameters is not supported here")
    return tuple(names)


def _mappings(section: Mapping[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    for name, levels in section.items():
        if not is_map(levels) or not all(is_map(level) for level in levels.values()):
            raise ValidationError(f"Template format error: Every Mappings member {name} must be a map of maps.")
    return section


def _declared(name: str, value: Any, *, serverless: bool) -> Declared:
    entry = _entry("Resources", name, value)
    kind = entry.get("Type")
    if not isinstance(kind, str) or not kind:
        raise ValidationError(
            f"Template format error: [/Resources/{name}/Type] Every Resources object must contain a Type member."
        )
    refused = sorted(set(entry) & _REFUSED_ATTRIBUTES)
    if refused:
        raise ValidationError(f"Template format error: {refused[0]} of resource {name} is not supported here")
    unknown = sorted(set(entry) - _ATTRIBUTES)
    # Why: SAM has attributes of its own (Connectors, IgnoreGlobals); its transform consumes or refuses them.
    if unknown and not serverless:
        raise ValidationError(
            f"Invalid template resource property '{unknown[0]}'",
        )
    properties: Any = entry.get("Properties") or {}
    if not is_map(properties):
        raise ValidationError(f"Template format error: [/Resources/{name}/Properties] must be an object.")
    deletion = _policy(name, entry, "DeletionPolicy")
    replace = _policy(name, entry, "UpdateReplacePolicy")
    return Declared(
        name,
        kind,
        properties,
        _names(name, entry.get("DependsOn")),
        _condition(f"Resources/{name}", entry),
        deletion or "Delete",
        replace or "Delete",
        entry.get("Metadata"),
    )


def _names(name: str, value: Any) -> tuple[str, ...]:
    found = [] if value is None else value if is_list(value) else [value]
    if not all(isinstance(item, str) for item in found):
        raise ValidationError(f"Template format error: DependsOn of {name} must be a string or a list of strings.")
    return tuple(found)


def _policy(name: str, entry: Mapping[str, Any], attribute: str) -> str:
    value = entry.get(attribute)
    if value is None:
        return ""
    if not isinstance(value, str) or value not in _POLICIES:
        raise ValidationError(f"Template format error: Unrecognized {attribute} {value} for resource {name}")
    return value


def _condition(where: str, entry: Mapping[str, Any]) -> str:
    value = entry.get("Condition", "")
    if not isinstance(value, str):
        raise ValidationError(f"Template format error: [/{where}/Condition] must be a string.")
    return value


def _output(name: str, value: Any) -> Output:
    entry = _entry("Outputs", name, value)
    if "Value" not in entry or entry["Value"] is None:
        raise ValidationError(f"Template format error: [/Outputs/{name}] Every Outputs member must contain a Value.")
    unknown = sorted(set(entry) - {"Value", "Description", "Export", "Condition"})
    if unknown:
        raise ValidationError(f"Template format error: Unknown member {unknown[0]} of output {name}")
    export = entry.get("Export")
    if export is not None:
        if not is_map(export) or set(export) != {"Name"}:
            raise ValidationError(f"Template format error: Output {name} must have exactly a Name in its Export.")
        export = export["Name"]
    return Output(
        name, entry["Value"], str(entry.get("Description") or ""), export, _condition(f"Outputs/{name}", entry)
    )
