# SPDX-License-Identifier: Apache-2.0
"""Rows as RDS writes them, pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.services.rds.tables import Instance

_PENDING = {"instance_class": "DBInstanceClass", "storage_gib": "AllocatedStorage", "port": "Port"}


def instance(row: Instance, tags: Mapping[str, str]) -> dict[str, Any]:
    """`DBInstance`. The endpoint is shown once the instance has been available."""
    major = row.engine_version.split(".")[0]
    pending: dict[str, Any] = {_PENDING[k]: v for k, v in row.pending.items() if k in _PENDING}
    shown: dict[str, Any] = {
        "DBInstanceIdentifier": row.name,
        "DBInstanceClass": row.instance_class,
        "Engine": "postgres",
        "DBInstanceStatus": row.status,
        "MasterUsername": row.master,
        "AllocatedStorage": row.storage_gib,
        "InstanceCreateTime": datetime.fromtimestamp(row.created, UTC),
        "PreferredBackupWindow": row.backup_window,
        "BackupRetentionPeriod": 0,
        "DBSecurityGroups": [],
        "VpcSecurityGroups": [{"VpcSecurityGroupId": one, "Status": "active"} for one in row.groups],
        "DBParameterGroups": [{"DBParameterGroupName": f"default.postgres{major}", "ParameterApplyStatus": "in-sync"}],
        "AvailabilityZone": row.zone,
        "PreferredMaintenanceWindow": row.maintenance_window,
        "PendingModifiedValues": pending,
        "MultiAZ": False,
        "EngineVersion": row.engine_version,
        "AutoMinorVersionUpgrade": row.auto_minor,
        "ReadReplicaDBInstanceIdentifiers": [],
        "LicenseModel": "postgresql-license",
        "OptionGroupMemberships": [{"OptionGroupName": f"default:postgres-{major}", "Status": "in-sync"}],
        "PubliclyAccessible": row.public,
        "StorageType": row.storage_type,
        "DbInstancePort": 0,
        "StorageEncrypted": False,
        "DbiResourceId": row.resource_id,
        "DomainMemberships": [],
        "CopyTagsToSnapshot": row.copy_tags,
        "MonitoringInterval": 0,
        "DBInstanceArn": row.arn,
        "IAMDatabaseAuthenticationEnabled": row.iam,
        "PerformanceInsightsEnabled": False,
        "DeletionProtection": row.protected,
        "AssociatedRoles": [],
        "TagList": [{"Key": key, "Value": value} for key, value in tags.items()],
        "CustomerOwnedIpEnabled": False,
        "NetworkType": "IPV4",
        "BackupTarget": "region",
    }
    if row.built:
        shown["Endpoint"] = {"Address": row.address, "Port": row.port}
    if row.database:
        shown["DBName"] = row.database
    if row.storage_max_gib:
        shown["MaxAllocatedStorage"] = row.storage_max_gib
    if row.secret_arn:
        status = "active" if row.built else "creating"
        shown["MasterUserSecret"] = {"SecretArn": row.secret_arn, "SecretStatus": status}
    return shown
