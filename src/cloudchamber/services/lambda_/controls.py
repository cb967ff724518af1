# SPDX-License-Identifier: Apache-2.0
"""Concurrency, recursion control, account settings, tags: small settings of functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs, tables
from cloudchamber.services.lambda_.archive import UNZIPPED_MAX, ZIPPED_MAX
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    LimitInvalidException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.names import LATEST
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.reading import latest, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Tx

CONCURRENCY = 1000
"""Concurrent executions of an account. Source: Lambda quotas."""
_UNRESERVED_MIN = 100
_STORAGE = 80_530_636_800
_NEVER = {"event-source-mapping": "Event source mapping", "capacity-provider": "Capacity provider"}
"""What can have tags on AWS, and cannot be made here."""
_TAG_KEY = re.compile(r"(?!aws:).{1,128}", re.IGNORECASE | re.DOTALL)


@operation("PutFunctionConcurrency", needs=needs.on_function("lambda:PutFunctionConcurrency"))
async def put_concurrency(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Reserve concurrency for a function, which is also the most that it gets.

    Source: Lambda API Reference, PutFunctionConcurrency.
    """
    arn, wanted = plain(call, request), int(request["ReservedConcurrentExecutions"])
    if wanted < 0:
        raise InvalidParameterValueException("ReservedConcurrentExecutions must be greater than or equal to 0")

    def publish(tx: Tx) -> None:
        function = tables.find(tx, arn)
        if function is None:
            raise ResourceNotFoundException(f"Function not found: {arn}:{LATEST}")
        kept = sum(number for of, _, number in tables.provisioned(tx) if of == arn)
        if wanted < kept:
            raise LimitInvalidException(
                f" ReservedConcurrentExecutions  {wanted} should not be lower than function's total provisioned "
                f"concurrency [{kept}]."
            )
        others = tx.execute(
            "SELECT coalesce(sum(reserved), 0) FROM lambda_functions WHERE account = ? AND region = ? AND arn != ?",
            (function.account, function.region, arn),
        ).fetchone()[0]
        if others + wanted > CONCURRENCY - _UNRESERVED_MIN:
            raise LimitInvalidException(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution "
                f"below its minimum value of [{_UNRESERVED_MIN}]."
            )
        tables.change(tx, arn, reserved=wanted)

    await call.doors.database.write(publish)
    await call.doors.part("lambda", LambdaPart).events.release(arn)
    return {"ReservedConcurrentExecutions": wanted}


@operation("GetFunctionConcurrency", needs=needs.on_function("lambda:GetFunctionConcurrency"))
async def get_concurrency(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The reserved concurrency; empty if none. Source: Lambda API Reference, GetFunctionConcurrency."""
    reserved = latest(call, request).reserved
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


@operation("DeleteFunctionConcurrency", needs=needs.on_function("lambda:DeleteFunctionConcurrency"))
async def delete_concurrency(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give the reserved concurrency back. Source: Lambda API Reference, DeleteFunctionConcurrency."""
    arn = plain(call, request)

    def publish(tx: Tx) -> None:
        tables.get(tx, arn)
        tables.change(tx, arn, reserved=None)

    await call.doors.database.write(publish)
    await call.doors.part("lambda", LambdaPart).events.release(arn)
    return {}


@operation("GetAccountSettings", needs=needs.on_anything("lambda:GetAccountSettings"))
async def get_account_settings(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Limits and use of the account in this region. Source: Lambda API Reference, GetAccountSettings."""
    every = await call.doors.database.query(tables.every)
    functions = [f for f in every if (f.account, f.region) == (call.account, call.region)]
    sizes = await call.doors.database.query(lambda db: tables.code_sizes(db, call.account, call.region))
    reserved = sum(f.reserved or 0 for f in functions)
    return {
        "AccountLimit": {
            "TotalCodeSize": _STORAGE,
            "CodeSizeUnzipped": UNZIPPED_MAX,
            "CodeSizeZipped": ZIPPED_MAX,
            "ConcurrentExecutions": CONCURRENCY,
            "UnreservedConcurrentExecutions": CONCURRENCY - reserved,
        },
        "AccountUsage": {
            "TotalCodeSize": sizes,
            "FunctionCount": len(functions),
        },
    }


@operation("PutFunctionRecursionConfig", needs=needs.on_function("lambda:PutFunctionRecursionConfig"))
async def put_recursion(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Whether a function that triggers itself is stopped. Source: Lambda API Reference, PutFunctionRecursionConfig."""
    arn, wanted = plain(call, request), request["RecursiveLoop"]
    if wanted not in ("Allow", "Terminate"):
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{wanted}' at 'recursiveLoop' failed to satisfy constraint: Member "
            "must satisfy enum value set: [Allow, Terminate]"
        )

    def publish(tx: Tx) -> None:
        tables.get(tx, arn)
        tables.change(tx, arn, recursion=wanted)

    await call.doors.database.write(publish)
    return {"RecursiveLoop": wanted}


@operation("GetFunctionRecursionConfig", needs=needs.on_function("lambda:GetFunctionRecursionConfig"))
async def get_recursion(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Source: Lambda API Reference, GetFunctionRecursionConfig."""
    return {"RecursiveLoop": latest(call, request).recursion}


def _tagged(resource: str) -> str:
    try:
        arn = Arn.parse(resource)
    except ValueError as error:
        raise InvalidParameterValueException(f"{resource[:200]!r} is not the ARN of a function") from error
    kind, _, name = arn.resource.partition(":")
    if arn.service == "lambda" and kind in _NEVER:
        raise ResourceNotFoundException(f"{_NEVER[kind]} not found: {resource}")
    if arn.service == "lambda" and kind == "function" and ":" in name:
        raise InvalidParameterValueException(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )
    if arn.service != "lambda" or kind != "function" or not name:
        raise InvalidParameterValueException(f"Tags on {resource[:200]!r}: only functions have tags here")
    return resource


@operation("TagResource", needs=needs.tag_resource)
async def tag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Add or replace tags of a function. Source: Lambda API Reference, TagResource."""
    arn, new = _tagged(str(request["Resource"])), dict(request["Tags"])
    if not new:
        raise InvalidParameterValueException("An error occurred and the request cannot be processed.")
    for key, value in new.items():
        if not _TAG_KEY.fullmatch(key) or len(value) > 256:
            raise InvalidParameterValueException(f"Tags: key {key[:130]!r} or its value is not valid")

    def publish(tx: Tx) -> None:
        function = tables.get(tx, arn)
        tags = {**function.tags, **new}
        if len(tags) > 50:
            raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")
        tables.change(tx, arn, tags=tags)
        tables.revise(tx, function)

    await call.doors.database.write(publish)
    return {}


@operation("UntagResource", needs=needs.untag_resource)
async def untag_resource(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove tags of a function. Source: Lambda API Reference, UntagResource."""
    arn, gone = _tagged(str(request["Resource"])), set(request["TagKeys"])

    def publish(tx: Tx) -> None:
        function = tables.get(tx, arn)
        tables.change(tx, arn, tags={key: value for key, value in function.tags.items() if key not in gone})
        tables.revise(tx, function)

    await call.doors.database.write(publish)
    return {}


@operation("ListTags", needs=needs.list_tags)
async def list_tags(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Tags of a function. Source: Lambda API Reference, ListTags."""
    arn = _tagged(str(request["Resource"]))
    return {"Tags": dict(call.doors.database.read(lambda db: tables.get(db, arn)).tags)}
