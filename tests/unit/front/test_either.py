# SPDX-License-Identifier: Apache-2.0
"""HTTP and HTTPS on one port, on uvloop and on asyncio's own loop."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cloudchamber.base.body import FileSlice
from cloudchamber.base.clock import SystemClock
from cloudchamber.front import either
from cloudchamber.front.authority import Authority
from cloudchamber.front.incoming import Incoming
from cloudchamber.front.listener import Listener
from cloudchamber.wire.http import HttpReply, HttpRequest

WITHIN_S = 20
GET = b"GET /%b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


class Scheme:
    """A door that says how it was reached, and sends a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        if request.path == "/file":
            return HttpReply(200, [], FileSlice(self._file, 1, self._file.stat().st_size - 1))
        return HttpReply(200, [], request.scheme.encode())


class Place:
    def __init__(self, listener: Listener, port: int, authority: Authority) -> None:
        self.listener = listener
        self.port = port
        self._trusting = ssl.create_default_context(cafile=str(authority.certificate_path))

    async def open(self, *, secure: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=self._trusting if secure else None)

    async def ask(self, path: bytes, *, secure: bool) -> bytes:
        reader, writer = await self.open(secure=secure)
        writer.write(GET % path)
        answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        return answer.partition(b"\r\n\r\n")[2]


Play = Callable[[Callable[[Place], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest, tmp_path: Path) -> Play:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    authority = Authority(tmp_path / "ca", SystemClock())
    file = tmp_path / "file"
    file.write_bytes(os.urandom(5_000_001))

    def run(scenario: Callable[[Place], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(WITHIN_S):
                listener = Listener(Scheme(file))
                port = listener.listen("127.0.0.1", 0, lambda: authority.https(("127.0.0.1",)))
                try:
                    await scenario(Place(listener, port, authority))
                finally:
                    await listener.close()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


def test_the_first_octet_decides(play: Play, tmp_path: Path) -> None:
    async def scenario(place: Place) -> None:
        asked = [place.ask(b"", secure=bool(n % 2)) for n in range(20)]
        assert await asyncio.gather(*asked) == [b"http", b"https"] * 10

    play(scenario)


def test_a_file_by_either_way(play: Play, tmp_path: Path) -> None:
    async def scenario(place: Place) -> None:
        whole = (tmp_path / "file").read_bytes()[1:]
        for secure in (False, True):
            assert await place.ask(b"file", secure=secure) == whole

    play(scenario)


def test_who_says_nothing_yet_is_waited_for(play: Play) -> None:
    async def scenario(place: Place) -> None:
        reader, writer = await place.open(secure=False)
        assert await place.ask(b"", secure=True) == b"https"
        writer.write(GET % b"")
        assert (await reader.read()).endswith(b"\r\n\r\nhttp")
        writer.close()

    play(scenario)


def test_the_silent_give_way(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(either, "SILENT_MAX", 2)

    async def scenario(place: Place) -> None:
        silent = [await place.open(secure=False) for _ in range(3)]
        assert await silent[0][0].read() == b""
        silent[2][1].write(GET % b"")
        assert (await silent[2][0].read()).endswith(b"\r\n\r\nhttp")
        for _, writer in silent:
            writer.close()

    play(scenario)


def test_the_silent_are_given_up(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(either, "FIRST_OCTET_S", 0.01)

    async def scenario(place: Place) -> None:
        reader, writer = await place.open(secure=False)
        assert await reader.read() == b""
        writer.close()

    play(scenario)


def test_no_handshake(play: Play) -> None:
    async def scenario(place: Place) -> None:
        reader, writer = await place.open(secure=False)
        writer.write(b"\x16 and then nothing of TLS, at length: " + b"x" * 100)
        writer.write_eof()
        await reader.read()  # an alert, and the end
        writer.close()
        assert await place.ask(b"", secure=True) == b"https"

    play(scenario)


def test_a_close_ends_the_silent_too(play: Play) -> None:
    async def scenario(place: Place) -> None:
        reader, writer = await place.open(secure=False)
        assert await place.ask(b"", secure=False) == b"http"
        await place.listener.close()
        assert await reader.read() == b""
        writer.close()

    play(scenario)


def test_handshakes_that_hang_give_way(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(either, "HANDSHAKES_MAX", 3)

    async def scenario(place: Place) -> None:
        hanging = [await place.open(secure=False) for _ in range(5)]
        for _, writer in hanging:
            writer.write(b"\x16")
            await writer.drain()
        assert await place.ask(b"", secure=True) == b"https"
        for reader, _ in hanging[:3]:
            assert await reader.read() == b""
        for _, writer in hanging:
            writer.close()
        assert await place.ask(b"", secure=True) == b"https"

    play(scenario)
