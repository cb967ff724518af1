# SPDX-License-Identifier: Apache-2.0
"""The regular expressions of filter patterns, matched in linear time. Pure.

They have no groups, so one is a list of alternatives, each a list of atoms with how often. A search walks all places of
the expression at once and remembers the steps that it has made: a text is read once, whatever the expression is.
Source: CloudWatch Logs User Guide, "Supported regular expressions (regex) syntax".
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field

_LITERALS = frozenset(string.ascii_letters + string.digits + ":_#=@/;,- ")
_ESCAPES = {"d": string.digits, "w": string.ascii_letters + string.digits + "_", "s": " \t\r\n\f\v"}
_COUNT = re.compile(r"\{(\d{1,3})(,(\d{0,3}))?\}")
_HEX = re.compile(r"x([0-9A-Fa-f]{2})")
_PLACES_MAX = 300
_STEPS_MAX = 20_000
"""Steps that are remembered at once; beyond, all are thought out anew."""


@dataclass(frozen=True, slots=True)
class _Characters:
    """These characters, or all but these."""

    these: frozenset[str]
    but: bool = False

    def has(self, character: str) -> bool:
        return (character in self.these) != self.but


@dataclass(frozen=True, slots=True)
class _Atom:
    """Characters, at least and at most so often; None is any number."""

    what: _Characters
    least: int = 1
    most: int | None = 1


@dataclass(frozen=True, slots=True)
class _Alternative:
    """Atoms one after the other; `begin` and `end` say whether it is bound to the text's beginning and end."""

    atoms: tuple[_Atom, ...]
    begin: bool
    end: bool


@dataclass(slots=True)
class _Node:
    """The places that were read last, and what is known of going on from there."""

    candidates: frozenset[int]
    fits: bool
    fits_at_end: bool
    following: dict[str, _Node] = field(default_factory=dict[str, "_Node"])


class Regex:
    """One expression.

    A place is one copy of an atom that reads one character: `_reads` says which, `_after` what may come next.
    """

    def __init__(self, source: str) -> None:
        """Read it.

        Raises:
            ValueError: characters or operators that are not supported, or too many of them.
        """
        self.source = source
        self._reads: list[_Characters] = []
        self._after: list[frozenset[int]] = []
        self._first: frozenset[int] = frozenset()
        self._anywhere: frozenset[int] = frozenset()
        self._ends: set[int] = set()
        self._ends_at_end: set[int] = set()
        self._always = self._if_empty = False
        for alternative in _read(source):
            self._add(alternative)
        self._forget()

    def _add(self, alternative: _Alternative) -> None:
        entries: frozenset[int] = frozenset()
        empty = True
        ends = self._ends_at_end if alternative.end else self._ends
        for atom in reversed(alternative.atoms):
            entries, empty = self._copies(atom, entries, empty, ends)
        if alternative.begin:
            self._first |= entries
        else:
            self._anywhere |= entries
        if empty and alternative.begin and alternative.end:
            self._if_empty = True
        elif empty:
            self._always = True

    def _copies(
        self, atom: _Atom, following: frozenset[int], empty: bool, ends: set[int]
    ) -> tuple[frozenset[int], bool]:
        """Add an atom before `following`: the places that may begin it and what follows, and whether none need be."""
        copies = max(1, atom.least) if atom.most is None else atom.most
        entries, over = following, empty
        for n in range(copies, 0, -1):
            place = len(self._reads)
            if place >= _PLACES_MAX:
                raise ValueError("a regular expression that is too large")
            self._reads.append(atom.what)
            loop = frozenset({place}) if atom.most is None and n == copies else frozenset[int]()
            self._after.append(entries | loop)
            if over:
                ends.add(place)
            if n > atom.least:
                entries, over = following | {place}, empty
            else:
                entries, over = frozenset({place}), False
        return entries, over

    def _forget(self) -> None:
        self._nodes: dict[frozenset[int], _Node] = {}
        self._steps = 0
        self._root = _Node(self._first | self._anywhere, fits=False, fits_at_end=False)

    def search(self, text: str) -> bool:
        """Whether some part of a text fits."""
        if self._always or (self._if_empty and not text):
            return True
        node = self._root
        for character in text:
            found = node.following.get(character)
            node = self._step(node, character) if found is None else found
            if node.fits:
                return True
        return node.fits_at_end

    def _step(self, node: _Node, character: str) -> _Node:
        if self._steps >= _STEPS_MAX:
            self._forget()
        self._steps += 1
        read = frozenset(place for place in node.candidates if self._reads[place].has(character))
        found = self._nodes.get(read)
        if found is None:
            candidates = self._anywhere.union(*(self._after[place] for place in read))
            found = _Node(candidates, not self._ends.isdisjoint(read), not self._ends_at_end.isdisjoint(read))
            self._nodes[read] = found
        node.following[character] = found
        return found


