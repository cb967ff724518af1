# SPDX-License-Identifier: Apache-2.0
"""Rules: put, describe, list, enable, disable, delete, tags."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from cloudchamber.base import pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.events import needs, schedule, tables
from cloudchamber.services.events.errors import (
    LimitExceededException,
    ResourceNotFoundException,
    ValidationException,
)
from cloudchamber.services.events.part import SchedulePart
from cloudchamber.services.events.tables import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

T = TypeVar("T")
_NAME = re.compile(r"[.\-_A-Za-z0-9]{1,64}")
_RULES_MAX = 300
_PAGE = 100


def check_bus(request: Mapping[str, Any]) -> None:
    """Refuse every event bus but the default one."""
    bus = str(request.get("EventBusName", "default"))
    if bus.rpartition("/")[2] != "default":
        raise ResourceNotFoundException(f"Event bus {bus} does not exist.")


def named(call: Call, request: Mapping[str, Any], member: str = "Name") -> str:
    """The ARN of the rule that a request names."""
    check_bus(request)
    name = str(request[member])
    if not _NAME.fullmatch(name):
        raise ValidationException(
            f"1 validation error detected: Value '{name[:100]}' at '{member[0].lower()}{member[1:]}' failed to satisfy "
            r"constraint: Member must satisfy regular expression pattern: [\.\-_A-Za-z0-9]+"
        )
    return tables.rule_arn(call.account, call.region, name)


def next_run(rule: Rule, now: datetime) -> float | None:
    """When a rule is due next, from now on."""
    if rule.state != "ENABLED":
        return None
    moment = schedule.parse(rule.schedule).after(now)
    return None if moment is None else moment.timestamp()


@operation("PutRule", needs=needs.on_rule("events:PutRule"))
async def put_rule(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a rule that runs by a schedule, or change it; its targets stay.

    Raises:
        ValidationException: no valid schedule; an event pattern or a role, which are not built here.

    Source: Amazon EventBridge API Reference, PutRule.
    """
    arn = named(call, request)
    for member in ("EventPattern", "RoleArn"):
        if request.get(member):
            raise ValidationException(f"{member} is not supported by this chamber yet: rules with schedules are")
    expression = str(request.get("ScheduleExpression", ""))
    if not expression:
        raise ValidationException("Parameter(s) EventPattern or ScheduleExpression must be specified.")
    try:
        schedule.parse(expression)
    except ValueError as error:
        raise ValidationException("Parameter ScheduleExpression is not valid.") from error
    state = str(request.get("State", "ENABLED"))
    if state not in ("ENABLED", "DISABLED"):
        raise ValidationException(f"State {state} is not supported by this chamber yet: ENABLED and DISABLED are")
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in request.get("Tags", ())}

    def publish(tx: Tx) -> None:
        old = tables.find(tx, arn)
        if old is None and len(tables.listed(tx, call.account, call.region)) >= _RULES_MAX:
            raise LimitExceededException("The requested resource exceeds the maximum number allowed.")
        made = Rule(
            arn, call.account, call.region, str(request["Name"]), state, str(request.get("Description", "")),
            expression, old.targets if old else (), old.tags if old else tags, None,
        )  # fmt: skip
        same = old is not None and (old.schedule, old.state) == (made.schedule, made.state)
        tables.put(tx, replace(made, due=old.due if same and old is not None else next_run(made, call.now)))

    await call.doors.database.write(publish)
    call.doors.part("events", SchedulePart).nudge()
    return {"RuleArn": arn}


def _shown(rule: Rule) -> dict[str, Any]:
    answer = {
        "Name": rule.name,
        "Arn": rule.arn,
        "State": rule.state,
        "ScheduleExpression": rule.schedule,
        "EventBusName": "default",
    }
    return answer | ({"Description": rule.description} if rule.description else {})


