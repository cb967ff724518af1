# SPDX-License-Identifier: Apache-2.0
"""Invoke, and InvokeWithResponseStream."""

from __future__ import annotations

import base64
import binascii
import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.body import Held, read_all
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs, tables
from cloudchamber.services.lambda_.environment import Work
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    RequestEntityTooLargeException,
    RequestTooLargeException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.names import LATEST, Reference
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.reading import named
from cloudchamber.services.lambda_.relay import Relay
from cloudchamber.wire import eventstream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

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
    function = chosen(call, request)
    work = Work(call.request_id, payload, call.trace, _context(request))
    if kind == "DryRun":
        return {"StatusCode": 204, "ExecutedVersion": function.version}
    part = call.doors.part("lambda", LambdaPart)
    if kind == "Event":
        await part.events.accept(function, work)
        return {"StatusCode": 202}
    done = await part.run_through(await ready(call, function, part), work)
    answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": function.version, "Payload": done.payload}
    if done.function_error:
        answer["FunctionError"] = done.function_error
    if request.get("LogType") == "Tail":
        answer["LogResult"] = base64.b64encode(done.log).decode()
    return answer


@operation("InvokeAsync", needs=needs.on_function("lambda:InvokeFunction"))
async def invoke_async(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The older Invoke with `Event`. Source: Lambda API Reference, InvokeAsync."""
    payload = await _payload({"Payload": request["InvokeArgs"]}, "Event")
    function = chosen(call, request)
    work = Work(call.request_id, payload, call.trace)
    await call.doors.part("lambda", LambdaPart).events.accept(function, work)
    return {"Status": 202}


@operation("InvokeWithResponseStream", needs=needs.on_function("lambda:InvokeFunction"))
async def invoke_with_response_stream(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run a function and answer piece by piece, as it writes; one that returns a value answers in one piece.

    Raises:
        What Invoke raises.

    Source: Lambda API Reference, InvokeWithResponseStream.
    """
    kind = request.get("InvocationType", "RequestResponse")
    if kind not in ("RequestResponse", "DryRun"):
        raise InvalidParameterValueException(f"InvocationType must be RequestResponse or DryRun, not {kind!r}")
    if "TenantId" in request:
        raise InvalidParameterValueException("TenantId is not supported by this chamber yet")
    payload = await _payload(request, "RequestResponse")
    function = chosen(call, request)
    shown = {"ExecutedVersion": function.version, "ResponseStreamContentType": eventstream.CONTENT_TYPE}
    if kind == "DryRun":
        return {"StatusCode": 204, **shown, "EventStream": _nothing()}
    part = call.doors.part("lambda", LambdaPart)
    function = await ready(call, function, part)
    relay = Relay()
    work = Work(call.request_id, payload, call.trace, _context(request), relay.put)
    await relay.begin(part.run_through(function, work))
    tail = request.get("LogType") == "Tail"
    return {"StatusCode": 200, **shown, "EventStream": _pieces(relay, tail=tail)}


async def _nothing() -> AsyncIterator[dict[str, Any]]:
    for none in ():
        yield none


async def _pieces(relay: Relay, *, tail: bool) -> AsyncIterator[dict[str, Any]]:
    async for piece in relay.pieces():
        yield {"PayloadChunk": {"Payload": piece}}
    done = await relay.outcome()
    over: dict[str, Any] = {}
    if done.function_error:
        over = {
            "ErrorCode": done.error_type or done.function_error,
            "ErrorDetails": done.payload.decode("utf-8", "replace"),
        }
    elif done.payload:
        yield {"PayloadChunk": {"Payload": done.payload}}
    if tail:
        over["LogResult"] = base64.b64encode(done.log).decode()
    yield {"InvokeComplete": over}


def chosen(call: Call, request: Mapping[str, Any]) -> Function:
    """The function version that runs this time: an alias with weights decides by chance."""
    reference = named(call, request)
    try:
        return call.doors.database.read(lambda db: tables.chosen(db, reference, ids.fraction()))
    except ResourceNotFoundException as error:
        if reference.qualifier:
            raise
        raise ResourceNotFoundException(f"Function not found: {reference.arn}:{LATEST}") from error


async def ready(call: Call, function: Function, part: LambdaPart) -> Function:
    """The function once its code is there to run.

    Raises:
        ResourceConflictException: it is being created, or could not be.
    """
    if function.ready:
        return function
    if function.state == "Pending" or function.state == "Failed":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. The function is currently in the following state: "
            + function.state
        )
    await part.settled(function.arn)
    reference = Reference(function.arn, function.qualifier)
    return call.doors.database.read(lambda db: tables.chosen(db, reference, ids.fraction()))


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
