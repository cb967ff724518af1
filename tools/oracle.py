# SPDX-License-Identifier: Apache-2.0
"""What the conformance programs of this project ask of our own pure code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloudchamber.policy.document import Question, Subject, context_of
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, evaluate, policy
from tools.sigv4_oracle import verify

__all__ = ["decide", "verify"]


def decide(case: Mapping[str, Any]) -> str:
    """The decision for one case of the IAM fuzzer: Allowed, ImplicitlyDenied or ExplicitlyDenied."""

    def some(name: str, kind: Any) -> tuple[Policy, ...]:
        return tuple(policy(f"{name} {i}", kind, json.dumps(doc)) for i, doc in enumerate(case.get(name) or ()))

    def levels(name: str, kind: Any) -> tuple[tuple[Policy, ...], ...] | None:
        if not case.get(name):
            return None
        everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
        add = [everything] if kind == "rcp" else []
        return tuple(tuple(policy(name, kind, json.dumps(d)) for d in [*add, *docs]) for docs in case[name])

    session = case.get("sessionPolicy")
    resource = case.get("resourcePolicy")
    policies = IdentityPolicies(
        some("identityPolicies", "identity"),
        some("boundaries", "boundary") if case.get("boundaries") is not None else None,
        (policy("session", "session", json.dumps(session)),) if session else None,
        levels("scps", "scp"),
        levels("rcps", "rcp"),
    )
    account = case.get("resourceAccount", "")
    question = Question(
        _subject(case["principal"]), case["action"], case["resource"], context_of(case.get("context") or {}), account
    )
    own = policy("resource policy", "resource", json.dumps(resource)) if resource else None
    verdict = evaluate(question, policies, own)
    if verdict.allowed:
        return "Allowed"
    return "ExplicitlyDenied" if verdict.explicit else "ImplicitlyDenied"


def _subject(arn: str) -> Subject:
    if arn == "anonymous":
        return Subject("anonymous", "anonymous", "*")
    account = arn.split(":")[4]
    if ":assumed-role/" in arn:
        return Subject("assumed-role", account, arn, f"arn:aws:iam::{account}:role/{arn.split('/')[1]}")
    return Subject("root" if arn.endswith(":root") else "user", account, arn)
