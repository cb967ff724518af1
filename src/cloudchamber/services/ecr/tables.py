# SPDX-License-Identifier: Apache-2.0
"""Rows of repositories, and the SQL that reads and writes them."""

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
class Repository:
    """One repository; `created` in seconds since 1970."""

    account: str
    region: str
    name: str
    created: float
    mutability: str = "MUTABLE"
    scan_on_push: bool = False
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    policy: str = ""
    lifecycle: str = ""

    @property
    def arn(self) -> str:
        return arn_of(self.region, self.account, self.name)

    @property
    def uri(self) -> str:
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com/{self.name}"


def arn_of(region: str, account: str, name: str) -> str:
    """The ARN of a repository."""
    return str(Arn("ecr", region, account, f"repository/{name}"))


def _repository(row: sqlite3.Row) -> Repository:
    body = json.loads(row["body"])
    return Repository(
        row["account"], row["region"], row["name"], row["created"], body["mutability"], body["scan_on_push"],
        body["tags"], row["policy"], row["lifecycle"],
    )  # fmt: skip


def find(db: Reader, account: str, region: str, name: str) -> Repository | None:
    """A repository by its name."""
    row = db.execute(
        "SELECT * FROM ecr_repositories WHERE account = ? AND region = ? AND name = ?", (account, region, name)
    ).fetchone()
    return _repository(row) if row else None


def every(db: Reader, account: str, region: str) -> list[Repository]:
    """Every repository, by name."""
    rows = db.execute(
        "SELECT * FROM ecr_repositories WHERE account = ? AND region = ? ORDER BY name", (account, region)
    )
    return [_repository(row) for row in rows]


def put(tx: Tx, one: Repository) -> None:
    """Insert or replace a repository."""
    body = {"mutability": one.mutability, "scan_on_push": one.scan_on_push, "tags": dict(one.tags)}
    tx.execute(
        "INSERT OR REPLACE INTO ecr_repositories (account, region, name, created, body, policy, lifecycle) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (one.account, one.region, one.name, one.created, json.dumps(body), one.policy, one.lifecycle),
    )


def drop(tx: Tx, one: Repository) -> None:
    """Delete a repository."""
    tx.execute(
        "DELETE FROM ecr_repositories WHERE account = ? AND region = ? AND name = ?",
        (one.account, one.region, one.name),
    )
