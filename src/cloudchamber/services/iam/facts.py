# SPDX-License-Identifier: Apache-2.0
"""What IAM says about its own resources: a role's trust policy, and tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.operation import Facts
from cloudchamber.services.iam import tables
from cloudchamber.services.iam.providers import oidc_provider, saml_provider

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.store.database import Reader


_OTHERS = ((":mfa/", "iam_mfa", "serial"), (":server-certificate/", "iam_server_certificates", "arn"))
"""What else has tags: how its ARNs look, its table, and the column with the ARN."""


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner, tags and (of a role) trust policy of a resource of IAM; None if there is no such resource."""

    def look(db: Reader) -> Facts | None:
        entity = tables.by_arn(db, arn)
        if entity is not None:
            name = f"trust policy of role {entity.name}" if entity.trust else ""
            return Facts(entity.account, entity.trust, name, tables.tags(db, arn))
        if "-provider/" in arn:
            account = arn.split(":", 5)[4]
            known = oidc_provider(db, account, arn) or saml_provider(db, account, arn)
            return Facts(account, tags=tables.tags(db, arn)) if known is not None else None
        account = arn.split(":", 5)[4] if arn.count(":") >= 5 else ""
        for kind, table, column in _OTHERS:
            if kind in arn:
                sql = f"SELECT 1 FROM {table} WHERE {column} = ? AND account = ?"
                there = db.execute(sql, (arn, account)).fetchone()
                return Facts(account, tags=tables.tags(db, arn)) if there is not None else None
        policy = tables.managed(db, arn) if ":policy/" in arn else None
        if policy is None:
            return None
        # Why: AWS's own policies belong to no account, so to none but the caller's
        return Facts(policy.account, tags=tables.tags(db, arn)) if policy.account != "aws" else None

    return doors.database.read(look)
