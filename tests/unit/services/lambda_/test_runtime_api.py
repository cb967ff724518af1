# SPDX-License-Identifier: Apache-2.0
"""The Runtime API against a hand-made runtime: what it gives, what it takes, what it refuses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from cloudchamber.services.lambda_.runtime_api import RESPONSE_MAX, Invocation, RuntimeApi

ID = "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
EVENT = Invocation(ID, b'{"a": 1}', 1542409706888, "arn:f", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")


class Runtime:
    """A connection to it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, method: str, path: str, body: bytes = b"", *headers: str) -> None:
        lines = [f"{method} /2018-06-01/runtime/{path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers]
        self.writer.write("\r\n".join((*lines, "", "")).encode() + body)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        fields = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(fields.get("Content-Length", 0)))
        return int(head[0].split()[1]), fields, body


@pytest.fixture
async def api() -> AsyncIterator[tuple[RuntimeApi, Runtime]]:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    port = sock.getsockname()[1]
    made = RuntimeApi()
    await made.serve(sock)
    runtime = Runtime(*await asyncio.open_connection("127.0.0.1", port))
    yield made, runtime
    runtime.writer.close()
    made.close()
    await runtime.writer.wait_closed()


async def test_an_event_and_its_response(api: tuple[RuntimeApi, Runtime]) -> None:
    made, runtime = api
    await runtime.ask("GET", "invocation/next")
    await asyncio.wait_for(made.ready.wait(), 5)
    answer = made.submit(EVENT)
    assert not made.ready.is_set()
    status, headers, body = await runtime.answer()
    assert (status, body) == (200, EVENT.payload)
    assert headers["Lambda-Runtime-Aws-Request-Id"] == ID
    assert headers["Lambda-Runtime-Deadline-Ms"] == "1542409706888"
    kind = "Content-Type: application/json; maxrss-kb=2048"
    await runtime.ask("POST", f"invocation/{ID}/response", b'"done"', kind)
    assert (await runtime.answer())[0] == 202
    got = await asyncio.wait_for(answer, 5)
    assert (got.kind, got.body, got.memory_kb) == ("response", b'"done"', 2048)


async def test_only_the_running_invocation_is_answered_and_once(api: tuple[RuntimeApi, Runtime]) -> None:
    made, runtime = api
    await runtime.ask("GET", "invocation/next")
    await asyncio.wait_for(made.ready.wait(), 5)
    answer = made.submit(EVENT)
    await runtime.answer()
    await runtime.ask("POST", f"invocation/{ID.replace('8', '9')}/response", b"1")
    status, _, body = await runtime.answer()
    assert (status, b"InvalidRequestID" in body) == (400, True)
    await runtime.ask("POST", f"invocation/{ID}/error", b"{}", "Lambda-Runtime-Function-Error-Type: Own.Error")
    assert (await runtime.answer())[0] == 202
    assert (await asyncio.wait_for(answer, 5)).error_type == "Own.Error"
    await runtime.ask("POST", f"invocation/{ID}/response", b"1")
    assert (await runtime.answer())[0] == 400
    await runtime.ask("GET", "elsewhere")
    assert (await runtime.answer())[0] == 404


async def test_a_response_that_is_too_large(api: tuple[RuntimeApi, Runtime]) -> None:
    made, runtime = api
    await runtime.ask("GET", "invocation/next")
    await asyncio.wait_for(made.ready.wait(), 5)
    answer = made.submit(EVENT)
    await runtime.answer()
    await runtime.ask("POST", f"invocation/{ID}/response", b"x" * (RESPONSE_MAX + 1))
    assert (await runtime.answer())[0] == 413
    assert (await asyncio.wait_for(answer, 5)).error_type == "Function.ResponseSizeTooLarge"


async def test_a_failed_initialisation(api: tuple[RuntimeApi, Runtime]) -> None:
    made, runtime = api
    await runtime.ask("POST", "init/error", b"{}", "Lambda-Runtime-Function-Error-Type: Runtime.ImportModuleError")
    assert (await runtime.answer())[0] == 202
    assert (await made.failed).error_type == "Runtime.ImportModuleError"


async def test_nonsense_closes_the_connection(api: tuple[RuntimeApi, Runtime]) -> None:
    _, runtime = api
    runtime.writer.write(b"\x00\x01 nonsense\r\n\r\n")
    assert await asyncio.wait_for(runtime.reader.read(), 5) == b""
