# SPDX-License-Identifier: Apache-2.0
"""Patterns for messages of fields with blanks between them: ``[ip, ..., status = 4* && status != 404, bytes]``. Pure.

What stands in brackets or quotation marks in a message is one field. Source: CloudWatch Logs User Guide, "Using filter
patterns to match terms in space-delimited log events"; CloudWatch Logs API Reference, TestMetricFilter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.services.logs.patterns import scanner as shared
from cloudchamber.services.logs.patterns.scanner import PatternError, Scanner
from cloudchamber.services.logs.patterns.values import OPERATORS, Comparison, compared

if TYPE_CHECKING:
    from cloudchamber.services.logs.patterns.scanner import Expression

_FIELD = re.compile(r'"([^"]*)"|\[([^\]]*)\]|(\S+)')
_NAME = re.compile(r"[A-Za-z_][\w\-]*")
_BARE = re.compile(r"[^\s,()&|\]\"%=<>!]+")
_FIELDS_MAX = 5_000
"""Fields of a message that are looked at; what has more fits no pattern."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its name, if it has one, and what must be so of it."""

    name: str = ""
    conditions: Expression[Comparison] | None = None

    def holds(self, value: str) -> bool:
        """Whether a field of a message is so."""
        return self.conditions is None or self.conditions.holds(lambda one: one.holds(value))


@dataclass(frozen=True, slots=True)
class FieldsPattern:
    """The fields from the left; and from the right, if any number may stand between."""

    left: tuple[Field, ...]
    right: tuple[Field, ...] | None

    def matches(self, message: str) -> bool:
        """Whether a message fits."""
        return self.extract(message) is not None

    def extract(self, message: str) -> dict[str, str] | None:
        """All fields: by their names, or ``$1``, ``$2`` by their places."""
        values = _split(message)
        if values is None:
            return None
        given = [*self.left, *(self.right or ())]
        if len(values) < len(given) or (self.right is None and len(values) > len(given)):
            return None
        between = [Field()] * (len(values) - len(given))
        fields = [*self.left, *between, *(self.right or ())]
        if not all(field.holds(value) for field, value in zip(fields, values, strict=True)):
            return None
        return {f"${field.name or n}": value for n, (field, value) in enumerate(zip(fields, values, strict=True), 1)}


def _split(message: str) -> list[str] | None:
    found: list[str] = []
    for match in _FIELD.finditer(message):
        if len(found) >= _FIELDS_MAX:
            return None
        found.append(next(group for group in match.groups() if group is not None))
    return found


def read(text: str) -> FieldsPattern:
    """Read what stands between the brackets.

    Raises:
        PatternError: no fields of this form, or two places with ``...``.
    """
    scanner = Scanner(text)
    left: list[Field] = []
    right: list[Field] | None = None
    while True:
        if scanner.take("..."):
            if right is not None:
                raise scanner.error()
            right = []
        else:
            (left if right is None else right).append(_field(scanner))
        if scanner.over:
            return FieldsPattern(tuple(left), None if right is None else tuple(right))
        if not scanner.take(","):
            raise scanner.error()


def _field(scanner: Scanner) -> Field:
    names: list[str] = []

    def one(inside: Scanner) -> Comparison:
        names.append(inside.find(_NAME))
        operator = inside.take(*OPERATORS)
        if not operator:
            raise inside.error()
        return compared(operator, inside.value(_BARE))

    begun = scanner.place
    name = scanner.find(_NAME)
    scanner.skip()
    if scanner.place >= len(scanner.text) or scanner.text[scanner.place] == ",":
        return Field(name)
    scanner.place = begun
    conditions = shared.expression(scanner, one)
    if len(set(names)) > 1:
        raise PatternError("Invalid filter pattern")
    return Field(names[0], conditions)
