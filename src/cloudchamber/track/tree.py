# SPDX-License-Identifier: Apache-2.0
"""A track as a tree and as text: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.track.track import Segment


@dataclass(frozen=True, slots=True)
class Step:
    """One segment in its place: how deep it is called, and when, in milliseconds after the track began."""

    segment: Segment
    depth: int
    offset_ms: float
    duration_ms: float


def steps(segments: Sequence[Segment]) -> list[Step]:
    """The segments in the order of a walk through the tree; a segment whose parent is unknown is a root."""
    if not segments:
        return []
    known = {s.id for s in segments}
    children: dict[str, list[Segment]] = {}
    for segment in sorted(segments, key=lambda s: s.started):
        parent = segment.parent_id if segment.parent_id in known and segment.parent_id != segment.id else ""
        children.setdefault(parent, []).append(segment)
    began = min(s.started for s in segments)
    out: list[Step] = []
    seen: set[str] = set()

    def walk(parent: str, depth: int) -> None:
        for segment in children.get(parent, []):
            if segment.id in seen:
                continue
            seen.add(segment.id)
            duration_ms = max(0.0, segment.ended - segment.started) * 1000
            out.append(Step(segment, depth, (segment.started - began) * 1000, duration_ms))
            walk(segment.id, depth + 1)

    walk("", 0)
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


def lines(segments: Sequence[Segment]) -> list[str]:
    """The track for a terminal: offset, duration, indentation, what, who, outcome; decisions below."""
    out: list[str] = []
    for step in steps(segments):
        segment = step.segment
        outcome = segment.error or (str(segment.status) if segment.status else "")
        head = f"{step.offset_ms:9.1f} ms {step.duration_ms:8.1f} ms  {'  ' * step.depth}"
        out.append(f"{head}{segment.service} {segment.name}  {segment.resource}  {outcome}".rstrip())
        pad = " " * len(head) + "  "
        if segment.principal:
            out.append(f"{pad}as {segment.principal}")
        out.extend(pad + decision_text(d) for d in segment.decisions)
        if segment.error and segment.notes.get("message"):
            out.append(f"{pad}{segment.notes['message']}")
    return out
