# SPDX-License-Identifier: Apache-2.0
"""Patterns of the policy language: wildcards, policy variables, and ARNs segment by segment.

Matching takes linear time in pattern times value: no pattern, however many stars it has, can hold up a decision.
Source: IAM User Guide, "IAM JSON policy elements: Resource" and "... Variables and tags".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Context: TypeAlias = Mapping[str, str | tuple[str, ...]]
    Matcher: TypeAlias = Callable[[str], bool]
    Lookup: TypeAlias = Callable[[str, Context], bool]


class Wild(Enum):
    """The two wildcards."""

    MANY = "*"
    ONE = "?"


@dataclass(frozen=True, slots=True)
class Variable:
    """``${key}`` or ``${key, 'default'}``; `key` is in lower case."""

    key: str
    default: str | None = None


Token: TypeAlias = "str | Wild | Variable"
Tokens: TypeAlias = "tuple[Token, ...]"

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_WILD = re.compile(r"[*?]")
_DEFAULT = re.compile(r"\s*([^,\s]+)\s*,\s*'([^']*)'\s*")
_LITERALS = ("*", "?", "$")
_REMEMBERED_MAX = 64


def tokens(text: str, *, variables: bool, wildcards: bool = True) -> Tokens:
    """Take a policy's string apart."""
    found: list[Token] = []
    position = 0
    if variables:
        for hit in _VARIABLE.finditer(text):
            _plain(text[position : hit.start()], wildcards, found)
            inside = hit.group(1)
            if inside in _LITERALS:
                found.append(inside)
            elif with_default := _DEFAULT.fullmatch(inside):
                found.append(Variable(with_default.group(1).lower(), with_default.group(2)))
            else:
                found.append(Variable(inside.strip().lower()))
            position = hit.end()
    _plain(text[position:], wildcards, found)
    return tuple(found)


def _plain(text: str, wildcards: bool, found: list[Token]) -> None:
    position = 0
    if wildcards:
        for hit in _WILD.finditer(text):
            if hit.start() > position:
                found.append(text[position : hit.start()])
            found.append(Wild(hit.group()))
            position = hit.end()
    if position < len(text):
        found.append(text[position:])


def variables_of(parts: Tokens) -> frozenset[str]:
    """The context keys that a pattern reads, in lower case."""
    return frozenset(t.key for t in parts if isinstance(t, Variable))


def resolve(parts: Tokens, context: Context) -> Tokens | None:
    """The pattern with its variables filled in as plain text; None if one has no (single) value."""
    found: list[Token] = []
    for token in parts:
        if isinstance(token, Variable):
            value = context.get(token.key)
            if isinstance(value, tuple):
                value = value[0] if len(value) == 1 else None
            if not value:  # Why: an empty value counts as none; a pattern must not widen to what lies around it
                value = token.default
            if value is None:
                return None
            found.append(value)
        else:
            found.append(token)
    return tuple(found)


@lru_cache(4096)
def matcher(parts: Tokens, *, fold: bool = False) -> Matcher:
    """A test for values, of a pattern without variables. `fold`: small and capital letters are the same."""
    chunks = _chunks(tuple(t.lower() if fold and isinstance(t, str) else t for t in parts))
    plain = [c if isinstance(c, str) else None for c in chunks]
    test: Matcher
    if len(chunks) == 1 and plain[0] is not None:
        test = plain[0].__eq__
    elif all(c == "" for c in chunks):
        return lambda value: True
    elif len(chunks) == 2 and chunks[1] == "" and plain[0] is not None:
        test = _starts(plain[0])
    else:
        test = _general(chunks)
    if fold:
        return lambda value: test(value.lower())
    return test


def _starts(begin: str) -> Matcher:
    return lambda value: value.startswith(begin)


def _chunks(parts: Tokens) -> list[str | re.Pattern[str]]:
    """What lies between the stars: plain text, or an expression where a ``?`` is in it."""
    runs: list[list[Token]] = [[]]
    for token in parts:
        if token is Wild.MANY:
            runs.append([])
        else:
            runs[-1].append(token)
    chunks: list[str | re.Pattern[str]] = []
    for run in runs:
        if Wild.ONE in run:
            expression = "".join("." if t is Wild.ONE else re.escape(str(t)) for t in run)
            chunks.append(re.compile(expression, re.DOTALL))
        else:
            chunks.append("".join(str(t) for t in run))
    return chunks


def _general(chunks: list[str | re.Pattern[str]]) -> Matcher:
    """First chunk at the beginning, last at the end, the others leftmost in between: right for stars, and linear."""
    if len(chunks) == 1:
        only = chunks[0]
        return only.__eq__ if isinstance(only, str) else (lambda value: only.fullmatch(value) is not None)
    first, *middle, last = chunks
    first_size, last_size = _size(first), _size(last)

    def test(value: str) -> bool:
        end = len(value) - last_size
        if end < first_size or not _at(first, value, 0) or not _at(last, value, end):
            return False
        position = first_size
        for chunk in middle:
            if isinstance(chunk, str):
                begin = value.find(chunk, position, end)
                if begin < 0:
                    return False
                position = begin + len(chunk)
            else:
                hit = chunk.search(value, position, end)
                if hit is None:
                    return False
                position = hit.end()
        return True

    return test


