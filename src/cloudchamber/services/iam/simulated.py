# SPDX-License-Identifier: Apache-2.0
"""What a request to the policy simulator says, read and checked.

Source: IAM API Reference, SimulateCustomPolicy and SimulatePrincipalPolicy; PolicyIdentifier.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from cloudchamber.policy import check
from cloudchamber.policy.conditions import date, number
from cloudchamber.policy.document import PolicyError, Subject
from cloudchamber.policy.evaluate import Policy, policy
from cloudchamber.services.iam import tables
from cloudchamber.services.iam.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.policy.evaluate import Kind
    from cloudchamber.services.iam.tables import Entity
    from cloudchamber.store.database import Reader

    Context = dict[str, str | tuple[str, ...]]

_ACTION = re.compile(r"[A-Za-z0-9-]+:[A-Za-z0-9]+")
_CALLER = re.compile(r"arn:aws:iam::(\d{12}):(user|group|role)/(?:[^/]+/)*([\w+=,.@-]+)")
_OWNER = re.compile(r"(?:arn:aws:iam::)?(\d{12})(?::root)?")
_NETWORK = ("instance", "image", "security-group", "network-interface")
_SCENARIOS: Mapping[str, tuple[str, ...]] = {
    "EC2-VPC-InstanceStore": _NETWORK,
    "EC2-VPC-InstanceStore-Subnet": (*_NETWORK, "subnet"),
    "EC2-VPC-EBS": (*_NETWORK, "volume"),
    "EC2-VPC-EBS-Subnet": (*_NETWORK, "subnet", "volume"),
}
_PAIRS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Source:
    """A policy of an entity, and how an exclusion can name it."""

    policy: Policy
    group: str
    """``inline``, ``aws-managed`` or ``user-managed``."""
    arn: str = ""
    name: str = ""
    owner: Entity | None = None


def sources(db: Reader, entity: Entity) -> Iterable[Source]:
    """The permissions policies of an entity and of its groups, named as the simulator names them."""
    for owner in (entity, *(tables.collections(db, "group", entity) if entity.kind == "user" else ())):
        for name, text in tables.inline(db, owner):
            yield Source(
                policy(f"{owner.kind}_{owner.name}_{name}", "identity", text), "inline", name=name, owner=owner
            )
        for arn in tables.attached(db, owner):
            found = tables.managed(db, arn)
            if found is not None:
                group = "aws-managed" if found.account == "aws" else "user-managed"
                yield Source(policy(found.name, "identity", found.document), group, arn)


def documents(texts: Sequence[str], name: str, kind: Kind = "identity") -> tuple[Policy, ...]:
    """Policies that a request brings along; they are called by the member and their number.

    Raises:
        InvalidInput: one is no policy.
    """
    made: list[Policy] = []
    for count, text in enumerate(texts, 1):
        try:
            if kind != "resource":
                check.identity(text)
            made.append(policy(f"{name}.{count}" if kind != "resource" else name, kind, text))
        except PolicyError as error:
            raise InvalidInput(str(error)) from error
    return tuple(made)


def boundary(request: Mapping[str, Any]) -> tuple[Policy, ...] | None:
    """The boundary to simulate.

    Raises:
        InvalidInput: there are two, or it is no policy.
    """
    texts = request.get("PermissionsBoundaryPolicyInputList")
    if texts and len(texts) > 1:
        raise InvalidInput("Only one permissions boundary policy can be simulated at a time.")
    return documents(texts, "PermissionsBoundaryPolicyInputList", "boundary") if texts else None


def controls(request: Mapping[str, Any]) -> tuple[tuple[Policy, ...], ...] | None:
    """The levels of service control policies to simulate, the root first.

    Raises:
        InvalidInput: one is no policy.
    """
    levels = request.get("OrderedOrganizationPolicyInputList")
    if not levels:
        return None
    name = "OrderedOrganizationPolicyInputList"
    return tuple(
        documents(level.get("ServiceControlPolicyInputList", ()), f"{name}.{count}", "scp")
        for count, level in enumerate(levels, 1)
    )


def actions(request: Mapping[str, Any]) -> list[str]:
    """The actions to decide.

    Raises:
        InvalidInput: one is no name of an action, or they are too many.
    """
    found: list[str] = request["ActionNames"]
    for action in found:
        if not _ACTION.fullmatch(action):
            raise InvalidInput(f"Invalid action name: {action}. Wildcards are not supported.")
    if len(found) * len(request.get("ResourceArns", ("*",))) > _PAIRS_MAX:
        raise InvalidInput(f"A simulation can decide at most {_PAIRS_MAX} actions on resources.")
    return found


def resources(request: Mapping[str, Any]) -> Sequence[str]:
    """The resources to decide about; those that a scenario demands are among them.

    Raises:
        InvalidInput: one is no ARN, or a scenario lacks one.
    """
    found: Sequence[str] = request.get("ResourceArns") or ("*",)
    for resource in found:
        if resource != "*" and (not resource.startswith("arn:") or resource.count(":") < 5):
            raise InvalidInput(f"Invalid resource ARN: {resource}")
    scenario = request.get("ResourceHandlingOption")
    if scenario is not None:
        if scenario not in _SCENARIOS:
            raise InvalidInput(f"Invalid ResourceHandlingOption: {scenario}")
        kinds = {one.split(":", 5)[5].partition("/")[0] for one in found if one.startswith("arn:aws:ec2:")}
        lacking = [kind for kind in _SCENARIOS[scenario] if kind not in kinds]
        if lacking:
            raise InvalidInput(f"The {scenario} scenario requires resources of type: {', '.join(lacking)}.")
    return found


def caller(arn: str) -> Subject:
    """The user, group or role that a simulation calls as.

    Raises:
        InvalidInput: it is none.
    """
    found = _CALLER.fullmatch(arn)
    if found is None:
        raise InvalidInput(f"Invalid caller ARN: {arn}. It must be the ARN of an IAM user, group, or role.")
    account, kind, name = found.groups()
    if kind == "role":
        return Subject("assumed-role", account, f"arn:aws:sts::{account}:assumed-role/{name}/simulated", arn)
    return Subject("user", account, arn)


def resource_policy(request: Mapping[str, Any], subject: Subject | None) -> Policy | None:
    """The policy that every resource is treated as having.

    Raises:
        InvalidInput: nobody is said to call, or a role, which AWS does not simulate; or it is no policy.
    """
    text = request.get("ResourcePolicy")
    if not text:
        return None
    if subject is None:
        raise InvalidInput("CallerArn is required when a ResourcePolicy is given.")
    if subject.kind == "assumed-role":
        raise InvalidInput("Simulation of resource-based policies is not supported for IAM roles.")
    return documents((text,), "ResourcePolicy", "resource")[0]


def owner(request: Mapping[str, Any], subject: Subject) -> str:
    """The account of resources whose ARNs name none.

    Raises:
        InvalidInput: the one that is given is no account.
    """
    given = request.get("ResourceOwner")
    if given is None:
        return subject.account
    found = _OWNER.fullmatch(given)
    if found is None:
        raise InvalidInput(f"Invalid resource owner: {given}")
    return found[1]


def context(request: Mapping[str, Any]) -> Context:
    """The values of context keys, by their names in lower case.

    Raises:
        InvalidInput: a value is not of the type that is said.
    """
    found: Context = {}
    for entry in request.get("ContextEntries", ()):
        name, kind = str(entry.get("ContextKeyName", "")), str(entry.get("ContextKeyType", "string"))
        values = tuple(entry.get("ContextKeyValues", ()))
        many = kind.endswith("List")
        if not many and len(values) != 1:
            raise InvalidInput(f"Context key {name} must have one value.")
        for value in values:
            _typed(name, kind.removesuffix("List"), value)
        found[name.lower()] = values if many else values[0]
    return found


def _typed(name: str, kind: str, value: str) -> None:
    try:
        if kind == "numeric":
            number(value)
        elif kind == "date":
            date(value)
        elif kind == "ip":
            ipaddress.ip_network(value, strict=False)
        elif kind == "boolean" and value.lower() not in ("true", "false"):
            raise ValueError(value)
    except ValueError as error:
        raise InvalidInput(f"Value {value} of context key {name} is not of type {kind}.") from error


class Excluded:
    """Which policies a simulation leaves out.

    Raises:
        InvalidInput: an entry does not identify policies.
    """

    def __init__(self, entries: Sequence[Mapping[str, Any]]) -> None:
        self.groups = {one["PolicyType"] for one in entries if "PolicyType" in one}
        self._arns = [one["PolicyArn"] for one in entries if "PolicyArn" in one]
        self._inline = [one["InlinePolicyIdentifier"] for one in entries if "InlinePolicyIdentifier" in one]
        for entry in entries:
            if len(entry) != 1:
                raise InvalidInput("Each policy identifier must have exactly one member.")
        for arn in self._arns:
            beginning, _, name = arn.rpartition("/")
            if not arn.startswith("arn:") or ":policy" not in arn or "*" in beginning or "?" in beginning:
                raise InvalidInput(f"Invalid policy ARN: {arn}")
            self._wildcards(name)
        for one in self._inline:
            self._wildcards(one.get("AttachmentName", ""))

    def has(self, source: Source) -> bool:
        """Whether a policy is left out."""
        if source.group in self.groups or any(_like(source.arn, one) for one in self._arns):
            return True
        owner = source.owner
        return owner is not None and any(
            one.get("PolicyName") == source.name
            and one.get("AttachmentType") == owner.kind
            and _like(owner.name, one.get("AttachmentName", ""))
            for one in self._inline
        )

    @staticmethod
    def _wildcards(pattern: str) -> None:
        if pattern.count("*") > 1:
            raise InvalidInput(f"At most one * is allowed: {pattern}")


def _like(text: str, pattern: str) -> bool:
    return bool(text) and fnmatchcase(text, pattern.replace("[", "[[]"))
