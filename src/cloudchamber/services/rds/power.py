# SPDX-License-Identifier: Apache-2.0
"""Start, stop and reboot DB instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.rds import needs
from cloudchamber.services.rds.errors import InvalidParameterCombination
from cloudchamber.services.rds.instances import find, move, show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


@operation("StartDBInstance", needs=needs.on_instance("StartDBInstance"))
async def start_db_instance(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Start a stopped DB instance.

    Raises:
        InvalidDBInstanceState: it is not stopped.

    Source: Amazon RDS API Reference, StartDBInstance.
    """
    if request.get("DBCapacityReservationIdentifier"):
        raise InvalidParameterCombination("DBCapacityReservationIdentifier is not available in cloudchamber.")
    row = find(call, str(request["DBInstanceIdentifier"]))
    return {"DBInstance": show(call, await move(call, row, "start", "DB instance is being started"))}


@operation("StopDBInstance", needs=needs.on_instance("StopDBInstance"))
async def stop_db_instance(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Stop a DB instance; it stays stopped (RDS's start after seven days is not done).

    Raises:
        InvalidDBInstanceState: it is not available. InvalidParameterCombination: a snapshot is asked for.

    Source: Amazon RDS API Reference, StopDBInstance.
    """
    if request.get("DBSnapshotIdentifier"):
        raise InvalidParameterCombination("DBSnapshotIdentifier is not available: cloudchamber takes no snapshots yet.")
    if request.get("DetachFromDBCapacityReservation"):
        raise InvalidParameterCombination("DetachFromDBCapacityReservation is not available in cloudchamber.")
    row = find(call, str(request["DBInstanceIdentifier"]))
    return {"DBInstance": show(call, await move(call, row, "stop", "DB instance is being stopped"))}


@operation("RebootDBInstance", needs=needs.on_instance("RebootDBInstance"))
async def reboot_db_instance(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Restart the server of a DB instance; connections are closed.

    Raises:
        InvalidDBInstanceState: it is not available. InvalidParameterCombination: a failover is asked for.

    Source: Amazon RDS API Reference, RebootDBInstance.
    """
    if request.get("ForceFailover"):
        raise InvalidParameterCombination("You can't specify ForceFailover for an instance that isn't Multi-AZ.")
    row = find(call, str(request["DBInstanceIdentifier"]))
    return {"DBInstance": show(call, await move(call, row, "reboot", "DB instance is being restarted"))}
