# SPDX-License-Identifier: Apache-2.0
"""Puts SQL statements onto tracks while they go by: those whose comment names a track."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloudchamber.services.rds.control import error_fields
from cloudchamber.services.rds.messages import Frames
from cloudchamber.services.rds.statements import traced
from cloudchamber.track.track import Segment, segment_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.clock import Clock
    from cloudchamber.track.recorder import Recorder

_STATEMENT_MAX = 65_536
_OPEN_MAX = 64
_PARSE = ord("P")


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of an authenticated connection."""

    resource: str
    user: str
    database: str
    principal: str = ""
    decisions: tuple[Mapping[str, Any], ...] = field(default=())


class Observer:
    """One connection. Statements end where a piece from the server ends with ReadyForQuery."""

    def __init__(self, session: Session, recorder: Recorder, clock: Clock) -> None:
        self._session = session
        self._recorder = recorder
        self._clock = clock
        self._frames = Frames(b"QP", _STATEMENT_MAX)
        self._open: list[Segment] = []
        self._first = False

    def from_client(self, piece: bytes) -> None:
        """Look for statements that name a track."""
        for kind, body in self._frames.feed(piece):
            sql = body
            if kind == _PARSE:
                _, _, sql = body.partition(b"\0")
            found = traced(sql.partition(b"\0")[0])
            if found is None or len(self._open) >= _OPEN_MAX:
                continue
            session = self._session
            segment = Segment(
                found.trace.track_id, segment_id(), found.trace.parent_id, "rds", found.name,
                self._clock.now().timestamp(), principal=session.principal, resource=session.resource,
            )  # fmt: skip
            segment.notes.update(user=session.user, database=session.database)
            # Why "earlier": IAM was asked once, when the connection was made
            segment.decisions.extend({**one, "earlier": True} for one in session.decisions)
            self._open.append(segment)
            self._first = True

    def from_server(self, piece: bytes) -> None:
        """Look for the end of the statements that are under way."""
        if not self._open:
            return
        if self._first:
            self._first = False
            self._look_for_error(piece)
        if piece[-6:-1] == b"Z\0\0\0\x05":
            tag = command_tag(piece)
            if tag:
                self._open[-1].notes["result"] = tag
            self._finish()

    def ended(self) -> None:
        """The connection is gone; what was under way has no answer."""
        for segment in self._open:
            segment.status = segment.status or 499
            segment.error = segment.error or "connection closed"
        self._finish()

    def _look_for_error(self, piece: bytes) -> None:
        """An ErrorResponse among the first messages of an answer."""
        at = 0
        for _ in range(16):
            if at + 5 > len(piece) or piece[at : at + 1] in (b"D", b"Z"):
                return
            after = at + 1 + int.from_bytes(piece[at + 1 : at + 5], "big")
            if after <= at + 4:
                return
            if piece[at : at + 1] == b"E":
                fields = error_fields(piece[at + 5 : after])
                segment = self._open[-1]
                segment.status, segment.error = 400, fields.get("C", "")
                return
            at = after

    def _finish(self) -> None:
        now = self._clock.now().timestamp()
        for segment in self._open:
            segment.ended = now
            segment.status = segment.status or 200
            self._recorder.record(segment)
        self._open.clear()


def command_tag(piece: bytes) -> str:
    """The tag of the CommandComplete right before the ReadyForQuery that ends `piece`: ``UPDATE 1``."""
    tail = piece[-80:-6]
    at = tail.rfind(b"C\0\0\0")
    if at < 0 or len(tail) - at - 1 != int.from_bytes(tail[at + 1 : at + 5], "big"):
        return ""
    return tail[at + 5 : -1].decode(errors="replace")
