# SPDX-License-Identifier: Apache-2.0
"""The organization file: its units, its accounts, and the policies that limit them.

Source: AWS Organizations User Guide, "Quotas and service limits", "Service control policies", "Resource control
policies" ("RCP syntax"; "List of AWS services that support RCPs").
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.accounts import OrgPlace
from cloudchamber.policy import check
from cloudchamber.policy.document import PolicyError, load, strings
from cloudchamber.policy.evaluate import Policy, policy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cloudchamber.contract.accounts import Account

Type: TypeAlias = 'Literal["SERVICE_CONTROL_POLICY", "RESOURCE_CONTROL_POLICY"]'
TYPES: Mapping[Type, tuple[str, str, Literal["scp", "rcp"]]] = {
    "SERVICE_CONTROL_POLICY": ("ServiceControlPolicies", "FullAWSAccess", "scp"),
    "RESOURCE_CONTROL_POLICY": ("ResourceControlPolicies", "RCPFullAWSAccess", "rcp"),
}
"""Of each type of policy: the member of a target that lists them, AWS's own one, and their kind in a decision."""
_TYPE_OF: Mapping[str, Type] = {kind: kind for kind in TYPES}
CONTENT_MAX = 5120
ATTACHED_MAX = 5
DEPTH_MAX = 5
UNITS_MAX = 1000
POLICIES_MAX = 1000
RCP_SERVICES = frozenset(
    ("s3", "sts", "kms", "sqs", "secretsmanager", "ecr", "dynamodb", "logs", "cognito-identity", "cognito-idp", "aoss")
)
_EVERYTHING = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}'
_EVERYTHING_RCP = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]}'
)
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


class MalformedOrganization(ServiceError):  # noqa: N818 - named as AWS names errors
    """The organization file is none, or passes a quota; the message says where."""

    code = "InvalidInputException"
    status = 400


@dataclass(frozen=True, slots=True)
class Target:
    """The root, a unit or an account, with the names of the policies that are attached to it."""

    id: str
    name: str
    kind: Literal["root", "organizational unit", "account"]
    attached: Mapping[Type, tuple[str, ...]]
    below: tuple[Target, ...] = ()

    def shown(self) -> dict[str, Any]:
        """As the file writes it, with its id."""
        told: dict[str, Any] = {"Id": self.id} if self.kind == "root" else {"Name": self.name, "Id": self.id}
        for kind, (member, _, _) in TYPES.items():
            told[member] = list(self.attached[kind])
        for member, wanted in (("Accounts", "account"), ("OrganizationalUnits", "organizational unit")):
            found = [one.shown() for one in self.below if one.kind == wanted]
            if found:
                told[member] = found
        return told


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization that was read and found right."""

    id: str
    management: str
    """Id of the account that manages it."""
    root: Target
    policies: Mapping[tuple[Type, str], str]
    """Text of each policy, by type and name."""
    _paths: Mapping[str, tuple[Target, ...]] = field(default_factory=dict[str, "tuple[Target, ...]"])

    def place(self, account: str) -> OrgPlace | None:
        """Where an account stands; None if it is not a member."""
        path = self._paths.get(account)
        if path is None:
            return None
        above = "".join(f"{one.id}/" for one in path[:-1])
        return OrgPlace(self.id, f"{self.id}/{above}", account == self.management)

    def limits(self, account: str, kind: Type) -> tuple[tuple[Policy, ...], ...] | None:
        """The policies of a kind over an account, one tuple a level, the root first; None where nothing limits it."""
        path = self._paths.get(account)
        if path is None or account == self.management:
            return None
        short = TYPES[kind][2]
        return tuple(
            tuple(
                policy(
                    f"{short.upper()} {name} of {target.kind} {target.name}",
                    short,
                    self.policies[kind, name],
                    self._arn(kind, name),
                )
                for name in target.attached[kind]
            )
            for target in path
        )

    def _arn(self, kind: Type, name: str) -> str:
        """A policy's ARN, as error messages name it; its id follows from its name."""
        if name in ("FullAWSAccess", "RCPFullAWSAccess"):
            return f"arn:aws:organizations::aws:policy/{kind.lower()}/p-{name}"
        own = hashlib.sha256(f"{self.id}/{kind}/{name}".encode()).hexdigest()[:8]
        return f"arn:aws:organizations::{self.management}:policy/{self.id}/{kind.lower()}/p-{own}"

    def shown(self) -> Mapping[str, Any]:
        """The organization as its file writes it, with ids."""
        given = {
            name: {"Type": kind, "Content": json.loads(text)}
            for (kind, name), text in self.policies.items()
            if name not in ("FullAWSAccess", "RCPFullAWSAccess")
        }
        return {"Id": self.id, "Management": self.management, "Policies": given, "Root": self.root.shown()}


