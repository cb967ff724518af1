# SPDX-License-Identifier: Apache-2.0
"""Lineage: how often each function ran on one chain of calls, carried in the tracing header. Pure.

``Lineage=a87bd80c:1|68fd508a:5``: a short hash of each function's ARN and its count. Only Lambda writes it.
Source: AWS X-Ray Developer Guide, tracing header; Lambda Developer Guide, recursive loop detection.
"""

from __future__ import annotations

import hashlib
import re

RUNS_MAX = 16
"""After this many runs on one chain, the next one is stopped."""
_FUNCTIONS_MAX = 20
_ENTRY = re.compile(r"([0-9a-f]{8}):(\d{1,5})")


def mark(arn: str) -> str:
    """How a function is written in a lineage."""
    return hashlib.sha256(arn.encode()).hexdigest()[:8]


def parse(text: str) -> dict[str, int]:
    """Counts by mark; what is not understood is left out."""
    entries = (_ENTRY.fullmatch(part) for part in text.split("|")[:_FUNCTIONS_MAX])
    return {found[1]: int(found[2]) for found in entries if found}


def runs(text: str, arn: str) -> int:
    """How often the function has run on this chain."""
    return parse(text).get(mark(arn), 0)


def extend(text: str, arn: str) -> str:
    """The lineage with one more run of the function; the oldest other function makes room."""
    counts = parse(text)
    count = counts.pop(mark(arn), 0) + 1
    kept = list(counts.items())[-(_FUNCTIONS_MAX - 1) :]
    return "|".join(f"{name}:{number}" for name, number in (*kept, (mark(arn), count)))
