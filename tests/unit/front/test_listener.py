# SPDX-License-Identifier: Apache-2.0
"""The listener against raw sockets, as an enemy would speak, on uvloop and on asyncio's own loop."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from cloudchamber.base.body import FileSlice, read_all
from cloudchamber.front import connection as limits
from cloudchamber.front import either
from cloudchamber.front.incoming import BODY_WINDOW, BodyCut
from cloudchamber.front.listener import Incoming, Listener
from cloudchamber.wire.http import HttpReply, HttpRequest

Answer = Callable[[HttpRequest, Incoming], Coroutine[Any, Any, HttpReply]]
WITHIN_S = 20


class Room:
    """A door that answers by path, and remembers who came."""

    def __init__(self, answer: Answer) -> None:
        self.seen: list[HttpRequest] = []
        self.cut = asyncio.Event()
        self._answer = answer

    async def handle(self, request: HttpRequest, body: Incoming) -> HttpReply:
        self.seen.append(request)
        try:
            return await self._answer(request, body)
        except BodyCut:
            self.cut.set()
            raise


async def echo(request: HttpRequest, body: Incoming) -> HttpReply:
    octets = await read_all(body, 64 * 1024 * 1024)
    return HttpReply(200, [("X-Target", f"{request.path}|{request.query}")], octets)


async def deny(request: HttpRequest, body: Incoming) -> HttpReply:
    return HttpReply(403, [], b"no")


def no_tls() -> ssl.SSLContext:
    raise AssertionError("nobody speaks TLS here")


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *octets: bytes) -> None:
        for part in octets:
            self.writer.write(part)
            await self.writer.drain()

    async def reply(self, *, head: bool = False) -> tuple[int, dict[str, str], bytes]:
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        lines = text.split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:] if line)}
        status = int(lines[0].split()[1])
        body = b""
        if head or status in (100, 204, 304):
            pass
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            while size := int(await self.reader.readline(), 16):
                body += await self.reader.readexactly(size)
                await self.reader.readexactly(2)
            await self.reader.readexactly(2)
        else:
            body = await self.reader.read()
        return status, headers, body

    async def ended(self) -> bytes:
        """What still comes before the server ends the connection."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


Scenario = Callable[[Listener, Callable[[], Coroutine[Any, Any, Client]]], Coroutine[Any, Any, None]]
Play = Callable[..., None]


