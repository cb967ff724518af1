# SPDX-License-Identifier: Apache-2.0
"""Heads of messages: what a request's says, checked; and a reply's as octets. Source: RFC 9110, RFC 9112."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING

from cloudchamber.base.body import FileSlice
from cloudchamber.wire.http import Headers, header_lines

if TYPE_CHECKING:
    from cloudchamber.wire.http import HttpReply

_CLOSE = ("Connection", "close")
STATUS_LINES = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


class RequestRefused(Exception):  # noqa: N818 - never leaves the connection
    """The request cannot be read, or should not be."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def headers_of(came: list[tuple[bytes, bytes]]) -> Headers:
    """Headers as text: values are UTF-8 in practice (x-amz-meta-*); what is not stays as latin-1."""
    try:
        return Headers([(_name(n), v.decode()) for n, v in came], lowered=True)
    except UnicodeDecodeError:
        return Headers([(_name(n), _text(v)) for n, v in came], lowered=True)


@lru_cache(maxsize=512)
def _name(octets: bytes) -> str:
    return octets.decode("latin-1").lower()


def _text(octets: bytes) -> str:
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def target_of(target: str, headers: Headers) -> tuple[str, str]:
    """Path and query of a request's target.

    Raises:
        RequestRefused: a target or a host that two readers might understand differently.
    """
    if headers.repeated and len(headers.all("host")) > 1:
        raise RequestRefused(HTTPStatus.BAD_REQUEST)
    if not target.startswith("/"):
        scheme, found, rest = target.partition("://")
        if not found or scheme.lower() not in ("http", "https"):
            raise RequestRefused(HTTPStatus.BAD_REQUEST)
        ends = min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))
        if "host" in headers and headers.get("host").lower() != rest[:ends].lower():
            raise RequestRefused(HTTPStatus.BAD_REQUEST)
        target = rest[ends:]
        target = target if target.startswith("/") else f"/{target}"
    path, _, query = target.partition("#")[0].partition("?")
    return path, query


def length_of(method: str, version: str, headers: Headers) -> int | None:
    """Octets of the body, None if only its end will tell.

    Raises:
        RequestRefused: framing that nobody needs and smugglers like.
    """
    if version not in ("1.0", "1.1"):
        raise RequestRefused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    first = headers.first
    if version == "1.1" and "host" not in first:
        raise RequestRefused(HTTPStatus.BAD_REQUEST)
    length: int | None = int(first.get("content-length", "0"))
    if "transfer-encoding" in first:
        if version == "1.0" or headers.get("transfer-encoding").strip().lower() != "chunked":
            raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED)
        length = None
    # Why: the parser gives up a message that offers another protocol at the end of its head, body or not.
    if method == "CONNECT" or ("upgrade" in first and length != 0):
        raise RequestRefused(HTTPStatus.NOT_IMPLEMENTED)
    return length


def head_of(reply: HttpReply, *, keep: bool, old: bool) -> tuple[bytes, bool]:
    """The reply's head, and whether its body goes out in chunks."""
    body, chunked = reply.body, False
    lines = header_lines(reply.headers)
    if reply.written:
        lines = reply.written + lines
    elif reply.status not in (204, 304) and "\r\ncontent-length: " not in f"\r\n{lines}".lower():
        if isinstance(body, bytes) and not (reply.chunked and body and not old):
            lines += f"Content-Length: {len(body)}\r\n"
        elif isinstance(body, FileSlice):
            lines += f"Content-Length: {body.length}\r\n"
        elif not old:
            chunked = True
            lines += "Transfer-Encoding: chunked\r\n"
    if not keep and not last_of(reply):
        lines += "Connection: close\r\n"
    status = STATUS_LINES.get(reply.status) or f"HTTP/1.1 {reply.status} Status\r\n".encode()
    return status + lines.encode("utf-8", "surrogateescape") + b"\r\n", chunked


def last_of(reply: HttpReply) -> bool:
    """Whether an error says itself that it ends the connection."""
    return reply.status == HTTPStatus.BAD_REQUEST and _CLOSE in reply.headers
