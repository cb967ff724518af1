# SPDX-License-Identifier: Apache-2.0
"""Which permissions each operation needs. Pure.

Source: Service Authorization Reference, actions, resources, and condition keys for Amazon EventBridge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need
from cloudchamber.services.events.tables import rule_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

    Needs = Callable[[Call, Mapping[str, Any]], Iterable[Need]]


def _tags(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    given = {str(tag["Key"]): str(tag["Value"]) for tag in request.get("Tags", ())}
    context: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in given.items()}
    keys = tuple(given) or tuple(request.get("TagKeys", ()))
    return context | ({"aws:TagKeys": keys} if keys else {})


def on_rule(action: str) -> Needs:
    """The action on the rule that the request names, with what it says of targets and tags."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        name = str(request.get("Name") or request.get("Rule") or "*")
        context = _tags(request)
        arns = tuple(str(target.get("Arn", "")) for target in request.get("Targets", ()))
        if arns:
            context["events:TargetArn"] = arns
        return (Need(action, rule_arn(call.account, call.region, name), context),)

    return needs


def on_arn(action: str) -> Needs:
    """The action on ``ResourceARN``."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        return (Need(action, str(request.get("ResourceARN", "*")), _tags(request)),)

    return needs


def on_rules(action: str) -> Needs:
    """An action over all rules, which has no resource type."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        return (Need(action, "*"),)

    return needs
