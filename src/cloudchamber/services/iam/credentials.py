# SPDX-License-Identifier: Apache-2.0
"""What hangs on a user beside access keys and a password: rows of SSH keys, signing certificates and the credentials of
single services. The operations of each call these inside their one write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudchamber.services.iam import tables
from cloudchamber.services.iam.errors import DeleteConflict, NoSuchEntity

if TYPE_CHECKING:
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader, Tx

Kind: TypeAlias = Literal["ssh", "signing", "service"]
_CALLED = {"ssh": "SSH Public Key", "signing": "Certificate"}


@dataclass(frozen=True, slots=True)
class Credential:
    """A row of `iam_credentials`."""

    id: str
    account: str
    user: str
    kind: str
    status: str
    created: float
    body: str
    """The key or certificate as it was uploaded; the hash of a password."""
    print: str
    """Fingerprint of a key or certificate, to find doubles."""
    service: str
    alias: str
    """User name at the service."""
    expires: float


def add(tx: Tx, row: Credential) -> None:
    """Keep one."""
    tx.execute(
        "INSERT INTO iam_credentials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (row.id, row.account, row.user, row.kind, row.status, row.created, row.body, row.print, row.service, row.alias,
         row.expires),
    )  # fmt: skip


def of_user(db: Reader, account: str, kind: Kind, user: str) -> list[Credential]:
    """A user's, by id."""
    rows = db.execute(
        "SELECT * FROM iam_credentials WHERE account = ? AND kind = ? AND user = ? ORDER BY id", (account, kind, user)
    )
    return [Credential(*row) for row in rows]


def get(db: Reader, account: str, kind: Kind, user: str, own_id: str) -> Credential:
    """One of a user.

    Raises:
        NoSuchEntity: the user, or the credential, is not there.
    """
    owner = tables.get(db, account, "user", user)
    row = db.execute(
        "SELECT * FROM iam_credentials WHERE id = ? AND account = ? AND kind = ? AND user = ?",
        (own_id, account, kind, owner.name),
    ).fetchone()
    if row is None and kind == "service":
        raise NoSuchEntity(f"No such credential {own_id} exists")
    if row is None:
        raise NoSuchEntity(f"The {_CALLED[kind]} with id {own_id} cannot be found.")
    return Credential(*row)


def switch(tx: Tx, found: Credential, status: str) -> None:
    """Set the status of one."""
    tx.execute("UPDATE iam_credentials SET status = ? WHERE id = ?", (status, found.id))


def remove(tx: Tx, found: Credential) -> None:
    """Remove one."""
    tx.execute("DELETE FROM iam_credentials WHERE id = ?", (found.id,))


def refuse_if_any(db: Reader, user: Entity) -> None:
    """A user that still has something to sign in with cannot be deleted.

    Raises:
        DeleteConflict: in AWS's words for each kind.
    """

    def has(table: str, where: str = "") -> bool:
        sql = f"SELECT 1 FROM {table} WHERE account = ? AND user = ? {where} LIMIT 1"
        return db.execute(sql, (user.account, user.name)).fetchone() is not None

    for found, first in (
        (has("iam_keys"), "delete access keys"),
        (has("iam_credentials", "AND kind = 'signing'"), "delete signing certificates"),
        (has("iam_logins"), "delete login profile"),
        (has("iam_mfa"), "delete MFA device"),
        (has("iam_credentials"), "remove referenced objects"),
    ):
        if found:
            raise DeleteConflict(f"Cannot delete entity, must {first} first.")
