# SPDX-License-Identifier: Apache-2.0
"""Where in a policy's text each statement stands, as IAM's simulator reports it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Span:
    """Lines and columns, both counted from 1, of a statement's first character and of the one after its last."""

    start_line: int
    start_column: int
    end_line: int
    end_column: int


def statements(text: str) -> list[Span]:
    """The span of each statement, in the order of the document; the text is known to be a policy."""
    decoder = json.JSONDecoder()
    for name, begin in _members(text, _skip(text, 0), decoder):
        if name == "Statement":
            if text[begin] != "[":
                return [_span(text, begin, decoder.raw_decode(text, begin)[1])]
            return [_span(text, first, last) for first, last in _items(text, begin, decoder)]
    return []


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _members(text: str, at: int, decoder: json.JSONDecoder) -> Iterator[tuple[str, int]]:
    """Name of each member of the object at `at`, and where its value begins."""
    at = _skip(text, at + 1)
    while text[at] != "}":
        name, at = decoder.raw_decode(text, at)
        begin = _skip(text, _skip(text, at) + 1)
        yield name, begin
        at = _skip(text, decoder.raw_decode(text, begin)[1])
        at = _skip(text, at + 1) if text[at] == "," else at


def _items(text: str, at: int, decoder: json.JSONDecoder) -> Iterator[tuple[int, int]]:
    at = _skip(text, at + 1)
    while text[at] != "]":
        end = decoder.raw_decode(text, at)[1]
        yield at, end
        at = _skip(text, end)
        at = _skip(text, at + 1) if text[at] == "," else at


def _span(text: str, begin: int, end: int) -> Span:
    return Span(*_place(text, begin), *_place(text, end))


def _place(text: str, at: int) -> tuple[int, int]:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
