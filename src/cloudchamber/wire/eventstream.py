# SPDX-License-Identifier: Apache-2.0
"""Event streams: replies that are a series of messages, ``application/vnd.amazon.eventstream``.

Source: Smithy, "Amazon Event Stream Specification"; botocore's model (``eventstream``, ``event``, ``eventpayload``).
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from cloudchamber.wire import json
from cloudchamber.wire.model import ServiceModel, Shape

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_STRING = 7


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message: lengths, their checksum, headers (all are strings), payload, checksum of everything."""
    packed = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    total = 16 + len(packed) + len(payload)
    start = total.to_bytes(4) + len(packed).to_bytes(4)
    start += zlib.crc32(start).to_bytes(4)
    whole = start + packed + payload
    return whole + zlib.crc32(whole).to_bytes(4)


def _header(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + bytes((_STRING,)) + len(value).to_bytes(2) + value


def event(kind: str, payload: bytes, content_type: str = "application/json") -> bytes:
    """One event."""
    return message({":message-type": "event", ":event-type": kind, ":content-type": content_type}, payload)


def fault(code: str, text: str) -> bytes:
    """The end of a stream that went wrong."""
    return message({":message-type": "error", ":error-code": code, ":error-message": text[:1000]}, b"")


Events = Callable[[AsyncIterator[Mapping[str, Any]]], AsyncIterator[bytes]]


def writer(service: ServiceModel, shape: Shape, *, initial: bool = False) -> Events:
    """Writes events, each a mapping of its kind to its members. `initial`: RPC protocols begin with the response."""
    encoders = {name: _event(service, name, service.resolve(ref)) for name, ref in shape["members"].items()}

    async def write(events: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
        if initial:
            yield event("initial-response", b"{}")
        async for one in events:
            for kind, members in one.items():
                yield encoders[kind](members)

    return write


def _event(service: ServiceModel, kind: str, shape: Shape) -> Callable[[Mapping[str, Any]], bytes]:
    for name, reference in shape.get("members", {}).items():
        if reference.get("eventpayload"):

            def raw(members: Mapping[str, Any], name: str = name) -> bytes:
                value = members.get(name, b"")
                data = value.encode() if isinstance(value, str) else bytes(value)
                return event(kind, data, "application/octet-stream")

            return raw
    convert = json.Writers(service).structure(shape)
    return lambda members: event(kind, json.dumps(convert(members)))


def member(service: ServiceModel, output: Shape) -> tuple[str, Shape] | None:
    """The member of an output that is an event stream, and its shape."""
    for name, reference in output.get("members", {}).items():
        shape = service.resolve(reference)
        if shape.get("eventstream"):
            return name, shape
    return None
