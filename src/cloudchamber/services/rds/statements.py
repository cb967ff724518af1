# SPDX-License-Identifier: Apache-2.0
"""SQL text, pure: the track that a comment names, and the statement without values.

Source: sqlcommenter specification; W3C Trace Context, traceparent.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cloudchamber.track.track import Trace

NAME_MAX = 200
_MARK = re.compile(rb"traceparent='00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}'")
_MARKS_MAX = 8
_VALUES = re.compile(
    r"""(?P<dollar>\$(?P<tag>[A-Za-z_]\w*|)\$[\s\S]*?(?:\$(?P=tag)\$|\Z))"""  # $tag$ ... $tag$
    r"""|[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)"""  # E'...' with escapes
    r"""|(?:[nNbBxX]|[uU]&)?'(?:[^']|'')*(?:'|\Z)"""  # '...'
    r"""|(?P<keep>"(?:[^"]|"")*(?:"|\Z)|\$\d+|[A-Za-z_][\w$]*)"""  # names and placeholders stay
    r"""|\d[\w.]*""",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement that carries a track."""

    trace: Trace
    name: str


def traced(sql: bytes) -> Statement | None:
    """The track that a statement's comment names, and the statement for people; None if it names none."""
    # Why not one pattern for the whole comment: its time would grow with the square of what a client sends.
    if b"traceparent=" not in sql:
        return None
    for turn, found in enumerate(_MARK.finditer(sql)):
        begin, end = sql.rfind(b"/*", 0, found.start()), sql.find(b"*/", found.end())
        if turn >= _MARKS_MAX:
            break
        if begin < 0 or end < 0 or sql.rfind(b"*/", begin + 2, found.start()) >= 0:
            continue
        root, parent = found.group(1).decode(), found.group(2).decode()
        text = (sql[:begin][:4000] + b" " + sql[end + 2 :][:4000]).decode(errors="replace")
        return Statement(Trace(f"1-{root[:8]}-{root[8:]}", parent), shown(text))
    return None


def shown(sql: str) -> str:
    """A statement with ``?`` for every value, in one line, shortened."""
    masked = _VALUES.sub(lambda m: m.group("keep") or "?", sql[: NAME_MAX * 20])
    line = " ".join(masked.split()).rstrip("; ")
    return line if len(line) <= NAME_MAX else line[: NAME_MAX - 1] + "…"
