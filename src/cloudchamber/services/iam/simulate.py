# SPDX-License-Identifier: Apache-2.0
"""The policy simulator: the same evaluator that decides every call, asked what it would say.

Source: IAM API Reference, SimulateCustomPolicy and SimulatePrincipalPolicy.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.contract.identity import Principal
from cloudchamber.contract.operation import operation
from cloudchamber.policy.document import PolicyError, Subject, load
from cloudchamber.policy.evaluate import IdentityPolicies
from cloudchamber.services.iam import needs, simulated, tables
from cloudchamber.services.iam.errors import InvalidInput, NoSuchEntity
from cloudchamber.services.iam.identities import policies_of
from cloudchamber.services.iam.names import page
from cloudchamber.services.iam.simulation import Simulation, result

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader

_VARIABLE = re.compile(r"\$\{([A-Za-z][^,}]*)")


@operation("SimulateCustomPolicy", needs=needs.account("SimulateCustomPolicy"))
async def simulate_custom_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Decide actions by the policies given, and by nothing else.

    Raises:
        InvalidInput: a policy, an ARN or a context entry is malformed.
    """
    given = simulated.documents(request["PolicyInputList"], "PolicyInputList")
    found = IdentityPolicies(given, simulated.boundary(request), scps=simulated.controls(request))
    caller = simulated.caller(request["CallerArn"]) if "CallerArn" in request else None
    own = simulated.resource_policy(request, caller)
    subject = caller or Subject("user", call.account, f"arn:aws:iam::{call.account}:user/simulated")
    return _answer(request, subject, found, own, simulated.context(request))


@operation("SimulatePrincipalPolicy", needs=needs.on("SimulatePrincipalPolicy", "PolicySourceArn"))
async def simulate_principal_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Decide actions by the policies of a user, group or role, and those given.

    Raises:
        NoSuchEntity: there is no such user, group or role.
        InvalidInput: a policy, an ARN, an exclusion or a context entry is malformed.
    """
    excluded = simulated.Excluded(request.get("PolicyExclusionList", ()))
    entity = call.doors.database.read(lambda db: _entity(db, call.account, request["PolicySourceArn"]))
    subject = simulated.caller(request.get("CallerArn", entity.arn))
    own = simulated.resource_policy(request, subject)
    found = _policies(call, entity, excluded)
    more = simulated.documents(request.get("PolicyInputList", ()), "PolicyInputList")
    boundary = simulated.boundary(request)
    found = replace(found, identity=found.identity + more, boundary=found.boundary if boundary is None else boundary)
    context = _known(call, entity) | simulated.context(request)
    return _answer(request, subject, found, own, context)


@operation("GetContextKeysForCustomPolicy", needs=needs.account("GetContextKeysForCustomPolicy"))
async def get_context_keys_for_custom_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The condition keys that policies read. Source: IAM API Reference, GetContextKeysForCustomPolicy."""
    return {"ContextKeyNames": _keys(request["PolicyInputList"])}


@operation("GetContextKeysForPrincipalPolicy", needs=needs.on("GetContextKeysForPrincipalPolicy", "PolicySourceArn"))
async def get_context_keys_for_principal_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The condition keys that the policies of a user, group or role read, and those given.

    Raises:
        NoSuchEntity: there is no such user, group or role.

    Source: IAM API Reference, GetContextKeysForPrincipalPolicy.
    """

    def look(db: Reader) -> list[str]:
        entity = _entity(db, call.account, request["PolicySourceArn"])
        return [source.policy.document.text for source in simulated.sources(db, entity)]

    return {"ContextKeyNames": _keys([*call.doors.database.read(look), *request.get("PolicyInputList", ())])}


def _entity(db: Reader, account: str, arn: str) -> Entity:
    entity = tables.by_arn(db, arn)
    if entity is None or entity.kind == "instance-profile" or entity.account != account:
        raise NoSuchEntity(f"The specified entity {arn} cannot be found.")
    return entity


def _policies(call: Call, entity: Entity, excluded: simulated.Excluded) -> IdentityPolicies:
    """The policies in force for an entity, without those that are left out."""

    def look(db: Reader) -> IdentityPolicies:
        kept = tuple(one.policy for one in simulated.sources(db, entity) if not excluded.has(one))
        return IdentityPolicies(kept, policies_of(db, entity.arn, ()).boundary)

    found = call.doors.database.read(look)
    if "permission-boundary" in excluded.groups:
        found = replace(found, boundary=None)
    if "scp" in excluded.groups:
        return found
    kind = "assumed-role" if entity.kind == "role" else "user"
    who = Principal(kind, entity.account, entity.arn, entity_arn=entity.arn)
    return replace(found, scps=call.doors.identities.policies(who).scps)


def _known(call: Call, entity: Entity) -> simulated.Context:
    """Condition keys that the entity itself gives."""
    found: simulated.Context = {
        "aws:principalarn": entity.arn,
        "aws:principalaccount": entity.account,
    }
    if entity.kind == "user":
        found |= {"aws:username": entity.name, "aws:userid": entity.id, "aws:principaltype": "User"}
    for key, value in call.doors.database.read(lambda db: tables.tags(db, entity.arn)).items():
        found[f"aws:principaltag/{key.lower()}"] = value
    return found


def _answer(
    request: Mapping[str, Any],
    subject: Subject,
    policies: IdentityPolicies,
    own: Any,
    context: simulated.Context,
) -> dict[str, Any]:
    actions, resources = simulated.actions(request), simulated.resources(request)
    simulation = Simulation(subject, policies, own, context, simulated.owner(request, subject), resources)
    some, more = page(request, list(enumerate(actions)), lambda one: f"{one[0]:08d}")
    return {"EvaluationResults": [result(simulation, action) for _, action in some]} | more


def _keys(texts: Iterable[str]) -> list[str]:
    """Names of condition keys and policy variables, as they are written first."""
    found: dict[str, str] = {}
    for text in texts:
        try:
            simulated.documents((text,), "PolicyInputList")
            body = load(text)
        except PolicyError as error:
            raise InvalidInput(str(error)) from error
        for key in _written(body):
            found.setdefault(key.lower(), key)
    return sorted(found.values())


def _written(body: Mapping[str, Any]) -> Iterable[str]:
    listed: Any = body.get("Statement", [])
    statements = cast("list[dict[str, Any]]", listed if isinstance(listed, list) else [listed])
    for statement in statements:
        for keys in statement.get("Condition", {}).values():
            yield from keys
        for part in ("Resource", "NotResource", "Condition"):
            yield from _VARIABLE.findall(str(statement.get(part, "")))
