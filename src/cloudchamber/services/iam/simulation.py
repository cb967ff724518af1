# SPDX-License-Identifier: Apache-2.0
"""What the evaluator says of actions that nobody calls, in the shapes of IAM's policy simulator; pure.

Source: IAM API Reference, EvaluationResult and ResourceSpecificResult.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.policy.document import Question
from cloudchamber.policy.evaluate import IdentityPolicies, evaluate, policy
from cloudchamber.policy.positions import statements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.policy.document import Statement, Subject
    from cloudchamber.policy.evaluate import Policy, Verdict

_EVERYTHING = policy(
    "everything", "identity", '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}'
)
_WORST = ("allowed", "implicitDeny", "explicitDeny")


@dataclass(frozen=True, slots=True)
class Simulation:
    """What stays the same for every action and resource of one request.

    Policies are named as the API names them (``SourcePolicyId``). `context` has lower-case keys.
    """

    subject: Subject
    policies: IdentityPolicies
    resource_policy: Policy | None
    context: Mapping[str, str | tuple[str, ...]]
    owner: str
    """Account of resources whose ARN names none."""
    resources: Sequence[str]

    @property
    def anywhere(self) -> bool:
        """Whether no particular resource was asked about."""
        return list(self.resources) == ["*"]


@dataclass(frozen=True, slots=True)
class _Answer:
    """One action on one resource."""

    resource: str
    decision: str
    matched: list[dict[str, Any]]
    missing: list[str]
    organizations: bool
    boundary: bool
    details: dict[str, str]
    """By kind of policy; empty within one account."""


def result(simulation: Simulation, action: str) -> dict[str, Any]:
    """One ``EvaluationResult``: an action on every resource."""
    answers = [_answer(simulation, action, resource) for resource in simulation.resources]
    told: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": answers[0].resource if len(answers) == 1 else "*",
        "EvalDecision": max((one.decision for one in answers), key=_WORST.index),
        "MatchedStatements": _union(one.matched for one in answers),
        "MissingContextValues": sorted({key for one in answers for key in one.missing}),
    }
    if simulation.policies.scps is not None:
        allowed = all(one.organizations for one in answers)
        told["OrganizationsDecisionDetail"] = {"AllowedByOrganizations": allowed}
    if simulation.policies.boundary is not None:
        told["PermissionsBoundaryDecisionDetail"] = {
            "AllowedByPermissionsBoundary": all(one.boundary for one in answers)
        }
    if not simulation.anywhere:
        kinds = dict.fromkeys(kind for one in answers for kind in one.details)
        told["EvalDecisionDetails"] = {
            kind: max((one.details.get(kind, "allowed") for one in answers), key=_WORST.index) for kind in kinds
        }
        told["ResourceSpecificResults"] = [_specific(simulation, one) for one in answers]
    return told


def _specific(simulation: Simulation, answer: _Answer) -> dict[str, Any]:
    told: dict[str, Any] = {
        "EvalResourceName": answer.resource,
        "EvalResourceDecision": answer.decision,
        "MatchedStatements": answer.matched,
        "MissingContextValues": answer.missing,
    }
    if answer.details:
        told["EvalDecisionDetails"] = answer.details
    if simulation.policies.boundary is not None:
        told["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": answer.boundary}
    return told


def _answer(simulation: Simulation, action: str, resource: str) -> _Answer:
    policies, own = simulation.policies, simulation.resource_policy
    account = resource.split(":", 5)[4] if resource.count(":") >= 5 else ""
    question = Question(simulation.subject, action, resource, simulation.context, account or simulation.owner)
    verdict = evaluate(question, policies, own)
    consulted = (*policies.identity, *(() if own is None else (own,)))
    abroad = not simulation.anywhere and question.resource_account != simulation.subject.account
    home = Question(simulation.subject, action, resource, simulation.context, simulation.subject.account)
    details = {"IAM Policy": _alone(question, policies.identity)} if abroad else {}
    if abroad:
        details["Resource Policy"] = _alone(question, () if own is None else (own,))
        if policies.boundary is not None:
            details["IAM Permissions Boundary Policy"] = _alone(question, policies.boundary)
    return _Answer(
        resource,
        _word(verdict),
        [_matched(*one) for one in _deciding(question, verdict, consulted)],
        _missing(question, [*consulted, *(policies.boundary or ())]),
        policies.scps is None or evaluate(home, IdentityPolicies((_EVERYTHING,), scps=policies.scps)).allowed,
        policies.boundary is None or _alone(home, policies.boundary) == "allowed",
        details,
    )


def _word(verdict: Verdict) -> str:
    return "allowed" if verdict.allowed else "explicitDeny" if verdict.explicit else "implicitDeny"


def _alone(question: Question, group: tuple[Policy, ...]) -> str:
    """What one kind of policy says by itself."""
    said = {one.effect for _, one in _holding(question, group)}
    return "explicitDeny" if "Deny" in said else "allowed" if "Allow" in said else "implicitDeny"


def _holding(question: Question, group: Iterable[Policy]) -> Iterable[tuple[Policy, Statement]]:
    for one in group:
        denies, allows = one.document.relevant(question.verb)
        for statement in (*denies, *allows):
            if statement.holds(question):
                yield one, statement


def _deciding(
    question: Question, verdict: Verdict, consulted: tuple[Policy, ...]
) -> Iterable[tuple[Policy, Statement]]:
    """Every statement that denies; or, of what is allowed, every one that allows."""
    if not verdict.allowed and not verdict.explicit:
        return ()
    effect = "Deny" if verdict.explicit else "Allow"
    return [(one, statement) for one, statement in _holding(question, consulted) if statement.effect == effect]


def _matched(source: Policy, statement: Statement) -> dict[str, Any]:
    span = statements(source.document.text)[statement.index]
    return {
        "SourcePolicyId": source.name,
        "SourcePolicyType": "Resource Policy" if source.kind == "resource" else "IAM Policy",
        # Why: AWS counts from behind the brace that opens the statement
        "StartPosition": {"Line": span.start_line, "Column": span.start_column + 1},
        "EndPosition": {"Line": span.end_line, "Column": span.end_column},
    }


def _missing(question: Question, consulted: Iterable[Policy]) -> list[str]:
    """Keys, as policies write them, that statements for the action and resource read and that nobody gave."""
    found: dict[str, str] = {}
    for one in consulted:
        denies, allows = one.document.relevant(question.verb)
        for statement in (*denies, *allows):
            if statement.reach is not None and not statement.reach(question):
                continue
            written = {condition.key.lower(): condition.key for condition in statement.conditions}
            fits = statement.on(question)
            for key in statement.reads:
                # Why: a condition of a statement about other resources decides nothing here; a variable in the
                # resource itself does
                if key not in question.context and (fits or key not in written):
                    found.setdefault(key, written.get(key, key))
    return sorted(found.values())


def _union(lists: Iterable[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for listed in lists:
        found += [one for one in listed if one not in found]
    return found
