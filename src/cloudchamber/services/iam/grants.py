# SPDX-License-Identifier: Apache-2.0
"""Which services, and which of their actions, a policy grants.

By its Allow statements alone, as AWS's service last accessed data does. ``data/namespaces.json`` names all services,
and the actions of those that run here; of the others the namespace in the policy's patterns must do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cloudchamber.policy.document import strings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.policy.document import Document, Statement

_FILE = Path(__file__).parent / "data" / "namespaces.json"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A service as IAM names it: ``s3``, "Amazon S3"."""

    namespace: str
    name: str
    actions: tuple[str, ...]
    """Its actions without the namespace; empty for a service that does not run here."""


@cache
def namespaces() -> Mapping[str, Namespace]:
    """All services, by namespace."""
    rows = json.loads(_FILE.read_text(encoding="utf-8"))
    return {space: Namespace(space, name, tuple(actions)) for space, (name, actions) in rows.items()}


def services(documents: Iterable[Document]) -> list[Namespace]:
    """The services that some policies grant anything of, by namespace."""
    allows = [one for document in documents for one in document.statements if one.effect == "Allow"]
    return [space for space in namespaces().values() if any(_touches(one, space) for one in allows)]


def grants(document: Document, space: Namespace) -> bool:
    """Whether a policy grants anything of a service."""
    return any(_touches(one, space) for one in document.statements if one.effect == "Allow")


def actions(documents: Iterable[Document], space: Namespace) -> list[str]:
    """The actions of a service that some policies grant; none of a service that does not run here."""
    allows = [one for document in documents for one in document.statements if one.effect == "Allow"]
    return [name for name in space.actions if any(one.acts(_verb(space, name)) for one in allows)]


def _verb(space: Namespace, action: str) -> str:
    return f"{space.namespace}:{action}".lower()


def _touches(statement: Statement, space: Namespace) -> bool:
    if space.actions:
        return any(statement.acts(_verb(space, name)) for name in space.actions)
    source = statement.source
    if "NotAction" in source:
        return not any(_of(one, space) and one.partition(":")[2] in ("", "*") for one in strings(source["NotAction"]))
    return any(_of(one, space) for one in strings(source.get("Action", [])))


def _of(pattern: str, space: Namespace) -> bool:
    return pattern == "*" or fnmatchcase(space.namespace, pattern.partition(":")[0].lower())
