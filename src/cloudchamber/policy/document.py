# SPDX-License-Identifier: Apache-2.0
"""Policy documents: read, check, compile.

A `Document` is made once for each text and kept; a decision only calls its closures.
Source: IAM User Guide, "Grammar of the IAM JSON policy language".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from cloudchamber.policy import match
from cloudchamber.policy.conditions import Condition, compile_condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.policy.match import Context

    Check: TypeAlias = Callable[["Question"], bool]

Effect: TypeAlias = 'Literal["Allow", "Deny"]'
_REMEMBERED_MAX = 1024


class PolicyError(ValueError):
    """The document is not a policy; the text is AWS's message of MalformedPolicyDocument."""


class Reach(IntEnum):
    """How a Principal element names the caller, the closest last."""

    NOT = 0
    ACCOUNT = 1
    """The account, which leaves the decision to its identity policies."""
    ROLE = 2
    ANYONE = 3
    """Whoever it is: granted to the session itself, so that it goes further than naming its role."""
    EXACT = 4
    """The user, the role session, or the service itself."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks, as the policy language sees it.

    `arn` is the user's, the role session's or the federated session's ARN, a service's host name, or ``*`` for
    nobody; `entity_arn` is the role behind a session. `kind` as in `contract.identity.Principal`.
    """

    kind: str
    account: str
    arn: str
    entity_arn: str = ""
    provider: str = ""
    """The identity provider that vouches for a federated caller."""

    @property
    def alone(self) -> bool:
        """Whether no identity policies can apply: a service, nobody, or somebody whom only a provider knows."""
        kind = self.kind
        return kind in ("service", "anonymous") or (kind == "federated-user" and ":federated-user/" not in self.arn)

    @property
    def service_linked(self) -> bool:
        """Whether it is a session of a service-linked role, which no policy of the organization limits."""
        return self.kind == "assumed-role" and ":role/aws-service-role/" in self.entity_arn


@dataclass(slots=True)
class Question:
    """May `subject` do `action` on `resource`? Keys of `context` are in lower case."""

    subject: Subject
    action: str
    resource: str
    context: Context
    resource_account: str = ""
    bounded: bool = False
    """Whether a permissions boundary limits the subject; `evaluate` says so."""
    verb: str = field(init=False)
    """The action in lower case."""

    def __post_init__(self) -> None:
        self.verb = self.action.lower()


