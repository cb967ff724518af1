# SPDX-License-Identifier: Apache-2.0
"""What requests ask for, pure: every member is real here, harmless, or refused by its name."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.services.rds import names
from cloudchamber.services.rds.errors import (
    DBParameterGroupNotFound,
    InvalidParameterCombination,
    InvalidParameterValue,
    MissingParameter,
    OptionGroupNotFound,
)
from cloudchamber.services.rds.tables import Instance

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALPHABET = string.ascii_uppercase + "234567"
_WINDOW = re.compile(
    r"(mon|tue|wed|thu|fri|sat|sun):([01]\d|2[0-3]):[0-5]\d-(mon|tue|wed|thu|fri|sat|sun):([01]\d|2[0-3]):[0-5]\d", re.I
)
_DAILY = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")

_READ = frozenset(
    [
        "DBInstanceIdentifier",
        "DBInstanceClass",
        "Engine",
        "EngineVersion",
        "AllocatedStorage",
        "MaxAllocatedStorage",
        "StorageType",
        "MasterUsername",
        "MasterUserPassword",
        "ManageMasterUserPassword",
        "DBName",
        "Port",
        "VpcSecurityGroupIds",
        "AvailabilityZone",
        "EnableIAMDatabaseAuthentication",
        "DeletionProtection",
        "PubliclyAccessible",
        "Tags",
        "AutoMinorVersionUpgrade",
        "CopyTagsToSnapshot",
        "PreferredBackupWindow",
        "PreferredMaintenanceWindow",
        "DBParameterGroupName",
        "OptionGroupName",
        "DBSubnetGroupName",
        "LicenseModel",
        "EngineLifecycleSupport",
        "ApplyImmediately",
        "AllowMajorVersionUpgrade",
        "DBPortNumber",
        "DBSecurityGroups",
    ]
)
"""Members that are looked at elsewhere, or that change nothing here."""

_ONLY: Mapping[str, tuple[Any, str]] = {
    "MultiAZ": (False, "there is no standby yet"),
    "StorageEncrypted": (False, "storage is not encrypted by cloudchamber; use an encrypted disk"),
    "BackupRetentionPeriod": (0, "automated backups are not taken yet"),
    "EnablePerformanceInsights": (False, "there are no Performance Insights yet"),
    "MonitoringInterval": (0, "there is no Enhanced Monitoring"),
    "NetworkType": ("IPV4", "endpoints have IPv4 addresses"),
    "EnableCustomerOwnedIp": (False, "there are no Outposts"),
    "DedicatedLogVolume": (False, "there is one volume"),
    "MultiTenant": (False, "that is for other engines"),
    "DatabaseInsightsMode": ("standard", "there are no Database Insights"),
    "BackupTarget": ("region", "there are no Outposts"),
    "EnableCloudwatchLogsExports": ([], "logs are not exported yet"),
    "DBSecurityGroups": ([], "that is for EC2-Classic"),
    "ProcessorFeatures": ([], "that is for other engines"),
    "DomainDnsIps": ([], "there is no directory"),
}


def refuse(request: Mapping[str, Any]) -> None:
    """Refuse what is not available, by name.

    Raises:
        InvalidParameterCombination: a member asks for what would not happen.
    """
    for member, value in request.items():
        if member in _ONLY:
            only, why = _ONLY[member]
            if value != only:
                raise InvalidParameterCombination(f"{member} {value} is not available in cloudchamber: {why}.")
        elif member not in _READ:
            raise InvalidParameterCombination(f"{member} is not available in cloudchamber.")


def create(account: str, region: str, request: Mapping[str, Any], now: float) -> Instance:
    """The row that a CreateDBInstance asks for, without endpoint, groups and password.

    Raises:
        InvalidParameterValue, InvalidParameterCombination, MissingParameter, ...: what is wrong.
    """
    name = names.identifier(_required(request, "DBInstanceIdentifier"))
    engine = _required(request, "Engine")
    if engine != "postgres":
        raise InvalidParameterValue(f"Invalid DB engine: {engine}. cloudchamber runs postgres.")
    instance_class = names.instance_class(_required(request, "DBInstanceClass"))
    refuse(request)
    engine_version = names.version(str(request.get("EngineVersion", "")) or "18.6")
    _groups_exist(request, engine_version)
    if "AllocatedStorage" not in request:
        raise MissingParameter("The request must contain the parameter AllocatedStorage.")
    storage_gib = names.storage(int(request["AllocatedStorage"]))
    most = int(request.get("MaxAllocatedStorage", 0))
    if most and most < storage_gib * 1.1:
        raise InvalidParameterCombination("Max storage size must be at least 10% greater than the allocated storage.")
    master = names.master(_required(request, "MasterUsername"))
    _password(request)
    return Instance(
        account=account, region=region, name=name, resource_id=_resource_id(), status="creating", address="",
        port=names.port(int(request.get("Port", names.PORT_DEFAULT))), created=now, instance_class=instance_class,
        storage_gib=storage_gib, storage_type=_storage_type(request), engine_version=engine_version, master=master,
        verifier="", database=names.database(str(request["DBName"])) if request.get("DBName") else "",
        iam=bool(request.get("EnableIAMDatabaseAuthentication")), groups=(),
        protected=bool(request.get("DeletionProtection")), public=bool(request.get("PubliclyAccessible", True)),
        zone=_zone(region, request), storage_max_gib=most,
        auto_minor=bool(request.get("AutoMinorVersionUpgrade", True)),
        copy_tags=bool(request.get("CopyTagsToSnapshot")),
        backup_window=_backup_window(request) or "04:00-04:30",
        maintenance_window=_maintenance_window(request) or "sun:05:00-sun:05:30",
        subnet_group=str(request.get("DBSubnetGroupName") or "default").lower(),
    )  # fmt: skip


def modify(request: Mapping[str, Any]) -> None:
    """Check a ModifyDBInstance without looking at its instance.

    Raises:
        InvalidParameterValue, InvalidParameterCombination.
    """
    for member in (
        "DBName",
        "MasterUsername",
        "EngineVersion",
        "MaxAllocatedStorage",
        "StorageType",
        "OptionGroupName",
        "DBSubnetGroupName",
    ):
        if member in request:
            raise InvalidParameterCombination(f"{member} cannot be modified in cloudchamber.")
    refuse({k: v for k, v in request.items() if k != "ManageMasterUserPassword"})
    if "ManageMasterUserPassword" in request:
        raise InvalidParameterCombination("ManageMasterUserPassword cannot be modified in cloudchamber.")
    _backup_window(request)
    _maintenance_window(request)


def later(row: Instance, request: Mapping[str, Any]) -> dict[str, Any]:
    """Changes that wait for the maintenance window or `ApplyImmediately`.

    Raises:
        InvalidParameterValue, InvalidParameterCombination.
    """
    found: dict[str, Any] = {}
    if "DBInstanceClass" in request and request["DBInstanceClass"] != row.instance_class:
        found["instance_class"] = names.instance_class(str(request["DBInstanceClass"]))
    if "AllocatedStorage" in request and int(request["AllocatedStorage"]) != row.storage_gib:
        size = names.storage(int(request["AllocatedStorage"]))
        if size < row.storage_gib * 1.1:
            raise InvalidParameterCombination("Invalid storage size: it must grow by at least 10 percent.")
        found["storage_gib"] = size
    if "DBPortNumber" in request and int(request["DBPortNumber"]) != row.port:
        found["port"] = names.port(int(request["DBPortNumber"]))
    return found


def page(request: Mapping[str, Any]) -> tuple[str, int]:
    """`Marker` as the last name of the page before, and `MaxRecords`.

    Raises:
        InvalidParameterValue: either is invalid.
    """
    size = int(request.get("MaxRecords", 100))
    if not 20 <= size <= 100:
        raise InvalidParameterValue(f"Invalid value {size} for MaxRecords. Must be between 20 and 100")
    try:
        return pages.after(str(request.get("Marker", ""))), size
    except ValueError:
        raise InvalidParameterValue("The parameter Marker is invalid.") from None


def filters(request: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`Filters`, each a name with values of which one must match.

    Raises:
        InvalidParameterValue: an unknown filter.
    """
    found: dict[str, tuple[str, ...]] = {}
    for one in request.get("Filters") or ():
        name = str(one.get("Name", ""))
        if name not in known:
            raise InvalidParameterValue(f"Unrecognized filter name: {name}")
        found[name] = tuple(str(value) for value in one.get("Values") or ())
    return found


