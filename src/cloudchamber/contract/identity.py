# SPDX-License-Identifier: Apache-2.0
"""Who calls, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudchamber.contract.accounts import Accounts, OidcProvider, OrgPlace
    from cloudchamber.policy.evaluate import IdentityPolicies, Policy

Kind = Literal["root", "user", "assumed-role", "federated-user", "service", "anonymous"]


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller of one call.

    `arn` is what GetCallerIdentity answers (``arn:aws:sts::<account>:assumed-role/<role>/<session>``), and
    for a service its host name (``s3.amazonaws.com``). `entity_arn` names the user or role whose policies
    apply (``arn:aws:iam::<account>:role/<path><role>``). `user_id` is ``aws:userid``.
    """

    kind: Kind
    account: str
    arn: str
    user_id: str = ""
    entity_arn: str = ""
    access_key_id: str = ""
    session_policies: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    issued_at: datetime | None = None
    source_identity: str = ""
    via: tuple[str, ...] = ()
    """Services that act for the caller (``aws:CalledVia``), first one first."""
    source_arn: str = ""
    """For a service: the resource on whose behalf it calls (``aws:SourceArn``)."""
    source_account: str = ""
    transitive_tags: tuple[str, ...] = ()
    """Keys of session tags that go on to the next role in a chain."""
    mfa_at: datetime | None = None
    """When a code of an MFA device was given for this session (``aws:MultiFactorAuthAge`` counts from there)."""
    federated: str = ""
    """``aws:FederatedProvider``: the OIDC or SAML provider that vouched for this session."""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    """The provider's claims as condition keys: ``token.actions.githubusercontent.com:sub``."""

    @property
    def name(self) -> str:
        """The ARN, or the service's host name."""
        return self.arn


def service_principal(host: str, account: str, source_arn: str = "") -> Principal:
    """A service that calls for itself: ``service_principal("s3.amazonaws.com", "000000000000", bucket_arn)``."""
    return Principal("service", account, host, source_arn=source_arn, source_account=account if source_arn else "")


ANONYMOUS = Principal("anonymous", "anonymous", "*")


@dataclass(frozen=True, slots=True)
class Credential:
    """An access key that was found, with the secret to verify signatures with."""

    access_key_id: str
    secret_key: str = field(repr=False)
    principal: Principal
    session_token: str = field(default="", repr=False)
    expires_at: datetime | None = None


class Identities(Protocol):
    """What the front asks the IAM service about callers. Provided by `services/iam`."""

    @property
    def accounts(self) -> Accounts:
        """The accounts of the chamber, and their organization."""
        ...

    def credential(self, access_key_id: str, session_token: str, now: datetime) -> Credential:
        """The key and its owner.

        Raises:
            ServiceError: `InvalidClientTokenId` (unknown or inactive), `ExpiredToken`, `InvalidToken`.
        """
        ...

    def policies(self, principal: Principal) -> IdentityPolicies:
        """Every policy that applies to the caller by who it is; never stale."""
        ...

    def resource_controls(self, account: str) -> tuple[tuple[Policy, ...], ...] | None:
        """Resource control policies over an account's resources, one tuple a level, the root first; None: no limit."""
        ...

    def organization(self, account: str) -> OrgPlace | None:
        """Where an account stands in the organization; None if it is in none."""
        ...

    def issue(self, principal: Principal, now: datetime, lifetime_s: int) -> Credential:
        """Temporary credentials for `principal`: an ``ASIA`` key, its secret, and a sealed session token."""
        ...

    def profile_roles(self, account: str, profile: str) -> tuple[str, ...]:
        """ARNs of the roles in an instance profile, by the profile's name or ARN; empty if there is none."""
        ...

    def instance_profile(self, account: str, profile: str) -> tuple[str, str] | None:
        """ARN and unique id of an instance profile, by its name or ARN; None if there is none."""
        ...

    def session_limit(self, role_arn: str) -> tuple[str, int] | None:
        """Unique id and longest session, in seconds, of a role; None if there is no such role."""
        ...

    def managed_document(self, policy_arn: str) -> str | None:
        """The text of a managed policy's default version; None if there is no such policy."""
        ...

    def owner(self, access_key_id: str) -> str | None:
        """The account of an access key; None if it is unknown."""
        ...

    def root_key(self, account: str) -> str:
        """The id of the access key that an account came with: its root user's."""
        ...

    def mfa_shows(self, principal: Principal, serial: str, code: str, now: datetime) -> bool:
        """Whether an MFA device of the calling user shows this code, which has not been taken yet."""
        ...

    async def mfa_accept(self, principal: Principal, serial: str, code: str, now: datetime) -> bool:
        """Take a code of the calling user's MFA device; it, and every older one, is used up then."""
        ...

    def canonical_id(self, account: str) -> str:
        """An account's canonical user id."""
        ...

    def oidc_provider(self, account: str, issuer: str) -> OidcProvider | None:
        """The OpenID Connect provider of an account for an issuer (without ``https://``); None if there is none."""
        ...

    def saml_metadata(self, account: str, arn: str) -> str | None:
        """The metadata document of an account's SAML provider; None if there is none."""
        ...

    def issuer_keys(self, issuer: str) -> str | None:
        """The JWKS that is kept here for an issuer (without ``https://``); None if its keys are to be fetched."""
        ...

    def seal(self, words: str) -> str:
        """`words`, to be handed to a client that may keep them but not change them."""
        ...

    def unseal(self, sealed: str) -> str | None:
        """What `seal` was given; None if it was not made here."""
        ...
