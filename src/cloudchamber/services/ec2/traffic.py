# SPDX-License-Identifier: Apache-2.0
"""TCP that leaves an instance: to another instance by its private address, or to the internet where a route leads.

An instance's router leads every connection here, with its true destination; what decides is outside of the instance's
reach (`ways`), and the reason is on a track.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import tables, ways
from cloudchamber.services.ec2.opened import Served
from cloudchamber.track.track import Segment, Trace, segment_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.ec2.filters import Filters
    from cloudchamber.services.ec2.ssh import Ssh
    from cloudchamber.store.database import Reader

_log = logging.getLogger(__name__)
PORT = 15001
"""Port of the router to which connections are led."""
_ORIGINAL_DST = 80
"""`SO_ORIGINAL_DST` of linux/netfilter_ipv4.h."""
SSH_PORT = 22
_CONNECTIONS_MAX = 512
"""Of one instance at a time."""
_CONNECT_S = 10.0
_PIECE = 64 * 1024


class Traffic:
    """Carries the connections of all instances."""

    def __init__(self, doors: Doors, instances: ways.Instances, filters: Filters, ssh: Ssh) -> None:
        self._doors = doors
        self._ssh = ssh
        self._instances = instances
        self._filters = filters

    def serve(self, listener: socket.socket, instance_id: str) -> Served:
        """Carry the connections that one instance's router leads to this listener."""
        return outbound(listener, lambda connection: self._carry(connection, instance_id))

    async def _carry(self, connection: socket.socket, instance_id: str) -> None:
        address, port = destination(connection)
        began = self._doors.clock.now().timestamp()

        def look(db: Reader) -> tuple[tables.Instance | None, ways.Way]:
            row = tables.instance(db, instance_id)
            return row, ways.way(db, row, address, port) if row is not None else ways.Way()

        row, chosen = self._doors.database.read(look)
        if row is None or chosen.refused is not None:
            if row is not None and chosen.refused is not None:
                self._filters.refused(row, port, chosen.refused)
            reset(connection)
            return
        try:
            other = await self._dial(row, chosen, address, port)
        except (OSError, TimeoutError) as error:
            if chosen.peer is not None and port == SSH_PORT and isinstance(error, ConnectionRefusedError):
                await self._ssh.serve(connection, chosen.peer.id)
                self._told(row, f"{address}:{port}", began, chosen, {"ssh": "by the chamber"}, 200)
                return
            self._told(row, f"{address}:{port}", began, chosen, {"failed": str(error) or type(error).__name__}, 502)
            reset(connection)
            return
        sent, received = await relay(connection, other)
        self._told(row, f"{address}:{port}", began, chosen, {"octets_out": sent, "octets_in": received}, 200)

    async def _dial(self, row: tables.Instance, chosen: ways.Way, address: str, port: int) -> socket.socket:
        if chosen.peer is not None:
            sandbox = self._instances.sandbox(chosen.peer.id)
            if sandbox is None:
                raise ConnectionRefusedError(f"{chosen.peer.id} does not run")
            return await sandbox.connect(port, _CONNECT_S, source=row.private_ip)
        if ways.is_own(address):
            raise ConnectionRefusedError(f"{address} is this machine's own")
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        made.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await asyncio.get_running_loop().sock_connect(made, (address, port))
        except BaseException:
            made.close()
            raise
        return made

    def _told(
        self, row: tables.Instance, where: str, began: float, chosen: ways.Way, notes: dict[str, object], status: int
    ) -> None:
        now = self._doors.clock.now().timestamp()
        segment = Segment(
            Trace.begin(int(began)).track_id, segment_id(), "", "ec2", f"connect {where}", began, now,
            status=status, error="" if status == 200 else "Unreachable", principal=row.arn,
            resource=chosen.peer.arn if chosen.peer is not None else row.arn,
        )  # fmt: skip
        segment.notes.update(notes, admitted_by=chosen.by)
        self._doors.recorder.record(segment)


def outbound(listener: socket.socket, carry: Callable[[socket.socket], Awaitable[None]]) -> Served:
    """Accept the connections that come to a listener, and carry each."""

    async def carried(connection: socket.socket) -> None:
        try:
            await carry(connection)
        finally:
            connection.close()

    def accept(listener: socket.socket, full: bool) -> Coroutine[Any, Any, None] | None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        if full:
            reset(connection)
            return None
        return carried(connection)

    return Served(listener, _CONNECTIONS_MAX, accept)


def destination(connection: socket.socket) -> tuple[str, int]:
    """The address and port that a connection was meant for before it was led here.

    Raises:
        OSError: it was meant for here.
    """
    raw = connection.getsockopt(socket.SOL_IP, _ORIGINAL_DST, 16)
    port, packed = struct.unpack_from("!2xH4s", raw)
    return socket.inet_ntoa(packed), port


def reset(connection: socket.socket) -> None:
    """End a connection so that its other side notices at once."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


async def relay(one: socket.socket, other: socket.socket) -> tuple[int, int]:
    """Copy both ways until both sides have ended; how many octets went from `one`, and how many to it.

    A side that ends its half leaves the other half open; one that breaks ends both.
    """
    for each in (one, other):
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    try:
        async with asyncio.TaskGroup() as both:
            forth, back = both.create_task(_copy(one, other)), both.create_task(_copy(other, one))
    except ExceptionGroup:
        reset(one)
        reset(other)
        return 0, 0
    finally:
        one.close()
        other.close()
    return forth.result(), back.result()


async def _copy(source: socket.socket, target: socket.socket) -> int:
    loop, count = asyncio.get_running_loop(), 0
    while data := await loop.sock_recv(source, _PIECE):
        await loop.sock_sendall(target, data)
        count += len(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
    return count
