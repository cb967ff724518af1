# SPDX-License-Identifier: Apache-2.0
"""Log events: put, get, filter."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.logs import names, needs, tables
from cloudchamber.services.logs.errors import InvalidParameterException
from cloudchamber.services.logs.filters import wanted_pattern
from cloudchamber.services.logs.groups import now_ms, read_group

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.base.clock import Clock
    from cloudchamber.contract.call import Call
    from cloudchamber.services.logs.patterns.scanner import Pattern
    from cloudchamber.services.logs.tables import Group, Stream
    from cloudchamber.store.database import Reader, Tx

_BATCH_MAX = 10_000
_BATCH_OCTETS = 1_048_576
_OVERHEAD = 26
"""Octets that each event counts besides its message. Source: PutLogEvents."""
_PAGE = 10_000
_PAGE_OCTETS = 1_048_576
_SCAN = 20_000
_LOOKS_S = 2.0
"""How long one page is looked for; what is left comes with the next."""
_HOUR_MS = 3_600_000
_DAY_MS = 86_400_000
_FOR_EVER_MS = 1 << 62


@operation("PutLogEvents", needs=needs.on_stream("PutLogEvents"))
async def put_log_events(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add events to a stream, in order of their time; those too old or too new are left out and said.

    Source: CloudWatch Logs API Reference, PutLogEvents.
    """
    group_name = names.check_group(str(request["logGroupName"]))
    events: Sequence[Mapping[str, Any]] = request["logEvents"]
    _check_batch(events)
    now = now_ms(call)

    def publish(tx: Tx) -> tuple[Stream, dict[str, int]]:
        group = tables.get_group(tx, call.account, call.region, group_name)
        stream = tables.get_stream(tx, group, str(request["logStreamName"]))
        first, end, rejected = _acceptable(events, now, group.retention_days)
        taken = events[first:end]
        if taken:
            _insert(tx, group, stream, taken, now)
        return stream, rejected

    stream, rejected = await call.doors.database.write(publish)
    answer: dict[str, Any] = {"nextSequenceToken": f"{stream.id:056d}"}
    if rejected:
        answer["rejectedLogEventsInfo"] = rejected
    return answer


def _check_batch(events: Sequence[Mapping[str, Any]]) -> None:
    if not 1 <= len(events) <= _BATCH_MAX:
        raise InvalidParameterException(
            "1 validation error detected: Value at 'logEvents' failed to satisfy constraint: Member must have length "
            f"between 1 and {_BATCH_MAX}"
        )
    octets = sum(len(str(event["message"]).encode()) + _OVERHEAD for event in events)
    if octets > _BATCH_OCTETS:
        raise InvalidParameterException(f"Upload too large: {octets} bytes exceeds limit of {_BATCH_OCTETS}")
    times = [int(event["timestamp"]) for event in events]
    if any(a > b for a, b in itertools.pairwise(times)):
        raise InvalidParameterException("Log events in a single PutLogEvents request must be in chronological order.")
    if any(not event["message"] for event in events):
        raise InvalidParameterException("Log event message must have length greater than or equal to 1")
    if times[-1] - times[0] > _DAY_MS:
        raise InvalidParameterException(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours."
        )


def _acceptable(
    events: Sequence[Mapping[str, Any]], now: int, retention_days: int | None
) -> tuple[int, int, dict[str, int]]:
    """The range of events that may be kept, and RejectedLogEventsInfo: at most 14 days old, 2 hours ahead."""
    rejected: dict[str, int] = {}
    times = [int(event["timestamp"]) for event in events]
    too_old = sum(time < now - 14 * _DAY_MS for time in times)
    expired = sum(time < now - retention_days * _DAY_MS for time in times) if retention_days else 0
    end = sum(time <= now + 2 * _HOUR_MS for time in times)
    if too_old:
        rejected["tooOldLogEventEndIndex"] = too_old
    if expired:
        rejected["expiredLogEventEndIndex"] = expired
    if end < len(events):
        rejected["tooNewLogEventStartIndex"] = end
    return max(too_old, expired), end, rejected


def _insert(tx: Tx, group: Group, stream: Stream, events: Sequence[Mapping[str, Any]], now: int) -> None:
    tx.executemany(
        "INSERT INTO logs_events (group_id, stream_id, timestamp, ingested, message) VALUES (?, ?, ?, ?, ?)",
        [(group.id, stream.id, int(event["timestamp"]), now, str(event["message"])) for event in events],
    )
    first, last = int(events[0]["timestamp"]), int(events[-1]["timestamp"])
    tx.execute(
        "UPDATE logs_streams SET first_event = min(coalesce(first_event, ?), ?), "
        "last_event = max(coalesce(last_event, ?), ?), last_ingestion = ? WHERE id = ?",
        (first, first, last, last, now, stream.id),
    )
    octets = sum(len(str(event["message"]).encode()) + _OVERHEAD for event in events)
    tx.execute("UPDATE logs_groups SET stored_bytes = stored_bytes + ? WHERE id = ?", (octets, group.id))


