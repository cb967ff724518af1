# SPDX-License-Identifier: Apache-2.0
"""Provisioned concurrency: environments of a version that are kept warm."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base import pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import configuration, needs, tables
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    ProvisionedConcurrencyConfigNotFoundException,
    ResourceConflictException,
    ResourceNotFoundException,
)
from cloudchamber.services.lambda_.names import LATEST, Reference
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.pool import CONCURRENCY
from cloudchamber.services.lambda_.reading import named, plain, unmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Reader, Tx

_PAGE = 50
_UNRESERVED_MIN = 100
_WORDS = "The function resource provided must be an alias or a published version."
_UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."


def _asked(call: Call, request: Mapping[str, Any], words: str = _WORDS) -> Reference:
    reference = named(call, request)
    if reference.qualifier in ("", LATEST):
        raise InvalidParameterValueException(words)
    return reference


def _chosen(db: Reader, reference: Reference) -> Function:
    """The version that is meant, or the main one of the alias that is."""
    if not reference.qualifier.isdigit() and tables.find_alias(db, reference.arn, reference.qualifier) is None:
        raise ResourceNotFoundException(f"Cannot find alias arn: {reference.qualified}")
    return tables.chosen(db, reference)


def _check_free(tx: Tx, reference: Reference, version: str) -> None:
    """Refuse what would provision a version twice: by itself, and by an alias."""
    others = [q for arn, q, _ in tables.provisioned(tx) if arn == reference.arn and q != reference.qualifier]
    if not reference.qualifier.isdigit() and version in others:
        raise ResourceConflictException(
            "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
        )
    for name in others if reference.qualifier.isdigit() else ():
        alias = tables.find_alias(tx, reference.arn, name)
        if alias is not None and version in (alias.version, *alias.weights):
            raise ResourceConflictException("Version is pointed by a Provisioned Concurrency alias")


def _shown(call: Call, reference: Reference, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for, and how much of it is there: ready only when every environment is."""
    function = call.doors.database.read(lambda db: tables.chosen(db, reference))
    number = int(kept["Requested"])
    there, starting, failure = call.doors.part("lambda", LambdaPart).provisioned(function.key)
    available = min(there, number)
    status = "READY" if available >= number else "FAILED" if failure and not starting else "IN_PROGRESS"
    answer: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": number,
        "AvailableProvisionedConcurrentExecutions": available,
        "AllocatedProvisionedConcurrentExecutions": available,
        "Status": status,
        "LastModified": configuration.modified(datetime.fromtimestamp(float(kept["LastModified"]), UTC)),
    }
    return answer | ({"StatusReason": failure} if status == "FAILED" else {})


@operation("PutProvisionedConcurrencyConfig", needs=needs.on_function("lambda:PutProvisionedConcurrencyConfig"))
async def put_provisioned_concurrency_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep environments of a version, or of an alias's version, warm; `READY` when they really are.

    Raises:
        InvalidParameterValueException: ``$LATEST``, or more than there may be.

    Source: Lambda API Reference, PutProvisionedConcurrencyConfig.
    """
    reference, number = _asked(call, request, _UNPUBLISHED), int(request["ProvisionedConcurrentExecutions"])
    if number < 1:
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{number}' at 'provisionedConcurrentExecutions' failed to satisfy "
            "constraint: Member must have value greater than or equal to 1"
        )
    kept = {"Requested": number, "LastModified": call.now.timestamp()}

    def publish(tx: Tx) -> None:
        function = _chosen(tx, reference)
        _check_free(tx, reference, function.version)
        others = sum(n for arn, q, n in tables.provisioned(tx) if (arn, q) != (reference.arn, reference.qualifier))
        own = sum(n for arn, q, n in tables.provisioned(tx) if arn == reference.arn and q != reference.qualifier)
        if function.reserved is not None and own + number > function.reserved:
            raise InvalidParameterValueException(
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                "function"
            )
        if others + number > CONCURRENCY - _UNRESERVED_MIN:
            raise InvalidParameterValueException(
                "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
                f"its minimum value of [{_UNRESERVED_MIN}]."
            )
        tables.change_settings(tx, reference.arn, reference.qualifier, provisioned=kept)

    await call.doors.database.write(publish)
    call.doors.part("lambda", LambdaPart).provision()
    return _shown(call, reference, kept)


def _none() -> ProvisionedConcurrencyConfigNotFoundException:
    return ProvisionedConcurrencyConfigNotFoundException("No Provisioned Concurrency Config found for this function")


@operation("GetProvisionedConcurrencyConfig", needs=needs.on_function("lambda:GetProvisionedConcurrencyConfig"))
async def get_provisioned_concurrency_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked for and what is there. Source: Lambda API Reference, GetProvisionedConcurrencyConfig."""
    reference = _asked(call, request)

    def look(db: Reader) -> Mapping[str, Any] | None:
        _chosen(db, reference)
        return tables.settings(db, reference.arn, reference.qualifier).provisioned

    kept = call.doors.database.read(look)
    if kept is None:
        raise _none()
    return _shown(call, reference, kept)


@operation("ListProvisionedConcurrencyConfigs", needs=needs.on_function("lambda:ListProvisionedConcurrencyConfigs"))
async def list_provisioned_concurrency_configs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Those of all versions and aliases. Source: Lambda API Reference, ListProvisionedConcurrencyConfigs."""
    arn = plain(call, request)
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after = unmark(request.get("Marker", ""))

    def look(db: Reader) -> list[tuple[Reference, Mapping[str, Any]]]:
        tables.get(db, arn)
        return [
            (Reference(arn, name), each.provisioned)
            for name, each in tables.qualifiers(db, arn)
            if each.provisioned is not None and name > after
        ]

    found = call.doors.database.read(look)
    shown = [{"FunctionArn": ref.qualified, **_shown(call, ref, kept)} for ref, kept in found[:limit]]
    answer: dict[str, Any] = {"ProvisionedConcurrencyConfigs": shown}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(found[limit - 1][0].qualifier)
    return answer


@operation("DeleteProvisionedConcurrencyConfig", needs=needs.on_function("lambda:DeleteProvisionedConcurrencyConfig"))
async def delete_provisioned_concurrency_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep none warm any more. Source: Lambda API Reference, DeleteProvisionedConcurrencyConfig."""
    reference = _asked(call, request)

    def publish(tx: Tx) -> None:
        _chosen(tx, reference)
        tables.change_settings(tx, reference.arn, reference.qualifier, provisioned="")

    await call.doors.database.write(publish)
    call.doors.part("lambda", LambdaPart).provision()
    return {}
