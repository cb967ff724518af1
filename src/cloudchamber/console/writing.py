# SPDX-License-Identifier: Apache-2.0
"""The least-privilege policy of a role or user, from the record of what it really did."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.console.entities import entities
from cloudchamber.console.errors import NoSuchEntity
from cloudchamber.policy.compare import compare
from cloudchamber.policy.document import Question, Subject
from cloudchamber.policy.least import MANAGED_MAX, ROLE_INLINE_MAX, USER_INLINE_MAX, Asked, prove, write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudchamber.console.entities import AskAsRoot
    from cloudchamber.contract.call import Doors
    from cloudchamber.contract.identity import Principal
    from cloudchamber.policy.evaluate import Policy
    from cloudchamber.policy.least import Proof
    from cloudchamber.track.usage import Usage


async def written_policy(doors: Doors, ask: AskAsRoot, name: str) -> dict[str, Any]:
    """The policy of a role or user (by name, a part of it that fits one alone, or ARN), with its proof and comparison.

    Raises:
        NoSuchEntity: nobody, or more than one, has that name.
    """
    who, short = await _entity(doors, ask, name)
    record = doors.recorder.usage(who.account, who.entity_arn)
    current = doors.identities.policies(who).identity
    actions = {f"{s.name}:{o}" for s in doors.services.values() for o in s.operations} | {u.action for u in record}
    told = await asyncio.to_thread(_told, record, current, actions, who)
    kind = "user" if who.kind == "user" else "role"
    return {"entity": who.entity_arn, "kind": kind, "name": short, "account": who.account} | told


async def _entity(doors: Doors, ask: AskAsRoot, name: str) -> tuple[Principal, str]:
    """The user, or a session of the role, and its name."""
    near: list[tuple[Principal, str]] = []
    exact: list[tuple[Principal, str]] = []
    for account in doors.identities.accounts.all():
        if name.startswith("arn:") and f":{account.id}:" not in name:
            continue
        async for who, short in entities(ask, account.id):
            if name in (who.entity_arn, short):
                exact.append((who, short))
            elif name.lower() in short.lower():
                near.append((who, short))
    found = exact or near
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(who.entity_arn for who, _ in found[:5])
        raise NoSuchEntity(f"{name} is in the names of several: {names}{', ...' if len(found) > 5 else ''}")
    raise NoSuchEntity(f"there is no role or user {name}")


def _asked(one: Usage) -> Asked:
    return Asked(one.action, one.resource, {key: _value(value) for key, value in one.keys.items()})


def _value(value: Any) -> str | tuple[str, ...]:
    return tuple(cast("list[str]", value)) if isinstance(value, list) else str(value)


def _told(
    record: Sequence[Usage], current: Sequence[Policy], actions: set[str], principal: Principal
) -> dict[str, Any]:
    """Everything that is said, from values alone: runs on a thread."""
    needed = [one for one in record if one.allowed and one.granted_by == "identity"]
    refused = [one for one in record if not one.allowed]
    allowed, denied = [_asked(one) for one in needed], [_asked(one) for one in refused]
    kept = _denials(current)
    written = write(allowed, denied, kept, _granted(current, principal))
    entity = principal.entity_arn if principal.kind == "assumed-role" else ""
    proof = prove(written.policy, allowed, denied, Subject(principal.kind, principal.account, principal.arn, entity))
    granted = {(one.action, one.resource) for one in needed}
    return {
        "policy": written.policy,
        "reasons": [{"sid": sid, "resource": resource, "why": why} for sid, resource, why in written.reasons],
        "kept_denials": len(kept),
        "size": written.size,
        "limits": {"managed": MANAGED_MAX, "inline": ROLE_INLINE_MAX if entity else USER_INLINE_MAX},
        "recorded": {
            "decisions": sum(one.count for one in record),
            "different": len(record),
            "since": min((one.first for one in record), default=None),
            "until": max((one.last for one in record), default=None),
        },
        "proof": _proof(proof, needed),
        "denied": [_shown(one) for one in refused if (one.action, one.resource) not in granted],
        "by_resource": [_shown(one) for one in record if one.allowed and one.granted_by == "resource"],
        "granted": [asdict(one) for one in compare(current, [_asked(o) for o in record if o.allowed], actions)],
        "current": [one.name for one in current],
    }


def _granted(current: Sequence[Policy], principal: Principal) -> Callable[[str, str], bool]:
    """Whether an action on a resource is granted today, whatever the conditions."""
    who = Subject(principal.kind, principal.account, principal.arn, principal.entity_arn)
    keys = {"aws:username": principal.arn.rsplit("/", 1)[-1]} if principal.kind == "user" else dict[str, str]()

    def granted(action: str, resource: str) -> bool:
        question = Question(who, action, resource, keys, principal.account)
        return any(s.on(question) for one in current for s in one.document.relevant(question.verb)[1])

    return granted


def _denials(current: Sequence[Policy]) -> list[Mapping[str, Any]]:
    """Statements that deny: a policy is not made smaller by what it forbids."""
    found: list[Mapping[str, Any]] = []
    for one in current:
        for statement in one.document.statements:
            if statement.effect == "Deny" and statement.source not in found:
                found.append(statement.source)
    return found


def _proof(proof: Proof, needed: Sequence[Usage]) -> dict[str, Any]:
    return {
        "holds": proof.holds,
        "replayed": sum(one.count for one in needed),
        "different": proof.replayed,
        "refused": [asdict(one) for one in proof.refused],
        "opened": [asdict(one) for one in proof.opened],
        "parts": proof.parts,
        "idle": list(proof.idle),
    }


def _shown(one: Usage) -> dict[str, Any]:
    return {"action": one.action, "resource": one.resource, "count": one.count, "last": one.last, "step": one.segment}
