# SPDX-License-Identifier: Apache-2.0
"""Secrets: create, describe, list, delete, restore, tag."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.secretsmanager import names, needs, tables
from cloudchamber.services.secretsmanager.errors import (
    InvalidNextTokenException,
    InvalidParameterException,
    InvalidRequestException,
    LimitExceededException,
    ResourceExistsException,
    ResourceNotFoundException,
)
from cloudchamber.services.secretsmanager.part import Safe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.identity import Principal

_DAY_S = 86_400.0
_NO_KMS = ("", "alias/aws/secretsmanager", "aws/secretsmanager")
_LATER = ("AddReplicaRegions", "ForceOverwriteReplicaSecret", "Type", "CrossAccountPrimaryARN")
_OWNERS = ("rds",)


def moment(epoch_s: float) -> datetime:
    """A row's time."""
    return datetime.fromtimestamp(epoch_s, UTC)


def owner(principal: Principal) -> str:
    """The service that acts, itself or for its caller: ``rds``; empty for a person."""
    hosts = (*principal.via[-1:], *((principal.arn,) if principal.kind == "service" else ()))
    found = [host.partition(".")[0] for host in hosts if host.endswith(".amazonaws.com")]
    return found[-1] if found and found[-1] in _OWNERS else ""


def find(call: Call, secret_id: str, *, deleted: bool = False) -> tables.Secret:
    """A secret by name or ARN.

    Raises:
        ResourceNotFoundException: there is none. InvalidRequestException: it is deleted, and `deleted` is not set.
    """
    found = call.doors.database.read(lambda db: tables.find(db, call.account, call.region, secret_id))
    if found is None or 0 < found.purge_at <= call.now.timestamp():
        raise ResourceNotFoundException("Secrets Manager can't find the specified secret.")
    if found.purge_at and not deleted:
        raise InvalidRequestException(
            "You can't perform this operation on the secret because it was marked for deletion."
        )
    return found


def may_change(call: Call, secret: tables.Secret) -> None:
    """Refuse changes to a secret that a service owns.

    Raises:
        InvalidRequestException: the caller is not that service.
    """
    if secret.owner and owner(call.principal) != secret.owner:
        raise InvalidRequestException(
            f"You can't perform this operation on the secret because it is managed by {secret.owner}."
        )


def refuse(request: Mapping[str, Any]) -> None:
    """Refuse what is not available, by name.

    Raises:
        InvalidParameterException: a KMS key, replicas or a managed type are asked for.
    """
    if str(request.get("KmsKeyId", "")) not in _NO_KMS:
        raise InvalidParameterException("KmsKeyId is not available in cloudchamber: there is no KMS yet.")
    for member in _LATER:
        if request.get(member):
            raise InvalidParameterException(f"{member} is not available in cloudchamber.")


def page(request: Mapping[str, Any]) -> tuple[int, int]:
    """Where a page of a list begins, and how many it may have.

    Raises:
        InvalidNextTokenException: the token is none of ours.
    """
    begin = str(request.get("NextToken", "0"))
    if not begin.isdecimal() or len(begin) > 9 or int(begin) > names.SECRETS_MAX:
        raise InvalidNextTokenException("The NextToken value is invalid.")
    return int(begin), int(request.get("MaxResults", 100))


def new_version(
    call: Call, secret: tables.Secret, value: tuple[str, bytes], token: str, stages: tuple[str, ...]
) -> tables.Version:
    """A sealed version."""
    version = tables.Version(secret.arn, token or ids.request_id(), call.now.timestamp(), stages, value[0], b"")
    sealed = call.doors.part("secretsmanager", Safe).seal.close(value[1], version.label)
    return replace(version, sealed=sealed)