def _required(request: Mapping[str, Any], member: str) -> str:
    value = str(request.get(member, ""))
    if not value:
        raise MissingParameter(f"The request must contain the parameter {member}.")
    return value


def _resource_id() -> str:
    # 26 characters of the 32 in the alphabet: 130 random bits.
    number = int(ids.hex_token(17), 16)
    return "db-" + "".join(_ALPHABET[(number >> (5 * i)) & 31] for i in range(26))


def _password(request: Mapping[str, Any]) -> None:
    managed, given = bool(request.get("ManageMasterUserPassword")), "MasterUserPassword" in request
    if managed and given:
        raise InvalidParameterCombination(
            "You can't specify MasterUserPassword when ManageMasterUserPassword is specified."
        )
    if not managed and not given:
        raise InvalidParameterValue("Invalid master password")
    if given:
        names.password(str(request["MasterUserPassword"]))


def _storage_type(request: Mapping[str, Any]) -> str:
    kind = str(request.get("StorageType", "gp2"))
    if kind not in ("gp2", "gp3", "standard"):
        raise InvalidParameterCombination(f"StorageType {kind} is not available in cloudchamber.")
    return kind


def _zone(region: str, request: Mapping[str, Any]) -> str:
    zone = str(request.get("AvailabilityZone", f"{region}a"))
    if not re.fullmatch(re.escape(region) + "[a-f]", zone):
        raise InvalidParameterValue(f"Invalid Availability Zone: {zone}")
    return zone


def _groups_exist(request: Mapping[str, Any], version: str) -> None:
    major = version.split(".")[0]
    group = request.get("DBParameterGroupName")
    if group and group != f"default.postgres{major}":
        raise DBParameterGroupNotFound(f"DBParameterGroup not found: {group}")
    option = request.get("OptionGroupName")
    if option and option != f"default:postgres-{major}":
        raise OptionGroupNotFound(f"Specified OptionGroupName: {option} not found.")


def _backup_window(request: Mapping[str, Any]) -> str:
    text = str(request.get("PreferredBackupWindow", ""))
    if text and not _DAILY.fullmatch(text):
        raise InvalidParameterValue(f"Invalid backup window: {text}")
    return text


def _maintenance_window(request: Mapping[str, Any]) -> str:
    text = str(request.get("PreferredMaintenanceWindow", ""))
    if text and not _WINDOW.fullmatch(text):
        raise InvalidParameterValue(f"Invalid maintenance window: {text}")
    return text.lower()
