# SPDX-License-Identifier: Apache-2.0
"""Aliases: names for versions, which may split their traffic between two of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import names, needs, tables
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.names import LATEST
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.reading import named, plain, unmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Alias
    from cloudchamber.store.database import Reader, Tx

_PAGE = 50


def _shown(alias: Alias) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "AliasArn": f"{alias.arn}:{alias.name}",
        "Name": alias.name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision,
    }
    if alias.weights:
        answer["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
    return answer


def _weights(request: Mapping[str, Any]) -> dict[str, float]:
    given: Mapping[str, float] = request.get("RoutingConfig", {}).get("AdditionalVersionWeights") or {}
    if len(given) > 1:
        raise InvalidParameterValueException("Number of items in AdditionalVersionWeights cannot be greater than 1")
    for version, weight in given.items():
        if not (version.isascii() and version.isdigit()):
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{{{version}={weight}}}' at "
                "'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map keys must satisfy "
                "constraint: [Member must have length less than or equal to 1024, Member must have length greater than "
                "or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
            )
        if not 0.0 <= float(weight) <= 1.0:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{{{version}={weight}}}' at "
                "'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy "
                "constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or "
                "equal to 0.0]"
            )
    return {version: float(weight) for version, weight in given.items()}


def _check_versions(db: Reader, arn: str, version: str, weights: Mapping[str, float]) -> None:
    """Refuse versions that are not there, and combinations that mean nothing."""
    if weights and version == LATEST:
        raise InvalidParameterValueException("$LATEST is not supported for an alias pointing to more than 1 version")
    if version in weights:
        raise InvalidParameterValueException(
            f"Invalid function version {version}. Function version {version} is already included in routing "
            "configuration."
        )
    for each in (version, *weights):
        if tables.find_version(db, arn, each) is None:
            raise ResourceNotFoundException(f"Function not found: {arn}:{each}")


def _named(call: Call, request: Mapping[str, Any]) -> tuple[str, str]:
    """Function and alias that are meant; the function may be named by the alias's own ARN."""
    name = str(request["Name"])
    reference = named(call, {"FunctionName": request["FunctionName"]})
    return (reference.arn if reference.qualifier == name else plain(call, request)), name


def _check_version_name(version: str) -> str:
    if version != LATEST and not (version.isascii() and version.isdigit()):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{version}' at 'functionVersion' failed to satisfy constraint: Member "
            r"must satisfy regular expression pattern: (\$LATEST|[0-9]+)"
        )
    return version


def _none(arn: str, name: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"Cannot find alias arn: {arn}:{name}")


def _get(db: Reader, arn: str, name: str) -> Alias:
    tables.get(db, arn)
    found = tables.find_alias(db, arn, name)
    if found is None:
        raise _none(arn, name)
    return found


@operation("CreateAlias", needs=needs.on_function("lambda:CreateAlias"))
async def create_alias(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Name a version, or two with the share of the second.

    Raises:
        ResourceConflictException: the name is taken.
        ResourceNotFoundException: the function or a version is not there.
        InvalidParameterValueException: name, version or weights are not valid.

    Source: Lambda API Reference, CreateAlias.
    """
    arn, name = plain(call, request), names.check_alias(str(request["Name"]))
    version, weights = _check_version_name(str(request["FunctionVersion"])), _weights(request)
    row = (arn, name, version, str(request.get("Description", "")), json.dumps(weights), ids.request_id())

    def publish(tx: Tx) -> Alias:
        if tables.find(tx, arn) is None:
            raise ResourceNotFoundException(f"Function not found: {arn}:{version}")
        if tables.find_alias(tx, arn, name) is not None:
            raise ResourceConflictException(f"Alias already exists: {arn}:{name}")
        _check_versions(tx, arn, version, weights)
        tx.execute(
            "INSERT INTO lambda_aliases (arn, name, version, description, weights, revision) VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
        return _get(tx, arn, name)

    return _shown(await call.doors.database.write(publish))


@operation("GetAlias", needs=needs.on_alias("lambda:GetAlias"))
async def get_alias(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One alias. Source: Lambda API Reference, GetAlias."""
    arn, name = _named(call, request)
    return _shown(call.doors.database.read(lambda db: _get(db, arn, name)))


@operation("ListAliases", needs=needs.on_function("lambda:ListAliases"))
async def list_aliases(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Aliases by name, of all versions or of one, at most 50 a page. Source: Lambda API Reference, ListAliases."""
    arn = plain(call, request)
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after, version = unmark(request.get("Marker", "")), request.get("FunctionVersion")

    def look(db: Reader) -> list[Alias]:
        tables.get(db, arn)
        return [
            a for a in tables.aliases(db, arn) if a.name > after and (not version or version in (a.version, *a.weights))
        ]

    found = call.doors.database.read(look)
    answer: dict[str, Any] = {"Aliases": [_shown(alias) for alias in found[:limit]]}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(found[limit - 1].name)
    return answer


@operation("UpdateAlias", needs=needs.on_alias("lambda:UpdateAlias"))
async def update_alias(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is named; in force for the next invocation.

    Raises:
        PreconditionFailedException: `RevisionId` is not the current one.

    Source: Lambda API Reference, UpdateAlias.
    """
    arn, name = _named(call, request)
    version = _check_version_name(str(request["FunctionVersion"])) if "FunctionVersion" in request else ""
    weights = _weights(request)

    def publish(tx: Tx) -> Alias:
        tables.get(tx, arn)
        alias = tables.find_alias(tx, arn, name)
        if alias is None:
            raise ResourceNotFoundException(f"Alias not found: {arn}:{name}")
        wanted = request.get("RevisionId")
        if wanted and wanted != alias.revision:
            raise PreconditionFailedException(
                "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
                "retrieve the latest Revision Id"
            )
        now = version or alias.version
        shares = weights if "RoutingConfig" in request else alias.weights
        _check_versions(tx, arn, now, shares)
        description = str(request.get("Description", alias.description))
        tx.execute(
            "UPDATE lambda_aliases SET version = ?, description = ?, weights = ?, revision = ? "
            "WHERE arn = ? AND name = ?",
            (now, description, json.dumps(dict(shares)), ids.request_id(), arn, name),
        )
        return _get(tx, arn, name)

    changed = await call.doors.database.write(publish)
    call.doors.part("lambda", LambdaPart).provision()
    return _shown(changed)


@operation("DeleteAlias", needs=needs.on_alias("lambda:DeleteAlias"))
async def delete_alias(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete an alias with its settings; that it is not there is no error, as on AWS.

    Source: Lambda API Reference, DeleteAlias.
    """
    arn, name = _named(call, request)

    def publish(tx: Tx) -> None:
        tables.get(tx, arn)
        tx.execute("DELETE FROM lambda_aliases WHERE arn = ? AND name = ?", (arn, name))
        for table in ("lambda_qualifiers", "lambda_urls"):
            tx.execute(f"DELETE FROM {table} WHERE arn = ? AND qualifier = ?", (arn, name))

    await call.doors.database.write(publish)
    call.doors.part("lambda", LambdaPart).provision()
    return {}
