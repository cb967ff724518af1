# SPDX-License-Identifier: Apache-2.0
"""Functions: create, read, update, delete, list."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import configuration, names, needs, packages, runtimes, tables, versions
from cloudchamber.services.lambda_.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    ResourceConflictException,
)
from cloudchamber.services.lambda_.layers import attached, check_size
from cloudchamber.services.lambda_.part import LambdaPart
from cloudchamber.services.lambda_.reading import check_settled, latest, named, read, unmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Tx

_PAGE = 50


@operation("CreateFunction", needs=needs.create_function)
async def create_function(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Create a function; it is `Pending` until its code is ready to run, then `Active`.

    Raises:
        InvalidParameterValueException: a member is not valid or not supported; the package is not a safe ZIP;
            the role does not let Lambda assume it.
        ResourceConflictException: the name is taken.

    Source: Lambda API Reference, CreateFunction.
    """
    name = names.check_name(str(request["FunctionName"]))
    arn = names.resolve(str(request["FunctionName"]), call.account, call.region).arn
    configuration.check(request)
    if "Runtime" not in request or "Handler" not in request:
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    await asyncio.to_thread(runtimes.check, str(request["Runtime"]))
    _check_tags(request.get("Tags", {}))
    if call.doors.database.read(lambda db: tables.find(db, arn)) is not None:
        raise _taken(name)
    await _check_role(call, str(request["Role"]), arn)
    part = call.doors.part("lambda", LambdaPart)
    code, size = await packages.fetch(call, request.get("Code", {}), part)
    layers = await attached(call, request.get("Layers", ()))
    await check_size(part, code, layers)
    document = {**configuration.created(request, name, layers), **_stamps(call, code, size)}
    row = {
        "account": call.account,
        "region": call.region,
        "name": name,
        "configuration": document,
        "code_sha": code,
        "tags": dict(request.get("Tags", {})),
    }

    def publish(tx: Tx) -> Function:
        if tables.find(tx, arn) is not None:
            raise _taken(name)
        tables.insert(tx, arn, row)
        made = tables.get(tx, arn)
        return versions.publish(tx, made) if request.get("Publish") else made

    function = await call.doors.database.write(publish)
    _say_runtime(call, function)
    part.activate(arn)
    # Why without the version: AWS says it in `Version` only, where UpdateFunctionCode says it in the ARN too.
    return {**configuration.shown(function), "FunctionArn": arn}


