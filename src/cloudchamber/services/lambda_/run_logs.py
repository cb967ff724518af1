# SPDX-License-Identifier: Apache-2.0
"""What functions print, on its way to CloudWatch Logs: as the execution role, in batches, behind the run.

A role without the permission has no logs, as on AWS; the track of the run says so.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.base.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.track.track import Trace

_log = logging.getLogger(__name__)
_FLUSH_AFTER_S = 0.2
_PENDING_MAX = 20_000
_BATCH = 5_000
_BATCH_OCTETS = 1_000_000
_OVERHEAD = 26
_REFUSED_S = 10.0
"""After a refusal a role may be given the permission: then it has logs again."""
_LINE_MAX = 200_000
_READ = 65_536
_DRAIN_READS = 4
"""A pipe holds 64 KB; a function that prints without end in the background cannot keep us here."""
_PENDING_OCTETS = 16 * 1024 * 1024


class Stream:
    """One log stream: one environment's. `refused` says why nothing arrives."""

    def __init__(self, group: str, name: str, region: str, principal: Principal) -> None:
        self.group = group
        self.name = name
        self.region = region
        self.principal = principal
        self.pending: deque[dict[str, Any]] = deque()
        self.made = False
        self.refused = ""
        self.again_at = 0.0
        self.trace: Trace | None = None
        self.octets = 0
        """Length of what is pending, in characters."""


class RunLogs:
    """Sends pending lines of all streams."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._streams: set[Stream] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send_for_ever(), name="lambda-logs")

    async def stop(self) -> None:
        """Send what is pending, then stop."""
        # Why not cancel: what is being sent in that moment would be lost.
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._send_all()

    def put(self, stream: Stream, lines: list[str], moment_ms: int, trace: Trace | None) -> None:
        """Add lines; the oldest go when a stream has too many waiting."""
        if not lines or self._doors.clock.monotonic() < stream.again_at:
            return
        stream.pending.extend({"timestamp": moment_ms, "message": line} for line in lines)
        stream.octets += sum(map(len, lines))
        stream.trace = trace or stream.trace
        while len(stream.pending) > _PENDING_MAX or stream.octets > _PENDING_OCTETS:
            stream.octets -= len(stream.pending.popleft()["message"])
        self._streams.add(stream)
        self._wake.set()

    async def _send_for_ever(self) -> None:
        while not self._stopping:
            await self._wake.wait()
            await asyncio.sleep(_FLUSH_AFTER_S)
            self._wake.clear()
            await self._send_all()

    async def _send_all(self) -> None:
        streams, self._streams = self._streams, set()
        for stream in streams:
            try:
                await self._send(stream)
            except ServiceError as error:
                stream.refused = f"{error.code}: {error.message}"[:500]
                stream.again_at = self._doors.clock.monotonic() + _REFUSED_S
                stream.pending.clear()
                stream.octets = 0
            except Exception:  # noqa: BLE001 - the edge: one stream's failure must not stop the others
                _log.exception("log stream %s %s failed", stream.group, stream.name)

    async def _send(self, stream: Stream) -> None:
        while stream.pending:
            batch: list[dict[str, Any]] = []
            octets = 0
            while stream.pending and len(batch) < _BATCH:
                octets += len(stream.pending[0]["message"].encode()) + _OVERHEAD
                if batch and octets > _BATCH_OCTETS:
                    break
                batch.append(stream.pending.popleft())
                stream.octets -= len(batch[-1]["message"])
            if not stream.made:
                await self._make(stream)
            request = {"logGroupName": stream.group, "logStreamName": stream.name, "logEvents": batch}
            try:
                await self._ask(stream, "PutLogEvents", request)
                stream.refused = ""
            except ServiceError as error:
                if error.code != "ResourceNotFoundException":
                    raise
                await self._make(stream)  # somebody deleted the group meanwhile
                await self._ask(stream, "PutLogEvents", request)

    async def _make(self, stream: Stream) -> None:
        """Create the stream, and the group if it is not there: CreateLogGroup is asked for only when needed."""
        arn = Arn("logs", stream.region, stream.principal.account, f"log-group:{stream.group}")
        if self._doors.services["logs"].facts(self._doors, str(arn)) is None:
            await self._make_group(stream)
        request = {"logGroupName": stream.group, "logStreamName": stream.name}
        try:
            await self._ask(stream, "CreateLogStream", request)
        except ServiceError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
        stream.made = True

    async def _make_group(self, stream: Stream) -> None:
        try:
            await self._ask(stream, "CreateLogGroup", {"logGroupName": stream.group})
        except ServiceError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise

    async def _ask(self, stream: Stream, operation: str, request: dict[str, Any]) -> None:
        await self._doors.ask(
            "logs", operation, request, principal=stream.principal, trace=stream.trace, region=stream.region
        )


class Console:
    """What an environment prints, read from the pipe that is its stdout and stderr.

    What was printed before an answer is in the pipe before the answer is in its socket, so `drain` gives a run
    exactly its own lines; and nothing that a function prints can fill the disk.
    """

    def __init__(
        self, descriptor: int, printed: Callable[[list[str]], None], dropped: Callable[[int, int], None]
    ) -> None:
        self.muted = False
        """Whether what is printed is only counted: lines and octets, for `dropped`."""
        self._loop = asyncio.get_running_loop()
        self._descriptor = descriptor
        self._printed = printed
        self._dropped = dropped
        self._partial = b""
        os.set_blocking(descriptor, False)
        self._loop.add_reader(descriptor, self._read)

    def _read(self) -> bool:
        """Take what is there; False when nothing more came."""
        if self._descriptor < 0:
            return False
        try:
            data = os.read(self._descriptor, _READ)
        except (BlockingIOError, InterruptedError):
            return False
        if not data:
            self._shut()
            return False
        if self.muted:
            self._dropped(data.count(b"\n"), len(self._partial) + len(data))
            self._partial = b""
            return True
        whole, feed, partial = (self._partial + data).rpartition(b"\n")
        if len(partial) > _LINE_MAX:
            whole, partial = whole + feed + partial, b""
        self._partial = partial
        if whole:
            self._printed(_lines(whole))
        return True

    def drain(self) -> None:
        """Take everything that was printed by now, also a last line without line feed."""
        for _ in range(_DRAIN_READS):
            if not self._read():
                break
        if self._partial:
            partial, self._partial = self._partial, b""
            self._printed(_lines(partial))

    def close(self) -> None:
        """Take what is left, and close."""
        self.drain()
        self._shut()

    def _shut(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def _lines(data: bytes) -> list[str]:
    """Records of printed text. A carriage return inside one stands for a line break: the runtime writes traces so."""
    found = data.decode("utf-8", "replace").split("\n")
    return [line.replace("\r", "\n")[: _LINE_MAX + _READ] for line in found if line]
