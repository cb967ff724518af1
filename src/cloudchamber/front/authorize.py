# SPDX-License-Identifier: Apache-2.0
"""IAM decides: one decision for each permission that a request needs, each written onto the call's segment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from cloudchamber.base.arn import Arn
from cloudchamber.base.errors import AccessDenied
from cloudchamber.contract.operation import each_by_itself, nothing
from cloudchamber.policy.document import PolicyError, Question, Subject
from cloudchamber.policy.evaluate import IdentityPolicies, Policy, Verdict, evaluate, policy
from cloudchamber.policy.explain import at_home, encoded, explain, granted, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.identity import OrgPlace, Principal
    from cloudchamber.contract.operation import AnyOperation, Facts, Need
    from cloudchamber.contract.service import Service
    from cloudchamber.policy.evaluate import Levels, Plan
    from cloudchamber.store.database import Database

Value = str | tuple[str, ...]
Find: TypeAlias = "Callable[[Call, str], Value | None]"


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
    "ec2-instance-connect": AccessDeniedJson,
    "events": AccessDeniedJson,
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
_CONTROLLED = frozenset(
    ("s3", "sts", "kms", "sqs", "secretsmanager", "ecr", "aoss", "dynamodb", "cognito-identity", "cognito-idp", "logs")
)
"""Services whose resources resource control policies limit.

Source: AWS Organizations User Guide, "Resource control policies (RCPs)", list of AWS services that support RCPs.
"""
_REMEMBERED_MAX = 4096
_OF_S3 = "arn:aws:s3:::"


@dataclass(frozen=True, slots=True)
class _Resource:
    """What is known of a need's resource."""

    account: str
    """Account that owns it; empty for what has no facts: then it is the caller's."""
    own: Policy | None
    keys: Mapping[str, Value]
    """Condition keys that follow from it."""
    error: PolicyError | None = None
    """Its policy cannot be read."""
    apart: bool = False
    """What lies in it has facts of its own."""


class _Memory:
    """What was read of resources, for one state of the database; what follows from callers; what was decided."""

    __slots__ = ("callers", "changes", "database", "decisions", "resources", "yes")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.changes = -1
        self.resources: dict[tuple[str, bool], _Resource] = {}
        self.callers: dict[int, tuple[Principal, Subject, dict[str, Value]]] = {}
        self.decisions: dict[tuple[Any, ...], dict[str, Any]] = {}
        """What was decided before, told. A key begins with the plan, which other policies do not share."""
        self.yes: dict[tuple[int, str, str], tuple[Principal, dict[str, Any]]] = {}
        """What was allowed by policies that read no key, by caller, action and resource; since the last commit."""

    def allowed(self, call: Call, need: Need) -> dict[str, Any] | None:
        """A yes, told, that holds for this need as long as no row changes."""
        if self.database.changes != self.changes or need.context or self.database.reading:
            return None
        found = self.yes.get((id(call.principal), need.action, need.resource))
        return found[1] if found is not None and found[0] is call.principal else None

    def keep(self, call: Call, need: Need, told: dict[str, Any]) -> None:
        """Remember a yes that followed from rows alone."""
        if len(self.yes) >= _REMEMBERED_MAX:
            self.yes.clear()
        self.yes[id(call.principal), need.action, need.resource] = call.principal, told

    def resource(self, call: Call, need: Need) -> _Resource:
        """What the resource's owner says of it, read again after any commit."""
        changes = self.database.changes
        if changes != self.changes or self.database.reading:
            self.resources.clear()
            self.yes.clear()
            self.changes = changes
        arn = need.resource
        if arn.startswith(_OF_S3):  # Why: an object's owner and policy are its bucket's
            arn = arn.partition("/")[0]
        key = (arn, need.action.startswith("sts:"))  # Why: a trust policy counts for STS only
        found = self.resources.get(key)
        if found is None:
            found = _resource(call, *key)
            if len(self.resources) >= _REMEMBERED_MAX:
                self.resources.clear()
            self.resources[key] = found
        if found.apart and need.own is not None:
            facts = need.own()
            if facts is not None:
                return _said(facts, need.resource, for_sts=False)
        return found

    def caller(self, call: Call) -> tuple[Principal, Subject, dict[str, Value]]:
        """The caller as policies see it, and the condition keys that follow from it alone."""
        who = call.principal
        found = self.callers.get(id(who))
        if found is None or found[0] is not who:
            found = who, subject(who), _of_caller(who)
            if len(self.callers) >= _REMEMBERED_MAX:
                self.callers.clear()
            self.callers[id(who)] = found
        return found


