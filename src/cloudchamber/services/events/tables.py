# SPDX-License-Identifier: Apache-2.0
"""Rows of rules, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.services.events.errors import ResourceNotFoundException

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader, Tx


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. `targets` are the members of Target as they were put; `due` is the POSIX time of the next run."""

    arn: str
    account: str
    region: str
    name: str
    state: str
    description: str
    schedule: str
    targets: tuple[Mapping[str, Any], ...]
    tags: Mapping[str, str]
    due: float | None


def rule_arn(account: str, region: str, name: str) -> str:
    """ARN of a rule on the default event bus."""
    return str(Arn("events", region, account, f"rule/{name}"))


def _rule(row: sqlite3.Row) -> Rule:
    return Rule(
        row["arn"], row["account"], row["region"], row["name"], row["state"], row["description"], row["schedule"],
        tuple(json.loads(row["targets"])), json.loads(row["tags"]), row["due"],
    )  # fmt: skip


def find(db: Reader, arn: str) -> Rule | None:
    """The rule, or None."""
    row = db.execute("SELECT * FROM events_rules WHERE arn = ?", (arn,)).fetchone()
    return None if row is None else _rule(row)


def get(db: Reader, arn: str) -> Rule:
    """The rule.

    Raises:
        ResourceNotFoundException: there is none.
    """
    found = find(db, arn)
    if found is None:
        raise ResourceNotFoundException(f"Rule {arn.rpartition('/')[2]} does not exist on EventBus default.")
    return found


def listed(db: Reader, account: str, region: str) -> list[Rule]:
    """Rules of an account, by name."""
    sql = "SELECT * FROM events_rules WHERE account = ? AND region = ? ORDER BY name"
    return [_rule(row) for row in db.execute(sql, (account, region))]


def due(db: Reader, now_s: float) -> list[Rule]:
    """Rules whose time has come."""
    rows = db.execute("SELECT * FROM events_rules WHERE due <= ? ORDER BY due LIMIT 200", (now_s,))
    return [_rule(row) for row in rows]


def next_due(db: Reader) -> float | None:
    """When the next rule is due."""
    return db.execute("SELECT min(due) FROM events_rules").fetchone()[0]


def put(tx: Tx, rule: Rule) -> None:
    """Make or replace a rule."""
    tx.execute(
        "INSERT OR REPLACE INTO events_rules (arn, account, region, name, state, description, schedule, targets, tags, "
        "due) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rule.arn, rule.account, rule.region, rule.name, rule.state, rule.description, rule.schedule,
            json.dumps(list(rule.targets)), json.dumps(dict(rule.tags)), rule.due,
        ),
    )  # fmt: skip
