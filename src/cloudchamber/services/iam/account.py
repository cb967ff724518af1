# SPDX-License-Identifier: Apache-2.0
"""The account as a whole: what it has, its quotas, its alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import access_keys, groups, inline, managed, needs, quotas, server_certificates, signing
from cloudchamber.services.iam.documents import MANAGED_MAX, TRUST_MAX
from cloudchamber.services.iam.errors import EntityAlreadyExists, NoSuchEntity
from cloudchamber.services.iam.names import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


@operation("GetAccountSummary", needs=needs.account("GetAccountSummary"))
async def get_account_summary(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """How many of each there are, and the quotas in force. Source: IAM API Reference, GetAccountSummary."""
    return {"SummaryMap": call.doors.database.read(lambda db: _counts(db, call.account) | _quotas())}


@operation("ListAccountAliases", needs=needs.account("ListAccountAliases"))
async def list_account_aliases(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The account's alias; there is at most one. Source: IAM API Reference, ListAccountAliases."""
    found = call.doors.database.read(lambda db: alias(db, call.account))
    return {"AccountAliases": [found] if found else [], "IsTruncated": False}


@operation("CreateAccountAlias", needs=needs.account("CreateAccountAlias"))
async def create_account_alias(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give the account an alias, instead of the one it has; no two accounts have the same. Source: IAM API Reference,
    CreateAccountAlias."""
    wanted = request["AccountAlias"]

    def change(tx: Tx) -> None:
        row = tx.execute("SELECT account FROM iam_aliases WHERE alias = ?", (wanted,)).fetchone()
        if row is not None:
            raise EntityAlreadyExists(f"The account alias {wanted} already exists.")
        tx.execute("DELETE FROM iam_aliases WHERE account = ?", (call.account,))
        tx.execute("INSERT INTO iam_aliases VALUES (?, ?)", (wanted, call.account))

    await call.doors.database.write(change)
    return {}


@operation("DeleteAccountAlias", needs=needs.account("DeleteAccountAlias"))
async def delete_account_alias(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take the alias away. Source: IAM API Reference, DeleteAccountAlias."""
    wanted = request["AccountAlias"]

    def change(tx: Tx) -> None:
        gone = tx.execute("DELETE FROM iam_aliases WHERE alias = ? AND account = ?", (wanted, call.account))
        if not gone.rowcount:
            raise NoSuchEntity(f"The account alias {wanted} does not exist.")

    await call.doors.database.write(change)
    return {}


def alias(db: Reader, account: str) -> str:
    """An account's alias; empty if it has none."""
    row = db.execute("SELECT alias FROM iam_aliases WHERE account = ?", (account,)).fetchone()
    return row[0] if row is not None else ""


def _counts(db: Reader, account: str) -> dict[str, int]:
    def count(table: str, where: str = "", *values: str) -> int:
        return int(
            db.execute(f"SELECT count(*) FROM {table} WHERE account = ? {where}", (account, *values)).fetchone()[0]
        )

    return {
        "Users": count("iam_entities", "AND kind = ?", "user"),
        "Groups": count("iam_entities", "AND kind = ?", "group"),
        "Roles": count("iam_entities", "AND kind = ?", "role"),
        "InstanceProfiles": count("iam_entities", "AND kind = ?", "instance-profile"),
        "Policies": count("iam_policies"),
        "PolicyVersionsInUse": count("iam_policies"),
        "ServerCertificates": count("iam_server_certificates"),
        "MFADevices": count("iam_mfa"),
        "MFADevicesInUse": count("iam_mfa", "AND user != ''"),
        "Providers": count("iam_oidc") + count("iam_saml"),
        "AccountMFAEnabled": 0,
        "AccountAccessKeysPresent": 1,
        "AccountPasswordPresent": 0,
        "AccountSigningCertificatesPresent": 0,
    }


def _quotas() -> dict[str, int]:
    return {
        "UsersQuota": quotas.OF_KIND["user"].limit,
        "GroupsQuota": quotas.OF_KIND["group"].limit,
        "RolesQuota": quotas.OF_KIND["role"].limit,
        "InstanceProfilesQuota": quotas.OF_KIND["instance-profile"].limit,
        "PoliciesQuota": quotas.POLICIES.limit,
        "PolicyVersionsInUseQuota": 10000,
        "ServerCertificatesQuota": server_certificates.ACCOUNT_MAX,
        "SigningCertificatesPerUserQuota": signing.PER_USER_MAX,
        "AccessKeysPerUserQuota": access_keys.KEYS_MAX,
        "GroupsPerUserQuota": groups.GROUPS_MAX,
        "AttachedPoliciesPerUserQuota": inline.ATTACHED_MAX,
        "AttachedPoliciesPerGroupQuota": inline.ATTACHED_MAX,
        "AttachedPoliciesPerRoleQuota": inline.ATTACHED_MAX,
        "UserPolicySizeQuota": WORDS["user"].inline_max,
        "GroupPolicySizeQuota": WORDS["group"].inline_max,
        "RolePolicySizeQuota": WORDS["role"].inline_max,
        "AssumeRolePolicySizeQuota": TRUST_MAX,
        "PolicySizeQuota": MANAGED_MAX,
        "VersionsPerPolicyQuota": managed.VERSIONS_MAX,
        "GlobalEndpointTokenVersion": 1,
    }
