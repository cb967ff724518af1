# SPDX-License-Identifier: Apache-2.0
"""Comparing a value with what a pattern says of it: text with ``*``, numbers, regular expressions. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from cloudchamber.services.logs.patterns.regex import Regex
from cloudchamber.services.logs.patterns.scanner import PatternError

if TYPE_CHECKING:
    from cloudchamber.services.logs.patterns.scanner import Words

OPERATORS = ("!=", ">=", "<=", "=", ">", "<")
_NUMBER = re.compile(r"[+-]?(?:\d{1,100}(?:\.\d{0,100})?|\.\d{1,100})(?:[eE][+-]?\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Comparison:
    """An operator and what stands to its right."""

    operator: str
    words: str
    regex: Regex | None
    number: Decimal | None

    def holds(self, text: str) -> bool:
        """Whether a value, as it is written, compares so."""
        if self.operator in ("=", "!="):
            return self._equals(text) == (self.operator == "=")
        value = number(text)
        if value is None or self.number is None:
            return False
        return {
            ">": value > self.number,
            "<": value < self.number,
            ">=": value >= self.number,
            "<=": value <= self.number,
        }[self.operator]

    def _equals(self, text: str) -> bool:
        if self.regex is not None:
            return self.regex.search(text)
        if self.number is not None and (value := number(text)) is not None:
            return value == self.number
        return like(self.words, text)


def number(text: str) -> Decimal | None:
    """The number that a text is, if it is one."""
    if not _NUMBER.fullmatch(text):
        return None
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def compared(operator: str, value: Words | Regex) -> Comparison:
    """A comparison.

    Raises:
        PatternError: an operator of numbers beside what is none.
    """
    ordered = operator not in ("=", "!=")
    if isinstance(value, Regex):
        if ordered:
            raise PatternError("Invalid filter pattern")
        return Comparison(operator, "", value, None)
    numeric = None if value.quoted else number(value.text)
    if ordered and numeric is None:
        raise PatternError("Invalid filter pattern")
    return Comparison(operator, value.text, None, numeric)


def like(pattern: str, text: str) -> bool:
    """Whether a text is as the pattern says, in which ``*`` stands for anything. Never goes back: linear."""
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *middle, last = others
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    place, end = len(first), len(text) - len(last)
    if not text.endswith(last):
        return False
    for piece in middle:
        place = text.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return True
