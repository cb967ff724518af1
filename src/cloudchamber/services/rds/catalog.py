# SPDX-License-Identifier: Apache-2.0
"""What can be had: engine versions, instance classes, the default groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.rds import asked, names, needs
from cloudchamber.services.rds.errors import DBParameterGroupNotFound, InvalidParameterValue
from cloudchamber.services.rds.instances import part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


@operation("DescribeDBEngineVersions", needs=needs.anywhere("DescribeDBEngineVersions"))
async def describe_db_engine_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The PostgreSQL that really runs; other versions are accepted by CreateDBInstance, and its event names this one.

    Source: Amazon RDS API Reference, DescribeDBEngineVersions.
    """
    asked.page(request)
    asked.filters(request, ())
    engine = part(call.doors).engine
    if not engine.version:
        await engine.prepare()
    major = engine.version.split(".")[0]
    found = {
        "Engine": "postgres", "EngineVersion": engine.version, "DBParameterGroupFamily": f"postgres{major}",
        "DBEngineDescription": "PostgreSQL", "DBEngineVersionDescription": f"PostgreSQL {engine.version}",
        "ValidUpgradeTarget": [], "ExportableLogTypes": [], "SupportsLogExportsToCloudwatchLogs": False,
        "SupportsReadReplica": False, "SupportedFeatureNames": [], "Status": "available",
        "SupportsParallelQuery": False, "SupportsGlobalDatabases": False, "MajorEngineVersion": major,
        "SupportedEngineModes": ["provisioned"],
    }  # fmt: skip
    wanted = (request.get("Engine", "postgres"), request.get("EngineVersion", engine.version))
    family = request.get("DBParameterGroupFamily", found["DBParameterGroupFamily"])
    shown = wanted[0] == "postgres" and wanted[1] in (engine.version, major) and family == f"postgres{major}"
    return {"DBEngineVersions": [found] if shown else []}


@operation("DescribeOrderableDBInstanceOptions", needs=needs.anywhere("DescribeOrderableDBInstanceOptions"))
async def describe_orderable_db_instance_options(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Instance classes that CreateDBInstance takes.

    Source: Amazon RDS API Reference, DescribeOrderableDBInstanceOptions.
    """
    asked.filters(request, ())
    if request.get("AvailabilityZoneGroup", call.region) != call.region:
        raise InvalidParameterValue("AvailabilityZoneGroup is available in cloudchamber for the region itself.")
    engine = part(call.doors).engine
    if not engine.version:
        await engine.prepare()
    after, size = asked.page(request)
    classes = [
        one
        for one in sorted(names.CLASSES)
        if one > after and request.get("DBInstanceClass", one) == one and request.get("Engine") == "postgres"
    ]
    answer: dict[str, Any] = {
        "OrderableDBInstanceOptions": [
            {
                "Engine": "postgres", "EngineVersion": request.get("EngineVersion", engine.version),
                "DBInstanceClass": one, "LicenseModel": "postgresql-license", "MultiAZCapable": False,
                "AvailabilityZones": [{"Name": f"{call.region}{zone}"} for zone in "abc"],
                "ReadReplicaCapable": False, "Vpc": True, "SupportsStorageEncryption": False, "StorageType": "gp2",
                "SupportsIops": False, "SupportsEnhancedMonitoring": False, "SupportsIAMDatabaseAuthentication": True,
                "SupportsPerformanceInsights": False, "MinStorageSize": 20, "MaxStorageSize": 65_536,
                "SupportsStorageAutoscaling": False, "SupportsKerberosAuthentication": False,
                "SupportedNetworkTypes": ["IPV4"],
            }
            for one in classes[:size]
        ]
    }  # fmt: skip
    if len(classes) > size:
        answer["Marker"] = pages.token(classes[size - 1])
    return answer


@operation("DescribeDBParameterGroups", needs=needs.anywhere("DescribeDBParameterGroups"))
async def describe_db_parameter_groups(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The default group of each major version; there are no others yet.

    Source: Amazon RDS API Reference, DescribeDBParameterGroups.
    """
    asked.page(request)
    asked.filters(request, ())
    groups = [
        {
            "DBParameterGroupName": f"default.postgres{major}",
            "DBParameterGroupFamily": f"postgres{major}",
            "Description": f"Default parameter group for postgres{major}",
            "DBParameterGroupArn": f"arn:aws:rds:{call.region}:{call.account}:pg:default.postgres{major}",
        }
        for major in names.MAJORS
    ]
    wanted = request.get("DBParameterGroupName")
    if wanted:
        groups = [one for one in groups if one["DBParameterGroupName"] == wanted]
        if not groups:
            raise DBParameterGroupNotFound(f"DBParameterGroup {wanted} not found.")
    return {"DBParameterGroups": groups}
