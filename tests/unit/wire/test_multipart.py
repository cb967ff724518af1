# SPDX-License-Identifier: Apache-2.0
"""HTML forms, cut anywhere; broken ones are refused, and nothing grows without bound."""

from __future__ import annotations

import pytest
import urllib3
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire.multipart import FIELDS_OCTETS_MAX, PREAMBLE_OCTETS_MAX, FormDecoder

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters='"\\'), min_size=1)
FIELDS = st.dictionaries(NAMES.filter(lambda n: n.lower() != "file"), st.text(max_size=30), max_size=5)


def decode(decoder: FormDecoder, data: bytes, step: int) -> bytes:
    out = b"".join(p for i in range(0, len(data), step) for p in decoder.feed(data[i : i + step]))
    decoder.finish()
    return out


@settings(deadline=None)
@given(fields=FIELDS, file=st.binary(max_size=300), step=st.integers(1, 400))
def test_any_cut(fields: dict[str, str], file: bytes, step: int) -> None:
    body, kind = urllib3.encode_multipart_formdata([*fields.items(), ("file", ("a.txt", file, "text/plain"))])
    decoder = FormDecoder(kind)
    assert decode(decoder, body + b"\r\nan epilogue", step) == file
    assert set(decoder.fields) == {n.lower() for n in fields}
    assert (decoder.file_name, decoder.file_type) == ("a.txt", "text/plain")


@settings(deadline=None)
@given(data=st.binary(max_size=400), step=st.integers(1, 100), where=st.integers(0, 400))
def test_what_is_no_form(data: bytes, step: int, where: int) -> None:
    body, kind = urllib3.encode_multipart_formdata([("key", "x"), ("file", "abc")], boundary="b")
    broken = body[: where % len(body)] + data + body[where % len(body) + len(data) // 2 :]
    for text in (data, broken):
        try:
            decode(FormDecoder(kind), text, step)
        except ServiceError as error:
            assert error.status in (400, 412)


@pytest.mark.parametrize(
    "part",
    [
        b'Content-Disposition: form-data; name="a"\r\n\r\n' + b"x" * (FIELDS_OCTETS_MAX + 1),
        b'Content-Disposition: form-data; name="' + b"n" * 4_000 + b'"\r\n\r\nx',
        b'Content-Disposition: form-data; name="a"\r\nX-Long: ' + b"x" * 4_000 + b"\r\n\r\nx",
    ],
)
def test_floods_are_refused_early(part: bytes) -> None:
    decoder = FormDecoder("multipart/form-data; boundary=b")
    sent = 0
    with pytest.raises(ServiceError) as error:
        while sent < 10 * PREAMBLE_OCTETS_MAX:
            data = b"--b\r\n" + part + b"\r\n"
            sent += len(data)
            decoder.feed(data)
    assert error.value.code == "MaxPostPreDataLengthExceeded"
    assert sent < 2 * PREAMBLE_OCTETS_MAX


@pytest.mark.parametrize(
    "kind", ["", "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 999]
)
def test_types_that_are_none(kind: str) -> None:
    with pytest.raises(ServiceError):
        FormDecoder(kind)


def test_text_that_is_no_utf_8_is_taken_as_a_browser_sends_it() -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="x-amz-meta-a"\r\n\r\n\xe9\r\n'
    body += b'--b\r\nContent-Disposition: form-data; name="file"; filename="\xe9.png"\r\n\r\nabc\r\n--b--\r\n'
    decoder = FormDecoder("multipart/form-data; boundary=b")
    assert decode(decoder, body, 7) == b"abc"
    assert (decoder.fields, decoder.file_name) == ({"x-amz-meta-a": "é"}, "é.png")


def test_a_form_without_a_file_or_a_name() -> None:
    body, kind = urllib3.encode_multipart_formdata([("key", "x")])
    with pytest.raises(ServiceError, match="exactly one file"):
        decode(FormDecoder(kind), body, 10)
    for header in (b"X: y", b"Content-Disposition: form-data", b'Content-Disposition: attachment; name="a"'):
        with pytest.raises(ServiceError) as error:
            FormDecoder("multipart/form-data; boundary=b").feed(b"--b\r\n" + header + b"\r\n\r\nx")
        assert error.value.code == "MalformedPOSTRequest"
