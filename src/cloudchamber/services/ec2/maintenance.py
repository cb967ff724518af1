# SPDX-License-Identifier: Apache-2.0
"""Automatic recovery of instances: what they are to have of it.

It is AWS's recovery from trouble of the host: an instance whose machine went down boots again when the chamber is back
(`Compute.start`). A guest that ends by itself is no trouble of the host, and stays stopped, as on AWS.
Source: Amazon EC2 User Guide, Automatic instance recovery.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, instances, needs, tables
from cloudchamber.services.ec2.checks import refuse, takes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


def check(options: Mapping[str, Any]) -> None:
    """Check `MaintenanceOptions`.

    Raises:
        InvalidParameterValue, UnsupportedOperation: a value that is not one, or another option.
    """
    refuse("MaintenanceOptions.", options, {"AutoRecovery"})
    value = options.get("AutoRecovery") or "default"
    if value not in ("default", "disabled"):
        raise errors.InvalidParameterValue(f"Value ({value}) for parameter AutoRecovery is invalid.")


@operation("ModifyInstanceMaintenanceOptions", needs=needs.on("ModifyInstanceMaintenanceOptions", "InstanceId"))
@takes("InstanceId", "AutoRecovery")
async def modify_instance_maintenance_options(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Turn automatic recovery off for an instance, or back to its default, which is on.

    Source: Amazon EC2 API Reference, ModifyInstanceMaintenanceOptions.
    """
    check({"AutoRecovery": request.get("AutoRecovery")})
    row = instances.wanted(instances.look(call), [request["InstanceId"]])[0]
    value = request.get("AutoRecovery") or row.auto_recovery
    await call.doors.database.write(lambda tx: tables.update_instance(tx, row.id, auto_recovery=value))
    return {"InstanceId": row.id, "AutoRecovery": value}


@operation("UnmonitorInstances", needs=needs.on("UnmonitorInstances", "InstanceIds"))
@takes("InstanceIds")
async def unmonitor_instances(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Leave off detailed monitoring, which no instance has here.

    Source: Amazon EC2 API Reference, UnmonitorInstances.
    """
    rows = instances.wanted(instances.look(call), request["InstanceIds"])
    return {"InstanceMonitorings": [{"InstanceId": row.id, "Monitoring": {"State": "disabled"}} for row in rows]}
