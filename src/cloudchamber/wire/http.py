# SPDX-License-Identifier: Apache-2.0
"""An HTTP message as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

from cloudchamber.base.body import ReplyBody

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable


class Headers:
    """Headers of a request: names in lower case, values as they came, in order."""

    __slots__ = ("first", "items")

    def __init__(self, items: Iterable[tuple[str, str]], *, lowered: bool = False) -> None:
        """`lowered`: the names are in lower case already."""
        self.items = items = tuple(items if lowered else [(n.lower(), v) for n, v in items])
        self.first = first = dict(items)
        """First value by name; not to be changed. Why public: a request is asked for two dozen headers."""
        if len(first) != len(items):
            firsts = dict(reversed(items))
            self.first = {name: firsts[name] for name in first}

    @property
    def names(self) -> tuple[str, ...]:
        """Every name once, in order."""
        return tuple(self.first)

    @property
    def repeated(self) -> bool:
        """Whether a name occurs more than once."""
        return len(self.first) != len(self.items)

    def get(self, name: str, default: str = "") -> str:
        """First value of `name` (lower case)."""
        return self.first.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self.first

    def all(self, name: str) -> list[str]:
        """Every value of `name` (lower case), in order."""
        return [v for n, v in self.items if n == name]


def octets(text: str) -> bytes:
    """The octets of a raw path or query: what did not come percent-encoded was read as Latin-1."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


class HttpRequest(NamedTuple):
    """The head of one request.

    `path` and `query` are raw: still percent-encoded, just as the client sent and signed them.
    """

    method: str
    path: str
    query: str
    headers: Headers
    peer: str = "127.0.0.1"
    scheme: str = "http"
    private: bool = False
    """Whether it came by a sandbox's own socket, which nobody else can listen to."""


def header_lines(headers: Collection[tuple[str, str]]) -> str:
    """Headers of a reply as lines. What a client stored must not become a header of its own: no value breaks a line."""
    lines = "".join([f"{n}: {v}\r\n" for n, v in headers])
    if lines.count("\n") + lines.count("\r") != 2 * len(headers):
        lines = "".join([f"{_clean(n)}: {_clean(v)}\r\n" for n, v in headers])
    return lines


def _clean(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")


class Again(Protocol):
    """Answers to requests that are like one that was answered before."""

    def answer(self, data: bytes) -> bytes | None:
        """The whole reply to the octets of one request's head; None: it must be answered as any other."""
        ...


class Repeatable(Protocol):
    """What is known of a reply that may be given again."""

    def learn(self, came: bytes, request: HttpRequest, sent: bytes) -> Again | None:
        """Remember what was `sent` as the reply to a request that `came` as these octets."""
        ...


class Stores(Protocol):
    """Writes that are like one that was done before."""

    @property
    def outworn(self) -> bool:
        """Whether something newer should be learnt, from a write that was not like those."""
        ...

    def take(self, data: bytes, tell: Callable[[bytes | None], None]) -> bool:
        """Do what the octets of one request ask for, and `tell` the whole reply; None, or False: as any other."""
        ...


class Storable(Protocol):
    """What is known of a write that may be done again."""

    def learn(self, data: bytes, request: HttpRequest, head: bytes) -> Stores | None:
        """Remember that a request, which came as these octets, was answered by this head."""
        ...


@dataclass(slots=True)
class HttpReply:
    """One reply; `headers` keep their order and case."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    body: ReplyBody = b""
    written: str = ""
    """Further headers, before the others, as lines that end in CRLF: one is the length. See `wire.codec.Kept`."""
    chunked: bool = False
    """The body goes out as one chunk, without its length told, as S3 sends errors."""
    again: Repeatable | None = None
    storing: Storable | None = None
