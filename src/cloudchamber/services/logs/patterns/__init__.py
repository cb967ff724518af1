# SPDX-License-Identifier: Apache-2.0
"""Filter patterns: text, JSON and space-delimited, with regular expressions. Pure.

Source: CloudWatch Logs User Guide, "Filter pattern syntax for metric filters, subscription filters, filter log events,
and Live Tail".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.services.logs.patterns import fields, json_events, terms
from cloudchamber.services.logs.patterns.scanner import PATTERN_MAX, PatternError

if TYPE_CHECKING:
    from cloudchamber.services.logs.patterns.scanner import Pattern

__all__ = ["PATTERN_MAX", "PatternError", "parse"]


def parse(text: str) -> Pattern:
    """Read a pattern; a message is then matched in time that grows with its length, whatever both are.

    Raises:
        PatternError: it is none, or longer than 1024 characters.
    """
    stripped = text.strip()
    if len(text) > PATTERN_MAX:
        raise PatternError(f"it has more than {PATTERN_MAX} characters")
    for begin, end, read in (("{", "}", json_events.read), ("[", "]", fields.read)):
        if stripped.startswith(begin):
            if not stripped.endswith(end):
                raise PatternError(f"If a filter pattern starts with '{begin}' it must end with '{end}'")
            return read(stripped[1:-1])
    return terms.read(stripped)