def _size(chunk: str | re.Pattern[str]) -> int:
    return len(chunk) if isinstance(chunk, str) else len(re.sub(r"\\(.)", r"\1", chunk.pattern, flags=re.DOTALL))


def _at(chunk: str | re.Pattern[str], value: str, position: int) -> bool:
    if isinstance(chunk, str):
        return value.startswith(chunk, position)
    return chunk.match(value, position) is not None


def action(pattern: str) -> Matcher:
    """A test for actions in lower case; actions know no capital letters and no variables."""
    return matcher(tokens(pattern.lower(), variables=False))


def text(pattern: str, *, variables: bool, wildcards: bool, fold: bool = False) -> Lookup:
    """A test of a condition's string value against a request's, with variables read from the context."""
    parts = tokens(pattern, variables=variables, wildcards=wildcards)
    if not variables_of(parts):
        fixed = matcher(parts, fold=fold)
        return lambda value, context: fixed(value)

    fill = _filled(parts, lambda resolved: matcher(resolved, fold=fold))

    def test(value: str, context: Context) -> bool:
        made = fill(context)
        return made is not None and made(value)

    return test


def _filled(parts: Tokens, build: Callable[[Tokens], Matcher]) -> Callable[[Context], Matcher | None]:
    """The matcher of a pattern with variables, remembered for each set of their values; None for a missing one."""
    keys = tuple(variables_of(parts))
    made: dict[tuple[str | tuple[str, ...] | None, ...], Matcher | None] = {}

    def fill(context: Context) -> Matcher | None:
        values = tuple([context.get(key) for key in keys])
        try:
            return made[values]
        except KeyError:
            resolved = resolve(parts, context)
            if len(made) >= _REMEMBERED_MAX:
                made.clear()
            made[values] = found = build(resolved) if resolved is not None else None
            return found

    return fill


def arn(pattern: str, *, variables: bool, excluding: bool = False) -> Lookup:
    """A test of an ARN pattern. ``*`` alone matches everything; otherwise no wildcard crosses the first five colons.

    A pattern with fewer than six parts is completed with ``*``, as AWS does. `excluding`: the pattern says what is
    left out, so that one with a variable without a value leaves out all that it might mean.
    """
    parts = tokens(pattern, variables=variables)
    if parts == (Wild.MANY,):
        return lambda value, context: True
    if not variables_of(parts):
        fixed = _arn_of(_split(parts, parts))
        return lambda value, context: fixed(value)

    segments = _split(parts, parts)
    doubtful = _segments_test((*(_unknown(s) for s in segments[:5]), (Wild.MANY,)))

    fill = _filled(parts, lambda resolved: _arn_of(_split(parts, resolved)))
    begin = parts[0] if isinstance(parts[0], str) else ""

    def test(value: str, context: Context) -> bool:
        if not excluding and not value.startswith(begin):
            return False
        made = fill(context)
        return made(value) if made is not None else excluding and doubtful(value)

    return test


def _unknown(segment: Tokens) -> Tokens:
    return tuple(Wild.MANY if isinstance(token, Variable) else token for token in segment)


def _arn_of(segments: tuple[Tokens, ...]) -> Matcher:
    if all((len(s) == 1 and isinstance(s[0], str)) or not s for s in segments[:5]):
        head = ":".join(str(s[0]) if s else "" for s in segments[:5]) + ":"
        tail = matcher(segments[5])
        size = len(head)
        begin = head + segments[5][0] if segments[5] and isinstance(segments[5][0], str) else head
        return lambda value: value.startswith(begin) and tail(value[size:])
    return _segments_test(segments)


def _split(parts: Tokens, resolved: Tokens) -> tuple[Tokens, ...]:
    """Six segments; a colon divides only where the policy's own text has it."""
    segments: list[list[Token]] = [[]]
    for original, token in zip(parts, resolved, strict=True):
        if isinstance(original, str) and isinstance(token, str):
            pieces = token.split(":", 6 - len(segments))
            for number, piece in enumerate(pieces):
                if number:
                    segments.append([])
                if piece:
                    segments[-1].append(piece)
        else:
            segments[-1].append(token)
    while len(segments) < 6:
        segments.append([Wild.MANY])
    return tuple(tuple(s) for s in segments)


def _segments_test(segments: tuple[Tokens, ...]) -> Matcher:
    tests = tuple(matcher(s) for s in segments)

    def test(value: str) -> bool:
        pieces = value.split(":", 5)
        return len(pieces) == 6 and all(t(p) for t, p in zip(tests, pieces, strict=True))

    return test
