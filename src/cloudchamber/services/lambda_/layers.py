# SPDX-License-Identifier: Apache-2.0
"""Layers: packages that functions share. What one function sees in ``/opt`` are its layers, laid over each other."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.base.clock import iso
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import layer_tables, names, needs, packages, policy
from cloudchamber.services.lambda_.archive import UNZIPPED_MAX
from cloudchamber.services.lambda_.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.reading import unmark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.layer_tables import Layer
    from cloudchamber.store.database import Tx

LAYERS_MAX = 5
_PAGE = 50
_SHOWN = ("Description", "CreatedDate", "CompatibleRuntimes", "LicenseInfo", "CompatibleArchitectures")


def _found(call: Call, request: Mapping[str, Any]) -> str:
    account, region, name = names.layer(str(request["LayerName"]), call.account, call.region)
    number = int(request["VersionNumber"])
    if number < 1:
        raise InvalidParameterValueException("Layer Version Cannot be less than 1")
    return f"{names.layer_arn(account, region, name)}:{number}"


def _get(call: Call, arn: str) -> Layer:
    found = call.doors.database.read(lambda db: layer_tables.find(db, arn))
    if found is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return found


def _ruled(call: Call, request: Mapping[str, Any]) -> Layer:
    """The version whose policy is meant."""
    arn = _found(call, request)
    found = call.doors.database.read(lambda db: layer_tables.find(db, arn))
    if found is None:
        raise ResourceNotFoundException(f"Layer version {arn} does not exist.")
    return found


def _listed(layer: Layer) -> dict[str, Any]:
    shown = {name: layer.document[name] for name in _SHOWN if name in layer.document}
    return {"LayerVersionArn": layer.arn, "Version": layer.version, **shown}


def _whole(call: Call, layer: Layer) -> dict[str, Any]:
    part = call.doors.part("lambda", LambdaPart)
    content = {
        "Location": part.downloads.url(layer.code_sha, call.now),
        "CodeSha256": base64.b64encode(bytes.fromhex(layer.code_sha)).decode(),
        "CodeSize": layer.document["CodeSize"],
    }
    return {"Content": content, "LayerArn": layer.layer_arn, "Description": "", **_listed(layer)}


@operation("PublishLayerVersion", needs=needs.on_layer("lambda:PublishLayerVersion"))
async def publish_layer_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a package as the next version of a layer; the first one makes the layer.

    Raises:
        InvalidParameterValueException: not a safe ZIP, too big, or an architecture that there is not.

    Source: Lambda API Reference, PublishLayerVersion.
    """
    account, region, name = names.layer(str(request["LayerName"]), call.account, call.region)
    if len(request.get("CompatibleRuntimes", ())) > 15:
        raise InvalidParameterValueException("CompatibleRuntimes must have length less than or equal to 15")
    for each in request.get("CompatibleArchitectures", ()):
        if each not in ("x86_64", "arm64"):
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '[{each}]' at 'compatibleArchitectures' failed to satisfy "
                "constraint: Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]"
            )
    code, size = await packages.fetch(call, request.get("Content", {}), call.doors.part("lambda", LambdaPart))
    document: dict[str, Any] = {"CreatedDate": iso(call.now).replace("Z", "+0000"), "CodeSize": size}
    document |= {member: request[member] for member in _SHOWN if member in request}

    def publish(tx: Tx) -> str:
        number = layer_tables.next_version(tx, account, region, name)
        arn = f"{names.layer_arn(account, region, name)}:{number}"
        tx.execute(
            "INSERT INTO lambda_layers (arn, account, region, name, version, document, code_sha) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (arn, account, region, name, number, json.dumps(document), code),
        )
        return arn

    arn = await call.doors.database.write(publish)
    return _whole(call, _get(call, arn))