@operation("GetFunction", needs=needs.on_function("lambda:GetFunction"))
async def get_function(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration, tags, concurrency, and an address of the package that is good for ten minutes.

    Source: Lambda API Reference, GetFunction.
    """
    function = read(call, request)
    location = call.doors.part("lambda", LambdaPart).downloads.url(function.code_sha, call.now)
    answer: dict[str, Any] = {
        "Configuration": configuration.shown(function),
        "Code": {"RepositoryType": "S3", "Location": location},
    }
    if function.tags:
        answer["Tags"] = dict(function.tags)
    if function.reserved is not None:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
    return answer


@operation("GetFunctionConfiguration", needs=needs.on_function("lambda:GetFunctionConfiguration"))
async def get_function_configuration(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration alone. Source: Lambda API Reference, GetFunctionConfiguration."""
    return configuration.shown(read(call, request))


@operation("ListFunctions", needs=needs.on_anything("lambda:ListFunctions"))
async def list_functions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Functions of the caller's account and region, by name, at most 50 a page.

    Source: Lambda API Reference, ListFunctions.
    """
    if "MasterRegion" in request:
        raise InvalidParameterValueException("MasterRegion is not supported: there is no Lambda@Edge.")
    if request.get("FunctionVersion", "ALL") != "ALL":
        raise InvalidParameterValueException(
            f"1 validation error detected: Value '{request['FunctionVersion']}' at 'functionVersion' failed to satisfy "
            "constraint: Member must satisfy enum value set: [ALL]"
        )
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after = unmark(request.get("Marker", ""))
    every = "FunctionVersion" in request
    name, _, number = after.partition(":")
    if number and not number.isdigit():
        raise InvalidParameterValueException("Marker is not valid")
    start = (name, int(number)) if number else (name, 1 << 40)
    found = await call.doors.database.query(
        lambda db: tables.page(db, call.account, call.region, start, limit + 1, every=every)
    )
    answer: dict[str, Any] = {"Functions": [configuration.listed(f) for f in found[:limit]]}
    if len(found) > limit:
        last = found[limit - 1]
        number = "0" if last.version == names.LATEST else last.version
        answer["NextMarker"] = pages.token(f"{last.name}:{number}" if every else last.name)
    return answer


@operation("UpdateFunctionCode", needs=needs.on_function("lambda:UpdateFunctionCode"))
async def update_function_code(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a function other code; the next invocation runs it.

    Raises:
        ResourceConflictException: it is being created, or another update goes on.
        PreconditionFailedException: `RevisionId` is not the current one.

    Source: Lambda API Reference, UpdateFunctionCode.
    """
    configuration.check({name: value for name, value in request.items() if name != "S3ObjectVersion"})
    function = latest(call, request)
    check_settled(function)
    tables.check_revision(function, request)
    part = call.doors.part("lambda", LambdaPart)
    code, size = await packages.fetch(call, request, part)
    await check_size(part, code, function.configuration.get("Layers", ()))
    stamps = _stamps(call, code, size)
    if request.get("DryRun"):
        return {**configuration.shown(function), "CodeSha256": stamps["CodeSha256"], "CodeSize": size}

    def publish(tx: Tx) -> Function:
        current = tables.get(tx, function.arn)
        check_settled(current)
        tables.check_revision(current, request)
        tables.change(
            tx,
            current.arn,
            configuration={**current.configuration, **stamps},
            code_sha=code,
            generation=current.generation + 1,
            update_status="InProgress",
        )
        made = tables.get(tx, current.arn)
        return versions.publish(tx, made) if request.get("Publish") else made

    changed = await call.doors.database.write(publish)
    part.activate(changed.arn)
    return configuration.shown(changed)


@operation("UpdateFunctionConfiguration", needs=needs.update_configuration)
async def update_function_configuration(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change settings; environments with the old ones end, those that run finish first.

    Source: Lambda API Reference, UpdateFunctionConfiguration.
    """
    configuration.check(request)
    function = latest(call, request)
    check_settled(function)
    tables.check_revision(function, request)
    if "Runtime" in request:
        await asyncio.to_thread(runtimes.check, str(request["Runtime"]))
    if "Role" in request:
        await _check_role(call, str(request["Role"]), function.arn)
    layers = await attached(call, request.get("Layers", ()))
    await check_size(call.doors.part("lambda", LambdaPart), function.code_sha, layers)

    def publish(tx: Tx) -> Function:
        current = tables.get(tx, function.arn)
        check_settled(current)
        tables.check_revision(current, request)
        document = configuration.updated(current.configuration, request, current.name, layers)
        document |= {"RevisionId": ids.request_id(), "LastModified": configuration.modified(call.now)}
        tables.change(
            tx,
            current.arn,
            configuration=document,
            generation=current.generation + 1,
            update_status="InProgress",
        )
        return tables.get(tx, current.arn)

    changed = await call.doors.database.write(publish)
    _say_runtime(call, changed)
    call.doors.part("lambda", LambdaPart).activate(changed.arn)
    return configuration.shown(changed)


@operation("DeleteFunction", needs=needs.on_function("lambda:DeleteFunction"))
async def delete_function(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a function with its versions, policies, settings and waiting events; or only one version.

    Runs that go on are ended.

    Source: Lambda API Reference, DeleteFunction.
    """
    reference = named(call, request)
    if reference.qualifier:
        return await versions.delete(call, reference)
    arn = reference.arn

    def publish(tx: Tx) -> None:
        tables.get(tx, arn)
        tx.execute("DELETE FROM lambda_functions WHERE arn = ?", (arn,))
        tx.execute("DELETE FROM lambda_events WHERE arn = ?", (arn,))

    await call.doors.database.write(publish)
    await call.doors.part("lambda", LambdaPart).forget(arn)
    return {"StatusCode": 204}


def _say_runtime(call: Call, function: Function) -> None:
    if note := runtimes.find(function.configuration["Runtime"]).note:
        call.note(runtime=note)


def _taken(name: str) -> ResourceConflictException:
    return ResourceConflictException(f"Function already exist: {name}")


def _stamps(call: Call, code: str, size: int) -> dict[str, Any]:
    return {
        "CodeSha256": base64.b64encode(bytes.fromhex(code)).decode(),
        "CodeSize": size,
        "LastModified": configuration.modified(call.now),
        "RevisionId": ids.request_id(),
    }


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > 50:
        raise InvalidParameterValueException("Number of tags exceeds resource tag limit.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            if key.startswith("aws:cloudformation:"):
                continue
            raise InvalidParameterValueException(f"Tags: key {key[:130]!r} or its value is not valid")


async def _check_role(call: Call, role: str, arn: str) -> None:
    """Really assume the role, as Lambda will for every environment.

    Raises:
        AccessDeniedException: it is another account's.
        InvalidParameterValueException: Lambda may not assume it.
    """
    if role.split(":")[4] != call.account:
        raise AccessDeniedException("Cross-account pass role is not allowed.")
    try:
        await call.ask(
            "sts",
            "AssumeRole",
            {"RoleArn": role, "RoleSessionName": names.session_name(arn.rpartition(":")[2])},
            principal=service_principal("lambda.amazonaws.com", call.account, arn),
        )
    except ServiceError as error:
        raise InvalidParameterValueException(
            "The role defined for the function cannot be assumed by Lambda."
        ) from error
