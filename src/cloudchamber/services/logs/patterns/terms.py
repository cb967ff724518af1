# SPDX-License-Identifier: Apache-2.0
"""Patterns for unstructured text. Pure.

``term`` and ``"quoted words"`` must all be in the message, ``-term`` must not, and of ``?term`` one is enough;
``%regular expression%`` is searched for. Source: CloudWatch Logs User Guide, "Using filter patterns to match terms in
unstructured log events".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudchamber.services.logs.patterns.regex import Regex
from cloudchamber.services.logs.patterns.scanner import PatternError, Scanner

_BARE = re.compile(r"\S+")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class TextPattern:
    """Terms. Optional ones count only where there are no others, as the guide says."""

    required: tuple[str | Regex, ...] = ()
    excluded: tuple[str | Regex, ...] = ()
    optional: tuple[str | Regex, ...] = ()

    def matches(self, message: str) -> bool:
        """Whether a message fits."""
        if self.required or self.excluded:
            return all(_inside(term, message) for term in self.required) and not any(
                _inside(term, message) for term in self.excluded
            )
        return not self.optional or any(_inside(term, message) for term in self.optional)

    def extract(self, message: str) -> dict[str, str] | None:
        """Nothing is taken from a text."""
        return {} if self.matches(message) else None


def _inside(term: str | Regex, message: str) -> bool:
    return term in message if isinstance(term, str) else term.search(message)


def read(text: str) -> TextPattern:
    """Read terms.

    Raises:
        PatternError: an open quotation, a term of other characters than letters, digits and ``_`` without quotation
            marks, or no regular expression that is allowed.
    """
    scanner = Scanner(text)
    terms: dict[str, list[str | Regex]] = {"": [], "-": [], "?": []}
    while not scanner.over:
        sign = scanner.take("-", "?")
        if scanner.place < len(text) and text[scanner.place].isspace():
            raise PatternError(f"Invalid character(s) in term '{sign}'")
        value = scanner.value(_BARE)
        if isinstance(value, Regex):
            terms[sign].append(value)
            continue
        if not value.quoted and not _WORD.fullmatch(value.text):
            raise PatternError(f"Invalid character(s) in term '{sign}{value.text[:200]}'")
        if value.text:
            terms[sign].append(value.text)
    return TextPattern(tuple(terms[""]), tuple(terms["-"]), tuple(terms["?"]))
