# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's AWS::IAM::Policy and AWS::IAM::ManagedPolicy: one document, given to several entities.

Source: AWS CloudFormation Template Reference, AWS::IAM.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.iam.errors import NoSuchEntity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudchamber.contract.resource import Agent, Properties

_OWNERS = (("User", "Users"), ("Group", "Groups"), ("Role", "Roles"))


def as_text(document: Any) -> str:
    """A policy document's JSON text; a template gives an object, or the text itself."""
    return document if isinstance(document, str) else json.dumps(document)


def _owners(properties: Properties) -> Iterator[tuple[str, str]]:
    for title, member in _OWNERS:
        for name in properties.get(member, ()):
            yield title, str(name)


async def _write(agent: Agent, name: str, properties: Properties) -> None:
    text = as_text(properties["PolicyDocument"])
    for title, owner in _owners(properties):
        request = {f"{title}Name": owner, "PolicyName": name, "PolicyDocument": text}
        await agent.ask("iam", f"Put{title}Policy", request)


async def _erase(agent: Agent, name: str, owners: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> None:
    for title, owner in owners:
        try:
            await agent.ask("iam", f"Delete{title}Policy", {f"{title}Name": owner, "PolicyName": name})
        except NoSuchEntity:
            continue


def _check_owned(properties: Properties) -> None:
    if not any(True for _ in _owners(properties)):
        raise ValidationError("At least one of [Groups,Roles,Users] must be non-empty.")


async def _create(agent: Agent, properties: Properties) -> Made:
    name = str(properties["PolicyName"])
    try:
        await _write(agent, name, properties)
    except ServiceError:
        await _erase(agent, name, _owners(properties))
        raise
    return Made(agent.name(128))


async def _update(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    await _write(agent, str(new["PolicyName"]), new)
    same = set(_owners(new)) if old["PolicyName"] == new["PolicyName"] else set[tuple[str, str]]()
    await _erase(agent, str(old["PolicyName"]), [owner for owner in _owners(old) if owner not in same])
    return Made(physical_id)


async def _delete(agent: Agent, physical_id: str, properties: Properties) -> None:
    await _erase(agent, str(properties["PolicyName"]), _owners(properties))


async def _create_managed(agent: Agent, properties: Properties) -> Made:
    request: dict[str, Any] = {m: properties[m] for m in ("Path", "Description") if m in properties}
    request["PolicyName"] = properties.get("ManagedPolicyName") or agent.name(128)
    request["PolicyDocument"] = as_text(properties["PolicyDocument"])
    policy = (await agent.ask("iam", "CreatePolicy", request))["Policy"]
    agent.begun(policy["Arn"])
    try:
        for title, owner in _owners(properties):
            await agent.ask("iam", f"Attach{title}Policy", {f"{title}Name": owner, "PolicyArn": policy["Arn"]})
    except ServiceError:
        await _delete_managed(agent, policy["Arn"], properties)
        raise
    return Made(policy["Arn"], {"PolicyArn": policy["Arn"], "PolicyId": policy["PolicyId"]})


async def _update_managed(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    which = {"PolicyArn": physical_id}
    text = as_text(new["PolicyDocument"])
    if text != as_text(old["PolicyDocument"]):
        versions = (await agent.ask("iam", "ListPolicyVersions", which))["Versions"]
        if len(versions) >= 5:
            oldest = next(v for v in reversed(versions) if not v["IsDefaultVersion"])
            await agent.ask("iam", "DeletePolicyVersion", which | {"VersionId": oldest["VersionId"]})
        await agent.ask("iam", "CreatePolicyVersion", which | {"PolicyDocument": text, "SetAsDefault": True})
    before, after = list(_owners(old)), list(_owners(new))
    for title, owner in after:
        await agent.ask("iam", f"Attach{title}Policy", which | {f"{title}Name": owner})
    for title, owner in before:
        if (title, owner) not in after:
            await _detach(agent, physical_id, title, owner)
    policy = (await agent.ask("iam", "GetPolicy", which))["Policy"]
    return Made(physical_id, {"PolicyArn": physical_id, "PolicyId": policy["PolicyId"]})


async def _detach(agent: Agent, arn: str, title: str, owner: str) -> None:
    try:
        await agent.ask("iam", f"Detach{title}Policy", {f"{title}Name": owner, "PolicyArn": arn})
    except NoSuchEntity:
        return


async def _delete_managed(agent: Agent, physical_id: str, properties: Properties) -> None:
    which = {"PolicyArn": physical_id}
    for title, owner in _owners(properties):
        await _detach(agent, physical_id, title, owner)
    try:
        for version in (await agent.ask("iam", "ListPolicyVersions", which))["Versions"]:
            if not version["IsDefaultVersion"]:
                await agent.ask("iam", "DeletePolicyVersion", which | {"VersionId": version["VersionId"]})
        await agent.ask("iam", "DeletePolicy", which)
    except NoSuchEntity:
        return


_GIVEN_TO = {member: Property() for _, member in _OWNERS}
POLICY = ResourceType(
    "AWS::IAM::Policy",
    {"PolicyName": Property(required=True), "PolicyDocument": Property(required=True), **_GIVEN_TO},
    _create,
    _delete,
    _update,
    check=_check_owned,
)
MANAGED_POLICY = ResourceType(
    "AWS::IAM::ManagedPolicy",
    {
        "Description": Property("replace"),
        "ManagedPolicyName": Property("replace"),
        "Path": Property("replace"),
        "PolicyDocument": Property(required=True),
        **_GIVEN_TO,
    },
    _create_managed,
    _delete_managed,
    _update_managed,
    ("PolicyArn", "PolicyId"),
)
RESOURCES = (POLICY, MANAGED_POLICY)
