# SPDX-License-Identifier: Apache-2.0
"""Status checks of instances. Source: Amazon EC2 User Guide, Status checks for Amazon EC2 instances."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import disks, instances, lifecycle, names, needs, tables
from cloudchamber.services.ec2.checks import many, page, select, takes, with_token
from cloudchamber.services.ec2.compute import Compute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.ec2.health import Level

_REACHABILITY = {"ok": "passed", "impaired": "failed"}


def _summary(level: Level, since: float) -> dict[str, Any]:
    detail: dict[str, Any] = {"Name": "reachability", "Status": _REACHABILITY.get(level, level)}
    if level == "impaired" and since:
        detail["ImpairedSince"] = tables.moment(since)
    return {"Status": level} if level == "not-applicable" else {"Status": level, "Details": [detail]}


_FILTERS = {
    "attached-ebs-status.reachability": "AttachedEbsStatus.Details.Status",
    "attached-ebs-status.status": "AttachedEbsStatus.Status",
    "availability-zone": "AvailabilityZone",
    "availability-zone-id": "AvailabilityZoneId",
    "instance-state-code": "InstanceState.Code",
    "instance-state-name": "InstanceState.Name",
    "instance-status.reachability": "InstanceStatus.Details.Status",
    "instance-status.status": "InstanceStatus.Status",
    "system-status.reachability": "SystemStatus.Details.Status",
    "system-status.status": "SystemStatus.Status",
}


@operation("DescribeInstanceStatus", needs=needs.look("DescribeInstanceStatus"))
@takes("InstanceIds", "Filters", "NextToken", "MaxResults", "IncludeAllInstances", "IncludeManagedResources")
async def describe_instance_status(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Status of instances, as it is now.

    Source: Amazon EC2 API Reference, DescribeInstanceStatus.
    """
    seen = instances.look(call)
    rows = instances.wanted(seen, many(request, "InstanceIds"))
    if not request.get("IncludeAllInstances"):
        rows = [row for row in rows if row.state == "running"]
    by_health = any(
        str(one.get("Name")).partition(".")[0] in ("instance-status", "system-status", "attached-ebs-status")
        for one in many(request, "Filters")
    )
    if by_health:  # Why: only then must those be looked at that no page shows
        views = dict(zip([row.id for row in rows], await _views(call, rows, seen.volumes), strict=True))
        chosen = select(rows, request.get("Filters"), _FILTERS, lambda row: views[row.id])
        shown_rows, token = page(chosen, request, lambda row: row.id)
        return with_token({"InstanceStatuses": [views[row.id] for row in shown_rows]}, token)
    chosen = select(rows, request.get("Filters"), _FILTERS, _placed)
    shown_rows, token = page(chosen, request, lambda row: row.id)
    return with_token({"InstanceStatuses": await _views(call, shown_rows, seen.volumes)}, token)


def _placed(row: tables.Instance) -> dict[str, Any]:
    return {
        "InstanceId": row.id,
        "AvailabilityZone": row.zone,
        "AvailabilityZoneId": dict(names.zones(row.region)).get(row.zone, row.zone),
        "InstanceState": lifecycle.view(row.state),
    }


async def _views(
    call: Call, rows: list[tables.Instance], volumes: Mapping[str, list[disks.Volume]]
) -> list[dict[str, Any]]:
    compute = call.doors.part("ec2", Compute)
    now_s = call.now.timestamp()
    found = await asyncio.gather(
        *(compute.checks.of(row, compute.sandbox(row.id), now_s, held=compute.storage.is_held(row.id)) for row in rows)
    )
    views: list[dict[str, Any]] = []
    for row, health in zip(rows, found, strict=True):
        whole = all(compute.storage.is_there(one) for one in volumes.get(row.id, ()) if one.attachment == "attached")
        ebs: Level = ("ok" if whole else "impaired") if row.state == "running" else "not-applicable"
        views.append(
            {
                **_placed(row),
                "InstanceStatus": _summary(health.instance, health.since),
                "SystemStatus": _summary(health.system, health.since),
                "AttachedEbsStatus": _summary(ebs, 0.0),
                "Events": [],
                "Operator": {"Managed": False},
            }
        )
    return views
