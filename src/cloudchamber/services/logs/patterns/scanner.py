# SPDX-License-Identifier: Apache-2.0
"""What the kinds of patterns have in common: their words, and conditions joined by ``&&`` and ``||``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from cloudchamber.services.logs.patterns.regex import Regex

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERN_MAX = 1024
REGEXES_MAX = 2
_DEPTH_MAX = 20
_SPACE = re.compile(r"\s*")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_REGEX = re.compile(r"%((?:[^%\\]|\\.)*)%")

T = TypeVar("T")


class PatternError(ValueError):
    """The text is no filter pattern; its words say why."""


class Pattern(Protocol):
    """A compiled pattern; matching is case-sensitive."""

    def matches(self, message: str) -> bool:
        """Whether a message fits."""
        ...

    def extract(self, message: str) -> dict[str, str] | None:
        """The values that the pattern takes from a message; None where it does not fit."""
        ...


@dataclass(frozen=True, slots=True)
class Words:
    """A value as it was written: `quoted` says whether in quotation marks."""

    text: str
    quoted: bool = False


class Scanner:
    """Reads a pattern from its left to its right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.place = 0
        self.regexes = 0

    def skip(self) -> None:
        """Pass over blanks."""
        found = _SPACE.match(self.text, self.place)
        self.place = found.end() if found else self.place

    @property
    def over(self) -> bool:
        """Whether nothing but blanks is left."""
        self.skip()
        return self.place >= len(self.text)

    def take(self, *options: str) -> str:
        """The first of these that comes next, or nothing."""
        self.skip()
        for option in options:
            if self.text.startswith(option, self.place):
                self.place += len(option)
                return option
        return ""

    def find(self, expression: re.Pattern[str]) -> str:
        """What fits the expression here, after blanks; or nothing."""
        self.skip()
        found = expression.match(self.text, self.place)
        if found is None:
            return ""
        self.place = found.end()
        return found[0]

    def value(self, bare: re.Pattern[str]) -> Words | Regex:
        """A value: ``"quoted"``, ``%regular expression%``, or as it is."""
        self.skip()
        if quoted := _QUOTED.match(self.text, self.place):
            self.place = quoted.end()
            return Words(re.sub(r"\\(.)", r"\1", quoted[1]), quoted=True)
        if self.text.startswith("%", self.place):
            return self.regex()
        plain = self.find(bare)
        if not plain:
            raise self.error()
        return Words(plain)

    def regex(self) -> Regex:
        """A regular expression between percent signs."""
        found = _REGEX.match(self.text, self.place)
        if found is None:
            raise self.error()
        self.place = found.end()
        self.regexes += 1
        if self.regexes > REGEXES_MAX:
            raise PatternError(f"Invalid filter pattern: it has more than {REGEXES_MAX} regular expressions")
        try:
            return Regex(found[1])
        except ValueError as error:
            raise PatternError(f"Invalid filter pattern: {error}") from error

    def error(self) -> PatternError:
        """That it cannot be read on from here."""
        return PatternError("Invalid filter pattern")


@dataclass(frozen=True, slots=True)
class Expression(Generic[T]):
    """A condition of its own, or several, of which all or one must hold."""

    leaf: T | None = None
    every: bool = True
    parts: tuple[Expression[T], ...] = ()

    def holds(self, test: Callable[[T], bool]) -> bool:
        """Whether it holds, where `test` says it of one condition."""
        if self.leaf is not None:
            return test(self.leaf)
        return (all if self.every else any)(part.holds(test) for part in self.parts)

    def leaves(self) -> list[T]:
        """All its conditions."""
        if self.leaf is not None:
            return [self.leaf]
        return [leaf for part in self.parts for leaf in part.leaves()]


def expression(scanner: Scanner, one: Callable[[Scanner], T], depth: int = 0) -> Expression[T]:
    """Conditions joined by ``&&``, which binds closer, and ``||``, with parentheses.

    Raises:
        PatternError: not of that form, or too deep.
    """
    if depth > _DEPTH_MAX:
        raise PatternError(f"Invalid filter pattern: more than {_DEPTH_MAX} parentheses in each other")

    def single() -> Expression[T]:
        if not scanner.take("("):
            return Expression(one(scanner))
        inner = expression(scanner, one, depth + 1)
        if not scanner.take(")"):
            raise scanner.error()
        return inner

    def joined() -> Expression[T]:
        parts = [single()]
        while scanner.take("&&"):
            parts.append(single())
        return parts[0] if len(parts) == 1 else Expression(None, True, tuple(parts))

    parts = [joined()]
    while scanner.take("||"):
        parts.append(joined())
    return parts[0] if len(parts) == 1 else Expression(None, False, tuple(parts))
