# SPDX-License-Identifier: Apache-2.0
"""Coroutines that are begun at once, and become tasks only if they wait for something.

Most requests wait for nothing: a task for each, and its turn in the event loop, would cost a fifth of the whole.
Source: asyncio, "Extending", task lifetime support.
"""

from __future__ import annotations

import asyncio
from asyncio import tasks
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator


class Begun:
    """What the current task is while a coroutine takes its first steps; what those cancel is the task it becomes."""

    __slots__ = ("_coroutine", "_first", "task")

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._first: Any = None
        self.task: asyncio.Task[None] | None = None

    def begin(self, loop: asyncio.AbstractEventLoop) -> asyncio.Task[None] | None:
        """Run until it ends, which is None, or until it waits: the task that goes on."""
        try:
            tasks._enter_task(loop, self)  # type: ignore[arg-type]
        except RuntimeError:  # Why: somebody called from within a task, and only one can be current
            self.task = loop.create_task(self._coroutine)
            return self.task
        try:
            self._first = self._coroutine.send(None)
        except StopIteration:
            return None
        finally:
            tasks._leave_task(loop, self)  # type: ignore[arg-type]
        self.task = loop.create_task(self._go_on())
        return self.task

    async def _go_on(self) -> None:
        await _Rest(self._coroutine, self._first)

    def cancel(self, msg: Any = None) -> bool:
        """As a task's."""
        return self.task is not None and self.task.cancel(msg)

    def done(self) -> bool:
        """As a task's."""
        return self.task is not None and self.task.done()

    def cancelling(self) -> int:
        """As a task's."""
        return 0 if self.task is None else self.task.cancelling()

    def uncancel(self) -> int:
        """As a task's."""
        return 0 if self.task is None else self.task.uncancel()


class _Rest:
    """The steps of a coroutine after the first; `first` is what it waits for."""

    __slots__ = ("_coroutine", "_first")

    def __init__(self, coroutine: Coroutine[Any, Any, None], first: Any) -> None:
        self._coroutine = coroutine
        self._first = first

    def __await__(self) -> Generator[Any, Any, None]:
        coroutine, waits_for = self._coroutine, self._first
        while True:
            try:
                value = yield waits_for
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's, a cancellation too
                step, told = coroutine.throw, error
            else:
                step, told = coroutine.send, value
            try:
                waits_for = step(told)
            except StopIteration:
                return
