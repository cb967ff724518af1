# SPDX-License-Identifier: Apache-2.0
"""Function URLs: an address of its own for a function or an alias, by HTTP.

Source: Lambda Developer Guide, "Lambda function URLs"; Lambda API Reference, CreateFunctionUrlConfig and its kin.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.base.clock import iso
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs, tables, url_tables
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.names import LATEST, Reference
from cloudchamber.services.lambda_.reading import named, plain, unmark
from cloudchamber.services.lambda_.url_tables import address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.url_tables import FunctionUrl
    from cloudchamber.store.database import Reader, Tx

_PAGE = 50
_METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "*")
_AGE_MAX = 86_400


def _shown(call: Call, found: FunctionUrl) -> dict[str, Any]:
    answer = {
        "FunctionUrl": address(call.doors.endpoint, found),
        "FunctionArn": found.asked_arn,
        "AuthType": found.document["AuthType"],
        "InvokeMode": found.document.get("InvokeMode", "BUFFERED"),
        "CreationTime": found.document["CreationTime"],
        "LastModifiedTime": found.document["LastModifiedTime"],
    }
    return answer | ({"Cors": found.document["Cors"]} if found.document.get("Cors") else {})


def _answered(call: Call, found: FunctionUrl) -> dict[str, Any]:
    """What a change answers: the mode only where it was ever asked for, as recorded on AWS."""
    shown = _shown(call, found)
    return shown if "InvokeMode" in found.document else {name: shown[name] for name in shown if name != "InvokeMode"}


def _check(request: Mapping[str, Any]) -> None:
    for member, wire, values in (
        ("AuthType", "authType", ("AWS_IAM", "NONE")),
        ("InvokeMode", "invokeMode", ("RESPONSE_STREAM", "BUFFERED")),
    ):
        if member in request and request[member] not in values:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{request[member]}' at '{wire}' failed to satisfy constraint: "
                f"Member must satisfy enum value set: [{', '.join(values)}]"
            )
    cors: Mapping[str, Any] = request.get("Cors") or {}
    for method in cors.get("AllowMethods", ()):
        if method not in _METHODS:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '[{method}]' at 'cors.allowMethods' failed to satisfy constraint: "
                "Member must satisfy constraint: [Member must have length less than or equal to 6, Member must have "
                "length greater than or equal to 0, Member must satisfy regular expression pattern: .*]"
            )
    if not 0 <= int(cors.get("MaxAge", 0)) <= _AGE_MAX:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{cors['MaxAge']}' at 'cors.maxAge' failed to satisfy constraint: "
            f"Member must have value less than or equal to {_AGE_MAX}"
        )


def _qualified(call: Call, request: Mapping[str, Any]) -> Reference:
    """The function or alias that is meant: versions have no address."""
    reference = named(call, request)
    if reference.qualifier == LATEST or reference.qualifier.isdigit():
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{reference.qualifier}' at 'qualifier' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)"
        )
    return reference


def _check_there(db: Reader, reference: Reference) -> None:
    try:
        tables.chosen(db, reference)
    except ResourceNotFoundException as error:
        raise ResourceNotFoundException("Function does not exist") from error


def _get(db: Reader, reference: Reference) -> FunctionUrl:
    found = url_tables.of(db, reference.arn, reference.qualifier)
    if found is None:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return found


@operation("CreateFunctionUrlConfig", needs=needs.on_url("lambda:CreateFunctionUrlConfig"))
async def create_function_url_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a function or an alias an address.

    Raises:
        ResourceConflictException: it has one.
        ResourceNotFoundException: function or alias is not there.

    Source: Lambda API Reference, CreateFunctionUrlConfig.
    """
    _check(request)
    reference = _qualified(call, request)
    now = iso(call.now)
    document: dict[str, Any] = {
        "AuthType": request["AuthType"],
        **({"InvokeMode": request["InvokeMode"]} if "InvokeMode" in request else {}),
        "Cors": request.get("Cors") or {},
        "CreationTime": now,
        "LastModifiedTime": now,
    }

    def publish(tx: Tx) -> FunctionUrl:
        _check_there(tx, reference)
        if url_tables.of(tx, reference.arn, reference.qualifier) is not None:
            raise ResourceConflictException(
                "Failed to create function url config for "
                f"[functionArn = {reference.qualified}]. Error message:  "
                "FunctionUrlConfig exists for this Lambda function"
            )
        tx.execute(
            "INSERT INTO lambda_urls (id, arn, qualifier, document) VALUES (?, ?, ?, ?)",
            (ids.letters(32), reference.arn, reference.qualifier, json.dumps(document)),
        )
        return _get(tx, reference)

    return _answered(call, await call.doors.database.write(publish))


@operation("GetFunctionUrlConfig", needs=needs.on_url("lambda:GetFunctionUrlConfig"))
async def get_function_url_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The address and its settings. Source: Lambda API Reference, GetFunctionUrlConfig."""
    reference = _qualified(call, request)
    return _shown(call, call.doors.database.read(lambda db: _get(db, reference)))


@operation("UpdateFunctionUrlConfig", needs=needs.on_url("lambda:UpdateFunctionUrlConfig"))
async def update_function_url_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is named; in force for the next request. Source: Lambda API Reference, UpdateFunctionUrlConfig."""
    _check(request)
    reference = _qualified(call, request)

    def publish(tx: Tx) -> FunctionUrl:
        _check_there(tx, reference)
        found = _get(tx, reference)
        changed = {name: request[name] for name in ("AuthType", "InvokeMode", "Cors") if name in request}
        document = {**found.document, **changed, "LastModifiedTime": iso(call.now)}
        tx.execute("UPDATE lambda_urls SET document = ? WHERE id = ?", (json.dumps(document), found.id))
        return _get(tx, reference)

    return _answered(call, await call.doors.database.write(publish))


@operation("ListFunctionUrlConfigs", needs=needs.on_function("lambda:ListFunctionUrlConfigs"))
async def list_function_url_configs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The addresses of a function and its aliases. Source: Lambda API Reference, ListFunctionUrlConfigs."""
    arn = plain(call, request)
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after = unmark(request.get("Marker", ""))

    def look(db: Reader) -> list[FunctionUrl]:
        _check_there(db, Reference(arn))
        return [found for found in url_tables.every(db, arn) if not after or f":{found.qualifier}" > after]

    found = call.doors.database.read(look)
    answer: dict[str, Any] = {"FunctionUrlConfigs": [_shown(call, each) for each in found[:limit]]}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(f":{found[limit - 1].qualifier}")  # the function itself has none
    return answer


@operation("DeleteFunctionUrlConfig", needs=needs.on_url("lambda:DeleteFunctionUrlConfig"))
async def delete_function_url_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take the address away. Source: Lambda API Reference, DeleteFunctionUrlConfig."""
    reference = _qualified(call, request)

    def publish(tx: Tx) -> None:
        tx.execute("DELETE FROM lambda_urls WHERE id = ?", (_get(tx, reference).id,))

    await call.doors.database.write(publish)
    return {}
