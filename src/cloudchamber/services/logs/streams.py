# SPDX-License-Identifier: Apache-2.0
"""Log streams: create, describe, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.logs import names, needs, tables
from cloudchamber.services.logs.errors import InvalidParameterException, ResourceAlreadyExistsException
from cloudchamber.services.logs.groups import now_ms, read_group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.logs.tables import Group, Stream
    from cloudchamber.store.database import Reader, Tx

_PAGE = 50


@operation("CreateLogStream", needs=needs.on_stream("CreateLogStream"))
async def create_log_stream(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Create a stream in a group. Source: CloudWatch Logs API Reference, CreateLogStream."""
    group_name = names.check_group(str(request["logGroupName"]))
    name = names.check_stream(str(request["logStreamName"]))
    created = now_ms(call)

    def publish(tx: Tx) -> None:
        group = tables.get_group(tx, call.account, call.region, group_name)
        made = tx.execute(
            "INSERT OR IGNORE INTO logs_streams (group_id, name, created) VALUES (?, ?, ?)", (group.id, name, created)
        )
        if not made.rowcount:
            raise ResourceAlreadyExistsException("The specified log stream already exists")

    await call.doors.database.write(publish)
    return {}


@operation("DeleteLogStream", needs=needs.on_stream("DeleteLogStream"))
async def delete_log_stream(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a stream with its events. Source: CloudWatch Logs API Reference, DeleteLogStream."""
    group_name = names.check_group(str(request["logGroupName"]))

    def publish(tx: Tx) -> None:
        group = tables.get_group(tx, call.account, call.region, group_name)
        stream = tables.get_stream(tx, group, str(request["logStreamName"]))
        tx.execute("DELETE FROM logs_streams WHERE id = ?", (stream.id,))

    await call.doors.database.write(publish)
    return {}


@operation("DescribeLogStreams", needs=needs.on_group("DescribeLogStreams"))
async def describe_log_streams(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Streams of a group, by name or by the time of their last event.

    Source: CloudWatch Logs API Reference, DescribeLogStreams.
    """
    order = request.get("orderBy", "LogStreamName")
    prefix = str(request.get("logStreamNamePrefix", ""))
    if order not in ("LogStreamName", "LastEventTime"):
        raise InvalidParameterException("orderBy must be LogStreamName or LastEventTime")
    if order == "LastEventTime" and prefix:
        raise InvalidParameterException("Cannot order by LastEventTime with a logStreamNamePrefix.")
    group = read_group(call, request)
    limit = names.limit(request, _PAGE)
    start = _offset(request)
    column = "name" if order == "LogStreamName" else "coalesce(last_event, created)"
    direction = "DESC" if request.get("descending") else "ASC"

    def look(db: Reader) -> list[Stream]:
        rows = db.execute(
            f"SELECT * FROM logs_streams WHERE group_id = ? AND substr(name, 1, ?) = ? "
            f"ORDER BY {column} {direction}, id LIMIT ? OFFSET ?",
            (group.id, len(prefix), prefix, limit + 1, start),
        )
        return [tables.stream_of(row) for row in rows]

    found = await call.doors.database.query(look)
    answer: dict[str, Any] = {"logStreams": [_shown(group, stream) for stream in found[:limit]]}
    if len(found) > limit:
        answer["nextToken"] = pages.token(str(start + limit))
    return answer


def _offset(request: Mapping[str, Any]) -> int:
    if not request.get("nextToken"):
        return 0
    number = names.unseal(str(request["nextToken"]))
    if not number.isdecimal() or len(number) > 18:
        raise InvalidParameterException("The specified nextToken is invalid.")
    return int(number)


def _shown(group: Group, stream: Stream) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "logStreamName": stream.name,
        "creationTime": stream.created,
        "arn": f"{names.group_arn(group.account, group.region, group.name)}:log-stream:{stream.name}",
        "storedBytes": 0,
    }
    if stream.last_ingestion is not None:
        answer["uploadSequenceToken"] = f"{stream.id:056d}"
    times = {
        "firstEventTimestamp": stream.first_event,
        "lastEventTimestamp": stream.last_event,
        "lastIngestionTime": stream.last_ingestion,
    }
    return answer | {name: value for name, value in times.items() if value is not None}
