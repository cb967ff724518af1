# SPDX-License-Identifier: Apache-2.0
"""What templates say, without a stack: validate, summarize, give back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import operation
from cloudchamber.services.cloudformation import asking, needs, shapes, tables
from cloudchamber.services.cloudformation.errors import ChangeSetNotFound
from cloudchamber.services.cloudformation.parameters import is_secret
from cloudchamber.services.cloudformation.prepare import check_template, read_template, template_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.cloudformation.template import Template


def _parameters(found: Template) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for name, declared in found.parameters.items():
        row: dict[str, Any] = {"ParameterKey": name, "NoEcho": is_secret(declared)}
        if "Default" in declared:
            default = declared["Default"]
            row["DefaultValue"] = ("true" if default else "false") if isinstance(default, bool) else str(default)
        if "Description" in declared:
            row["Description"] = str(declared["Description"])
        rows.append(row)
    return rows


def _common(found: Template) -> dict[str, Any]:
    needed, reason = shapes.capabilities(found.resources)
    if found.transforms:
        needed = [*needed, "CAPABILITY_AUTO_EXPAND"]
        reason = reason or "The following resource(s) require capabilities: [AWS::CloudFormation::Transform]"
    answer: dict[str, Any] = {"Parameters": _parameters(found)}
    if found.description:
        answer["Description"] = found.description
    if needed:
        answer["Capabilities"], answer["CapabilitiesReason"] = needed, reason
    if found.transforms:
        answer["DeclaredTransforms"] = list(found.transforms)
    return answer


@operation("ValidateTemplate", needs=needs.on_template("ValidateTemplate"))
async def validate_template(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Check the form of a template.

    Raises:
        ValidationError: what is wrong.

    Source: AWS CloudFormation API Reference, ValidateTemplate.
    """
    found = await read_template(await template_text(call, request))
    check_template(found)
    return _common(found)


@operation("GetTemplateSummary", needs=needs.on_template("GetTemplateSummary"))
async def get_template_summary(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What a template, or a stack's template, declares.

    Raises:
        ValidationError: there is no such stack, or what is wrong with the template.

    Source: AWS CloudFormation API Reference, GetTemplateSummary.
    """
    if request.get("StackSetName") or request.get("CallAs", "SELF") != "SELF":
        raise ValidationError("StackSets are not supported here")
    if request.get("TemplateSummaryConfig", {}).get("TreatUnrecognizedResourceTypesAsWarnings"):
        raise ValidationError("TreatUnrecognizedResourceTypesAsWarnings is not supported here")
    name = request.get("StackName", "")
    text = asking.existing(call, name).template if name else await template_text(call, request)
    if not text:
        raise ValidationError(f"Stack [{name}] has no template")
    found = await read_template(text)
    check_template(found)
    answer = _common(found)
    by_type: dict[str, list[str]] = {}
    for declared in found.resources.values():
        by_type.setdefault(declared.type, []).append(declared.logical_id)
    for row in answer["Parameters"]:
        declared_parameter = found.parameters[row["ParameterKey"]]
        row["ParameterType"] = declared_parameter["Type"]
        allowed = declared_parameter.get("AllowedValues")
        row["ParameterConstraints"] = {"AllowedValues": [str(item) for item in allowed]} if allowed else {}
    answer["ResourceTypes"] = list(by_type)
    answer["ResourceIdentifierSummaries"] = [
        {"ResourceType": kind, "LogicalResourceIds": ids} for kind, ids in by_type.items()
    ]
    if "AWSTemplateFormatVersion" in found.body:
        answer["Version"] = str(found.body["AWSTemplateFormatVersion"])
    if found.metadata is not None:
        answer["Metadata"] = json.dumps(found.metadata)
    return answer


@operation("GetTemplate", needs=needs.on_stack("GetTemplate"))
async def get_template(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The template of a stack or of a change set, as it was given or after its transforms.

    Raises:
        ValidationError: there is no such stack.
        ChangeSetNotFound: there is no such change set.

    Source: AWS CloudFormation API Reference, GetTemplate.
    """
    name, change_set = request.get("StackName", ""), request.get("ChangeSetName", "")
    stack = asking.find(call, name) if name else None
    if name and stack is None:
        raise ValidationError(f"Stack with id {name} does not exist")
    if change_set:
        stack_id = stack.stack_id if stack else ""
        found = call.doors.database.read(lambda db: tables.change_set(db, change_set, stack_id))
        if found is None or found.stack_id.split(":")[4] != call.account:
            raise ChangeSetNotFound(f"ChangeSet [{change_set}] does not exist")
        original, processed = str(found.body["template"]), str(found.body["processed"])
    elif stack is not None:
        original, processed = stack.template, stack.processed
    else:
        raise ValidationError("StackName is required if ChangeSetName is not specified.")
    stages = ["Original"] + (["Processed"] if processed else [])
    if request.get("TemplateStage", "Original") == "Processed":
        if not processed:
            raise ValidationError("The processed template is not available")
        transformed = bool((await read_template(original)).transforms)
        return {"TemplateBody": processed if transformed else original, "StagesAvailable": stages}
    return {"TemplateBody": original, "StagesAvailable": stages}
