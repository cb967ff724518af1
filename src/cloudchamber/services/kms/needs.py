# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow. Source: Service Authorization Reference, "AWS Key Management Service"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.kms import tables
from cloudchamber.services.kms.part import key_id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]
    Needs = Callable[[Call, Request], Iterable[Need]]

_CRYPTOGRAPHIC = frozenset(("Encrypt", "Decrypt", "GenerateDataKey", "GenerateDataKeyWithoutPlaintext"))


def _caller(call: Call) -> dict[str, ContextValue]:
    """Who calls, and through which service. Source: AWS KMS Developer Guide, "AWS KMS condition keys"."""
    keys: dict[str, ContextValue] = {}
    if call.principal.kind not in ("anonymous", "service"):
        keys["kms:CallerAccount"] = call.principal.account
    if call.principal.via:
        keys["kms:ViaService"] = f"{call.principal.via[-1].partition('.')[0]}.{call.region}.amazonaws.com"
    return keys


def _tags(request: Request) -> dict[str, ContextValue]:
    given = {str(tag["TagKey"]): str(tag["TagValue"]) for tag in request.get("Tags") or ()}
    keys: dict[str, ContextValue] = {f"aws:RequestTag/{name}": value for name, value in given.items()}
    names = tuple(given) or tuple(request.get("TagKeys") or ())
    return keys | {"aws:TagKeys": names} if names else keys


def _said(action: str, request: Request) -> dict[str, ContextValue]:
    keys: dict[str, ContextValue] = {}
    if action in _CRYPTOGRAPHIC:
        context: Mapping[str, str] = request.get("EncryptionContext") or {}
        keys |= {f"kms:EncryptionContext:{name}": value for name, value in context.items()}
        if context:
            keys["kms:EncryptionContextKeys"] = tuple(context)
        keys["kms:EncryptionAlgorithm"] = "SYMMETRIC_DEFAULT"
    name = str(request.get("KeyId") or "")
    if "alias/" in name:
        keys["kms:RequestAlias"] = name[name.index("alias/") :]
    if action in ("PutKeyPolicy", "CreateKey") and "BypassPolicyLockoutSafetyCheck" in request:
        keys["kms:BypassPolicyLockoutSafetyCheck"] = str(request["BypassPolicyLockoutSafetyCheck"]).lower()
    if action == "ScheduleKeyDeletion" and "PendingWindowInDays" in request:
        keys["kms:ScheduleKeyDeletionPendingWindowInDays"] = str(request["PendingWindowInDays"])
    return keys


def create_key(call: Call, request: Request) -> Iterable[Need]:
    """CreateKey, and TagResource for its tags."""
    keys = {
        **_caller(call),
        **_tags(request),
        **_said("CreateKey", request),
        "kms:KeySpec": str(request.get("KeySpec", "SYMMETRIC_DEFAULT")),
        "kms:KeyUsage": str(request.get("KeyUsage", "ENCRYPT_DECRYPT")),
        "kms:KeyOrigin": str(request.get("Origin", "AWS_KMS")),
        "kms:MultiRegion": str(bool(request.get("MultiRegion", False))).lower(),
    }
    yield Need("kms:CreateKey", "*", keys)
    if request.get("Tags"):
        made = str(Arn("kms", call.region, call.account, "key/*"))
        yield Need("kms:TagResource", made, {**_caller(call), **_tags(request)})


def anywhere(action: str) -> Needs:
    """An action without a resource."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        yield Need(f"kms:{action}", "*", _caller(call))

    return needs


def on_key(action: str, member: str = "KeyId") -> Needs:
    """An action on the key that a request names; by the key's ARN, since policies name that."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        name = str(request.get(member) or "")
        if not name and "CiphertextBlob" in request:
            name = _key_of(request["CiphertextBlob"])
        yield _on(call, action, name, {**_tags(request), **_said(action, request)})

    return needs


def _key_of(blob: bytes) -> str:
    try:
        return key_id_of(blob)
    except ServiceError:
        return "unknown"


def _on(call: Call, action: str, name: str, said: Mapping[str, ContextValue]) -> Need:
    try:
        found = call.doors.database.read(lambda db: tables.find(db, call.account, call.region, name))
    except ServiceError:  # Why: the operation says what is wrong with the name, to those who may ask
        rest = name if name.startswith("alias/aws/") else f"key/{name}"
        key = name if name.startswith("arn:") else str(Arn("kms", call.region, call.account, rest))
        return Need(f"kms:{action}", key, {**_caller(call), **said})

    def look() -> Mapping[str, ContextValue]:
        named = call.doors.database.read(lambda db: tables.aliases(db, found.account, found.region, found.id, "", 1000))
        return {"kms:ResourceAliases": tuple(one.name for one in named)} if named else {}

    return Need(f"kms:{action}", found.arn, {**_caller(call), **said}, ("kms:resourcealiases", look))


def on_alias(action: str, *, target: bool) -> Needs:
    """An action on an alias, and on the keys that it names and shall name."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        name = str(request["AliasName"])
        yield Need(f"kms:{action}", str(Arn("kms", call.region, call.account, name)), _caller(call))
        old = call.doors.database.read(lambda db: tables.alias(db, call.account, call.region, name))
        if old is not None:
            yield _on(call, action, old.key, {})
        if target:
            yield _on(call, action, str(request["TargetKeyId"]), {})

    return needs
