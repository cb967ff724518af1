# SPDX-License-Identifier: Apache-2.0
"""UDP that leaves an instance, flow by flow: to another instance by its private address, or out where a route leads.

An instance's router leads every datagram that belongs to no flow here, with its true destination. A flow that is let
through gets two sockets, one that the sender sees as its peer and one that the peer sees as the sender; what follows
goes from the one to the other, also after the rules changed, as on AWS, until nothing has come for a while.
Source: Amazon EC2 User Guide, Security group connection tracking.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cloudchamber.services.ec2 import tables, ways
from cloudchamber.track.track import Segment, Trace, segment_id

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.services.ec2.filters import Filters
    from cloudchamber.store.database import Reader

_log = logging.getLogger(__name__)
PORT = 15002
"""Port of the router to which datagrams are led."""
IDLE_S = 60.0
_SWEEP_S = 15.0
FLOWS_MAX = 256
"""Of one instance at a time; what would be one more is dropped."""
_WAITING_MAX = 32
"""Datagrams of a flow that is being decided."""
_AT_ONCE = 64
_OCTETS_MAX = 65536
_ORIGINAL_DESTINATION = 20
"""`IP_ORIGDSTADDR` of linux/in.h."""

Key = tuple[tuple[str, int], tuple[str, int]]
"""From where, and to where: address and port."""


@dataclass(slots=True)
class Flow:
    """One sender and one destination. `near` is the sender's peer, `far` leads to the destination."""

    began: float
    last: float
    near: socket.socket | None = None
    far: socket.socket | None = None
    waiting: list[bytes] = field(default_factory=list[bytes])
    sent: int = 0
    received: int = 0
    chosen: ways.Way = field(default_factory=ways.Way)

    def close(self) -> None:
        """End it."""
        for one in (self.near, self.far):
            if one is not None and one.fileno() >= 0:
                asyncio.get_running_loop().remove_reader(one.fileno())
                one.close()


class Datagrams:
    """Carries the datagrams of all instances."""

    def __init__(self, doors: Doors, instances: ways.Instances, filters: Filters) -> None:
        self._doors = doors
        self._instances = instances
        self._filters = filters

    def serve(self, listener: socket.socket, instance_id: str) -> Flows:
        """Carry the datagrams that one instance's router leads to this socket."""
        return Flows(listener, instance_id, self)

    def look(self, instance_id: str, key: Key) -> tuple[tables.Instance | None, ways.Way]:
        """Decide a flow. Nothing may go on for None, or for a way that is refused."""

        def read(db: Reader) -> tuple[tables.Instance | None, ways.Way]:
            row = tables.instance(db, instance_id)
            if row is None or key[0][0] != row.private_ip:
                return None, ways.Way()
            return row, ways.way(db, row, *key[1], protocol="udp")

        row, chosen = self._doors.database.read(read)
        if row is not None and chosen.refused is not None:
            self._filters.refused(row, key[1][1], chosen.refused, "udp")
        return row, chosen

    async def sockets(self, row: tables.Instance, chosen: ways.Way, key: Key) -> tuple[socket.socket, socket.socket]:
        """The two sockets of a flow.

        Raises:
            OSError: one of them cannot be had.
        """
        source, to = key
        mine = self._instances.sandbox(row.id)
        if mine is None:
            raise ConnectionRefusedError(f"{row.id} does not run")
        near = await mine.datagrams(to, source[1])
        try:
            if chosen.peer is None:
                return near, _outside(to)
            theirs = self._instances.sandbox(chosen.peer.id)
            if theirs is None:
                raise ConnectionRefusedError(f"{chosen.peer.id} does not run")
            return near, await theirs.datagrams(source, to[1])
        except BaseException:
            near.close()
            raise

    def now(self) -> float:
        """POSIX seconds."""
        return self._doors.clock.now().timestamp()

    def told(self, instance_id: str, key: Key, flow: Flow) -> None:
        """Put a flow that has ended on a track."""
        row = self._doors.database.read(lambda db: tables.instance(db, instance_id))
        if row is None or flow.far is None:
            return
        peer = flow.chosen.peer
        segment = Segment(
            Trace.begin(int(flow.began)).track_id, segment_id(), "", "ec2", f"send udp {key[1][0]}:{key[1][1]}",
            flow.began, flow.last, status=200, principal=row.arn, resource=peer.arn if peer is not None else row.arn,
        )  # fmt: skip
        segment.notes.update(octets_out=flow.sent, octets_in=flow.received, admitted_by=flow.chosen.by)
        self._doors.recorder.record(segment)