def _read(source: str) -> list[_Alternative]:
    """The alternatives of an expression."""
    if not source:
        raise ValueError("an empty regular expression")
    found: list[_Alternative] = []
    atoms: list[_Atom] = []
    place, begin, end = 0, False, False
    while place < len(source):
        sign = source[place]
        if sign == "|":
            found.append(_Alternative(tuple(atoms), begin, end))
            atoms, begin, end = [], False, False
            place += 1
        elif sign == "^" and not atoms and not begin and not end:
            begin = True
            place += 1
        elif end:
            raise ValueError("something behind $ in a regular expression")
        elif sign == "$":
            end = True
            place += 1
        else:
            what, place = _characters(source, place)
            least, most, place = _times(source, place)
            atoms.append(_Atom(what, least, most))
    return [*found, _Alternative(tuple(atoms), begin, end)]


def _times(source: str, place: int) -> tuple[int, int | None, int]:
    sign = source[place : place + 1]
    if sign in ("?", "*", "+") and sign:
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[sign]
        return least, most, place + 1
    if sign != "{":
        return 1, 1, place
    count = _COUNT.match(source, place)
    if count is None:
        raise ValueError("a number of times that cannot be read in a regular expression")
    least = int(count[1])
    most = least if count[2] is None else int(count[3]) if count[3] else None
    if most is not None and most < least:
        raise ValueError("a number of times whose end is before its beginning in a regular expression")
    return least, most, count.end()


def _characters(source: str, place: int) -> tuple[_Characters, int]:
    sign = source[place]
    if sign == ".":
        return _Characters(frozenset(), but=True), place + 1
    if sign == "[":
        return _class(source, place + 1)
    if sign == "\\":
        return _escaped(source, place + 1)
    if sign not in _LITERALS:
        raise ValueError(f"{sign!r} is not supported in a regular expression here")
    return _Characters(frozenset(sign)), place + 1


def _escaped(source: str, place: int) -> tuple[_Characters, int]:
    sign = source[place : place + 1]
    if code := _HEX.match(source, place):
        return _Characters(frozenset(chr(int(code[1], 16)))), code.end()
    if sign and sign in "dwsDWS":
        return _Characters(frozenset(_ESCAPES[sign.lower()]), but=sign.isupper()), place + 1
    if not sign or not sign.isascii() or sign.isalnum():
        raise ValueError(f"\\{sign} is not supported in a regular expression")
    return _Characters(frozenset(sign)), place + 1


def _class(source: str, place: int) -> tuple[_Characters, int]:
    """A class of characters, from behind its opening bracket."""
    but = source.startswith("^", place)
    place += but
    these: set[str] = set()
    before = ""
    begun = place
    while place < len(source) and (source[place] != "]" or place == begun):
        if source[place] == "-" and before and source[place + 1 : place + 2] not in ("", "]"):
            last, place = _member(source, place + 1)
            if len(last) != 1 or last < before:
                raise ValueError("a range that cannot be read in a regular expression")
            these |= {chr(code) for code in range(ord(before), ord(last) + 1)}
            before = ""
            continue
        some, place = _member(source, place)
        these |= set(some)
        before = some if len(some) == 1 else ""
    if place >= len(source):
        raise ValueError("an open bracket in a regular expression")
    return _Characters(frozenset(these), but=but), place + 1


def _member(source: str, place: int) -> tuple[str, int]:
    """Characters of a class: one, or those of an escape."""
    sign = source[place]
    if not sign.isascii():
        raise ValueError(f"{sign!r} is not supported in a regular expression here")
    if sign != "\\":
        return sign, place + 1
    found, place = _escaped(source, place + 1)
    if found.but:
        raise ValueError("a class within a class of characters in a regular expression")
    return "".join(found.these), place