def read(source: Mapping[str, Any], own_id: str, accounts: Sequence[Account]) -> Organization:
    """An organization from its file.

    Raises:
        MalformedOrganization: it is not right; the message says what, and where.
    """
    _only(source, "the file", ("Management", "Policies", "Root"))
    policies = _policies(_mapping(source.get("Policies", {}), "Policies"))
    reader = _Reader(own_id, policies, {**{one.name: one.id for one in accounts}, **{a.id: a.id for a in accounts}})
    management = reader.account(source.get("Management", accounts[0].id), "Management")
    names = {one.id: one.name for one in accounts}
    root = reader.root(_mapping(source.get("Root", {}), "Root"), management, names)
    return Organization(own_id, management, root, policies, dict(_paths(root, ())))


class _Reader:
    """Reads the tree; remembers which accounts it met."""

    def __init__(self, own_id: str, policies: Mapping[tuple[Type, str], str], accounts: Mapping[str, str]) -> None:
        self._root_id = f"r-{_digest(own_id, 4)}"
        self._policies = policies
        self._accounts = accounts
        self._met: set[str] = set()
        self._units = 0

    def account(self, named: object, where: str) -> str:
        """Id of an account by its id or name."""
        found = self._accounts.get(str(named))
        if found is None:
            raise MalformedOrganization(f"{where}: there is no account {named}; 'cloudchamber account list' has them.")
        return found

    def root(self, source: Mapping[str, Any], management: str, names: Mapping[str, str]) -> Target:
        """The root; the management account stands in it, unless the file says elsewhere."""
        _only(source, "Root", (*(m for m, _, _ in TYPES.values()), "Accounts", "OrganizationalUnits"))
        below = self._below(source, "Root", 0, names)
        if management not in self._met:
            attached: dict[Type, tuple[str, ...]] = {kind: (own,) for kind, (_, own, _) in TYPES.items()}
            below = (Target(management, names[management], "account", attached), *below)
        return Target(self._root_id, "Root", "root", self._attached(source, "Root"), below)

    def _below(self, source: Mapping[str, Any], where: str, depth: int, names: Mapping[str, str]) -> tuple[Target, ...]:
        accounts = [self._member(one, where, names) for one in _list(source.get("Accounts", []), f"{where}.Accounts")]
        listed = _list(source.get("OrganizationalUnits", []), f"{where}.OrganizationalUnits")
        units = [self._unit(_mapping(one, where), where, depth + 1, names) for one in listed]
        if len({unit.name for unit in units}) != len(units):
            raise MalformedOrganization(f"{where}: two organizational units have the same name.")
        return (*accounts, *units)

    def _unit(self, source: Mapping[str, Any], above: str, depth: int, names: Mapping[str, str]) -> Target:
        name = source.get("Name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise MalformedOrganization(f"{above}: an organizational unit needs a Name of 1 to 128 characters.")
        where = f"{above}/{name}"
        _only(source, where, ("Name", "Id", *(m for m, _, _ in TYPES.values()), "Accounts", "OrganizationalUnits"))
        self._units += 1
        if depth > DEPTH_MAX:
            raise MalformedOrganization(f"{where}: organizational units nest {DEPTH_MAX} levels deep at most.")
        if self._units > UNITS_MAX:
            raise MalformedOrganization(f"An organization has {UNITS_MAX} organizational units at most.")
        own_id = f"ou-{self._root_id[2:]}-{_digest(f'{self._root_id} {where}', 8)}"
        attached = self._attached(source, where)
        return Target(own_id, name, "organizational unit", attached, self._below(source, where, depth, names))

    def _member(self, source: object, where: str, names: Mapping[str, str]) -> Target:
        given: Mapping[str, Any] = {"Name": source} if isinstance(source, str | int) else _mapping(source, where)
        _only(given, where, ("Name", "Id", *(m for m, _, _ in TYPES.values())))
        number = self.account(given.get("Id", given.get("Name")), where)
        if number in self._met:
            raise MalformedOrganization(f"{where}: account {names[number]} stands in the file twice.")
        self._met.add(number)
        return Target(number, names[number], "account", self._attached(given, f"{where}, account {names[number]}"))

    def _attached(self, source: Mapping[str, Any], where: str) -> dict[Type, tuple[str, ...]]:
        found: dict[Type, tuple[str, ...]] = {}
        for kind, (member, own, short) in TYPES.items():
            given = [str(name) for name in _list(source.get(member, [own]), f"{where}.{member}")]
            if kind == "RESOURCE_CONTROL_POLICY" and own not in given:
                given = [own, *given]  # Why: AWS lets nobody detach it
            names = tuple(dict.fromkeys(given))
            if not names:
                raise MalformedOrganization(f"{where}: one {short.upper()} at least must be attached.")
            if len(names) > ATTACHED_MAX:
                raise MalformedOrganization(f"{where}: {ATTACHED_MAX} {short.upper()}s at most can be attached.")
            for name in names:
                if (kind, name) not in self._policies:
                    raise MalformedOrganization(f"{where}: there is no policy {name} of type {kind}.")
            found[kind] = names
        return found


def _paths(target: Target, above: tuple[Target, ...]) -> Iterator[tuple[str, tuple[Target, ...]]]:
    """Each account with everything that is above it, the root first, and itself."""
    path = (*above, target)
    if target.kind == "account":
        yield target.id, path
    for one in target.below:
        yield from _paths(one, path)


def _policies(source: Mapping[str, Any]) -> dict[tuple[Type, str], str]:
    if len(source) > POLICIES_MAX:
        raise MalformedOrganization(f"An organization has {POLICIES_MAX} policies at most.")
    found: dict[tuple[Type, str], str] = {
        ("SERVICE_CONTROL_POLICY", "FullAWSAccess"): _EVERYTHING,
        ("RESOURCE_CONTROL_POLICY", "RCPFullAWSAccess"): _EVERYTHING_RCP,
    }
    for name, given in source.items():
        where = f"policy {name}"
        body = _mapping(given, where)
        _only(body, where, ("Type", "Content"))
        kind = _TYPE_OF.get(str(body.get("Type")))
        if not _NAME.fullmatch(name) or name in ("FullAWSAccess", "RCPFullAWSAccess"):
            raise MalformedOrganization(f"{where}: a name has 1 to 128 characters and is none of AWS's own.")
        if kind is None:
            raise MalformedOrganization(f"{where}: Type must be one of {', '.join(TYPES)}.")
        content = body.get("Content")
        text = content if isinstance(content, str) else json.dumps(content, separators=(",", ":"))
        if len(text) > CONTENT_MAX:
            raise MalformedOrganization(f"{where}: its content is longer than {CONTENT_MAX} characters.")
        try:
            if kind == "SERVICE_CONTROL_POLICY":
                check.identity(text)
            else:
                _check_rcp(text)
            policy(name, TYPES[kind][2], text)
        except PolicyError as error:
            raise MalformedOrganization(f"{where}: {error}") from error
        found[kind, name] = text
    return found


def _check_rcp(text: str) -> None:
    """What a resource control policy may say: it only denies, to everybody, in services that know of it.

    Raises:
        PolicyError: it says something else.
    """
    body = load(text)
    if body.get("Version") != "2012-10-17":
        raise PolicyError("A resource control policy has Version 2012-10-17.")
    statements: object = body.get("Statement")
    for source in cast("list[object]", statements) if isinstance(statements, list) else [statements]:
        statement = _mapping(source, "Statement")
        if statement.get("Effect") != "Deny" or statement.get("Principal") not in ("*", {"AWS": "*"}):
            raise PolicyError('A statement of a resource control policy has Effect "Deny" and Principal "*".')
        if "NotAction" in statement or "NotPrincipal" in statement:
            raise PolicyError("A resource control policy has no NotAction and no NotPrincipal.")
        if not ("Resource" in statement or "NotResource" in statement):
            raise PolicyError("Policy statement must contain resources.")
        actions = strings(statement.get("Action"))
        for action in actions:
            if action.partition(":")[0].lower() not in RCP_SERVICES:
                raise PolicyError(f"Resource control policies do not apply to {action}.")
        if not actions:
            raise PolicyError("Policy statement must contain actions.")


def _digest(words: str, length: int) -> str:
    """Letters and digits that stay the same for the same words: ids that outlive another file."""
    number = int.from_bytes(hashlib.sha256(words.encode()).digest()[:16])
    return "".join(_LETTERS[number // 36**n % 36] for n in range(length))


def _only(source: Mapping[str, Any], where: str, known: tuple[str, ...]) -> None:
    for name in source:
        if name not in known:
            raise MalformedOrganization(f"{where}: {name} is not known; there are {', '.join(known)}.")


def _mapping(source: object, where: str) -> Mapping[str, Any]:
    if not isinstance(source, dict):
        raise MalformedOrganization(f"{where} must be a mapping.")
    return {str(key): value for key, value in cast("dict[Any, Any]", source).items()}


def _list(source: object, where: str) -> list[Any]:
    if not isinstance(source, list):
        raise MalformedOrganization(f"{where} must be a list.")
    return cast("list[Any]", source)
