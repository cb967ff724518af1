# SPDX-License-Identifier: Apache-2.0
"""Who could, while part of the request is unknown; and what policies grant beside what was used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.policy.compare import compare
from cloudchamber.policy.document import Question, Subject
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, evaluate, policy
from cloudchamber.policy.least import Asked
from cloudchamber.policy.possible import Possible, possible

ANN = Subject("user", "000000000000", "arn:aws:iam::000000000000:user/ann")
KEY = "arn:aws:s3:::b/k"


def made(*statements: dict[str, Any]) -> Policy:
    return policy("p", "identity", json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))


def allow(condition: dict[str, Any] | None = None, resource: str = "*", effect: str = "Allow") -> dict[str, Any]:
    return {"Effect": effect, "Action": "s3:GetObject", "Resource": resource, "Condition": condition or {}}


def ask(*statements: dict[str, Any], known: tuple[str, ...] = (), **keys: str) -> Possible:
    context: dict[str, str | tuple[str, ...]] = {k.replace("_", ":", 1).lower(): v for k, v in keys.items()}
    question = Question(ANN, "s3:GetObject", KEY, context, "000000000000")
    names = {*known, *context}
    return possible(question, IdentityPolicies((made(*statements),)), None, lambda key: key in names)


OFFICE = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}


def test_an_unknown_key_is_a_condition_of_the_answer() -> None:
    found = ask(allow(OFFICE))
    assert (found.answer, found.conditions) == ("conditional", ("aws:SourceIp IpAddress 10.0.0.0/8",))
    assert ask(allow(OFFICE), aws_SourceIp="10.1.1.1").answer == "allowed"
    assert ask(allow(OFFICE), aws_SourceIp="192.0.2.1").answer == "denied"
    assert ask(allow(OFFICE), known=("aws:sourceip",)).answer == "denied"


def test_a_denial_under_conditions_is_told_as_unless() -> None:
    found = ask(allow(), allow(OFFICE, effect="Deny"))
    assert (found.answer, found.conditions, found.unless) == (
        "conditional", (), ("aws:SourceIp IpAddress 10.0.0.0/8",),
    )  # fmt: skip
    assert ask(allow(), allow(effect="Deny")).answer == "denied"
    assert ask(allow(OFFICE), allow()).answer == "allowed"


def test_a_variable_in_the_resource_may_be_unknown() -> None:
    one = allow(resource="arn:aws:s3:::b/${aws:PrincipalTag/team}/*")
    assert ask(one).answer == "conditional"
    assert ask(one, known=("aws:principaltag/team",)).answer == "denied"


tests = st.sampled_from(
    [{}, OFFICE, {"StringEquals": {"aws:PrincipalTag/a": "1"}}, {"Bool": {"aws:SecureTransport": "true"}}]
)
lists = st.lists(st.builds(allow, tests, st.just("*"), st.sampled_from(["Allow", "Deny"])), max_size=4)
contexts = st.fixed_dictionaries(
    {},
    optional={"aws:sourceip": st.sampled_from(["10.0.0.1", "192.0.2.1"]), "aws:principaltag/a": st.sampled_from("12"),
              "aws:securetransport": st.sampled_from(["true", "false"])},
)  # fmt: skip


@given(lists, contexts)
def test_a_sure_answer_holds_for_every_request(statements: list[dict[str, Any]], context: dict[str, str]) -> None:
    found = ask(*statements)
    really = evaluate(Question(ANN, "s3:GetObject", KEY, context, ""), IdentityPolicies((made(*statements),))).allowed
    if found.answer != "conditional":
        assert really is (found.answer == "allowed")


@pytest.mark.parametrize(
    ("statement", "used", "unused"),
    [
        ({"Action": "s3:Get*", "Resource": "*"}, ("s3:GetObject",), ("s3:GetBucketAcl",)),
        ({"Action": "s3:GetObject", "Resource": "arn:aws:s3:::other/*"}, (), ()),
        ({"NotAction": "ec2:*", "Resource": "*"}, ("s3:GetObject",), ("s3:GetBucketAcl", "s3:PutObject")),
        (
            {"Action": "s3:*", "NotResource": "arn:aws:s3:::b/*"},
            (),
            ("s3:GetBucketAcl", "s3:GetObject", "s3:PutObject"),
        ),
    ],
)
def test_grants_beside_what_was_used(statement: dict[str, Any], used: tuple[str, ...], unused: tuple[str, ...]) -> None:
    known = ["s3:GetObject", "s3:GetBucketAcl", "s3:PutObject", "ec2:RunInstances"]
    (one,) = compare([made({"Effect": "Allow", **statement})], [Asked("s3:GetObject", KEY)], known)
    assert (one.used, one.unused) == (used, unused)
