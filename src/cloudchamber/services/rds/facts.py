# SPDX-License-Identifier: Apache-2.0
"""What RDS tells the authorizer about its resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.contract.operation import Facts
from cloudchamber.services.rds import tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and tags of a DB instance or a DB subnet group."""
    parts = arn.split(":", 6)
    if len(parts) != 7 or parts[5] not in ("db", "subgrp"):
        return None
    tags = doors.database.read(lambda db: tables.tags(db, arn))
    return Facts(parts[4], tags=tags)
