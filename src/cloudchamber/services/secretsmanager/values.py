# SPDX-License-Identifier: Apache-2.0
"""Values of secrets: get, put, update; versions; resource policies; random passwords."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.policy.document import PolicyError
from cloudchamber.policy.evaluate import policy as read_policy
from cloudchamber.services.secretsmanager import names, needs, tables
from cloudchamber.services.secretsmanager.errors import (
    InvalidParameterException,
    MalformedPolicyDocumentException,
    ResourceExistsException,
    ResourceNotFoundException,
)
from cloudchamber.services.secretsmanager.part import Safe
from cloudchamber.services.secretsmanager.secrets import find, may_change, moment, new_version, page, refuse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

_DAY_S = 86_400.0


@operation("GetSecretValue", needs=needs.on_secret("GetSecretValue"))
async def get_secret_value(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The value of the current version, or of the one that `VersionId` and `VersionStage` name.

    Raises:
        ResourceNotFoundException: no such secret, or no such version.

    Source: AWS Secrets Manager API Reference, GetSecretValue.
    """
    secret = find(call, str(request["SecretId"]))
    wanted, stage = request.get("VersionId"), request.get("VersionStage")
    if wanted is None and stage is None:
        stage = tables.CURRENT
    found = call.doors.database.read(lambda db: tables.versions(db, secret.arn))
    version = next((v for v in found if wanted in (None, v.version_id) and (stage is None or stage in v.stages)), None)
    if version is None:
        what = f"version {wanted}" if wanted is not None else f"staging label: {stage}"
        raise ResourceNotFoundException(f"Secrets Manager can't find the specified secret value for {what}")
    value = call.doors.part("secretsmanager", Safe).seal.open(version.sealed, version.label)
    day = call.now.timestamp() // _DAY_S * _DAY_S
    if secret.accessed != day:
        await call.doors.database.write(lambda tx: tables.change(tx, secret, accessed=day))
    answer: dict[str, Any] = {
        "ARN": secret.arn, "Name": secret.name, "VersionId": version.version_id,
        "VersionStages": list(version.stages), "CreatedDate": moment(version.created),
    }  # fmt: skip
    if version.kind == "string":
        answer["SecretString"] = value.decode()
    else:
        answer["SecretBinary"] = value
    return answer


