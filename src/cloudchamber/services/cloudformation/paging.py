# SPDX-License-Identifier: Apache-2.0
"""Pages of answers: tokens that say where the next page begins. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cloudchamber.base import pages
from cloudchamber.base.errors import ValidationError

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")
PAGE = 100


def token_of(number: int) -> str:
    """A token for a position."""
    return pages.token(f"next:{number}")


def position(token: str, start: int = 0) -> int:
    """The position of a token.

    Raises:
        ValidationError: it is no token of ours.
    """
    if not token:
        return start
    try:
        word, _, number = pages.after(token).partition(":")
        if word != "next" or not number.isdecimal() or len(number) > 18:
            raise ValueError
        return int(number)
    except ValueError:
        raise ValidationError("Invalid NextToken") from None


def page(rows: Sequence[T], token: str, size: int = PAGE) -> tuple[list[T], str]:
    """One page of rows, and the token of the next one, or nothing."""
    start = position(token)
    following = start + size
    return list(rows[start:following]), token_of(following) if following < len(rows) else ""
