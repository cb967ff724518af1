# SPDX-License-Identifier: Apache-2.0
"""What Parameter Store says of a parameter when a permission is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Facts
from cloudchamber.services.ssm import tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner and tags of a parameter; whether its name begins with a slash its ARN does not say."""
    named = Arn.parse(arn)
    name = named.resource.removeprefix("parameter/")
    for each in (f"/{name}", name):
        found = doors.database.read(lambda db, each=each: tables.find(db, named.account, named.region, each))
        if found is not None:
            return Facts(found.account, tags=found.tags)
    return None
