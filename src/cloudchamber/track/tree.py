# SPDX-License-Identifier: Apache-2.0
"""A track as a tree and as text: pure."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.track.track import Segment

COMMAND_LINE = "cloudchamber"
"""What a step that the person's own command line asked for is called."""
_LOOKS = ("Describe", "List", "Get", "Head")
_HOUSEKEEPING = ("sts", "logs")


@dataclass(frozen=True, slots=True)
class Step:
    """One segment in its place: how deep it is called, and when, in milliseconds after the track began."""

    segment: Segment
    depth: int
    offset_ms: float
    duration_ms: float


def steps(segments: Sequence[Segment]) -> list[Step]:
    """The segments in the order of a walk through the tree.

    A segment whose parent is unknown is a root; of segments that call each other in a circle (anybody may send any
    header), the earliest is.
    """
    if not segments:
        return []
    ordered = sorted({s.id: s for s in segments}.values(), key=lambda s: s.started)
    known = {s.id for s in ordered}
    children: dict[str, list[Segment]] = {}
    roots: list[Segment] = []
    for segment in ordered:
        if segment.parent_id in known and segment.parent_id != segment.id:
            children.setdefault(segment.parent_id, []).append(segment)
        else:
            roots.append(segment)
    began = ordered[0].started
    out: list[Step] = []
    seen: set[str] = set()
    for root in (*roots, *ordered):
        waiting = [(root, 0)]
        while waiting:
            segment, depth = waiting.pop()
            if segment.id in seen:
                continue
            seen.add(segment.id)
            duration_ms = max(0.0, segment.ended - segment.started) * 1000
            out.append(Step(segment, depth, (segment.started - began) * 1000, duration_ms))
            waiting.extend((child, depth + 1) for child in reversed(children.get(segment.id, [])))
    return out


def title(segments: Sequence[Segment]) -> str:
    """What a track is about: its first step."""
    walked = steps(segments)
    return f"{walked[0].segment.service} {walked[0].segment.name}" if walked else ""


def decision_text(decision: dict[str, Any]) -> str:
    """A decision in one line: `allowed s3:PutObject by statement Files of AppPolicy (identity)`."""
    verdict = "allowed" if decision.get("allowed") else "DENIED"
    by = [_place(place) for place in decision.get("because", [])]
    text = f"{verdict} {decision.get('action', '')}"
    if by:
        return f"{text} by {', '.join(by)}"
    return f"{text} {decision.get('reason') or 'as the account itself'}"


def _place(place: dict[str, Any]) -> str:
    return f"statement {place.get('sid') or place.get('statement')} of {place.get('policy')}"


def short(arn: str) -> str:
    """An ARN for people: without the parts that are the same everywhere.

    ``user/ann``, ``bucket/key``, ``role/App (i-1)`` for a session; anything else stays as it is.
    """
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[0] != "arn":
        return arn
    kind, _, rest = parts[5].partition("/")
    if parts[2] == "sts" and kind == "assumed-role":
        role, _, session = rest.partition("/")
        return f"role/{role} ({session})"
    return parts[5]


def background(segments: Sequence[Segment]) -> bool:
    """Whether a track is of no interest by itself: somebody only looked, or a service renewed what it holds."""
    first = steps(segments)[0].segment
    if first.service == COMMAND_LINE:  # Why whatever it heard: "there is none" is what many only want to know
        return all(s.name.startswith(_LOOKS) for s in segments if s is not first)
    if any(s.error for s in segments):
        return False
    return first.principal.endswith(".amazonaws.com") and all(s.service in _HOUSEKEEPING for s in segments)


def lines(segments: Sequence[Segment], width: int = 100) -> list[str]:
    """The track for a terminal: offset, duration, indentation, what, outcome; who, decisions and messages below."""
    out: list[str] = []
    for step in steps(segments):
        segment = step.segment
        outcome = segment.error or (str(segment.status) if segment.status else "")
        head = f"{step.offset_ms:8.1f} {step.duration_ms:8.1f} ms  {'  ' * min(step.depth, 12)}"
        what = f"{segment.service} {segment.name}"
        room = width - len(head) - len(what) - len(outcome) - 4
        words = (what, _middle(short(segment.resource), max(room, 16)), outcome)
        out.append(one_line(head + "  ".join(word for word in words if word)))
        pad = " " * (len(head) + 2)
        below = [f"as {short(segment.principal)}"] if segment.principal else []
        below += [decision_text(d) for d in segment.decisions]
        told = segment.notes.get("message") or segment.notes.get("reason")
        if segment.error and told and not _says_it(segment):
            below.append(str(told))
        for text in below:
            out += textwrap.wrap(
                one_line(text), width, initial_indent=pad, subsequent_indent=pad + "  ", break_on_hyphens=False
            )
    return out


def _says_it(segment: Segment) -> bool:
    """Whether a decision tells already what the error's message says."""
    return any(not d.get("allowed") for d in segment.decisions)


def _middle(text: str, room: int) -> str:
    """Text that fits, its end kept: that is what differs."""
    if len(text) <= room:
        return text
    keep = (room - 1) * 2 // 3
    return f"{text[: room - 1 - keep]}…{text[-keep:]}"


def one_line(text: str) -> str:
    """Text without control characters: names come from anybody, and terminals obey."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)
