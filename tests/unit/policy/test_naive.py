# SPDX-License-Identifier: Apache-2.0
"""The compiled evaluator against a second one that is written straight from the User Guide."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tools import naive

from cloudchamber.policy.document import Question, Subject, context_of
from cloudchamber.policy.evaluate import IdentityPolicies, evaluate, policy

PRINCIPAL = "arn:aws:iam::111111111111:user/ann"
ACTIONS = ("s3:GetObject", "s3:PutObject", "ec2:RunInstances", "sts:AssumeRole")
ACTION_PATTERNS = ("*", "s3:*", "s3:Get*", "S3:getobject", "s3:?etObject", "ec2:*Instances", "sts:*", "s3:*t")
RESOURCES = ("*", "arn:aws:s3:::b/ann/k", "arn:aws:s3:::b/x*y", "arn:aws:s3:::b/", "arn:aws:ec2:us-east-1:1:instance/i",
             "arn:aws:iam::1:role/app:x")  # fmt: skip
PATTERNS = ("*", "arn:aws:s3:::b/*", "arn:aws:s3:::b/${aws:username}/*", "arn:aws:s3:::b/${aws:PrincipalTag/team}/k",
            "arn:aws:s3:::b/${aws:PrincipalTag/team, 'ann'}/?", "arn:aws:s3:::b/x${*}y", "arn:aws:*:*:1:*",
            "arn:aws:ec2:us-*:1:instance/?", "arn:aws:s3", "arn:*:s3:::*k", "arn:aws:iam::1:role/*")  # fmt: skip
KEYS: dict[str, tuple[str, ...]] = {
    "aws:username": ("ann", "ANN", "bob", "a*n"),
    "aws:PrincipalTag/team": ("red", "ann", ""),
    "s3:max-keys": ("1", "10", "10.0", "-5", "x"),
    "aws:CurrentTime": ("2026-01-01T00:00:00Z", "2026-06-30T12:00:00+02:00", "1767225600", "soon"),
    "aws:SecureTransport": ("true", "false", "TRUE"),
    "aws:SourceIp": ("10.0.1.7", "2001:db8::1", "203.0.113.5", "here"),
    "aws:SourceArn": ("arn:aws:s3:::b", "arn:aws:lambda:us-east-1:1:function:f", "b"),
    "x:digest": ("QmluYXJ5", "QQ==", "?"),
    "aws:TagKeys": ("team", "cost", "Team"),
}
WANTED = {
    "aws:username": ("ann", "*", "a?n", "${aws:username}", "${aws:PrincipalTag/team}", "${aws:x, 'bob'}", "a${*}n"),
    "aws:PrincipalTag/team": ("red", "r*", "${aws:username}"),
    "s3:max-keys": ("1", "10", "9.99", "x"),
    "aws:CurrentTime": ("2026-01-01", "2026-06-30T10:00:00Z", "1767225600", "x"),
    "aws:SecureTransport": ("true", "false"),
    "aws:SourceIp": ("10.0.0.0/16", "10.0.1.7", "2001:db8::/32", "203.0.113.0/24", "x"),
    "aws:SourceArn": ("arn:aws:s3:::*", "arn:aws:lambda:*:1:function:*", "*", "arn:aws:s3:::${aws:username}"),
    "x:digest": ("QmluYXJ5", "QQ=="),
    "aws:TagKeys": ("team", "cost", "T*"),
}
OPERATORS = (
    "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike",
    "StringNotLike", "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals",
    "NumericGreaterThan", "NumericGreaterThanEquals", "DateEquals", "DateNotEquals", "DateLessThan",
    "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals", "Bool", "BinaryEquals", "IpAddress",
    "NotIpAddress", "ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike",
)  # fmt: skip


def some(values: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=3)


@st.composite
def conditions(draw: st.DrawFn) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(tuple(KEYS)), max_size=3, unique=True)):
        if draw(st.integers(0, 9)) == 0:
            made.setdefault("Null", {})[key] = draw(some(("true", "false")))
            continue
        operator = draw(st.sampled_from(("", "", "", "ForAllValues:", "ForAnyValue:"))) + draw(
            st.sampled_from(OPERATORS)
        )
        operator += draw(st.sampled_from(("", "", "IfExists")))
        made.setdefault(operator, {})[key] = draw(some(WANTED[key]))
    return made


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    def statement() -> dict[str, Any]:
        made: dict[str, Any] = {"Effect": draw(st.sampled_from(("Allow", "Allow", "Deny")))}
        made[draw(st.sampled_from(("Action", "Action", "NotAction")))] = draw(some(ACTION_PATTERNS))
        made[draw(st.sampled_from(("Resource", "Resource", "NotResource")))] = draw(some(PATTERNS))
        if draw(st.booleans()):
            made["Condition"] = draw(conditions())
        return made

    version = draw(st.sampled_from(("2012-10-17", "2012-10-17", "2008-10-17")))
    return {"Version": version, "Statement": [statement() for _ in range(draw(st.integers(1, 4)))]}


contexts = st.dictionaries(st.sampled_from(tuple(KEYS)), st.none()).flatmap(
    lambda keys: st.fixed_dictionaries(
        {k: st.sampled_from(KEYS[k]) | st.lists(st.sampled_from(KEYS[k]), max_size=3) for k in keys}
    )
)
groups = st.lists(documents(), min_size=1, max_size=2)


@settings(max_examples=250)
@given(
    groups, st.none() | groups, st.none() | groups, st.sampled_from(ACTIONS), st.sampled_from(RESOURCES), contexts
)  # fmt: skip
def test_compiled_is_naive(
    identity: list[Any], boundary: list[Any] | None, session: list[Any] | None, action: str, resource: str, context: Any
) -> None:
    def compiled(kind: Any, found: list[Any] | None):
        return None if found is None else tuple(policy(kind, kind, json.dumps(d)) for d in found)

    policies = IdentityPolicies(
        compiled("identity", identity) or (), compiled("boundary", boundary), compiled("session", session)
    )
    question = Question(Subject("user", "1", PRINCIPAL), action, resource, context_of(context), "1")
    verdict = evaluate(question, policies)
    got = "Allowed" if verdict.allowed else "ExplicitlyDenied" if verdict.explicit else "ImplicitlyDenied"
    assert got == naive.decide(naive.Asked(PRINCIPAL, action, resource, context), identity, boundary, session)
