# SPDX-License-Identifier: Apache-2.0
"""Tracks: the path of one request through the services, in X-Ray's form.

A track is a trace (``1-5759e988-bd862e3fe1be46a994272793``); each step of it is a segment with a parent.
Source: AWS X-Ray Developer Guide, tracing header and segment documents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

from cloudchamber.base import ids

HEADER = "X-Amzn-Trace-Id"
_ROOT = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}")
_SEGMENT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Trace:
    """Where on a track a caller stands: the track's id, and the segment that calls."""

    track_id: str
    parent_id: str = ""
    lineage: str = ""

    def header(self) -> str:
        """The value of ``X-Amzn-Trace-Id`` to hand on."""
        parts = [f"Root={self.track_id}"]
        if self.parent_id:
            parts.append(f"Parent={self.parent_id}")
        parts.append("Sampled=1")
        if self.lineage:
            parts.append(f"Lineage={self.lineage}")
        return ";".join(parts)

    @classmethod
    def begin(cls, epoch_s: int) -> Trace:
        """A new track."""
        return cls(new_track(epoch_s))

    @classmethod
    def parse(cls, header: str) -> Trace | None:
        """Read the header; None if it names no valid track. `Self` (an ALB's own step) counts as no parent."""
        if not header:
            return None
        parts = (part.strip().partition("=") for part in header.split(";")[:8])
        fields = {name: value for name, _, value in parts}
        root = fields.get("Root", "")
        if not _ROOT.fullmatch(root):
            return None
        parent = fields.get("Parent", "")
        return cls(root, parent if _SEGMENT.fullmatch(parent) else "", fields.get("Lineage", "")[:256])


def new_track(epoch_s: int) -> str:
    """Id of a track that begins."""
    return track_of(epoch_s, ids.track_digits())


def track_of(epoch_s: int, digits: str) -> str:
    """Id of the track that began then, with these 24 hexadecimal digits."""
    return f"1-{epoch_s:08x}-{digits}"


def segment_id() -> str:
    """Id of a segment: 16 hexadecimal digits."""
    return ids.segment_id()


@dataclass(slots=True, init=False)
class Segment:
    """One step: one call of a service, one SQL statement, one run of a function, one request to an app.

    ``started`` and ``ended`` are POSIX seconds. `decision` is IAM's, as JSON-able values; `notes` are short
    values for people (never a secret, never a body).
    """

    track_id: str
    id: str
    parent_id: str
    service: str
    name: str
    started: float
    ended: float
    status: int
    error: str
    principal: str
    resource: str
    request_id: str
    access_key: str
    """Id of the long-term key that signed; empty for sessions and for calls from inside."""
    region: str
    decisions: list[dict[str, Any]]
    notes: dict[str, Any]

    # Why written out: one is made for each step of each request, and what the decorator makes is three times as slow.
    def __init__(
        self, track_id: str, id: str, parent_id: str, service: str, name: str, started: float, ended: float = 0.0,
        status: int = 0, error: str = "", principal: str = "", resource: str = "", request_id: str = "",
        access_key: str = "", region: str = "", decisions: list[dict[str, Any]] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.track_id, self.id, self.parent_id = track_id, id, parent_id
        self.service, self.name, self.started, self.ended = service, name, started, ended
        self.status, self.error, self.principal, self.resource = status, error, principal, resource
        self.request_id, self.access_key, self.region = request_id, access_key, region
        self.decisions = [] if decisions is None else decisions
        self.notes = {} if notes is None else notes

    def again(self, digits: str, id: str, request_id: str, started: float, ended: float) -> Segment:
        """The same step of another request, which began the track with these 24 hexadecimal digits."""
        return Segment(
            track_of(int(started), digits), id, "", self.service, self.name, started, ended, self.status, self.error,
            self.principal, self.resource, request_id, self.access_key, self.region, self.decisions, self.notes,
        )  # fmt: skip

    def trace(self, lineage: str = "") -> Trace:
        """What this segment hands on to those that it calls."""
        return Trace(self.track_id, self.id, lineage)


NAMES = tuple(f.name for f in fields(Segment))
"""What a segment consists of."""
