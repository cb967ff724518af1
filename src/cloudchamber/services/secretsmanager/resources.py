# SPDX-License-Identifier: Apache-2.0
"""AWS::SecretsManager::Secret. Source: CloudFormation Template Reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.contract.resource import Made, Property, ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

_TYPE = "AWS::SecretsManager::Secret"
_RULES = (
    "PasswordLength", "ExcludeCharacters", "ExcludeNumbers", "ExcludePunctuation", "ExcludeUppercase",
    "ExcludeLowercase", "IncludeSpace", "RequireEachIncludedType",
)  # fmt: skip
_GENERATE = {name: Property() for name in (*_RULES, "SecretStringTemplate", "GenerateStringKey")}

PROPERTIES: Mapping[str, Property] = {
    "Name": Property("replace"),
    "Description": Property(),
    "SecretString": Property(),
    "GenerateSecretString": Property(shape=_GENERATE),
    "Tags": Property(shape={"Key": Property(required=True), "Value": Property()}),
}


def check(properties: Properties) -> None:
    """Refuse before anything is made.

    Raises:
        ValidationError: both kinds of value, or half of a template.
    """
    if "SecretString" in properties and "GenerateSecretString" in properties:
        raise ValidationError(f"{_TYPE}: SecretString and GenerateSecretString exclude each other.")
    rules = properties.get("GenerateSecretString")
    if isinstance(rules, dict) and ("SecretStringTemplate" in rules) != ("GenerateStringKey" in rules):
        raise ValidationError(f"{_TYPE}: SecretStringTemplate and GenerateStringKey belong together.")


async def create(agent: Agent, properties: Properties) -> Made:
    """Make the secret."""
    request: dict[str, Any] = {"Name": str(properties.get("Name") or agent.name(64))}
    if "Description" in properties:
        request["Description"] = str(properties["Description"])
    request["SecretString"] = await _value(agent, properties)
    tags = {**agent.stack_tags, **_tags(properties)}
    tags = {key: value for key, value in tags.items() if not key.startswith("aws:")}
    if tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    made = await agent.ask("secretsmanager", "CreateSecret", request)
    return Made(str(made["ARN"]), {"Id": made["ARN"]})


async def update(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    """Change description, value and tags; a generated value stays unless its rules change."""
    request: dict[str, Any] = {}
    if old.get("Description") != new.get("Description"):
        request["Description"] = str(new.get("Description", ""))
    if any(old.get(name) != new.get(name) for name in ("SecretString", "GenerateSecretString")):
        request["SecretString"] = await _value(agent, new)
    if request:
        await agent.ask("secretsmanager", "UpdateSecret", {"SecretId": physical_id, **request})
    removed = sorted(_tags(old).keys() - _tags(new).keys())
    if removed:
        await agent.ask("secretsmanager", "UntagResource", {"SecretId": physical_id, "TagKeys": removed})
    if _tags(new) and _tags(new) != _tags(old):
        tags = [{"Key": key, "Value": value} for key, value in _tags(new).items()]
        await agent.ask("secretsmanager", "TagResource", {"SecretId": physical_id, "Tags": tags})
    return Made(physical_id, {"Id": physical_id})


async def delete(agent: Agent, physical_id: str, properties: Properties) -> None:
    """Delete it without a recovery window, as CloudFormation does; gone already is a success."""
    try:
        await agent.ask("secretsmanager", "DeleteSecret", {"SecretId": physical_id, "ForceDeleteWithoutRecovery": True})
    except ServiceError as error:
        if error.code != "ResourceNotFoundException":
            raise


async def _value(agent: Agent, properties: Properties) -> str:
    if "SecretString" in properties:
        return str(properties["SecretString"])
    rules: Mapping[str, Any] = properties.get("GenerateSecretString") or {}
    request = {name: _typed(name, rules[name]) for name in _RULES if name in rules}
    password = (await agent.ask("secretsmanager", "GetRandomPassword", request))["RandomPassword"]
    if "SecretStringTemplate" not in rules:
        return str(password)
    try:
        whole = json.loads(str(rules["SecretStringTemplate"]))
        whole[str(rules["GenerateStringKey"])] = password
    except (ValueError, TypeError) as error:
        raise ValidationError(f"{_TYPE}: SecretStringTemplate is no JSON object.") from error
    return json.dumps(whole)


def _typed(name: str, value: Any) -> Any:
    if name == "PasswordLength":
        return int(value)
    if name == "ExcludeCharacters":
        return str(value)
    return value if isinstance(value, bool) else str(value).lower() == "true"


def _tags(properties: Properties) -> dict[str, str]:
    return {str(one["Key"]): str(one.get("Value", "")) for one in properties.get("Tags") or ()}


RESOURCES = (ResourceType(_TYPE, PROPERTIES, create, delete, update, attributes=("Id",), check=check),)
