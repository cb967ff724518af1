# SPDX-License-Identifier: Apache-2.0
"""The Runtime API, 2018-06-01: how the runtime inside an environment gets events and gives answers.

Each environment has a listener of its own, so the socket says who speaks: no token, and no function can answer for
another. Source: Lambda Developer Guide, Using the Lambda runtime API.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import httptools

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

RESPONSE_MAX = 6_291_556
_STREAM_WINDOW = 256 * 1024
_HEAD_MAX = 2 * 1024 * 1024
"""The runtime sends an X-Ray document of up to 1 MB in a header."""
_CONNECTIONS_MAX = 64
_PREFIX = "/2018-06-01/runtime/"
_ANSWER = re.compile(r"invocation/([0-9a-f-]{36})/(response|error)")
_MEMORY = re.compile(rb"maxrss-kb=(\d{1,12})")
_SAYS_MEMORY = frozenset((b"content-type", b"lambda-runtime-function-xray-error-cause"))


@dataclass(frozen=True, slots=True)
class Invocation:
    """One event for the runtime. `deadline_ms` is POSIX milliseconds; `client_context` is JSON text or empty."""

    request_id: str
    payload: bytes
    deadline_ms: int
    arn: str
    trace_header: str
    client_context: str = ""


class Streamed:
    """An answer that comes piece by piece: iterate once, then read `error_type` and `error_body`.

    What is not read yet is bounded: the runtime's connection waits meanwhile.
    """

    def __init__(self, content_type: str, pause: Callable[[bool], None]) -> None:
        self.content_type = content_type
        self.error_type = ""
        self.error_body = b""
        self._pause = pause
        self._pieces: deque[bytes] = deque()
        self._octets = 0
        self._ended = False
        self._news = asyncio.Event()

    def put(self, piece: bytes) -> None:
        """One more piece, from the runtime."""
        self._pieces.append(piece)
        self._octets += len(piece)
        if self._octets > _STREAM_WINDOW:
            self._pause(True)
        self._news.set()

    def end(self, error_type: str = "", error_body: bytes = b"") -> None:
        """The runtime has said all, or is gone."""
        if not self._ended:
            self._ended = True
            self.error_type, self.error_body = error_type, error_body
            self._news.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._octets -= len(piece)
                if self._octets <= _STREAM_WINDOW:
                    self._pause(False)
                yield piece
            if self._ended:
                return
            self._news.clear()
            await self._news.wait()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the runtime gave back; `memory_kb` is what it says it used at most, 0 if it does not say."""

    kind: Literal["response", "error", "init-error", "stream"]
    body: bytes
    error_type: str = ""
    memory_kb: int = 0
    content_type: str = ""
    stream: Streamed | None = None


class RuntimeApi:
    """The Runtime API of one environment."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        """Set while the runtime waits for an event."""
        self.failed: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        """Done when the runtime says that its initialisation failed."""
        self._waiting: _Connection | None = None
        self._request_id = ""
        self._answer: asyncio.Future[Answer] | None = None
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()

    async def serve(self, sock: socket.socket) -> None:
        """Answer on a listening socket until `close`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self, self._open), sock=sock)

    def close(self) -> None:
        """Stop; whoever waits for an answer is left to the end of the environment."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.drop()
        if not self.failed.done():
            self.failed.cancel()

    def submit(self, invocation: Invocation) -> asyncio.Future[Answer]:
        """Give the waiting runtime an event; the future is its answer. Only while `ready` is set."""
        connection, self._waiting = self._waiting, None
        if connection is None:
            raise RuntimeError("the runtime does not wait for an event")
        self.ready.clear()
        self._request_id = invocation.request_id
        self._answer = asyncio.get_running_loop().create_future()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.arn,
            "Lambda-Runtime-Trace-Id": invocation.trace_header,
        }
        if invocation.client_context:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        connection.reply(200, invocation.payload, headers)
        return self._answer

    def begin_stream(self, connection: _Connection, path: str, content_type: str) -> Streamed | None:
        """The head of an answer that comes piece by piece; None if it answers nothing that is open."""
        found = _ANSWER.fullmatch(path.removeprefix(_PREFIX))
        if found is None or found[2] != "response" or found[1] != self._request_id:
            return None
        if self._answer is None or self._answer.done():
            return None
        made = Streamed(content_type, connection.pause)
        self._answer.set_result(Answer("stream", b"", content_type=content_type, stream=made))
        return made

    def handle(self, connection: _Connection, method: str, path: str, error_type: str, memory_kb: int) -> None:
        """One complete request of the runtime."""
        where = path.removeprefix(_PREFIX)
        found = _ANSWER.fullmatch(where)
        body = bytes(connection.body)
        if method == "GET" and where == "invocation/next":
            self._waiting = connection
            self.ready.set()
        elif method == "POST" and where == "init/error":
            if not self.failed.done():
                self.failed.set_result(Answer("init-error", body or b"{}", error_type))
            connection.reply(202, b'{"status":"OK"}')
        elif method == "POST" and found:
            self._answered(
                connection, found[1], found[2], Answer("response", body, error_type, memory_kb, connection.content_type)
            )
        else:
            connection.refuse(404, "NotFound", f"no such resource: {method} {path[:200]}")

    def _answered(self, connection: _Connection, request_id: str, kind: str, answer: Answer) -> None:
        if request_id != self._request_id:
            connection.refuse(400, "InvalidRequestID", "Invalid request ID")
        elif self._answer is None or self._answer.done():
            connection.refuse(400, "InvalidStateTransition", "The invocation has been answered")
        elif connection.octets > RESPONSE_MAX:
            self._answer.set_result(Answer("error", _too_large(), "Function.ResponseSizeTooLarge"))
            message = f"Exceeded maximum allowed payload size ({RESPONSE_MAX} bytes)."
            connection.refuse(413, "RequestEntityTooLarge", message)
        else:
            made = replace(answer, kind="error" if kind == "error" else "response")
            self._answer.set_result(made)
            connection.reply(202, b'{"status":"OK"}')


def _too_large() -> bytes:
    return json.dumps(
        {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": f"Response payload size exceeded maximum allowed payload size ({RESPONSE_MAX} bytes).",
        }
    ).encode()


def _decoded(text: bytes) -> bytes:
    """The error in a trailer, which is base64."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return text


