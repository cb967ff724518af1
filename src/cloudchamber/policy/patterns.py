# SPDX-License-Identifier: Apache-2.0
"""From resources that were seen to patterns that cover their kind: ids become ``*``, names do not.

Only what lies *inside* a resource that somebody named is widened: the key of an object, never its bucket; the stream of
a log group, the version of a function, never the group or the function. Every widening says why.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cloudchamber.policy import match

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Within: TypeAlias = Callable[[str], bool]

MANY = 8
"""So many different plain names in one place are a rule, not a list."""
_SHOWN = 3
_ANYTHING = "anything~0"
"""Stands for what a star might cover, when it is asked whether it may."""
_EDGE, _END = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_KINDS = (
    ("UUID", r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"),
    ("ULID", r"[0-7][0-9A-HJKMNP-TV-Z]{25}"),
    ("id", r"[a-z]{1,12}-[0-9a-f]{8}(?:[0-9a-f]{9})?"),
    ("hash", r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{12,}"),
    ("date", r"\d{4}-\d{2}-\d{2}(?:T[0-9:.]+Z?)?|\d{8}T\d{6}Z?"),
    ("number", r"\d+"),
)
_ID = re.compile("|".join(f"(?P<k{n}>{_EDGE}(?:{text}){_END})" for n, (_, text) in enumerate(_KINDS)))
_CLEAR = ("UUID", "ULID", "hash")
"""Nobody writes these by hand: one example is enough to know that others will come."""
_STREAM = re.compile(r"\d{4}/\d{2}/\d{2}/(?:[A-Za-z0-9_-]+)?\[[^\]/]+\][0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern with the resources that it stands for; `why` says how it was widened, empty if it was not."""

    text: str
    covers: frozenset[str]
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Slot:
    kind: str
    value: str
    alone: bool
    """Whether one example is enough to widen it."""


_Part = str | _Slot


@dataclass(frozen=True, slots=True)
class _Limit:
    """What no pattern may cover."""

    refused: frozenset[str]
    within: Within | None


def literal(text: str) -> str:
    """Text as a policy writes it when it means just that. Source: IAM User Guide, "Special characters"."""
    return re.sub(r"[*?]|\$(?=\{)", lambda hit: f"${{{hit.group()}}}", text)


def generalise(resources: Iterable[str], refused: Iterable[str] = (), within: Within | None = None) -> list[Pattern]:
    """Patterns that together cover `resources` and none of `refused` (but for those that are in both).

    `within` says of a resource that nobody asked for whether it may be covered: nothing is widened past it.
    """
    wanted = frozenset(resources)
    bad = _Limit(frozenset(refused) - wanted, within)
    groups: dict[tuple[str, ...], list[tuple[str, list[_Part]]]] = {}
    for resource in sorted(wanted):
        parts = _parts(resource)
        key = tuple("\0" + p.kind if isinstance(p, _Slot) else p for p in parts)
        groups.setdefault(key, []).append((resource, parts))
    found = [pattern for group in groups.values() for pattern in _of_group(group, bad)]
    return _of_names(found, bad)


def generalise_text(values: Iterable[str], refused: Iterable[str] = ()) -> list[Pattern]:
    """As `generalise`, of plain paths such as prefixes."""
    head = "arn:aws:s3:::x/"
    found = generalise((head + v for v in values), (head + v for v in refused))
    size = len(head)
    return [Pattern(p.text[size:], frozenset(c[size:] for c in p.covers), p.why) for p in found]


def inside(resource: str) -> int:
    """Where in an ARN that begins which is no name of a resource; its length if nothing is."""
    pieces = resource.split(":", 5)
    if len(pieces) != 6:
        return len(resource)
    service, tail = pieces[2], pieces[5]
    at = len(resource) - len(tail)
    expression = _INSIDE.get(service)
    hit = expression.match(tail) if expression is not None else None
    return at + hit.end() if hit is not None else len(resource)


_INSIDE = {
    "s3": re.compile(r"(?!accesspoint/)[^/:]+/"),
    "logs": re.compile(r"log-group:.+?:log-stream:"),
    "lambda": re.compile(r"function:[^:]+:"),
    "cloudformation": re.compile(r"(?:stack|changeSet)/[^/]+/"),
    "ssm": re.compile(r"parameter/[^/]+/"),
    "ec2": re.compile(r"[a-z-]+/"),
}
_NOT_ALONE = ("ec2", "lambda")
"""Services whose ids name a thing that somebody made: one example means that one."""


def _parts(resource: str) -> list[_Part]:
    begin = inside(resource)
    service = resource.split(":", 3)[2] if resource.count(":") >= 5 else ""
    parts: list[_Part] = [resource[:begin]]
    rest = resource[begin:]
    if not rest:
        return parts
    if service == "logs" and _STREAM.fullmatch(rest):
        return [*parts, _Slot("log stream", rest, True)]
    position = 0
    for hit in _ID.finditer(rest):
        kind = _KINDS[int((hit.lastgroup or "k0")[1:])][0]
        whole = (hit.start() == 0 or rest[hit.start() - 1] == "/") and rest[hit.end() : hit.end() + 1] == "/"
        alone = service not in _NOT_ALONE and (kind in _CLEAR or (whole and kind == "number"))
        parts += [rest[position : hit.start()], _Slot(kind, hit.group(), alone)]
        position = hit.end()
    parts.append(rest[position:])
    return parts


