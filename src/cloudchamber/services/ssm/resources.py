# SPDX-License-Identifier: Apache-2.0
"""AWS::SSM::Parameter. Source: CloudFormation Template Reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

PROPERTIES: Mapping[str, Property] = {
    "Name": Property("replace"),
    "Type": Property("replace", required=True),
    "Value": Property(required=True),
    "Description": Property(),
    "Tier": Property(),
    "DataType": Property(),
    "AllowedPattern": Property(),
    "Policies": Property(),
    "Tags": Property(),
}


def _asked(name: str, properties: Properties) -> dict[str, Any]:
    given = {key: str(value) for key, value in properties.items() if key not in ("Name", "Tags")}
    return {"Name": name, **given}


def _tags(properties: Properties) -> dict[str, str]:
    tags: Mapping[str, Any] = properties.get("Tags") or {}
    return {str(key): str(value) for key, value in tags.items()}


def _made(name: str, properties: Properties) -> Made:
    return Made(name, {"Type": str(properties["Type"]), "Value": str(properties["Value"])})


async def create(agent: Agent, properties: Properties) -> Made:
    """Make the parameter."""
    name = str(properties.get("Name") or f"CFN-{agent.name(200)}")
    own = {key: value for key, value in agent.stack_tags.items() if not key.startswith("aws:")} | _tags(properties)
    tags = [{"Key": key, "Value": value} for key, value in own.items()]
    await agent.ask("ssm", "PutParameter", _asked(name, properties) | ({"Tags": tags} if tags else {}))
    return _made(name, properties)


async def update(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    """Its next version, and its tags."""
    if _asked("", old) != _asked("", new):
        asked = {"Description": ""} | _asked(physical_id, new)
        await agent.ask("ssm", "PutParameter", {**asked, "Overwrite": True})
    about = {"ResourceType": "Parameter", "ResourceId": physical_id}
    removed = sorted(_tags(old).keys() - _tags(new).keys())
    if removed:
        await agent.ask("ssm", "RemoveTagsFromResource", {**about, "TagKeys": removed})
    if _tags(new) and _tags(new) != _tags(old):
        tags = [{"Key": key, "Value": value} for key, value in _tags(new).items()]
        await agent.ask("ssm", "AddTagsToResource", {**about, "Tags": tags})
    return _made(physical_id, new)


async def delete(agent: Agent, physical_id: str, properties: Properties) -> None:
    """Delete it; gone already is a success."""
    try:
        await agent.ask("ssm", "DeleteParameter", {"Name": physical_id})
    except ServiceError as error:
        if error.code != "ParameterNotFound":
            raise


RESOURCES = (ResourceType("AWS::SSM::Parameter", PROPERTIES, create, delete, update, attributes=("Type", "Value")),)
