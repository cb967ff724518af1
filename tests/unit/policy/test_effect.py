# SPDX-License-Identifier: Apache-2.0
"""Capitals of Effect: AWS takes ALLOW in a trust policy, and not in an identity-based one."""

from __future__ import annotations

import json

import pytest

from cloudchamber.policy import check
from cloudchamber.policy.document import PolicyError, document


def policy(effect, **more) -> str:
    statement = {"Effect": effect, **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.mark.parametrize(("written", "meant"), [("ALLOW", "Allow"), ("allow", "Allow"), ("DENY", "Deny")])
def test_a_trust_policy_may_write_its_effect_in_any_capitals(written, meant):
    # recorded on AWS: LocalStack, tests/aws/templates/template7.json, validated 2026-02-10
    text = policy(written, Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")
    check.trust(text)
    assert document(text).statements[0].effect == meant
    with pytest.raises(PolicyError):
        check.identity(policy(written, Action="s3:*", Resource="*"))


@pytest.mark.parametrize("written", ["Permit", "", None, 1, ["Allow"]])
def test_any_other_effect_is_none(written):
    text = policy(written, Principal={"Service": "lambda.amazonaws.com"}, Action="sts:AssumeRole")
    with pytest.raises(PolicyError):
        check.trust(text)
    with pytest.raises(PolicyError):
        document(text)
