# SPDX-License-Identifier: Apache-2.0
"""AWS::RDS::DBInstance and DBSubnetGroup. Source: CloudFormation Template Reference."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.contract.resource import Made, Property, ResourceType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent, Properties

_TYPE = "AWS::RDS::DBInstance"
_WITHIN_S = 600.0
_TAG = {"Key": Property(required=True), "Value": Property()}
_STRUCTURES = {"MasterUserSecret": Property(shape={"SecretArn": Property(), "KmsKeyId": Property()})}
_IN_PLACE = (
    "AutoMinorVersionUpgrade", "BackupRetentionPeriod", "CopyTagsToSnapshot", "DeleteAutomatedBackups",
    "DeletionProtection", "EnableIAMDatabaseAuthentication", "EnablePerformanceInsights", "ManageMasterUserPassword",
    "MasterUserPassword", "MaxAllocatedStorage", "MonitoringInterval", "MultiAZ", "PreferredBackupWindow",
    "PreferredMaintenanceWindow", "PubliclyAccessible", "VPCSecurityGroups", "AllocatedStorage", "StorageType",
    "LicenseModel", "NetworkType", "EngineLifecycleSupport", "DBParameterGroupName", "OptionGroupName",
    "EngineVersion", "AllowMajorVersionUpgrade", "DatabaseInsightsMode",
)  # fmt: skip
_REPLACE = (
    "AvailabilityZone",
    "DBInstanceIdentifier",
    "DBName",
    "DBSubnetGroupName",
    "Engine",
    "MasterUsername",
    "StorageEncrypted",
)
_NUMBERS = ("AllocatedStorage", "BackupRetentionPeriod", "MaxAllocatedStorage", "MonitoringInterval", "Port")
_BOOLEANS = (
    "AutoMinorVersionUpgrade", "CopyTagsToSnapshot", "DeletionProtection", "EnableIAMDatabaseAuthentication",
    "EnablePerformanceInsights", "ManageMasterUserPassword", "MultiAZ", "PubliclyAccessible", "StorageEncrypted",
    "AllowMajorVersionUpgrade",
)  # fmt: skip
_NOT_IN_API = ("DeleteAutomatedBackups", "Tags", "VPCSecurityGroups", "AllowMajorVersionUpgrade", "MasterUserSecret")
_CREATE_ONLY_HERE = (
    "EngineVersion",
    "ManageMasterUserPassword",
    "MaxAllocatedStorage",
    "StorageType",
    "LicenseModel",
    "NetworkType",
    "EngineLifecycleSupport",
    "DBParameterGroupName",
    "OptionGroupName",
)

PROPERTIES: Mapping[str, Property] = {
    **{name: Property() for name in _IN_PLACE},
    **{name: Property("replace") for name in _REPLACE},
    **_STRUCTURES,
    "DBInstanceClass": Property("interrupt"),
    "Port": Property("interrupt"),
    "Tags": Property(shape=_TAG),
}


def check(properties: Properties) -> None:
    """Refuse before anything is made.

    Raises:
        ValidationError: the API would refuse it.
    """
    from cloudchamber.services.rds import asked

    # Why: what is known only later (another resource's attribute, a secret) cannot be checked now.
    known = {k: v for k, v in properties.items() if "{{" not in str(v)}
    try:
        request = {"DBInstanceIdentifier": "a", **_request(known)}
        if known.keys() | {"VPCSecurityGroups", "Tags"} >= properties.keys():
            asked.create("000000000000", "us-east-1", {**request, "AvailabilityZone": "us-east-1a"}, 0.0)
        asked.refuse(request)
    except ServiceError as error:
        raise ValidationError(f"{_TYPE}: {error.message}") from error
    if properties.get("MasterUserSecret"):
        raise ValidationError(f"{_TYPE}: MasterUserSecret.KmsKeyId is not available in cloudchamber.")


async def create(agent: Agent, properties: Properties) -> Made:
    """Make the instance; return once it is available."""
    name = str(properties.get("DBInstanceIdentifier") or agent.name(63, lower=True))
    request = {"DBInstanceIdentifier": name, **_request(properties)}
    tags = {**agent.stack_tags, **_tags(properties)}
    if tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    made = (await agent.ask("rds", "CreateDBInstance", request))["DBInstance"]
    try:
        found = await _until_available(agent, str(made["DBInstanceIdentifier"]))
    except BaseException:
        await delete(agent, name, {**properties, "DeletionProtection": False})
        raise
    return _made(found)


async def update(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    """Change it, at once."""
    before, after = _request(old), _request(new)
    for name in _CREATE_ONLY_HERE:
        if before.get(name) != after.get(name):
            raise ValidationError(f"{_TYPE}: {name} cannot be changed in cloudchamber.")
    changes = {k: v for k, v in after.items() if before.get(k) != v}
    if "Port" in changes:
        changes["DBPortNumber"] = changes.pop("Port")
    for gone in before.keys() - after.keys():
        if gone in _BOOLEANS:
            changes[gone] = False
    if changes:
        await agent.ask(
            "rds", "ModifyDBInstance", {"DBInstanceIdentifier": physical_id, "ApplyImmediately": True, **changes}
        )
    found = await _until_available(agent, physical_id)
    removed = _tags(old).keys() - _tags(new).keys()
    arn = found["DBInstanceArn"]
    if removed:
        await agent.ask("rds", "RemoveTagsFromResource", {"ResourceName": arn, "TagKeys": sorted(removed)})
    if _tags(new) and _tags(new) != _tags(old):
        tags = [{"Key": key, "Value": value} for key, value in _tags(new).items()]
        await agent.ask("rds", "AddTagsToResource", {"ResourceName": arn, "Tags": tags})
    return _made(found)


async def delete(agent: Agent, physical_id: str, properties: Properties) -> None:
    """Delete it without a final snapshot (there are none yet); gone already is a success."""
    try:
        found = await _describe(agent, physical_id)
        if found["DBInstanceStatus"] != "deleting":
            await agent.ask("rds", "DeleteDBInstance", {"DBInstanceIdentifier": physical_id, "SkipFinalSnapshot": True})
        await _until(agent, physical_id, "")
    except ServiceError as error:
        if error.code != "DBInstanceNotFound":
            raise


async def _until_available(agent: Agent, name: str) -> Mapping[str, Any]:
    return await _until(agent, name, "available")


async def _until(agent: Agent, name: str, status: str) -> Mapping[str, Any]:
    """Wait for a status; until DBInstanceNotFound is raised if `status` is empty.

    Raises:
        ValidationError: it failed, or takes too long.
    """
    waited_s, pause_s = 0.0, 0.05
    while waited_s < _WITHIN_S:
        found = await _describe(agent, name)
        if found["DBInstanceStatus"] == status:
            return found
        if found["DBInstanceStatus"] == "failed" and status:
            events = await agent.ask("rds", "DescribeEvents", {"SourceType": "db-instance", "SourceIdentifier": name})
            failures = [one["Message"] for one in events["Events"] if "failure" in one["EventCategories"]]
            raise ValidationError(f"DB instance {name} failed: {(failures or ['no reason known'])[-1]}")
        await asyncio.sleep(pause_s)
        waited_s += pause_s
        pause_s = min(pause_s * 1.5, 1.0)
    raise ValidationError(f"DB instance {name} did not stabilize in {_WITHIN_S:.0f} s.")


async def _describe(agent: Agent, name: str) -> Mapping[str, Any]:
    return (await agent.ask("rds", "DescribeDBInstances", {"DBInstanceIdentifier": name}))["DBInstances"][0]


def _made(found: Mapping[str, Any]) -> Made:
    endpoint = found.get("Endpoint", {})
    attributes = {
        "Endpoint.Address": endpoint.get("Address", ""),
        "Endpoint.Port": str(endpoint.get("Port", "")),
        "DbiResourceId": found["DbiResourceId"],
        "DBInstanceArn": found["DBInstanceArn"],
    }
    if "MasterUserSecret" in found:
        attributes["MasterUserSecret.SecretArn"] = found["MasterUserSecret"]["SecretArn"]
    return Made(str(found["DBInstanceIdentifier"]), attributes)


def _request(properties: Properties) -> dict[str, Any]:
    """Properties as members of CreateDBInstance; CloudFormation gives numbers and booleans as strings too."""
    request: dict[str, Any] = {}
    for name, value in properties.items():
        if name in _NOT_IN_API:
            continue
        if name in _NUMBERS:
            request[name] = _number(name, value)
        elif name in _BOOLEANS:
            request[name] = value if isinstance(value, bool) else str(value).lower() == "true"
        else:
            request[name] = value
    if "VPCSecurityGroups" in properties:
        request["VpcSecurityGroupIds"] = list(properties["VPCSecurityGroups"])
    return request


def _number(name: str, value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise ValidationError(f"{_TYPE}: {name} must be a number, not {value!r}.") from None


def _tags(properties: Properties) -> dict[str, str]:
    return {str(one["Key"]): str(one.get("Value", "")) for one in properties.get("Tags") or ()}


# AWS::RDS::DBSubnetGroup


def _group(agent: Agent, properties: Properties) -> dict[str, Any]:
    return {
        "DBSubnetGroupName": str(properties.get("DBSubnetGroupName") or agent.name(255, lower=True)).lower(),
        "DBSubnetGroupDescription": str(properties["DBSubnetGroupDescription"]),
        "SubnetIds": [str(one) for one in properties["SubnetIds"]],
    }


async def create_group(agent: Agent, properties: Properties) -> Made:
    """Make the DB subnet group."""
    request = _group(agent, properties)
    tags = {**agent.stack_tags, **_tags(properties)}
    if tags:
        request["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    made = (await agent.ask("rds", "CreateDBSubnetGroup", request))["DBSubnetGroup"]
    return Made(made["DBSubnetGroupName"])


async def update_group(agent: Agent, physical_id: str, old: Properties, new: Properties) -> Made:
    """Change its subnets or its description."""
    await agent.ask("rds", "ModifyDBSubnetGroup", {**_group(agent, new), "DBSubnetGroupName": physical_id})
    return Made(physical_id)


async def delete_group(agent: Agent, physical_id: str, properties: Properties) -> None:
    """Delete it; gone already is a success."""
    try:
        await agent.ask("rds", "DeleteDBSubnetGroup", {"DBSubnetGroupName": physical_id})
    except ServiceError as error:
        if error.code != "DBSubnetGroupNotFoundFault":
            raise


RESOURCES = (
    ResourceType(
        "AWS::RDS::DBSubnetGroup",
        {
            "DBSubnetGroupName": Property("replace"),
            "DBSubnetGroupDescription": Property(required=True),
            "SubnetIds": Property(required=True),
            "Tags": Property("replace", shape=_TAG),
        },
        create_group,
        delete_group,
        update_group,
    ),
    ResourceType(
        _TYPE, PROPERTIES, create, delete, update,
        attributes=(
            "Endpoint.Address", "Endpoint.Port", "DbiResourceId", "DBInstanceArn", "MasterUserSecret.SecretArn",
        ),
        check=check,
    ),
)  # fmt: skip
