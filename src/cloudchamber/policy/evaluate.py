# SPDX-License-Identifier: Apache-2.0
"""The decision: every policy that applies, combined as AWS combines them.

Source: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic", "How AWS enforcement code
logic evaluates requests", and "Permissions boundaries" (what a resource-based policy can grant past one).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from cloudchamber.policy.document import Document, Question, Reach, Statement, Subject, document

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind: TypeAlias = 'Literal["identity", "resource", "trust", "boundary", "session", "scp", "rcp"]'
Levels: TypeAlias = "tuple[tuple[Policy, ...], ...]"
_REMEMBERED_MAX = 256

__all__ = ["Decided", "IdentityPolicies", "Kind", "Plan", "Policy", "Question", "Subject", "Verdict", "evaluate",
           "policy"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy as explanations name it: ``inline policy uploads of role app``."""

    name: str
    kind: Kind
    document: Document
    arn: str = ""
    """Of a policy that has one; AWS's error messages name it where it denies."""


def policy(name: str, kind: Kind, text: str, arn: str = "") -> Policy:
    """A policy from its JSON text.

    Raises:
        PolicyError: it is not a policy.
    """
    return Policy(name, kind, document(text), arn)


@dataclass(frozen=True, slots=True)
class IdentityPolicies:
    """The policies that apply to a caller by who it is. None means: there is no such limit.

    `scps` and `rcps` have one tuple for each level of the organization, the root first; each level must allow.
    """

    identity: tuple[Policy, ...] = ()
    boundary: tuple[Policy, ...] | None = None
    session: tuple[Policy, ...] | None = None
    scps: Levels | None = None
    rcps: Levels | None = None
    _plans: dict[Any, Any] = field(default_factory=dict[Any, Any], init=False, repr=False, compare=False)

    def groups(self) -> Iterable[tuple[Policy, ...]]:
        """All of them, kind by kind."""
        yield self.identity
        yield self.boundary or ()
        yield self.session or ()
        yield from self.scps or ()
        yield from self.rcps or ()

    def under(self, controls: Levels | None) -> IdentityPolicies:
        """The same with the resource control policies of the resource's account."""
        if controls is None:
            return self
        found: IdentityPolicies | None = self._plans.get(id(controls))
        if found is None or found.rcps is not controls:
            found = replace(self, rcps=controls)
            self._remember(id(controls), found)
        return found

    def plan(self, verb: str, resource: Policy | None = None) -> Plan:
        """What these policies, and a resource's own, say about one action (in lower case); made once, then kept."""
        key = (verb, id(resource))
        found: Plan | None = self._plans.get(key)
        if found is None or found.resource is not resource:
            found = Plan(self, resource, verb)
            self._remember(key, found)
        return found

    def _remember(self, key: Any, made: Any) -> None:
        if len(self._plans) >= _REMEMBERED_MAX:
            self._plans.clear()
        self._plans[key] = made


@dataclass(frozen=True, slots=True)
class Decided:
    """A statement that decided, with its policy."""

    policy: Policy
    statement: Statement
    begins: tuple[str, ...]
    """`statement.begins`, within one step's reach."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome. `blocked_by`: the kinds of policy that deny, or that would have had to allow and do not."""

    allowed: bool
    explicit: bool
    """Whether a statement denies; otherwise a refusal means that nothing allows."""
    blocked_by: tuple[Kind, ...]
    because: tuple[Decided, ...]
    """The statements that deny, or that allow."""


