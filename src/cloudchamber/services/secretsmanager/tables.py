# SPDX-License-Identifier: Apache-2.0
"""Rows of Secrets Manager, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader, Tx

CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_COLUMNS = ("account", "region", "name", "arn", "created", "purge_at")


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret. `purge_at` is when a deleted secret goes for good; 0 while it is not deleted."""

    account: str
    region: str
    name: str
    arn: str
    created: float
    purge_at: float = 0.0
    deleted: float = 0.0
    changed: float = 0.0
    accessed: float = 0.0
    description: str = ""
    owner: str = ""
    policy: str = ""
    tags: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a secret; `kind` is ``string`` or ``binary``."""

    arn: str
    version_id: str
    created: float
    stages: tuple[str, ...]
    kind: str
    sealed: bytes

    @property
    def label(self) -> str:
        """What its value is sealed to."""
        return f"{self.arn}\0{self.version_id}\0{self.kind}"


def _secret(row: Any) -> Secret:
    return Secret(**{name: row[name] for name in _COLUMNS}, **json.loads(row["body"]))


def _values(secret: Secret) -> tuple[Any, ...]:
    whole = asdict(secret)
    columns = [whole.pop(name) for name in _COLUMNS]
    return (*columns, json.dumps(whole))


def _version(row: Any) -> Version:
    return Version(
        row["arn"], row["version_id"], row["created"], tuple(json.loads(row["stages"])), row["kind"], row["sealed"]
    )


def find(db: Reader, account: str, region: str, secret_id: str) -> Secret | None:
    """By name, ARN, or ARN without its random suffix."""
    if not secret_id.startswith("arn:"):
        row = db.execute(
            "SELECT * FROM secretsmanager_secrets WHERE account = ? AND region = ? AND name = ?",
            (account, region, secret_id),
        ).fetchone()
        return _secret(row) if row else None
    row = db.execute("SELECT * FROM secretsmanager_secrets WHERE arn = ?", (secret_id,)).fetchone()
    if row is None:
        parts = secret_id.split(":", 6)
        if len(parts) != 7:
            return None
        row = db.execute(
            "SELECT * FROM secretsmanager_secrets WHERE account = ? AND region = ? AND name = ?",
            (parts[4], parts[3], parts[6]),
        ).fetchone()
    return _secret(row) if row else None


def listed(db: Reader, account: str, region: str) -> list[Secret]:
    """All of one account and region, newest first."""
    rows = db.execute(
        "SELECT * FROM secretsmanager_secrets WHERE account = ? AND region = ? ORDER BY created DESC, name",
        (account, region),
    ).fetchall()
    return [_secret(row) for row in rows]


def add(tx: Tx, secret: Secret) -> None:
    """Insert."""
    tx.execute("INSERT INTO secretsmanager_secrets VALUES (?, ?, ?, ?, ?, ?, ?)", _values(secret))


def change(tx: Tx, secret: Secret, **changes: Any) -> Secret:
    """Replace members of a row."""
    changed = replace(secret, **changes)
    values = _values(changed)
    tx.execute(
        "UPDATE secretsmanager_secrets SET purge_at = ?, body = ? WHERE arn = ?", (values[5], values[6], secret.arn)
    )
    return changed


def remove(tx: Tx, arn: str) -> None:
    """Delete a secret and its versions."""
    tx.execute("DELETE FROM secretsmanager_versions WHERE arn = ?", (arn,))
    tx.execute("DELETE FROM secretsmanager_secrets WHERE arn = ?", (arn,))


def purge(tx: Tx, now: float) -> None:
    """Remove the secrets whose recovery window is over."""
    rows = tx.execute("SELECT arn FROM secretsmanager_secrets WHERE purge_at > 0 AND purge_at <= ?", (now,)).fetchall()
    for row in rows:
        remove(tx, row["arn"])


def versions(db: Reader, arn: str) -> list[Version]:
    """All versions, newest first."""
    rows = db.execute(
        "SELECT * FROM secretsmanager_versions WHERE arn = ? ORDER BY created DESC, rowid DESC", (arn,)
    ).fetchall()
    return [_version(row) for row in rows]


def add_version(tx: Tx, version: Version, versions_max: int) -> None:
    """Insert a version and move the stages that it takes; what was current becomes previous.

    Versions without a stage are removed when there are too many.
    """
    kept = versions(tx, version.arn)
    taken = set(version.stages)
    was_current = next((one for one in kept if CURRENT in one.stages), None)
    for one in kept:
        stages = [stage for stage in one.stages if stage not in taken]
        if CURRENT in taken:
            stages = [stage for stage in stages if stage != PREVIOUS]
            if one is was_current:
                stages.append(PREVIOUS)
        if tuple(stages) != one.stages:
            tx.execute(
                "UPDATE secretsmanager_versions SET stages = ? WHERE arn = ? AND version_id = ?",
                (json.dumps(stages), one.arn, one.version_id),
            )
    tx.execute(
        "INSERT INTO secretsmanager_versions VALUES (?, ?, ?, ?, ?, ?)",
        (
            version.arn,
            version.version_id,
            version.created,
            json.dumps(list(version.stages)),
            version.kind,
            version.sealed,
        ),
    )
    loose = [one for one in versions(tx, version.arn) if not one.stages]
    for one in loose[max(0, versions_max - 20) :]:
        tx.execute("DELETE FROM secretsmanager_versions WHERE arn = ? AND version_id = ?", (one.arn, one.version_id))
