# SPDX-License-Identifier: Apache-2.0
"""AWS's global condition keys: what they are for a call, for its caller, and for a resource's tags.

Source: IAM User Guide, "AWS global condition context keys".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.identity import OrgPlace, Principal

Value: TypeAlias = "str | tuple[str, ...]"
Find: TypeAlias = "Callable[[Call, str], Value | None]"

_TYPES = {
    "root": "Account",
    "user": "User",
    "assumed-role": "AssumedRole",
    "federated-user": "FederatedUser",
    "service": "Service",
    "anonymous": "Anonymous",
}


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
OF_CALL: Mapping[str, Find] = {
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


def of_call(call: Call, account: str) -> dict[str, Value]:
    """All of these that a call has."""
    found = {key: find(call, account) for key, find in OF_CALL.items()}
    return {key: value for key, value in found.items() if value is not None}


def of_caller(who: Principal) -> dict[str, Value]:
    """The keys that follow from the caller alone."""
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


def of_tags(owner: str, tags: Mapping[str, str]) -> dict[str, Value]:
    """The keys that a resource's tags make."""
    keys: dict[str, Value] = {}
    for name, value in tags.items():
        keys[f"aws:resourcetag/{name.lower()}"] = value
        keys[f"{owner}:resourcetag/{name.lower()}"] = value
    return keys


def shown(keys: Mapping[str, Value]) -> dict[str, Any]:
    """Keys as a decision tells them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in keys.items()}
