# SPDX-License-Identifier: Apache-2.0
"""IAM decides: one decision for each permission that a request needs, each written onto the call's segment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.operation import each_by_itself, nothing
from cloudchamber.policy.document import PolicyError, Question, Subject
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, Verdict, evaluate, policy
from cloudchamber.policy.explain import encoded, explain, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.identity import Principal
    from cloudchamber.contract.operation import AnyOperation, Facts, Need
    from cloudchamber.contract.service import Service

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """One need and its verdict; `told` is the explanation that lies on the segment."""

    need: Need
    question: Question
    verdict: Verdict
    told: dict[str, Any]


class AccessDeniedException(AccessDenied):
    """IAM said no, in services of the JSON protocols. Source: AWS Lambda API Reference, Invoke."""

    code = "AccessDeniedException"
    status = 403


class AccessDeniedJson(AccessDenied):
    """IAM said no, in services of the older JSON protocol. Source: CloudWatch Logs API, Common Errors."""

    code = "AccessDeniedException"
    status = 400


class UnauthorizedOperation(AccessDenied):
    """IAM said no, in EC2. Source: Amazon EC2 API Reference, Error codes."""

    code = "UnauthorizedOperation"
    status = 403


_ERRORS: Mapping[str, type[AccessDenied]] = {
    "ec2": UnauthorizedOperation,
    "lambda": AccessDeniedException,
    "logs": AccessDeniedJson,
    "ssm": AccessDeniedJson,
    "secretsmanager": AccessDeniedJson,
    "kms": AccessDeniedJson,
}
_TYPES = {
    "root": "Account",
    "user": "User",
    "assumed-role": "AssumedRole",
    "federated-user": "FederatedUser",
    "service": "Service",
    "anonymous": "Anonymous",
}
_NEEDLESS = (nothing, each_by_itself)
_NOBODY = IdentityPolicies()
_BUCKET_POLICY = frozenset(("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"))


def authorize(call: Call, service: Service, operation: AnyOperation, request: Any) -> list[Decision]:
    """Decide every need of a request, in order.

    Raises:
        AccessDenied: the first need that is not allowed, as its service words it; or the request needs nothing at all
            and its operation is none of those that say so.
    """
    decisions: list[Decision] = []
    caller: tuple[IdentityPolicies, Subject, dict[str, Value]] | None = None
    for need in operation.needs(call, request):
        if caller is None:
            caller = _policies(call), subject(call.principal), global_context(call)
        decision = decide(call, need, *caller)
        decisions.append(decision)
        call.segment.decisions.append(decision.told)
        if not decision.verdict.allowed:
            raise denial(call, service.name, decision)
    if not decisions and operation.needs not in _NEEDLESS:
        # Why: a request that maps to no action was decided by nobody; that must not count as a yes.
        kind = _ERRORS.get(service.name, AccessDenied)
        raise kind(f"User: {call.principal.arn} is not authorized to perform: {service.name}:{operation.name}")
    return decisions


def decide(call: Call, need: Need, policies: IdentityPolicies, who: Subject, context: Mapping[str, Value]) -> Decision:
    """Decide one need; never raises for a refusal."""
    facts, owner = _facts(call, need)
    account = facts.account if facts is not None else call.account
    keys = dict(context)
    keys["aws:resourceaccount"] = account
    if facts is not None:
        for name, value in facts.tags.items():
            keys[f"aws:resourcetag/{name.lower()}"] = value
            keys[f"{owner}:resourcetag/{name.lower()}"] = value
    for name, value in need.context.items():
        keys[name.lower()] = value
    question = Question(who, need.action, need.resource, keys, account)
    try:
        own = _resource_policy(need, facts, owner)
    except PolicyError as error:
        return _unreadable(call.principal, need, question, policies, error)
    if own is not None and _may_repair(call.principal, need, account):
        own = None
    if need.looked_up is not None:
        _look_up(question, keys, need.looked_up, (*policies.groups(), () if own is None else (own,)))
    trust = own is not None and own.kind == "trust"
    verdict = evaluate(question, policies, own, resource_must_allow=trust)
    itself = not verdict.explicit and who.kind == "service" and _acts_on_itself(who, need)
    if itself and not verdict.allowed:
        verdict = Verdict(True, False, (), ())
    told = explain(question, policies, own, verdict) | _asked(call.principal, need, account)
    if verdict.allowed and not verdict.because:
        told["reason"] = "because a service needs nobody's leave for its own resources"
    return Decision(need, question, verdict, told)


def denial(call: Call, service: str, decision: Decision) -> AccessDenied:
    """The error, in AWS's words.

    Source: IAM User Guide, "Troubleshoot access denied error messages"; Amazon S3 User Guide, "Troubleshoot access
    denied (403 Forbidden) errors"; Amazon EC2 User Guide, "Launch error: You are not authorized to perform".
    """
    kind, who, need = _ERRORS.get(service, AccessDenied), call.principal, decision.need
    if who.kind == "anonymous":
        return kind("Access Denied")
    where = ""
    if need.resource != "*":
        where = f' on resource: "{need.resource}"' if service == "s3" else f" on resource: {need.resource}"
    why = reason(decision.question, decision.verdict)
    text = f"User: {who.arn} is not authorized to perform: {need.action}{where} {why}"
    if service != "ec2":
        return kind(text)
    text = f"You are not authorized to perform this operation. {text}"
    if not need.action.startswith("ec2:Describe"):
        story = encoded(decision.question, decision.verdict, who.user_id)
        text += f". Encoded authorization failure message: {call.doors.identities.seal(json.dumps(story))}"
    return kind(text)


def subject(principal: Principal) -> Subject:
    """The caller as the policy language sees it."""
    role = principal.entity_arn if principal.kind == "assumed-role" else ""
    return Subject(principal.kind, principal.account, principal.arn, role)


def global_context(call: Call) -> dict[str, Value]:
    """AWS's global condition keys, in lower case, of one call.

    Source: IAM User Guide, "AWS global condition context keys".
    """
    who = call.principal
    keys: dict[str, Value] = {
        "aws:currenttime": f"{call.now.isoformat()[:19]}Z",
        "aws:epochtime": str(int(call.now.timestamp())),
        "aws:requestedregion": call.region,
        "aws:securetransport": "true" if call.secure or call.headers is None else "false",
        "aws:principaltype": _TYPES[who.kind],
        "aws:principalisawsservice": "true" if who.kind == "service" else "false",
        "aws:viaawsservice": "true" if who.via else "false",
    }
    if call.headers is not None:
        keys["aws:sourceip"] = call.peer
        for key, header in (("aws:useragent", "user-agent"), ("aws:referer", "referer")):
            value = call.headers.get(header)
            if value:
                keys[key] = value
    if who.via:
        keys["aws:calledvia"] = who.via
        keys["aws:calledviafirst"], keys["aws:calledvialast"] = who.via[0], who.via[-1]
    if who.kind == "service":
        _of_service(who, keys)
    elif who.kind != "anonymous":
        _of_identity(who, keys)
    return keys


def _of_service(who: Principal, keys: dict[str, Value]) -> None:
    keys["aws:principalservicename"] = who.arn
    keys["aws:principalservicenameslist"] = (who.arn,)
    if who.source_arn:
        keys["aws:sourcearn"] = who.source_arn
    if who.source_account:
        keys["aws:sourceaccount"] = who.source_account


def _of_identity(who: Principal, keys: dict[str, Value]) -> None:
    keys["aws:principalarn"] = who.entity_arn if who.kind == "assumed-role" else who.arn
    keys["aws:principalaccount"] = who.account
    keys["aws:userid"] = who.user_id or who.account
    if who.kind == "user":
        keys["aws:username"] = who.arn.rsplit("/", 1)[-1]
    for name, value in who.tags.items():
        keys[f"aws:principaltag/{name.lower()}"] = value
    if who.issued_at is not None:
        keys["aws:tokenissuetime"] = who.issued_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        keys["aws:multifactorauthpresent"] = "false"
    if who.source_identity:
        keys["aws:sourceidentity"] = who.source_identity


def _policies(call: Call) -> IdentityPolicies:
    if call.principal.kind in ("service", "anonymous"):
        return _NOBODY
    return call.doors.identities.policies(call.principal)


def _facts(call: Call, need: Need) -> tuple[Facts | None, str]:
    """What the owner of the resource says, and the service's name in condition keys."""
    name = Arn.service_in(need.resource)
    if not name:  # Why: "*", or an ARN that the operation itself will refuse
        return None, ""
    owner = call.doors.services.get(name)
    return (owner.facts(call.doors, need.resource) if owner is not None else None), name