_memory: _Memory | None = None


def _memory_of(call: Call) -> _Memory:
    """The memory of this chamber; one is enough, since a process has one chamber."""
    global _memory
    memory = _memory
    if memory is None or memory.database is not call.doors.database:
        _memory = memory = _Memory(call.doors.database)
    return memory


def authorize(call: Call, service: Service, operation: AnyOperation, request: Any) -> None:
    """Decide every need of a request, in order; what was decided lies on the call's segment.

    Raises:
        AccessDenied: the first need that is not allowed, as its service words it; or the request needs nothing at all
            and its operation is none of those that say so.
    """
    decisions = call.segment.decisions
    memory: _Memory | None = None
    for need in operation.needs(call, request):
        if memory is None:
            memory = _memory_of(call)
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


def _instead(call: Call, decision: Decision) -> bool:
    """Whether a need that does as well as the one that nothing allows is allowed; told, if it was asked."""
    if decision.need.instead is None or decision.verdict.explicit:
        return False
    other = decision.need.instead()
    if other is None:
        return False
    found = decide(call, other)
    call.segment.decisions.append(found.told)
    return found.verdict.allowed


def _known(call: Call, need: Need, memory: _Memory) -> dict[str, Any] | None:
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
        if len(memory.decisions) >= _REMEMBERED_MAX:
            memory.decisions.clear()
        memory.decisions[key] = base
    if given:
        return {**base, "keys": _shown(given)}
    if not plan.reads and not memory.database.reading:
        memory.keep(call, need, base)
    return base


