# SPDX-License-Identifier: Apache-2.0
"""Who can do something: the engine that decides every call, asked for everybody there is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.console.entities import entities
from cloudchamber.console.errors import BadQuestion
from cloudchamber.contract.call import Call
from cloudchamber.contract.identity import ANONYMOUS, Principal
from cloudchamber.contract.operation import Need
from cloudchamber.front.authorize import consulted
from cloudchamber.policy.document import Question, account_of, strings
from cloudchamber.policy.evaluate import Verdict
from cloudchamber.policy.explain import reason
from cloudchamber.policy.positions import statements
from cloudchamber.policy.possible import possible
from cloudchamber.track.track import Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudchamber.console.entities import AskAsRoot
    from cloudchamber.contract.call import Doors
    from cloudchamber.front.authorize import Consulted
    from cloudchamber.policy.evaluate import Decided
    from cloudchamber.policy.possible import Known

_ACTION = re.compile(r"[a-z0-9-]+:[A-Za-z0-9]+")
_OF_PLACE = ("aws:resourceaccount", "aws:resourceorg", "aws:principalorg", "aws:principaltype", "aws:principalaccount",
             "aws:principalarn", "aws:principalisawsservice", "aws:viaawsservice", "aws:calledvia")  # fmt: skip
_OF_SERVICES = ("aws:principalservicename", "aws:sourcearn", "aws:sourceaccount", "aws:sourceorg")


async def who_can(doors: Doors, ask: AskAsRoot, action: str, resource: str) -> dict[str, Any]:
    """Everybody's answer: users, roles and root users of all accounts, services, others whom the resource names.

    Raises:
        BadQuestion: `action` is none, or `resource` no ARN.
    """
    if not _ACTION.fullmatch(action):
        raise BadQuestion(f"{action!r} is not an action: it reads service:Action, as s3:GetObject")
    if resource != "*" and not resource.startswith("arn:"):
        raise BadQuestion(f"{resource!r} is not an ARN")
    need = Need(action, resource)
    answers: list[dict[str, Any]] = []
    found = consulted(_call(doors, _root(doors.account)), need)
    for account in doors.identities.accounts.all():
        root = _root(account.id)
        answers.append(_answer(_call(doors, root), need, root.arn))
        async for who, _ in entities(ask, account.id):
            answers.append(_answer(_call(doors, who), need, who.entity_arn))
    for who in _named(found):
        answers.append(_answer(_call(doors, who), need, who.arn))
    known_accounts = {account.id for account in doors.identities.accounts.all()}
    return {
        "action": action,
        "resource": resource,
        "resource_account": found.account,
        "answers": answers,
        "others": sorted(_others(found, known_accounts)),
    }


def _root(account: str) -> Principal:
    return Principal("root", account, f"arn:aws:iam::{account}:root", account)


def _call(doors: Doors, who: Principal) -> Call:
    now = doors.clock.now()
    segment = Segment("", "", "", "cloudchamber", "who can", now.timestamp())
    return Call(who, who.account if who.account.isdigit() else doors.account, doors.region, "", now, doors, segment)


def _named(found: Consulted) -> Iterator[Principal]:
    """Nobody in particular, and the services that the resource's own policy names."""
    yield ANONYMOUS
    for name in sorted(_principals(found, "Service")):
        yield Principal("service", "", name)


def _principals(found: Consulted, kind: str) -> set[str]:
    names: set[str] = set()
    for statement in found.own.document.statements if found.own is not None else ():
        source: Any = statement.source.get("Principal")
        if statement.effect == "Allow" and isinstance(source, dict):
            names.update(strings(cast("dict[str, object]", source).get(kind, [])))
    return names


def _others(found: Consulted, accounts: set[str]) -> set[str]:
    """Principals of accounts that are not here, whom the resource's policy names: their own policies decide too."""
    named = {name for name in _principals(found, "AWS") if name != "*"}
    return {name for name in named if (account_of(name) or (name.split(":") + [""] * 5)[4]) not in accounts}


def _answer(call: Call, need: Need, shown: str) -> dict[str, Any]:
    found = consulted(call, need)
    known = _known(call.principal, found, need)
    keys = {key: value for key, value in found.keys.items() if known(key)}
    account = found.account or call.account
    question = Question(found.subject, need.action, need.resource, keys, account)
    trust = found.own is not None and found.own.kind == "trust"
    made = possible(question, found.policies, found.own, known, must=trust)
    told: dict[str, Any] = {
        "principal": shown,
        "kind": {"assumed-role": "role"}.get(call.principal.kind, call.principal.kind),
        "answer": made.answer,
        "through": [_through(one) for one in made.because],
        "conditions": list(made.conditions),
        "unless": list(made.unless),
    }
    if call.principal.kind == "root" and question.verb == "sts:assumerole":
        # Source: AWS STS API Reference, AssumeRole
        return told | {"answer": "denied", "through": [], "reason": "because roles may not be assumed by root accounts"}
    if made.answer == "denied":
        told["reason"] = reason(question, Verdict(False, bool(made.because), made.blocked_by, made.because))
    return told


def _through(one: Decided) -> dict[str, Any]:
    statement = one.statement
    span = statements(one.policy.document.text)[statement.index]
    place = {"statement": statement.index, "sid": statement.sid, "line": span.start_line, "column": span.start_column}
    return {"policy": one.policy.name, "kind": one.policy.kind, "effect": statement.effect} | place


def _known(who: Principal, found: Consulted, need: Need) -> Known:
    """Whether a key's value, or that the request has none, follows from caller and resource."""

    def known(key: str) -> bool:
        if key.startswith(_OF_PLACE):
            return True
        if "resourcetag/" in key:
            return need.resource != "*"
        if key.startswith(_OF_SERVICES):
            return who.kind != "service" or key.startswith("aws:principalservicename")
        if key in ("aws:username", "aws:userid"):
            return who.kind != "assumed-role" or key == "aws:username"
        return False

    return known