@operation("CreateSecret", needs=needs.create_secret)
async def create_secret(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a secret, with a first version if a value is given.

    Raises:
        ResourceExistsException: the name is taken. InvalidRequestException: by a secret that is being deleted.

    Source: AWS Secrets Manager API Reference, CreateSecret.
    """
    refuse(request)
    name, whose = str(request["Name"]), owner(call.principal)
    names.check_name(name, whose)
    value = names.value(request)
    now = call.now.timestamp()
    secret = tables.Secret(
        call.account, call.region, name, names.arn(call.account, call.region, name, ids.letters(6)), now, changed=now,
        description=str(request.get("Description", "")), owner=whose, tags=names.tags(request.get("Tags"), whose),
    )  # fmt: skip
    token = str(request.get("ClientRequestToken", ""))
    version = new_version(call, secret, value, token, (tables.CURRENT,)) if value else None

    def write(tx: tables.Tx) -> tables.Secret:
        tables.purge(tx, now)
        existing = tables.find(tx, call.account, call.region, name)
        if existing is not None:
            if existing.purge_at:
                raise InvalidRequestException(
                    "You can't create this secret because a secret with this name is already scheduled for deletion."
                )
            if token and any(one.version_id == token for one in tables.versions(tx, existing.arn)):
                return existing  # the same request again
            raise ResourceExistsException(f"The operation failed because the secret {name} already exists.")
        if len(tables.listed(tx, call.account, call.region)) >= names.SECRETS_MAX:
            raise LimitExceededException(f"There are {names.SECRETS_MAX} secrets; no more are allowed.")
        tables.add(tx, secret)
        if version is not None:
            tables.add_version(tx, version, names.VERSIONS_MAX)
        return secret

    made = await call.doors.database.write(write)
    answer = {"ARN": made.arn, "Name": name}
    return {**answer, "VersionId": version.version_id} if version else answer


@operation("DescribeSecret", needs=needs.on_secret("DescribeSecret"))
async def describe_secret(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """All about a secret but its value.

    Source: AWS Secrets Manager API Reference, DescribeSecret.
    """
    secret = find(call, str(request["SecretId"]), deleted=True)
    found = call.doors.database.read(lambda db: tables.versions(db, secret.arn))
    stages = {one.version_id: list(one.stages) for one in found if one.stages}
    return {**_shown(secret), "VersionIdsToStages": stages}


@operation("ListSecrets", needs=needs.anywhere("ListSecrets"))
async def list_secrets(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Secrets of the account, newest first unless `SortOrder` is ``asc``.

    Source: AWS Secrets Manager API Reference, ListSecrets.
    """
    first, size = page(request)
    if request.get("SortBy", "created-date") not in ("created-date", "name"):
        raise InvalidParameterException("SortBy is available in cloudchamber for created-date and name.")
    rows = call.doors.database.read(lambda db: tables.listed(db, call.account, call.region))
    kept = [
        row
        for row in rows
        if (not row.purge_at or (request.get("IncludePlannedDeletion") and row.purge_at > call.now.timestamp()))
        and all(_matches(row, one) for one in request.get("Filters") or ())
    ]
    if request.get("SortBy") == "name":
        kept.sort(key=lambda row: row.name, reverse=True)
    if request.get("SortOrder") == "asc":
        kept.reverse()
    shown: list[dict[str, Any]] = []
    for row in kept[first : first + size]:
        found = call.doors.database.read(lambda db, arn=row.arn: tables.versions(db, arn))
        shown.append(
            {**_shown(row), "SecretVersionsToStages": {one.version_id: list(one.stages) for one in found if one.stages}}
        )
    answer: dict[str, Any] = {"SecretList": shown}
    if len(kept) > first + size:
        answer["NextToken"] = str(first + size)
    return answer


@operation("DeleteSecret", needs=needs.on_secret("DeleteSecret"))
async def delete_secret(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a secret after a recovery window of 7 to 30 days, or at once.

    Raises:
        InvalidRequestException: it is deleted already, or a service owns it.

    Source: AWS Secrets Manager API Reference, DeleteSecret.
    """
    force, window = bool(request.get("ForceDeleteWithoutRecovery")), request.get("RecoveryWindowInDays")
    if force and window is not None:
        raise InvalidParameterException(
            "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."
        )
    days = int(window) if window is not None else 30
    if not 7 <= days <= 30:
        raise InvalidParameterException("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
    secret = find(call, str(request["SecretId"]), deleted=force)
    may_change(call, secret)
    now = call.now.timestamp()
    purge_at = now if force else now + days * _DAY_S

    def write(tx: tables.Tx) -> None:
        if force:
            tables.remove(tx, secret.arn)
        else:
            tables.change(tx, secret, deleted=now, purge_at=purge_at)

    await call.doors.database.write(write)
    return {"ARN": secret.arn, "Name": secret.name, "DeletionDate": moment(purge_at)}


@operation("RestoreSecret", needs=needs.on_secret("RestoreSecret"))
async def restore_secret(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take back a deletion.

    Source: AWS Secrets Manager API Reference, RestoreSecret.
    """
    secret = find(call, str(request["SecretId"]), deleted=True)
    await call.doors.database.write(lambda tx: tables.change(tx, secret, deleted=0.0, purge_at=0.0))
    return {"ARN": secret.arn, "Name": secret.name}


@operation("TagResource", needs=needs.on_secret("TagResource"))
async def tag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add or replace tags.

    Source: AWS Secrets Manager API Reference, TagResource.
    """
    added = names.tags(request.get("Tags"))
    secret = find(call, str(request["SecretId"]))
    merged = names.tags([{"Key": k, "Value": v} for k, v in {**secret.tags, **added}.items()], "any")
    await call.doors.database.write(lambda tx: tables.change(tx, secret, tags=merged))
    return {}


@operation("UntagResource", needs=needs.on_secret("UntagResource"))
async def untag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags; not those of AWS services.

    Source: AWS Secrets Manager API Reference, UntagResource.
    """
    gone = {str(key) for key in request.get("TagKeys") or () if not str(key).startswith("aws:")}
    secret = find(call, str(request["SecretId"]))
    kept = {key: value for key, value in secret.tags.items() if key not in gone}
    await call.doors.database.write(lambda tx: tables.change(tx, secret, tags=kept))
    return {}


def _shown(secret: tables.Secret) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "ARN": secret.arn,
        "Name": secret.name,
        "CreatedDate": moment(secret.created),
        "LastChangedDate": moment(secret.changed),
        "Tags": [{"Key": key, "Value": value} for key, value in secret.tags.items()],
    }
    if secret.description:
        shown["Description"] = secret.description
    if secret.owner:
        shown["OwningService"] = secret.owner
    if secret.accessed:
        shown["LastAccessedDate"] = moment(secret.accessed)
    if secret.purge_at:
        shown["DeletedDate"] = moment(secret.deleted)
    return shown


def _matches(secret: tables.Secret, one: Mapping[str, Any]) -> bool:
    """One filter: any of its values begins (``!``: must not begin) what its key names."""
    texts = {
        "name": [secret.name],
        "description": [secret.description],
        "tag-key": list(secret.tags),
        "tag-value": list(secret.tags.values()),
        "owning-service": [secret.owner],
        "primary-region": [secret.region],
        "all": [secret.name, secret.description, *secret.tags, *secret.tags.values(), secret.owner],
    }
    key = str(one.get("Key", ""))
    if key not in texts:
        raise InvalidParameterException(f"Unknown filter {key}.")
    wanted = [str(value) for value in one.get("Values") or ()]
    folded = [text if key in ("name", "tag-key", "tag-value") else text.lower() for text in texts[key]]

    def fits(value: str) -> bool:
        text = value if key in ("name", "tag-key", "tag-value") else value.lower()
        if text.startswith("!"):
            return not any(one.startswith(text[1:]) for one in folded)
        return any(one.startswith(text) for one in folded)

    return not wanted or any(fits(value) for value in wanted)
