# SPDX-License-Identifier: Apache-2.0
"""The policy simulator: the same evaluator that decides every call, asked what it would say.

Source: IAM API Reference, SimulateCustomPolicy and SimulatePrincipalPolicy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need, operation
from cloudchamber.policy.document import PolicyError, Question, Subject
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, evaluate, policy
from cloudchamber.policy.positions import statements
from cloudchamber.services.iam import needs, tables
from cloudchamber.services.iam.errors import InvalidInput, NoSuchEntity
from cloudchamber.services.iam.identities import policies_of
from cloudchamber.services.iam.names import page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.policy.evaluate import Decided, Kind, Verdict
    from cloudchamber.store.database import Reader

    Context = dict[str, str | tuple[str, ...]]

_SOURCES: Mapping[Kind, str] = {"resource": "Resource Policy", "boundary": "IAM Permissions Boundary Policy"}


_REFUSED = ("PolicyExclusionList", "ResourceHandlingOption", "OrderedOrganizationPolicyInputList", "ResourceOwner")


@dataclass(frozen=True, slots=True)
class _Simulation:
    """What stays the same for every action and resource of one request."""

    subject: Subject
    policies: IdentityPolicies
    resource_policy: Policy | None
    context: Context
    account: str


def _source_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    yield Need("iam:SimulatePrincipalPolicy", request["PolicySourceArn"])


def _refuse(request: Mapping[str, Any]) -> None:
    """Name what would change the answer and is not carried out."""
    for name in _REFUSED:
        if request.get(name):
            raise InvalidInput(f"{name} is not supported by this IAM endpoint.")


@operation("SimulateCustomPolicy", needs=needs.account("SimulateCustomPolicy"))
async def simulate_custom_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Decide actions by the policies given, and by nothing else.

    Raises:
        InvalidInput: a policy or a context entry is malformed.
    """
    _refuse(request)
    found = IdentityPolicies(_given(request["PolicyInputList"], "PolicyInputList", "identity"), _boundary(request))
    subject = _caller(call, request) or Subject("user", call.account, f"arn:aws:iam::{call.account}:user/simulated")
    return _answer(request, _Simulation(subject, found, _resource(request), _context(request), call.account))


@operation("SimulatePrincipalPolicy", needs=_source_needs)
async def simulate_principal_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Decide actions by the policies of a user, group or role, and those given.

    Raises:
        NoSuchEntity: there is no such user, group or role.
        InvalidInput: a policy or a context entry is malformed.
    """
    _refuse(request)
    arn: str = request["PolicySourceArn"]

    def look(db: Reader) -> tuple[IdentityPolicies, Subject]:
        entity = tables.by_arn(db, arn)
        if entity is None or entity.kind == "instance-profile":
            raise NoSuchEntity(f"The specified entity {arn} cannot be found.")
        if entity.kind == "role":
            session = f"arn:aws:sts::{entity.account}:assumed-role/{entity.name}/simulated"
            return policies_of(db, arn, ()), Subject("assumed-role", entity.account, session, arn)
        return policies_of(db, arn, ()), Subject("user", entity.account, arn)

    own, subject = call.doors.database.read(look)
    more = _given(request.get("PolicyInputList", ()), "PolicyInputList", "identity")
    boundary = _boundary(request)
    found = replace(own, identity=own.identity + more, boundary=own.boundary if boundary is None else boundary)
    context = _context(request)
    if subject.kind == "user":
        context.setdefault("aws:username", arn.rsplit("/", 1)[-1])
    context.setdefault("aws:principalarn", arn)
    who = _caller(call, request) or subject
    return _answer(request, _Simulation(who, found, _resource(request), context, call.account))


def _given(texts: Sequence[str], name: str, kind: Kind) -> tuple[Policy, ...]:
    try:
        return tuple(policy(f"{name}.{number}", kind, text) for number, text in enumerate(texts, 1))
    except PolicyError as error:
        raise InvalidInput(str(error)) from error


def _boundary(request: Mapping[str, Any]) -> tuple[Policy, ...] | None:
    texts = request.get("PermissionsBoundaryPolicyInputList")
    return _given(texts, "PermissionsBoundaryPolicyInputList", "boundary") if texts else None


def _resource(request: Mapping[str, Any]) -> Policy | None:
    text = request.get("ResourcePolicy")
    return _given((text,), "ResourcePolicy", "resource")[0] if text else None


def _caller(call: Call, request: Mapping[str, Any]) -> Subject | None:
    arn = request.get("CallerArn")
    if not arn:
        if "ResourcePolicy" in request and "PolicySourceArn" not in request:
            raise InvalidInput("CallerArn is required when a ResourcePolicy is given.")
        return None
    return Subject("user", arn.split(":")[4] if arn.count(":") >= 5 else call.account, arn)


def _context(request: Mapping[str, Any]) -> Context:
    found: Context = {}
    for entry in request.get("ContextEntries", ()):
        values = tuple(entry.get("ContextKeyValues", ()))
        many = str(entry.get("ContextKeyType", "string")).endswith("List")
        if not many and len(values) != 1:
            raise InvalidInput(f"Context key {entry.get('ContextKeyName')} must have one value.")
        found[str(entry["ContextKeyName"]).lower()] = values if many else values[0]
    return found


def _answer(request: Mapping[str, Any], simulation: _Simulation) -> dict[str, Any]:
    results = [
        _result(simulation, action, resource)
        for action in request["ActionNames"]
        for resource in request.get("ResourceArns", ("*",))
    ]
    numbered = list(enumerate(results))
    some, more = page(request, numbered, lambda one: f"{one[0]:08d}")
    return {"EvaluationResults": [result for _, result in some]} | more


def _result(simulation: _Simulation, action: str, resource: str) -> dict[str, Any]:
    question = Question(simulation.subject, action, resource, simulation.context, simulation.account)
    verdict = evaluate(question, simulation.policies, simulation.resource_policy)
    told: dict[str, Any] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": "allowed" if verdict.allowed else "explicitDeny" if verdict.explicit else "implicitDeny",
        "MatchedStatements": [_matched(decided) for decided in verdict.because],
        "MissingContextValues": _missing(simulation, question),
    }
    if simulation.policies.boundary is not None:
        allowed = _boundary_allows(question, simulation.policies.boundary)
        told["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": allowed}
    return told


def _boundary_allows(question: Question, boundary: tuple[Policy, ...]) -> bool:
    verdict: Verdict = evaluate(question, IdentityPolicies(boundary))
    return verdict.allowed


def _matched(decided: Decided) -> dict[str, Any]:
    span = statements(decided.policy.document.text)[decided.statement.index]
    return {
        "SourcePolicyId": decided.policy.name,
        "SourcePolicyType": _SOURCES.get(decided.policy.kind, "IAM Policy"),
        "StartPosition": {"Line": span.start_line, "Column": span.start_column},
        "EndPosition": {"Line": span.end_line, "Column": span.end_column},
    }


def _missing(simulation: _Simulation, question: Question) -> list[str]:
    """Keys that statements for the action read and that nobody gave."""
    own = (simulation.resource_policy,) if simulation.resource_policy is not None else ()
    read: set[str] = set()
    for group in (*simulation.policies.groups(), own):
        for one in group:
            denies, allows = one.document.relevant(question.verb)
            for statement in (*denies, *allows):
                read |= statement.reads
    return sorted(read - simulation.context.keys())
