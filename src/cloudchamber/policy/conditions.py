# SPDX-License-Identifier: Apache-2.0
"""Condition operators: one record for each, and how a block of them is compiled.

Source: IAM User Guide, "IAM JSON policy elements: Condition operators" and "Conditions with multiple context keys or
values".
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from cloudchamber.policy import match

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.policy.match import Context, Lookup

    Test: TypeAlias = Callable[[Context], bool]

Sets: TypeAlias = 'Literal["", "ForAllValues", "ForAnyValue"]'


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator. `prepare` makes a test of one value that a policy writes; `negative` turns the result round.

    `prepare` raises ValueError for a value that the operator cannot read; such a value matches nothing.
    """

    name: str
    prepare: Callable[[str, bool], Lookup]
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator with one key and its values, compiled."""

    operator: str
    key: str
    values: tuple[str, ...]
    test: Test
    reads: frozenset[str]
    """Context keys that it consults, in lower case, those of policy variables included."""


def _string(pattern: str, variables: bool) -> Lookup:
    return match.text(pattern, variables=variables, wildcards=False)


def _string_fold(pattern: str, variables: bool) -> Lookup:
    return match.text(pattern, variables=variables, wildcards=False, fold=True)


def _like(pattern: str, variables: bool) -> Lookup:
    return match.text(pattern, variables=variables, wildcards=True)


def _arn(pattern: str, variables: bool) -> Lookup:
    return match.arn(pattern, variables=variables)


@lru_cache(4096)
def number(text: str) -> Decimal:
    """A number as policies and requests write it.

    Raises:
        ValueError: it is none.
    """
    try:
        value = Decimal(text.strip())
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not value.is_finite():
        raise ValueError(text)
    return value


@lru_cache(4096)
def date(text: str) -> datetime:
    """A date in a W3C form of ISO 8601, or as seconds (milliseconds if that long) since 1970.

    Raises:
        ValueError: it is none.
    """
    value = text.strip()
    if value.lstrip("-").replace(".", "", 1).isdigit() and not (len(value) == 4 and value.isdigit()):
        seconds = float(value)
        try:
            return datetime.fromtimestamp(seconds / 1000 if abs(seconds) > 99_999_999_999 else seconds, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(text) from error
    if len(value) == 4:
        value += "-01-01"
    elif len(value) == 7:
        value += "-01"
    parsed = datetime.fromisoformat(value)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _numeric(compare: Callable[[Decimal, Decimal], bool]) -> Callable[[str, bool], Lookup]:
    def prepare(written: str, variables: bool) -> Lookup:
        wanted = number(written)

        def test(value: str, context: Context) -> bool:
            try:
                return compare(number(value), wanted)
            except ValueError:
                return False

        return test

    return prepare


def _dated(compare: Callable[[datetime, datetime], bool]) -> Callable[[str, bool], Lookup]:
    def prepare(written: str, variables: bool) -> Lookup:
        wanted = date(written)

        def test(value: str, context: Context) -> bool:
            try:
                return compare(date(value), wanted)
            except ValueError:
                return False

        return test

    return prepare


def _bool(written: str, variables: bool) -> Lookup:
    return match.text(written, variables=variables, wildcards=False, fold=True)


def _binary(written: str, variables: bool) -> Lookup:
    try:
        wanted = base64.b64decode(written, validate=True)
    except ValueError as error:
        raise ValueError(written) from error

    def test(value: str, context: Context) -> bool:
        try:
            return base64.b64decode(value, validate=True) == wanted
        except (binascii.Error, ValueError):
            return False

    return test


@lru_cache(4096)
def _ip(text: str) -> tuple[int, int]:
    """Version and number of an address.

    Raises:
        ValueError: it is none.
    """
    address = ipaddress.ip_address(text)
    return address.version, int(address)


def _address(written: str, variables: bool) -> Lookup:
    network = ipaddress.ip_network(written.strip(), strict=False)
    kind, first, last = network.version, int(network.network_address), int(network.broadcast_address)

    def test(value: str, context: Context) -> bool:
        try:
            version, address = _ip(value)
        except ValueError:
            return False
        return version == kind and first <= address <= last

    return test


_RECORDS = (
    Operator("StringEquals", _string),
    Operator("StringNotEquals", _string, negative=True),
    Operator("StringEqualsIgnoreCase", _string_fold),
    Operator("StringNotEqualsIgnoreCase", _string_fold, negative=True),
    Operator("StringLike", _like),
    Operator("StringNotLike", _like, negative=True),
    Operator("NumericEquals", _numeric(lambda value, wanted: value == wanted)),
    Operator("NumericNotEquals", _numeric(lambda value, wanted: value == wanted), negative=True),
    Operator("NumericLessThan", _numeric(lambda value, wanted: value < wanted)),
    Operator("NumericLessThanEquals", _numeric(lambda value, wanted: value <= wanted)),
    Operator("NumericGreaterThan", _numeric(lambda value, wanted: value > wanted)),
    Operator("NumericGreaterThanEquals", _numeric(lambda value, wanted: value >= wanted)),
    Operator("DateEquals", _dated(lambda value, wanted: value == wanted)),
    Operator("DateNotEquals", _dated(lambda value, wanted: value == wanted), negative=True),
    Operator("DateLessThan", _dated(lambda value, wanted: value < wanted)),
    Operator("DateLessThanEquals", _dated(lambda value, wanted: value <= wanted)),
    Operator("DateGreaterThan", _dated(lambda value, wanted: value > wanted)),
    Operator("DateGreaterThanEquals", _dated(lambda value, wanted: value >= wanted)),
    Operator("Bool", _bool),
    Operator("BinaryEquals", _binary),
    Operator("IpAddress", _address),
    Operator("NotIpAddress", _address, negative=True),
    Operator("ArnEquals", _arn),
    Operator("ArnNotEquals", _arn, negative=True),
    Operator("ArnLike", _arn),
    Operator("ArnNotLike", _arn, negative=True),
)
OPERATORS = {record.name.lower(): record for record in _RECORDS}


def compile_condition(operator: str, key: str, values: tuple[str, ...], *, variables: bool) -> Condition:
    """Make the test of one operator and key.

    Raises:
        ValueError: there is no such operator.
    """
    over, name, if_exists = split_operator(operator)
    looked_up = key.lower()
    if name == "null":
        wanted = tuple(v.lower() == "true" for v in values)
        return Condition(operator, key, values, _null(looked_up, wanted), frozenset((looked_up,)))
    record = OPERATORS.get(name)
    if record is None:
        raise ValueError(f"no condition operator {operator!r}")
    lookups: list[Lookup] = []
    for value in values:
        try:
            lookups.append(record.prepare(value, variables))
        except ValueError:  # Why: a value that the operator cannot read matches no request
            lookups.append(lambda value, context: False)
    reads = frozenset((looked_up,)).union(*(match.variables_of(match.tokens(v, variables=variables)) for v in values))
    one = _one(tuple(lookups), record.negative)
    test = _over(over, looked_up, one, record.negative, if_exists)
    if record.prepare is _string and not over and len(reads) == 1 and not any("${" in value for value in values):
        test = _among(looked_up, frozenset(values), record.negative, test)
    return Condition(operator, key, values, test, reads)


def _among(key: str, wanted: frozenset[str], negative: bool, otherwise: Test) -> Test:
    """The commonest condition, of one value against fixed ones, without a detour."""

    def test(context: Context) -> bool:
        value = context.get(key)
        return (value in wanted) is not negative if isinstance(value, str) else otherwise(context)

    return test


def split_operator(operator: str) -> tuple[Sets, str, bool]:
    """The qualifier, the operator's name in lower case, and whether it ends in IfExists."""
    qualifier, colon, name = operator.rpartition(":")
    over: Sets = ""
    if colon:
        if qualifier.lower() == "forallvalues":
            over = "ForAllValues"
        elif qualifier.lower() == "foranyvalue":
            over = "ForAnyValue"
        else:
            raise ValueError(f"no condition operator {operator!r}")
    name = name.lower()
    return over, name.removesuffix("ifexists"), name.endswith("ifexists")


