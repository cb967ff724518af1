# SPDX-License-Identifier: Apache-2.0
"""Messages as values: what a client stored must not become a header of its own."""

from __future__ import annotations

from cloudchamber.wire.codec import Kept, again
from cloudchamber.wire.http import header_lines
from cloudchamber.wire.model import load


def test_no_value_breaks_a_line() -> None:
    assert header_lines([("A", "b"), ("C", "")]) == "A: b\r\nC: \r\n"
    assert header_lines([("A", "b\r\nSet-Cookie: c"), ("D", "e\nf")]) == "A: b  Set-Cookie: c\r\nD: e f\r\n"


def test_a_reply_that_is_kept_breaks_no_line_either() -> None:
    kept = Kept({"Body": b"x", "ContentType": "text/x\r\nSet-Cookie: evil=1", "ContentLength": 1})
    reply = again(load("s3").operations["GetObject"], kept, "id")
    names = [line.partition(":")[0] for line in reply.written.split("\r\n")]
    assert names == ["Content-Type", "Content-Length", ""] and reply.written.count("\n") == 2
