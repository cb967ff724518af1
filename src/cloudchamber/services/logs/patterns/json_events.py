# SPDX-License-Identifier: Apache-2.0
"""Patterns for messages that are JSON: ``{ $.level = "ERROR" && $.n > 3 }``. Pure.

Source: CloudWatch Logs User Guide, "Using filter patterns to match terms in JSON log events".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from cloudchamber.services.logs.patterns import scanner as shared
from cloudchamber.services.logs.patterns.scanner import Scanner
from cloudchamber.services.logs.patterns.values import OPERATORS, Comparison, compared

if TYPE_CHECKING:
    from cloudchamber.services.logs.patterns.scanner import Expression, PatternError

_NAME = re.compile(r"\.([\w\-:@]+)")
_INDEX = re.compile(r"\.?\[\s*(\d{1,9}|\*)\s*\]")
_KEY = re.compile(r"\.?\[\s*(?:'([^']*)'|\"([^\"]*)\")\s*\]")
_BARE = re.compile(r"[\w.*+\-:/@#]+")
_IS = re.compile(r"IS\s+(NULL|TRUE|FALSE)\b|NOT\s+EXISTS\b")
_WILD = "*"
_WILDS_MAX = 3


class _Number(str):
    """A number as the message writes it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Condition:
    """Of what a selector finds: how it compares, or what it is."""

    written: str
    steps: tuple[str | int, ...]
    kind: Literal["compare", "null", "true", "false", "missing"]
    comparison: Comparison | None = None

    def holds(self, document: object) -> bool:
        """Whether one of the values that the selector finds is so."""
        found = self.find(document)
        if self.kind == "missing":
            return not found
        if self.comparison is None:
            return any(value is {"null": None, "true": True, "false": False}[self.kind] for value in found)
        texts = (_text(value) for value in found)
        return any(text is not None and self.comparison.holds(text) for text in texts)

    def find(self, document: object) -> list[Any]:
        """All values at the end of the selector."""
        values: list[Any] = [document]
        for step in self.steps:
            values = [inner for value in values for inner in _below(value, step)]
        return values


def _below(value: Any, step: str | int) -> list[Any]:
    if isinstance(value, list):
        items = cast("list[Any]", value)
        if step == _WILD:
            return items
        return items[step : step + 1] if isinstance(step, int) else []
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        if step == _WILD:
            return list(members.values())
        return [members[step]] if isinstance(step, str) and step in members else []
    return []


def _text(value: object) -> str | None:
    """A value as it compares; nothing for objects, arrays and null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else None


@dataclass(frozen=True, slots=True)
class JsonPattern:
    """Conditions on the values of a JSON message."""

    conditions: Expression[Condition]

    def matches(self, message: str) -> bool:
        """Whether a message is JSON and fits."""
        return self.extract(message) is not None

    def extract(self, message: str) -> dict[str, str] | None:
        """The values of the selectors, where each finds exactly one."""
        if message.lstrip()[:1] != "{":
            return None
        try:
            document = json.loads(message, parse_int=_Number, parse_float=_Number, parse_constant=_Number)
        except (ValueError, RecursionError):
            return None
        if not self.conditions.holds(lambda condition: condition.holds(document)):
            return None
        taken: dict[str, str] = {}
        for condition in self.conditions.leaves():
            found = [_text(value) for value in condition.find(document)]
            if len(found) == 1 and found[0] is not None:
                taken[condition.written] = found[0]
        return taken


def read(text: str) -> JsonPattern:
    """Read what stands between the braces.

    Raises:
        PatternError: no conditions of this form.
    """
    scanner = Scanner(text)
    found = shared.expression(scanner, _condition)
    if not scanner.over:
        raise scanner.error()
    if sum(_WILD in condition.steps for condition in found.leaves()) > _WILDS_MAX:
        raise _refused(f"more than {_WILDS_MAX} wildcard selectors")
    return JsonPattern(found)


def _condition(scanner: Scanner) -> Condition:
    written, steps = _selector(scanner)
    if said := scanner.find(_IS):
        kinds: dict[str, Literal["null", "true", "false", "missing"]] = {
            "NULL": "null", "TRUE": "true", "FALSE": "false", "EXISTS": "missing",
        }  # fmt: skip
        return Condition(written, steps, kinds[said.split()[-1]])
    operator = scanner.take(*OPERATORS)
    if not operator:
        raise scanner.error()
    return Condition(written, steps, "compare", compared(operator, scanner.value(_BARE)))


def _selector(scanner: Scanner) -> tuple[str, tuple[str | int, ...]]:
    if not scanner.take("$"):
        raise scanner.error()
    begun = scanner.place - 1
    steps: list[str | int] = []
    while True:
        rest, place = scanner.text, scanner.place
        if rest.startswith(".*", place):
            steps.append(_WILD)
            scanner.place += 2
        elif name := _NAME.match(rest, place):
            steps.append(name[1])
            scanner.place = name.end()
        elif index := _INDEX.match(rest, place):
            steps.append(_WILD if index[1] == _WILD else int(index[1]))
            scanner.place = index.end()
        elif key := _KEY.match(rest, place):
            steps.append(key[1] if key[1] is not None else key[2])
            scanner.place = key.end()
        else:
            break
    if not steps:
        raise scanner.error()
    if steps.count(_WILD) > 1:
        raise _refused("more than one wildcard in a selector")
    return scanner.text[begun : scanner.place], tuple(steps)


def _refused(why: str) -> PatternError:
    return shared.PatternError(f"Invalid filter pattern: {why}")
