# SPDX-License-Identifier: Apache-2.0
"""The accounts of the chamber, their organization, and keys of token issuers: what `cloudchamber account` asks."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base import ids
from cloudchamber.contract.accounts import Account, NewAccount
from cloudchamber.services.iam import organization, tables
from cloudchamber.services.iam.errors import EntityAlreadyExists, InvalidInput, LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.clock import Clock
    from cloudchamber.store.database import Database, Reader, Tx

FIRST_NAME = "default"
ACCOUNTS_MAX = 100
KEYS_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,49}")
_EMAIL = re.compile(r"[^\s@]{1,64}@[^\s@]{1,190}")
_ISSUER = re.compile(r"[a-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~/-]*)?")


class IamAccounts:
    """`contract.accounts.Accounts`, over IAM's tables."""

    def __init__(self, database: Database, first: str, clock: Clock) -> None:
        self._database = database
        self._first = Account(first, FIRST_NAME)
        self._clock = clock

    def all(self) -> tuple[Account, ...]:
        """Every account; see `Accounts.all`."""
        return (self._first, *self._database.read(_listed))

    async def add(self, name: str, email: str) -> NewAccount:
        """Make an account; see `Accounts.add`."""
        if not _NAME.fullmatch(name) or name.isdigit():
            raise InvalidInput("An account's name has 1 to 50 letters, digits and ' ._-', and not only digits.")
        if email and not _EMAIL.fullmatch(email):
            raise InvalidInput(f"{email} is no email address.")
        created = self._clock.now()
        secret = ids.secret_key()

        def change(tx: Tx) -> NewAccount:
            there = (self._first, *_listed(tx))
            if any(one.name.lower() == name.lower() for one in there):
                raise EntityAlreadyExists(f"Account with name {name} already exists.")
            if len(there) >= ACCOUNTS_MAX:
                raise LimitExceeded(f"Cannot exceed quota for Accounts: {ACCOUNTS_MAX}")
            taken = {one.id for one in there}
            number = next(n for n in iter(ids.account_id, "") if n not in taken)
            key_id = ids.access_key_id("AKIA", number)
            row = (number, name, email, key_id, secret, created.timestamp())
            tx.execute("INSERT INTO iam_accounts VALUES (?, ?, ?, ?, ?, ?)", row)
            return NewAccount(Account(number, name, email, tables.moment(row[-1])), key_id, secret)

        return await self._database.write(change)

    def shown(self) -> Mapping[str, Any] | None:
        """The organization; see `Accounts.shown`."""
        found = self._database.read(self.organization)
        return found.shown() if found is not None else None

    def organization(self, db: Reader) -> organization.Organization | None:
        """The organization in force; None if no file was applied."""
        row = db.execute("SELECT id, source FROM iam_organization").fetchone()
        if row is None:
            return None
        return organization.read(json.loads(row["source"]), row["id"], (self._first, *_listed(db)))

    async def apply(self, source: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put an organization in force; see `Accounts.apply`."""

        def change(tx: Tx) -> organization.Organization:
            row = tx.execute("SELECT id FROM iam_organization").fetchone()
            own_id = row["id"] if row is not None else f"o-{ids.letters(10)}"
            made = organization.read(source, own_id, (self._first, *_listed(tx)))
            tx.execute(
                "INSERT INTO iam_organization VALUES (1, ?, ?) ON CONFLICT DO UPDATE SET source = excluded.source",
                (own_id, json.dumps(source)),
            )
            return made

        return (await self._database.write(change)).shown()

    async def keep_keys(self, issuer: str, jwks: Mapping[str, Any]) -> int:
        """Keep an issuer's public keys; see `Accounts.keep_keys`."""
        host = issuer.removeprefix("https://").removesuffix("/")
        listed = jwks.get("keys")
        keys = cast("list[object]", listed) if isinstance(listed, list) else []
        if not _ISSUER.fullmatch(host):
            raise InvalidInput(f"{issuer} is no issuer: https://, a host and perhaps a path.")
        if not 0 < len(keys) <= KEYS_MAX or not all(map(_public, keys)):
            raise InvalidInput('A JWKS is {"keys": [...]} with public RSA or EC keys (RFC 7517).')
        text = json.dumps({"keys": keys})
        await self._database.write(
            lambda tx: tx.execute(
                "INSERT INTO iam_issuer_keys VALUES (?, ?) ON CONFLICT DO UPDATE SET jwks = excluded.jwks", (host, text)
            )
        )
        return len(keys)


def kept_keys(db: Reader, issuer: str) -> str | None:
    """The JWKS that is kept for an issuer (without ``https://``); None if its keys are to be fetched."""
    row = db.execute("SELECT jwks FROM iam_issuer_keys WHERE issuer = ?", (issuer,)).fetchone()
    return row["jwks"] if row is not None else None


def _listed(db: Reader) -> tuple[Account, ...]:
    rows = db.execute("SELECT * FROM iam_accounts ORDER BY created, id")
    return tuple(Account(row["id"], row["name"], row["email"], tables.moment(row["created"])) for row in rows)


def _public(key: object) -> bool:
    if not isinstance(key, dict):
        return False
    members = cast("dict[str, Any]", key)
    needed = {"RSA": ("n", "e"), "EC": ("crv", "x", "y")}.get(str(members.get("kty")))
    return needed is not None and "d" not in members and all(isinstance(members.get(name), str) for name in needed)
