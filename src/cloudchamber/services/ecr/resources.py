# SPDX-License-Identifier: Apache-2.0
"""AWS::ECR::Repository. Source: CloudFormation Template Reference."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

PROPERTIES: Mapping[str, Property] = {
    "RepositoryName": Property("replace"),
    "ImageTagMutability": Property(),
    "ImageScanningConfiguration": Property(shape={"ScanOnPush": Property()}),
    "EncryptionConfiguration": Property(
        "replace", shape={"EncryptionType": Property(required=True), "KmsKey": Property()}
    ),
    "LifecyclePolicy": Property(shape={"LifecyclePolicyText": Property()}),
    "RepositoryPolicyText": Property(),
    "EmptyOnDelete": Property(),  # always empty
    "Tags": Property(shape={"Key": Property(required=True), "Value": Property(required=True)}),
}


def _scanning(properties: Properties) -> dict[str, Any]:
    given: Mapping[str, Any] = properties.get("ImageScanningConfiguration") or {}
    return {"scanOnPush": str(given.get("ScanOnPush", False)).lower() == "true"}


def _policy(properties: Properties) -> str:
    given: Any = properties.get("RepositoryPolicyText") or ""
    return given if isinstance(given, str) else json.dumps(given)


def _lifecycle(properties: Properties) -> str:
    given: Mapping[str, Any] = properties.get("LifecyclePolicy") or {}
    text = given.get("LifecyclePolicyText") or ""
    return text if isinstance(text, str) else json.dumps(text)


def _tags(properties: Properties) -> dict[str, str]:
    return {str(one["Key"]): str(one["Value"]) for one in properties.get("Tags") or ()}


def _made(repository: Mapping[str, Any]) -> Made:
    attributes = {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]}
    return Made(str(repository["repositoryName"]), attributes)


async def _apply(agent: Agent, name: str, old: Properties, new: Properties) -> None:
    about = {"repositoryName": name}
    if _policy(old) != _policy(new):
        if text := _policy(new):
            await agent.ask("ecr", "SetRepositoryPolicy", {**about, "policyText": text})
        else:
            await agent.ask("ecr", "DeleteRepositoryPolicy", about)
    if _lifecycle(old) != _lifecycle(new):
        if text := _lifecycle(new):
            await agent.ask("ecr", "PutLifecyclePolicy", {**about, "lifecyclePolicyText": text})
        else:
            await agent.ask("ecr", "DeleteLifecyclePolicy", about)


async def create(agent: Agent, properties: Properties) -> Made:
    """Make the repository, then its policies; what cannot have them goes again."""
    name = str(properties.get("RepositoryName") or agent.name(256, lower=True))
    own = {key: value for key, value in agent.stack_tags.items() if not key.startswith("aws:")} | _tags(properties)
    request: dict[str, Any] = {
        "repositoryName": name,
        "imageTagMutability": str(properties.get("ImageTagMutability", "MUTABLE")),
        "imageScanningConfiguration": _scanning(properties),
        "tags": [{"Key": key, "Value": value} for key, value in own.items()],
    }
    encryption: Mapping[str, Any] = properties.get("EncryptionConfiguration") or {}
    if encryption:
        request["encryptionConfiguration"] = {key[0].lower() + key[1:]: str(v) for key, v in encryption.items()}
    made = await agent.ask("ecr", "CreateRepository", request)
    try:
        await _apply(agent, name, {}, properties)
    except ServiceError:
        await delete(agent, name, properties)
        raise
    return _made(made["repository"])


async def update(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    """Change settings, policies and tags."""
    about = {"repositoryName": physical_id}
    if old.get("ImageTagMutability") != new.get("ImageTagMutability"):
        wanted = str(new.get("ImageTagMutability", "MUTABLE"))
        await agent.ask("ecr", "PutImageTagMutability", {**about, "imageTagMutability": wanted})
    if _scanning(old) != _scanning(new):
        asked = {**about, "imageScanningConfiguration": _scanning(new)}
        await agent.ask("ecr", "PutImageScanningConfiguration", asked)
    await _apply(agent, physical_id, old, new)
    found = (await agent.ask("ecr", "DescribeRepositories", {"repositoryNames": [physical_id]}))["repositories"][0]
    removed = sorted(_tags(old).keys() - _tags(new).keys())
    if removed:
        await agent.ask("ecr", "UntagResource", {"resourceArn": found["repositoryArn"], "tagKeys": removed})
    if _tags(new) and _tags(new) != _tags(old):
        tags = [{"Key": key, "Value": value} for key, value in _tags(new).items()]
        await agent.ask("ecr", "TagResource", {"resourceArn": found["repositoryArn"], "tags": tags})
    return _made(found)


async def delete(agent: Agent, physical_id: str, properties: Properties) -> None:
    """Delete it; gone already is a success."""
    try:
        await agent.ask("ecr", "DeleteRepository", {"repositoryName": physical_id})
    except ServiceError as error:
        if error.code != "RepositoryNotFoundException":
            raise


RESOURCES = (
    ResourceType("AWS::ECR::Repository", PROPERTIES, create, delete, update, attributes=("Arn", "RepositoryUri")),
)
