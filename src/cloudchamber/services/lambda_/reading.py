# SPDX-License-Identifier: Apache-2.0
"""What the operations share to find the function that a request means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.services.lambda_ import names, tables
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    ResourceConflictException,
    ResourceNotFoundException,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.names import Reference
    from cloudchamber.services.lambda_.tables import Function


def named(call: Call, request: Mapping[str, Any]) -> Reference:
    """The function, version or alias that a request names."""
    found = names.resolve(str(request["FunctionName"]), call.account, call.region, str(request.get("Qualifier") or ""))
    region = found.arn.split(":")[3]
    if region != call.region:
        raise ResourceNotFoundException(f"Functions from '{region}' are not reachable in this region ('{call.region}')")
    return found


def plain(call: Call, request: Mapping[str, Any]) -> str:
    """The ARN of the function that a request names.

    Raises:
        InvalidParameterValueException: it names a version or an alias.
    """
    reference = named(call, {"FunctionName": request["FunctionName"]})
    if reference.qualifier:
        raise InvalidParameterValueException(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. "
            "Please specify either a function name or an unqualified function ARN."
        )
    return reference.arn


def read(call: Call, request: Mapping[str, Any]) -> Function:
    """The function, version or alias's main version that a request names.

    Raises:
        ResourceNotFoundException: there is none.
    """
    reference = named(call, request)
    return call.doors.database.read(lambda db: tables.chosen(db, reference))


def latest(call: Call, request: Mapping[str, Any]) -> Function:
    """The function that a request names without qualifier.

    Raises:
        ResourceNotFoundException: there is none.
        InvalidParameterValueException: it names a version or an alias.
    """
    arn = plain(call, request)
    return call.doors.database.read(lambda db: tables.get(db, arn))


def check_settled(function: Function) -> None:
    """Refuse a change of a function that is being created or changed."""
    if function.state == "Pending":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
    if function.update_status == "InProgress":
        raise ResourceConflictException(
            f"The operation cannot be performed at this time. An update is in progress for resource: {function.arn}"
        )


def unmark(marker: str) -> str:
    """The key in a page token."""
    try:
        return pages.after(marker)
    except ValueError as error:
        raise InvalidParameterValueException("Marker is not valid") from error
