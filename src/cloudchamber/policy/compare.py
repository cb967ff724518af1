# SPDX-License-Identifier: Apache-2.0
"""What policies grant, beside what was used of it: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchamber.policy import match
from cloudchamber.policy.document import strings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudchamber.policy.evaluate import Policy
    from cloudchamber.policy.least import Asked


@dataclass(frozen=True, slots=True)
class Granted:
    """One action on one resource of a statement that allows, as it stands, and what was used of it."""

    policy: str
    statement: int
    sid: str
    action: str
    resource: str
    used: tuple[str, ...]
    """Actions that were asked for and fit; empty: this grant was never used."""
    unused: tuple[str, ...]
    """For an action with a star: the known actions that it covers and nobody asked for."""


def compare(policies: Iterable[Policy], allowed: Sequence[Asked], known: Iterable[str]) -> list[Granted]:
    """Every grant of some policies. `known`: the actions that there are, to say what a star covers."""
    actions = sorted(set(known))
    found: list[Granted] = []
    for one in policies:
        for statement in one.document.statements:
            if statement.effect != "Allow":
                continue
            source = statement.source
            written = strings(source.get("Action", source.get("NotAction", [])))
            resources = strings(source.get("Resource", source.get("NotResource", "*")))
            negative = "NotAction" in source
            for action in ("everything but " + ", ".join(written),) if negative else written:
                fits = statement.acts if negative else match.action(action)
                asked = [a for a in allowed if fits(a.action.lower())]
                wild = negative or "*" in action or "?" in action
                for resource in resources:
                    covers = match.arn(resource, variables=True)
                    inverted = "NotResource" in source
                    used = sorted({a.action for a in asked if covers(a.resource, a.keys) is not inverted})
                    spare = tuple(a for a in actions if a not in used and fits(a.lower())) if wild else ()
                    found.append(
                        Granted(one.name, statement.index, statement.sid, action, resource, tuple(used), spare)
                    )
    return found
