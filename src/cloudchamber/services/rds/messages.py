# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's messages, pure: start packets, framing of a stream in pieces, replies.

Source: PostgreSQL documentation, Frontend/Backend Protocol, Message Formats.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
START_OCTETS_MAX = 10_000
PASSWORD_OCTETS_MAX = 16_384
ASK_CLEARTEXT = b"R" + struct.pack("!II", 8, 3)
PARAMETERS_MAX = 64


class Malformed(ValueError):  # noqa: N818 - what the input is
    """A client sent what is no message of the protocol."""


@dataclass(frozen=True, slots=True)
class Start:
    """The packet that begins a session; `raw` is it as it came."""

    user: str
    database: str
    raw: bytes


def read_start(body: bytes) -> Start:
    """A start packet without its length.

    Raises:
        Malformed: it is none, or names no user.
    """
    major = int.from_bytes(body[:2], "big")
    if major != 3:
        raise Malformed(f"unsupported frontend protocol {major}.{int.from_bytes(body[2:4], 'big')}")
    fields = body[4:].split(b"\0")
    if len(fields) > 2 * PARAMETERS_MAX + 2 or len(fields) < 2 or fields[-2:] != [b"", b""]:
        raise Malformed("invalid startup packet layout")
    try:
        texts = [field.decode() for field in fields[:-2]]
    except UnicodeDecodeError:
        raise Malformed("invalid startup packet layout: not UTF-8") from None
    found = dict(zip(texts[::2], texts[1::2], strict=False))
    user = found.get("user", "")
    if not user or len(texts) % 2:
        raise Malformed("no PostgreSQL user name specified in startup packet")
    return Start(user, found.get("database") or user, struct.pack("!I", len(body) + 4) + body)


def fatal(code: str, text: str) -> bytes:
    """An ErrorResponse that ends the session."""
    clean = text.replace("\0", "")
    body = f"SFATAL\0VFATAL\0C{code}\0M{clean}\0\0".encode()
    return b"E" + struct.pack("!I", len(body) + 4) + body


class Frames:
    """Finds messages in a stream that comes in pieces, without keeping it.

    `feed` gives the messages whose type is in `wanted` once they are complete, with at most `kept_max` octets of
    body; longer ones are given with an empty body. Others are skipped by their length.
    """

    __slots__ = ("_buffer", "_kept_max", "_left", "_wanted", "broken")

    def __init__(self, wanted: bytes, kept_max: int) -> None:
        self._wanted = wanted
        self._kept_max = kept_max
        self._buffer: bytes = b""
        self._left = 0
        self.broken = False
        """Something came that is no message; nothing is found any more."""

    def feed(self, piece: bytes) -> list[tuple[int, bytes]]:
        """The wanted messages that `piece` completes: type and body."""
        found: list[tuple[int, bytes]] = []
        if self.broken:
            return found
        if self._left >= len(piece):
            self._left -= len(piece)
            return found
        at = self._left
        self._left = 0
        if self._buffer:
            piece = self._buffer + piece[at:]
            self._buffer = b""
            at = 0
        end = len(piece)
        while at < end:
            if end - at < 5:
                self._buffer = piece[at:]
                break
            size = int.from_bytes(piece[at + 1 : at + 5], "big")
            if size < 4:
                self.broken = True
                break
            kind = piece[at]
            after = at + 1 + size
            if kind not in self._wanted:
                if after > end:
                    self._left = after - end
                    break
            elif size > self._kept_max:
                found.append((kind, b""))
                if after > end:
                    self._left = after - end
                    break
            elif after > end:
                self._buffer = piece[at:]
                break
            else:
                found.append((kind, piece[at + 5 : after]))
            at = after
        return found
