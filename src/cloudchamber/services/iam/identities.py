# SPDX-License-Identifier: Apache-2.0
"""Who an access key belongs to, and which policies apply: what the front asks of IAM.

Temporary credentials need no row: the session token carries the session, sealed with the chamber's own key, and the
secret is derived from it. They outlive a restart, and a changed or invented token is worth nothing.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.accounts import OidcProvider, canonical_id
from cloudchamber.contract.identity import Credential, Principal
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, policy
from cloudchamber.services.iam import mfa, passwords, providers, tables
from cloudchamber.services.iam.accounts import IamAccounts, kept_keys
from cloudchamber.services.iam.errors import ExpiredToken, InvalidClientTokenId
from cloudchamber.store import private

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from cloudchamber.base.clock import Clock
    from cloudchamber.contract.accounts import OrgPlace
    from cloudchamber.services.iam.organization import Organization
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Database, Reader

_CACHED_MAX = 4096
_UNKNOWN = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"
_TOKEN_MAX = 16_384
_SERVICE_LINKED = ":role/aws-service-role/"
"""In the ARN of a role that no service control policy limits."""
_ROOT_POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'


class IamIdentities:
    """`contract.identity.Identities`, over IAM's tables. Its caches hold for one state of the tables only."""

    def __init__(self, database: Database, master: bytes, root: Credential, accounts: IamAccounts) -> None:
        self.accounts = accounts
        self._database = database
        self._master = master
        self.root = root
        self._state = self._seen = -1
        self._policies: dict[tuple[str, str, tuple[str, ...]], IdentityPolicies] = {}
        self._organization: Organization | None = None
        self._controls: dict[str, tuple[tuple[Policy, ...], ...] | None] = {}
        self._credentials: dict[str, Credential] = {}
        self._sealed: dict[tuple[str, str], tuple[Credential, str]] = {}
        self._everything = (policy("root user of the account", "identity", _ROOT_POLICY),)

    def credential(self, access_key_id: str, session_token: str, now: datetime) -> Credential:
        """The key and its owner; see `Identities.credential`."""
        if access_key_id == self.root.access_key_id:
            if session_token:
                raise InvalidClientTokenId(_UNKNOWN)
            return self.root
        self._refresh()
        if session_token:
            return self._session(access_key_id, session_token, now)
        found = self._credentials.get(access_key_id)
        if found is None:
            found = self._long_term(access_key_id)
            if len(self._credentials) >= _CACHED_MAX:
                self._credentials.clear()
            self._credentials[access_key_id] = found
        return found

    def policies(self, principal: Principal) -> IdentityPolicies:
        """Every policy that applies by who the caller is; see `Identities.policies`."""
        if principal.kind in ("service", "anonymous"):
            return IdentityPolicies()
        self._refresh()
        key = (principal.kind, principal.entity_arn or principal.arn, principal.session_policies)
        found = self._policies.get(key)
        if found is None:
            found = self._found(principal)
            if len(self._policies) >= _CACHED_MAX:
                self._policies.clear()
            self._policies[key] = found
        return found

    def _found(self, principal: Principal) -> IdentityPolicies:
        """The caller's policies, with what the organization sets over its account."""
        if principal.kind == "federated-user" and not principal.entity_arn:
            return IdentityPolicies()  # Why: whom another provider vouches for is nobody of ours yet
        if principal.kind == "root" or principal.entity_arn.endswith(":root"):
            limits = self._database.read(lambda db: _limits(db, principal.session_policies))
            found = IdentityPolicies(self._everything, session=limits)
        else:
            key = (principal.entity_arn or principal.arn, principal.session_policies)
            found = self._database.read(lambda db: policies_of(db, *key))
        if principal.kind == "federated-user" and not principal.session_policies:
            # Why: without a session policy, it may do only what a resource's own policy allows it by its own name
            found = replace(found, identity=(), session=())
        if self._organization is None or _SERVICE_LINKED in principal.entity_arn:
            return found
        return replace(found, scps=self._organization.limits(principal.account, "SERVICE_CONTROL_POLICY"))

    def resource_controls(self, account: str) -> tuple[tuple[Policy, ...], ...] | None:
        """Resource control policies over an account's resources; see `Identities.resource_controls`."""
        self._refresh()
        if self._organization is None:
            return None
        if account not in self._controls:
            self._controls[account] = self._organization.limits(account, "RESOURCE_CONTROL_POLICY")
        return self._controls[account]

    def organization(self, account: str) -> OrgPlace | None:
        """Where an account stands; see `Identities.organization`."""
        self._refresh()
        return self._organization.place(account) if self._organization is not None else None

    def issue(self, principal: Principal, now: datetime, lifetime_s: int) -> Credential:
        """Temporary credentials; see `Identities.issue`."""
        key_id = ids.access_key_id("ASIA", principal.account)
        begun = now.replace(microsecond=0)
        expires = begun + timedelta(seconds=lifetime_s)
        body = {
            "key": key_id, "expires": int(expires.timestamp()), "issued": int(begun.timestamp()),
            "kind": principal.kind, "account": principal.account, "arn": principal.arn, "user_id": principal.user_id,
            "entity_arn": principal.entity_arn, "session_policies": list(principal.session_policies),
            "tags": dict(principal.tags), "source_identity": principal.source_identity,
        }  # fmt: skip
        rare = {
            "transitive": list(principal.transitive_tags), "federated": principal.federated,
            "mfa": int(principal.mfa_at.timestamp()) if principal.mfa_at is not None else None,
            "extra": {key: list(values) for key, values in principal.extra.items()},
            "behind": self._behind(principal),
        }  # fmt: skip
        body |= {key: value for key, value in rare.items() if value}
        packed = zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 9)
        seal = self._mac(b"session", packed)
        token = base64.b64encode(b"\x01" + seal + packed).decode()
        credential, _ = self._opened(token)
        return credential

    def profile_roles(self, account: str, profile: str) -> tuple[str, ...]:
        """ARNs of the roles in an instance profile; see `Identities.profile_roles`."""
        name = profile.rsplit("/", 1)[-1] if profile.startswith("arn:") else profile

        def look(db: Reader) -> tuple[str, ...]:
            found = tables.find(db, account, "instance-profile", name)
            if found is None or (profile.startswith("arn:") and profile != found.arn):
                return ()
            roles = (tables.find(db, account, "role", role) for role in tables.members(db, found))
            return tuple(role.arn for role in roles if role is not None)

        return self._database.read(look)

    def instance_profile(self, account: str, profile: str) -> tuple[str, str] | None:
        """ARN and unique id of an instance profile; see `Identities.instance_profile`."""
        name = profile.rsplit("/", 1)[-1] if profile.startswith("arn:") else profile
        found = self._database.read(lambda db: tables.find(db, account, "instance-profile", name))
        if found is None or (profile.startswith("arn:") and profile != found.arn):
            return None
        return found.arn, found.id

    def session_limit(self, role_arn: str) -> tuple[str, int] | None:
        """Unique id and longest session, in seconds, of a role; None if there is no such role."""
        role = self._database.read(lambda db: tables.by_arn(db, role_arn))
        return (role.id, role.session_s) if role is not None and role.kind == "role" else None

    def managed_document(self, policy_arn: str) -> str | None:
        """The text of a managed policy's default version; None if there is no such policy."""
        found = self._database.read(lambda db: tables.managed(db, policy_arn))
        return found.document if found is not None else None

    def owner(self, access_key_id: str) -> str | None:
        """The account of a long-term key; None if it is unknown."""
        if access_key_id == self.root.access_key_id:
            return self.root.principal.account
        found = "SELECT account FROM iam_keys WHERE id = ?1 UNION SELECT id FROM iam_accounts WHERE root_key = ?1"
        row = self._database.read(lambda db: db.execute(found, (access_key_id,)).fetchone())
        if row is None and access_key_id.startswith("ASIA"):
            # Why: nothing is kept of temporary credentials; their id says whose they are
            account = ids.account_of_key(access_key_id)
            return account if any(one.id == account for one in self.accounts.all()) else None
        return row[0] if row is not None else None

    def root_key(self, account: str) -> str:
        """The id of the access key that an account came with; see `Identities.root_key`."""
        if account == self.root.principal.account:
            return self.root.access_key_id
        sql = "SELECT root_key FROM iam_accounts WHERE id = ?"
        return self._database.read(lambda db: str(db.execute(sql, (account,)).fetchone()[0]))

    def mfa_shows(self, principal: Principal, serial: str, code: str, now: datetime) -> bool:
        """Whether the caller's device shows a code; see `Identities.mfa_shows`."""
        user = _user_of(principal)
        return self._database.read(lambda db: mfa.shown(db, principal.account, user, serial, code, now) is not None)

    async def mfa_accept(self, principal: Principal, serial: str, code: str, now: datetime) -> bool:
        """Take a code; see `Identities.mfa_accept`."""
        user = _user_of(principal)
        return await self._database.write(lambda tx: mfa.accept(tx, principal.account, user, serial, code, now))

    def canonical_id(self, account: str) -> str:
        """An account's canonical user id; see `Identities.canonical_id`."""
        return canonical_id(account)

    def oidc_provider(self, account: str, issuer: str) -> OidcProvider | None:
        """An account's provider for an issuer; see `Identities.oidc_provider`."""
        arn = f"arn:aws:iam::{account}:oidc-provider/{issuer}"
        found = self._database.read(lambda db: providers.oidc_provider(db, account, arn))
        return OidcProvider(found.arn, found.name, found.client_ids) if found is not None else None

    def saml_metadata(self, account: str, arn: str) -> str | None:
        """Metadata of a SAML provider; see `Identities.saml_metadata`."""
        found = self._database.read(lambda db: providers.saml_provider(db, account, arn))
        return found.document if found is not None else None

    def issuer_keys(self, issuer: str) -> str | None:
        """The JWKS kept for an issuer; see `Identities.issuer_keys`."""
        return self._database.read(lambda db: kept_keys(db, issuer.removesuffix("/")))

    def seal(self, words: str) -> str:
        """Words that a client may keep but not change; see `Identities.seal`."""
        packed = zlib.compress(words.encode(), 9)
        return base64.urlsafe_b64encode(self._mac(b"words", packed) + packed).decode()

    def unseal(self, sealed: str) -> str | None:
        """What `seal` was given; see `Identities.unseal`."""
        try:
            raw = base64.urlsafe_b64decode(sealed.encode())
        except (binascii.Error, ValueError):
            return None
        if not hmac.compare_digest(raw[:32], self._mac(b"words", raw[32:])):
            return None
        return zlib.decompress(raw[32:]).decode()

    def _refresh(self) -> None:
        """Forget everything if the tables changed: the count goes up in the very transaction that changes them."""
        settled = self._database.settled
        if settled == self._seen:
            return
        state = self._database.peek(lambda db: db.execute("SELECT number FROM iam_change").fetchone()[0])
        if not self._database.reading:
            self._seen = settled
        if state != self._state:
            self._state = state
            self._policies.clear()
            self._credentials.clear()
            self._sealed.clear()
            self._controls.clear()
            self._organization = self._database.read(self.accounts.organization)

    def _long_term(self, access_key_id: str) -> Credential:
        def look(db: Reader) -> Credential:
            row = db.execute("SELECT * FROM iam_keys WHERE id = ?", (access_key_id,)).fetchone()
            if row is None:
                return _root_of(db, access_key_id)
            if row["status"] != "Active":
                raise InvalidClientTokenId(_UNKNOWN)
            if not row["user"]:  # Why: the root user has no name
                return _root(row["account"], access_key_id, row["secret"])
            user = tables.get(db, row["account"], "user", row["user"])
            principal = Principal(
                "user", user.account, user.arn, user.id, user.arn, access_key_id, tags=tables.tags(db, user.arn)
            )
            return Credential(access_key_id, row["secret"], principal)

        return self._database.read(look)

    def _session(self, access_key_id: str, token: str, now: datetime) -> Credential:
        found = self._sealed.get((access_key_id, token))
        if found is None:
            found = self._opened(token)
            credential, unique_id = found
            if credential.access_key_id != access_key_id:
                raise InvalidClientTokenId(_UNKNOWN)
            if unique_id and not self._lives(credential.principal, unique_id):
                raise InvalidClientTokenId(_UNKNOWN)
            found = replace(credential, principal=self._tagged(credential.principal)), unique_id
            if len(self._sealed) >= _CACHED_MAX:
                self._sealed.clear()
            self._sealed[(access_key_id, token)] = found
        expires = found[0].expires_at
        if expires is not None and now >= expires:
            raise ExpiredToken(_EXPIRED)
        return found[0]

    def _behind(self, principal: Principal) -> str:
        """Unique id of the user who vouches for a federated user: the session ends with that user."""
        if principal.kind != "federated-user" or principal.entity_arn.endswith(":root"):
            return ""
        user = self._database.read(lambda db: tables.by_arn(db, principal.entity_arn))
        return user.id if user is not None else ""

    def _lives(self, principal: Principal, unique_id: str) -> bool:
        """Whether the user or role behind a session is still the one that it was issued for."""
        entity = self._database.read(lambda db: tables.by_arn(db, principal.entity_arn))
        return entity is not None and entity.id == unique_id

    def _tagged(self, principal: Principal) -> Principal:
        """A session's caller with the tags that its role or user has now; one of the session's hides those alike."""
        own = self._database.read(lambda db: tables.tags(db, principal.entity_arn)) if principal.entity_arn else {}
        passed = {key.lower() for key in principal.tags}
        return replace(principal, tags={k: v for k, v in own.items() if k.lower() not in passed} | dict(principal.tags))

    def _opened(self, token: str) -> tuple[Credential, str]:
        """The credentials in a session token, and the unique id of the user or role behind them.

        Raises:
            InvalidClientTokenId: the chamber did not make this token.
        """
        try:
            raw = base64.b64decode(token, validate=True) if len(token) <= _TOKEN_MAX else b""
        except (binascii.Error, ValueError) as error:
            raise InvalidClientTokenId(_UNKNOWN) from error
        seal, packed = raw[1:33], raw[33:]
        if raw[:1] != b"\x01" or not hmac.compare_digest(seal, self._mac(b"session", packed)):
            raise InvalidClientTokenId(_UNKNOWN)
        body: dict[str, Any] = json.loads(zlib.decompress(packed))
        principal = Principal(
            body["kind"], body["account"], body["arn"], body["user_id"], body["entity_arn"], body["key"],
            tuple(body["session_policies"]), body["tags"], datetime.fromtimestamp(body["issued"], UTC),
            body["source_identity"],
            transitive_tags=tuple(body.get("transitive", ())),
            mfa_at=datetime.fromtimestamp(body["mfa"], UTC) if "mfa" in body else None,
            federated=body.get("federated", ""),
            extra={key: tuple(values) for key, values in body.get("extra", {}).items()},
        )  # fmt: skip
        secret = base64.b64encode(self._mac(b"secret", seal)).decode()[:40]
        expires = datetime.fromtimestamp(body["expires"], UTC)
        named = principal.kind in ("user", "assumed-role")
        unique_id = body["user_id"].partition(":")[0] if named else body.get("behind", "")
        return Credential(body["key"], secret, principal, token, expires), unique_id

    def _mac(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._master, purpose + b"\0" + data, "sha256")


