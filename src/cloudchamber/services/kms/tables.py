# SPDX-License-Identifier: Apache-2.0
"""Rows, and the SQL that reads and writes them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn
from cloudchamber.services.kms.errors import InvalidArnException, NotFoundException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader, Tx

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ENABLED, DISABLED, PENDING = "Enabled", "Disabled", "PendingDeletion"


@dataclass(frozen=True, slots=True)
class Key:
    """One key; its material is sealed."""

    account: str
    region: str
    id: str
    created: float
    description: str
    state: str
    deletion: float | None
    policy: str
    tags: Mapping[str, str]
    manager: str
    material: bytes

    @property
    def arn(self) -> str:
        """The key's ARN."""
        return str(Arn("kms", self.region, self.account, f"key/{self.id}"))


@dataclass(frozen=True, slots=True)
class Alias:
    """One alias, with its prefix ``alias/``."""

    account: str
    region: str
    name: str
    key: str
    created: float
    updated: float

    @property
    def arn(self) -> str:
        """The alias's ARN."""
        return str(Arn("kms", self.region, self.account, self.name))


def _of(row: tuple[object, ...]) -> Key:
    values = list(row)
    values[8] = json.loads(str(values[8]))
    return Key(*values)  # pyright: ignore[reportArgumentType] - columns in the order of the fields


def by_id(db: Reader, account: str, region: str, key_id: str) -> Key | None:
    """One key, or None."""
    row = db.execute(
        "SELECT * FROM kms_keys WHERE account = ? AND region = ? AND id = ?", (account, region, key_id)
    ).fetchone()
    return None if row is None else _of(tuple(row))


def alias(db: Reader, account: str, region: str, name: str) -> Alias | None:
    """One alias, or None."""
    row = db.execute(
        "SELECT * FROM kms_aliases WHERE account = ? AND region = ? AND name = ?", (account, region, name)
    ).fetchone()
    return None if row is None else Alias(*row)


def place(account: str, region: str, name: str) -> tuple[str, str, str]:
    """Account, region and ``key id or alias/name`` of what a request calls a key by.

    Raises:
        InvalidArnException: an ARN of something else. NotFoundException: one of another region.
    """
    if not name.startswith("arn:"):
        return account, region, name
    try:
        arn = Arn.parse(name)
    except ValueError:
        raise InvalidArnException(f"{name} is not a valid ARN") from None
    if arn.service != "kms" or not arn.resource.startswith(("key/", "alias/")):
        raise InvalidArnException(f"{name} is not a valid ARN")
    if arn.region != region:
        raise NotFoundException(f"Invalid arn {arn.region}")
    return arn.account, arn.region, arn.resource.removeprefix("key/")


def find(db: Reader, account: str, region: str, name: str) -> Key:
    """A key by id, ARN, alias name or alias ARN.

    Raises:
        NotFoundException, InvalidArnException
    """
    owner, where, wanted = place(account, region, name)
    if wanted.startswith("alias/"):
        named = alias(db, owner, where, wanted)
        if named is None:
            raise NotFoundException(f"Alias {Arn('kms', where, owner, wanted)} is not found.")
        wanted = named.key
    found = by_id(db, owner, where, wanted)
    if found is not None:
        return found
    if not UUID.fullmatch(wanted):
        raise NotFoundException(f"Invalid keyId '{wanted}'")
    raise NotFoundException(f"Key '{Arn('kms', where, owner, f'key/{wanted}')}' does not exist")


def listed(db: Reader, account: str, region: str, after: str, limit: int) -> list[Key]:
    """Keys of an account by id, behind `after`."""
    rows = db.execute(
        "SELECT * FROM kms_keys WHERE account = ? AND region = ? AND id > ? ORDER BY id LIMIT ?",
        (account, region, after, limit),
    )
    return [_of(tuple(row)) for row in rows]


def aliases(db: Reader, account: str, region: str, key: str, after: str, limit: int) -> list[Alias]:
    """Aliases by name, behind `after`; of one key if `key` is given."""
    rows = db.execute(
        "SELECT * FROM kms_aliases WHERE account = ?1 AND region = ?2 AND (?3 = '' OR key = ?3) AND name > ?4 "
        "ORDER BY name LIMIT ?5",
        (account, region, key, after, limit),
    )
    return [Alias(*row) for row in rows]


def add(tx: Tx, key: Key) -> None:
    """A new key."""
    tx.execute(
        "INSERT INTO kms_keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.account,
            key.region,
            key.id,
            key.created,
            key.description,
            key.state,
            key.deletion,
            key.policy,
            json.dumps(dict(key.tags)),
            key.manager,
            key.material,
        ),
    )


def change(tx: Tx, key: Key, **columns: object) -> None:
    """Set columns of a key."""
    sets = ", ".join(f"{name} = ?" for name in columns)
    tx.execute(
        f"UPDATE kms_keys SET {sets} WHERE account = ? AND region = ? AND id = ?",
        (*columns.values(), key.account, key.region, key.id),
    )


def put_alias(tx: Tx, made: Alias) -> None:
    """An alias, over one of its name."""
    values = (made.account, made.region, made.name, made.key, made.created, made.updated)
    tx.execute("INSERT OR REPLACE INTO kms_aliases VALUES (?, ?, ?, ?, ?, ?)", values)


def remove_alias(tx: Tx, account: str, region: str, name: str) -> bool:
    """Remove an alias; whether it was there."""
    sql = "DELETE FROM kms_aliases WHERE account = ? AND region = ? AND name = ?"
    return tx.execute(sql, (account, region, name)).rowcount > 0


def expire(tx: Tx, now: float) -> None:
    """Remove the keys whose waiting period is over, with their aliases: what they encrypted is lost then."""
    for row in tx.execute("SELECT account, region, id FROM kms_keys WHERE deletion <= ?", (now,)).fetchall():
        tx.execute("DELETE FROM kms_aliases WHERE account = ? AND region = ? AND key = ?", tuple(row))
        tx.execute("DELETE FROM kms_keys WHERE account = ? AND region = ? AND id = ?", tuple(row))
