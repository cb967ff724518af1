# SPDX-License-Identifier: Apache-2.0
"""Names, ARNs and pages of IAM; pure. Source: IAM User Guide, "IAM identifiers" and "IAM and AWS STS quotas"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from cloudchamber.base import pages
from cloudchamber.base.errors import ValidationError

Kind: TypeAlias = Literal["user", "group", "role", "instance-profile"]
T = TypeVar("T")

AWS_MANAGED = "arn:aws:iam::aws:policy/"
PAGE = 100
_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Words:
    """What the API calls one kind of entity."""

    title: str
    """``InstanceProfile`` of ``InstanceProfileName``."""
    called: str
    """``Instance Profile`` in messages."""
    id_prefix: str
    inline_max: int = 0
    """Characters of all inline policies together, blanks not counted."""


WORDS: Mapping[Kind, Words] = {
    "user": Words("User", "user", "AIDA", 2048),
    "group": Words("Group", "group", "AGPA", 5120),
    "role": Words("Role", "role", "AROA", 10240),
    "instance-profile": Words("InstanceProfile", "Instance Profile", "AIPA"),
}


def arn(account: str, kind: str, path: str, name: str) -> str:
    """ARN of an entity: ``arn:aws:iam::123456789012:role/path/name``."""
    return f"arn:aws:iam::{account}:{kind}{path}{name}"


def path_of(request: Mapping[str, Any]) -> str:
    """The path that a request gives, or ``/``.

    Raises:
        ValidationError: it does not begin and end with a slash, or has two in a row.
    """
    path: str = request.get("Path", "/")
    if not (path.startswith("/") and path.endswith("/")) or "//" in path or len(path) > 512:
        raise ValidationError(
            "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric "
            "characters and/or / characters."
        )
    return path


def check_name(member: str, name: str, longest: int) -> None:
    """Hold a name against IAM's letters; `member` as messages write it.

    Raises:
        ValidationError: it has others, or is too long.
    """
    if not _NAME.fullmatch(name) or len(name) > longest:
        raise ValidationError(
            f"The specified value for {member} is invalid. It must contain only alphanumeric characters and/or the "
            "following: +=,.@_-"
        )


def page(request: Mapping[str, Any], items: Sequence[T], key: Callable[[T], str]) -> tuple[Sequence[T], dict[str, Any]]:
    """One page of `items`, which are in the order of `key`, and the members that tell of the next one.

    Raises:
        ValidationError: the marker is none of ours.
    """
    if "Marker" in request:
        try:
            after = pages.after(request["Marker"])
        except ValueError as error:
            raise ValidationError("Invalid Marker.") from error
        items = [item for item in items if key(item) > after]
    limit = int(request.get("MaxItems", PAGE))
    if len(items) <= limit:
        return items, {"IsTruncated": False}
    return items[:limit], {"IsTruncated": True, "Marker": pages.token(key(items[limit - 1]))}
