# SPDX-License-Identifier: Apache-2.0
"""Bodies that wait: together no more than the machine should hold."""

from __future__ import annotations

from cloudchamber.front import incoming
from cloudchamber.front.incoming import BODY_WINDOW, NARROW, WAITING_MAX, Incoming


class Nobody:
    """A connection that takes note of nothing."""

    def send(self, data: bytes) -> None:
        return None

    def body_changed(self) -> None:
        return None


async def test_windows_are_narrow_while_much_waits() -> None:
    before = incoming._Waiting.octets
    bodies = [Incoming(Nobody(), None) for _ in range(WAITING_MAX // BODY_WINDOW)]
    assert bodies[0].window == BODY_WINDOW
    for body in bodies:
        body.feed(bytes(BODY_WINDOW))
    assert bodies[0].window == NARROW
    bodies[0].end()
    assert sum([len(chunk) async for chunk in bodies[0]]) == BODY_WINDOW
    assert bodies[1].window == BODY_WINDOW
    for body in bodies:
        body.forget()
        body.feed(b"nobody reads it")
        assert body.size == 0
    assert incoming._Waiting.octets == before
