# SPDX-License-Identifier: Apache-2.0
"""Small bodies that are there already are taken whole, and checked as if they had been read piece by piece."""

from __future__ import annotations

import hashlib

import pytest

from cloudchamber.base.body import Held, at_once, read_all
from cloudchamber.front.incoming import Incoming
from cloudchamber.front.payload import PayloadRule, Verified
from cloudchamber.wire.errors import XAmzContentSHA256Mismatch
from cloudchamber.wire.http import Headers
from cloudchamber.wire.model import load
from cloudchamber.wire.paths import table


class Source:
    def send(self, data: bytes) -> None: ...
    def body_changed(self) -> None: ...


def arrived(*chunks: bytes, ended: bool = True) -> Incoming:
    body = Incoming(Source(), sum(map(len, chunks)))
    for chunk in chunks:
        body.feed(chunk)
    if ended:
        body.end()
    return body


def test_what_has_come_is_taken_whole():
    body = arrived(b"ab", b"cd")
    assert at_once(body, 4) == b"abcd"
    assert (body.size, body.finished) == (0, True)
    assert at_once(Incoming(Source(), 0), 0) == b""


def test_what_is_cut_too_long_or_still_coming_is_not():
    assert at_once(arrived(b"abcd"), 3) is None
    assert at_once(arrived(b"ab", ended=False), 9) is None
    cut = arrived(b"ab", ended=False)
    cut.end(failed=True)
    assert at_once(cut, 9) is None
    assert at_once(object(), 9) is None


async def test_the_hash_is_compared_either_way():
    right, wrong = PayloadRule(sha256=hashlib.sha256(b"abc").hexdigest()), PayloadRule(sha256="0" * 64)
    assert at_once(Verified(arrived(b"abc"), right), 9) == b"abc"
    with pytest.raises(XAmzContentSHA256Mismatch):
        at_once(Verified(arrived(b"abc"), wrong), 9)
    with pytest.raises(XAmzContentSHA256Mismatch):
        await read_all(Verified(arrived(b"abc"), wrong), 9)


def test_chunks_are_decoded_and_trailers_read():
    framed = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n"
    rule = PayloadRule(length=3, trailers=True, announced=frozenset(("x-amz-checksum-crc32",)), chunks=True)
    body = Verified(arrived(framed), rule)
    assert at_once(body, 1024) == b"abc"
    assert body.trailers == {"x-amz-checksum-crc32": "NSRBwg=="}


async def test_a_limit_holds_either_way():
    for body in (Held(b"abcd"), arrived(b"abcd")):
        with pytest.raises(OverflowError):
            await read_all(body, 3)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/", "/{Bucket}", "/{Bucket}/{Key+}"])
def test_the_short_way_to_an_operation_finds_the_same(method, path):
    routes = table(load("s3"))
    for names in ((), ("x-amz-copy-source",), ("x-amz-rename-source",), ("host", "x-amz-object-attributes")):
        headers = Headers([(name, "x") for name in names])
        short = routes.only(method, path, headers)
        assert short is None or short is routes.choose(method, path, {}, headers)
