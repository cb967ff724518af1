# SPDX-License-Identifier: Apache-2.0
"""A second evaluator of policies, written straight from the IAM User Guide: slow, small, and sharing no line with ours.

It reads the JSON at every decision. Tests hold the compiled evaluator against it; `tools bench policy` measures both.
It knows identity policies, boundaries, session and service control policies, not principals.
"""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, cast


@dataclass
class Asked:
    """Who asks what; keys of `context` as people write them."""

    principal: str
    action: str
    resource: str
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])


def decide(asked: Asked, identity: Sequence[Any], *limits: Sequence[Any] | None) -> str:
    """Allowed, ImplicitlyDenied or ExplicitlyDenied; each of `limits` that is not None must allow as well."""
    groups = [identity, *(limit for limit in limits if limit is not None)]
    if any(_says(asked, document, "Deny") for group in groups for document in group):
        return "ExplicitlyDenied"
    allowed = all(any(_says(asked, document, "Allow") for document in group) for group in groups)
    return "Allowed" if allowed else "ImplicitlyDenied"


def _says(asked: Asked, document: Any, effect: str) -> bool:
    variables = document.get("Version") == "2012-10-17"
    return any(s["Effect"] == effect and _holds(asked, s, variables) for s in _many(document["Statement"]))


def _holds(asked: Asked, statement: Any, variables: bool) -> bool:
    for name in ("Action", "NotAction"):
        if name in statement:
            hit = any(_glob(p.lower(), asked.action.lower()) for p in _many(statement[name]))
            if hit is (name == "NotAction"):
                return False
    for name in ("Resource", "NotResource"):
        if name in statement:
            hits = [_arn(p, asked.resource, asked, variables) for p in _many(statement[name])]
            if name == "Resource" and True not in hits:
                return False
            if name == "NotResource" and (True in hits or None in hits):
                return False
    return all(
        _condition(asked, operator, key, [_word(v) for v in _many(values)], variables)
        for operator, keys in statement.get("Condition", {}).items()
        for key, values in keys.items()
    )


def _condition(asked: Asked, operator: str, key: str, wanted: list[str], variables: bool) -> bool:
    over, _, name = operator.rpartition(":")
    has = {k.lower(): v for k, v in asked.context.items()}.get(key.lower())
    values = [] if has is None else [str(v) for v in _many(has)]
    if name == "Null":
        return (has is None) in [w.lower() == "true" for w in wanted]
    if_exists, name = name.endswith("IfExists"), name.removesuffix("IfExists")
    negative = "Not" in name
    positive = name.replace("Not", "", 1)

    def one(value: str) -> bool:
        return any(_compare(positive, value, w, asked, variables) for w in wanted) is not negative

    if over == "ForAllValues":
        return all(one(v) for v in values)
    if over == "ForAnyValue":
        return any(one(v) for v in values)
    if not values:
        return if_exists or negative
    return all(one(v) for v in values) if negative else any(one(v) for v in values)


def _compare(name: str, value: str, wanted: str, asked: Asked, variables: bool) -> bool:
    try:
        if name.startswith("Numeric"):
            return _order(name.removeprefix("Numeric"), _number(value), _number(wanted))
        if name.startswith("Date"):
            return _order(name.removeprefix("Date"), _date(value), _date(wanted))
        if name == "BinaryEquals":
            return base64.b64decode(value, validate=True) == base64.b64decode(wanted, validate=True)
        if name == "IpAddress":
            return ipaddress.ip_address(value) in ipaddress.ip_network(wanted, strict=False)
    except (ValueError, InvalidOperation):
        return False
    if name.startswith("Arn"):
        return _arn(wanted, value, asked, variables) is True
    pattern = _pattern(wanted, asked, variables, wild=name == "StringLike")
    if pattern is None:
        return False
    flags = re.DOTALL | (re.IGNORECASE if name in ("Bool", "StringEqualsIgnoreCase") else 0)
    return re.fullmatch(pattern, value, flags) is not None


def _order(name: str, value: Any, wanted: Any) -> bool:
    return {
        "Equals": value == wanted, "LessThan": value < wanted, "LessThanEquals": value <= wanted,
        "GreaterThan": value > wanted, "GreaterThanEquals": value >= wanted,
    }[name]  # fmt: skip


def _number(text: str) -> Decimal:
    return Decimal(text)


def _date(text: str) -> datetime:
    if re.fullmatch(r"\d{5,}", text):
        return datetime.fromtimestamp(int(text), UTC)
    made = datetime.fromisoformat(text)
    return made if made.tzinfo else made.replace(tzinfo=UTC)


def _glob(pattern: str, value: str) -> bool:
    return fnmatch.fnmatchcase(value, pattern.replace("[", "[[]"))


def _pattern(text: str, asked: Asked, variables: bool, *, wild: bool) -> str | None:
    """A regular expression; None if a variable has no value."""
    lowered = {k.lower(): v for k, v in asked.context.items()}
    made = ""
    for part in re.split(r"(\$\{[^}]*\})", text) if variables else [text]:
        if variables and part.startswith("${") and part.endswith("}"):
            inside = part[2:-1]
            if inside in ("*", "?", "$"):
                made += re.escape(inside)
                continue
            name, comma, default = inside.partition(",")
            values = _many(lowered.get(name.strip().lower(), []))
            value = str(values[0]) if len(values) == 1 else ""
            value = value or (default.strip().strip("'") if comma else None)
            if value is None:
                return None
            made += re.escape(value)
        else:
            made += "".join(".*" if c == "*" and wild else "." if c == "?" and wild else re.escape(c) for c in part)
    return made


def _arn(pattern: str, value: str, asked: Asked, variables: bool) -> bool | None:
    """Whether an ARN fits, part by part; None: it would, for some value of a variable that has none."""
    if pattern == "*":
        return True
    parts = _parts(pattern) + ["*"] * 6
    values = value.split(":", 5)
    if len(values) < 6:
        return False
    unknown = False
    for part, has in zip(parts[:6], values, strict=True):
        made = _pattern(part, asked, variables, wild=True)
        if made is None:
            unknown = True
            made = _pattern(re.sub(r"\$\{[^}*?$]+\}.*" if part is parts[5] else r"\$\{[^}*?$]+\}", "*", part), asked,
                            variables, wild=True)  # fmt: skip
            if part is parts[5]:
                continue
        if made is None or re.fullmatch(made, has, re.DOTALL) is None:
            return False
    return None if unknown else True


def _parts(pattern: str) -> list[str]:
    """Six parts at most; a colon inside a variable divides nothing."""
    held = re.sub(r"\$\{[^}]*\}", lambda hit: hit.group().replace(":", "\0"), pattern)
    return [part.replace("\0", ":") for part in held.split(":", 5)]


def _many(value: Any) -> list[Any]:
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
