# SPDX-License-Identifier: Apache-2.0
"""Every case of tests/data/policy, and what must hold for all policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.policy.document import Question, Subject, context_of
from cloudchamber.policy.evaluate import IdentityPolicies, evaluate, policy
from cloudchamber.policy.explain import explain, reason

DATA = Path(__file__).parents[2] / "data" / "policy"
CASES = [(file.stem, case) for file in sorted(DATA.glob("*.json")) for case in json.loads(file.read_text())]


def subject(case: dict[str, Any]) -> Subject:
    name: str = case["principal"]
    if name == "anonymous":
        return Subject("anonymous", "anonymous", "*")
    if not name.startswith("arn:"):
        return Subject("service", "111111111111", name)
    account = name.split(":")[4]
    if ":assumed-role/" in name:
        role = case.get("entity", f"arn:aws:iam::{account}:role/{name.split('/')[1]}")
        return Subject("assumed-role", account, name, role)
    if ":federated-user/" in name:
        return Subject("federated-user", account, name, case.get("entity", ""))
    if "-provider/" in name:
        return Subject("federated-user", account, name)
    return Subject("root" if name.endswith(":root") else "user", account, name)


def asked(case: dict[str, Any]):
    def some(name: str, kind: Any):
        return tuple(policy(f"{name} {i}", kind, json.dumps(d)) for i, d in enumerate(case.get(name, ())))

    def levels(name: str, kind: Any):
        if name not in case:
            return None
        return tuple(tuple(policy(kind, kind, json.dumps(d)) for d in level) for level in case[name])

    session = case.get("sessionPolicy")
    policies = IdentityPolicies(
        some("identityPolicies", "identity"),
        some("boundaries", "boundary") if "boundaries" in case else None,
        (policy("session", "session", json.dumps(session)),) if session else None,
        levels("scps", "scp"),
        levels("rcps", "rcp"),
    )
    own = case.get("resourcePolicy")
    kind: Any = "trust" if case.get("trust") else "resource"
    resource = policy("own", kind, json.dumps(own)) if own else None
    question = Question(
        subject(case),
        case["action"],
        case["resource"],
        context_of(case["context"]),
        case["resourceAccount"],
    )
    return question, policies, resource


@pytest.mark.parametrize(("group", "case"), CASES, ids=[f"{g}: {c['name']}" for g, c in CASES])
def test_case(group: str, case: dict[str, Any]) -> None:
    question, policies, resource = asked(case)
    verdict = evaluate(question, policies, resource, resource_must_allow=case.get("trust", False))
    got = "Allowed" if verdict.allowed else "ExplicitlyDenied" if verdict.explicit else "ImplicitlyDenied"
    assert got == case["expected"]
    if "blockedBy" in case:
        assert list(verdict.blocked_by) == case["blockedBy"]
    told = explain(question, policies, resource, verdict)
    assert json.loads(json.dumps(told)) == told
    assert bool(told["because"]) == (verdict.allowed or verdict.explicit)
    if got == "ImplicitlyDenied":
        assert "reason" in told
        check_remedy(case, told)


def check_remedy(case: dict[str, Any], told: dict[str, Any]) -> None:
    """The statements that an explanation offers must allow the request, once they are pasted."""
    better = json.loads(json.dumps(case))
    for remedy in told["allow_with"]:
        document = {"Version": "2012-10-17", "Statement": [remedy["statement"]]}
        match remedy["kind"]:
            case "identity":
                better["identityPolicies"].append(document)
            case "boundary":
                better["boundaries"].append(document)
            case "session":
                better["sessionPolicy"]["Statement"].append(remedy["statement"])
            case "scp":
                better["scps"] = [[*level, document] for level in better["scps"]]
            case _:
                own = better.setdefault("resourcePolicy", {"Version": "2012-10-17", "Statement": []})
                own["Statement"].append(remedy["statement"])
    question, policies, resource = asked(better)
    assert evaluate(question, policies, resource, resource_must_allow=case.get("trust", False)).allowed


ACTIONS = ("s3:GetObject", "s3:PutObject", "ec2:RunInstances", "iam:PassRole")
PATTERNS = ("*", "s3:*", "s3:Get*", "ec2:Run?nstances", "iam:PassRole", "S3:PUTOBJECT")
RESOURCES = ("arn:aws:s3:::b/k", "arn:aws:s3:::b/*", "*", "arn:aws:s3:::${aws:username}/*", "arn:aws:iam::1*:role/x")
CONTEXT = {"aws:username": "b", "aws:PrincipalTag/team": "red"}


@st.composite
def statements(draw: st.DrawFn, effect: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"Effect": effect or draw(st.sampled_from(("Allow", "Allow", "Deny")))}
    made[draw(st.sampled_from(("Action", "Action", "NotAction")))] = draw(
        st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
    )
    made[draw(st.sampled_from(("Resource", "Resource", "NotResource")))] = draw(
        st.lists(st.sampled_from(RESOURCES), min_size=1, max_size=3)
    )
    if draw(st.booleans()):
        operator = draw(
            st.sampled_from(("StringEquals", "StringNotLike", "ForAnyValue:StringLike", "StringLikeIfExists"))
        )
        made["Condition"] = {
            operator: {draw(st.sampled_from(("aws:username", "aws:missing"))): draw(st.sampled_from(("b", "*", "x")))}
        }
    return made


def decide(
    found: list[dict[str, Any]], action: str, resource: str, boundary: list[dict[str, Any]] | None = None
) -> bool:
    def document(kind: Any, items: list[dict[str, Any]]):
        return (policy("p", kind, json.dumps({"Version": "2012-10-17", "Statement": items})),)

    question = Question(Subject("user", "1", "arn:aws:iam::1:user/b"), action, resource, context_of(CONTEXT), "1")
    limits = document("boundary", boundary) if boundary is not None else None
    return evaluate(question, IdentityPolicies(document("identity", found), limits)).allowed


policies_of = st.lists(statements(), max_size=4)
action_of = st.sampled_from(ACTIONS)
resource_of = st.sampled_from(("arn:aws:s3:::b/k", "arn:aws:s3:::c/k", "arn:aws:iam::1:role/x", "*"))


@given(policies_of, statements(effect="Deny"), action_of, resource_of)
def test_adding_a_deny_never_allows(found, more, action, resource) -> None:
    assert not (decide([*found, more], action, resource) and not decide(found, action, resource))


@given(policies_of, statements(effect="Allow"), action_of, resource_of)
def test_adding_an_allow_never_denies(found, more, action, resource) -> None:
    assert not (decide(found, action, resource) and not decide([*found, more], action, resource))


@given(policies_of, policies_of, action_of, resource_of)
def test_a_boundary_only_takes_away(found, boundary, action, resource) -> None:
    assert not (decide(found, action, resource, boundary) and not decide(found, action, resource))


@given(policies_of, action_of, resource_of, st.randoms())
def test_the_order_of_statements_means_nothing(found, action, resource, random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert decide(found, action, resource) == decide(shuffled, action, resource)


def told_of(name: str) -> dict[str, Any]:
    """The explanation of one case."""
    case = next(case for _, case in CASES if case["name"] == name)
    question, policies, resource = asked(case)
    verdict = evaluate(question, policies, resource, resource_must_allow=case.get("trust", False))
    return explain(question, policies, resource, verdict)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "another instance type",
            "Statement 1 of scp denies it: Action ec2:RunInstances covers ec2:RunInstances, and its condition holds: "
            "StringNotEquals ec2:InstanceType t2.micro (the request has m5.large)",
        ),
        (
            "create one without",
            "Statement 1 of identityPolicies 1 denies it: Action iam:CreateUser or iam:PutUserPermissionsBoundary "
            "covers iam:CreateUser, and its condition holds: StringNotEquals iam:PermissionsBoundary "
            "arn:aws:iam::111111111111:policy/XCompanyBoundaries (the request has no such key)",
        ),
    ],
)
def test_a_deny_is_shown_with_its_reason(name: str, sentence: str) -> None:
    (denial,) = told_of(name)["denied_by"]
    assert denial["sentence"] == sentence
    assert denial["source"]["Effect"] == "Deny"
    assert (denial["line"], denial["column"]) > (0, 0)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "another user's folder",
            "Statement 1 of identityPolicies 0 does not match: its Resource is arn:aws:s3:::bucket/${aws:username}/*, "
            "and the request is for arn:aws:s3:::bucket/bob/x (${aws:username} is alice)",
        ),
        (
            "a variable without a value matches nothing",
            "Statement 1 of identityPolicies 0 does not match: its Resource is arn:aws:s3:::bucket/${aws:username}/*, "
            "and the request is for arn:aws:s3:::bucket//x (${aws:username} has no value)",
        ),
        (
            "MFA two hours ago",
            "Statement 1 of identityPolicies 0 does not match: its Condition NumericLessThan aws:MultiFactorAuthAge "
            "wants 3600, and the request has 7200",
        ),
        (
            "pass it to Lambda",
            "Statement 1 of identityPolicies 0 does not match: its Condition StringEquals iam:PassedToService wants "
            "ec2.amazonaws.com, and the request has lambda.amazonaws.com",
        ),
        (
            "a service that it does not",
            'Statement 1 of own does not match: its Principal is {"Service": "ec2.amazonaws.com"}, and the request '
            "comes from lambda.amazonaws.com",
        ),
    ],
)
def test_the_nearest_statement_says_why_not(name: str, sentence: str) -> None:
    assert told_of(name)["nearest"]["sentence"] == sentence


def test_each_kind_says_its_part() -> None:
    told = told_of("an SCP limits what a resource policy of the same account grants")
    assert [(part["kind"], part["says"]) for part in told["kinds"]] == [
        ("identity", "nothing allows it"),
        ("scp", "one level of the organization does not allow it"),
        ("resource", "allows"),
    ]


@pytest.mark.parametrize(
    ("kind", "home", "words"),
    [
        ("scp", "111111111111", "in a service control policy: arn:p"),
        ("boundary", "111111111111", "in a permissions boundary: arn:p"),
        ("identity", "111111111111", "in an identity-based policy: arn:p"),
        ("identity", "222222222222", "in an identity-based policy"),
    ],
)
def test_the_error_names_the_policy_at_home(kind: Any, home: str, words: str) -> None:
    """Source: AWS Security Blog, "Enhanced access denied error messages with policy ARNs"."""
    deny = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*"}}'
    own = (policy("p", kind, deny, "arn:p"),)
    policies = IdentityPolicies(
        own if kind == "identity" else (),
        own if kind == "boundary" else None,
        None,
        (own,) if kind == "scp" else None,
    )
    alice = Subject("user", "111111111111", "arn:aws:iam::111111111111:user/alice")
    question = Question(alice, "s3:GetObject", "arn:aws:s3:::b/k", {}, home)
    assert reason(question, evaluate(question, policies)) == f"with an explicit deny {words}"
