# SPDX-License-Identifier: Apache-2.0
"""The account as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import groups, inline, managed, needs, users
from cloudchamber.services.iam.documents import MANAGED_MAX, TRUST_MAX
from cloudchamber.services.iam.names import WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader


@operation("GetAccountSummary", needs=needs.account("GetAccountSummary"))
async def get_account_summary(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """How many of each there are, and the quotas in force. Source: IAM API Reference, GetAccountSummary."""

    def look(db: Reader) -> dict[str, int]:
        def count(table: str, where: str = "", *values: str) -> int:
            sql = f"SELECT count(*) FROM {table} WHERE account = ? {where}"
            return int(db.execute(sql, (call.account, *values)).fetchone()[0])

        return {
            "Users": count("iam_entities", "AND kind = ?", "user"),
            "Groups": count("iam_entities", "AND kind = ?", "group"),
            "Roles": count("iam_entities", "AND kind = ?", "role"),
            "InstanceProfiles": count("iam_entities", "AND kind = ?", "instance-profile"),
            "Policies": count("iam_policies"),
            "AccountAccessKeysPresent": 1,
            "AccessKeysPerUserQuota": users.KEYS_MAX,
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
        }

    return {"SummaryMap": call.doors.database.read(look)}


@operation("ListAccountAliases", needs=needs.account("ListAccountAliases"))
async def list_account_aliases(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """None: a chamber's account has no alias. Source: IAM API Reference, ListAccountAliases."""
    return {"AccountAliases": [], "IsTruncated": False}
