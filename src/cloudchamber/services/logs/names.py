# SPDX-License-Identifier: Apache-2.0
"""Names, ARNs and page tokens of log groups and streams. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.base.arn import Arn
from cloudchamber.services.logs.errors import InvalidParameterException

if TYPE_CHECKING:
    from collections.abc import Mapping

_GROUP = re.compile(r"[.\-_/#A-Za-z0-9]{1,512}")
_STREAM = re.compile(r"[^:*]{1,512}")
RETENTION_DAYS = frozenset(
    (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
)


def check_group(name: str) -> str:
    """The name, if it may name a group."""
    if not _GROUP.fullmatch(name):
        raise InvalidParameterException(
            f"1 validation error detected: Value '{name[:200]}' at 'logGroupName' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: [\.\-_/#A-Za-z0-9]+"
        )
    return name


def check_stream(name: str) -> str:
    """The name, if it may name a stream."""
    if not _STREAM.fullmatch(name):
        raise InvalidParameterException(
            f"1 validation error detected: Value '{name[:200]}' at 'logStreamName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [^:*]*"
        )
    return name


def group_arn(account: str, region: str, name: str) -> str:
    """ARN of a group, without the ``:*`` of its streams."""
    return str(Arn("logs", region, account, f"log-group:{name}"))


def identified(identifier: str) -> str:
    """The group's name in a logGroupIdentifier: a name or an ARN."""
    if not identifier.startswith("arn:"):
        return identifier
    try:
        return Arn.parse(identifier).resource.removeprefix("log-group:").removesuffix(":*")
    except ValueError as error:
        raise InvalidParameterException(f"{identifier[:200]!r} is not the ARN of a log group") from error


def unseal(token: str) -> str:
    """What a page token says."""
    try:
        return pages.after(token)
    except ValueError as error:
        raise InvalidParameterException("The specified nextToken is invalid.") from error


def limit(request: Mapping[str, Any], most: int) -> int:
    """How many a page may have.

    Raises:
        InvalidParameterException: not between 1 and `most`.
    """
    asked = int(request.get("limit", most))
    if not 1 <= asked <= most:
        raise InvalidParameterException(
            f"1 validation error detected: Value '{asked}' at 'limit' failed to satisfy constraint: Member must have "
            f"value between 1 and {most}"
        )
    return asked
