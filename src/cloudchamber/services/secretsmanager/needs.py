# SPDX-License-Identifier: Apache-2.0
"""What IAM must allow. Source: Service Authorization Reference, "AWS Secrets Manager"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import ContextValue, Need
from cloudchamber.services.secretsmanager import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call


def _tags(request: Mapping[str, Any]) -> dict[str, ContextValue]:
    tags = {str(t.get("Key", "")): str(t.get("Value", "")) for t in request.get("Tags") or ()}
    context: dict[str, ContextValue] = {f"aws:RequestTag/{key}": value for key, value in tags.items()}
    keys = tuple(tags) or tuple(str(key) for key in request.get("TagKeys") or ())
    if keys:
        context["aws:TagKeys"] = keys
    return context


_MEMBERS: Mapping[str, tuple[str, ...]] = {
    "CreateSecret": ("Name", "Description", "KmsKeyId", "AddReplicaRegions", "ForceOverwriteReplicaSecret", "Type"),
    "UpdateSecret": ("Description", "KmsKeyId", "Type"),
    "GetSecretValue": ("VersionId", "VersionStage"),
    "DeleteSecret": ("RecoveryWindowInDays", "ForceDeleteWithoutRecovery"),
    "PutResourcePolicy": ("BlockPublicPolicy",),
}
"""Members of requests that are condition keys of the action, under the same name."""


def _given(action: str, request: Mapping[str, Any]) -> dict[str, ContextValue]:
    keys: dict[str, ContextValue] = {}
    for member in _MEMBERS.get(action, ()):
        value: Any = request.get(member)
        if member == "AddReplicaRegions" and value:
            keys["secretsmanager:AddReplicaRegions"] = tuple(str(one.get("Region", "")) for one in value)
        elif value is not None:
            keys[f"secretsmanager:{member}"] = str(value).lower() if isinstance(value, bool) else str(value)
    return keys


def create_secret(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    """CreateSecret, and TagResource for its tags."""
    name = str(request.get("Name", ""))
    resource = str(Arn("secretsmanager", call.region, call.account, f"secret:{name}"))
    tags = _tags(request)
    yield Need("secretsmanager:CreateSecret", resource, {**tags, **_given("CreateSecret", request)})
    if tags:
        yield Need("secretsmanager:TagResource", resource, tags)


def on_secret(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action on the secret that `SecretId` names; its ARN is looked up, since policies name that."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        asked = str(request.get("SecretId", ""))
        found = call.doors.database.read(lambda db: tables.find(db, call.account, call.region, asked))
        if found is not None:
            resource = found.arn
        elif asked.startswith("arn:"):
            resource = asked
        else:
            resource = str(Arn("secretsmanager", call.region, call.account, f"secret:{asked}"))
        context: dict[str, ContextValue] = {
            **_tags(request),
            **_given(action, request),
            "secretsmanager:SecretId": asked,
            "secretsmanager:SecretPrimaryRegion": call.region,
        }
        yield Need(f"secretsmanager:{action}", resource, context)

    return needs


def anywhere(action: str) -> Callable[[Call, Mapping[str, Any]], Iterable[Need]]:
    """An action without a resource."""

    def needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
        yield Need(f"secretsmanager:{action}", "*")

    return needs