def _of_group(group: list[tuple[str, list[_Part]]], bad: _Limit) -> list[Pattern]:
    """The patterns of resources that differ in their ids only."""
    covers = frozenset(resource for resource, _ in group)
    columns = list(zip(*(parts for _, parts in group), strict=True))
    for enough in (False, True):
        made: list[str] = []
        why: list[str] = []
        for column in columns:
            slot = column[0]
            if not isinstance(slot, _Slot):
                made.append(_name(slot))
                continue
            values = sorted({p.value for p in column if isinstance(p, _Slot)})
            if len(values) > 1 or (slot.alone and not enough):
                made.append("*")
                why.append(_told(slot.kind, values))
            else:
                made.append(_name(slot.value))
        text = "".join(made)
        if _free(text, bad):
            return [Pattern(text, covers, "; ".join(dict.fromkeys(why)))]
    return [_exact(resource, bad) for resource in sorted(covers)]


def _exact(resource: str, bad: _Limit) -> Pattern:
    text = _name(resource)
    return Pattern(text if _free(text, bad) else literal(resource), frozenset((resource,)))


def _name(text: str) -> str:
    """A part of an ARN as it is; but a star that a service itself asks with (``instance/*``) stays one."""
    if text == "*" or (text.startswith("arn:") and not text.startswith("arn:aws:s3:") and text.endswith(("/*", ":*"))):
        return text if text == "*" else literal(text[:-1]) + "*"
    return literal(text)


def _told(kind: str, values: Sequence[str]) -> str:
    if kind == "log stream":
        return "log streams are named by date and run"
    article = "an" if kind[0] in "aeiou" else "a"
    if len(values) == 1:
        return f"{values[0]} is {article} {kind}: others will come"
    shown = ", ".join(values[:_SHOWN]) + (", ..." if len(values) > _SHOWN else "")
    return f"{len(values)} different {kind}s ({shown})" if kind != "hash" else f"{len(values)} different hashes"


def _of_names(found: list[Pattern], bad: _Limit) -> list[Pattern]:
    """Patterns that differ in one plain name only, and are many, become one."""
    patterns: dict[str, Pattern] = {}
    for one in found:
        known = patterns.get(one.text)
        patterns[one.text] = one if known is None else Pattern(one.text, known.covers | one.covers, known.why)
    for _ in range(3):
        merged = False
        for width in {_path(text)[1].count("/") + 1 for text in patterns}:
            for place in reversed(range(width)):
                merged |= _merge_at(patterns, width, place, bad)
        if not merged:
            break
    return sorted(patterns.values(), key=lambda p: p.text)


def _merge_at(patterns: dict[str, Pattern], width: int, place: int, bad: _Limit) -> bool:
    alike: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for text in patterns:
        head, path = _path(text)
        names = path.split("/")
        if len(names) == width and path and "*" not in names[place]:
            alike.setdefault((head, *names[:place], "\0", *names[place + 1 :]), []).append((text, names[place]))
    merged = False
    for key, some in alike.items():
        names = sorted({name for _, name in some})
        if len(names) < MANY:
            continue
        endings = {"." + name.rpartition(".")[2] if "." in name else "" for name in names}
        star = "*" + (endings.pop() if len(endings) == 1 and place == width - 1 else "")
        text = key[0] + "/".join(star if part == "\0" else part for part in key[1:])
        if _free(text, bad):
            covers = frozenset[str]().union(*(patterns[t].covers for t, _ in some))
            why = [p for t, _ in some for p in (patterns[t].why,) if p][:1]
            why.append(f"{len(names)} different names ({', '.join(names[:_SHOWN])}, ...), {MANY} are enough")
            for t, _ in some:
                del patterns[t]
            patterns[text] = Pattern(text, covers, "; ".join(why))
            merged = True
    return merged


def _path(pattern: str) -> tuple[str, str]:
    """A pattern's name of the resource, and what lies inside it, where that has folders."""
    if pattern.split(":", 3)[2:3] not in (["s3"], ["ssm"]):
        return pattern, ""
    at = inside(pattern)
    return pattern[:at], pattern[at:]


def _free(text: str, bad: _Limit) -> bool:
    """Whether a pattern covers nothing that was refused, and nothing that lies outside what may be covered."""
    if text == "*":
        return True
    wide = any(part is match.Wild.MANY for part in match.tokens(text, variables=True))
    if wide and bad.within is not None and not bad.within(_probe(text)):
        return False
    fits = match.arn(text, variables=True)
    return not any(fits(resource, {}) for resource in bad.refused)


def _probe(text: str) -> str:
    """A resource that a pattern covers and nobody asked for."""
    parts = match.tokens(text, variables=True)
    return "".join(part if isinstance(part, str) else _ANYTHING for part in parts)
