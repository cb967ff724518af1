# SPDX-License-Identifier: Apache-2.0
"""One port for HTTP and HTTPS: the first octet of a connection says which of them the client speaks.

A TLS connection begins with a handshake record, whose type is 0x16 (RFC 8446, 5.1); no method begins with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HANDSHAKE = b"\x16"
FIRST_OCTET_S = 75.0
"""How long a client may stay silent at first."""
HANDSHAKE_S = 10.0
SILENT_MAX = 1000
"""Connections that have not said anything yet; the one that has waited longest goes for a new one."""
HANDSHAKES_MAX = 500
"""TLS handshakes at a time; the one that has taken longest goes for a new one."""
ACCEPTED_AT_ONCE = 64
PAUSE_S = 0.1

_log = logging.getLogger(__name__)


class EitherWay:
    """A listening socket whose connections are handed over once it is known what they speak."""

    def __init__(
        self, sock: socket.socket, accept: Callable[[], asyncio.Protocol], context: Callable[[], ssl.SSLContext]
    ) -> None:
        """`accept` makes the protocol of a connection; `context` is asked when TLS is first spoken."""
        self._sock = sock
        self._accept = accept
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes: dict[asyncio.Task[None], socket.socket] = {}
        """In the order in which they began."""
        sock.setblocking(False)
        self._loop.add_reader(sock, self._come)

    @property
    def closed(self) -> bool:
        """Whether it takes no more connections."""
        return self._sock.fileno() < 0

    def close(self) -> None:
        """Take no more connections; those that have been handed over are not ours any more."""
        if self._sock.fileno() < 0:
            return
        self._loop.remove_reader(self._sock)
        self._sock.close()
        for client in list(self._silent):
            self._forget(client)
            client.close()
        for task in self._tasks:
            task.cancel()

    def _come(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor is left: those who wait are served when one is
                _log.warning("a connection could not be accepted: %s", error)
                self._loop.remove_reader(self._sock)
                self._loop.call_later(PAUSE_S, self._again)
                return
            client.setblocking(False)
            self._look(client)

    def _again(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._come)

    def _look(self, client: socket.socket) -> None:
        """Hand the connection over if it has said something; else wait until it does."""
        try:
            first = client.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            if client not in self._silent:
                self._wait(client)
            return
        except OSError:
            first = b""
        if client in self._silent:
            self._forget(client)
        if not first:
            client.close()
            return
        secure = first == HANDSHAKE
        if secure and len(self._handshakes) >= HANDSHAKES_MAX:
            slowest = self._handshakes.pop(next(iter(self._handshakes)))
            with contextlib.suppress(OSError):
                slowest.shutdown(socket.SHUT_RDWR)  # Why not closed: the loop's transport has it, and closes it
        task = self._loop.create_task(self._hand_over(client, secure=secure))
        self._tasks.add(task)
        if secure:
            self._handshakes[task] = client
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._handshakes.pop(task, None)

    def _wait(self, client: socket.socket) -> None:
        if len(self._silent) >= SILENT_MAX:
            self._give_up(next(iter(self._silent)))
        self._silent[client] = self._loop.call_later(FIRST_OCTET_S, self._give_up, client)
        self._loop.add_reader(client, self._look, client)

    def _give_up(self, client: socket.socket) -> None:
        self._forget(client)
        client.close()

    def _forget(self, client: socket.socket) -> None:
        self._loop.remove_reader(client)
        self._silent.pop(client).cancel()

    async def _hand_over(self, client: socket.socket, *, secure: bool) -> None:
        try:
            if secure:
                await self._loop.connect_accepted_socket(
                    self._accept, client, ssl=self._context(), ssl_handshake_timeout=HANDSHAKE_S
                )
            else:
                await self._loop.connect_accepted_socket(self._accept, client)
        except (OSError, TimeoutError) as error:  # ssl.SSLError is an OSError
            _log.info("a connection ended before its first request: %s", error)
            client.close()
