# SPDX-License-Identifier: Apache-2.0
"""The story of a decision: every chapter that it has, in words."""

from __future__ import annotations

from typing import Any

from cloudchamber.track.story import story, text

TOLD: dict[str, Any] = {
    "allowed": False,
    "principal": "arn:aws:sts::0:assumed-role/app/i-1",
    "entity": "arn:aws:iam::0:role/app",
    "action": "s3:PutObject",
    "resource": "arn:aws:s3:::b/k",
    "context": {"aws:sourceip": "10.0.0.1", "s3:prefix": None},
    "keys": {"s3:x-amz-acl": ["private"]},
    "policies": [{"name": "inline policy Work of role app", "kind": "identity"}],
    "because": [],
    "reason": "because no identity-based policy allows the s3:PutObject action",
    "kinds": [{"kind": "identity", "says": "nothing allows it"}],
    "nearest": {
        "policy": "inline policy Work of role app", "kind": "identity", "statement": 1, "sid": "Pictures",
        "effect": "Allow", "line": 7, "column": 3, "element": "Resource", "wants": "x", "has": "y",
        "sentence": "Statement 2 (Pictures) of inline policy Work of role app does not match: ...",
    },
    "allow_with": [
        {"kind": "identity", "policy": "identity-based policy", "statement": {"Effect": "Allow"}},
        {"kind": "resource", "policy": "resource-based policy", "statement": {"Effect": "Allow"}},
    ],
}  # fmt: skip


def test_a_denial_has_every_chapter() -> None:
    lines = text(story(TOLD))
    assert lines[:2] == ["DENIED", f"  {TOLD['reason']}"]
    for line in (
        "             with the policies of arn:aws:iam::0:role/app",
        "  context    aws:sourceip = 10.0.0.1",
        "             s3:prefix = not in the request",
        '             s3:x-amz-acl = ["private"]',
        "  identity-based policies: nothing allows it",
        "  inline policy Work of role app (identity-based policies): "
        "statement 2 (Pictures), line 7 column 3, came nearest",
        "  in an identity-based policy of arn:aws:iam::0:role/app",
        "  in a resource-based policy of arn:aws:s3:::b/k",
        '      "Effect": "Allow"',
    ):
        assert line in lines, line


def test_a_yes_names_what_allows() -> None:
    because = [{"policy": "bucket policy of b", "kind": "resource", "statement": 0, "sid": "", "line": 1, "column": 2}]
    told = {**TOLD, "allowed": True, "because": because, "nearest": None, "allow_with": None, "kinds": None}
    chapters = story(told)
    assert chapters[0]["lines"] == ["by statement 1, line 1 column 2, of bucket policy of b"]
    assert [c["title"] for c in chapters] == ["ALLOWED", "The question", "Policies consulted"]
    again = story({**told, "earlier": True})[0]["lines"]
    assert again[-1] == "decided when the connection was made"
    root = [
        {"policy": "root user of the account", "kind": "identity", "statement": 0, "sid": "", "line": 1, "column": 2}
    ]
    assert story({**told, "because": root})[0]["lines"] == ["by the root user of the account"]


def test_a_statement_that_denies_is_shown_as_it_stands() -> None:
    denial = {"sentence": "Statement 1 denies it", "source": {"Effect": "Deny"}}
    chapters = {c["title"]: c for c in story({**TOLD, "denied_by": [denial], "nearest": None, "allow_with": None})}
    shown = chapters["The statement that denies"]
    assert shown["lines"] == ["Statement 1 denies it"] and '"Deny"' in shown["code"]


def test_what_is_missing_is_left_out() -> None:
    assert story({})[0]["title"] == "DENIED"
    assert story({"error": "Syntax errors in policy."})[-1]["lines"] == ["Syntax errors in policy."]
