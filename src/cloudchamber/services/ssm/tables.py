# SPDX-License-Identifier: Apache-2.0
"""Rows of parameters, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader, Tx


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an account; `modified` in seconds since 1970."""

    account: str
    region: str
    name: str
    kind: str
    value: str
    description: str = ""
    version: int = 1
    modified: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def arn(self) -> str:
        return arn_of(self.region, self.account, self.name)


def arn_of(region: str, account: str, name: str) -> str:
    """The ARN of a parameter; the slash that a name begins with is the one after ``parameter``."""
    return str(Arn("ssm", region, account, f"parameter/{name.removeprefix('/')}"))


def _parameter(row: sqlite3.Row) -> Parameter:
    return Parameter(
        row["account"], row["region"], row["name"], row["kind"], row["value"], row["description"], row["version"],
        row["modified"], json.loads(row["tags"]),
    )  # fmt: skip


def find(db: Reader, account: str, region: str, name: str) -> Parameter | None:
    """A parameter by its name."""
    row = db.execute(
        "SELECT * FROM ssm_parameters WHERE account = ? AND region = ? AND name = ?", (account, region, name)
    ).fetchone()
    return _parameter(row) if row else None


def below(db: Reader, account: str, region: str, path: str) -> list[Parameter]:
    """The parameters whose names begin with a path and a slash, by name."""
    start = path.rstrip("/") + "/"
    rows = db.execute(
        "SELECT * FROM ssm_parameters WHERE account = ? AND region = ? AND substr(name, 1, ?) = ? ORDER BY name",
        (account, region, len(start), start),
    )
    return [_parameter(row) for row in rows]


def count(db: Reader, account: str, region: str) -> int:
    """How many parameters there are."""
    row = db.execute("SELECT count(*) FROM ssm_parameters WHERE account = ? AND region = ?", (account, region))
    return int(row.fetchone()[0])


def put(tx: Tx, one: Parameter) -> None:
    """Insert or replace a parameter."""
    tx.execute(
        "INSERT OR REPLACE INTO ssm_parameters (account, region, name, kind, value, description, version, modified, "
        "tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            one.account, one.region, one.name, one.kind, one.value, one.description, one.version, one.modified,
            json.dumps(dict(one.tags)),
        ),
    )  # fmt: skip


def drop(tx: Tx, account: str, region: str, name: str) -> bool:
    """Delete a parameter; whether there was one."""
    return (
        tx.execute(
            "DELETE FROM ssm_parameters WHERE account = ? AND region = ? AND name = ?", (account, region, name)
        ).rowcount
        > 0
    )
