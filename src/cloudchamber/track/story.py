# SPDX-License-Identifier: Apache-2.0
"""The whole story of a decision, for people: pure. The command line prints it, the console shows it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS = {
    "identity": "identity-based policies",
    "boundary": "permissions boundary",
    "session": "session policies",
    "scp": "service control policies",
    "rcp": "resource control policies",
    "resource": "resource's own policy",
    "trust": "role's trust policy",
}
ROOT = "root user of the account"
"""What stands in the place of a policy where root may do everything."""
Chapter = dict[str, Any]


def story(told: Mapping[str, Any]) -> list[Chapter]:
    """Chapters of one decision as a segment has it: ``{"title", "lines", "code"}``, the verdict first."""
    verdict = "ALLOWED" if told.get("allowed") else "DENIED"
    found = [{"title": verdict, "lines": _verdict(told), "code": ""}, _question(told)]
    if told.get("kinds"):
        found.append(_chapter("What each kind of policy says", [_says(kind) for kind in told["kinds"]]))
    found.append(_chapter("Policies consulted", _consulted(told) or ["none applies to this caller or resource"]))
    if told.get("error"):
        found.append(_chapter("A policy cannot be read", [str(told["error"])]))
    for denial in told.get("denied_by") or ():
        found.append(_chapter("The statement that denies", [denial["sentence"]], denial.get("source")))
    nearest = told.get("nearest")
    if nearest:
        found.append(_chapter("The statement that came nearest", [_nearest(nearest)]))
    for remedy in told.get("allow_with") or ():
        where = f"in {_article(remedy['policy'])} {remedy['policy']}{_of(told, remedy)}"
        found.append(_chapter("The smallest statement that would allow it", [where], remedy["statement"]))
    return found


def _chapter(title: str, lines: list[str], code: object = None) -> Chapter:
    return {"title": title, "lines": lines, "code": json.dumps(code, indent=2) if code else ""}


def _verdict(told: Mapping[str, Any]) -> list[str]:
    earlier = ["decided when the connection was made"] if told.get("earlier") else []
    if told.get("allowed"):
        by = [f"by {place(one)}" for one in told.get("because") or ()]
        return (by or [str(told.get("reason") or "as the account itself")]) + earlier
    return [str(told.get("reason") or "")]


def _question(told: Mapping[str, Any]) -> Chapter:
    lines = [f"principal  {told.get('principal', '')}"]
    if told.get("entity") and told.get("entity") != told.get("principal"):
        lines.append(f"           with the policies of {told['entity']}")
    lines += [f"action     {told.get('action', '')}", f"resource   {told.get('resource', '')}"]
    context: dict[str, Any] = dict(told.get("context") or {})
    given: dict[str, Any] = told.get("keys") or {}
    context = given | context
    for number, (key, value) in enumerate(sorted(context.items())):
        shown = "not in the request" if value is None else json.dumps(value) if isinstance(value, list) else value
        lines.append(f"{'context' if number == 0 else '':11}{key} = {shown}")
    return _chapter("The question", lines)


def _says(kind: Mapping[str, Any]) -> str:
    name = KINDS.get(kind["kind"], kind["kind"])
    text = f"{name}: {kind['says']}"
    return f"{text}, by {place(kind)}" if kind.get("policy") else text


def _consulted(told: Mapping[str, Any]) -> list[str]:
    decided: dict[str, list[str]] = {}
    for word, places in (
        ("allows" if told.get("allowed") else "denies", told.get("because") or ()),
        ("came nearest", [told["nearest"]] if told.get("nearest") else ()),
    ):
        for one in places:
            decided.setdefault(one["policy"], []).append(f"{_statement(one)} {word}")
    return [
        f"{one['name']} ({KINDS.get(one['kind'], one['kind'])})"
        + (f": {'; '.join(decided[one['name']])}" if one["name"] in decided else "")
        for one in told.get("policies") or ()
    ]


def place(one: Mapping[str, Any]) -> str:
    """``statement 2 (Files), line 12, of managed policy X``."""
    if one.get("policy") == ROOT:
        return f"the {ROOT}"
    return f"{_statement(one)} of {one.get('policy', '')}"


def _statement(one: Mapping[str, Any]) -> str:
    number = one.get("statement")
    sid = f" ({one['sid']})" if one.get("sid") else ""
    text = f"statement {number + 1}{sid}" if isinstance(number, int) else f"a statement{sid}"
    return f"{text}, line {one['line']} column {one['column']}," if one.get("line") else text


def _nearest(nearest: Mapping[str, Any]) -> str:
    if nearest.get("sentence"):
        return str(nearest["sentence"])
    return f"{place(nearest)}: its {nearest['element']} wants {nearest['wants']}, the request has {nearest['has']}"


def _of(told: Mapping[str, Any], remedy: Mapping[str, Any]) -> str:
    if remedy.get("kind") in ("resource", "trust"):
        return f" of {told.get('resource', '')}"
    return f" of {told['entity']}" if told.get("entity") and remedy.get("kind") == "identity" else ""


def _article(noun: str) -> str:
    return "an" if noun[:1] in "aeiou" else "a"


def text(chapters: Sequence[Chapter]) -> list[str]:
    """A story as plain lines."""
    out: list[str] = []
    for chapter in chapters:
        out.append(chapter["title"])
        out += [f"  {line}" for line in chapter["lines"]]
        out += [f"    {line}" for line in chapter["code"].splitlines()]
    return out
