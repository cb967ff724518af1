# SPDX-License-Identifier: Apache-2.0
"""What CloudFormation knows of one stack, for decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.operation import Facts
from cloudchamber.services.cloudformation import tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and tags of a stack."""
    stack = doors.database.read(lambda db: tables.stack_by_id(db, arn))
    return Facts(stack.account, tags=stack.settings.tags) if stack else None