@operation("GetLogEvents", needs=needs.on_stream("GetLogEvents"))
async def get_log_events(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Events of one stream, a page of at most 1 MB or 10,000; tokens go both ways, and stay at an end.

    Source: CloudWatch Logs API Reference, GetLogEvents.
    """
    group = read_group(call, request)
    stream = call.doors.database.read(lambda db: tables.get_stream(db, group, str(request["logStreamName"])))
    limit = names.limit(request, _PAGE)
    forward, at = _position(request)
    start, end = int(request.get("startTime", 0)), int(request.get("endTime", _FOR_EVER_MS))

    def look(db: Reader) -> list[sqlite3.Row]:
        sign, order = (">", "ASC") if forward else ("<", "DESC")
        return db.execute(
            f"SELECT id, timestamp, ingested, message FROM logs_events WHERE stream_id = ? AND timestamp >= ? "
            f"AND timestamp < ? AND (timestamp, id) {sign} (?, ?) ORDER BY timestamp {order}, id {order} LIMIT ?",
            (stream.id, start, end, *at, limit),
        ).fetchall()

    rows = _fitting(await call.doors.database.query(look))
    if not forward:
        rows.reverse()
    edges = [(row["timestamp"], row["id"]) for row in (rows[:1] + rows[-1:])]
    first, last = (edges[0], edges[-1]) if edges else (at, at)
    return {
        "events": [
            {"timestamp": row["timestamp"], "message": row["message"], "ingestionTime": row["ingested"]} for row in rows
        ],
        "nextForwardToken": f"f/{last[0]:032d}{last[1]:024d}",
        "nextBackwardToken": f"b/{first[0]:032d}{first[1]:024d}",
    }


def _position(request: Mapping[str, Any]) -> tuple[bool, tuple[int, int]]:
    """Whether to go forward, and after which (time, id)."""
    token = str(request.get("nextToken") or "")
    if not token:
        forward = bool(request.get("startFromHead"))
        return forward, (0, 0) if forward else (_FOR_EVER_MS, _FOR_EVER_MS)
    side, _, digits = token.partition("/")
    if side not in ("f", "b") or len(digits) != 56 or not digits.isascii() or not digits.isdigit():
        raise InvalidParameterException("The specified nextToken is invalid.")
    return side == "f", (min(int(digits[:32]), _FOR_EVER_MS), min(int(digits[32:]), _FOR_EVER_MS))


def _fitting(rows: list[sqlite3.Row]) -> list[sqlite3.Row]:
    """As many rows as fit into a page of 1 MB; at least one."""
    octets = 0
    for index, row in enumerate(rows):
        octets += len(row["message"].encode()) + _OVERHEAD
        if octets > _PAGE_OCTETS and index:
            return rows[:index]
    return rows


@operation("FilterLogEvents", needs=needs.on_group("FilterLogEvents"))
async def filter_log_events(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Events of a group that fit a pattern, by time. A page may be empty and have a token nevertheless, as on AWS.

    Source: CloudWatch Logs API Reference, FilterLogEvents.
    """
    group = read_group(call, request)
    wanted = wanted_pattern(request, "filterPattern")
    streams, prefix = request.get("logStreamNames"), str(request.get("logStreamNamePrefix", ""))
    if streams and prefix:
        raise InvalidParameterException("logStreamNames and logStreamNamePrefix are mutually exclusive")
    if request.get("startFromHead") is False:
        raise InvalidParameterException("startFromHead false is not supported by this chamber yet")
    limit, at = names.limit(request, _PAGE), (0, 0)
    if request.get("nextToken"):
        _, at = _position({"nextToken": names.unseal(str(request["nextToken"]))})
    start, end = int(request.get("startTime", 0)), int(request.get("endTime", _FOR_EVER_MS))

    def look(db: Reader) -> tuple[list[dict[str, Any]], sqlite3.Row | None, bool]:
        chosen = list(streams or ())
        some = f"AND s.name IN ({','.join('?' * len(chosen))})" if chosen else ""
        rows = db.execute(
            "SELECT e.id, e.timestamp, e.ingested, e.message, s.name AS stream FROM logs_events e "
            "JOIN logs_streams s ON s.id = e.stream_id WHERE e.group_id = ? AND e.timestamp >= ? AND e.timestamp <= ? "
            f"AND (e.timestamp, e.id) > (?, ?) AND substr(s.name, 1, ?) = ? {some} ORDER BY e.timestamp, e.id LIMIT ?",
            (group.id, start, end, *at, len(prefix), prefix, *chosen, _SCAN),
        )
        return _matching(rows, wanted, limit, call.doors.clock)

    found, last, more = await call.doors.database.query(look)
    answer: dict[str, Any] = {"events": found, "searchedLogStreams": []}
    if last is not None and more:
        answer["nextToken"] = pages.token(f"f/{last['timestamp']:032d}{last['id']:024d}")
    return answer


def _matching(
    rows: Iterable[sqlite3.Row], wanted: Pattern, limit: int, clock: Clock
) -> tuple[list[dict[str, Any]], sqlite3.Row | None, bool]:
    """Events that fit, as many as a page has; the last row that was looked at; whether there may be more."""
    found: list[dict[str, Any]] = []
    octets, last, until = 0, None, clock.monotonic() + _LOOKS_S
    count = 0
    for row in rows:
        count += 1
        if last is not None and clock.monotonic() > until:
            return found, last, True
        if wanted.matches(row["message"]):
            octets += len(row["message"].encode()) + _OVERHEAD
            if len(found) >= limit or (found and octets > _PAGE_OCTETS):
                return found, last, True
            found.append(
                {
                    "logStreamName": row["stream"],
                    "timestamp": row["timestamp"],
                    "message": row["message"],
                    "ingestionTime": row["ingested"],
                    "eventId": f"{row['timestamp']:032d}{row['id']:024d}",
                }
            )
        last = row
    return found, last, count == _SCAN
