# SPDX-License-Identifier: Apache-2.0
"""A small S3 client for measuring: valid signatures, plain sockets, and as little work of its own as can be."""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Signer:
    """Signs requests to one endpoint. Source: Amazon S3 API Reference, "Authenticating Requests"."""

    def __init__(self, host: str, access: str, secret: str, region: str = "us-east-1") -> None:
        self.host = host
        self._access = access
        self._secret = secret
        self._region = region

    def head(
        self,
        method: str,
        path: str,
        query: str = "",
        *,
        payload: str = EMPTY,
        length: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """The head of a request. `query`: encoded and sorted. `payload`: SHA-256 of the body, or `UNSIGNED`."""
        now = datetime.now(UTC)
        stamp, date = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
        told = {"host": self.host, "x-amz-content-sha256": payload, "x-amz-date": stamp, **(headers or {})}
        names = ";".join(sorted(told))
        lines = "".join(f"{name}:{told[name]}\n" for name in sorted(told))
        request = "\n".join((method, path, query, lines, names, payload))
        scope = f"{date}/{self._region}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self._secret}".encode()
        for step in (date, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        told["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._access}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        if length is not None:
            told["content-length"] = str(length)
        line = f"{method} {path}{'?' if query else ''}{query} HTTP/1.1\r\n"
        return (line + "".join(f"{n}: {v}\r\n" for n, v in told.items()) + "\r\n").encode()


class Client:
    """One connection; opened anew when the server has closed it."""

    def __init__(self, host: str, port: int, timeout_s: float = 120.0) -> None:
        self._at = (host, port)
        self._timeout_s = timeout_s
        self._sock: socket.socket | None = None
        self._room = memoryview(bytearray(1024 * 1024))

    def ask(self, head: bytes, body: bytes | memoryview = b"", *, keep: bool = False) -> tuple[int, bytes, bytes]:
        """Status, head and body of the answer; the body only if it is to be kept.

        Raises:
            OSError: the server is not there, or broke off.
        """
        fresh = self._sock is None
        try:
            return self._ask(head, body, keep=keep)
        except ConnectionError:
            self.close()
            if fresh:
                raise
            return self._ask(head, body, keep=keep)

    def open(self) -> socket.socket:
        """A connection for whoever speaks by himself."""
        sock = socket.create_connection(self._at, timeout=self._timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self) -> None:
        """End the connection."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def _ask(self, head: bytes, body: bytes | memoryview, *, keep: bool) -> tuple[int, bytes, bytes]:
        if self._sock is None:
            self._sock = self.open()
        if len(body) > 65536:
            self._sock.sendall(head)
            self._sock.sendall(body)
        else:
            self._sock.sendall(head + bytes(body))
        return self._answer(self._sock, keep=keep)

    def _answer(self, sock: socket.socket, *, keep: bool) -> tuple[int, bytes, bytes]:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                data += _received(sock.recv(65536))
            head, _, data = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 100"):
                break
        status, found = int(head[9:12]), _LENGTH.search(head)
        if status == 204 or found is None:
            body = b"" if status in (204, 304) else self._chunks(sock, data)
        else:
            body = self._rest(sock, data, int(found[1]), keep=keep)
        if b"connection: close" in head.lower():
            self.close()
        return status, head, body

    def _rest(self, sock: socket.socket, data: bytes, length: int, *, keep: bool) -> bytes:
        whole, left = bytearray(data), length - len(data)
        while left > 0:
            count = sock.recv_into(self._room, min(left, len(self._room)))
            if not count:
                raise ConnectionError("the answer broke off")
            if keep:
                whole += self._room[:count]
            left -= count
        return bytes(whole) if keep else b""

    @staticmethod
    def _chunks(sock: socket.socket, data: bytes) -> bytes:
        whole = b""
        while True:
            while b"\r\n" not in data:
                data += _received(sock.recv(65536))
            line, _, data = data.partition(b"\r\n")
            size = int(line.split(b";")[0], 16)
            while len(data) < size + 2:
                data += _received(sock.recv(1024 * 1024))
            if size == 0:
                return whole
            whole, data = whole + data[:size], data[size + 2 :]


def _received(data: bytes) -> bytes:
    if not data:
        raise ConnectionError("the answer broke off")
    return data