def _resource_policy(need: Need, facts: Facts | None, owner: str) -> Policy | None:
    """The resource's own policy; a role's trust policy counts for STS only."""
    if facts is None or not facts.policy:
        return None
    if owner == "iam":
        if not need.action.startswith("sts:"):
            return None
        return policy(facts.policy_name, "trust", facts.policy)
    return policy(facts.policy_name or f"policy of {need.resource}", "resource", facts.policy)


def _may_repair(who: Principal, need: Need, account: str) -> bool:
    """The root user may always read, replace and remove a bucket policy of its account.

    Source: Amazon S3 API Reference, PutBucketPolicy.
    """
    return who.kind == "root" and who.account == account and need.action in _BUCKET_POLICY


def _look_up(
    question: Question,
    keys: dict[str, Value],
    wanted: tuple[str, Callable[[], Mapping[str, Value]]],
    consulted: Iterable[tuple[Policy, ...]],
) -> None:
    """Fill in the keys that cost a look into the store, if a statement for the action reads one of them."""
    beginning, find = wanted
    read = [key for group in consulted for one in group for key in one.document.read_for(question.verb)]
    if any(key.startswith(beginning) for key in read):
        for name, value in find().items():
            keys[name.lower()] = value


def _acts_on_itself(who: Subject, need: Need) -> bool:
    """A service needs nobody's leave for its own resources."""
    return who.arn.partition(".")[0] == need.action.partition(":")[0]


def _asked(who: Principal, need: Need, account: str) -> dict[str, Any]:
    """What a decision has to remember so that it can be taken again with other policies."""
    entity = who.entity_arn or (who.arn if who.kind == "user" else "")
    keys = {name.lower(): list(v) if isinstance(v, tuple) else v for name, v in need.context.items()}
    return {"entity": entity, "account": account, "keys": keys}


def _unreadable(
    who: Principal, need: Need, question: Question, policies: IdentityPolicies, error: PolicyError
) -> Decision:
    """A resource policy that cannot be read denies: what it forbids is unknown."""
    verdict = Verdict(False, True, ("resource",), ())
    told = explain(question, policies, None, verdict) | _asked(who, need, question.resource_account)
    return Decision(need, question, verdict, told | {"error": str(error)})
