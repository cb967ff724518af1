# SPDX-License-Identifier: Apache-2.0
"""The chamber's end of a shim's socket: what is left open when somebody stops waiting, or the other side goes."""

from __future__ import annotations

import asyncio
import os

import pytest

from cloudchamber.sandbox import messages
from cloudchamber.sandbox.link import Link


def count() -> int:
    return len(os.listdir("/proc/self/fd"))


def send_with_file(to, message) -> None:
    with open(os.devnull, "rb") as file:
        messages.send(to, message, (file.fileno(),))


async def full(link) -> None:
    """Wait until more was said than the socket holds."""
    while not link._room:  # noqa: ASYNC110 - a few turns of the loop
        await asyncio.sleep(0)


async def heard(ours) -> None:
    """Let the loop read what was sent."""
    ready = asyncio.Event()
    asyncio.get_running_loop().call_soon(ready.set)
    await ready.wait()
    await asyncio.sleep(0)


async def test_descriptors_that_nobody_takes_are_closed():
    before = count()
    ours, theirs = messages.pair()
    link = Link(ours)
    send_with_file(theirs, {"hello": 1})
    await heard(ours)
    link.close()
    theirs.close()
    assert count() == before


async def test_what_was_said_before_the_end_is_heard_with_its_descriptors():
    ours, theirs = messages.pair()
    link = Link(ours)
    send_with_file(theirs, {"hello": 1})
    theirs.close()
    waiting = asyncio.create_task(link.first())
    await heard(ours)
    hello, descriptors = await waiting
    assert link.closed and hello == {"hello": 1}
    os.fstat(descriptors[0])
    os.close(descriptors[0])


async def test_an_answer_that_comes_with_a_cancellation_is_closed():
    ours, theirs = messages.pair()
    link = Link(ours)
    messages.send(theirs, {"hello": 1})
    await link.first()
    before = count()
    asking = asyncio.create_task(link.ask({"op": "connect"}))
    await asyncio.sleep(0)
    asked, _ = messages.receive(theirs)
    send_with_file(theirs, {"id": asked["id"]})
    link._readable()  # the answer is there, and its future is done: nobody has run yet
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert count() == before
    link.close()
    theirs.close()


async def test_all_who_wait_for_room_go_on_and_hear_of_the_end():
    ours, theirs = messages.pair()
    link = Link(ours)
    talking = [asyncio.create_task(link.ask({"text": "x" * 30_000})) for _ in range(40)]
    await full(link)
    for _ in talking:
        while True:
            try:
                asked, _ = await asyncio.to_thread(messages.receive, theirs)
                break
            except BlockingIOError:
                await asyncio.sleep(0)
        if asked["id"] == 1:
            messages.send(theirs, {"hello": 1})
        messages.send(theirs, {"id": asked["id"]})
    await asyncio.gather(*talking)
    stuck = [asyncio.create_task(link.ask({"text": "x" * 30_000})) for _ in range(40)]
    await full(link)
    link.close()
    assert all(isinstance(one, ConnectionError) for one in await asyncio.gather(*stuck, return_exceptions=True))
    theirs.close()
