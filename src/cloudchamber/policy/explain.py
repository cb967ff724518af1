# SPDX-License-Identifier: Apache-2.0
"""A decision as values that can be shown: what was asked, what decided, what came nearest, what would allow it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.policy.document import Reach, strings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudchamber.policy.document import Question, Statement
    from cloudchamber.policy.evaluate import Decided, IdentityPolicies, Kind, Policy, Verdict

_KINDS: dict[Kind, str] = {
    "identity": "identity-based policy",
    "resource": "resource-based policy",
    "trust": "role trust policy",
    "boundary": "permissions boundary",
    "session": "session policy",
    "scp": "service control policy",
    "rcp": "resource control policy",
}


def reason(question: Question, verdict: Verdict) -> str:
    """Why not, in AWS's words. Source: IAM User Guide, "Troubleshoot access denied error messages"."""
    kind = verdict.blocked_by[0] if verdict.blocked_by else "identity"
    name = _KINDS[kind]
    if not verdict.explicit:
        return f"because no {name} allows the {question.action} action"
    if kind == "trust":
        return "with an explicit deny in the role trust policy"
    return f"with an explicit deny in {'an' if kind == 'identity' else 'a'} {name}"


def explain(
    question: Question, policies: IdentityPolicies, resource: Policy | None, verdict: Verdict
) -> dict[str, Any]:
    """The decision as JSON-able values; a refusal has `reason`, `nearest` and `allow_with` as well."""
    groups = [*policies.groups(), (resource,) if resource is not None else ()]
    consulted = [one for group in groups for one in group]
    told: dict[str, Any] = {
        "allowed": verdict.allowed,
        "principal": question.subject.arn,
        "action": question.action,
        "resource": question.resource,
        "context": _consulted_context(question, consulted),
        "policies": [{"name": one.name, "kind": one.kind} for one in consulted],
        "because": [_decided(d) for d in verdict.because],
    }
    if not verdict.allowed:
        told["blocked_by"] = list(verdict.blocked_by)
        told["reason"] = reason(question, verdict)
        if not verdict.explicit:
            told["nearest"] = _nearest(question, consulted, verdict)
            told["allow_with"] = [_remedy(question, kind) for kind in verdict.blocked_by]
    return told


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
    return {"policy": decided.policy.name, "kind": decided.policy.kind} | _place(decided.statement)


def _place(statement: Statement) -> dict[str, Any]:
    return {"statement": statement.index, "sid": statement.sid, "effect": statement.effect}


def _consulted_context(question: Question, consulted: Iterable[Policy]) -> dict[str, Any]:
    """Values of the keys that statements for this action read; None for a key that the request does not have."""
    keys = set[str]().union(*[one.document.read_for(question.verb) for one in consulted])
    return {key: _shown(question.context.get(key)) for key in sorted(keys)}


def _shown(value: str | tuple[str, ...] | None) -> str | list[str] | None:
    return list(value) if isinstance(value, tuple) else value


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Why a statement does not apply: the element, what it wants, and what the request has."""

    element: str
    wants: Any
    has: Any
    fits: float
    """How near it came, 0 to 4: elements that fit, then the share of conditions that hold."""


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
    where = {"policy": one.name, "kind": one.kind} | _place(statement)
    return where | {"element": missed.element, "wants": missed.wants, "has": missed.has}


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
    return {"kind": kind, "policy": _KINDS[kind], "statement": statement}
