# SPDX-License-Identifier: Apache-2.0
"""Events and tags of DB instances."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.rds import asked, names, needs, tables
from cloudchamber.services.rds.errors import InvalidParameterCombination, InvalidParameterValue
from cloudchamber.services.rds.instances import find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

_KEPT_MIN = 14 * 24 * 60


@operation("DescribeEvents", needs=needs.anywhere("DescribeEvents"))
async def describe_events(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What happened to DB instances, of the last hour unless asked otherwise; at most 14 days back.

    Source: Amazon RDS API Reference, DescribeEvents.
    """
    _, size = asked.page({k: v for k, v in request.items() if k == "MaxRecords"})
    asked.filters(request, ())
    marker = str(request.get("Marker", "0"))
    if not marker.isdigit():
        raise InvalidParameterValue("The parameter Marker is invalid.")
    kind = request.get("SourceType")
    if request.get("SourceIdentifier") and not kind:
        raise InvalidParameterCombination("SourceType must be specified with SourceIdentifier.")
    duration = min(int(request.get("Duration", 60)), _KEPT_MIN)
    until = request["EndTime"].timestamp() if "EndTime" in request else call.now.timestamp()
    since = request["StartTime"].timestamp() if "StartTime" in request else until - duration * 60
    rows: list[Any] = []
    if kind in (None, "db-instance"):
        source = str(request.get("SourceIdentifier", "")).lower()
        rows = call.doors.database.read(lambda db: tables.events(db, call.account, call.region, source, since, until))
    wanted = {str(one) for one in request.get("EventCategories") or ()}
    kept = [row for row in rows if row["id"] > int(marker) and (not wanted or row["category"] in wanted)]
    answer: dict[str, Any] = {"Events": [_event(row) for row in kept[:size]]}
    if len(kept) > size:
        answer["Marker"] = str(kept[size - 1]["id"])
    return answer


@operation("AddTagsToResource", needs=needs.on_resource("AddTagsToResource"))
async def add_tags_to_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add or replace tags of a DB instance.

    Source: Amazon RDS API Reference, AddTagsToResource.
    """
    row = _resource(call, request)
    added = names.tags(request.get("Tags"))
    if any(key.lower().startswith("aws:") for key in added):
        raise InvalidParameterValue("Tag keys must not begin with aws:.")

    def write(tx: tables.Tx) -> None:
        if len({**tables.tags(tx, row.arn), **added}) > 50:
            raise InvalidParameterValue("A resource has at most 50 tags.")
        tables.tag(tx, row.arn, added)

    await call.doors.database.write(write)
    return {}


@operation("RemoveTagsFromResource", needs=needs.on_resource("RemoveTagsFromResource"))
async def remove_tags_from_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags of a DB instance.

    Source: Amazon RDS API Reference, RemoveTagsFromResource.
    """
    row = _resource(call, request)
    keys = [str(key) for key in request.get("TagKeys") or ()]
    await call.doors.database.write(lambda tx: tables.untag(tx, row.arn, keys))
    return {}


@operation("ListTagsForResource", needs=needs.on_resource("ListTagsForResource"))
async def list_tags_for_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Tags of a DB instance.

    Source: Amazon RDS API Reference, ListTagsForResource.
    """
    asked.filters(request, ())
    row = _resource(call, request)
    found = call.doors.database.read(lambda db: tables.tags(db, row.arn))
    return {"TagList": [{"Key": key, "Value": value} for key, value in found.items()]}


def _resource(call: Call, request: Mapping[str, Any]) -> tables.Instance:
    arn = str(request.get("ResourceName", ""))
    if ":db:" not in arn:
        raise InvalidParameterValue(f"Invalid resource name: {arn}. cloudchamber has DB instances.")
    return find(call, arn)


def _event(row: Any) -> dict[str, Any]:
    return {
        "SourceIdentifier": row["source"],
        "SourceType": "db-instance",
        "Message": row["message"],
        "EventCategories": [row["category"]],
        "Date": datetime.fromtimestamp(row["at"], UTC),
        "SourceArn": row["arn"],
    }
