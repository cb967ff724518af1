# SPDX-License-Identifier: Apache-2.0
"""Rows of RDS, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.services.rds import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.services.rds.states import State
    from cloudchamber.store.database import Reader, Tx

_COLUMNS = ("account", "region", "name", "resource_id", "status", "address", "port", "created")
EVENTS_KEPT = 2000


@dataclass(frozen=True, slots=True)
class Instance:
    """One DB instance. `verifier` is the master password's SCRAM verifier; `pending` waits for its window."""

    account: str
    region: str
    name: str
    resource_id: str
    status: State
    address: str
    port: int
    created: float
    instance_class: str
    storage_gib: int
    storage_type: str
    engine_version: str
    master: str
    verifier: str
    database: str
    iam: bool
    groups: tuple[str, ...]
    protected: bool
    public: bool
    zone: str
    secret_arn: str = ""
    secret_owned: bool = False
    storage_max_gib: int = 0
    auto_minor: bool = True
    copy_tags: bool = False
    backup_window: str = ""
    maintenance_window: str = ""
    boots: int = 0
    subnet_group: str = "default"
    vpc_id: str = ""
    built: bool = False
    """Whether the cluster, the master user and the first database exist."""
    pending: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def arn(self) -> str:
        """Its ARN."""
        return names.arn(self.account, self.region, self.name)


def _read(row: Any) -> Instance:
    body = json.loads(row["body"])
    body["groups"] = tuple(body["groups"])
    return Instance(**{name: row[name] for name in _COLUMNS}, **body)


def _values(instance: Instance) -> tuple[Any, ...]:
    whole = asdict(instance)
    columns = [whole.pop(name) for name in _COLUMNS]
    return (*columns, json.dumps(whole))


def add(tx: Tx, instance: Instance) -> None:
    """Insert; raises sqlite3.IntegrityError if the name or the endpoint is taken."""
    tx.execute("INSERT INTO rds_instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _values(instance))


def change(tx: Tx, resource_id: str, **changes: Any) -> Instance | None:
    """Replace members of a row; the row as it is now, None if it is gone."""
    found = by_id(tx, resource_id)
    if found is None:
        return None
    changed = replace(found, **changes)
    tx.execute(
        "UPDATE rds_instances SET account = ?, region = ?, name = ?, resource_id = ?, status = ?, address = ?, "
        "port = ?, created = ?, body = ? WHERE resource_id = ?",
        (*_values(changed), resource_id),
    )
    return changed


def remove(tx: Tx, instance: Instance) -> None:
    """Delete the row and its tags; its events stay."""
    tx.execute("DELETE FROM rds_instances WHERE resource_id = ?", (instance.resource_id,))
    tx.execute("DELETE FROM rds_tags WHERE arn = ?", (instance.arn,))


def by_id(db: Reader, resource_id: str) -> Instance | None:
    """By resource id."""
    row = db.execute("SELECT * FROM rds_instances WHERE resource_id = ?", (resource_id,)).fetchone()
    return _read(row) if row else None


def by_name(db: Reader, account: str, region: str, name: str) -> Instance | None:
    """By identifier."""
    row = db.execute(
        "SELECT * FROM rds_instances WHERE account = ? AND region = ? AND name = ?", (account, region, name)
    ).fetchone()
    return _read(row) if row else None


def listed(db: Reader, account: str, region: str, after: str = "") -> list[Instance]:
    """Of one account and region, by name, behind `after`."""
    rows = db.execute(
        "SELECT * FROM rds_instances WHERE account = ? AND region = ? AND name > ? ORDER BY name",
        (account, region, after),
    ).fetchall()
    return [_read(row) for row in rows]


def every(db: Reader) -> list[Instance]:
    """All of the chamber."""
    return [_read(row) for row in db.execute("SELECT * FROM rds_instances ORDER BY created").fetchall()]


def tags(db: Reader, arn: str) -> dict[str, str]:
    """Tags of one resource."""
    return {row[0]: row[1] for row in db.execute("SELECT key, value FROM rds_tags WHERE arn = ? ORDER BY key", (arn,))}


def tag(tx: Tx, arn: str, values: Mapping[str, str]) -> None:
    """Add or replace tags."""
    tx.executemany("INSERT OR REPLACE INTO rds_tags VALUES (?, ?, ?)", [(arn, k, v) for k, v in values.items()])


def untag(tx: Tx, arn: str, keys: list[str]) -> None:
    """Remove tags."""
    tx.executemany("DELETE FROM rds_tags WHERE arn = ? AND key = ?", [(arn, key) for key in keys])


def happened(tx: Tx, instance: Instance, at: float, category: str, message: str) -> None:
    """Write an event; the oldest beyond `EVENTS_KEPT` go."""
    cursor = tx.execute(
        "INSERT INTO rds_events (account, region, source, arn, at, category, message) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (instance.account, instance.region, instance.name, instance.arn, at, category, message[:2000]),
    )
    tx.execute("DELETE FROM rds_events WHERE id <= ?", (cast("int", cursor.lastrowid) - EVENTS_KEPT,))


def events(db: Reader, account: str, region: str, source: str, since: float, until: float) -> list[Any]:
    """Events by time; of every source if `source` is empty."""
    return db.execute(
        "SELECT * FROM rds_events WHERE account = ? AND region = ? AND (? = '' OR source = ?) AND at BETWEEN ? AND ? "
        "ORDER BY id",
        (account, region, source, source, since, until),
    ).fetchall()
