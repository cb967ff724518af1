# SPDX-License-Identifier: Apache-2.0
"""What Secrets Manager tells the authorizer about a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cloudchamber.contract.operation import Facts
from cloudchamber.services.secretsmanager import tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner, resource policy and tags; the service that owns a secret may do everything with it."""
    found = doors.database.read(lambda db: tables.find(db, "", "", arn))
    if found is None:
        return None
    if found.owner and not found.policy:
        statement = {
            "Sid": "OwningService",
            "Effect": "Allow",
            "Principal": {"Service": f"{found.owner}.amazonaws.com"},
            "Action": "secretsmanager:*",
            "Resource": "*",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        return Facts(found.account, document, f"ownership of {found.name}", found.tags)
    return Facts(found.account, found.policy, f"policy of secret {found.name}", found.tags)
