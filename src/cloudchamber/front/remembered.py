# SPDX-License-Identifier: Apache-2.0
"""What decisions rest on, remembered: callers, what owners say of their resources, and what was allowed before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.front.keys import of_caller, of_tags
from cloudchamber.policy.document import PolicyError, Subject
from cloudchamber.policy.evaluate import Policy, policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.identity import Principal
    from cloudchamber.contract.operation import Facts, Need
    from cloudchamber.front.keys import Value
    from cloudchamber.store.database import Database

REMEMBERED_MAX = 4096
OF_S3 = "arn:aws:s3:::"


@dataclass(frozen=True, slots=True)
class Resource:
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
    itself: bool = False
    """These are such facts: they may change at any commit."""


class Memory:
    """What was read of resources, for one state of all tables but the busy ones (see `Database.settled`); what follows
    from callers; what was decided."""

    __slots__ = ("callers", "database", "decisions", "resources", "settled", "yes")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.settled = -1
        self.resources: dict[tuple[str, bool], Resource] = {}
        self.callers: dict[int, tuple[Principal, Subject, dict[str, Value]]] = {}
        self.decisions: dict[tuple[Any, ...], dict[str, Any]] = {}
        """What was decided before, told. A key begins with the plan, which other policies do not share."""
        self.yes: dict[tuple[int, str, str], tuple[Principal, dict[str, Any]]] = {}
        """What was allowed by policies that read no key, by caller, action and resource."""

    def allowed(self, call: Call, need: Need) -> dict[str, Any] | None:
        """A yes, told, that holds for this need as long as nothing is changed on which decisions rest."""
        if self.database.settled != self.settled or need.context:
            return None
        found = self.yes.get((id(call.principal), need.action, need.resource))
        return found[1] if found is not None and found[0] is call.principal else None

    def keep(self, call: Call, need: Need, resource: Resource, told: dict[str, Any]) -> None:
        """Remember a yes that followed from rows that seldom change: no object's own facts, no older snapshot."""
        if resource.itself or self.database.reading:
            return
        if len(self.yes) >= REMEMBERED_MAX:
            self.yes.clear()
        self.yes[id(call.principal), need.action, need.resource] = call.principal, told

    def resource(self, call: Call, need: Need) -> Resource:
        """What the resource's owner says of it, read again after a commit that may have changed it."""
        settled = self.database.settled
        if settled != self.settled:
            self.resources.clear()
            self.yes.clear()
            self.settled = settled
        arn = need.resource
        if arn.startswith(OF_S3):  # Why: an object's owner and policy are its bucket's
            arn = arn.partition("/")[0]
        key = (arn, need.action.startswith("sts:"))  # Why: a trust policy counts for STS only
        found = self.resources.get(key)
        if found is None:
            found = _resource(call, *key)
            if not self.database.reading:  # Why: a snapshot that is being read may be an older one
                if len(self.resources) >= REMEMBERED_MAX:
                    self.resources.clear()
                self.resources[key] = found
        if found.apart and need.own is not None:
            facts = need.own()
            if facts is not None:
                return replace(_said(facts, need.resource, for_sts=False), itself=True)
            return replace(found, itself=True)
        return found

    def caller(self, call: Call) -> tuple[Principal, Subject, dict[str, Value]]:
        """The caller as policies see it, and the condition keys that follow from it alone."""
        who = call.principal
        found = self.callers.get(id(who))
        if found is None or found[0] is not who:
            found = who, subject(who), of_caller(who)
            if len(self.callers) >= REMEMBERED_MAX:
                self.callers.clear()
            self.callers[id(who)] = found
        return found


_memory: Memory | None = None


def memory_of(call: Call) -> Memory:
    """The memory of this chamber; one is enough, since a process has one chamber."""
    global _memory
    memory = _memory
    if memory is None or memory.database is not call.doors.database:
        _memory = memory = Memory(call.doors.database)
    return memory


def subject(principal: Principal) -> Subject:
    """The caller as the policy language sees it."""
    role = principal.entity_arn if principal.kind in ("assumed-role", "federated-user") else ""
    provider = principal.federated if principal.kind == "federated-user" else ""
    return Subject(principal.kind, principal.account, principal.arn, role, provider)


# Why: the same policy, read again after a commit, must be the same object: plans are made for objects
_kept = lru_cache(1024)(policy)


def _resource(call: Call, arn: str, for_sts: bool) -> Resource:
    """What the owner of the resource says."""
    owner = Arn.service_in(arn)
    service = call.doors.services.get(owner) if owner else None
    facts = service.facts(call.doors, arn) if service is not None else None
    if facts is None:  # Why: "*", or what the operation itself will refuse
        return Resource("", None, {})
    return _said(facts, arn, for_sts=for_sts)


def _said(facts: Facts, arn: str, *, for_sts: bool) -> Resource:
    """What facts mean for a decision."""
    owner = Arn.service_in(arn)
    own: Policy | None = None
    if facts.policy and (owner != "iam" or for_sts):
        name = facts.policy_name or f"policy of {arn}"
        try:
            own = _kept(name, "trust" if owner == "iam" else "resource", facts.policy)
        except PolicyError as error:
            return Resource(facts.account, None, of_tags(owner, facts.tags), error, facts.apart)
    return Resource(facts.account, own, of_tags(owner, facts.tags), None, facts.apart)