def _read(
    call: Call,
    need: Need,
    plan: Plan,
    resource: _Resource,
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
                    elif key in _OF_CALL:
                        value = _OF_CALL[key](call, account)
                    if value is None:
                        continue
        context[key] = value


def decide(call: Call, need: Need) -> Decision:
    """Decide one need; never raises for a refusal."""
    memory = _memory_of(call)
    resource = memory.resource(call, need)
    account = resource.account or call.account
    principal, who, of_caller = memory.caller(call)
    policies = _policies(call).under(_controls(call, need, account))
    keys: dict[str, Value] = _of_call(call, account) | of_caller
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
    if need.resource not in ("*", f"{_OF_S3}*"):
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


def subject(principal: Principal) -> Subject:
    """The caller as the policy language sees it."""
    role = principal.entity_arn if principal.kind in ("assumed-role", "federated-user") else ""
    provider = principal.federated if principal.kind == "federated-user" else ""
    return Subject(principal.kind, principal.account, principal.arn, role, provider)


def _time(call: Call, account: str) -> str:
    return f"{call.now.isoformat()[:19]}Z"


def _epoch(call: Call, account: str) -> str:
    return str(int(call.now.timestamp()))


def _region(call: Call, account: str) -> str:
    return call.region


def _secure(call: Call, account: str) -> str:
    return "true" if call.secure or call.headers is None else "false"


def _address(call: Call, account: str) -> str | None:
    return call.peer if call.headers is not None else None


def _header(name: str) -> Callable[[Call, str], str | None]:
    return lambda call, account: (call.headers.get(name) or None) if call.headers is not None else None


def _mfa_age(call: Call, account: str) -> str | None:
    given = call.principal.mfa_at
    return str(int((call.now - given).total_seconds())) if given is not None else None


def _of_place(
    whose: Callable[[Call, str], str], what: Callable[[OrgPlace], Value]
) -> Callable[[Call, str], Value | None]:
    def find(call: Call, account: str) -> Value | None:
        owner = whose(call, account)
        place = call.doors.identities.organization(owner) if owner else None
        return what(place) if place is not None else None

    return find


def _callers_account(call: Call, account: str) -> str:
    return call.principal.account if call.principal.kind not in ("service", "anonymous") else ""


_PLACES: tuple[tuple[str, Callable[[Call, str], str]], ...] = (
    ("principal", _callers_account),
    ("resource", lambda call, account: account),
    ("source", lambda call, account: call.principal.source_account),
)
_OF_CALL: Mapping[str, Find] = {
    "aws:currenttime": _time,
    "aws:epochtime": _epoch,
    "aws:requestedregion": _region,
    "aws:securetransport": _secure,
    "aws:sourceip": _address,
    "aws:useragent": _header("user-agent"),
    "aws:referer": _header("referer"),
    "aws:multifactorauthage": _mfa_age,
    **{f"aws:{name}orgid": _of_place(whose, lambda place: place.organization) for name, whose in _PLACES},
    **{f"aws:{name}orgpaths": _of_place(whose, lambda place: (place.path,)) for name, whose in _PLACES},
}
"""AWS's global condition keys, in lower case, that may have another value at the next call: each is found when a policy
reads it. They are given the call and the account of the resource.

Source: IAM User Guide, "AWS global condition context keys".
"""


def _of_call(call: Call, account: str) -> dict[str, Value]:
    """All of them."""
    found = {key: find(call, account) for key, find in _OF_CALL.items()}
    return {key: value for key, value in found.items() if value is not None}


def _of_caller(who: Principal) -> dict[str, Value]:
    """Those that follow from the caller alone."""
    keys: dict[str, Value] = {
        "aws:principaltype": _TYPES[who.kind],
        "aws:principalisawsservice": "true" if who.kind == "service" else "false",
        "aws:viaawsservice": "true" if who.via else "false",
    }
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
        keys["aws:multifactorauthpresent"] = "false" if who.mfa_at is None else "true"
    if who.source_identity:
        keys["aws:sourceidentity"] = who.source_identity
    if who.federated:
        keys["aws:federatedprovider"] = who.federated
    for name, values in who.extra.items():
        keys[name.lower()] = values[0] if len(values) == 1 else values


def _tags(owner: str, tags: Mapping[str, str]) -> dict[str, Value]:
    """The keys that a resource's tags make."""
    keys: dict[str, Value] = {}
    for name, value in tags.items():
        keys[f"aws:resourcetag/{name.lower()}"] = value
        keys[f"{owner}:resourcetag/{name.lower()}"] = value
    return keys


def _policies(call: Call) -> IdentityPolicies:
    if call.principal.kind in ("service", "anonymous"):
        return _NOBODY
    return call.doors.identities.policies(call.principal)


def _controls(call: Call, need: Need, account: str) -> Levels | None:
    """The resource control policies of the resource's account, if they reach the service."""
    controls = call.doors.identities.resource_controls(account)
    return controls if controls is not None and need.action.partition(":")[0] in _CONTROLLED else None


# Why: the same policy, read again after a commit, must be the same object: plans are made for objects
_kept = lru_cache(1024)(policy)


def _resource(call: Call, arn: str, for_sts: bool) -> _Resource:
    """What the owner of the resource says."""
    owner = Arn.service_in(arn)
    service = call.doors.services.get(owner) if owner else None
    facts = service.facts(call.doors, arn) if service is not None else None
    if facts is None:  # Why: "*", or what the operation itself will refuse
        return _Resource("", None, {})
    return _said(facts, arn, for_sts=for_sts)


def _said(facts: Facts, arn: str, *, for_sts: bool) -> _Resource:
    """What facts mean for a decision."""
    owner = Arn.service_in(arn)
    own: Policy | None = None
    if facts.policy and (owner != "iam" or for_sts):
        name = facts.policy_name or f"policy of {arn}"
        try:
            own = _kept(name, "trust" if owner == "iam" else "resource", facts.policy)
        except PolicyError as error:
            return _Resource(facts.account, None, _tags(owner, facts.tags), error, facts.apart)
    return _Resource(facts.account, own, _tags(owner, facts.tags), None, facts.apart)


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
    resource = _memory_of(call).resource(call, need)
    account = resource.account or call.account
    place = {key: value for key, value in _of_call(call, account).items() if "org" in key}
    keys = place | _of_caller(call.principal) | {"aws:resourceaccount": account, **resource.keys}
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
    return {"entity": entity, "account": account, "keys": _shown({k.lower(): v for k, v in keys.items()})}


def _shown(keys: Mapping[str, Value]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in keys.items()}
