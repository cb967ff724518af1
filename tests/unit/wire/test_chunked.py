# SPDX-License-Identifier: Apache-2.0
"""aws-chunked bodies: AWS's documented examples, any cut of the octets, and tampered copies."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire import sigv4
from cloudchamber.wire.chunked import Decoder, Signer

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
STATES = sigv4.signing_pads(SECRET, "20130524", "us-east-1", "s3")
SCOPE = "20130524/us-east-1/s3/aws4_request"


def signer(seed: str) -> Signer:
    return Signer(STATES, "20130524T000000Z", SCOPE, seed)


def encode(chunks: list[bytes], sign: Signer | None, trailers: dict[str, str] | None = None) -> bytes:
    out = b""
    previous = sign.seed if sign else ""
    for chunk in [*chunks, b""]:
        extension = ""
        if sign:
            previous = sign.chunk(previous, hashlib.sha256(chunk).hexdigest())
            extension = f";chunk-signature={previous}"
        out += f"{len(chunk):x}{extension}\r\n".encode() + (chunk + b"\r\n" if chunk else b"")
    if trailers is None:
        return out + b"\r\n"
    text = "".join(f"{n}:{v}\n" for n, v in trailers.items())
    out += text.replace("\n", "\r\n").encode()
    if sign:
        out += (
            f"x-amz-trailer-signature:{sign.trailer(previous, hashlib.sha256(text.encode()).hexdigest())}\r\n".encode()
        )
    return out + b"\r\n"


def decode(decoder: Decoder, data: bytes, step: int) -> bytes:
    out = b"".join(p for i in range(0, len(data), step) for p in decoder.feed(data[i : i + step]))
    decoder.finish()
    return out


def decoder(length: int, sign: Signer | None, names: frozenset[str] | None = None) -> Decoder:
    return Decoder(length, signer=sign, trailers=names is not None, announced=names or frozenset())


def test_documented_example() -> None:
    """Amazon S3 API Reference, "Signature calculations for the Authorization header: multiple chunks"."""
    seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
    signatures = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ]
    parts = [b"a" * 65536, b"a" * 1024, b""]
    data = b"".join(
        f"{len(p):x};chunk-signature={s}\r\n".encode() + p + b"\r\n" for p, s in zip(parts, signatures, strict=True)
    )
    assert len(data) == 66824
    assert decode(decoder(66560, signer(seed)), data, 4096) == b"a" * 66560


def test_documented_example_with_trailer() -> None:
    """Amazon S3 API Reference, "Signature calculations for trailing headers"."""
    seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
    signatures = [
        "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
        "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
        "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
    ]
    parts = [b"a" * 65536 + b"\r\n", b"a" * 1024 + b"\r\n", b""]
    sizes = [65536, 1024, 0]
    data = b"".join(
        f"{n:x};chunk-signature={s}\r\n".encode() + p for n, p, s in zip(sizes, parts, signatures, strict=True)
    )
    data += b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
    data += b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
    body = decoder(66560, signer(seed), frozenset(["x-amz-checksum-crc32c"]))
    assert decode(body, data, 70_000) == b"a" * 66560
    assert body.trailers == {"x-amz-checksum-crc32c": "sOO8/Q=="}


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@given(chunks=CHUNKS, step=st.integers(1, 200), signed=st.booleans(), trailing=st.booleans())
def test_any_cut(chunks: list[bytes], step: int, signed: bool, trailing: bool) -> None:
    sign = signer("0" * 64) if signed else None
    trailers = {"x-amz-checksum-crc32": "AAAAAA=="} if trailing else None
    whole = b"".join(chunks)
    body = decoder(len(whole), sign, frozenset(trailers) if trailers else None)
    assert decode(body, encode(chunks, sign, trailers), step) == whole
    assert body.trailers == (trailers or {})


@given(chunks=CHUNKS, step=st.integers(1, 200), where=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_tampered_is_refused(chunks: list[bytes], step: int, where: int, flip: int) -> None:
    sign = signer("0" * 64)
    whole = b"".join(chunks)
    trailers = {"x-amz-checksum-crc32": "AAAAAA=="}
    data = bytearray(encode(chunks, sign, trailers))
    data[where % len(data)] ^= flip
    body = decoder(len(whole), sign, frozenset(trailers))
    try:
        assert decode(body, bytes(data), step) == whole
    except ServiceError as error:
        assert error.code in ("IncompleteBody", "SignatureDoesNotMatch", "MalformedTrailerError")
    else:
        assert body.trailers == trailers


@given(chunks=CHUNKS, cut=st.integers(0, 10_000))
def test_cut_short_is_refused(chunks: list[bytes], cut: int) -> None:
    sign = signer("0" * 64)
    data = encode(chunks, sign)
    # Without its last CRLF a body still says that it ended.
    data = data[: cut % (len(data) - 3)]
    with pytest.raises(ServiceError):
        decode(decoder(sum(map(len, chunks)), sign), data, 50)


@pytest.mark.parametrize(
    "data", [b"zz\r\n", b"-1\r\nx", b"1" * 2000, b"fffffffffffff\r\n", b"5\r\nabcdeXX0\r\n\r\n", b"6\r\nabcdef\r\n"]
)
def test_bad_framing(data: bytes) -> None:
    with pytest.raises(ServiceError):
        decode(decoder(5, None, frozenset()), data, 3)


def test_unannounced_trailer_is_refused() -> None:
    with pytest.raises(ServiceError, match="trailing data"):
        decode(decoder(1, None, frozenset()), encode([b"a"], None, {"x-amz-checksum-sha1": "x"}), 100)