def identities(
    database: Database, folder: Path, account: str, root_key: tuple[str, str] | None, clock: Clock
) -> IamIdentities:
    """Make the chamber's identities, after the migrations.

    Keeps two files in `folder`, both 0600: ``session-key`` seals session tokens, ``root-credentials.json`` holds
    the root user's key pair, unless `root_key` gives one.
    """
    master = bytes.fromhex(private.kept(folder / "session-key", new_master).decode())
    if root_key is None:
        pair = json.loads(private.kept(folder / "root-credentials.json", new_pair))
        root_key = (pair["AccessKeyId"], pair["SecretAccessKey"])
    return IamIdentities(database, master, _root(account, *root_key), IamAccounts(database, account, clock))


def _root(account: str, key_id: str, secret: str) -> Credential:
    principal = Principal("root", account, f"arn:aws:iam::{account}:root", account, "", key_id)
    return Credential(key_id, secret, principal)


def _root_of(db: Reader, access_key_id: str) -> Credential:
    """The root user of another account than the first, by its key.

    Raises:
        InvalidClientTokenId: nobody has that key.
    """
    row = db.execute("SELECT id, root_secret FROM iam_accounts WHERE root_key = ?", (access_key_id,)).fetchone()
    if row is None:
        raise InvalidClientTokenId(_UNKNOWN)
    return _root(row["id"], access_key_id, row["root_secret"])


