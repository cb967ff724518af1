# SPDX-License-Identifier: Apache-2.0
"""StartLiveTail: events as they arrive, as a stream of messages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.logs import names, needs, tables
from cloudchamber.services.logs.errors import InvalidParameterException
from cloudchamber.services.logs.filters import wanted_pattern

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Mapping

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.services.logs.patterns.scanner import Pattern
    from cloudchamber.store.database import Reader

_GROUPS_MAX = 10
_EVERY_S = 1.0
_LASTS_S = 3 * 3600
_AT_ONCE = 500
"""Events of one second; of more a part is sent, and `sampled` says so. Source: CloudWatch Logs guide, Live Tail."""


@operation("StartLiveTail", needs=needs.live_tail)
async def start_live_tail(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send events of up to ten groups as they arrive, once a second, for at most three hours.

    Raises:
        InvalidParameterException: not the ARNs of one to ten groups; stream names with several groups, or both kinds.

    Source: CloudWatch Logs API Reference, StartLiveTail.
    """
    given: list[str] = list(request["logGroupIdentifiers"])
    if not 1 <= len(given) <= _GROUPS_MAX or any(not arn.startswith("arn:") or arn.endswith(":*") for arn in given):
        raise InvalidParameterException("logGroupIdentifiers must be the ARNs of one to ten log groups, without :*")
    wanted = wanted_pattern(request, "logEventFilterPattern")
    streams, prefixes = list(request.get("logStreamNames", ())), list(request.get("logStreamNamePrefixes", ()))
    if (streams or prefixes) and len(given) > 1:
        raise InvalidParameterException("Stream names can be given with one log group only")
    if streams and prefixes:
        raise InvalidParameterException("logStreamNames and logStreamNamePrefixes are mutually exclusive")
    found = {arn: names.check_group(names.identified(arn)) for arn in given}

    def look(db: Reader) -> dict[int, str]:
        return {tables.get_group(db, call.account, call.region, name).id: arn for arn, name in found.items()}

    groups = call.doors.database.read(look)
    begin: dict[str, Any] = {
        "requestId": call.request_id,
        "sessionId": ids.request_id(),
        "logGroupIdentifiers": given,
        "logStreamNames": streams,
        "logStreamNamePrefixes": prefixes,
        "logEventFilterPattern": str(request.get("logEventFilterPattern", "")),
    }
    chosen = (tuple(streams), tuple(prefixes))
    return {"responseStream": _events(call.doors, begin, groups, wanted, chosen)}


async def _events(
    doors: Doors,
    begin: Mapping[str, Any],
    groups: Mapping[int, str],
    wanted: Pattern,
    chosen: tuple[tuple[str, ...], tuple[str, ...]],
) -> AsyncIterator[Mapping[str, Any]]:
    last = doors.database.read(lambda db: db.execute("SELECT coalesce(max(id), 0) FROM logs_events").fetchone()[0])
    ends = doors.clock.monotonic() + _LASTS_S
    yield {"sessionStart": begin}
    while doors.clock.monotonic() < ends:
        last, kept = await doors.database.query(lambda db, last=last: _fitting(db, groups, last, wanted, chosen))
        results = [
            {
                "logStreamName": row["stream"],
                "logGroupIdentifier": groups[row["group_id"]],
                "message": row["message"],
                "timestamp": row["timestamp"],
                "ingestionTime": row["ingested"],
            }
            for row in kept[:_AT_ONCE]
        ]
        sampled = len(kept) > _AT_ONCE
        yield {"sessionUpdate": {"sessionMetadata": {"sampled": sampled}, "sessionResults": results}}
        await asyncio.sleep(_EVERY_S)
    yield {"SessionTimeoutException": {"message": "The session has lasted three hours."}}


def _fitting(
    db: Reader, groups: Mapping[int, str], last: int, wanted: Pattern, chosen: tuple[tuple[str, ...], tuple[str, ...]]
) -> tuple[int, list[sqlite3.Row]]:
    """The newest event looked at, and those that fit: matched in a reader's thread, as patterns may take a while."""
    rows = _newer(db, groups, last)
    kept = [row for row in rows if _named(row["stream"], *chosen) and wanted.matches(row["message"])]
    return (rows[-1]["id"] if rows else last), kept


def _newer(db: Reader, groups: Mapping[int, str], last: int) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT e.id, e.group_id, e.timestamp, e.ingested, e.message, s.name AS stream FROM logs_events e "
        f"JOIN logs_streams s ON s.id = e.stream_id WHERE e.id > ? AND e.group_id IN ({','.join('?' * len(groups))}) "
        "ORDER BY e.id LIMIT 5000",
        (last, *groups),
    ).fetchall()


def _named(stream: str, streams: tuple[str, ...], prefixes: tuple[str, ...]) -> bool:
    if streams:
        return stream in streams
    return not prefixes or stream.startswith(prefixes)
