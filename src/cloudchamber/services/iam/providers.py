# SPDX-License-Identifier: Apache-2.0
"""Rows of the identity providers, OpenID Connect and SAML, and the SQL that reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

    from cloudchamber.store.database import Reader


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenID Connect provider. `url` is the issuer as it was given, ``https://`` in front."""

    arn: str
    account: str
    url: str
    client_ids: tuple[str, ...]
    thumbprints: tuple[str, ...]
    created: float

    @property
    def name(self) -> str:
        """The issuer without its scheme: as ARNs and condition keys (``host/path:aud``) have it."""
        return self.url.partition("://")[2]


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key with which assertions can be decrypted; `pem` is secret and never told."""

    id: str
    pem: str
    created: float


@dataclass(frozen=True, slots=True)
class SamlProvider:
    """A SAML provider, by the metadata of its identity provider."""

    arn: str
    account: str
    name: str
    id: str
    document: str
    created: float
    valid_until: float
    encryption: str
    """``Required`` or ``Allowed``; empty if it was not said."""
    private_keys: tuple[PrivateKey, ...]


def oidc_provider(db: Reader, account: str, arn: str) -> Provider | None:
    """The OpenID Connect provider with an ARN, in `account`; None if there is none."""
    row = db.execute("SELECT * FROM iam_oidc WHERE arn = ? AND account = ?", (arn, account)).fetchone()
    return _provider(row) if row is not None else None


def oidc_providers(db: Reader, account: str) -> list[Provider]:
    """An account's OpenID Connect providers, by ARN."""
    rows = db.execute("SELECT * FROM iam_oidc WHERE account = ? ORDER BY arn", (account,))
    return [_provider(row) for row in rows]


def saml_provider(db: Reader, account: str, arn: str) -> SamlProvider | None:
    """The SAML provider with an ARN, in `account`; None if there is none."""
    row = db.execute("SELECT * FROM iam_saml WHERE arn = ? AND account = ?", (arn, account)).fetchone()
    return _saml(row) if row is not None else None


def saml_providers(db: Reader, account: str) -> list[SamlProvider]:
    """An account's SAML providers, by ARN."""
    return [_saml(row) for row in db.execute("SELECT * FROM iam_saml WHERE account = ? ORDER BY arn", (account,))]


def _provider(row: sqlite3.Row) -> Provider:
    return Provider(
        row["arn"],
        row["account"],
        row["url"],
        tuple(json.loads(row["client_ids"])),
        tuple(json.loads(row["thumbprints"])),
        row["created"],
    )


def _saml(row: sqlite3.Row) -> SamlProvider:
    keys = tuple(PrivateKey(*key) for key in json.loads(row["private_keys"]))
    return SamlProvider(
        row["arn"], row["account"], row["name"], row["id"], row["document"], row["created"], row["valid_until"],
        row["encryption"], keys,
    )  # fmt: skip
