# SPDX-License-Identifier: Apache-2.0
"""AWS::Lambda::Version, Alias, LayerVersion, LayerVersionPermission, Url.

Source: CloudFormation Template Reference, AWS Lambda resource types.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.lambda_.errors import ResourceConflictException, ServiceException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

_POLL_S = 0.02
_REPLACE = Property("replace")
_REQUIRED = Property("replace", required=True)
_PROVISIONED = {"ProvisionedConcurrentExecutions": Property(required=True)}


async def unless_gone(agent: Agent, operation: str, request: Mapping[str, Any]) -> None:
    """Ask for something to be deleted; that it is gone already is a success."""
    try:
        await agent.ask("lambda", operation, request)
    except ServiceError as error:
        if error.code not in ("ResourceNotFoundException", "ProvisionedConcurrencyConfigNotFoundException"):
            raise


async def _provision(agent: Agent, name: str, qualifier: str, properties: Properties) -> None:
    """Ask for provisioned concurrency and wait until it is there."""
    wanted = properties.get("ProvisionedConcurrencyConfig")
    asked = {"FunctionName": name, "Qualifier": qualifier}
    if not wanted:
        return
    number = int(wanted["ProvisionedConcurrentExecutions"])
    await agent.ask("lambda", "PutProvisionedConcurrencyConfig", {**asked, "ProvisionedConcurrentExecutions": number})
    while True:
        shown = await agent.ask("lambda", "GetProvisionedConcurrencyConfig", asked)
        if shown["Status"] == "READY":
            return
        if shown["Status"] == "FAILED":
            raise ServiceException(f"Provisioned concurrency of {name}:{qualifier} failed: {shown['StatusReason']}")
        await asyncio.sleep(_POLL_S)


async def _create_version(agent: Agent, properties: Properties) -> Made:
    name = str(properties["FunctionName"])
    before = await agent.ask("lambda", "ListVersionsByFunction", {"FunctionName": name})
    request = {n: str(properties[n]) for n in ("Description", "CodeSha256") if n in properties}
    made = await agent.ask("lambda", "PublishVersion", {"FunctionName": name, **request})
    if made["Version"] in {each["Version"] for each in before["Versions"]}:
        raise ResourceConflictException(
            f"A version for this Lambda function exists ( {made['Version']} ). Modify the function to create a new "
            "version."
        )
    arn = str(made["FunctionArn"])
    agent.begun(arn)
    await _provision(agent, name, made["Version"], properties)
    return Made(arn, {"Version": made["Version"], "FunctionArn": arn})


async def _update_version(agent: Agent, arn: str, old: Properties, new: Properties) -> Made:
    name, _, version = arn.rpartition(":")
    if new.get("ProvisionedConcurrencyConfig"):
        await _provision(agent, name, version, new)
    elif old.get("ProvisionedConcurrencyConfig"):
        asked = {"FunctionName": name, "Qualifier": version}
        await unless_gone(agent, "DeleteProvisionedConcurrencyConfig", asked)
    return Made(arn, {"Version": version, "FunctionArn": arn})


async def _delete_version(agent: Agent, arn: str, properties: Properties) -> None:
    name, _, version = arn.rpartition(":")
    await unless_gone(agent, "DeleteFunction", {"FunctionName": name, "Qualifier": version})


VERSION = ResourceType(
    "AWS::Lambda::Version",
    {
        "FunctionName": _REQUIRED,
        "CodeSha256": _REPLACE,
        "Description": _REPLACE,
        "ProvisionedConcurrencyConfig": Property(shape=_PROVISIONED),
    },
    create=_create_version,
    update=_update_version,
    delete=_delete_version,
    attributes=("Version", "FunctionArn"),
)


def _routing(properties: Properties) -> dict[str, Any]:
    """CloudFormation has a list of versions and weights where the API has a map."""
    given: Mapping[str, Any] = properties.get("RoutingConfig") or {}
    weights: list[Mapping[str, Any]] = given.get("AdditionalVersionWeights") or []
    return {
        "AdditionalVersionWeights": {str(each["FunctionVersion"]): float(each["FunctionWeight"]) for each in weights}
    }


def _alias(properties: Properties) -> dict[str, Any]:
    return {
        "FunctionName": str(properties["FunctionName"]),
        "Name": str(properties["Name"]),
        "FunctionVersion": str(properties["FunctionVersion"]),
        "Description": str(properties.get("Description", "")),
        "RoutingConfig": _routing(properties),
    }


async def _create_alias(agent: Agent, properties: Properties) -> Made:
    request = _alias(properties)
    arn = str((await agent.ask("lambda", "CreateAlias", request))["AliasArn"])
    agent.begun(arn)
    await _provision(agent, request["FunctionName"], request["Name"], properties)
    return Made(arn, {"AliasArn": arn})


async def _update_alias(agent: Agent, arn: str, old: Properties, new: Properties) -> Made:
    request = _alias(new)
    await agent.ask("lambda", "UpdateAlias", request)
    if new.get("ProvisionedConcurrencyConfig"):
        await _provision(agent, request["FunctionName"], request["Name"], new)
    elif old.get("ProvisionedConcurrencyConfig"):
        asked = {"FunctionName": request["FunctionName"], "Qualifier": request["Name"]}
        await unless_gone(agent, "DeleteProvisionedConcurrencyConfig", asked)
    return Made(arn, {"AliasArn": arn})


async def _delete_alias(agent: Agent, arn: str, properties: Properties) -> None:
    name, _, alias = arn.rpartition(":")
    await unless_gone(agent, "DeleteAlias", {"FunctionName": name, "Name": alias})


ALIAS = ResourceType(
    "AWS::Lambda::Alias",
    {
        "FunctionName": _REQUIRED,
        "Name": _REQUIRED,
        "FunctionVersion": Property(required=True),
        "Description": Property(),
        "RoutingConfig": Property(
            shape={
                "AdditionalVersionWeights": Property(
                    shape={"FunctionVersion": Property(required=True), "FunctionWeight": Property(required=True)}
                )
            }
        ),
        "ProvisionedConcurrencyConfig": Property(shape=_PROVISIONED),
    },
    create=_create_alias,
    update=_update_alias,
    delete=_delete_alias,
    attributes=("AliasArn",),
)


async def _create_layer(agent: Agent, properties: Properties) -> Made:
    given: Mapping[str, Any] = properties["Content"]
    content = {name: given[name] for name in ("S3Bucket", "S3Key", "S3ObjectVersion") if name in given}
    request: dict[str, Any] = {"LayerName": str(properties.get("LayerName") or agent.name(140)), "Content": content}
    for member in ("Description", "LicenseInfo"):
        if member in properties:
            request[member] = str(properties[member])
    for member in ("CompatibleRuntimes", "CompatibleArchitectures"):
        if properties.get(member):
            request[member] = list(properties[member])
    arn = str((await agent.ask("lambda", "PublishLayerVersion", request))["LayerVersionArn"])
    return Made(arn, {"LayerVersionArn": arn})


def _layer(arn: str) -> dict[str, Any]:
    name, _, version = arn.rpartition(":")
    return {"LayerName": name, "VersionNumber": int(version)}


async def _delete_layer(agent: Agent, arn: str, properties: Properties) -> None:
    await unless_gone(agent, "DeleteLayerVersion", _layer(arn))


LAYER_VERSION = ResourceType(
    "AWS::Lambda::LayerVersion",
    {
        "Content": Property(
            "replace",
            required=True,
            shape={
                "S3Bucket": Property(required=True),
                "S3Key": Property(required=True),
                "S3ObjectVersion": Property(),
            },
        ),
        "LayerName": _REPLACE,
        "Description": _REPLACE,
        "LicenseInfo": _REPLACE,
        "CompatibleRuntimes": _REPLACE,
        "CompatibleArchitectures": _REPLACE,
    },
    create=_create_layer,
    delete=_delete_layer,
    attributes=("LayerVersionArn",),
)


async def _create_layer_permission(agent: Agent, properties: Properties) -> Made:
    arn, sid = str(properties["LayerVersionArn"]), agent.name(100)
    request = {n: str(properties[n]) for n in ("Action", "Principal", "OrganizationId") if n in properties}
    await agent.ask("lambda", "AddLayerVersionPermission", {**_layer(arn), "StatementId": sid, **request})
    return Made(f"{arn}#{sid}", {"Id": f"{arn}#{sid}"})


async def _delete_layer_permission(agent: Agent, physical_id: str, properties: Properties) -> None:
    arn, _, sid = physical_id.partition("#")
    await unless_gone(agent, "RemoveLayerVersionPermission", {**_layer(arn), "StatementId": sid})


LAYER_VERSION_PERMISSION = ResourceType(
    "AWS::Lambda::LayerVersionPermission",
    {"LayerVersionArn": _REQUIRED, "Action": _REQUIRED, "Principal": _REQUIRED, "OrganizationId": _REPLACE},
    create=_create_layer_permission,
    delete=_delete_layer_permission,
    attributes=("Id",),
)

_CORS = ("AllowCredentials", "AllowHeaders", "AllowMethods", "AllowOrigins", "ExposeHeaders", "MaxAge")


def _url(properties: Properties) -> dict[str, Any]:
    request: dict[str, Any] = {"FunctionName": str(properties["TargetFunctionArn"])}
    for name in ("Qualifier", "AuthType", "InvokeMode"):
        if properties.get(name):
            request[name] = str(properties[name])
    cors = dict(properties.get("Cors") or {})
    if "MaxAge" in cors:
        cors["MaxAge"] = int(cors["MaxAge"])
    if "AllowCredentials" in cors:
        cors["AllowCredentials"] = str(cors["AllowCredentials"]).lower() == "true"
    return request | ({"Cors": cors} if "Cors" in properties else {})


def _made_url(shown: Mapping[str, Any]) -> Made:
    arn = str(shown["FunctionArn"])
    return Made(arn, {"FunctionUrl": shown["FunctionUrl"], "FunctionArn": arn})


async def _create_url(agent: Agent, properties: Properties) -> Made:
    return _made_url(await agent.ask("lambda", "CreateFunctionUrlConfig", _url(properties)))


async def _update_url(agent: Agent, arn: str, old: Properties, new: Properties) -> Made:
    request = _url(new)
    if "Cors" in old and "Cors" not in new:
        request["Cors"] = {}
    request.setdefault("InvokeMode", "BUFFERED")
    return _made_url(await agent.ask("lambda", "UpdateFunctionUrlConfig", request))


async def _delete_url(agent: Agent, arn: str, properties: Properties) -> None:
    await unless_gone(agent, "DeleteFunctionUrlConfig", {"FunctionName": arn})


URL = ResourceType(
    "AWS::Lambda::Url",
    {
        "TargetFunctionArn": _REQUIRED,
        "Qualifier": _REPLACE,
        "AuthType": Property(required=True),
        "InvokeMode": Property(),
        "Cors": Property(shape={name: Property() for name in _CORS}),
    },
    create=_create_url,
    update=_update_url,
    delete=_delete_url,
    attributes=("FunctionUrl", "FunctionArn"),
)
PUBLISHED = (VERSION, ALIAS, LAYER_VERSION, LAYER_VERSION_PERMISSION, URL)
