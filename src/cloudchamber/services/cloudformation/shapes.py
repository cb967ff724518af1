# SPDX-License-Identifier: Apache-2.0
"""Refuse what a resource type does not have, by name, before anything is created. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.graph import names_in
from cloudchamber.services.cloudformation.intrinsics import UNKNOWN, knows
from cloudchamber.services.cloudformation.kinds import is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cloudchamber.contract.resource import Property, ResourceType
    from cloudchamber.services.cloudformation.template import Declared, Output

_IAM_NAMES = {
    "AWS::IAM::AccessKey": "",
    "AWS::IAM::Group": "GroupName",
    "AWS::IAM::GroupPolicy": "",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Policy": "",
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::RolePolicy": "",
    "AWS::IAM::User": "UserName",
    "AWS::IAM::UserPolicy": "",
    "AWS::IAM::UserToGroupAddition": "",
}


def check_types(resources: Mapping[str, Declared], types: Mapping[str, ResourceType]) -> None:
    """Refuse resource types that nobody provides.

    Raises:
        ValidationError: every unknown type, by name.
    """
    unknown = sorted({declared.type for declared in resources.values() if declared.type not in types})
    if unknown:
        raise ValidationError(f"Template format error: Unrecognized resource types: [{', '.join(unknown)}]")
    for name, declared in resources.items():
        if (
            "Snapshot" in (declared.deletion_policy, declared.update_replace_policy)
            and not types[declared.type].snapshot
        ):
            raise ValidationError(
                f"Template error: resource type {declared.type} does not support deletion policy Snapshot ({name})"
            )


def check_attributes(
    resources: Mapping[str, Declared], outputs: Mapping[str, Output], types: Mapping[str, ResourceType]
) -> None:
    """Refuse `Fn::GetAtt` of attributes that a type does not have.

    Raises:
        ValidationError: the resource and the attribute.
    """
    values: list[Any] = [declared.properties for declared in resources.values()]
    values += [[output.value, output.export] for output in outputs.values()]
    for value in values:
        for name, attribute in names_in(value):
            declared = resources.get(name)
            kind = types[declared.type] if attribute and declared else None
            if kind and not kind.open and attribute not in kind.attributes:
                raise ValidationError(
                    f"Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
                )


def check_properties(logical_id: str, kind: ResourceType, properties: Mapping[str, Any]) -> None:
    """Refuse properties that the type does not have, and missing ones that it must have.

    Raises:
        ValidationError: every such property of the resource, by name.
    """
    problems = list(_problems("#", kind.properties, properties, more=kind.open))
    if problems:
        raise ValidationError(
            f"Properties validation failed for resource {logical_id} with message:\n" + "\n".join(problems)
        )
    if kind.check is not None and knows(properties):
        kind.check(properties)


def _problems(path: str, shape: Mapping[str, Property], value: Any, *, more: bool = False) -> Iterator[str]:
    if not is_map(value):
        if value != UNKNOWN:
            yield f"{path}: expected type: JSONObject, found: {type(value).__name__}"
        return
    for name in value:
        if name not in shape and not more:
            yield f"{path}: extraneous key [{name}] is not permitted"
    for name, member in shape.items():
        if name not in value:
            if member.required:
                yield f"{path}: required key [{name}] not found"
        elif member.shape is not None:
            inner = value[name]
            items = enumerate(inner) if is_list(inner) else [(-1, inner)]
            for index, item in items:
                yield from _problems(f"{path}/{name}" + (f"/{index}" if index >= 0 else ""), member.shape, item)


def capabilities(resources: Mapping[str, Declared]) -> tuple[list[str], str]:
    """Capabilities that the resources need, with CloudFormation's reason."""
    iam = [declared for declared in resources.values() if declared.type in _IAM_NAMES]
    if not iam:
        return [], ""
    named = any(_IAM_NAMES[d.type] and _IAM_NAMES[d.type] in d.properties for d in iam)
    kinds = ", ".join(sorted({declared.type for declared in iam}))
    reason = f"The following resource(s) require capabilities: [{kinds}]"
    return ["CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM"], reason
