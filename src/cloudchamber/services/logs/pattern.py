# SPDX-License-Identifier: Apache-2.0
"""Filter patterns for unstructured text. Pure.

``term`` and ``"quoted words"`` must all be in the message, ``-term`` must not, and of ``?term`` one is enough.
Source: CloudWatch Logs User Guide, filter pattern syntax.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudchamber.services.logs.errors import InvalidParameterException

_LENGTH_MAX = 1024
_TERM = re.compile(r'\s*([-?]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))')


@dataclass(frozen=True, slots=True)
class Pattern:
    """A compiled pattern; matching is case-sensitive. Optional terms count only where no term is required."""

    required: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    def matches(self, message: str) -> bool:
        """Whether a message fits."""
        if any(term in message for term in self.excluded):
            return False
        if self.required:
            return all(term in message for term in self.required)
        return not self.optional or any(term in message for term in self.optional)


def parse(text: str) -> Pattern:
    """Read a pattern.

    Raises:
        InvalidParameterException: JSON, space-delimited or regular expression patterns, which are not built here;
            an open quote; too long.
    """
    stripped = text.strip()
    if len(text) > _LENGTH_MAX:
        raise InvalidParameterException(f"filterPattern must have at most {_LENGTH_MAX} characters")
    for start, kind in (("{", "JSON"), ("[", "space-delimited"), ("%", "regular expression")):
        if stripped.startswith(start):
            raise InvalidParameterException(f"filterPattern: {kind} patterns are not supported by this chamber yet")
    terms: dict[str, list[str]] = {"": [], "-": [], "?": []}
    place = 0
    while place < len(stripped):
        found = _TERM.match(stripped, place)
        if found is None:
            raise InvalidParameterException("Invalid filter pattern")
        term = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        if term:
            terms[found[1]].append(term)
        place = found.end()
    return Pattern(tuple(terms[""]), tuple(terms["-"]), tuple(terms["?"]))
