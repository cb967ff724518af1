# SPDX-License-Identifier: Apache-2.0
"""Who could: a decision while part of the request is not known yet.

It is taken twice by the same engine: once as if every unknown condition helped the caller, once as if none did. Where
both agree, that is the answer; where not, the conditions between them are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudchamber.policy.document import Document
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cloudchamber.policy.conditions import Condition
    from cloudchamber.policy.document import Question, Statement
    from cloudchamber.policy.evaluate import Decided, Kind
    from cloudchamber.policy.match import Context

    Known: TypeAlias = Callable[[str], bool]

Answer: TypeAlias = 'Literal["allowed", "conditional", "denied"]'


@dataclass(frozen=True, slots=True)
class Possible:
    """The answer for one caller."""

    answer: Answer
    because: tuple[Decided, ...]
    """The statements that allow or would; for a denial, those that deny."""
    conditions: tuple[str, ...] = ()
    """What must hold, in words: ``aws:SourceIp IpAddress 10.0.0.0/8``."""
    unless: tuple[str, ...] = ()
    """What must not hold, of statements that deny."""
    blocked_by: tuple[Kind, ...] = ()


def possible(
    question: Question, policies: IdentityPolicies, resource: Policy | None, known: Known, *, must: bool = False
) -> Possible:
    """Decide with the keys that are known; `known` says of a key in lower case whether its value, or absence, is.

    `must`: the resource's own policy has to allow (trust policies).
    """
    wary = evaluate(question, *_as(policies, resource, known, hopeful=False), resource_must_allow=must)
    if wary.allowed:
        return Possible("allowed", wary.because)
    hopeful = evaluate(question, *_as(policies, resource, known, hopeful=True), resource_must_allow=must)
    if not hopeful.allowed:
        return Possible("denied", hopeful.because, blocked_by=hopeful.blocked_by)
    denying = wary.because if wary.explicit else ()
    return Possible("conditional", hopeful.because, _unknown(hopeful.because, known), _unknown(denying, known))


def _unknown(decided: Sequence[Decided], known: Known) -> tuple[str, ...]:
    """The conditions of some statements that are open, in words."""
    found: list[str] = []
    for one in decided:
        found += [_words(c) for c in one.statement.conditions if not _settled(c, known)]
        if _open_resource(one.statement, known):
            found.append(f"the resource fits {json.dumps(one.statement.source.get('Resource'))}")
    return tuple(dict.fromkeys(found))


def _words(condition: Condition) -> str:
    values = " or ".join(condition.values)
    return f"{condition.key} {condition.operator} {values}"


def _settled(condition: Condition, known: Known) -> bool:
    return all(known(key) for key in condition.reads)


def _open_resource(statement: Statement, known: Known) -> bool:
    """Whether the resource's pattern has a variable whose value is unknown."""
    of_conditions = frozenset[str]().union(*(c.reads for c in statement.conditions))
    return any(not known(key) for key in statement.reads - of_conditions)


def _as(
    policies: IdentityPolicies, resource: Policy | None, known: Known, *, hopeful: bool
) -> tuple[IdentityPolicies, Policy | None]:
    """The policies as if every unknown condition helped the caller (or none did)."""

    def one(given: Policy) -> Policy:
        document = given.document
        return replace(given, document=Document(document.text, tuple(_supposed(s, known, hopeful=hopeful)
                                                                     for s in document.statements)))  # fmt: skip

    def group(given: Iterable[Policy] | None) -> tuple[Policy, ...] | None:
        return None if given is None else tuple(one(p) for p in given)

    def levels(given: tuple[tuple[Policy, ...], ...] | None) -> tuple[tuple[Policy, ...], ...] | None:
        return None if given is None else tuple(tuple(one(p) for p in level) for level in given)

    made = IdentityPolicies(
        group(policies.identity) or (),
        group(policies.boundary),
        group(policies.session),
        levels(policies.scps),
        levels(policies.rcps),
    )
    return made, one(resource) if resource is not None else None


def _supposed(statement: Statement, known: Known, *, hopeful: bool) -> Statement:
    holds = hopeful is (statement.effect == "Allow")
    if all(known(key) for key in statement.reads):
        return statement

    def test(context: Context) -> bool:
        return holds

    def on(question: Question) -> bool:
        return holds

    conditions = tuple(c if _settled(c, known) else replace(c, test=test) for c in statement.conditions)
    return replace(statement, conditions=conditions, on=on if _open_resource(statement, known) else statement.on)
