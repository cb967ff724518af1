# SPDX-License-Identifier: Apache-2.0
"""AWS::Logs::LogGroup. Source: CloudFormation Template Reference, Amazon CloudWatch Logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.logs.errors import InvalidParameterException
from cloudchamber.services.logs.names import group_arn

if TYPE_CHECKING:
    from cloudchamber.contract.resource import Agent, Properties


def _tags(properties: Properties) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in properties.get("Tags", ())}


def _made(agent: Agent, name: str) -> Made:
    return Made(name, {"Arn": f"{group_arn(agent.account, agent.region, name)}:*"})


async def _create(agent: Agent, properties: Properties) -> Made:
    name = str(properties.get("LogGroupName") or agent.name(512))
    request: dict[str, Any] = {"logGroupName": name}
    if tags := {**agent.stack_tags, **_tags(properties)}:
        request["tags"] = tags
    if "LogGroupClass" in properties:
        request["logGroupClass"] = properties["LogGroupClass"]
    await agent.ask("logs", "CreateLogGroup", request)
    try:
        await _retain(agent, name, None, properties.get("RetentionInDays"))
    except BaseException:
        await _delete(agent, name, properties)
        raise
    return _made(agent, name)


async def _retain(agent: Agent, name: str, old: Any, new: Any) -> None:
    if new == old:
        return
    if new is None:
        await agent.ask("logs", "DeleteRetentionPolicy", {"logGroupName": name})
        return
    try:
        days = int(new)
    except (TypeError, ValueError) as error:
        raise InvalidParameterException(f"RetentionInDays: {new!r} is not a number") from error
    await agent.ask("logs", "PutRetentionPolicy", {"logGroupName": name, "retentionInDays": days})


async def _update(agent: Agent, name: str, old: Properties, new: Properties) -> Made:
    await _retain(agent, name, old.get("RetentionInDays"), new.get("RetentionInDays"))
    before, after = _tags(old), _tags(new)
    arn = group_arn(agent.account, agent.region, name)
    if gone := sorted(before.keys() - after.keys()):
        await agent.ask("logs", "UntagResource", {"resourceArn": arn, "tagKeys": gone})
    if changed := {key: value for key, value in after.items() if before.get(key) != value}:
        await agent.ask("logs", "TagResource", {"resourceArn": arn, "tags": changed})
    return _made(agent, name)


async def _delete(agent: Agent, name: str, properties: Properties) -> None:
    try:
        await agent.ask("logs", "DeleteLogGroup", {"logGroupName": name})
    except ServiceError as error:
        if error.code != "ResourceNotFoundException":
            raise


LOG_GROUP = ResourceType(
    "AWS::Logs::LogGroup",
    {
        "LogGroupName": Property("replace"),
        "RetentionInDays": Property(),
        "LogGroupClass": Property("replace"),
        "Tags": Property(),
    },
    create=_create,
    update=_update,
    delete=_delete,
    attributes=("Arn",),
)
