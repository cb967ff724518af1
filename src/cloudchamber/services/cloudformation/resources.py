# SPDX-License-Identifier: Apache-2.0
"""Resource types of CloudFormation's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.resource import Made, Property, ResourceType

if TYPE_CHECKING:
    from cloudchamber.contract.resource import Agent, Properties


async def _create(agent: Agent, properties: Properties) -> Made:
    return Made(agent.name())


async def _update(agent: Agent, physical_id: str, before: Properties, after: Properties) -> Made:
    return Made(physical_id)


async def _delete(agent: Agent, physical_id: str, properties: Properties) -> None:
    return None


# Source: AWS CDK, "Version reporting": the type holds which constructs a stack uses, and does nothing.
CDK_METADATA = ResourceType(
    "AWS::CDK::Metadata", {"Analytics": Property(), "Modules": Property()}, _create, _delete, _update
)
RESOURCES = (CDK_METADATA,)