def _user_of(principal: Principal) -> str:
    return principal.arn.rsplit("/", 1)[-1] if principal.kind == "user" else ""


def new_master() -> bytes:
    """A key to seal session tokens with, in hexadecimal digits."""
    return ids.hex_token(32).encode()


def new_pair() -> bytes:
    """The root user's first key pair, as JSON."""
    return json.dumps({"AccessKeyId": ids.access_key_id("AKIA"), "SecretAccessKey": ids.secret_key()}).encode()


def policies_of(db: Reader, entity_arn: str, session: tuple[str, ...]) -> IdentityPolicies:
    """The policies of a user, group or role; an entity that is gone has none, and so nothing is allowed."""
    limits = _limits(db, session)
    entity = tables.by_arn(db, entity_arn)
    if entity is None:
        return IdentityPolicies(session=limits)
    owners = [entity, *(tables.collections(db, "group", entity) if entity.kind == "user" else ())]
    boundary: tuple[Policy, ...] | None = None
    if entity.boundary:
        # Why: a boundary whose policy is gone allows nothing; it must not vanish with it
        found = tables.managed(db, entity.boundary)
        boundary = (
            ()
            if found is None
            else (policy(f"permissions boundary {found.arn}", "boundary", found.document, found.arn),)
        )
    own = tuple(_of(db, owners))
    if entity.kind == "user" and (by_account := passwords.granted(db, entity.arn, entity.account)) is not None:
        own = (*own, by_account)
    return IdentityPolicies(own, boundary, limits)


def _limits(db: Reader, session: tuple[str, ...]) -> tuple[Policy, ...] | None:
    """Session policies: texts, and ARNs of managed policies; None if a session has none."""
    found: list[Policy] = []
    for one in session:
        if not one.startswith("arn:"):
            found.append(policy(f"session policy {len(found) + 1}", "session", one))
        elif (named := tables.managed(db, one)) is not None:
            found.append(policy(f"session policy {one}", "session", named.document, one))
    # Why: a limit whose policy is gone allows nothing; it must not vanish with it
    return tuple(found) if session else None


def _of(db: Reader, owners: Iterable[Entity]) -> Iterable[Policy]:
    for owner in owners:
        for name, text in tables.inline(db, owner):
            yield policy(f"inline policy {name} of {owner.kind} {owner.name}", "identity", text)
        for attached in tables.attached(db, owner):
            found = tables.managed(db, attached)
            if found is not None:
                name = f"managed policy {attached} of {owner.kind} {owner.name}"
                yield policy(name, "identity", found.document, found.arn)
