# SPDX-License-Identifier: Apache-2.0
"""A decision as values that can be shown: what was asked, what decided, what came nearest, what would allow it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.policy import match, positions
from cloudchamber.policy.conditions import OPERATORS, split_operator
from cloudchamber.policy.document import Reach, strings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudchamber.policy.document import Question, Statement
    from cloudchamber.policy.evaluate import Decided, IdentityPolicies, Kind, Levels, Plan, Policy, Verdict

_KINDS: dict[Kind, str] = {
    "identity": "identity-based policy",
    "resource": "resource-based policy",
    "trust": "role trust policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "scp": "service control policy",
    "rcp": "resource control policy",
}


_NEGATIVE = frozenset(name for name, operator in OPERATORS.items() if operator.negative)
_NAMED: frozenset[Kind] = frozenset(("identity", "boundary", "session", "scp", "rcp"))
"""Kinds whose ARN AWS's message names. Source: AWS Security Blog, "Enhanced access denied error messages with policy
ARNs"."""


def reason(question: Question, verdict: Verdict) -> str:
    """Why not, in AWS's words. Source: IAM User Guide, "Troubleshoot access denied error messages"."""
    kind = verdict.blocked_by[0] if verdict.blocked_by else "identity"
    name = _KINDS[kind]
    if not verdict.explicit:
        return f"because no {name} allows the {question.action} action"
    if kind == "trust":
        return "with an explicit deny in the role trust policy"
    text = f"with an explicit deny in {'an' if kind == 'identity' else 'a'} {name}"
    arn = next((d.policy.arn for d in verdict.because if d.policy.kind == kind), "")
    return f"{text}: {arn}" if arn and kind in _NAMED and at_home(question) else text


def at_home(question: Question) -> bool:
    """Whether caller and resource are of one account or one organization: only then does AWS tell of policies."""
    if question.resource_account in ("", question.subject.account) or question.subject.alone:
        return True
    organization = question.context.get("aws:principalorgid")
    return organization is not None and organization == question.context.get("aws:resourceorgid")


def granted(question: Question, plan: Plan, verdict: Verdict) -> dict[str, Any]:
    """A yes as JSON-able values: who asked what, the keys that were read, and the statements that let it."""
    if plan.told is None:
        plan.told = [{"name": one.name, "kind": one.kind} for one in plan.consulted]
    context = question.context
    return {
        "allowed": True,
        "principal": question.subject.arn,
        "action": question.action,
        "resource": question.resource,
        "context": {key: _shown(context.get(key)) for key in plan.reads},
        "policies": plan.told,
        "because": [_decided(d) for d in verdict.because],
    }


def explain(
    question: Question, policies: IdentityPolicies, resource: Policy | None, verdict: Verdict
) -> dict[str, Any]:
    """The decision as JSON-able values; a refusal has `reason`, `kinds`, `nearest` and `allow_with` as well."""
    plan = policies.plan(question.verb, resource)
    told = granted(question, plan, verdict) | {"allowed": verdict.allowed}
    if verdict.allowed:
        return told
    told["blocked_by"] = list(verdict.blocked_by)
    told["reason"] = reason(question, verdict)
    told["kinds"] = _kinds(question, policies, resource, verdict)
    if verdict.explicit:
        told["denied_by"] = [_denial(question, d) for d in verdict.because]
    else:
        told["nearest"] = _nearest(question, plan.consulted, verdict)
        told["allow_with"] = [_remedy(question, kind) for kind in verdict.blocked_by]
    return told


