# SPDX-License-Identifier: Apache-2.0
"""Whatever a client sends as a policy is taken or refused with a PolicyError, and what is taken can decide."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.policy import check
from cloudchamber.policy.document import PolicyError, Question, Subject, document
from cloudchamber.policy.evaluate import IdentityPolicies, evaluate, policy
from cloudchamber.policy.positions import statements

WORDS = ["*", "Allow", "Deny", "s3:*", "2012-10-17", "arn:aws:s3:::b/${x}", "${", "${a, 'b'}", "AWS", "StringLike"]
NAMES = ["Version", "Statement", "Effect", "Action", "NotAction", "Resource", "Principal", "Condition", "Sid", "AWS",
         "StringEquals", "NumericLessThan", "DateEquals", "IpAddress", "BinaryEquals",
         "ForAllValues:ArnLikeIfExists"]  # fmt: skip
leaf = st.sampled_from(WORDS) | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
)
likely = st.fixed_dictionaries(
    {"Effect": st.sampled_from(("Allow", "Deny")), "Action": anything, "Resource": anything},
    optional={"Condition": st.dictionaries(st.sampled_from(NAMES), st.dictionaries(st.sampled_from(WORDS), anything))},
)


@given(anything | st.fixed_dictionaries({"Version": st.just("2012-10-17"), "Statement": likely | st.lists(likely)}))
def test_taken_or_refused(body: Any) -> None:
    text = json.dumps(body)
    for take in (check.identity, check.trust):
        try:
            take(text)
        except PolicyError:
            continue
        own = policy("p", "identity", text)
        question = Question(
            Subject("user", "1", "arn:aws:iam::1:user/a"), "s3:GetObject", "arn:aws:s3:::b/k", {"*": "1"}
        )
        evaluate(question, IdentityPolicies((own,)))
        assert len(statements(text)) == len(document(text).statements)


@pytest.mark.parametrize("text", ["", "[]", "null", "[" * 100_000, '{"Statement": 1' + "0" * 5000 + "}", '"\\ud800"'])
def test_hostile_texts(text: str) -> None:
    with pytest.raises(PolicyError):
        check.identity(text)


def test_positions() -> None:
    text = '{"Version": "2012-10-17",\n "Statement": [\n  {"Effect": "Allow"},\n  {"a": ["}"]}\n ]}'
    spans = [(s.start_line, s.start_column, s.end_line, s.end_column) for s in statements(text)]
    assert spans == [(3, 3, 3, 22), (4, 3, 4, 15)]
