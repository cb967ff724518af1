# SPDX-License-Identifier: Apache-2.0
"""The function policy: who else may invoke a function."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs, policy, tables
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    PreconditionFailedException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.functions import named, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Tx


def _check_policy_revision(function: Function, request: Mapping[str, Any]) -> None:
    wanted = request.get("RevisionId")
    if wanted and wanted != function.policy_revision:
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the "
            "latest Revision Id"
        )


@operation("AddPermission", needs=needs.add_permission)
async def add_permission(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let a service, account or role use a function; in force for the next call.

    Raises:
        ResourceConflictException: the statement id is taken.
        PolicyLengthExceededException: the policy would be longer than 20 KB.

    Source: Lambda API Reference, AddPermission.
    """
    for member in ("FunctionUrlAuthType", "InvokedViaFunctionUrl"):
        if member in request:
            raise InvalidParameterValueException(f"{member}: function URLs are not supported by this chamber yet")
    if request.get("Qualifier"):
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
    arn = named(call, request)
    made = policy.statement(request, arn)

    def publish(tx: Tx) -> None:
        function = tables.get(tx, arn)
        _check_policy_revision(function, request)
        if any(old["Sid"] == made["Sid"] for old in function.statements):
            raise ResourceConflictException(
                f"The statement id ({made['Sid']}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement."
            )
        statements = (*function.statements, made)
        policy.document(statements)
        tables.change(tx, arn, statements=statements, policy_revision=ids.request_id())

    await call.doors.database.write(publish)
    return {"Statement": json.dumps(made, separators=(",", ":"))}


@operation("RemovePermission", needs=needs.on_function("lambda:RemovePermission"))
async def remove_permission(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a statement out of the function policy. Source: Lambda API Reference, RemovePermission."""
    arn, sid = named(call, request), request["StatementId"]

    def publish(tx: Tx) -> None:
        function = tables.get(tx, arn)
        _check_policy_revision(function, request)
        statements = [old for old in function.statements if old["Sid"] != sid]
        if len(statements) == len(function.statements):
            raise ResourceNotFoundException(f"Statement {sid} is not found in resource policy.")
        tables.change(tx, arn, statements=statements, policy_revision=ids.request_id())

    await call.doors.database.write(publish)
    return {}


@operation("GetPolicy", needs=needs.on_function("lambda:GetPolicy"))
async def get_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The function policy. Source: Lambda API Reference, GetPolicy."""
    function = read(call, request)
    if not function.statements:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": policy.document(function.statements), "RevisionId": function.policy_revision}
