# SPDX-License-Identifier: Apache-2.0
"""Which of the lines that a function prints are detailed beyond its application log level. Pure.

Source: Lambda Developer Guide, "Log-level filtering".
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

_RANKS = {
    "trace": 0, "debug": 1, "info": 2, "warn": 3, "warning": 3, "error": 4, "fatal": 5, "critical": 5,
}  # fmt: skip
_UNSAID = _RANKS["info"]
_MOMENTS = ("timestamp", "time", "@timestamp")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def passing(lines: list[str], least: str) -> list[str]:
    """The lines that are of the level `least` or graver.

    A line is of the level that it says as a JSON object with `level` and an RFC 3339 `timestamp`; otherwise it is INFO.
    """
    rank = _RANKS[least.lower()]
    if not rank:
        return lines
    return [line for line in lines if _rank(line) >= rank]


def _rank(line: str) -> int:
    if not line.startswith("{"):
        return _UNSAID
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return _UNSAID
    record = {name.lower(): value for name, value in cast("dict[str, Any]", found).items()}
    if not any(isinstance(moment := record.get(name), str) and _RFC3339.fullmatch(moment) for name in _MOMENTS):
        return _UNSAID
    return _RANKS.get(str(record.get("level")).lower(), _UNSAID)