def _kinds(
    question: Question, policies: IdentityPolicies, resource: Policy | None, verdict: Verdict
) -> list[dict[str, Any]]:
    """What each kind of policy says by itself: the statement that denies or allows, or that none does."""
    groups: dict[Kind, tuple[Policy, ...]] = {"identity": policies.identity}
    limits: tuple[tuple[Kind, tuple[Policy, ...] | None], ...]
    limits = (("boundary", policies.boundary), ("session", policies.session))
    groups |= {kind: group for kind, group in limits if group is not None}
    organization: tuple[tuple[Kind, Levels | None], ...] = (("scp", policies.scps), ("rcp", policies.rcps))
    for kind, levels in organization:
        if levels is not None:
            groups[kind] = tuple(one for level in levels for one in level)
    if resource is not None:
        groups[resource.kind] = (resource,)
    if question.subject.alone:
        groups.pop("identity")
    found: list[dict[str, Any]] = []
    for kind, group in groups.items():
        says: dict[str, Any] = {"kind": kind, "says": "nothing allows it"}
        for which, word in ((0, "denies"), (1, "allows")):
            hit = next(
                ((one, s) for one in group for s in one.document.relevant(question.verb)[which] if s.holds(question)),
                None,
            )
            if hit is not None:
                says |= {"says": word, "policy": hit[0].name} | _place(hit[0], hit[1])
                break
        if kind in verdict.blocked_by and says["says"] == "allows":
            # Why: of several levels of an organization each must allow, and one does not
            says = {"kind": kind, "says": "one level of the organization does not allow it"}
        found.append(says)
    return found


def _denial(question: Question, decided: Decided) -> dict[str, Any]:
    """A statement that denies, as it stands, and how to read it."""
    statement = decided.statement
    action = "NotAction" if "NotAction" in statement.source else "Action"
    text = f"{_called(decided.policy, statement)} denies it: {action} {_list(statement.source.get(action))} covers "
    text += f"{question.action}"
    held = [f"{c.operator} {c.key} {_list(list(c.values))} ({_has(question, c.key)})" for c in statement.conditions]
    if held:
        text += f", and its condition holds: {' and '.join(held)}"
    return _decided(decided) | {"source": dict(statement.source), "sentence": text}


def encoded(question: Question, verdict: Verdict, user_id: str) -> dict[str, Any]:
    """A refusal as DecodeAuthorizationMessage tells it. Source: AWS STS API Reference, DecodeAuthorizationMessage."""
    conditions = [
        {"key": key, "values": {"items": [{"value": v} for v in ((value,) if isinstance(value, str) else value)]}}
        for key, value in sorted(question.context.items())
    ]
    return {
        "allowed": verdict.allowed,
        "explicitDeny": verdict.explicit,
        "matchedStatements": {
            "items": [
                {"statementId": d.statement.sid, "effect": d.statement.effect.upper(), "policy": d.policy.name}
                for d in verdict.because
            ]
        },
        "failures": {"items": []},
        "context": {
            "principal": {"id": user_id, "arn": question.subject.arn},
            "action": question.action,
            "resource": question.resource,
            "conditions": {"items": conditions},
        },
    }


def _decided(decided: Decided) -> dict[str, Any]:
    return {"policy": decided.policy.name, "kind": decided.policy.kind} | _place(decided.policy, decided.statement)


def _place(one: Policy, statement: Statement) -> dict[str, Any]:
    """A statement by its position: its index, and where it begins in the document's text."""
    span = _spans(one.document.text)[statement.index]
    return {
        "statement": statement.index,
        "sid": statement.sid,
        "effect": statement.effect,
        "line": span.start_line,
        "column": span.start_column,
    }


_spans = lru_cache(1024)(positions.statements)


def _shown(value: str | tuple[str, ...] | None) -> str | list[str] | None:
    return list(value) if isinstance(value, tuple) else value


def _called(one: Policy, statement: Statement) -> str:
    """``Statement 1 (Uploads) of managed policy X``, counted from 1 as people do."""
    sid = f" ({statement.sid})" if statement.sid else ""
    return f"Statement {statement.index + 1}{sid} of {one.name}"


def _list(values: Any) -> str:
    if isinstance(values, list):
        return " or ".join(str(v) for v in cast("list[Any]", values))
    return values if isinstance(values, str) else json.dumps(values)


