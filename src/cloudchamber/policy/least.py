# SPDX-License-Identifier: Apache-2.0
"""The least-privilege policy for what was asked: pure.

It allows every recorded question that was allowed and none that was refused; no action, resource or condition value of
it can be left out. `prove` says so by trying.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.policy.document import Question, Subject, document, strings
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, evaluate
from cloudchamber.policy.patterns import Pattern, generalise, generalise_text, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Value = str | tuple[str, ...]

VALUES_MAX = 10
"""A condition lists no more values than this."""
MANAGED_MAX = 6144
ROLE_INLINE_MAX = 10_240
USER_INLINE_MAX = 2048
"""Characters without white space. Source: IAM User Guide, "IAM and AWS STS quotas"."""
CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "iam:PassRole": ("iam:PassedToService",),
    "iam:AttachRolePolicy": ("iam:PolicyARN",),
    "iam:AttachUserPolicy": ("iam:PolicyARN",),
    "iam:AttachGroupPolicy": ("iam:PolicyARN",),
    "iam:CreateRole": ("iam:PermissionsBoundary",),
    "iam:CreateUser": ("iam:PermissionsBoundary",),
    "iam:CreateServiceLinkedRole": ("iam:AWSServiceName",),
    "s3:ListBucket": ("s3:prefix",),
    "s3:ListBucketVersions": ("s3:prefix",),
    "ec2:CreateTags": ("ec2:CreateAction",),
    "ec2:RunInstances": ("ec2:InstanceType",),
    "lambda:AddPermission": ("lambda:Principal",),
    "lambda:CreateEventSourceMapping": ("lambda:FunctionArn",),
    "rds:CreateDBInstance": ("rds:DatabaseEngine",),
}
"""Keys that say what an action is for: a condition on them holds where every question had one of a few values."""
_PATHS = ("s3:prefix",)
_WORD = re.compile(r"[A-Za-z][a-z0-9]*|[A-Z]+")
_READS = ("Get", "List", "Describe", "Head", "Filter", "BatchGet")
_REMOVES = ("Delete", "Remove", "Terminate")
_SID_WORDS = 3
_WORD_MAX = 20


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as the record has it; `keys` in lower case."""

    action: str
    resource: str
    keys: Mapping[str, Value] = field(default_factory=dict[str, "Value"], hash=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """One action on one pattern under conditions, and why so."""

    action: str
    resource: str
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """A policy, and what is to be said about each of its patterns: ``(sid, pattern, why)``."""

    policy: dict[str, Any]
    reasons: tuple[tuple[str, str, str], ...]
    size: int
    """In characters, as quotas count."""

    @property
    def text(self) -> str:
        """The policy as JSON."""
        return json.dumps(self.policy, indent=2)


def write(
    allowed: Sequence[Asked],
    denied: Sequence[Asked] = (),
    kept: Sequence[Mapping[str, Any]] = (),
    within: Callable[[str, str], bool] | None = None,
) -> Written:
    """The smallest policy for `allowed` that opens nothing of `denied`.

    `kept`: Deny statements that stay. `within`: whether an action on a resource is granted today; nothing is widened
    past that.
    """
    grants: list[Grant] = []
    for action in sorted({one.action for one in allowed}):
        cases = [one for one in allowed if one.action == action]
        refused = [one for one in denied if one.action.lower() == action.lower()]
        grants += _grants(action, cases, refused, within)
    statements, reasons = _statements(grants)
    body = _without_idle({"Version": "2012-10-17", "Statement": statements}, allowed)
    left = {(s["Sid"], resource) for s in body["Statement"] for resource in strings(s["Resource"])}
    sids = {s["Sid"] for s in body["Statement"]}
    for deny in kept:
        named = {"Sid": _unique(str(deny["Sid"]), sids)} if deny.get("Sid") else {}
        body["Statement"] = [*body["Statement"], {**deny, **named}]
    return Written(body, tuple(r for r in reasons if r[:2] in left), size(body))


def _without_idle(body: dict[str, Any], allowed: Sequence[Asked]) -> dict[str, Any]:
    """The policy without what can be left out: two patterns that were found apart may cover the same."""
    who = Subject("user", "", "")
    questions = [_question(one, who) for one in allowed]
    while True:
        alone = _alone(body, questions)
        less = ((at, made) for at, _, made in _mutations(body["Statement"]) if not _missed(body, made, alone[at]))
        found = next(less, None)
        if found is None:
            return body
        at, made = found
        body["Statement"][at : at + 1] = [made] if made is not None else []


def size(body: Mapping[str, Any]) -> int:
    """A policy's size as IAM's quotas count it: without white space."""
    return len(re.sub(r"\s", "", json.dumps(body, separators=(",", ":"), ensure_ascii=False)))


def _grants(
    action: str, cases: Sequence[Asked], refused: Sequence[Asked], within: Callable[[str, str], bool] | None
) -> list[Grant]:
    bad = {one.resource for one in refused}
    found: list[Grant] = []
    limit = partial(within, action) if within is not None else None
    for pattern in generalise({one.resource for one in cases}, bad, limit):
        covered = [one for one in cases if one.resource in pattern.covers]
        beside = [one for one in refused if one.resource in pattern.covers]
        conditions, why = _conditions(action, covered, beside)
        reasons = ((pattern.why,) if pattern.why else ()) + tuple(why)
        found.append(Grant(action, pattern.text, conditions, reasons))
    return found


def _conditions(
    action: str, cases: Iterable[Asked], refused: Sequence[Asked]
) -> tuple[tuple[tuple[str, str, tuple[str, ...]], ...], list[str]]:
    """Conditions that hold for every case."""
    asked = list(cases)
    made: list[tuple[str, str, tuple[str, ...]]] = []
    why: list[str] = []
    for key in CONDITIONS.get(action, ()):
        values = {_single(one.keys.get(key.lower())) for one in asked}
        if None in values:
            continue
        known = sorted(value for value in values if value is not None)
        patterns = [Pattern(literal(v), frozenset((v,))) for v in known]
        if key in _PATHS:
            bad = {v for one in refused for v in (_single(one.keys.get(key.lower())),) if v is not None}
            patterns = generalise_text(known, bad)
        if len(patterns) > VALUES_MAX:
            continue
        wide = any("*" in p.text.replace("${*}", "") for p in patterns)
        texts = tuple(p.text if wide else next(iter(p.covers)) for p in patterns)
        made.append((_operator(key, wide, texts), key, texts))
        why += [f"{key}: {p.why}" for p in patterns if p.why]
        if not wide:
            why.append(f"{key} was always {_listed(texts)}")
    return tuple(made), why


def _operator(key: str, wide: bool, texts: tuple[str, ...]) -> str:
    if wide:
        return "StringLike"
    return "ArnEquals" if all(t.startswith("arn:") and "*" not in t and "?" not in t for t in texts) else "StringEquals"


def _single(value: Value | None) -> str | None:
    """A key's one value; a variable in it cannot be written as a plain one."""
    if isinstance(value, tuple):
        value = value[0] if len(value) == 1 else None
    return value if value is not None and "${" not in value else None


def _listed(texts: Sequence[str]) -> str:
    words = [repr(t) for t in texts]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _statements(grants: Sequence[Grant]) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
    """Patterns with the same actions and conditions share a statement: so nothing more is granted than each grant."""
    of_pattern: dict[tuple[str, tuple[Any, ...]], dict[str, Grant]] = {}
    for grant in grants:
        of_pattern.setdefault((grant.resource, grant.conditions), {})[grant.action] = grant
    alike: dict[tuple[tuple[str, ...], tuple[Any, ...], str], list[str]] = {}
    for (resource, conditions), actions in of_pattern.items():
        alike.setdefault((tuple(sorted(actions)), conditions, _home(resource)), []).append(resource)
    statements: list[dict[str, Any]] = []
    reasons: list[tuple[str, str, str]] = []
    sids: set[str] = set()
    ordered = sorted(alike.items(), key=lambda item: (item[0][0][0], sorted(item[1])))
    for (actions, conditions, _), resources in ordered:
        sid = _unique(_sid(actions, resources), sids)
        statement: dict[str, Any] = {"Sid": sid, "Effect": "Allow", "Action": _one_or_many(actions)}
        statement["Resource"] = _one_or_many(sorted(resources))
        for operator, key, values in conditions:
            statement.setdefault("Condition", {}).setdefault(operator, {})[key] = _one_or_many(values)
        statements.append(statement)
        for resource in sorted(resources):
            grant = of_pattern[(resource, conditions)]
            for why in dict.fromkeys(w for one in grant.values() for w in one.why):
                reasons.append((sid, resource, why))
    return statements, reasons


def _home(resource: str) -> str:
    """What patterns of one statement have in common: the bucket, or else the service."""
    if resource.startswith("arn:aws:s3:::"):
        return resource.partition("/")[0]
    return resource.split(":", 3)[2] if resource.count(":") >= 5 else ""


def _one_or_many(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _sid(actions: Sequence[str], resources: Sequence[str]) -> str:
    """What a statement is for, in words: ``ReadWriteUsersAvatar``."""
    names = [action.partition(":")[2] for action in actions]
    if len(names) == 1:
        verb = names[0]
    else:
        kinds = [_verb(name) for name in names]
        verb = "".join(kind for kind in ("Read", "Write", "Remove") if kind in kinds)
    service, _, tail = resources[0].partition(":")[2].partition(":")[2].partition(":")
    path = tail.split(":", 2)[-1]
    if service == "s3":
        path = path.partition("/")[2] or "bucket"
    elif service == "logs":
        path = "log streams" if "log-stream:" in path else "log group"
    elif service == "rds-db":
        path = path.rpartition("/")[2]
    elif service == "secretsmanager":
        path = "secret"
    stem = re.sub(r"\.[A-Za-z0-9]{2,4}$", "", path.split("/${")[0])
    words = [word for word in _WORD.findall(stem) if 1 < len(word) <= _WORD_MAX]
    if words and verb.lower().endswith(words[0].lower()):  # Why: CreateRole and role/app make CreateRoleApp
        words = words[1:]
    noun = "".join(w[:1].upper() + w[1:] for w in words[:_SID_WORDS])
    return re.sub(r"[^A-Za-z0-9]", "", verb[:1].upper() + verb[1:] + (noun if noun.lower() not in verb.lower() else ""))


def _verb(name: str) -> str:
    if name.startswith(_READS):
        return "Read"
    return "Remove" if name.startswith(_REMOVES) else "Write"


def _unique(sid: str, taken: set[str]) -> str:
    number, made = 2, sid or "Statement"
    while made in taken:
        made = f"{sid}{number}"
        number += 1
    taken.add(made)
    return made


# proving it


@dataclass(frozen=True, slots=True)
class Proof:
    """What trying showed."""

    replayed: int
    """Different questions that were allowed."""
    refused: tuple[Asked, ...]
    """Those that the policy would refuse."""
    opened: tuple[Asked, ...]
    """Those that were denied and that the policy would allow."""
    parts: int
    """Actions, resources and condition values that were left out, one at a time."""
    idle: tuple[str, ...]
    """Those without which nothing breaks."""

    @property
    def holds(self) -> bool:
        """Whether it is what it says."""
        return not (self.refused or self.opened or self.idle)


def prove(body: Mapping[str, Any], allowed: Sequence[Asked], denied: Sequence[Asked], who: Subject) -> Proof:
    """Replay every question against a policy, then again with each part of it left out."""
    granted = {(one.action, one.resource) for one in allowed}
    asked = [(one, _question(one, who)) for one in allowed]
    own = _policies(body)
    refused = tuple(one for one, question in asked if not evaluate(question, own).allowed)
    beside = [one for one in denied if (one.action, one.resource) not in granted]
    opened = tuple(one for one in beside if evaluate(_question(one, who), own).allowed)
    alone = _alone(body, [question for _, question in asked])
    parts, idle = 0, list[str]()
    for at, name, made in _mutations(body["Statement"]):
        parts += 1
        if not _missed(body, made, alone[at]):
            idle.append(name)
    return Proof(len(allowed), refused, opened, parts, tuple(idle))


def _question(one: Asked, who: Subject) -> Question:
    return Question(who, one.action, one.resource, dict(one.keys), who.account)


def _policies(body: Mapping[str, Any]) -> IdentityPolicies:
    # Why not by the cache: a hundred variants of one policy would drive out those that decide calls
    compiled = document.__wrapped__(json.dumps(body))
    return IdentityPolicies((Policy("the written policy", "identity", compiled),))


def _alone(body: Mapping[str, Any], questions: Sequence[Question]) -> list[list[Question]]:
    """For each statement, the questions that it alone answers: they are all that a change of it can break."""
    (own,) = _policies(body).identity
    found: list[list[Question]] = [[] for _ in own.document.statements]
    for question in questions:
        denying, allowing = own.document.relevant(question.verb)
        holding = [s.index for s in allowing if s.holds(question)]
        if len(holding) == 1 and not any(s.holds(question) for s in denying):
            found[holding[0]].append(question)
    return found


def _missed(body: Mapping[str, Any], statement: Mapping[str, Any] | None, questions: Sequence[Question]) -> bool:
    """Whether one of some questions is not answered by a statement that was made smaller."""
    if statement is None:
        return bool(questions)
    own = _policies({**body, "Statement": [statement]})
    return not all(evaluate(question, own).allowed for question in questions)


def _mutations(statements: Sequence[dict[str, Any]]) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """Each statement without one action, one resource, or one value of a condition; Deny statements stay whole."""
    for at, statement in enumerate(statements):
        if statement["Effect"] != "Allow":
            continue
        name = statement.get("Sid") or f"statement {at + 1}"
        for element in ("Action", "Resource"):
            for value in strings(statement[element]):
                yield at, f"{name}: {element} {value}", _less(statement, (element,), value)
        for operator, keys in cast("dict[str, dict[str, Any]]", statement.get("Condition", {})).items():
            for key, values in keys.items():
                for value in strings(values):
                    path = ("Condition", operator, key)
                    yield at, f"{name}: {operator} {key} {value}", _less(statement, path, value)


def _less(statement: Mapping[str, Any], path: tuple[str, ...], value: str) -> dict[str, Any] | None:
    """A statement without one value; None if then nothing is left."""
    made: dict[str, Any] = json.loads(json.dumps(statement))
    place: dict[str, Any] = made
    for step in path[:-1]:
        place = place[step]
    left = [v for v in strings(place[path[-1]]) if v != value]
    place[path[-1]] = _one_or_many(left)
    return made if left else None
