# SPDX-License-Identifier: Apache-2.0
"""What EventBridge says of its rules when a permission is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.operation import Facts
from cloudchamber.services.events import tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and tags of a rule."""
    rule = doors.database.read(lambda db: tables.find(db, arn))
    return None if rule is None else Facts(rule.account, tags=rule.tags)
