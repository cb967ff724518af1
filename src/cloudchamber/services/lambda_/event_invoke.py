# SPDX-License-Identifier: Apache-2.0
"""How asynchronous invocations are retried, and where those go that fail for good."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import names, needs, tables
from cloudchamber.services.lambda_.errors import InvalidParameterValueException, ResourceNotFoundException
from cloudchamber.services.lambda_.events import destination
from cloudchamber.services.lambda_.names import LATEST, Reference
from cloudchamber.services.lambda_.reading import named, plain, unmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

AGE_S = 21_600
_PAGE = 50
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _shown(reference: Reference, settings: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "LastModified": settings["LastModified"],
        "FunctionArn": f"{reference.arn}:{reference.qualifier or LATEST}",
        "DestinationConfig": {"OnSuccess": {}, "OnFailure": {}, **(settings.get("DestinationConfig") or {})},
    }
    for member in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds"):
        if settings.get(member) is not None:
            answer[member] = settings[member]
    return answer


def _check(request: Mapping[str, Any]) -> None:
    for member, low, high in (("MaximumRetryAttempts", 0, 2), ("MaximumEventAgeInSeconds", 60, AGE_S)):
        value = request.get(member)
        if value is not None and not low <= int(value) <= high:
            raise InvalidParameterValueException(
                f"1 validation error detected: Value '{value}' at '{member[0].lower()}{member[1:]}' failed to satisfy "
                f"constraint: Member must have value between {low} and {high}"
            )
    for event in ("OnSuccess", "OnFailure"):
        if target := destination(request, event):
            _check_destination(event, target)


def _check_destination(event: str, target: str) -> None:
    try:
        arn = Arn.parse(target)
    except ValueError as error:
        raise InvalidParameterValueException(
            f"The provided destination config DestinationConfig({event}) is invalid: {target[:200]!r} is not an ARN"
        ) from error
    if arn.service == "lambda" and arn.resource.startswith("function:"):
        return
    if arn.service == "s3" and event == "OnFailure" and _BUCKET.fullmatch(arn.resource):
        return
    if arn.service == "s3":
        raise InvalidParameterValueException("S3 destinations are for OnFailure, and are ARNs of buckets")
    raise InvalidParameterValueException(
        f"The destination {target[:200]} is not supported by this chamber yet ({arn.service}): S3 buckets (OnFailure) "
        "and Lambda functions are"
    )


async def _put(call: Call, request: Mapping[str, Any], *, keep: bool) -> dict[str, Any]:
    _check(request)
    reference = named(call, request)
    members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")

    if not any(name in request for name in members):
        raise InvalidParameterValueException("You must specify at least one of error handling or destination setting.")

    def publish(tx: Tx) -> dict[str, Any]:
        _check_there(tx, reference)
        _check_functions(tx, reference, request)
        before = _events(tx, reference)
        if keep and before is None:
            raise _none(reference)
        settings = dict(before or {}) if keep else {}
        settings |= {name: request[name] for name in members if name in request}
        settings["LastModified"] = call.now.timestamp()
        tables.change_settings(tx, reference.arn, reference.qualifier, events=settings)
        return _shown(reference, {**settings, "LastModified": call.now})

    return await call.doors.database.write(publish)


def _events(db: Reader, reference: Reference) -> Mapping[str, Any] | None:
    try:
        tables.chosen(db, reference)
    except ResourceNotFoundException as error:
        raise _none(reference) from error
    return tables.settings(db, reference.arn, reference.qualifier).events


def _check_there(db: Reader, reference: Reference) -> None:
    try:
        tables.chosen(db, reference)
    except ResourceNotFoundException as error:
        raise ResourceNotFoundException("The function doesn't exist.") from error


def _check_functions(db: Reader, reference: Reference, request: Mapping[str, Any]) -> None:
    """Refuse functions as destinations that are not there, or are the function itself."""
    for event in ("OnSuccess", "OnFailure"):
        target = destination(request, event)
        if not target or Arn.parse(target).service != "lambda":
            continue
        other = names.resolve(target, "", "")
        if other.arn == reference.arn:
            raise InvalidParameterValueException("You can't specify the function as a destination for itself.")
        if other.arn.split(":")[3:5] == reference.arn.split(":")[3:5] and tables.find(db, other.arn) is None:
            raise InvalidParameterValueException(f"The destination ARN {target} is invalid.")


def _none(reference: Reference) -> ResourceNotFoundException:
    arn = f"{reference.arn}:{reference.qualifier or LATEST}"
    return ResourceNotFoundException(f"The function {arn} doesn't have an EventInvokeConfig")


def _read(call: Call, reference: Reference, settings: Mapping[str, Any]) -> dict[str, Any]:
    moment = call.now.fromtimestamp(float(settings["LastModified"]), call.now.tzinfo)
    return _shown(reference, {**settings, "LastModified": moment})


@operation("PutFunctionEventInvokeConfig", needs=needs.on_function("lambda:PutFunctionEventInvokeConfig"))
async def put_event_invoke_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Set all; what is not named goes back to its default. Source: Lambda API, PutFunctionEventInvokeConfig."""
    return await _put(call, request, keep=False)


@operation("UpdateFunctionEventInvokeConfig", needs=needs.on_function("lambda:UpdateFunctionEventInvokeConfig"))
async def update_event_invoke_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change what is named. Source: Lambda API Reference, UpdateFunctionEventInvokeConfig."""
    return await _put(call, request, keep=True)


@operation("GetFunctionEventInvokeConfig", needs=needs.on_function("lambda:GetFunctionEventInvokeConfig"))
async def get_event_invoke_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Source: Lambda API Reference, GetFunctionEventInvokeConfig."""
    reference = named(call, request)
    settings = call.doors.database.read(lambda db: _events(db, reference))
    if settings is None:
        raise _none(reference)
    return _read(call, reference, settings)


@operation("ListFunctionEventInvokeConfigs", needs=needs.on_function("lambda:ListFunctionEventInvokeConfigs"))
async def list_event_invoke_configs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``$LATEST``, versions and aliases. Source: Lambda API Reference, ListFunctionEventInvokeConfigs."""
    arn = plain(call, request)
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after = unmark(request.get("Marker", ""))

    def look(db: Reader) -> list[tuple[Reference, Mapping[str, Any]]]:
        _check_there(db, Reference(arn))
        every = [(LATEST, tables.settings(db, arn, LATEST)), *tables.qualifiers(db, arn)]
        return [(Reference(arn, name), each.events) for name, each in every if each.events is not None and name > after]

    found = call.doors.database.read(look)
    answer: dict[str, Any] = {"FunctionEventInvokeConfigs": [_read(call, *each) for each in found[:limit]]}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(found[limit - 1][0].qualifier)
    return answer


@operation("DeleteFunctionEventInvokeConfig", needs=needs.on_function("lambda:DeleteFunctionEventInvokeConfig"))
async def delete_event_invoke_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Back to the defaults. Source: Lambda API Reference, DeleteFunctionEventInvokeConfig."""
    reference = named(call, request)

    def publish(tx: Tx) -> None:
        if _events(tx, reference) is None:
            raise _none(reference)
        tables.change_settings(tx, reference.arn, reference.qualifier, events="")

    await call.doors.database.write(publish)
    return {}
