# SPDX-License-Identifier: Apache-2.0
"""Where an instance downloads the CA bundle of RDS: the name is AWS's, the bundle is the chamber's own CA.

With it, the user data that sets up `sslmode=verify-full` on AWS does so here, unchanged.
Source: Amazon RDS User Guide, Using SSL/TLS to encrypt a connection to a DB instance, certificate bundles.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from cloudchamber.contract.call import Doors

NAME = "truststore.pki.rds.amazonaws.com"
ADDRESS = "169.254.171.1"
"""Behind the instance's default route, so that its egress rules for tcp/443 decide, as on AWS."""
_BUNDLES = re.compile(r"/(global|[a-z]{2}(?:-[a-z]+)+-[0-9])/\1-bundle\.pem")
_HEAD_MAX = 16 * 1024
_WITHIN_S = 20.0
_CONNECTIONS_MAX = 64


class Truststore:
    """Answers every instance on its own listener."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def serve(self, listener: socket.socket) -> asyncio.Server:
        """Answer on a listening socket of one instance."""
        chain, key = await asyncio.to_thread(self._doors.authority.issue, (NAME,))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(chain, key)
        context.set_alpn_protocols(["http/1.1"])
        opened = 0

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            try:
                if opened <= _CONNECTIONS_MAX:
                    async with asyncio.timeout(_WITHIN_S):
                        await self._exchange(reader, writer)
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError):
                pass
            finally:
                opened -= 1
                writer.close()

        return await asyncio.start_server(
            connection, sock=listener, ssl=context, limit=_HEAD_MAX, ssl_handshake_timeout=_WITHIN_S
        )

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request; the connection ends with its answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)
        status, body = answer(method, target, self._doors.authority.certificate_pem)
        lines = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
            "Content-Type: binary/octet-stream",
            f"Content-Length: {len(body)}",
            "Connection: close",
        )
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else body))
        await writer.drain()


def answer(method: str, target: str, bundle: bytes) -> tuple[int, bytes]:
    """Status and body: the bundle for its paths, and nothing else."""
    if method not in ("GET", "HEAD"):
        return 405, b""
    return (200, bundle) if _BUNDLES.fullmatch(target.partition("?")[0]) else (404, b"")
