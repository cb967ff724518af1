# SPDX-License-Identifier: Apache-2.0
"""The decision: every policy that applies, combined as AWS combines them.

Source: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic", "How AWS enforcement code
logic evaluates requests", and "Permissions boundaries" (what a resource-based policy can grant past one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudchamber.policy.document import Document, Question, Reach, Statement, Subject, document

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind: TypeAlias = 'Literal["identity", "resource", "trust", "boundary", "session", "scp", "rcp"]'

__all__ = ["Decided", "IdentityPolicies", "Kind", "Policy", "Question", "Subject", "Verdict", "evaluate", "policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as explanations name it: ``inline policy uploads of role app``."""

    name: str
    kind: Kind
    document: Document


def policy(name: str, kind: Kind, text: str) -> Policy:
    """A policy from its JSON text.

    Raises:
        PolicyError: it is not a policy.
    """
    return Policy(name, kind, document(text))


@dataclass(frozen=True, slots=True)
class IdentityPolicies:
    """The policies that apply to a caller by who it is. None means: there is no such limit.

    `scps` and `rcps` have one tuple for each level of the organization, the root first; each level must allow.
    """

    identity: tuple[Policy, ...] = ()
    boundary: tuple[Policy, ...] | None = None
    session: tuple[Policy, ...] | None = None
    scps: tuple[tuple[Policy, ...], ...] | None = None
    rcps: tuple[tuple[Policy, ...], ...] | None = None

    def groups(self) -> Iterable[tuple[Policy, ...]]:
        """All of them, kind by kind."""
        yield self.identity
        yield self.boundary or ()
        yield self.session or ()
        yield from self.scps or ()
        yield from self.rcps or ()


@dataclass(frozen=True, slots=True)
class Decided:
    """A statement that decided, with its policy."""

    policy: Policy
    statement: Statement


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome. `blocked_by`: the kinds of policy that deny, or that would have had to allow and do not."""

    allowed: bool
    explicit: bool
    """Whether a statement denies; otherwise a refusal means that nothing allows."""
    blocked_by: tuple[Kind, ...]
    because: tuple[Decided, ...]
    """The statements that deny, or that allow."""


def evaluate(
    question: Question, policies: IdentityPolicies, resource: Policy | None = None, *, resource_must_allow: bool = False
) -> Verdict:
    """Decide. `resource_must_allow`: nobody gets in without the resource's own policy (trust policies)."""
    question.bounded = policies.boundary is not None
    own = (resource,) if resource is not None else ()
    denied = [d for group in (*policies.groups(), own) for d in _denying(question, group)]
    if denied:
        kinds: tuple[Kind, ...] = tuple(dict.fromkeys([d.policy.kind for d in denied]))
        return Verdict(False, True, kinds, tuple(denied))
    reach, granted = _reach(question, resource)
    if question.subject.kind in ("service", "anonymous"):
        levels = policies.rcps or ()
        blocked: tuple[Kind, ...] = (_kind_of(resource),)
        if reach:
            blocked = _levels(question, levels, "rcp", [])
        return Verdict(not blocked, False, blocked, (granted,) if granted and not blocked else ())
    allowing = [granted] if granted else []
    blocked = _blocked(question, policies, reach, resource, resource_must_allow, allowing)
    return Verdict(not blocked, False, blocked, tuple(allowing) if not blocked else ())


def _blocked(
    question: Question,
    policies: IdentityPolicies,
    reach: Reach,
    resource: Policy | None,
    resource_must_allow: bool,
    allowing: list[Decided],
) -> tuple[Kind, ...]:
    blocked: list[Kind] = []
    limits: tuple[tuple[Kind, tuple[Policy, ...] | None], ...] = (
        ("identity", policies.identity),
        ("boundary", policies.boundary),
        ("session", policies.session),
    )
    asked = _left_to(question, reach)
    for kind, group in limits:
        if kind in asked and group is not None and not _allowing(question, group, allowing):
            blocked.append(kind)
    blocked += _levels(question, policies.scps or (), "scp", allowing)
    blocked += _levels(question, policies.rcps or (), "rcp", allowing)
    abroad = bool(question.resource_account) and question.subject.account != question.resource_account
    if (abroad or resource_must_allow) and not reach:
        blocked.append(_kind_of(resource))
    return tuple(blocked)


_ALL: tuple[Kind, ...] = ("identity", "boundary", "session")
_BESIDE_ROLE: tuple[Kind, ...] = ("boundary", "session")
_BESIDE_ANYONE: tuple[Kind, ...] = ("session",)


def _left_to(question: Question, reach: Reach) -> tuple[Kind, ...]:
    """The kinds of the caller's own policies that must allow as well.

    A resource's policy in the caller's own account may grant by itself. Naming a user, or a role session, grants
    past boundary and session policies; naming the role leaves its sessions to both; naming everybody grants to the
    session itself, past the boundary, but what a session policy leaves out stays out.
    """
    abroad = bool(question.resource_account) and question.subject.account != question.resource_account
    if abroad or reach in (Reach.NOT, Reach.ACCOUNT):
        return _ALL
    if reach is Reach.EXACT:
        return ()
    return _BESIDE_ROLE if reach is Reach.ROLE else _BESIDE_ANYONE


def _kind_of(resource: Policy | None) -> Kind:
    return resource.kind if resource is not None else "resource"


def _denying(question: Question, group: tuple[Policy, ...]) -> list[Decided]:
    return [
        Decided(one, statement)
        for one in group
        for statement in one.document.relevant(question.verb)[0]
        if statement.holds(question)
    ]


def _allowing(question: Question, group: tuple[Policy, ...], allowing: list[Decided]) -> bool:
    for one in group:
        for statement in one.document.relevant(question.verb)[1]:
            if statement.holds(question):
                allowing.append(Decided(one, statement))
                return True
    return False


def _levels(
    question: Question, levels: tuple[tuple[Policy, ...], ...], kind: Kind, allowing: list[Decided]
) -> tuple[Kind, ...]:
    return () if all(_allowing(question, level, allowing) for level in levels) else (kind,)


def _reach(question: Question, resource: Policy | None) -> tuple[Reach, Decided | None]:
    """The closest way in which the resource's policy allows the caller."""
    best, granted = Reach.NOT, None
    if resource is not None:
        for statement in resource.document.relevant(question.verb)[1]:
            reach = statement.reach(question) if statement.reach is not None else Reach.NOT
            if reach > best and statement.holds(question):
                best, granted = reach, Decided(resource, statement)
    return best, granted
