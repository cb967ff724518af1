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
from cloudchamber.services.lambda_.names import LATEST
from cloudchamber.services.lambda_.reading import named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.names import Reference
    from cloudchamber.services.lambda_.tables import Settings
    from cloudchamber.store.database import Reader, Tx


def _check_policy_revision(db: Reader, reference: Reference, settings: Settings, request: Mapping[str, Any]) -> None:
    """Refuse a change made for another revision: of the policy, or of what has none yet."""
    wanted, current = request.get("RevisionId"), settings.policy_revision
    if not current:
        alias = tables.find_alias(db, reference.arn, reference.qualifier)
        chosen = tables.chosen(db, reference)
        current = alias.revision if alias is not None else chosen.configuration["RevisionId"]
    if wanted and wanted != current:
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
    reference = named(call, request)
    if reference.qualifier == LATEST:
        raise InvalidParameterValueException("We currently do not support adding policies for $LATEST.")
    made = policy.statement(request, reference.qualified)

    def publish(tx: Tx) -> None:
        tables.chosen(tx, reference)
        settings = tables.settings(tx, reference.arn, reference.qualifier)
        _check_policy_revision(tx, reference, settings, request)
        if any(old["Sid"] == made["Sid"] for old in settings.statements):
            raise ResourceConflictException(
                f"The statement id ({made['Sid']}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement."
            )
        _put(tx, reference, (*settings.statements, made))

    await call.doors.database.write(publish)
    return {"Statement": json.dumps(made, separators=(",", ":"))}


@operation("RemovePermission", needs=needs.remove_permission)
async def remove_permission(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take a statement out of the function policy. Source: Lambda API Reference, RemovePermission."""
    reference, sid = named(call, request), request["StatementId"]

    def publish(tx: Tx) -> None:
        tables.chosen(tx, reference)
        settings = tables.settings(tx, reference.arn, reference.qualifier)
        _check_policy_revision(tx, reference, settings, request)
        if not settings.statements:
            raise ResourceNotFoundException("No policy is associated with the given resource.")
        statements = tuple(old for old in settings.statements if old["Sid"] != sid)
        if len(statements) == len(settings.statements):
            raise ResourceNotFoundException(f"Statement {sid} is not found in resource policy.")
        _put(tx, reference, statements)

    await call.doors.database.write(publish)
    return {}


def _put(tx: Tx, reference: Reference, statements: tuple[Mapping[str, Any], ...]) -> None:
    policy.document(statements)
    tables.change_settings(
        tx, reference.arn, reference.qualifier, statements=statements, policy_revision=ids.request_id()
    )


@operation("GetPolicy", needs=needs.on_function("lambda:GetPolicy"))
async def get_policy(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The policy of a function, a version or an alias. Source: Lambda API Reference, GetPolicy."""
    reference = named(call, request)

    def look(db: Reader) -> Settings:
        tables.chosen(db, reference)
        return tables.settings(db, reference.arn, reference.qualifier)

    settings = call.doors.database.read(look)
    if not settings.statements:
        raise ResourceNotFoundException("The resource you requested does not exist.")
    return {"Policy": policy.document(settings.statements), "RevisionId": settings.policy_revision}
