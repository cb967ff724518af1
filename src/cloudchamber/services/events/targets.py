# SPDX-License-Identifier: Apache-2.0
"""Targets: what a rule runs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import operation
from cloudchamber.services.events import needs, tables
from cloudchamber.services.events.errors import LimitExceededException, ValidationException
from cloudchamber.services.events.part import RETRIES
from cloudchamber.services.events.rules import check_bus, named, paged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

_TARGETS_MAX = 5
_ID = re.compile(r"[.\-_A-Za-z0-9]{1,64}")
_AGE = (60, 86_400)


def _check(target: Mapping[str, Any]) -> dict[str, Any]:
    if not _ID.fullmatch(str(target["Id"])):
        raise ValidationException(f"Target id {target['Id']!r} is not valid")
    try:
        arn = Arn.parse(str(target["Arn"]))
    except ValueError as error:
        raise ValidationException(f"Parameter {target['Arn']} is not valid. Reason: Provided Arn is not in correct "
                                  "format.") from error  # fmt: skip
    if arn.service != "lambda" or not arn.resource.startswith("function:"):
        raise ValidationException(f"Target {target['Arn']}: only Lambda functions are supported by this chamber yet")
    others = sorted(set(target) - {"Id", "Arn", "Input", "RetryPolicy"})
    if others:
        raise ValidationException(f"Target {target['Id']}: {', '.join(others)} is not supported by this chamber yet")
    if "Input" in target:
        try:
            json.loads(target["Input"])
        except ValueError as error:
            raise ValidationException(f"JSON syntax error in input for target {target['Id']}") from error
    retry: Mapping[str, Any] = target.get("RetryPolicy", {})
    if not _AGE[0] <= int(retry.get("MaximumEventAgeInSeconds", _AGE[1])) <= _AGE[1]:
        raise ValidationException("MaximumEventAgeInSeconds must be between 60 and 86400")
    if not 0 <= int(retry.get("MaximumRetryAttempts", RETRIES)) <= RETRIES:
        raise ValidationException(f"MaximumRetryAttempts must be between 0 and {RETRIES}")
    return dict(target)


@operation("PutTargets", needs=needs.on_rule("events:PutTargets"))
async def put_targets(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add functions to a rule, or replace those with the same ids.

    Raises:
        LimitExceededException: more than five.

    Source: Amazon EventBridge API Reference, PutTargets.
    """
    arn = named(call, request, "Rule")
    new = {str(target["Id"]): _check(target) for target in request["Targets"]}

    def publish(tx: Tx) -> None:
        rule = tables.get(tx, arn)
        targets = {str(target["Id"]): target for target in rule.targets} | new
        if len(targets) > _TARGETS_MAX:
            raise LimitExceededException("The requested resource exceeds the maximum number allowed.")
        tables.put(tx, replace(rule, targets=tuple(targets.values())))

    await call.doors.database.write(publish)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@operation("RemoveTargets", needs=needs.on_rule("events:RemoveTargets"))
async def remove_targets(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take functions off a rule. Source: Amazon EventBridge API Reference, RemoveTargets."""
    arn, gone = named(call, request, "Rule"), set(request["Ids"])

    def publish(tx: Tx) -> None:
        rule = tables.get(tx, arn)
        tables.put(tx, replace(rule, targets=tuple(t for t in rule.targets if t["Id"] not in gone)))

    await call.doors.database.write(publish)
    return {"FailedEntryCount": 0, "FailedEntries": []}


@operation("ListTargetsByRule", needs=needs.on_rule("events:ListTargetsByRule"))
async def list_targets_by_rule(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Targets of a rule. Source: Amazon EventBridge API Reference, ListTargetsByRule."""
    arn = named(call, request, "Rule")
    rule = call.doors.database.read(lambda db: tables.get(db, arn))
    rows = sorted(rule.targets, key=lambda target: str(target["Id"]))
    found, more = paged(rows, request, lambda target: str(target["Id"]))
    return {"Targets": found, **more}


@operation("ListRuleNamesByTarget", needs=needs.on_rules("events:ListRuleNamesByTarget"))
async def list_rule_names_by_target(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Rules that run a function. Source: Amazon EventBridge API Reference, ListRuleNamesByTarget."""
    check_bus(request)
    wanted = str(request["TargetArn"])
    rows = await call.doors.database.query(lambda db: tables.listed(db, call.account, call.region))
    names = [rule.name for rule in rows if any(target["Arn"] == wanted for target in rule.targets)]
    found, more = paged(names, request, str)
    return {"RuleNames": found, **more}
