# SPDX-License-Identifier: Apache-2.0
"""IAM decides: one decision for each permission that a request needs, each written onto the call's segment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.operation import Need, each_by_itself, nothing
from cloudchamber.front.keys import OF_CALL, of_call, of_caller, shown
from cloudchamber.front.remembered import OF_S3, REMEMBERED_MAX, Memory, Resource, memory_of, subject
from cloudchamber.policy.document import Question, Subject
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, Verdict, evaluate
from cloudchamber.policy.explain import at_home, encoded, explain, granted, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.identity import Principal
    from cloudchamber.contract.operation import AnyOperation
    from cloudchamber.contract.service import Service
    from cloudchamber.front.keys import Value
    from cloudchamber.policy.evaluate import Levels, Plan


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
    "ecr": AccessDeniedJson,
    "secretsmanager": AccessDeniedJson,
    "kms": AccessDeniedJson,
    "ec2-instance-connect": AccessDeniedJson,
    "events": AccessDeniedJson,
}
_NEEDLESS = (nothing, each_by_itself)
_NOBODY = IdentityPolicies()
_BUCKET_POLICY = frozenset(("s3:GetBucketPolicy", "s3:PutBucketPolicy", "s3:DeleteBucketPolicy"))
_CONTROLLED = frozenset(
    ("s3", "sts", "kms", "sqs", "secretsmanager", "ecr", "aoss", "dynamodb", "cognito-identity", "cognito-idp", "logs")
)
"""Services whose resources resource control policies limit.

Source: AWS Organizations User Guide, "Resource control policies (RCPs)", list of AWS services that support RCPs.
"""


def authorize(call: Call, service: Service, operation: AnyOperation, request: Any) -> None:
    """Decide every need of a request, in order; what was decided lies on the call's segment.

    Raises:
        AccessDenied: the first need that is not allowed, as its service words it; or the request needs nothing at all
            and its operation is none of those that say so.
    """
    decisions = call.segment.decisions
    memory: Memory | None = None
    for need in operation.needs(call, request):
        if memory is None:
            memory = memory_of(call)
        told = memory.allowed(call, need) or _known(call, need, memory)
        if told is not None:
            decisions.append(told)
            continue
        decision = decide(call, need)
        decisions.append(decision.told)
        if not decision.verdict.allowed and not _instead(call, decision):
            raise denial(call, service.name, decision)
    if memory is None and operation.needs not in _NEEDLESS:
        # Why: a request that maps to no action was decided by nobody; that must not count as a yes.
        kind = _ERRORS.get(service.name, AccessDenied)
        raise kind(f"User: {call.principal.arn} is not authorized to perform: {service.name}:{operation.name}")


def known(call: Call, action: str, resource: str) -> dict[str, Any] | None:
    """A yes, told, for an action that reads no condition key; None: it is no yes, or takes a longer look."""
    memory, need = memory_of(call), Need(action, resource)
    told = memory.allowed(call, need)
    if told is None and _known(call, need, memory) is not None:
        told = memory.allowed(call, need)  # Why again: only what no key was read for is remembered as a yes
    return told


def _instead(call: Call, decision: Decision) -> bool:
    """Whether a need that does as well as the one that nothing allows is allowed; told, if it was asked."""
    if decision.need.instead is None or decision.verdict.explicit:
        return False
    other = decision.need.instead()
    if other is None:
        return False
    found = decide(call, other)
    call.segment.decisions.append(found.told)
    if found.verdict.allowed:
        call.missing_only = True  # Why: what is missing now may be there when the operation looks
    return found.verdict.allowed


def _known(call: Call, need: Need, memory: Memory) -> dict[str, Any] | None:
    """A yes, told: remembered if policies, resource, caller and every key that they read are as before.

    None: it is no yes, or one that takes a longer look; `decide` has the whole answer.
    """
    resource = memory.resource(call, need)
    account = resource.account or call.account
    principal, who, of_caller = memory.caller(call)
    if resource.error is not None or (principal.kind == "root" and need.action in _BUCKET_POLICY):
        return None
    policies = _policies(call).under(_controls(call, need, account))
    plan = policies.plan(need.action.lower(), resource.own)
    given = {name.lower(): value for name, value in need.context.items()}
    context: dict[str, Value] = {}
    if plan.reads:
        _read(call, need, plan, resource, account, of_caller, given, context)
    key = (plan, principal.arn, need.resource, account, *context.items())
    base = memory.decisions.get(key)
    if base is None:
        question = Question(who, need.action, need.resource, context, account)
        verdict = plan.decide(question, resource_must_allow=_alone(plan.resource, need))
        if not verdict.allowed:
            return None
        base = granted(question, plan, verdict) | _asked(principal, account, {})
        if len(memory.decisions) >= REMEMBERED_MAX:
            memory.decisions.clear()
        memory.decisions[key] = base
    if given:
        return {**base, "keys": shown(given)}
    if not plan.reads:
        memory.keep(call, need, resource, base)
    return base


def _read(
    call: Call,
    need: Need,
    plan: Plan,
    resource: Resource,
    account: str,
    of_caller: Mapping[str, Value],
    given: Mapping[str, Value],
    context: dict[str, Value],
) -> None:
    """Fill `context` with the values of the keys that a plan reads; the most special source wins."""
    if need.looked_up is not None and any(key.startswith(need.looked_up[0]) for key in plan.reads):
        given = {**given, **{name.lower(): value for name, value in need.looked_up[1]().items()}}
    tags = resource.keys
    for key in plan.reads:
        value = given.get(key)
        if value is None:
            value = tags.get(key)
            if value is None:
                value = of_caller.get(key)
                if value is None:
                    if key == "aws:resourceaccount":
                        value = account
                    elif key in OF_CALL:
                        value = OF_CALL[key](call, account)
                    if value is None:
                        continue
        context[key] = value


def decide(call: Call, need: Need) -> Decision:
    """Decide one need; never raises for a refusal."""
    memory = memory_of(call)
    resource = memory.resource(call, need)
    account = resource.account or call.account
    principal, who, of_caller = memory.caller(call)
    policies = _policies(call).under(_controls(call, need, account))
    keys: dict[str, Value] = of_call(call, account) | of_caller
    keys |= {"aws:resourceaccount": account, **resource.keys}
    keys |= {name.lower(): value for name, value in need.context.items()}
    question = Question(who, need.action, need.resource, keys, account)
    asked = _asked(principal, account, need.context)
    if resource.error is not None:  # Why: what a policy forbids that cannot be read is unknown
        verdict = Verdict(False, True, ("resource",), ())
        return Decision(need, question, verdict, explain(question, policies, None, verdict) | asked
                        | {"error": str(resource.error)})  # fmt: skip
    own = resource.own
    if own is not None and _may_repair(principal, need, account):
        own = None
    if need.looked_up is not None:
        beginning, find = need.looked_up
        if any(key.startswith(beginning) for key in policies.plan(question.verb, own).reads):
            keys.update({name.lower(): value for name, value in find().items()})
    verdict = evaluate(question, policies, own, resource_must_allow=_alone(own, need))
    itself = not verdict.explicit and who.kind == "service" and _acts_on_itself(who, need)
    if itself and not verdict.allowed:
        verdict = Verdict(True, False, (), ())
    told = explain(question, policies, own, verdict) | asked
    if verdict.allowed and not verdict.because:
        told["reason"] = "because a service needs nobody's leave for its own resources"
    return Decision(need, question, verdict, told)


def denial(call: Call, service: str, decision: Decision) -> AccessDenied:
    """The error, in AWS's words.

    Source: IAM User Guide, "Troubleshoot access denied error messages"; Amazon S3 User Guide, "Troubleshoot access
    denied (403 Forbidden) errors" (policies are told of within an account or organization only); Amazon EC2 User
    Guide, "Launch error: You are not authorized to perform".
    """
    kind, who, need = _ERRORS.get(service, AccessDenied), call.principal, decision.need
    home = at_home(decision.question)
    if who.kind == "anonymous" or (service == "s3" and not home):
        return kind("Access Denied")
    where = ""
    if need.resource not in ("*", f"{OF_S3}*"):
        where = f' on resource: "{need.resource}"' if service == "s3" else f" on resource: {need.resource}"
    text = f"User: {who.arn} is not authorized to perform: {need.action}{where}"
    if home:
        text += f" {reason(decision.question, decision.verdict)}"
    if service != "ec2":
        return kind(text)
    text = f"You are not authorized to perform this operation. {text}"
    if not need.action.startswith("ec2:Describe"):
        story = encoded(decision.question, decision.verdict, who.user_id)
        text += f". Encoded authorization failure message: {call.doors.identities.seal(json.dumps(story))}"
    return kind(text)


def _policies(call: Call) -> IdentityPolicies:
    if call.principal.kind in ("service", "anonymous"):
        return _NOBODY
    return call.doors.identities.policies(call.principal)


def _controls(call: Call, need: Need, account: str) -> Levels | None:
    """The resource control policies of the resource's account, if they reach the service."""
    controls = call.doors.identities.resource_controls(account)
    return controls if controls is not None and need.action.partition(":")[0] in _CONTROLLED else None