@operation("GetLayerVersion", needs=needs.on_layer("lambda:GetLayerVersion"))
async def get_layer_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One version of a layer, with where its package can be fetched. Source: Lambda API Reference, GetLayerVersion."""
    return _whole(call, _get(call, _found(call, request)))


@operation("GetLayerVersionByArn", needs=needs.on_layer("lambda:GetLayerVersion"))
async def get_layer_version_by_arn(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The same by its ARN. Source: Lambda API Reference, GetLayerVersionByArn."""
    arn = str(request["Arn"])
    if names.layer_version(arn) is None:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{arn[:300]}' at 'arn' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: "
            r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+"
        )
    return _whole(call, _get(call, arn))


def _fits(request: Mapping[str, Any], layer: Layer) -> bool:
    runtime, architecture = request.get("CompatibleRuntime"), request.get("CompatibleArchitecture")
    runtimes, architectures = (layer.document.get(f"Compatible{what}", ()) for what in ("Runtimes", "Architectures"))
    return (not runtime or runtime in runtimes) and (not architecture or architecture in architectures)


@operation("ListLayerVersions", needs=needs.on_layer("lambda:ListLayerVersions"))
async def list_layer_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Versions of a layer, the latest first, at most 50 a page. Source: Lambda API Reference, ListLayerVersions."""
    account, region, name = names.layer(str(request["LayerName"]), call.account, call.region)
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    marker = unmark(request.get("Marker", ""))
    if marker and not marker.isdigit():
        raise InvalidParameterValueException("Marker is not valid")
    before = int(marker) if marker else 1 << 60
    rows = await call.doors.database.query(lambda db: layer_tables.versions(db, account, region, name))
    found = [layer for layer in rows if layer.version < before and _fits(request, layer)]
    answer: dict[str, Any] = {"LayerVersions": [_listed(layer) for layer in found[:limit]]}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(str(found[limit - 1].version))
    return answer


@operation("ListLayers", needs=needs.on_anything("lambda:ListLayers"))
async def list_layers(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Layers by name, each with its latest version, at most 50 a page. Source: Lambda API Reference, ListLayers."""
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after = unmark(request.get("Marker", ""))
    newest: dict[str, Layer] = {}
    for layer in await call.doors.database.query(lambda db: layer_tables.every(db, call.account, call.region)):
        if layer.name > after and _fits(request, layer):
            newest.setdefault(layer.name, layer)
    found = list(newest.values())
    shown = [
        {"LayerName": each.name, "LayerArn": each.layer_arn, "LatestMatchingVersion": _listed(each)}
        for each in found[:limit]
    ]
    answer: dict[str, Any] = {"Layers": shown}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(found[limit - 1].name)
    return answer


@operation("DeleteLayerVersion", needs=needs.on_layer("lambda:DeleteLayerVersion"))
async def delete_layer_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a version; functions that have it keep it, and its number is not given again.

    Source: Lambda API Reference, DeleteLayerVersion.
    """
    arn = _found(call, request)
    await call.doors.database.write(
        lambda tx: tx.execute("UPDATE lambda_layers SET deleted = 1, statements = '[]' WHERE arn = ?", (arn,)) and None
    )
    return {}


# -- who may use a layer -----------------------------------------------------------------------------------------------


def _check_revision(layer: Layer, request: Mapping[str, Any]) -> None:
    wanted = request.get("RevisionId")
    if wanted and wanted != layer.policy_revision:
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. Call the GetLayerPolicy API to retrieve "
            "the latest Revision Id"
        )


async def _restate(call: Call, layer: Layer, statements: Sequence[Mapping[str, Any]]) -> str:
    policy.document(statements)
    revision = ids.request_id()
    await call.doors.database.write(
        lambda tx: (
            tx.execute(
                "UPDATE lambda_layers SET statements = ?, policy_revision = ? WHERE arn = ?",
                (json.dumps(list(statements)), revision, layer.arn),
            )
            and None
        )
    )
    return revision


@operation("AddLayerVersionPermission", needs=needs.on_layer("lambda:AddLayerVersionPermission"))
async def add_layer_version_permission(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let accounts, or an organization, use a version. Source: Lambda API Reference, AddLayerVersionPermission."""
    layer = _ruled(call, request)
    _check_revision(layer, request)
    made = policy.layer_statement(request, layer.arn)
    if any(old["Sid"] == made["Sid"] for old in layer.statements):
        raise ResourceConflictException(
            f"The statement id ({made['Sid']}) provided already exists. Please provide a new statement id, or remove "
            "the existing statement."
        )
    revision = await _restate(call, layer, (*layer.statements, made))
    return {"Statement": json.dumps(made, separators=(",", ":")), "RevisionId": revision}


