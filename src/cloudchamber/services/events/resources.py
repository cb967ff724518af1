# SPDX-License-Identifier: Apache-2.0
"""AWS::Events::Rule. Source: CloudFormation Template Reference, Amazon EventBridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties


def _rule(name: str, properties: Properties) -> dict[str, Any]:
    given = ("ScheduleExpression", "Description", "State", "EventPattern", "RoleArn", "EventBusName")
    return {"Name": name, **{member: properties[member] for member in given if member in properties}}


def _targets(properties: Properties) -> list[dict[str, Any]]:
    return [dict(target) for target in properties.get("Targets", ())]


async def _create(agent: Agent, properties: Properties) -> Made:
    name = str(properties.get("Name") or agent.name(64))
    request = _rule(name, properties)
    tags = {**agent.stack_tags, **{str(tag["Key"]): str(tag["Value"]) for tag in properties.get("Tags", ())}}
    if tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    arn = (await agent.ask("events", "PutRule", request))["RuleArn"]
    try:
        if targets := _targets(properties):
            await agent.ask("events", "PutTargets", {"Rule": name, "Targets": targets})
    except BaseException:
        await _delete(agent, name, properties)
        raise
    return Made(name, {"Arn": arn})


async def _update(agent: Agent, name: str, old: Properties, new: Properties) -> Made:
    arn = (await agent.ask("events", "PutRule", _rule(name, new)))["RuleArn"]
    kept = {target["Id"] for target in _targets(new)}
    if gone := [target["Id"] for target in _targets(old) if target["Id"] not in kept]:
        await agent.ask("events", "RemoveTargets", {"Rule": name, "Ids": gone})
    if targets := _targets(new):
        await agent.ask("events", "PutTargets", {"Rule": name, "Targets": targets})
    return Made(name, {"Arn": arn})


async def _delete(agent: Agent, name: str, properties: Properties) -> None:
    try:
        found: Mapping[str, Any] = await agent.ask("events", "ListTargetsByRule", {"Rule": name})
        if ids := [target["Id"] for target in found["Targets"]]:
            await agent.ask("events", "RemoveTargets", {"Rule": name, "Ids": ids})
        await agent.ask("events", "DeleteRule", {"Name": name})
    except ServiceError as error:
        if error.code != "ResourceNotFoundException":
            raise


RULE = ResourceType(
    "AWS::Events::Rule",
    {
        "Name": Property("replace"),
        "EventBusName": Property("replace"),
        "Description": Property(),
        "ScheduleExpression": Property(),
        "EventPattern": Property(),
        "RoleArn": Property(),
        "State": Property(),
        "Targets": Property(
            shape={
                "Id": Property(required=True),
                "Arn": Property(required=True),
                "Input": Property(),
                "RetryPolicy": Property(
                    shape={name: Property() for name in ("MaximumEventAgeInSeconds", "MaximumRetryAttempts")}
                ),
            }
        ),
        "Tags": Property("replace"),
    },
    create=_create,
    update=_update,
    delete=_delete,
    attributes=("Arn",),
)
