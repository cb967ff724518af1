# SPDX-License-Identifier: Apache-2.0
"""Flows of datagrams: bounded, in order, ended when idle and with their instance. Real sockets, made-up decisions."""

from __future__ import annotations

import asyncio
import socket

from cloudchamber.services.ec2 import datagrams, ways

RECEIVE_DESTINATION = 20


def udp(*, to: socket.socket | None = None) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.setblocking(False)
    if to is not None:
        made.connect(to.getsockname())
    return made


class Carrier:
    """Lets everything through, to one destination; `gate` holds decisions back."""

    def __init__(self) -> None:
        self.server = udp()
        self.clock = 1000.0
        self.ended: list[tuple[int, int]] = []
        self.opened = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def look(self, instance_id, key):
        return (None if key[1][1] == 9 else instance_id), ways.Way()

    async def sockets(self, row, chosen, key):
        await self.gate.wait()
        self.opened += 1
        near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        near.setblocking(False)
        near.bind(("127.0.0.1", 0))
        near.connect(key[0])
        return near, udp(to=self.server)

    def now(self):
        return self.clock

    def told(self, instance_id, key, flow):
        self.ended.append((flow.sent, flow.received))


def flows() -> tuple[Carrier, datagrams.Flows, socket.socket]:
    listener = udp()
    listener.setsockopt(socket.SOL_IP, RECEIVE_DESTINATION, 1)
    carrier = Carrier()
    return carrier, datagrams.Flows(listener.dup(), "i-1", carrier), listener


async def received(one: socket.socket) -> bytes:
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(one, 70000)


async def test_first_datagrams_wait_in_order_and_answers_come_back():
    carrier, made, listener = flows()
    carrier.gate.clear()
    client = udp()
    for text in (b"one", b"two", b"three"):
        client.sendto(text, listener.getsockname())
    await asyncio.sleep(0)
    carrier.gate.set()
    said = []
    for _ in range(3):
        data, peer = await asyncio.get_running_loop().sock_recvfrom(carrier.server, 100)
        said.append(data)
    assert said == [b"one", b"two", b"three"]
    assert carrier.opened == 1
    carrier.server.sendto(b"answer", peer)
    assert await received(client) == b"answer"
    made.close()
    assert carrier.ended == [(11, 6)]


async def test_a_flow_ends_when_nothing_has_come_for_a_while():
    carrier, made, listener = flows()
    client = udp()
    client.sendto(b"x", listener.getsockname())
    assert await received(carrier.server) == b"x"
    made._sweep()
    assert carrier.ended == []
    carrier.clock += datagrams.IDLE_S + 1
    made._sweep()
    assert carrier.ended == [(1, 0)]
    client.sendto(b"y", listener.getsockname())
    assert await received(carrier.server) == b"y"
    assert carrier.opened == 2
    made.close()


async def test_there_are_only_so_many_flows(monkeypatch):
    monkeypatch.setattr(datagrams, "FLOWS_MAX", 3)
    carrier, made, listener = flows()
    clients = [udp() for _ in range(6)]
    for client in clients:
        client.sendto(b"x", listener.getsockname())
    for _ in range(3):
        assert await received(carrier.server) == b"x"
    await asyncio.sleep(0)
    assert carrier.opened == 3
    made.close()
    assert len(carrier.ended) == 3
