# SPDX-License-Identifier: Apache-2.0
"""What every operation of EC2 does with its input: refuse what is not carried out, answer dry runs, filter, page."""

from __future__ import annotations

import fnmatch
import functools
import re
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from cloudchamber.base import pages
from cloudchamber.services.ec2 import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from cloudchamber.contract.call import Call

    Run: TypeAlias = Callable[[Call, Mapping[str, Any]], Awaitable[dict[str, Any]]]

T = TypeVar("T")
_IDLE: tuple[object, ...] = (None, False, "", [], {}, 0)


def takes(*members: str) -> Callable[[Run], Run]:
    """Let an operation see only the members that it carries out; any other is refused by name.

    `DryRun` is answered here: the permissions were checked before.
    """
    known = frozenset(members) | {"DryRun"}

    def wrap(run: Run) -> Run:
        @functools.wraps(run)
        async def checked(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
            refuse("", request, known)
            if request.get("DryRun"):
                raise errors.DryRunOperation
            # Why here: whatever is asked of a region, its default VPC is there.
            await call.doors.parts["ec2"].ensure_defaults(call.account, call.region)
            return await run(call, request)

        return checked

    return wrap


def refuse(where: str, given: Mapping[str, Any], known: frozenset[str] | set[str]) -> None:
    """Refuse members that would change something and are not carried out.

    Raises:
        UnsupportedOperation: names the member.
    """
    for name, value in given.items():
        if name not in known and value not in _IDLE:
            raise errors.UnsupportedOperation(f"The parameter {where}{name} is not supported by this EC2 endpoint.")


def inner(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A structure of a request; empty if absent."""
    return given.get(name) or {}


def many(given: Mapping[str, Any], name: str) -> list[Any]:
    """A list of a request; empty if absent."""
    return list(given.get(name) or ())


def pick(row: Mapping[str, Any], path: str) -> list[str]:
    """Values at a dotted path of a response dict, as filter texts; lists are walked into."""
    found: list[Any] = [row]
    for step in path.split("."):
        following: list[Any] = []
        for one in found:
            value = one.get(step)
            following += value if isinstance(value, list) else [] if value is None else [value]
        found = following
    return [str(v).lower() if isinstance(v, bool) else str(v) for v in found]


def matches(pattern: str, value: str) -> bool:
    """EC2's wildcards: ``*`` and ``?``, ``\\`` escapes; case-sensitive."""
    text = re.sub(r"\\([*?\\])", lambda m: f"[{m.group(1)}]", pattern.replace("[", "[[]"))
    return fnmatch.fnmatchcase(value, text)


def select(
    rows: Sequence[T],
    filters: Sequence[Mapping[str, Any]] | None,
    paths: Mapping[str, str],
    seen: Callable[[T], Mapping[str, Any]],
) -> list[T]:
    """The rows that every filter admits. `paths`: filter name -> dotted path in the response dict `seen(row)`.

    Raises:
        InvalidParameterValue: a filter that does not exist (or is not carried out).
    """
    if not filters:
        return list(rows)
    wanted: list[tuple[str, Sequence[str]]] = []
    for one in filters:
        name = one.get("Name", "")
        if not (name in paths or name in ("tag-key", "tag-value") or name.startswith("tag:")):
            raise errors.InvalidParameterValue(f"The filter '{name}' is invalid")
        if len(many(one, "Values")) > 200:
            raise errors.InvalidParameterValue(f"The filter '{name}' has more than 200 values")
        wanted.append((name, many(one, "Values")))
    return [row for row in rows if all(_admits(seen(row), name, values, paths) for name, values in wanted)]


def _admits(view: Mapping[str, Any], name: str, values: Sequence[str], paths: Mapping[str, str]) -> bool:
    tags = {tag["Key"]: tag["Value"] for tag in view.get("Tags") or many(view, "TagSet")}
    if name == "tag-key":
        have = list(tags)
    elif name == "tag-value":
        have = list(tags.values())
    elif name.startswith("tag:"):
        key = name[4:]
        have = [tags[key]] if key in tags else []
    else:
        have = pick(view, paths[name])
    return any(matches(pattern, value) for pattern in values for value in have)


def same(view: dict[str, Any]) -> Mapping[str, Any]:
    """A row that is what is shown of it."""
    return view


def named(
    rows: list[dict[str, Any]], key: str, given: Sequence[str], missing: Callable[[str], errors.Ec2Error]
) -> list[dict[str, Any]]:
    """The rows with these ids, all of them for none; or the error for the first that is not there."""
    known = {row[key] for row in rows}
    for one in given:
        if one not in known:
            raise missing(one)
    return [row for row in rows if not given or row[key] in given]


def page(
    rows: Sequence[T], request: Mapping[str, Any], key: Callable[[T], str], most: int = 1000
) -> tuple[list[T], str | None]:
    """One page of rows that have a stable order, and the token of the next.

    Raises:
        InvalidNextToken: not a token of ours.
    """
    start = 0
    token = request.get("NextToken")
    if token:
        try:
            last = pages.after(token)
        except ValueError:
            raise errors.InvalidNextToken("The token is invalid.") from None
        places = [n for n, row in enumerate(rows) if key(row) == last]
        if not places:
            raise errors.InvalidNextToken("The token is invalid.")
        start = places[0] + 1
    size = int(request.get("MaxResults") or most)
    if not 1 <= size <= most:
        raise errors.InvalidParameterValue(
            f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value up to {most}."
        )
    chosen = list(rows[start : start + size])
    more = start + size < len(rows)
    return chosen, pages.token(key(chosen[-1])) if more else None


def with_token(response: dict[str, Any], token: str | None) -> dict[str, Any]:
    """The response, with `NextToken` where there is more."""
    if token is not None:
        response["NextToken"] = token
    return response


def described(
    rows: list[dict[str, Any]],
    request: Mapping[str, Any],
    result: str,
    key: str,
    paths: Mapping[str, str],
    filters: str = "Filters",
) -> dict[str, Any]:
    """The response of a Describe operation: the rows that its filters admit, one page of them, in the order of `rows`.

    `result` is the member that holds them, `key` the one that tells them apart.
    """
    chosen, token = page(select(rows, request.get(filters), paths, same), request, lambda row: str(row[key]))
    return with_token({result: chosen}, token)


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tags_from(given: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Tags of a request, checked.

    Raises:
        InvalidParameterValue: a key or value that AWS does not take.
        TagLimitExceeded: more than 50.
    """
    tags: dict[str, str] = {}
    for tag in given:
        key, value = tag.get("Key") or "", tag.get("Value") or ""
        if not key or len(key) > 127:
            raise errors.InvalidParameterValue(
                "Tag keys must be between 1 and 127 characters in length, inclusive."
                if key
                else "Tag keys cannot be empty."
            )
        if len(value) > 255:
            raise errors.InvalidParameterValue("Tag value exceeds the maximum length of 255 characters")
        if key in tags:
            raise errors.InvalidParameterValue(f"Duplicate tag key '{key}' specified.")
        if key.lower().startswith("aws:") and not key.startswith("aws:cloudformation:"):
            raise errors.InvalidParameterValue("Tag keys starting with 'aws:' are reserved for internal use")
        tags[key] = value
    if len(tags) > 50:
        raise errors.TagLimitExceeded("The maximum number of Tags for a resource has been reached.")
    return tags


def tagged(view: dict[str, Any], tags: Mapping[str, str]) -> dict[str, Any]:
    """A view with its tags; without the member where there are none, as AWS writes most resources."""
    if tags:
        view["Tags"] = tag_list(tags)
    return view


def specified_tags(request: Mapping[str, Any], *kinds: str) -> dict[str, dict[str, str]]:
    """Tags of `TagSpecifications` by resource type.

    Raises:
        InvalidParameterValue: a type that the operation does not make.
    """
    found: dict[str, dict[str, str]] = {}
    for one in many(request, "TagSpecifications"):
        kind = one.get("ResourceType", "")
        if kind not in kinds:
            raise errors.InvalidParameterValue(f"'{kind}' is not a valid taggable resource type for this operation.")
        if kind in found:
            raise errors.InvalidParameterValue(f"Tag specification resource type '{kind}' specified more than once")
        if not one.get("Tags"):
            raise errors.InvalidParameterValue("Tag specification must have at least one tag")
        found[kind] = tags_from(many(one, "Tags"))
    return found