@pytest.fixture(params=["asyncio", "uvloop"])
def play(request: pytest.FixtureRequest) -> Play:
    """Run a scenario against a listener with a given answer."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def run(scenario: Scenario, answer: Answer = echo, **options: int) -> None:
        async def main() -> None:
            async with asyncio.timeout(WITHIN_S):
                listener = Listener(Room(answer), **options)
                port = listener.listen("127.0.0.1", 0, no_tls)
                clients: list[Client] = []

                async def connect() -> Client:
                    clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
                    return clients[-1]

                try:
                    await scenario(listener, connect)
                finally:
                    for client in clients:
                        client.close()
                    await listener.close()

        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())

    return run


def post(body: bytes, *headers: bytes, path: bytes = b"/") -> bytes:
    lines = b"".join(h + b"\r\n" for h in headers)
    return b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n%b" % (path, len(body), lines, body)


async def emptied(listener: Listener) -> None:
    """Wait until no connection is left: nothing may hold one for ever."""
    while listener.connections:  # noqa: ASYNC110 - there is no event for "the last one went"
        await asyncio.sleep(0.005)


def test_requests_on_one_connection_are_answered_in_order(play: Play) -> None:
    async def slow_first(request: HttpRequest, body: Incoming) -> HttpReply:
        if request.path == "/0":
            await asyncio.sleep(0.02)
        return await echo(request, body)

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        count = 100  # more than the queue holds
        await client.send(b"".join(post(b"body %d" % i, path=b"/%d" % i) for i in range(count)))
        for i in range(count):
            status, headers, body = await client.reply()
            assert (status, headers["x-target"], body) == (200, f"/{i}|", b"body %d" % i)

    play(scenario, slow_first)


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: "
UPGRADE = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
BOTH_WAYS = {
    "length and coding": CHUNKED + b"chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
    "same length twice": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "a list of lengths": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
    "signed length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
    "huge length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    "folded line": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
    "bare line feed": b"GET / HTTP/1.1\nHost: x\n\n",
    "bare carriage return": b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
    "space before colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "nul": b"GET / HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
    "other coding": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "coding in 1.0": b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "another host in the target": b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "http 0.9": b"GET /\r\n\r\n",
    "http 2": b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "upgrade with a body": UPGRADE + b"Content-Length: 3\r\n\r\nabc",
    "scheme": b"GET file:///etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_what_can_be_read_in_two_ways_is_refused(play: Play, name: str) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(BOTH_WAYS[name])
        status, headers, _ = await client.reply()
        assert status in (400, 501, 505)
        assert headers["connection"] == "close"
        assert await client.ended() == b""
        assert listener.door.seen == []  # type: ignore[attr-defined]

    play(scenario)


def test_what_follows_a_refused_request_is_never_read_as_one(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(post(b"one"), BOTH_WAYS["two lengths"], post(b"smuggled"))
        assert (await client.reply())[2] == b"one"
        assert (await client.reply())[0] == 400
        assert await client.ended() == b""
        assert len(listener.door.seen) == 1  # type: ignore[attr-defined]

    play(scenario)


def test_broken_chunks_end_the_request(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
        assert (await client.reply())[0] == 400
        assert await client.ended() == b""

    play(scenario)


@pytest.mark.parametrize(
    "flood",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 1000,
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * (1024 * 1024),
        b"GET /" + b"a" * (1024 * 1024),
        b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;" + b"e" * (2 * 1024 * 1024),
        b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: " + b"e" * (2 * 1024 * 1024),
    ],
    ids=["many headers", "a long header", "a long target", "a long extension", "a long trailer"],
)
def test_floods_are_cut(play: Play, flood: bytes) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        try:
            await client.send(*(flood[i : i + 65536] for i in range(0, len(flood), 65536)))
            assert (await client.reply())[0] == 431
        except ConnectionError:
            pass
        await emptied(listener)

    play(scenario)


def test_continue_is_sent_when_the_body_is_read(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        for _ in range(2):
            await client.send(post(b"", b"Expect: 100-continue").replace(b"Length: 0", b"Length: 5"))
            assert (await client.reply())[0] == 100
            await client.send(b"hello")
            assert (await client.reply())[2] == b"hello"

    play(scenario)


def test_a_denied_upload_is_answered_without_continue(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000000\r\nExpect: 100-continue\r\n\r\n")
        status, headers, body = await client.reply()
        assert (status, headers["connection"], body) == (403, "close", b"no")
        assert await client.ended() == b""

    play(scenario, deny)


def test_a_denied_upload_that_did_not_wait_keeps_the_connection_in_step(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        for _ in range(3):
            await client.send(post(b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * 100_000))
            assert (await client.reply())[0] == 403
        assert {r.path for r in listener.door.seen} == {"/"}  # type: ignore[attr-defined]

    play(scenario, deny)


def test_the_reply_to_a_denied_large_upload_arrives(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n", b"x" * 200_000)
        assert (await client.reply())[::2] == (403, b"no")
        client.close()
        await emptied(listener)

    play(scenario, deny)


def test_a_body_that_nobody_reads_is_read_no_further(play: Play) -> None:
    async def never(request: HttpRequest, body: Incoming) -> HttpReply:
        await held.wait()
        sizes.append(body.size)
        return HttpReply(200)

    held = asyncio.Event()
    sizes: list[int] = []

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        client.writer.write(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 64000000\r\n\r\n" + b"x" * 32_000_000)
        (served,) = await _until(lambda: list(listener.connections))
        await _until(lambda: served._paused)
        held.set()
        assert (await client.reply())[0] == 200
        assert sizes[0] < BODY_WINDOW + 512 * 1024

    play(scenario, never)


async def _until(found: Callable[[], Any]) -> Any:
    while not (value := found()):  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.002)
    return value


def test_head_and_empty_replies_have_no_body(play: Play) -> None:
    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        if request.path == "/304":
            return HttpReply(304, [("ETag", '"x"')])
        return HttpReply(204) if request.path == "/204" else HttpReply(200, [], b"twelve bytes")

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
        status, headers, _ = await client.reply(head=True)
        assert (status, headers["content-length"]) == (200, "12")
        for path in (b"/204", b"/304"):
            await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            status, headers, _ = await client.reply()
            assert status == int(path[1:])
            assert "content-length" not in headers
            assert "transfer-encoding" not in headers
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.reply())[2] == b"twelve bytes"

    play(scenario, answer)


def test_a_client_that_goes_in_the_middle_of_its_upload_frees_everything(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", b"x" * 1000)
        await _until(lambda: listener.door.seen)  # type: ignore[attr-defined]
        client.reset()
        await listener.door.cut.wait()  # type: ignore[attr-defined]
        await emptied(listener)

    play(scenario)


@pytest.fixture
def large(tmp_path: Path) -> tuple[Path, bytes]:
    path = tmp_path / "large"
    data = os.urandom(1024 * 1024) * 24
    path.write_bytes(data)
    return path, data


def test_a_large_file_reaches_a_slow_reader_and_the_connection_goes_on(play: Play, large: tuple[Path, bytes]) -> None:
    path, data = large

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        if request.path == "/text":
            return HttpReply(200, [], b"text")
        return HttpReply(206, [], FileSlice(path, 1000, len(data) - 2000))

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /text HTTP/1.1\r\nHost: x\r\n\r\n")
        (served,) = await _until(lambda: list(listener.connections))
        await _until(lambda: served._out.full)  # the socket is full: only now do we read
        for _ in range(2):
            status, _, body = await client.reply()
            assert status == 206
            assert body == data[1000:-1000]
        assert (await client.reply())[2] == b"text"

    play(scenario, answer)


def test_a_client_that_goes_in_the_middle_of_a_file_frees_everything(play: Play, large: tuple[Path, bytes]) -> None:
    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [], FileSlice(large[0], 0, len(large[1])))

    async def scenario(listener: Listener, connect: Any) -> None:
        before = 0
        for end in (Client.close, Client.reset, Client.close):
            client = await connect()
            await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await client.reader.readexactly(100_000)
            (served,) = await _until(lambda: list(listener.connections))
            end(client)
            await emptied(listener)
            await _until(lambda served=served: served.task is None)
            # Why not counted before: the loop keeps one of its own from its first connection on
            before = before or len(os.listdir("/proc/self/fd"))
        await _until(lambda: len(os.listdir("/proc/self/fd")) <= before)

    play(scenario, answer)


def test_a_file_that_is_gone_is_a_500_and_not_half_a_reply(play: Play, tmp_path: Path) -> None:
    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [], FileSlice(tmp_path / "gone", 0, 10))

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await client.reply())[0] == 500
        assert await client.ended() == b""

    play(scenario, answer)


def test_a_stream_waits_for_its_reader_and_is_closed_when_the_reader_goes(play: Play) -> None:
    made: list[int] = []
    closed = asyncio.Event()

    async def stream() -> AsyncIterator[bytes]:
        try:
            for i in range(4096):
                made.append(i)
                yield b"x" * 65536
        finally:
            closed.set()

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [], stream())

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        (served,) = await _until(lambda: list(listener.connections))
        await _until(lambda: served._out.full)
        assert len(made) < 1000
        client.reset()
        await closed.wait()
        await emptied(listener)

    play(scenario, answer)


def test_streams_are_chunked_for_11_and_end_with_the_connection_for_10(play: Play) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"one "
        yield b""
        yield b"two"

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [], stream())

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        for _ in range(2):
            _, headers, body = await client.reply()
            assert (headers["transfer-encoding"], body) == ("chunked", b"one two")
        await client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        _, headers, body = await client.reply()
        assert "transfer-encoding" not in headers
        assert body == b"one two"

    play(scenario, answer)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a%2Fb//c?x=%20&y", "/a%2Fb//c", "x=%20&y"),
        (b"http://x/p?q=http://z/", "/p", "q=http://z/"),
        (b"http://x?q", "/", "q"),
        (b"http://x", "/", ""),
    ],
)
def test_targets_stay_as_they_were_signed(play: Play, target: bytes, path: str, query: str) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target)
        assert (await client.reply())[1]["x-target"] == f"{path}|{query}"

    play(scenario)


def test_the_connection_is_closed_when_the_client_asks(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        for request in (post(b"x", b"Connection: close"), b"GET / HTTP/1.0\r\n\r\n"):
            client = await connect()
            await client.send(request)
            assert (await client.reply())[1]["connection"] == "close"
            assert await client.ended() == b""

    play(scenario)


def test_a_client_that_only_stops_sending_gets_its_answers(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        client.writer.write(post(b"one") + post(b"two"))
        client.writer.write_eof()
        assert [(await client.reply())[2] for _ in range(2)] == [b"one", b"two"]
        assert await client.ended() == b""

    play(scenario)


def test_an_offer_of_another_protocol_is_not_taken(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        status, headers, _ = await client.reply()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended() == b""

    play(scenario)


def test_line_breaks_in_replies_make_no_headers(play: Play) -> None:
    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [("X-A", "b\r\nX-Evil: 1"), ("X-B\r\nX-Evil", "2")])

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert "x-evil" not in (await client.reply())[1]

    play(scenario, answer)


@pytest.mark.parametrize(
    ("sent", "limit"),
    [(b"", "IDLE_S"), (b"GET / HT", "HEAD_S"), (post(b"x" * 10)[:-5], "STALL_S")],
    ids=["silence", "half a head", "half a body"],
)
def test_clients_that_keep_us_waiting_are_ended(
    play: Play, monkeypatch: pytest.MonkeyPatch, sent: bytes, limit: str
) -> None:
    monkeypatch.setattr(limits, "WATCH_S", 0.01)
    monkeypatch.setattr(limits, limit, 0.05)
    monkeypatch.setattr(either, "FIRST_OCTET_S", 0.05)

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(sent)
        await client.ended()
        await emptied(listener)

    play(scenario)


def test_a_reader_that_stops_is_ended(play: Play, monkeypatch: pytest.MonkeyPatch, large: tuple[Path, bytes]) -> None:
    monkeypatch.setattr(limits, "WATCH_S", 0.01)
    monkeypatch.setattr(limits, "STALL_S", 0.05)

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [], FileSlice(large[0], 0, len(large[1])) if request.path == "/f" else large[1])

    async def scenario(listener: Listener, connect: Any) -> None:
        for path in (b"/f", b"/b"):
            client = await connect()
            await client.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
            await client.reader.readexactly(1000)
            await emptied(listener)

    play(scenario, answer)


def test_a_slow_operation_is_not_the_clients_fault(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WATCH_S", 0.005)
    for name in ("IDLE_S", "STALL_S", "HEAD_S"):
        monkeypatch.setattr(limits, name, 0.3)

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        await asyncio.sleep(1.0)
        return await echo(request, body)

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(post(b"late"))
        assert (await client.reply())[2] == b"late"

    play(scenario, answer)


def test_one_connection_too_many_is_told_so(play: Play) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        asked.set()
        await go_on.wait()
        return HttpReply(200, [], b"done")

    async def scenario(listener: Listener, connect: Any) -> None:
        first = await connect()
        await first.send(post(b"a"))
        await asked.wait()
        second = await connect()
        await second.send(post(b"b"))
        assert (await second.reply())[0] == 503
        go_on.set()
        assert (await first.reply())[2] == b"done"

    play(scenario, answer, connections_max=1)


def test_the_longest_idle_connection_makes_room(play: Play) -> None:
    async def scenario(listener: Listener, connect: Any) -> None:
        first, second = await connect(), await connect()
        for client in (first, second):
            await client.send(post(b"a"))
            assert (await client.reply())[0] == 200
        third = await connect()
        await third.send(post(b"b"))
        assert (await third.reply())[2] == b"b"
        assert await first.ended() == b""
        await second.send(post(b"c"))
        assert (await second.reply())[2] == b"c"
        assert len(listener.connections) == 2

    play(scenario, connections_max=2)


def test_a_sandbox_counts_for_itself_and_is_named_as_the_peer(play: Play) -> None:
    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        return HttpReply(200, [], request.peer.encode())

    async def scenario(listener: Listener, connect: Any) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        server = await listener.serve(sock, peer="172.31.0.9")
        inside = Client(*await asyncio.open_connection(*sock.getsockname()[:2]))
        await inside.send(post(b""))
        assert (await inside.reply())[2] == b"172.31.0.9"
        second = Client(*await asyncio.open_connection(*sock.getsockname()[:2]))
        await second.send(post(b""))
        assert (await second.reply())[2] == b"172.31.0.9"
        assert await inside.ended() == b""
        outside = await connect()
        await outside.send(post(b""))
        assert (await outside.reply())[2] == b"127.0.0.1"
        for client in (inside, second):
            client.close()
        server.close()

    play(scenario, answer, sandbox_connections_max=1)


def test_close_lets_answers_out_and_ends_the_rest(play: Play) -> None:
    began = asyncio.Event()

    async def events() -> AsyncIterator[bytes]:
        yield b": here\n\n"
        await asyncio.Event().wait()

    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        if request.path == "/events":
            return HttpReply(200, [("Content-Type", "text/event-stream")], events())
        began.set()
        await asyncio.sleep(0.05)
        return HttpReply(200, [], b"done")

    async def scenario(listener: Listener, connect: Any) -> None:
        idle, follower, busy = [await connect() for _ in range(3)]
        await follower.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        await follower.reader.readuntil(b"here")
        await busy.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await began.wait()
        await listener.close()
        status, headers, body = await busy.reply()
        assert (status, headers["connection"], body) == (200, "close", b"done")
        assert await idle.ended() == b""
        await follower.ended()
        await emptied(listener)

    play(scenario, answer)


def test_a_door_that_breaks_is_a_500(play: Play) -> None:
    async def answer(request: HttpRequest, body: Incoming) -> HttpReply:
        raise KeyError("never")

    async def scenario(listener: Listener, connect: Any) -> None:
        client = await connect()
        await client.send(post(b"x"))
        assert (await client.reply())[0] == 500
        assert await client.ended() == b""

    play(scenario, answer)
