# SPDX-License-Identifier: Apache-2.0
"""How asynchronous invocations are retried, and where those go that fail for good."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs, tables
from cloudchamber.services.lambda_.errors import InvalidParameterValueException, ResourceNotFoundException
from cloudchamber.services.lambda_.events import destination
from cloudchamber.services.lambda_.functions import named, read
from cloudchamber.services.lambda_.names import LATEST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Tx

AGE_S = 21_600
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _shown(function: Function, settings: Mapping[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "LastModified": settings["LastModified"],
        "FunctionArn": f"{function.arn}:{LATEST}",
        "DestinationConfig": settings.get("DestinationConfig") or {"OnSuccess": {}, "OnFailure": {}},
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
    arn = named(call, request)
    members = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")

    def publish(tx: Tx) -> dict[str, Any]:
        function = tables.get(tx, arn)
        if keep and function.events is None:
            raise _none(arn)
        settings = dict(function.events or {}) if keep else {}
        settings |= {name: request[name] for name in members if name in request}
        settings["LastModified"] = call.now.timestamp()
        tables.change(tx, arn, events=settings)
        return _shown(function, {**settings, "LastModified": call.now})

    return await call.doors.database.write(publish)


def _none(arn: str) -> ResourceNotFoundException:
    return ResourceNotFoundException(f"The function {arn}:{LATEST} doesn't have an EventInvokeConfig")


def _read(call: Call, function: Function) -> dict[str, Any]:
    if function.events is None:
        raise _none(function.arn)
    moment = call.now.fromtimestamp(float(function.events["LastModified"]), call.now.tzinfo)
    return _shown(function, {**function.events, "LastModified": moment})


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
    return _read(call, read(call, request))


@operation("ListFunctionEventInvokeConfigs", needs=needs.on_function("lambda:ListFunctionEventInvokeConfigs"))
async def list_event_invoke_configs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The one of ``$LATEST``, if set. Source: Lambda API Reference, ListFunctionEventInvokeConfigs."""
    function = read(call, request)
    return {"FunctionEventInvokeConfigs": [] if function.events is None else [_read(call, function)]}


@operation("DeleteFunctionEventInvokeConfig", needs=needs.on_function("lambda:DeleteFunctionEventInvokeConfig"))
async def delete_event_invoke_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Back to the defaults. Source: Lambda API Reference, DeleteFunctionEventInvokeConfig."""
    arn = named(call, request)

    def publish(tx: Tx) -> None:
        if tables.get(tx, arn).events is None:
            raise _none(arn)
        tables.change(tx, arn, events="")

    await call.doors.database.write(publish)
    return {}
