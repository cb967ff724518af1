# SPDX-License-Identifier: Apache-2.0
"""Coroutines that are begun at once: as tasks, for all that they can tell."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cloudchamber.front.begun import Begun


async def begin(coroutine: Any) -> asyncio.Task[None] | None:
    """Begin outside of any task, as the event loop calls a protocol."""
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[asyncio.Task[None] | None] = loop.create_future()
    loop.call_soon(lambda: begun.set_result(Begun(coroutine).begin(loop)))
    return await begun


async def test_what_waits_for_nothing_is_no_task() -> None:
    seen: list[int] = []

    async def work() -> None:
        seen.append(1)

    assert await begin(work()) is None
    assert seen == [1]


async def test_what_waits_goes_on_as_a_task_with_values_and_errors() -> None:
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()
    seen: list[object] = []

    async def work() -> None:
        seen.append(await first)
        await asyncio.sleep(0)
        try:
            await second
        except ValueError as error:
            seen.append(error.args)
        seen.append(await asyncio.to_thread(lambda: "thread"))

    task = await begin(work())
    assert task is not None and seen == []
    first.set_result("value")
    second.set_exception(ValueError("no"))
    await task
    assert seen == ["value", ("no",), "thread"]


async def test_cancelling_reaches_the_coroutine() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = await begin(work())
    assert task is not None
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_timeouts_and_groups_that_begin_with_it_end_in_the_task() -> None:
    seen: list[str] = []

    async def work() -> None:
        try:
            async with asyncio.timeout(0.001):
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            seen.append("timeout")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.get_running_loop().create_future()
        except* ValueError:
            seen.append("group")

    async def group_first() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(fail())
                await asyncio.get_running_loop().create_future()
        except* ValueError:
            seen.append("group first")

    async def fail() -> None:
        raise ValueError("no")

    for coroutine in (work(), group_first()):
        task = await begin(coroutine)
        assert task is not None
        await task
        assert task.cancelling() == 0
    assert seen == ["timeout", "group", "group first"]


async def test_an_error_at_once_is_the_callers() -> None:
    async def work() -> None:
        raise ValueError("no")

    async def outside() -> None:
        loop = asyncio.get_running_loop()
        told: asyncio.Future[BaseException | None] = loop.create_future()

        def call() -> None:
            try:
                Begun(work()).begin(loop)
            except ValueError as error:
                told.set_result(error)
            assert asyncio.current_task(loop) is None

        loop.call_soon(call)
        assert isinstance(await told, ValueError)

    await outside()
