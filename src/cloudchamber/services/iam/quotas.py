# SPDX-License-Identifier: Apache-2.0
"""How many of each an account may have. Source: IAM User Guide, "IAM and AWS STS quotas" (default values)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.services.iam.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.services.iam.names import Kind
    from cloudchamber.store.database import Reader


@dataclass(frozen=True, slots=True)
class Quota:
    """One quota; `called` as messages name it."""

    called: str
    limit: int


OF_KIND: Mapping[Kind, Quota] = {
    "user": Quota("UsersPerAccount", 5000),
    "group": Quota("GroupsPerAccount", 300),
    "role": Quota("RolesPerAccount", 1000),
    "instance-profile": Quota("InstanceProfilesPerAccount", 1000),
}
POLICIES = Quota("PoliciesPerAccount", 1500)


def entities(db: Reader, account: str, kind: Kind) -> None:
    """Whether the account may have one more.

    Raises:
        LimitExceeded: it may not.
    """
    row = db.execute("SELECT count(*) FROM iam_entities WHERE account = ? AND kind = ?", (account, kind)).fetchone()
    _hold(OF_KIND[kind], row[0])


def policies(db: Reader, account: str) -> None:
    """Whether the account may have one more managed policy.

    Raises:
        LimitExceeded: it may not.
    """
    _hold(POLICIES, db.execute("SELECT count(*) FROM iam_policies WHERE account = ?", (account,)).fetchone()[0])


def _hold(quota: Quota, count: int) -> None:
    if count >= quota.limit:
        raise LimitExceeded(f"Cannot exceed quota for {quota.called}: {quota.limit}")
