# SPDX-License-Identifier: Apache-2.0
"""Bucket policies: pure checks.

Source: Amazon S3 API Reference, PutBucketPolicy; Amazon S3 User Guide, "The meaning of 'public'".
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, cast

from cloudchamber.policy.document import PolicyError, document
from cloudchamber.services.s3.errors import MalformedPolicy
from cloudchamber.services.s3.names import bucket_arn

POLICY_OCTETS_MAX = 20 * 1024
_NARROW = frozenset(
    (
        "aws:sourceip",
        "aws:sourcearn",
        "aws:sourcevpc",
        "aws:sourcevpce",
        "aws:sourceowner",
        "aws:sourceaccount",
        "aws:userid",
        "aws:principalorgid",
        "aws:principalorgpaths",
        "aws:principalarn",
        "aws:principalaccount",
        "s3:x-amz-server-side-encryption-aws-kms-key-id",
        "s3:dataaccesspointarn",
        "s3:dataaccesspointaccount",
    )
)


def check(text: str, bucket: str) -> None:
    """Whether S3 would take the policy for this bucket.

    Raises:
        MalformedPolicy: it would not.
    """
    if len(text.encode()) > POLICY_OCTETS_MAX:
        raise MalformedPolicy("Policy exceeds the maximum allowed document size.")
    try:
        body = json.loads(text)
    except ValueError:
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'") from None
    if not isinstance(body, dict):
        raise MalformedPolicy("Policies must be valid JSON and the first byte must be '{'")
    found = _statements(cast("dict[str, Any]", body))
    if not found:
        raise MalformedPolicy("Missing required field Statement")
    for statement in found:
        _check_statement(statement, bucket)
    try:
        document(text)
    except PolicyError as error:
        raise MalformedPolicy(str(error)) from None


def _check_statement(statement: dict[str, Any], bucket: str) -> None:
    for names in (("Effect",), ("Principal", "NotPrincipal"), ("Action", "NotAction"), ("Resource", "NotResource")):
        if not any(name in statement for name in names):
            raise MalformedPolicy(f"Missing required field {names[0]}")
    if statement["Effect"] not in ("Allow", "Deny"):
        raise MalformedPolicy("Syntax errors in policy.")
    if statement["Effect"] == "Allow" and "NotPrincipal" in statement:
        raise MalformedPolicy("Allow with NotPrincipal is not allowed.")
    for action in _strings(statement.get("Action", statement.get("NotAction"))):
        if action != "*" and not action.lower().startswith("s3:"):
            raise MalformedPolicy("Policy has invalid action")
    for resource in _strings(statement.get("Resource", statement.get("NotResource"))):
        name = resource.removeprefix("arn:aws:s3:::").partition("/")[0]
        fits = name == bucket or "*" in name or "?" in name or "${" in name
        if resource != "*" and (not resource.startswith("arn:aws:s3:::") or not fits):
            raise MalformedPolicy(f"Policy has invalid resource: it must name {bucket_arn(bucket)}")


@lru_cache(1024)
def is_public(text: str) -> bool:
    """Whether a statement lets everybody in without a condition that narrows who that is."""
    return any(_opens(statement) for statement in _statements(json.loads(text)))


@lru_cache(1024)
def restricted(text: str) -> str:
    """The policy without its public statements: what counts while `RestrictPublicBuckets` is on."""
    if not is_public(text):
        return text
    body = json.loads(text)
    kept = [statement for statement in _statements(body) if not _opens(statement)]
    return json.dumps({**body, "Statement": kept}) if kept else ""


def _opens(statement: dict[str, Any]) -> bool:
    if statement.get("Effect") != "Allow":
        return False
    principal = statement.get("Principal")
    everybody = "NotPrincipal" in statement or principal == "*"
    if isinstance(principal, dict):
        everybody = "*" in _strings(cast("dict[str, Any]", principal).get("AWS"))
    if not everybody:
        return False
    for operator, keys in statement.get("Condition", {}).items():
        plain = operator.partition(":")[2] or operator
        if plain.lower().startswith(("stringequals", "stringlike", "arnequals", "arnlike", "ipaddress")):
            for key, values in keys.items():
                if key.lower() in _NARROW and not any(v in ("*", "0.0.0.0/0", "::/0") for v in _strings(values)):
                    return False
    return True


def _statements(body: dict[str, Any]) -> list[dict[str, Any]]:
    written: Any = body.get("Statement", [])
    listed: list[Any] = cast("list[Any]", written) if isinstance(written, list) else [written]
    for statement in listed:
        if not isinstance(statement, dict):
            raise MalformedPolicy("Missing required field Statement")
    return listed


def _strings(value: Any) -> list[str]:
    if isinstance(value, list):
        return [str(v) for v in cast("list[Any]", value)]
    return [] if value is None else [str(value)]