@dataclass(frozen=True, slots=True)
class Consulted:
    """What a decision about a need consults, without the request: for questions about what might be."""

    subject: Subject
    policies: IdentityPolicies
    own: Policy | None
    """The resource's own policy."""
    account: str
    """Of the resource; empty if nobody here knows it."""
    keys: dict[str, Value]
    """The condition keys that follow from caller and resource alone."""


def consulted(call: Call, need: Need) -> Consulted:
    """The caller, the policies and the keys that `decide` would take for a need."""
    resource = memory_of(call).resource(call, need)
    account = resource.account or call.account
    place = {key: value for key, value in of_call(call, account).items() if "org" in key}
    keys = place | of_caller(call.principal) | {"aws:resourceaccount": account, **resource.keys}
    policies = _policies(call).under(_controls(call, need, account))
    return Consulted(subject(call.principal), policies, resource.own, resource.account, keys)


def _may_repair(who: Principal, need: Need, account: str) -> bool:
    """The root user may always read, replace and remove a bucket policy of its account.

    Source: Amazon S3 API Reference, PutBucketPolicy.
    """
    return who.kind == "root" and who.account == account and need.action in _BUCKET_POLICY


def _alone(own: Policy | None, need: Need) -> bool:
    """Whether nobody gets in without the resource's own policy: roles' trust policies, and key policies.

    Source: AWS KMS Developer Guide, "Key policies in AWS KMS": "Every KMS key must have exactly one key policy".
    """
    return own is not None and (own.kind == "trust" or need.action.startswith("kms:"))


def _acts_on_itself(who: Subject, need: Need) -> bool:
    """A service needs nobody's leave for its own resources."""
    return who.arn.partition(".")[0] == need.action.partition(":")[0]


def _asked(who: Principal, account: str, keys: Mapping[str, Value]) -> dict[str, Any]:
    """What a decision has to remember so that it can be taken again with other policies."""
    entity = who.entity_arn or (who.arn if who.kind == "user" else "")
    return {"entity": entity, "account": account, "keys": shown({k.lower(): v for k, v in keys.items()})}