def _has(question: Question, key: str) -> str:
    value = question.context.get(key.lower())
    return f"the request has {_list(_shown(value))}" if value is not None else "the request has no such key"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a statement does not apply: the element, what it wants, and what the request has."""

    element: str
    wants: Any
    has: Any
    fits: float
    """How near it came, 0 to 4: elements that fit, then the share of conditions that hold."""

    @property
    def sentence(self) -> str:
        """What the element wants and what the request has, to be read."""
        wants = _list(self.wants)
        if self.element.startswith("Not"):
            return f"its {self.element} leaves out {wants}, and the request is for {self.has}"
        if not self.element.startswith("Condition "):
            asks = "comes from" if self.element == "Principal" else "is for"
            return f"its {self.element} is {wants}, and the request {asks} {self.has}"
        has = "has no such key" if self.has is None else f"has {_list(self.has)}"
        negative = split_operator(self.element.split(" ")[1])[1] in _NEGATIVE
        return f"its {self.element} wants {'anything but ' if negative else ''}{wants}, and the request {has}"


def mismatch(question: Question, statement: Statement) -> Mismatch | None:
    """The first element of a statement that does not fit; None if it applies."""
    source = statement.source
    fits = 0.0
    first: tuple[str, Any, Any] | None = None
    if statement.acts(question.verb):
        fits += 1.5
    else:
        name = "NotAction" if "NotAction" in source else "Action"
        first = (name, source.get(name), question.action)
        service = question.verb.partition(":")[0]
        if any(a.lower().startswith(f"{service}:") for a in strings(source.get(name, []))):
            fits += 0.5
    if statement.reach is None or statement.reach(question) is not Reach.NOT:
        fits += 1.0
    else:
        name = "NotPrincipal" if "NotPrincipal" in source else "Principal"
        first = first or (name, source.get(name), question.subject.arn)
    if statement.on(question):
        fits += 1.0
    else:
        name = "NotResource" if "NotResource" in source else "Resource"
        first = first or (name, source.get(name), question.resource)
    failed = [c for c in statement.conditions if not c.test(question.context)]
    fits += 0.5 * (1 - len(failed) / len(statement.conditions)) if statement.conditions else 0.5
    if first is None and failed:
        worst = failed[0]
        has = _shown(question.context.get(worst.key.lower()))
        first = (f"Condition {worst.operator} {worst.key}", list(worst.values), has)
    return Mismatch(*first, fits) if first is not None else None


def _variables(question: Question, statement: Statement, missed: Mismatch) -> str:
    """What the policy variables in an element stand for in this request."""
    found: dict[str, str] = {}
    wants: object = missed.wants
    for wanted in strings(cast("object", wants)) if isinstance(wants, (str, list)) else ():
        for key in match.variables_of(match.tokens(wanted, variables=True)) & statement.reads:
            value = question.context.get(key)
            found[key] = f"${{{key}}} is {_list(_shown(value))}" if value else f"${{{key}}} has no value"
    return f" ({', '.join(found[key] for key in sorted(found))})" if found else ""


def _nearest(question: Question, consulted: Iterable[Policy], verdict: Verdict) -> dict[str, Any] | None:
    """The Allow that came nearest among the policies that should have allowed."""
    best: tuple[float, Policy, Statement, Mismatch] | None = None
    for one in consulted:
        if one.kind not in verdict.blocked_by:
            continue
        for statement in one.document.statements:
            if statement.effect != "Allow":
                continue
            missed = mismatch(question, statement)
            if missed is not None and (best is None or missed.fits > best[0]):
                best = (missed.fits, one, statement, missed)
    if best is None:
        return None
    _, one, statement, missed = best
    where = {"policy": one.name, "kind": one.kind} | _place(one, statement)
    text = f"{_called(one, statement)} does not match: {missed.sentence}{_variables(question, statement, missed)}"
    return where | {"element": missed.element, "wants": missed.wants, "has": missed.has, "sentence": text}


def _remedy(question: Question, kind: Kind) -> dict[str, Any]:
    """The smallest statement that would allow it, and the kind of policy that it belongs into."""
    statement: dict[str, Any] = {"Effect": "Allow"}
    if kind in ("resource", "trust"):
        subject = question.subject
        if subject.kind == "service":
            statement["Principal"] = {"Service": subject.arn}
        elif subject.kind == "anonymous":
            statement["Principal"] = "*"
        else:
            statement["Principal"] = {"AWS": subject.entity_arn or subject.arn}
    statement["Action"] = question.action
    if kind != "trust":
        statement["Resource"] = question.resource
    source = question.context.get("aws:sourcearn")
    if kind == "resource" and question.subject.kind == "service" and source:
        # Why: a service lets itself be sent by anybody; only this source shall be served
        statement["Condition"] = {"ArnLike": {"aws:SourceArn": _shown(source)}}
    return {"kind": kind, "policy": _KINDS[kind], "statement": statement}
