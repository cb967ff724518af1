# SPDX-License-Identifier: Apache-2.0
"""Which kind of value a template's value is, for readers and type checkers. Pure."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_map(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a mapping; keys of templates are always text."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether it is a list."""
    return isinstance(value, list)
