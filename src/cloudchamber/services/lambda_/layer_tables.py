# SPDX-License-Identifier: Apache-2.0
"""Rows of layers, one for each version. Numbers are never given twice, so deleted ones stay as a mark."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader


@dataclass(frozen=True, slots=True)
class Layer:
    """One version of a layer; `document` has the members of LayerVersionsListItem and LayerVersionContentOutput."""

    arn: str
    account: str
    region: str
    name: str
    version: int
    document: Mapping[str, Any]
    code_sha: str
    deleted: bool
    statements: tuple[Mapping[str, Any], ...]
    policy_revision: str

    @property
    def layer_arn(self) -> str:
        """ARN without the version."""
        return self.arn.rpartition(":")[0]


def _layer(row: sqlite3.Row) -> Layer:
    return Layer(
        arn=row["arn"],
        account=row["account"],
        region=row["region"],
        name=row["name"],
        version=row["version"],
        document=json.loads(row["document"]),
        code_sha=row["code_sha"],
        deleted=bool(row["deleted"]),
        statements=tuple(json.loads(row["statements"])),
        policy_revision=row["policy_revision"],
    )


def find(db: Reader, arn: str) -> Layer | None:
    """The version of a layer with this ARN, or None."""
    row = db.execute("SELECT * FROM lambda_layers WHERE arn = ? AND deleted = 0", (arn,)).fetchone()
    return None if row is None else _layer(row)


def next_version(db: Reader, account: str, region: str, name: str) -> int:
    """The number that the next version gets."""
    row = db.execute(
        "SELECT coalesce(max(version), 0) + 1 FROM lambda_layers WHERE account = ? AND region = ? AND name = ?",
        (account, region, name),
    ).fetchone()
    return int(row[0])


def versions(db: Reader, account: str, region: str, name: str) -> list[Layer]:
    """The versions of a layer that are there, the latest first."""
    rows = db.execute(
        "SELECT * FROM lambda_layers WHERE account = ? AND region = ? AND name = ? AND deleted = 0 "
        "ORDER BY version DESC",
        (account, region, name),
    )
    return [_layer(row) for row in rows]


def every(db: Reader, account: str, region: str) -> list[Layer]:
    """All versions of all layers of an account, by name, the latest first."""
    rows = db.execute(
        "SELECT * FROM lambda_layers WHERE account = ? AND region = ? AND deleted = 0 ORDER BY name, version DESC",
        (account, region),
    )
    return [_layer(row) for row in rows]
