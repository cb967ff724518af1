# SPDX-License-Identifier: Apache-2.0
"""What Lambda says of its functions when a permission is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Facts
from cloudchamber.services.lambda_ import layer_tables as layers
from cloudchamber.services.lambda_ import policy, tables

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors


def facts(doors: Doors, arn: str) -> Facts | None:
    """The function policy and the tags of the function `arn`, qualified or not."""
    try:
        parsed = Arn.parse(arn)
    except ValueError:
        return None
    kind, _, rest = parsed.resource.partition(":")
    name, _, qualifier = rest.partition(":")
    if kind == "layer":
        layer = doors.database.read(lambda db: layers.find(db, arn))
        if layer is None:
            return None
        return Facts(layer.account, policy.document(layer.statements), f"layer policy of {name}:{qualifier}")
    if kind != "function" or not name:
        return None
    plain = str(Arn("lambda", parsed.region, parsed.account, f"function:{name}", parsed.partition))
    function = doors.database.read(lambda db: tables.find(db, plain))
    if function is None:
        return None
    settings = doors.database.read(lambda db: tables.settings(db, plain, qualifier))
    return Facts(function.account, policy.document(settings.statements), f"function policy of {rest}", function.tags)