def context_of(values: Mapping[str, str | Sequence[str]]) -> dict[str, str | tuple[str, ...]]:
    """A context with its keys in lower case, as a `Question` wants it."""
    return {k.lower(): v if isinstance(v, str) else tuple(v) for k, v in values.items()}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled. `source` is what the document says, for explanations."""

    index: int
    sid: str
    effect: Effect
    source: Mapping[str, Any]
    acts: match.Matcher
    begins: tuple[str, ...]
    """One of these begins every resource that fits: a first look that spares most statements a second."""
    on: Check
    reach: Callable[[Question], Reach] | None
    conditions: tuple[Condition, ...]
    reads: frozenset[str]

    def holds(self, question: Question) -> bool:
        """Whether all but the action fits; an action is looked up by `Document.relevant`."""
        if self.reach is not None and not self.reach(question):
            return False
        if not self.on(question):
            return False
        for condition in self.conditions:  # noqa: SIM110 - a fifth faster than all() with a generator
            if not condition.test(question.context):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Document:
    """A compiled policy."""

    text: str
    statements: tuple[Statement, ...]
    _relevant: dict[str, tuple[tuple[Statement, ...], tuple[Statement, ...]]] = field(
        default_factory=dict[str, "tuple[tuple[Statement, ...], tuple[Statement, ...]]"]
    )
    _read: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    def read_for(self, verb: str) -> frozenset[str]:
        """The condition keys that the statements of `relevant` read."""
        found = self._read.get(verb)
        if found is None:
            denies, allows = self.relevant(verb)
            found = frozenset[str]().union(*(s.reads for s in (*denies, *allows)))
            if len(self._read) >= _REMEMBERED_MAX:
                self._read.clear()
            self._read[verb] = found
        return found

    def relevant(self, verb: str) -> tuple[tuple[Statement, ...], tuple[Statement, ...]]:
        """Denies and allows whose action fits `verb` (in lower case)."""
        found = self._relevant.get(verb)
        if found is None:
            hits = [s for s in self.statements if s.acts(verb)]
            found = (
                tuple(s for s in hits if s.effect == "Deny"),
                tuple(s for s in hits if s.effect == "Allow"),
            )
            if len(self._relevant) >= _REMEMBERED_MAX:
                self._relevant.clear()
            self._relevant[verb] = found
        return found


@lru_cache(1024)
def document(text: str) -> Document:
    """Compile a policy's JSON text.

    Raises:
        PolicyError: it is not a policy.
    """
    body = load(text)
    variables = body.get("Version") == "2012-10-17"
    written = body.get("Statement", ())
    listed: Sequence[Any] = cast("list[Any]", written) if isinstance(written, list) else (written,)
    return Document(text, tuple(_statement(i, s, variables) for i, s in enumerate(listed)))


def load(text: str) -> Mapping[str, Any]:
    """The JSON object of a policy's text; a name that comes twice is refused.

    Raises:
        PolicyError: not JSON, or not an object.
    """
    try:
        body: object = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise PolicyError("Syntax errors in policy.") from error
    if not isinstance(body, dict):
        raise PolicyError("Syntax errors in policy.")
    return cast("dict[str, Any]", body)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name comes twice")
    return made


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def strings(value: object) -> tuple[str, ...]:
    """The strings of an element that may be one or a list; numbers and booleans as JSON writes them.

    Raises:
        PolicyError: something else is in it.
    """
    items: Sequence[object] = cast("list[object]", value) if isinstance(value, list) else (value,)
    found: list[str] = []
    for item in items:
        if isinstance(item, bool):
            found.append("true" if item else "false")
        elif isinstance(item, (str, int, float)):
            found.append(str(item))
        else:
            raise PolicyError("Syntax errors in policy.")
    return tuple(found)


def _statement(index: int, source: object, variables: bool) -> Statement:
    if not isinstance(source, dict):
        raise PolicyError("Syntax errors in policy.")
    body = cast("dict[str, Any]", source)
    # Why: AWS takes ALLOW in a trust policy (recorded 2026-02-10); where it wants capitals, `check` sees to it
    effect = str(body.get("Effect")).capitalize()
    if effect not in ("Allow", "Deny"):
        raise PolicyError("Syntax errors in policy.")
    conditions = _conditions(body.get("Condition", {}), variables)
    begins, on, on_reads = _resource(body, variables)
    reads = on_reads.union(*(c.reads for c in conditions))
    return Statement(
        index, str(body.get("Sid", "")), effect, body, _action(body), begins, on, _principal(body), conditions, reads
    )


def _action(body: Mapping[str, Any]) -> match.Matcher:
    negative = "NotAction" in body
    tests = tuple(match.action(p) for p in strings(body.get("NotAction" if negative else "Action", [])))
    if len(tests) == 1 and not negative:
        return tests[0]
    return lambda verb: any(test(verb) for test in tests) is not negative


_ANY = ("",)


def _resource(body: Mapping[str, Any], variables: bool) -> tuple[tuple[str, ...], Check, frozenset[str]]:
    """How the resources begin, the test of one, and the keys that it reads."""
    negative = "NotResource" in body
    if not negative and "Resource" not in body:  # Why: trust policies have none
        return _ANY, (lambda question: True), frozenset()
    written = body["NotResource" if negative else "Resource"]
    if isinstance(written, list):  # Why: IAM takes a null among resources, and it names none
        written = [name for name in cast("list[object]", written) if name is not None]
    patterns = strings(written)
    tests = tuple(match.arn(p, variables=variables, excluding=negative) for p in patterns)
    taken = [match.tokens(p, variables=variables) for p in patterns]
    reads = frozenset[str]().union(*(match.variables_of(parts) for parts in taken))
    if negative:
        return _ANY, (lambda question: not any(t(question.resource, question.context) for t in tests)), reads
    begins = tuple(parts[0] if parts and isinstance(parts[0], str) else "" for parts in taken)
    if len(tests) == 1:
        only = tests[0]
        return begins, (lambda question: only(question.resource, question.context)), reads
    return begins, (lambda question: any(t(question.resource, question.context) for t in tests)), reads


def _conditions(source: object, variables: bool) -> tuple[Condition, ...]:
    if not isinstance(source, dict):
        raise PolicyError("Syntax errors in policy.")
    found: list[Condition] = []
    for operator, keys in cast("dict[str, object]", source).items():
        if not isinstance(keys, dict):
            raise PolicyError("Syntax errors in policy.")
        for key, values in cast("dict[str, object]", keys).items():
            try:
                found.append(compile_condition(operator, key, strings(values), variables=variables))
            except ValueError as error:
                raise PolicyError(f"Invalid Condition type : {operator}.") from error
    return tuple(found)


def _principal(body: Mapping[str, Any]) -> Callable[[Question], Reach] | None:
    if "NotPrincipal" in body:
        tests = _named(body["NotPrincipal"])
        denies = str(body["Effect"]).lower() == "deny"
        # Why: AWS documents that a Deny with NotPrincipal spares nobody who has a permissions boundary
        return lambda question: (
            Reach.NOT if not (denies and question.bounded) and _excepted(tests, question.subject) else Reach.ANYONE
        )
    if "Principal" not in body:
        return None
    named = _named(body["Principal"])
    if len(named) == 1:
        only = named[0]
        return lambda question: only(question.subject)
    return lambda question: max((test(question.subject) for test in named), default=Reach.NOT)


def _excepted(tests: tuple[Callable[[Subject], Reach], ...], subject: Subject) -> bool:
    """A NotPrincipal spares only callers that it names themselves, not everybody of a named account."""
    return any(test(subject) > Reach.ACCOUNT for test in tests) or (
        subject.kind == "root" and any(test(subject) for test in tests)
    )


def _named(source: object) -> tuple[Callable[[Subject], Reach], ...]:
    if source == "*":
        return (lambda subject: Reach.ANYONE,)
    if not isinstance(source, dict):
        raise PolicyError("Syntax errors in policy.")
    found: list[Callable[[Subject], Reach]] = []
    for kind, names in cast("dict[str, object]", source).items():
        for name in strings(names):
            if kind == "AWS":
                found.append(_aws(name))
            elif kind == "Service":
                found.append(_of("service", name))
            elif kind == "Federated":
                found.append(_of("federated-user", name))
            elif kind == "CanonicalUser":
                found.append(_of("canonical-user", name))
            else:
                raise PolicyError(f'Invalid principal in policy: "{kind}":"{name}"')
    return tuple(found)


def _of(kind: str, name: str) -> Callable[[Subject], Reach]:
    def test(subject: Subject) -> Reach:
        return Reach.EXACT if subject.kind == kind and name in (subject.arn, subject.provider) else Reach.NOT

    return test


def _aws(name: str) -> Callable[[Subject], Reach]:
    if name == "*":
        return lambda subject: Reach.ANYONE
    account = account_of(name)
    if account:

        def belongs(subject: Subject) -> Reach:
            if subject.account != account or subject.alone:
                return Reach.NOT
            return Reach.EXACT if subject.kind == "root" else Reach.ACCOUNT

        return belongs

    def test(subject: Subject) -> Reach:
        if subject.arn == name:
            return Reach.EXACT
        if subject.entity_arn != name:
            return Reach.NOT
        # Why: what a policy grants to a user it grants past the user's boundary, but a federated session of the user
        # stays within its session policy.
        return Reach.ANYONE if subject.kind == "federated-user" else Reach.ROLE

    return test


def account_of(principal: str) -> str:
    """The account that a principal names as a whole (``123456789012`` or its ``:root`` ARN); empty if none."""
    if len(principal) == 12 and principal.isdigit():
        return principal
    parts = principal.split(":")
    return parts[4] if len(parts) == 6 and parts[2] == "iam" and parts[5] == "root" else ""
