# SPDX-License-Identifier: Apache-2.0
"""Event streams, read back by botocore's own parser."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer

from cloudchamber.wire import eventstream


@pytest.mark.parametrize("payload", [b"", b"x", bytes(range(256)) * 100])
def test_messages_are_those_that_botocore_reads(payload: bytes) -> None:
    buffer: Any = EventStreamBuffer()
    buffer.add_data(eventstream.event("PayloadChunk", payload, "application/octet-stream"))
    buffer.add_data(eventstream.fault("InternalFailure", "no"))
    first, second = list(buffer)
    assert first.payload == payload
    assert first.headers[":event-type"] == "PayloadChunk"
    assert second.headers[":error-code"] == "InternalFailure"
