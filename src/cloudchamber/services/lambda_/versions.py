# SPDX-License-Identifier: Apache-2.0
"""Versions: a function's code and configuration, published and then never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import configuration, needs, tables
from cloudchamber.services.lambda_.errors import InvalidParameterValueException, ResourceConflictException
from cloudchamber.services.lambda_.names import LATEST, Reference
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.reading import check_settled, plain, unmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Tx

_PAGE = 50
_OF_THE_MOMENT = ("RevisionId", "LastModified", configuration.DESCRIBED)
"""What does not count when a function is compared with its last version."""


def publish(tx: Tx, function: Function, description: str | None = None) -> Function:
    """Publish ``$LATEST``; the last version if nothing has changed since."""
    last = tables.find_version(tx, function.arn, str(function.next_version - 1))
    if last is not None and last.version != LATEST and _same(last, function):
        return last
    document = {**function.configuration, "RevisionId": ids.request_id()}
    if description is not None:
        document |= {"Description": description, configuration.DESCRIBED: function.configuration["Description"]}
    tables.insert_version(tx, function, document)
    tables.revise(tx, function)
    made = tables.find_version(tx, function.arn, str(function.next_version))
    assert made is not None
    return made


def _same(last: Function, now: Function) -> bool:
    return _lasting(last) == _lasting(now)


def _lasting(function: Function) -> dict[str, Any]:
    found = {name: value for name, value in function.configuration.items() if name not in _OF_THE_MOMENT}
    return found | {"Description": function.configuration.get(configuration.DESCRIBED, found["Description"])}


@operation("PublishVersion", needs=needs.on_function("lambda:PublishVersion"))
async def publish_version(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Publish code and configuration of ``$LATEST`` as a version; unchanged since the last one, that one is answered.

    Raises:
        InvalidParameterValueException: `CodeSha256` is not that of ``$LATEST``.
        PreconditionFailedException: `RevisionId` is not the current one.
        ResourceConflictException: the function is being created or changed.

    Source: Lambda API Reference, PublishVersion.
    """
    if "PublishTo" in request:
        raise InvalidParameterValueException("PublishTo is not supported by this chamber yet")
    arn = plain(call, request)
    description = request.get("Description")
    if description is not None and len(description) > 256:
        raise InvalidParameterValueException("Description must have length less than or equal to 256")

    def change(tx: Tx) -> Function:
        function = tables.get(tx, arn)
        check_settled(function)
        tables.check_revision(function, request)
        wanted, has = request.get("CodeSha256"), function.configuration["CodeSha256"]
        if wanted and wanted != has:
            raise InvalidParameterValueException(
                f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({has}). Please try again with "
                "the CodeSHA256 in $LATEST."
            )
        return publish(tx, function, description)

    return configuration.shown(await call.doors.database.write(change))


@operation("ListVersionsByFunction", needs=needs.on_function("lambda:ListVersionsByFunction"))
async def list_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """``$LATEST``, then the versions by number, at most 50 a page.

    Source: Lambda API Reference, ListVersionsByFunction.
    """
    arn = plain(call, request)
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    marker = unmark(request.get("Marker", ""))
    if marker and not marker.isdigit():
        raise InvalidParameterValueException("Marker is not valid")
    latest = call.doors.database.read(lambda db: tables.chosen(db, Reference(arn, LATEST)))
    rows = [] if marker else [latest]
    rows += await call.doors.database.query(lambda db: tables.versions(db, arn, int(marker or 0), limit + 1))
    answer: dict[str, Any] = {"Versions": [configuration.listed(each) for each in rows[:limit]]}
    if len(rows) > limit:
        last = rows[limit - 1].version
        answer["NextMarker"] = pages.token("0" if last == LATEST else last)
    return answer


async def delete(call: Call, reference: Reference) -> dict[str, Any]:
    """Delete one version, which no alias may name; that it is not there is no error, as on AWS.

    Raises:
        InvalidParameterValueException: ``$LATEST``, or an alias.
        ResourceConflictException: an alias names it.
    """
    arn, qualifier = reference.arn, reference.qualifier
    if qualifier == LATEST:
        raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")
    if not qualifier.isdigit():
        raise InvalidParameterValueException("Deletion of aliases is not currently supported.")

    def change(tx: Tx) -> None:
        tables.get(tx, arn)
        by = [a.name for a in tables.aliases(tx, arn) if qualifier == a.version or qualifier in a.weights]
        if by:
            raise ResourceConflictException(
                f"Unable to delete version because the following aliases reference it: [{', '.join(by)}]"
            )
        tables.delete_version(tx, arn, qualifier)

    await call.doors.database.write(change)
    await call.doors.part("lambda", LambdaPart).forget(arn, qualifier)
    return {"StatusCode": 204}
