# SPDX-License-Identifier: Apache-2.0
"""What Logs says of its groups when a permission is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Facts
from cloudchamber.services.logs import tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and tags of a group; a stream has those of its group."""
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        return None
    kind, _, rest = parsed.resource.partition(":")
    if kind != "log-group":
        return None
    name = rest.partition(":")[0]
    group = doors.database.read(lambda db: tables.find_group(db, parsed.account, parsed.region, name))
    return None if group is None else Facts(group.account, tags=group.tags)