def _null(key: str, wanted: tuple[bool, ...]) -> Test:
    return lambda context: (key not in context) in wanted


def _one(lookups: tuple[Lookup, ...], negative: bool) -> Lookup:
    """Several values of a policy: any of them for a positive operator, none of them for a negative one."""
    if len(lookups) == 1 and not negative:
        return lookups[0]

    def test(value: str, context: Context) -> bool:
        return any(look(value, context) for look in lookups) is not negative

    return test


def _over(over: Sets, key: str, one: Lookup, negative: bool, if_exists: bool) -> Test:
    if over == "ForAllValues":

        def every(context: Context) -> bool:
            value = context.get(key, ())
            return all(one(v, context) for v in ((value,) if isinstance(value, str) else value))

        return every
    if over == "ForAnyValue":
        # Why: AWS documents ForAnyValue as false for a missing key, and IfExists does not change the set operator
        def some(context: Context) -> bool:
            value = context.get(key, ())
            return any(one(v, context) for v in ((value,) if isinstance(value, str) else value))

        return some

    absent = if_exists or negative

    def test(context: Context) -> bool:
        value = context.get(key)
        if isinstance(value, str):
            return one(value, context)
        if not value:
            return absent
        # Why: a key with several values needs a set operator; without one AWS compares each, and a negative
        # operator holds only if it holds for each.
        return all(one(v, context) for v in value) if negative else any(one(v, context) for v in value)

    return test
