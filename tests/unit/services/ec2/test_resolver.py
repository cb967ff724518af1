# SPDX-License-Identifier: Apache-2.0
"""Names that an instance asks this machine's resolver for: no private addresses, and no more threads than its share."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from cloudchamber.services.ec2.resolver import Outside

PRIVATE = ("10.0.0.1", "172.16.0.1", "192.168.1.1", "127.0.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1")


def answers(*addresses: str) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in addresses]


async def test_only_addresses_of_the_internet_come_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers(*PRIVATE, "1.1.1.1", "1.1.1.1"))
    outside = Outside()
    assert await outside.ask("rebinding.example", "i-1") == ["1.1.1.1"]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers(*PRIVATE))
    assert await outside.ask("rebinding.example", "i-1") == []
    outside.stop()


async def test_one_instance_leaves_threads_for_the_others(monkeypatch: pytest.MonkeyPatch):
    go = threading.Event()

    def slow(name: str, *_: Any, **__: Any) -> list[Any]:
        if name.startswith("slow"):
            go.wait(60)
        return answers("1.1.1.1")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    outside = Outside()
    many = [asyncio.ensure_future(outside.ask(f"slow{number}.example", "i-bad")) for number in range(50)]
    assert await outside.ask("quick.example", "i-good") == ["1.1.1.1"]
    go.set()
    found = await asyncio.gather(*many)
    assert found.count(["1.1.1.1"]) == 3 and found.count(None) == 47
    assert await outside.ask("slow.example", "i-bad") == ["1.1.1.1"]
    outside.stop()