@operation("RemoveLayerVersionPermission", needs=needs.on_layer("lambda:RemoveLayerVersionPermission"))
async def remove_layer_version_permission(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a statement out. Source: Lambda API Reference, RemoveLayerVersionPermission."""
    layer = _ruled(call, request)
    _check_revision(layer, request)
    if not layer.statements:
        raise ResourceNotFoundException("No policy is associated with the given resource.")
    kept = [old for old in layer.statements if old["Sid"] != request["StatementId"]]
    if len(kept) == len(layer.statements):
        raise ResourceNotFoundException(f"Statement {request['StatementId']} is not found in resource policy.")
    await _restate(call, layer, kept)
    return {}


@operation("GetLayerVersionPolicy", needs=needs.on_layer("lambda:GetLayerVersionPolicy"))
async def get_layer_version_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The policy of a version. Source: Lambda API Reference, GetLayerVersionPolicy."""
    layer = _ruled(call, request)
    if not layer.statements:
        raise ResourceNotFoundException("No policy is associated with the given resource.")
    return {"Policy": policy.document(layer.statements), "RevisionId": layer.policy_revision}


# -- layers of functions -----------------------------------------------------------------------------------------------


async def attached(call: Call, arns: Sequence[str]) -> list[dict[str, Any]]:
    """Layers for a function, each read as the caller; `Sha` is for us.

    Raises:
        InvalidParameterValueException: more than five, two versions of one layer, or one that is not there.
        AccessDeniedException: the caller may not use one.
    """
    if len(arns) > LAYERS_MAX:
        raise InvalidParameterValueException(f"Cannot reference more than {LAYERS_MAX} layers.")
    seen: dict[str, str] = {}
    found: list[dict[str, Any]] = []
    for arn in arns:
        if names.layer_version(arn) is None:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '[{arn[:300]}]' at 'layers' failed to satisfy constraint: Member "
                "must satisfy constraint: [Member must have length less than or equal to 2048, Member must have length "
                "greater than or equal to 1, Member must satisfy regular expression pattern: "
                r"arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+]"
            )
        plain = arn.rpartition(":")[0]
        if plain in seen:
            raise InvalidParameterValueException(
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{seen[plain]} and {arn} are versions of the same layer."
            )
        seen[plain] = arn
        found.append(await _attached(call, arn))
    return found


async def _attached(call: Call, arn: str) -> dict[str, Any]:
    try:
        shown = await call.ask("lambda", "GetLayerVersionByArn", {"Arn": arn})
    except ServiceError as error:
        if error.code == "ResourceNotFoundException":
            raise InvalidParameterValueException(f"Layer version {arn} does not exist.") from error
        if error.status == 403:
            raise AccessDeniedException(error.message) from error
        raise
    content = shown["Content"]
    sha = base64.b64decode(content["CodeSha256"]).hex()
    return {"Arn": arn, "CodeSize": content["CodeSize"], "Sha": sha}


async def check_size(part: LambdaPart, code: str, layers: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a function whose code and layers are together too big unzipped."""
    if not layers:
        return
    shas = (code, *(str(each["Sha"]) for each in layers))
    total = await asyncio.to_thread(lambda: sum(part.archives.unzipped_size(sha) for sha in shas))
    if total > UNZIPPED_MAX:
        raise InvalidParameterValueException(
            f"Function code combined with layers exceeds the maximum allowed size of {UNZIPPED_MAX} bytes. The actual "
            f"size is {total} bytes."
        )