class Plan:
    """The statements that matter for one action, kind by kind, and the condition keys that they read."""

    __slots__ = ("_groups", "_own", "consulted", "denies", "kind", "levels", "reads", "resource", "told")

    def __init__(self, policies: IdentityPolicies, resource: Policy | None, verb: str) -> None:
        self.resource = resource
        """The resource's own policy."""
        self.kind: Kind = resource.kind if resource is not None else "resource"
        own = (resource,) if resource is not None else ()
        self.consulted = tuple(one for group in (*policies.groups(), own) for one in group)
        """Every policy, those without a statement about the action included."""
        self.reads = tuple(sorted(frozenset[str]().union(*(one.document.read_for(verb) for one in self.consulted))))
        """The condition keys that decide, in lower case: two questions alike in them have one answer."""
        self.denies = _of(self.consulted, verb, 0)
        self._groups: tuple[tuple[Kind, tuple[Decided, ...] | None], ...] = (
            ("identity", _of(policies.identity, verb, 1)),
            ("boundary", None if policies.boundary is None else _of(policies.boundary, verb, 1)),
            ("session", None if policies.session is None else _of(policies.session, verb, 1)),
        )
        self.levels: tuple[tuple[Kind, tuple[Decided, ...]], ...] = (
            *(("rcp", _of(level, verb, 1)) for level in policies.rcps or ()),
            *(("scp", _of(level, verb, 1)) for level in policies.scps or ()),
        )
        self._own = _of(own, verb, 1)
        self.told: Any = None
        """How the policies are told; kept by whoever tells."""

    def decide(self, question: Question, *, resource_must_allow: bool = False) -> Verdict:
        """Decide a question about this action; as `evaluate`."""
        boundary = self._groups[1][1]
        question.bounded = boundary is not None
        resource = question.resource
        denied = [d for d in self.denies if resource.startswith(d.begins) and d.statement.holds(question)]
        exempt = question.subject.service_linked
        if denied and exempt:
            denied = [d for d in denied if d.policy.kind not in ("scp", "rcp")]
        if denied:
            return Verdict(False, True, tuple(dict.fromkeys([d.policy.kind for d in denied])), tuple(denied))
        allowing: list[Decided] = []
        blocked: list[Kind] = []
        reach = self._reach(question, allowing) if self._own else Reach.NOT
        alone = question.subject.alone
        for kind, level in self.levels:
            if not exempt and not (alone and kind == "scp") and not _allowing(question, level, allowing):
                blocked.append(kind)
        abroad = bool(question.resource_account) and question.subject.account != question.resource_account
        if not alone:
            asked = _ALL if abroad else _LEFT_TO[reach]
            for kind, group in self._groups:
                if group is not None and kind in asked and not _allowing(question, group, allowing):
                    blocked.append(kind)
        if (abroad or alone or resource_must_allow) and not reach:
            blocked.append(self.kind)
        if blocked:
            return Verdict(False, False, tuple(dict.fromkeys(blocked)), ())
        return Verdict(True, False, (), tuple(allowing))

    def _reach(self, question: Question, allowing: list[Decided]) -> Reach:
        """The closest way in which the resource's policy allows the caller."""
        best, granted = Reach.NOT, None
        for decided in self._own:
            statement = decided.statement
            reach = statement.reach(question) if statement.reach is not None else Reach.NOT
            if reach > best and statement.holds(question):
                best, granted = reach, decided
        if granted is not None:
            allowing.append(granted)
        return best


def evaluate(
    question: Question, policies: IdentityPolicies, resource: Policy | None = None, *, resource_must_allow: bool = False
) -> Verdict:
    """Decide. `resource_must_allow`: nobody gets in without the resource's own policy (trust policies)."""
    return policies.plan(question.verb, resource).decide(question, resource_must_allow=resource_must_allow)


_ALL: tuple[Kind, ...] = ("identity", "boundary", "session")
_LEFT_TO: dict[Reach, tuple[Kind, ...]] = {
    Reach.NOT: _ALL,
    Reach.ACCOUNT: _ALL,
    Reach.ROLE: ("boundary", "session"),
    Reach.ANYONE: ("session",),
    Reach.EXACT: (),
}
"""The kinds of the caller's own policies that must allow as well, within one account.

A resource's policy in the caller's own account may grant by itself. Naming a user, or a role session, grants past
boundary and session policies; naming the role leaves its sessions to both; naming everybody grants to the session
itself, past the boundary, but what a session policy leaves out stays out. Across accounts all must allow.
"""


def _of(group: Iterable[Policy], verb: str, which: int) -> tuple[Decided, ...]:
    """The statements of several policies about an action: 0 those that deny, 1 those that allow."""
    return tuple(
        Decided(one, statement, statement.begins) for one in group for statement in one.document.relevant(verb)[which]
    )


def _allowing(question: Question, group: tuple[Decided, ...], allowing: list[Decided]) -> bool:
    resource = question.resource
    for decided in group:
        if resource.startswith(decided.begins) and decided.statement.holds(question):
            allowing.append(decided)
            return True
    return False
