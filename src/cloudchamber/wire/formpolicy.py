# SPDX-License-Identifier: Apache-2.0
"""The policy of an HTML form: which fields and which file its signer lets others send.

Source: Amazon S3 API Reference, "POST Policy" and "HTML form fields"; Amazon S3 User Guide, "Browser-based uploads
using HTTP POST (AWS signature version 2)".
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from cloudchamber.base.errors import AccessDenied
from cloudchamber.wire.errors import EntityTooLarge, EntityTooSmall, InvalidPolicyDocument

FREE_FIELDS = frozenset(("policy", "signature", "x-amz-signature", "awsaccesskeyid", "file"))
FREE_PREFIXES = ("x-ignore-", "x-amz-checksum-")
"""Checksums speak of the file alone: they can refuse one, and allow none."""
CONDITIONS_MAX = 1000
_RANGE = "content-length-range"


@dataclass(frozen=True, slots=True)
class Condition:
    """``["starts-with", "$key", "photos/"]``: operator and field in lower case, and how the policy writes it."""

    operator: str
    field: str
    value: str
    written: str

    def holds(self, fields: Mapping[str, str]) -> bool:
        """Whether the form's field is there and is what it should be."""
        found = fields.get(self.field)
        if found is None:
            return False
        if self.operator == "eq":
            return found == self.value
        # Why: a list of types may be given, and each of them must begin so (POST Policy, "Condition matching").
        several = found.split(",") if self.field == "content-type" else [found]
        return all(one.strip().startswith(self.value) for one in several)


@dataclass(frozen=True, slots=True)
class FormPolicy:
    """A policy as its signer wrote it."""

    expires: datetime
    conditions: tuple[Condition, ...]
    ranges: tuple[tuple[int, int], ...]
    """How many octets the file may have."""

    def check(self, fields: Mapping[str, str], now: datetime) -> None:
        """Compare a form with its policy; `fields` by names in lower case, `bucket` among them.

        Raises:
            AccessDenied: it is too late, a condition does not hold, or a field stands in no condition.
        """
        if now > self.expires:
            raise AccessDenied("Invalid according to Policy: Policy expired.")
        for condition in self.conditions:
            if not condition.holds(fields):
                raise _failed(condition.written)
        named = {c.field for c in self.conditions} | FREE_FIELDS
        extra = [n for n in fields if n not in named and not n.startswith(FREE_PREFIXES)]
        if extra:
            raise AccessDenied(f"Invalid according to Policy: Extra input fields: {', '.join(extra)}")

    def check_size(self, size: int) -> None:
        """Compare the file's size.

        Raises:
            EntityTooLarge, EntityTooSmall: it is outside of a range.
        """
        for least, most in self.ranges:
            if size > most:
                raise EntityTooLarge(
                    "Your proposed upload exceeds the maximum allowed size",
                    ProposedSize=str(size),
                    MaxSizeAllowed=str(most),
                )
            if size < least:
                raise EntityTooSmall(
                    "Your proposed upload is smaller than the minimum allowed size",
                    ProposedSize=str(size),
                    MinSizeAllowed=str(least),
                )

    @property
    def size_max(self) -> int | None:
        """The most octets that the file may have, None if the policy does not say."""
        return min((most for _, most in self.ranges), default=None)


def read(encoded: str) -> FormPolicy:
    """A policy in base64, as the form carries it.

    Raises:
        InvalidPolicyDocument: it is no policy. AccessDenied: a condition can never hold.
    """
    try:
        document: Any = json.loads(base64.b64decode(encoded, validate=False))
    except (binascii.Error, ValueError, RecursionError):
        raise _invalid("Invalid JSON.") from None
    if not isinstance(document, dict):
        raise _invalid("Invalid JSON.")
    found = cast("dict[str, Any]", document)
    if unknown := set(found) - {"expiration", "conditions"}:
        raise _invalid(f"Unexpected: '{min(unknown)[:64]}'.")
    if "expiration" not in found:
        raise _invalid("Policy missing expiration.")
    if "conditions" not in found:
        raise _invalid("Policy missing conditions.")
    listed = found["conditions"]
    if not isinstance(listed, list) or len(cast("list[Any]", listed)) > CONDITIONS_MAX:
        raise _invalid("Invalid 'conditions' value: must be a List.")
    conditions: list[Condition] = []
    ranges: list[tuple[int, int]] = []
    for one in cast("list[Any]", listed):
        if isinstance(one, list) and _RANGE in (str(word).lower() for word in cast("list[Any]", one)[:1]):
            ranges.append(_range(cast("list[Any]", one)))
        else:
            conditions.append(_condition(one))
    return FormPolicy(_expiration(found["expiration"]), tuple(conditions), tuple(ranges))


def _expiration(value: Any) -> datetime:
    try:
        if not isinstance(value, str) or "T" not in value:
            raise ValueError
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _invalid(f"Invalid 'expiration' value: '{str(value)[:64]}'") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _condition(one: Any) -> Condition:
    if isinstance(one, dict):
        pairs = list(cast("dict[str, Any]", one).items())
        if len(pairs) != 1:
            raise _invalid("Invalid Simple-Condition: Simple-Conditions must have exactly one property specified.")
        operator, name, value = "eq", f"${pairs[0][0]}", pairs[0][1]
        written = json.dumps([operator, name, value], ensure_ascii=False)
    elif isinstance(one, list):
        if len(cast("list[Any]", one)) != 3:
            raise _invalid("Invalid Condition: wrong number of arguments.")
        operator, name, value = cast("list[Any]", one)
        written = json.dumps(one, ensure_ascii=False)
    else:
        raise _invalid("Invalid Condition: must be a List or a Map.")
    if not isinstance(operator, str) or operator.lower() not in ("eq", "starts-with"):
        raise _invalid(f"Invalid Condition: unknown operation '{str(operator)[:64]}'.")
    if not isinstance(name, str) or not isinstance(value, str):
        raise _invalid("Invalid Condition: names and values must be Strings.")
    if not name.startswith("$"):
        raise _failed(written)
    return Condition(operator.lower(), name[1:].lower(), value, written)


def _range(one: list[Any]) -> tuple[int, int]:
    if len(one) != 3:
        raise _invalid("Invalid content-length-range: wrong number of arguments.")
    try:
        least, most = int(one[1]), int(one[2])
    except (ValueError, TypeError):
        raise _failed(json.dumps(one, ensure_ascii=False)) from None
    if least < 0 or most < 0:
        raise _invalid("Invalid content-length-range: sizes must not be negative.")
    return least, most


def _failed(written: str) -> AccessDenied:
    return AccessDenied(f"Invalid according to Policy: Policy Condition failed: {written}")


def _invalid(why: str) -> InvalidPolicyDocument:
    return InvalidPolicyDocument(f"Invalid Policy: {why}")
