# SPDX-License-Identifier: Apache-2.0
"""Invoke."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base.body import Held, read_all
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs, tables
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    RequestEntityTooLargeException,
    RequestTooLargeException,
    ResourceConflictException,
)
from cloudchamber.services.lambda_.functions import named, read
from cloudchamber.services.lambda_.names import LATEST
from cloudchamber.services.lambda_.part import LambdaPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function

SYNCHRONOUS_MAX = 6 * 1024 * 1024
ASYNCHRONOUS_MAX = 1024 * 1024
_CONTEXT_MAX = 3583


@operation("Invoke", needs=needs.on_function("lambda:InvokeFunction"))
async def invoke(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a function and answer what it returned; or (Event) take the event and answer before it runs.

    An error of the function is a success of the call: status 200, `FunctionError`, and the error as payload.
    With `Event`, 202 means that the event is on disk.

    Raises:
        InvalidRequestContentException: the payload is not JSON.
        RequestTooLargeException, RequestEntityTooLargeException: longer than 6 MB (1 MB for Event).
        ResourceConflictException: the function is not `Active` yet.
        TooManyRequestsException: a concurrency limit is reached.
        RecursiveInvocationException: the function ran too often on one chain of calls.

    Source: Lambda API Reference, Invoke; Lambda quotas.
    """
    kind = request.get("InvocationType", "RequestResponse")
    if kind not in ("RequestResponse", "Event", "DryRun"):
        raise InvalidParameterValueException(f"InvocationType must be RequestResponse, Event or DryRun, not {kind!r}")
    for member in ("DurableExecutionName", "TenantId"):
        if member in request:
            raise InvalidParameterValueException(f"{member} is not supported by this chamber yet")
    payload = await _payload(request, kind)
    context = _context(request)
    function = read(call, request)
    if kind == "DryRun":
        return {"StatusCode": 204, "ExecutedVersion": LATEST}
    part = call.doors.part("lambda", LambdaPart)
    if kind == "Event":
        await part.events.accept(call.request_id, function.arn, payload, context, call.trace)
        return {"StatusCode": 202}
    if not function.ready:
        function = await _ready(call, function, part)
    done = await part.run_through(function, call.request_id, payload, call.trace, context)
    answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": LATEST, "Payload": done.payload}
    if done.function_error:
        answer["FunctionError"] = done.function_error
    if request.get("LogType") == "Tail":
        answer["LogResult"] = base64.b64encode(done.log).decode()
    return answer


async def _ready(call: Call, function: Function, part: LambdaPart) -> Function:
    if function.state == "Pending" or function.state == "Failed":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. The function is currently in the following state: "
            + function.state
        )
    await part.settled(function.arn)
    arn = named(call, {"FunctionName": function.arn})
    return call.doors.database.read(lambda db: tables.get(db, arn))


async def _payload(request: Mapping[str, Any], kind: str) -> bytes:
    given = request.get("Payload", b"")
    body = Held(bytes(given)) if isinstance(given, bytes | bytearray) else given
    try:
        payload = await read_all(body, SYNCHRONOUS_MAX)
    except OverflowError as error:
        raise RequestEntityTooLargeException(
            f"Request must be smaller than {SYNCHRONOUS_MAX} bytes for the InvokeFunction operation"
        ) from error
    if kind == "Event" and len(payload) > ASYNCHRONOUS_MAX:
        raise RequestTooLargeException(
            f"{len(payload)} byte payload is too large for the Event invocation type (limit {ASYNCHRONOUS_MAX} bytes)"
        )
    if not payload:
        return b"{}"
    try:
        json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestContentException(
            f"Could not parse request body into json: Could not parse payload into json: {error}"
        ) from error
    return payload


def _context(request: Mapping[str, Any]) -> str:
    """The client context as JSON text."""
    given = str(request.get("ClientContext", ""))
    if not given:
        return ""
    if len(given) > _CONTEXT_MAX:
        raise InvalidParameterValueException(f"ClientContext must be at most {_CONTEXT_MAX} bytes of base64")
    try:
        text = base64.b64decode(given, validate=True).decode()
        return json.dumps(json.loads(text), separators=(",", ":"))
    except (binascii.Error, ValueError) as error:
        raise InvalidRequestContentException("Client context must be a valid Base64-encoded JSON object.") from error
