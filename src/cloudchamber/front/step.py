# SPDX-License-Identifier: Apache-2.0
"""One step on its track: it begins with a segment, and however it ends, the segment is recorded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.call import Call
from cloudchamber.front.incoming import BodyCut
from cloudchamber.track.track import Segment, track_of

if TYPE_CHECKING:
    from types import TracebackType

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.track.track import Trace

MESSAGE_MAX = 2000


class Step:
    """A context: what is raised inside is written onto `segment`, and goes on."""

    __slots__ = ("doors", "lineage", "now", "segment")

    def __init__(self, doors: Doors, trace: Trace | None, service: str, name: str) -> None:
        """`trace`: where the caller stands; None begins a track."""
        self.doors = doors
        self.now = now = doors.clock.now()
        started = now.timestamp()
        request, digits, own = ids.step()
        if trace is None:
            track, parent, self.lineage = track_of(int(started), digits), "", ""
        else:
            track, parent, self.lineage = trace.track_id, trace.parent_id, trace.lineage
        self.segment = Segment(track, own, parent, service, name, started, request_id=request)

    def call(self, principal: Principal, account: str, region: str) -> Call:
        """The call that comes from inside, in this step."""
        self.segment.principal, self.segment.region = principal.name, region
        return Call(
            principal=principal,
            account=account,
            region=region,
            request_id=self.segment.request_id,
            now=self.now,
            doors=self.doors,
            segment=self.segment,
            lineage=self.lineage,
        )

    def failed(self, error: ServiceError) -> None:
        """The step ends with an error."""
        self.segment.status, self.segment.error = error.status, error.code
        self.segment.notes["message"] = _told(error)

    def __enter__(self) -> Step:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ServiceError):
            self.failed(error)
        elif isinstance(error, BodyCut):
            self.segment.error = "client disconnected"
        elif error is not None:
            self.segment.status, self.segment.error = 500, "InternalFailure"
        self.segment.ended = self.doors.clock.now().timestamp()
        self.doors.recorder.record(self.segment)


def _told(error: ServiceError) -> str:
    """An error's message as tracks keep it: without the canonical request and its session token, without ciphertext."""
    text = error.message.partition("\n\n")[0].partition(". Encoded authorization failure message")[0]
    return text[:MESSAGE_MAX]
