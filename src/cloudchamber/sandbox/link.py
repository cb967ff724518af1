# SPDX-License-Identifier: Apache-2.0
"""The chamber's end of a socket to a shim or to the spawner: requests and answers by id, events, descriptors."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from cloudchamber.sandbox import messages

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

Answer = tuple[dict[str, Any], list[int]]


class Link:
    """Reads with the event loop and never blocks it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._first: asyncio.Future[Answer] = self._loop.create_future()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._next = 0
        self._event: Callable[[dict[str, Any] | None], None] | None = None
        self._end: list[Callable[[], Any]] = []
        self._missed: list[dict[str, Any]] = []
        self._closed = False
        self._room: asyncio.Future[None] | None = None
        self._taken = False
        self._loop.add_reader(connection.fileno(), self._readable)

    def on_event(self, hear: Callable[[dict[str, Any] | None], None]) -> None:
        """Call `hear` with every event, and with None when the other side is gone."""
        self._event = hear
        for message in self._missed:
            hear(message)
        if self._closed:
            hear(None)

    def on_end(self, call: Callable[[], Any]) -> None:
        """Call this when the other side is gone."""
        self._end.append(call)
        if self._closed:
            call()

    @property
    def closed(self) -> bool:
        """Whether the other side is gone, or this end was closed."""
        return self._closed

    async def first(self) -> Answer:
        """The message that opens the conversation."""
        answer = await asyncio.shield(self._first)
        self._taken = True
        return answer

    async def tell(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send without waiting for an answer."""
        while True:
            if self._closed:
                raise ConnectionResetError("the sandbox is gone")
            try:
                messages.send(self._socket, message, descriptors)
            except BlockingIOError:
                await self._writable()
            else:
                return

    async def ask(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> Answer:
        """Send and wait for the answer.

        Raises:
            OSError: what the other side says went wrong; `ConnectionError` when it is gone.
        """
        self._next += 1
        request = self._next
        waiting = self._waiting[request] = self._loop.create_future()
        try:
            await self.tell(message | {"id": request}, descriptors)
            answer, received = await waiting
        except asyncio.CancelledError:
            _close(waiting)
            raise
        finally:
            self._waiting.pop(request, None)
        if "error" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer, received

    async def _writable(self) -> None:
        """Wait until more can be sent, or this end is closed; all who wait share one writer of the event loop."""
        if self._room is None:
            self._room = self._loop.create_future()
            self._loop.add_writer(self._socket.fileno(), self._has_room)
        await asyncio.shield(self._room)

    def _has_room(self) -> None:
        if self._room is not None:
            self._loop.remove_writer(self._socket.fileno())
            self._room.set_result(None)
            self._room = None

    def _readable(self) -> None:
        while not self._closed:
            try:
                got = messages.receive(self._socket)
            except BlockingIOError:
                return
            except OSError:
                got = None
            if got is None:
                self._gone()
                return
            self._hear(*got)

    def _hear(self, message: dict[str, Any], descriptors: list[int]) -> None:
        waiting = self._waiting.get(message.get("id", -1))
        if not self._first.done():
            self._first.set_result((message, descriptors))
        elif waiting is not None and not waiting.done():
            waiting.set_result((message, descriptors))
        else:
            for descriptor in descriptors:
                os.close(descriptor)
            if "event" in message:
                if self._event:
                    self._event(message)
                else:
                    self._missed.append(message)

    def close(self) -> None:
        """Close this end, and the descriptors of a first message that nobody took."""
        self._gone()
        if not self._taken:
            self._taken = True
            _close(self._first)

    def _gone(self) -> None:
        """The other side is gone, or shall be: who waits gets a `ConnectionError`, and what was said before still."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._has_room()
        self._socket.close()
        gone = ConnectionResetError("the sandbox is gone")
        if not self._first.done():
            self._first.set_exception(gone)
            self._first.exception()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(gone)
        if self._event:
            self._event(None)
        for call in self._end:
            call()


def _close(answer: asyncio.Future[Answer]) -> None:
    """Close the descriptors of an answer that came and that nobody takes any more."""
    if answer.done() and not answer.cancelled() and answer.exception() is None:
        for descriptor in answer.result()[1]:
            os.close(descriptor)