@operation("PutSecretValue", needs=needs.on_secret("PutSecretValue"))
async def put_secret_value(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A new version; it becomes the current one unless `VersionStages` says otherwise.

    Source: AWS Secrets Manager API Reference, PutSecretValue.
    """
    if request.get("RotationToken"):
        raise InvalidParameterException("RotationToken is not available in cloudchamber.")
    secret = find(call, str(request["SecretId"]))
    may_change(call, secret)
    value = names.value(request)
    if value is None:
        raise InvalidParameterException("You must provide either SecretString or SecretBinary.")
    stages = tuple(str(one) for one in request.get("VersionStages") or (tables.CURRENT,))
    version = await _put(call, secret, value, str(request.get("ClientRequestToken", "")), stages)
    return {"ARN": secret.arn, "Name": secret.name, "VersionId": version.version_id, "VersionStages": list(stages)}


@operation("UpdateSecret", needs=needs.on_secret("UpdateSecret"))
async def update_secret(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change the description, and the value if one is given.

    Source: AWS Secrets Manager API Reference, UpdateSecret.
    """
    refuse(request)
    secret = find(call, str(request["SecretId"]))
    may_change(call, secret)
    answer: dict[str, Any] = {"ARN": secret.arn, "Name": secret.name}
    value = names.value(request)
    if value is not None:
        token = str(request.get("ClientRequestToken", ""))
        description = str(request.get("Description", secret.description))
        version = await _put(call, secret, value, token, (tables.CURRENT,), description)
        answer["VersionId"] = version.version_id
    elif "Description" in request:
        now = call.now.timestamp()
        await call.doors.database.write(
            lambda tx: tables.change(tx, secret, description=str(request["Description"]), changed=now)
        )
    return answer


@operation("ListSecretVersionIds", needs=needs.on_secret("ListSecretVersionIds"))
async def list_secret_version_ids(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Versions of a secret; those without a stage only if `IncludeDeprecated`.

    Source: AWS Secrets Manager API Reference, ListSecretVersionIds.
    """
    secret = find(call, str(request["SecretId"]), deleted=True)
    first, size = page(request)
    found = call.doors.database.read(lambda db: tables.versions(db, secret.arn))
    shown = [
        {"VersionId": v.version_id, "VersionStages": list(v.stages), "CreatedDate": moment(v.created)}
        for v in found
        if v.stages or request.get("IncludeDeprecated")
    ]
    answer = {"ARN": secret.arn, "Name": secret.name, "Versions": shown[first : first + size]}
    return {**answer, "NextToken": str(first + size)} if len(shown) > first + size else answer


@operation("GetRandomPassword", needs=needs.anywhere("GetRandomPassword"))
async def get_random_password(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A random password.

    Source: AWS Secrets Manager API Reference, GetRandomPassword.
    """
    return {"RandomPassword": names.random_password(request, lambda below: int(ids.hex_token(8), 16) % below)}


@operation("PutResourcePolicy", needs=needs.on_secret("PutResourcePolicy"))
async def put_resource_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Attach a resource policy; every decision about the secret counts it from then on.

    Raises:
        MalformedPolicyDocumentException: it cannot be read.
        InvalidParameterException: it shall be looked at for being public, or be another than the default.

    Source: AWS Secrets Manager API Reference, PutResourcePolicy.
    """
    if request.get("BlockPublicPolicy"):
        raise InvalidParameterException("BlockPublicPolicy is not available in cloudchamber.")
    _only_default(request)
    secret = find(call, str(request["SecretId"]))
    may_change(call, secret)
    text = str(request["ResourcePolicy"])
    if len(text.encode()) > 20_480:
        raise MalformedPolicyDocumentException("The policy is longer than 20480 bytes.")
    try:
        read_policy(f"policy of {secret.name}", "resource", text)
    except PolicyError as error:
        raise MalformedPolicyDocumentException(f"This resource policy contains a syntax error: {error}") from error
    await call.doors.database.write(lambda tx: tables.change(tx, secret, policy=text))
    return {"ARN": secret.arn, "Name": secret.name}


@operation("GetResourcePolicy", needs=needs.on_secret("GetResourcePolicy"))
async def get_resource_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The resource policy, if there is one.

    Source: AWS Secrets Manager API Reference, GetResourcePolicy.
    """
    _only_default(request)
    secret = find(call, str(request["SecretId"]))
    answer = {"ARN": secret.arn, "Name": secret.name}
    return {**answer, "ResourcePolicy": secret.policy} if secret.policy else answer


@operation("DeleteResourcePolicy", needs=needs.on_secret("DeleteResourcePolicy"))
async def delete_resource_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the resource policy.

    Source: AWS Secrets Manager API Reference, DeleteResourcePolicy.
    """
    _only_default(request)
    secret = find(call, str(request["SecretId"]))
    may_change(call, secret)
    await call.doors.database.write(lambda tx: tables.change(tx, secret, policy=""))
    return {"ARN": secret.arn, "Name": secret.name}


def _only_default(request: Mapping[str, Any]) -> None:
    """A secret has one policy. Source: AWS Secrets Manager API Reference, PutResourcePolicy, `PolicyName`."""
    if request.get("PolicyName", "default") != "default":
        raise InvalidParameterException("You can only attach the default policy.")


async def _put(
    call: Call, secret: tables.Secret, value: tuple[str, bytes], token: str, stages: tuple[str, ...],
    description: str | None = None,
) -> tables.Version:  # fmt: skip
    """Add a version in one write; the same token with the same value is the same request again."""
    version = new_version(call, secret, value, token, stages)
    seal = call.doors.part("secretsmanager", Safe).seal

    def write(tx: tables.Tx) -> tables.Version:
        same = next((v for v in tables.versions(tx, secret.arn) if v.version_id == version.version_id), None)
        if same is not None:
            if same.kind != version.kind or seal.open(same.sealed, same.label) != value[1]:
                raise ResourceExistsException(
                    "You can't use ClientRequestToken that was already used for a different secret value."
                )
            return same
        tables.add_version(tx, version, names.VERSIONS_MAX)
        about = secret.description if description is None else description
        tables.change(tx, secret, changed=version.created, description=about)
        return version

    return await call.doors.database.write(write)
