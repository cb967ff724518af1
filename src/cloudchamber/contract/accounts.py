# SPDX-License-Identifier: Apache-2.0
"""The accounts of a chamber and their organization, as the command line and the services see them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


def canonical_id(account: str) -> str:
    """An account's canonical user id, 64 hexadecimal digits: how S3 names its owner."""
    return hashlib.sha256(f"canonical user of {account}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Account:
    """One account; `created` is None for the chamber's first."""

    id: str
    name: str
    email: str = ""
    created: datetime | None = None

    @property
    def canonical_id(self) -> str:
        """How S3 names the account as an owner."""
        return canonical_id(self.id)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that was just made, with the key pair of its root user, which nobody is told again."""

    account: Account
    access_key_id: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class OrgPlace:
    """Where an account stands in the organization.

    `path` is ``aws:PrincipalOrgPaths``: ``o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/``, with a slash behind it.
    """

    organization: str
    path: str
    management: bool
    """Whether it is the management account, which no service or resource control policy limits."""


@dataclass(frozen=True, slots=True)
class OidcProvider:
    """An OpenID Connect provider that an account trusts; `issuer` without ``https://``."""

    arn: str
    issuer: str
    client_ids: tuple[str, ...]


class Accounts(Protocol):
    """The accounts and the organization. Provided by `services/iam`."""

    def all(self) -> tuple[Account, ...]:
        """Every account, the chamber's first one first."""
        ...

    async def add(self, name: str, email: str) -> NewAccount:
        """Make an account.

        Raises:
            ServiceError: the name is taken, or name or address are none.
        """
        ...

    def shown(self) -> Mapping[str, Any] | None:
        """The organization with its ids, as its file writes it; None if there is none."""
        ...

    async def apply(self, source: Mapping[str, Any]) -> Mapping[str, Any]:
        """Put an organization file in force, whole; returns what `shown` says then.

        Raises:
            ServiceError: it is not such a file, or passes one of AWS's quotas; nothing was changed.
        """
        ...

    async def keep_keys(self, issuer: str, jwks: Mapping[str, Any]) -> int:
        """Verify tokens of `issuer` by these keys (a JWKS) instead of fetching them; returns how many there are.

        Raises:
            ServiceError: it is no JWKS, or holds no public key for a signature.
        """
        ...
