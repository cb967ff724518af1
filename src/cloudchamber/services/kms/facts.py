# SPDX-License-Identifier: Apache-2.0
"""What KMS tells the authorizer about a key: its owner, its key policy, its tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Facts
from cloudchamber.services.kms import tables
from cloudchamber.services.kms.keys import managed_policy

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """A key's facts; an alias has an owner only. Source: AWS KMS Developer Guide, "Key policies in AWS KMS"."""
    named = Arn.parse(arn)
    kind, _, key_id = named.resource.partition("/")
    if kind != "key":
        # Why: an AWS managed key has its policy before it is made, which is when its service first asks for it
        service = key_id.removeprefix("aws/") if key_id.startswith("aws/") else ""
        policy = managed_policy(named.account, named.region, service) if service else ""
        return Facts(named.account, policy, f"key policy of {named.resource}")
    found = doors.database.read(lambda db: tables.by_id(db, named.account, named.region, key_id))
    return None if found is None else Facts(found.account, found.policy, f"key policy of {key_id}", found.tags)