@operation("DescribeRule", needs=needs.on_rule("events:DescribeRule"))
async def describe_rule(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One rule. Source: Amazon EventBridge API Reference, DescribeRule."""
    arn = named(call, request)
    rule = call.doors.database.read(lambda db: tables.get(db, arn))
    return {**_shown(rule), "CreatedBy": rule.account}


def paged(found: list[T], request: Mapping[str, Any], key: Callable[[T], str]) -> tuple[list[T], dict[str, Any]]:
    """A page of rows in the order of their key, and its token."""
    limit = min(int(request.get("Limit", _PAGE)), _PAGE)
    try:
        after = pages.after(str(request.get("NextToken", "")))
    except ValueError as error:
        raise ValidationException("NextToken is not valid") from error
    left = [row for row in found if key(row) > after]
    return left[:limit], ({"NextToken": pages.token(key(left[limit - 1]))} if len(left) > limit else {})


@operation("ListRules", needs=needs.on_rules("events:ListRules"))
async def list_rules(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Rules by name. Source: Amazon EventBridge API Reference, ListRules."""
    check_bus(request)
    prefix = str(request.get("NamePrefix", ""))
    rows = await call.doors.database.query(lambda db: tables.listed(db, call.account, call.region))
    found, more = paged([rule for rule in rows if rule.name.startswith(prefix)], request, lambda rule: rule.name)
    return {"Rules": [_shown(rule) for rule in found], **more}


async def _change(call: Call, arn: str, **values: Any) -> None:
    def publish(tx: Tx) -> None:
        rule = replace(tables.get(tx, arn), **values)
        tables.put(tx, replace(rule, due=next_run(rule, call.now)) if "state" in values else rule)

    await call.doors.database.write(publish)
    call.doors.part("events", SchedulePart).nudge()


@operation("EnableRule", needs=needs.on_rule("events:EnableRule"))
async def enable_rule(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let a rule run. Source: Amazon EventBridge API Reference, EnableRule."""
    await _change(call, named(call, request), state="ENABLED")
    return {}


@operation("DisableRule", needs=needs.on_rule("events:DisableRule"))
async def disable_rule(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a rule from running. Source: Amazon EventBridge API Reference, DisableRule."""
    await _change(call, named(call, request), state="DISABLED")
    return {}


@operation("DeleteRule", needs=needs.on_rule("events:DeleteRule"))
async def delete_rule(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a rule without targets; that it is not there is no error.

    Raises:
        ValidationException: it has targets.

    Source: Amazon EventBridge API Reference, DeleteRule.
    """
    arn = named(call, request)

    def publish(tx: Tx) -> None:
        rule = tables.find(tx, arn)
        if rule is not None and rule.targets:
            raise ValidationException("Rule can't be deleted since it has targets.")
        tx.execute("DELETE FROM events_rules WHERE arn = ?", (arn,))

    await call.doors.database.write(publish)
    return {}


@operation("TagResource", needs=needs.on_arn("events:TagResource"))
async def tag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add or replace tags of a rule. Source: Amazon EventBridge API Reference, TagResource."""
    arn = str(request["ResourceARN"])
    new = {str(tag["Key"]): str(tag["Value"]) for tag in request["Tags"]}
    rule = call.doors.database.read(lambda db: tables.get(db, arn))
    await _change(call, arn, tags={**rule.tags, **new})
    return {}


@operation("UntagResource", needs=needs.on_arn("events:UntagResource"))
async def untag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags of a rule. Source: Amazon EventBridge API Reference, UntagResource."""
    arn, gone = str(request["ResourceARN"]), set(request["TagKeys"])
    rule = call.doors.database.read(lambda db: tables.get(db, arn))
    await _change(call, arn, tags={key: value for key, value in rule.tags.items() if key not in gone})
    return {}


@operation("ListTagsForResource", needs=needs.on_arn("events:ListTagsForResource"))
async def list_tags_for_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Tags of a rule. Source: Amazon EventBridge API Reference, ListTagsForResource."""
    arn = str(request["ResourceARN"])
    rule = call.doors.database.read(lambda db: tables.get(db, arn))
    return {"Tags": [{"Key": key, "Value": value} for key, value in rule.tags.items()]}