def _outside(to: tuple[str, int]) -> socket.socket:
    if ways.is_own(to[0]):
        raise ConnectionRefusedError(f"{to[0]} is this machine's own")
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.setblocking(False)
        made.connect(to)
    except OSError:
        made.close()
        raise
    return made


class Flows:
    """The flows of one instance; ended with it."""

    def __init__(self, listener: socket.socket, instance_id: str, carrier: Datagrams) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._instance_id = instance_id
        self._carrier = carrier
        self._flows: dict[Key, Flow] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(listener.fileno(), self._readable)
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)

    def _readable(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, further, _, source = self._listener.recvmsg(_OCTETS_MAX, 256)
            except OSError:
                return
            to = _destination(further)
            if to is not None:
                self._first(data, (source[0], source[1]), to)

    def _first(self, data: bytes, source: tuple[str, int], to: tuple[str, int]) -> None:
        """A datagram that belongs to no flow, or to one that is being made."""
        key, now = (source, to), self._carrier.now()
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= FLOWS_MAX:
                return
            flow = self._flows[key] = Flow(now, now)
            task = self._loop.create_task(self._open(key, flow))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if flow.far is not None:
            self._pass(flow, data, outward=True)
        elif len(flow.waiting) < _WAITING_MAX:
            flow.waiting.append(data)

    async def _open(self, key: Key, flow: Flow) -> None:
        try:
            row, flow.chosen = self._carrier.look(self._instance_id, key)
            if row is None or flow.chosen.refused is not None:
                self._flows.pop(key, None)
                return
            flow.near, flow.far = await self._carrier.sockets(row, flow.chosen, key)
        except OSError as error:
            _log.info("a flow of %s to %s:%s could not be opened: %s", self._instance_id, *key[1], error)
            self._flows.pop(key, None)
            return
        except Exception:  # noqa: BLE001 - the edge of one flow; the others go on
            _log.exception("a flow of an instance failed")
            self._flows.pop(key, None)
            return
        self._loop.add_reader(flow.near.fileno(), self._forward, flow, True)
        self._loop.add_reader(flow.far.fileno(), self._forward, flow, False)
        waiting, flow.waiting = flow.waiting, []
        for data in waiting:
            self._pass(flow, data, outward=True)

    def _forward(self, flow: Flow, outward: bool) -> None:
        source = flow.near if outward else flow.far
        assert source is not None
        for _ in range(_AT_ONCE):
            try:
                data = source.recv(_OCTETS_MAX)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody listens there: the error of an earlier datagram, which the sender does not see
            self._pass(flow, data, outward=outward)

    def _pass(self, flow: Flow, data: bytes, *, outward: bool) -> None:
        to = flow.far if outward else flow.near
        flow.last = self._carrier.now()
        assert to is not None
        with contextlib.suppress(OSError):  # a datagram may be lost
            to.send(data)
            if outward:
                flow.sent += len(data)
            else:
                flow.received += len(data)

    def _sweep(self) -> None:
        self._sweeping = self._loop.call_later(_SWEEP_S, self._sweep)
        before = self._carrier.now() - IDLE_S
        # Why not those that are being opened: nobody would close the sockets that they get
        for key, flow in [p for p in self._flows.items() if p[1].last < before and p[1].far is not None]:
            self._end(key, flow)

    def _end(self, key: Key, flow: Flow) -> None:
        self._flows.pop(key, None)
        flow.close()
        self._carrier.told(self._instance_id, key, flow)

    def close(self) -> None:
        """Stop, and end every flow."""
        self._sweeping.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        for key, flow in list(self._flows.items()):
            self._end(key, flow)


def _destination(further: list[tuple[int, int, bytes]]) -> tuple[str, int] | None:
    """The address and port that a datagram was meant for before it was led here."""
    for level, kind, data in further:
        if (level, kind) == (socket.SOL_IP, _ORIGINAL_DESTINATION):
            port, packed = struct.unpack_from("!2xH4s", data)
            return socket.inet_ntoa(packed), port
    return None
