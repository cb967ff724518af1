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


def statement(**changed: Any) -> dict[str, Any]:
    made = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"} | changed
    return {"Version": "2012-10-17", "Statement": {k: v for k, v in made.items() if v is not None}}


SYNTAX, LEGACY = "Syntax errors in policy.", "The policy failed legacy parsing"
OLD = "Policy document must be version 2012-10-17 or greater."


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], SYNTAX),
        ({"Statement": statement()["Statement"]}, OLD),
        (statement() | {"Version": "2008-10-17"}, OLD),
        (statement() | {"Version": "2020-01-01"}, SYNTAX),
        (statement() | {"Id": {}}, SYNTAX),
        (statement() | {"Statements": []}, SYNTAX),
        ({"Version": "2012-10-17", "Statement": []}, SYNTAX),
        (statement(Effect="allow"), LEGACY),
        (statement(Effect="Perhaps"), SYNTAX),
        (statement(Effect=None), SYNTAX),
        (statement(Sid=[]), SYNTAX),
        (statement(Why="because"), SYNTAX),
        (statement(NotAction="s3:PutObject"), SYNTAX),
        (statement(Principal="*"), "Policy document should not specify a principal."),
        (statement(Action=None), "Policy statement must contain actions."),
        (statement(Action=[]), "Policy statement must contain actions."),
        (statement(Resource=None), "Policy statement must contain resources."),
        (statement(Resource=[]), "Policy statement must contain resources."),
        (statement(Action="GetObject"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (statement(Action=":GetObject"), "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."),
        (statement(Action="s3:Get:Object"), "Actions/Condition can contain only one colon."),
        (statement(Action="s 3:GetObject"), "Vendor s 3 is not valid"),
        (statement(Resource="bucket"), 'Resource bucket must be in ARN format or "*".'),
        (statement(Resource=""), 'Resource  must be in ARN format or "*".'),
        (statement(Resource="arn:aws"), "Resource vendor must be fully qualified and cannot contain regexes."),
        (statement(Resource="arn:mine:s3:::b"), 'Partition "mine" is not valid for resource "arn:mine:s3:::b".'),
        (statement(Resource="a:mine"), 'Partition "mine" is not valid for resource "arn:mine:*:*:*:*".'),
        (statement(Resource="arn::s3:::b"), 'Partition "" is not valid for resource "arn::s3:::b".'),
        (statement(Resource="arn:aws:s3::b"), LEGACY),
        (statement(Resource="arn:aws::::b"), LEGACY),
        (
            statement(Resource="arn:aws:s3:us-east-1::b"),
            "Resource arn:aws:s3:us-east-1::b can not contain region information.",
        ),
        (
            statement(Resource="arn:aws:iam:us-east-1::user/x"),
            "IAM resource arn:aws:iam:us-east-1::user/x cannot contain region information.",
        ),
        (
            statement(Resource="arn:aws:iam::111111111111:persons/x"),
            'IAM resource path must either be "*" or start with user/, federated-user/, role/, group/, '
            "instance-profile/, mfa/, server-certificate/, policy/, sms-mfa/, saml-provider/, oidc-provider/, report/, "
            "access-report/.",
        ),
        (statement(Condition=[]), SYNTAX),
        (statement(Condition={"StringEquals": "x"}), SYNTAX),
        (statement(Condition={"StringEquals": {"aws:username": {}}}), SYNTAX),
        (statement(Condition={"StringIs": {"aws:username": "x"}}), SYNTAX),
        (statement(Condition={"ForSome:StringEquals": {"aws:username": "x"}}), SYNTAX),
        (statement(Condition={"NullIfExists": {"aws:username": "true"}}), SYNTAX),
        (statement(Condition={"DateLessThan": {"aws:CurrentTime": "soon"}}), LEGACY),
        (statement(Condition={"DateLessThan": {"aws:CurrentTime": "2026-13-01"}}), LEGACY),
        (statement(Condition={"DateLessThan": {"aws:CurrentTime": str(2**63)}}), LEGACY),
        (
            {"Version": "2012-10-17", "Statement": [statement(Sid="A")["Statement"]] * 2},
            "Statement IDs (SID) in a single policy must be unique.",
        ),
        (
            statement(Sid="a b"),
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression "
            "[0-9A-Za-z]*",
        ),
        (statement(Effect="allow", Action="x") | {"Version": "2008-10-17"}, OLD),
        (statement(Action="x", Resource="y"), 'Resource y must be in ARN format or "*".'),
    ],
    ids=str,
)
def test_the_first_fault_is_told_in_iams_words(body: Any, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check.identity(json.dumps(body), managed=True)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "body",
    [
        statement(),
        statement(Resource="*"),
        statement(Resource=["arn:aws:s3:::b", None]),
        statement(Resource="arn:aws:s3"),
        statement(Resource="arn:aws:iam::*:*"),
        statement(Resource="arn:aws:iam::111111111111:us*r/x"),
        statement(Resource="arn:aws:s3:us-east-1:111111111111:accesspoint/x"),
        statement(Resource="arn:aws:ec2:*:*:instance/*"),
        statement(Condition={}),
        statement(Condition={"DateLessThan": {"aws:CurrentTime": ["2026-01-01T00:00:00Z", "2026", "1767225600"]}}),
        statement(Condition={"Bool": {"aws:SecureTransport": True}, "NumericEquals": {"s3:max-keys": 10}}),
        statement(Condition={"ForAllValues:StringLikeIfExists": {"aws:TagKeys": ["a*"]}}),
    ],
    ids=str,
)
def test_right_policies_are_taken(body: Any) -> None:
    check.identity(json.dumps(body))


@pytest.mark.parametrize("body", [{"Statement": statement()["Statement"]}, statement() | {"Version": "2008-10-17"}])
def test_only_managed_policies_must_say_their_version(body: dict[str, Any]) -> None:
    check.identity(json.dumps(body))
    with pytest.raises(PolicyError, match=OLD):
        check.identity(json.dumps(body), managed=True)
