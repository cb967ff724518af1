# SPDX-License-Identifier: Apache-2.0
"""A flow that takes long to open is not forgotten before it has sockets that somebody must close."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

from cloudchamber.services.ec2 import datagrams, ways

KEY = ("10.0.0.1", 1), ("10.0.0.2", 2)


class Carrier:
    """Opens a flow when it is told to."""

    def __init__(self) -> None:
        self.at = 0.0
        self.go = asyncio.Event()
        self.made: list[socket.socket] = []

    def now(self) -> float:
        return self.at

    def look(self, instance_id: str, key: Any) -> tuple[Any, ways.Way]:
        return SimpleNamespace(), ways.Way()

    async def sockets(self, *about: Any) -> tuple[socket.socket, ...]:
        await self.go.wait()
        self.made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for one in self.made:
            one.setblocking(False)
        return tuple(self.made)

    def told(self, *about: Any) -> None:
        pass


def test_a_flow_that_is_being_opened_is_not_swept() -> None:
    async def main() -> None:
        carrier: Any = Carrier()
        flows = datagrams.Flows(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "i-1", carrier)
        flows._first(b"x", *KEY)
        (opening,) = flows._tasks
        await asyncio.sleep(0)
        carrier.at = 1000.0
        flows._sweep()
        carrier.go.set()
        await opening
        flows.close()
        assert [one.fileno() for one in carrier.made] == [-1, -1]

    asyncio.run(main())
