# SPDX-License-Identifier: Apache-2.0
"""What ECR says of a repository when a permission is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Facts
from cloudchamber.services.ecr import tables
from cloudchamber.services.ecr.document import with_resource

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner, repository policy and tags."""
    named = Arn.parse(arn)
    name = named.resource.removeprefix("repository/")
    found = doors.database.read(lambda db: tables.find(db, named.account, named.region, name))
    if found is None:
        return None
    policy = with_resource(found.policy) if found.policy else ""
    return Facts(found.account, policy, f"policy of repository {name}", found.tags)