class _Connection(asyncio.Protocol):
    """One connection of the runtime; requests come one after the other."""

    def __init__(self, api: RuntimeApi, connections: set[_Connection]) -> None:
        self._api = api
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._url = b""
        self._error_type = ""
        self._memory_kb = 0
        self._unread = 0
        """Octets since the parser told something that has an end: a head, a piece of a body, a message."""
        self._waits = False
        self._streaming = False
        self._stream: Streamed | None = None
        self._trailers: dict[bytes, bytes] = {}
        self.content_type = ""
        self.body = bytearray()
        self.octets = 0
        """Length of the body, of which no more is kept than an answer may have."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue] - a stream server's is a Transport
        if len(self._connections) >= _CONNECTIONS_MAX:  # each is a descriptor of the chamber's
            self.drop()
            return
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._transport = None
        if self._stream is not None:
            self._stream.end("Runtime.TruncatedResponse", b"")
            self._stream = None

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        # Why here: the parser gathers a header until it is whole, and tells nothing of it before.
        self._unread += len(data)
        if self._unread > _HEAD_MAX:
            self.drop()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.drop()

    def pause_writing(self) -> None:
        """Who does not read answers may not ask on."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None and not self._waits:
            self._transport.resume_reading()

    def on_message_begin(self) -> None:
        self._url, self._error_type, self._memory_kb, self.octets = b"", "", 0, 0
        self._streaming, self._stream, self._trailers, self.content_type = False, None, {}, ""
        self.body = bytearray()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if self._stream is not None:
            self._trailers[lower] = value
            return
        if lower == b"content-type":
            self.content_type = value.decode("latin-1").partition("; maxrss-kb")[0]
        if lower == b"lambda-runtime-function-response-mode":
            self._streaming = value.lower() == b"streaming"
        elif lower == b"lambda-runtime-function-error-type":
            self._error_type = value.decode("latin-1")[:256]
        elif lower in _SAYS_MEMORY and (found := _MEMORY.search(value)):
            self._memory_kb = int(found[1])
        elif lower == b"expect" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_headers_complete(self) -> None:
        self._unread = 0
        if self._streaming:
            self._stream = self._api.begin_stream(self, self._url.decode("latin-1"), self.content_type)

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if self._stream is not None:
            self._stream.put(bytes(body))
            return
        self.octets += len(body)
        if self.octets <= RESPONSE_MAX:  # what is longer is refused, and not kept
            self.body += body

    def on_message_complete(self) -> None:
        self._unread = 0
        if self._stream is not None:
            stream, self._stream = self._stream, None
            kind = self._trailers.get(b"lambda-runtime-function-error-type", b"").decode("latin-1")[:256]
            stream.end(kind, _decoded(self._trailers.get(b"lambda-runtime-function-error-body", b"")))
            self.reply(202, b'{"status":"OK"}')
            return
        method = self._parser.get_method().decode("ascii")
        self._api.handle(self, method, self._url.decode("latin-1"), self._error_type, self._memory_kb)

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Write a reply; the connection stays open."""
        if self._transport is None:
            return
        lines = [f"HTTP/1.1 {status} OK", "Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self._transport.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)

    def refuse(self, status: int, kind: str, message: str) -> None:
        """Write an error as the Runtime API does."""
        self.reply(status, json.dumps({"errorType": kind, "errorMessage": message}).encode())

    def pause(self, wait: bool) -> None:
        """Read on, or let the runtime wait."""
        if self._transport is not None and wait != self._waits:
            self._waits = wait
            (self._transport.pause_reading if wait else self._transport.resume_reading)()

    def drop(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()
