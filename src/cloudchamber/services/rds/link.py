# SPDX-License-Identifier: Apache-2.0
"""A raw non-blocking socket that can be awaited while a session begins, and given to a `Splice` afterwards."""

from __future__ import annotations

import asyncio
import socket
import ssl


class Link:
    """One connection; reads take exactly what is asked for, so nothing is left over in between."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self.end = end
        self._loop = asyncio.get_running_loop()

    @property
    def secure(self) -> bool:
        """Whether TLS is in use."""
        return isinstance(self.end, ssl.SSLSocket)

    async def first(self) -> int:
        """The first octet that will be read, without reading it."""
        while True:
            try:
                octet = self.end.recv(1, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                await self._when(writing=False)
                continue
            if not octet:
                raise EOFError
            return octet[0]

    async def read(self, size: int) -> bytes:
        """Exactly `size` octets.

        Raises:
            EOFError: the other side closed. OSError: the connection broke.
        """
        parts: list[bytes] = []
        while size:
            try:
                part = self.end.recv(size)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
                await self._when(writing=False)
                continue
            except ssl.SSLWantWriteError:
                await self._when(writing=True)
                continue
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """All of `data`."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.end.send(view) :]
            except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError):
                await self._when(writing=True)
            except ssl.SSLWantReadError:
                await self._when(writing=False)

    async def message(self, octets_max: int) -> tuple[bytes, bytes]:
        """One typed message: its type and body.

        Raises:
            EOFError: it is longer than `octets_max`, or the other side closed.
        """
        head = await self.read(5)
        size = int.from_bytes(head[1:], "big") - 4
        if not 0 <= size <= octets_max:
            raise EOFError
        return head[:1], await self.read(size)

    async def start_tls(self, context: ssl.SSLContext) -> ssl.SSLSocket:
        """Be the server of a TLS handshake."""
        secured = context.wrap_socket(self.end, server_side=True, do_handshake_on_connect=False)
        self.end = secured
        while True:
            try:
                secured.do_handshake()
            except ssl.SSLWantReadError:
                await self._when(writing=False)
            except ssl.SSLWantWriteError:
                await self._when(writing=True)
            else:
                return secured

    def close(self) -> None:
        """Close it."""
        self.end.close()

    def reset(self) -> None:
        """Close it so that the other side sees a reset."""
        try:
            self.end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except OSError:
            pass
        self.end.close()

    async def _when(self, *, writing: bool) -> None:
        """Wait until the socket can be read or written."""
        ready: asyncio.Future[None] = self._loop.create_future()
        file = self.end.fileno()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        (self._loop.add_writer if writing else self._loop.add_reader)(file, wake)
        try:
            await ready
        finally:
            (self._loop.remove_writer if writing else self._loop.remove_reader)(file)
