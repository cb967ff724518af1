# SPDX-License-Identifier: Apache-2.0
"""What each user and role asked of IAM, added up: the record behind "last used" and behind written policies.

Segments go when there are too many; this stays. One row says: this entity asked for this action on this resource with
these keys, was (not) allowed, so often, between then and then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from cloudchamber.track.track import Segment

SCHEMA = """CREATE TABLE IF NOT EXISTS usage (
  entity TEXT NOT NULL, action TEXT NOT NULL, allowed INTEGER NOT NULL, resource TEXT NOT NULL, keys TEXT NOT NULL,
  account TEXT NOT NULL, granted_by TEXT NOT NULL, count INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL,
  segment TEXT NOT NULL,
  PRIMARY KEY (entity, action, allowed, resource, keys, account, granted_by)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS usage_of_action ON usage (entity, action, last);
CREATE INDEX IF NOT EXISTS usage_denied ON usage (last) WHERE allowed = 0;
CREATE TABLE IF NOT EXISTS seen (
  who TEXT PRIMARY KEY, last REAL NOT NULL, service TEXT NOT NULL, region TEXT NOT NULL
) WITHOUT ROWID;
"""
ACTION_ROWS_MAX = 1000
"""Rows of one action of one entity, so that a busy action never drives out a rare one; the oldest go."""
ROWS_MAX = 100_000
KEYS_OCTETS_MAX = 4096
_PLACES = f"({', '.join('?' * 11)})"
_ADD = (
    "ON CONFLICT DO UPDATE SET count = count + excluded.count, first = min(first, excluded.first), "
    "segment = CASE WHEN excluded.last >= last THEN excluded.segment ELSE segment END, last = max(last, excluded.last)"
)


@dataclass(frozen=True, slots=True)
class Usage:
    """One action on one resource, as one user or role asked for it. `first` and `last` are POSIX seconds."""

    action: str
    resource: str
    keys: Mapping[str, Any]
    """Condition keys that the service gave, in lower case."""
    allowed: bool
    account: str
    """Of the resource."""
    granted_by: str
    """``identity``, or ``resource`` where the resource's own policy allowed it alone; empty if it was denied."""
    count: int
    first: float
    last: float
    segment: str
    """Id of the latest step that asked: `why` explains it."""


@dataclass(frozen=True, slots=True)
class LastUsed:
    """When an action was last asked for; `resource` is that of the last time."""

    action: str
    last: float
    count: int
    allowed: bool
    """Whether it ever was."""
    resource: str
    region: str
    """Of that resource, empty where its ARN names none."""


@dataclass(frozen=True, slots=True)
class Seen:
    """When a long-term key, or a user or role, last asked for anything; `last` is POSIX seconds."""

    last: float
    service: str
    region: str


def seen(db: sqlite3.Connection, who: str) -> Seen | None:
    """The last time of a key (by its id) or of a user, a role or a root user (by its ARN); None if it never asked."""
    row = db.execute("SELECT last, service, region FROM seen WHERE who = ?", (who,)).fetchone()
    return Seen(*row) if row is not None else None


def _see(db: sqlite3.Connection, latest: Mapping[str, Segment], rows_at_once: int) -> None:
    """Keep the last time of each key and entity, given the latest segment of each."""
    rows = [(str(_plain(who)), one.started, one.service, one.region) for who, one in latest.items() if who]
    for begin in range(0, len(rows), rows_at_once):
        some = rows[begin : begin + rows_at_once]
        places = ", ".join(["(?, ?, ?, ?)"] * len(some))
        db.execute(
            f"INSERT INTO seen VALUES {places} ON CONFLICT DO UPDATE SET last = excluded.last, "
            "service = excluded.service, region = excluded.region WHERE excluded.last >= last",
            [value for row in some for value in row],
        )


def add(db: sqlite3.Connection, batch: Sequence[Segment], rows_at_once: int) -> None:
    """Add the decisions of some segments, within the caller's transaction."""
    latest: dict[str, Segment] = {}
    # Why by identity: a decision that was made before lies on many segments, and is read once.
    alike: dict[int, list[Any]] = {}
    for segment in batch:
        started, key_id = segment.started, segment.access_key
        if key_id:
            known = latest.get(key_id)
            if known is None or started >= known.started:
                latest[key_id] = segment
        for told in segment.decisions:
            group = alike.get(id(told))
            if group is None:
                alike[id(told)] = [told, 1, started, started, segment]
            else:
                group[1] += 1
                if started < group[2]:
                    group[2] = started
                elif started >= group[4].started:
                    group[3], group[4] = started, segment
        if not segment.decisions and segment.principal.endswith(":root"):
            _note(latest, segment.principal, segment)
    summed: dict[tuple[Any, ...], list[Any]] = {}
    for told, count, first, last, segment in alike.values():
        _note(latest, str(told.get("entity") or ""), segment)
        if segment.principal.endswith(":root"):
            _note(latest, segment.principal, segment)
        key = _key(told)
        if key is None:
            continue
        same = summed.get(key)
        if same is None:
            summed[key] = [count, first, last, segment.id]
        else:
            same[0] += count
            same[1] = min(same[1], first)
            if last >= same[2]:
                same[2], same[3] = last, segment.id
    _see(db, latest, rows_at_once)
    rows = [(*key, *values) for key, values in summed.items()]
    for begin in range(0, len(rows), rows_at_once):
        some = rows[begin : begin + rows_at_once]
        places = ", ".join([_PLACES] * len(some))
        db.execute(f"INSERT INTO usage VALUES {places} {_ADD}", [value for row in some for value in row])


def _note(latest: dict[str, Segment], who: str, segment: Segment) -> None:
    known = latest.get(who)
    if known is None or segment.started >= known.started:
        latest[who] = segment


def _key(told: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What a decision is added up by; None for what nobody's policy can change: services and root that may."""
    if told.get("earlier"):  # Why: it lies on the step that it was made for, too
        return None
    allowed = bool(told.get("allowed"))
    entity = told.get("entity") or ("" if allowed else told.get("principal"))
    if not entity:
        return None
    given = told.get("keys")
    keys = json.dumps(given, sort_keys=True, default=str, separators=(",", ":")) if given else "{}"
    if len(keys) > KEYS_OCTETS_MAX:
        keys = "{}"
    by = ""
    if allowed:
        kinds = {place.get("kind") for place in told.get("because", ())}
        by = "resource" if kinds & {"resource", "trust"} and "identity" not in kinds else "identity"
    words = (entity, told.get("action", ""), int(allowed), told.get("resource", ""), keys, told.get("account", ""), by)
    return tuple(_plain(word) for word in words)


def _plain(value: object) -> object:
    """Text that a database takes: names come from anybody."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def trim(db: sqlite3.Connection) -> None:
    """Drop the oldest rows of what has too many."""
    many = db.execute(
        "SELECT entity, action FROM usage GROUP BY entity, action HAVING count(*) > ?", (ACTION_ROWS_MAX,)
    ).fetchall()
    for entity, action in many:
        db.execute(
            "DELETE FROM usage WHERE entity = ? AND action = ? AND last < (SELECT last FROM usage WHERE entity = ? "
            "AND action = ? ORDER BY last DESC LIMIT 1 OFFSET ?)",
            (entity, action, entity, action, ACTION_ROWS_MAX - 1),
        )
    (total,) = db.execute("SELECT count(*) FROM usage").fetchone()
    if total > ROWS_MAX:
        db.execute(
            "DELETE FROM usage WHERE last < (SELECT last FROM usage ORDER BY last DESC LIMIT 1 OFFSET ?)",
            (ROWS_MAX - 1,),
        )
    db.execute("DELETE FROM seen WHERE last < (SELECT last FROM seen ORDER BY last DESC LIMIT 1 OFFSET ?)", (ROWS_MAX,))


def of_entity(db: sqlite3.Connection, entity: str) -> list[Usage]:
    """All that an entity asked for, by action and resource."""
    rows = db.execute(
        "SELECT action, resource, keys, allowed, account, granted_by, count, first, last, segment FROM usage "
        "WHERE entity = ? ORDER BY action, resource, keys, allowed",
        (entity,),
    )
    return [Usage(a, r, json.loads(keys), bool(allowed), *rest) for a, r, keys, allowed, *rest in rows]


def last_used(db: sqlite3.Connection, entity: str) -> list[LastUsed]:
    """Each action that an entity asked for, with the last time."""
    # Why it is right: of a bare column beside max(), SQLite takes the value of the row that has the maximum.
    rows: Sequence[Any] = db.execute(
        "SELECT action, max(last), sum(count), (SELECT max(allowed) FROM usage other WHERE other.entity = usage.entity "
        "AND other.action = usage.action), resource FROM usage WHERE entity = ? GROUP BY action ORDER BY action",
        (entity,),
    ).fetchall()
    return [LastUsed(a, last, count, bool(ok), resource, _region(resource)) for a, last, count, ok, resource in rows]


def last_denied(db: sqlite3.Connection) -> str:
    """Id of the latest segment that was denied; empty if none was."""
    row = db.execute("SELECT segment FROM usage WHERE allowed = 0 ORDER BY last DESC LIMIT 1").fetchone()
    return row[0] if row is not None else ""


def account_of(entity: str) -> str:
    """The account in an entity's ARN."""
    parts = entity.split(":", 5)
    return parts[4] if len(parts) == 6 else ""


def _region(resource: str) -> str:
    parts = resource.split(":", 5)
    return parts[3] if len(parts) == 6 else ""
