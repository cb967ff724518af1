# SPDX-License-Identifier: Apache-2.0
"""Functions: create, read, update, delete, list."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids, pages
from cloudchamber.base.body import FileSlice
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import configuration, names, needs, tables
from cloudchamber.services.lambda_.archive import UNZIPPED_MAX, ZIPPED_MAX
from cloudchamber.services.lambda_.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
    ResourceConflictException,
)
from cloudchamber.services.lambda_.part import LambdaPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.body import ReplyBody
    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.tables import Function
    from cloudchamber.store.database import Tx

_PAGE = 50


def named(call: Call, request: Mapping[str, Any]) -> str:
    """The ARN of the function that a request names."""
    return names.resolve(str(request["FunctionName"]), call.account, call.region, str(request.get("Qualifier", "")))


def read(call: Call, request: Mapping[str, Any]) -> Function:
    """The function that a request names.

    Raises:
        ResourceNotFoundException: there is none.
    """
    arn = named(call, request)
    return call.doors.database.read(lambda db: tables.get(db, arn))


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
    arn = names.resolve(str(request["FunctionName"]), call.account, call.region)
    configuration.check(request)
    if "Runtime" not in request or "Handler" not in request:
        raise InvalidParameterValueException(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages."
        )
    _check_tags(request.get("Tags", {}))
    if call.doors.database.read(lambda db: tables.find(db, arn)) is not None:
        raise _taken(name)
    await _check_role(call, str(request["Role"]), arn)
    part = call.doors.part("lambda", LambdaPart)
    code, size = await _code(call, request.get("Code", {}), part)
    document = {**configuration.created(request, name), **_stamps(call, code, size)}
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
        return tables.get(tx, arn)

    function = await call.doors.database.write(publish)
    _say_runtime(call, function)
    part.activate(arn)
    return configuration.shown(function)


@operation("GetFunction", needs=needs.on_function("lambda:GetFunction"))
async def get_function(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration, tags, concurrency. `Code.Location` is left out: packages are not served over HTTP here.

    Source: Lambda API Reference, GetFunction.
    """
    function = read(call, request)
    answer: dict[str, Any] = {"Configuration": configuration.shown(function), "Code": {"RepositoryType": "S3"}}
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
    versions = "FunctionVersion" in request
    limit = min(int(request.get("MaxItems", _PAGE)), _PAGE)
    after = _unmark(request.get("Marker", ""))
    found = await call.doors.database.query(
        lambda db: tables.page(db, call.account, call.region, after, limit + 1),
    )
    answer: dict[str, Any] = {"Functions": [_latest(f) if versions else configuration.shown(f) for f in found[:limit]]}
    if len(found) > limit:
        answer["NextMarker"] = pages.token(found[limit - 1].name)
    return answer


@operation("ListVersionsByFunction", needs=needs.on_function("lambda:ListVersionsByFunction"))
async def list_versions(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """The one version that there is, ``$LATEST``. Source: Lambda API Reference, ListVersionsByFunction."""
    return {"Versions": [_latest(read(call, request))]}


@operation("UpdateFunctionCode", needs=needs.on_function("lambda:UpdateFunctionCode"))
async def update_function_code(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Give a function other code; the next invocation runs it.

    Raises:
        ResourceConflictException: it is being created, or another update goes on.
        PreconditionFailedException: `RevisionId` is not the current one.

    Source: Lambda API Reference, UpdateFunctionCode.
    """
    configuration.check({name: value for name, value in request.items() if name != "S3ObjectVersion"})
    function = read(call, request)
    _check_settled(function)
    tables.check_revision(function, request)
    part = call.doors.part("lambda", LambdaPart)
    code, size = await _code(call, request, part)
    stamps = _stamps(call, code, size)
    if request.get("DryRun"):
        return {**configuration.shown(function), "CodeSha256": stamps["CodeSha256"], "CodeSize": size}

    def publish(tx: Tx) -> Function:
        current = tables.get(tx, function.arn)
        _check_settled(current)
        tables.check_revision(current, request)
        tables.change(
            tx,
            current.arn,
            configuration={**current.configuration, **stamps},
            code_sha=code,
            generation=current.generation + 1,
            update_status="InProgress",
        )
        return tables.get(tx, current.arn)

    changed = await call.doors.database.write(publish)
    part.activate(changed.arn)
    return configuration.shown(changed)


@operation("UpdateFunctionConfiguration", needs=needs.update_configuration)
async def update_function_configuration(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Change settings; environments with the old ones end, those that run finish first.

    Source: Lambda API Reference, UpdateFunctionConfiguration.
    """
    configuration.check(request)
    function = read(call, request)
    _check_settled(function)
    tables.check_revision(function, request)
    if "Role" in request:
        await _check_role(call, str(request["Role"]), function.arn)

    def publish(tx: Tx) -> Function:
        current = tables.get(tx, function.arn)
        _check_settled(current)
        tables.check_revision(current, request)
        document = configuration.updated(current.configuration, request, current.name)
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
    """Delete a function with its policy, settings and waiting events; runs that go on are ended.

    Source: Lambda API Reference, DeleteFunction.
    """
    arn = named(call, request)
    if request.get("Qualifier") == names.LATEST:
        raise InvalidParameterValueException("$LATEST version cannot be deleted without deleting the function.")

    def publish(tx: Tx) -> None:
        tables.get(tx, arn)
        tx.execute("DELETE FROM lambda_functions WHERE arn = ?", (arn,))
        tx.execute("DELETE FROM lambda_events WHERE arn = ?", (arn,))

    await call.doors.database.write(publish)
    await call.doors.part("lambda", LambdaPart).forget(arn)
    return {"StatusCode": 204}


def _latest(function: Function) -> dict[str, Any]:
    """The configuration as lists of versions show it."""
    shown = configuration.shown(function)
    return {**shown, "FunctionArn": f"{shown['FunctionArn']}:{names.LATEST}"}


def _say_runtime(call: Call, function: Function) -> None:
    if note := names.runtime_note(function.configuration["Runtime"]):
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


def _check_settled(function: Function) -> None:
    if function.state == "Pending":
        raise ResourceConflictException(
            "The operation cannot be performed at this time. The function is currently in the following state: Pending"
        )
    if function.update_status == "InProgress":
        raise ResourceConflictException(
            f"The operation cannot be performed at this time. An update is in progress for resource: {function.arn}"
        )


def _check_tags(tags: Mapping[str, str]) -> None:
    if len(tags) > 50:
        raise InvalidParameterValueException("Tags: a function can have at most 50 tags")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:"):
            if key.startswith("aws:cloudformation:"):
                continue
            raise InvalidParameterValueException(f"Tags: key {key[:130]!r} or its value is not valid")


async def _check_role(call: Call, role: str, arn: str) -> None:
    """Really assume the role, as Lambda will for every environment."""
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


async def _code(call: Call, code: Mapping[str, Any], part: LambdaPart) -> tuple[str, int]:
    """Fetch, check, keep and unpack a package; its SHA-256 in hexadecimal, and its size."""
    inline, bucket, key = code.get("ZipFile"), code.get("S3Bucket"), code.get("S3Key")
    configuration.refuse_unbuilt({n: v for n, v in code.items() if n in ("ImageUri", "S3ObjectStorageMode")})
    if inline is not None and (bucket or key):
        raise InvalidParameterValueException(
            "Please do not provide other FunctionCode parameters when providing a ZipFile."
        )
    if inline is not None:
        data = bytes(inline)
        if len(data) > ZIPPED_MAX:
            raise RequestEntityTooLargeException(
                f"Request must be smaller than {ZIPPED_MAX} bytes for the {call.segment.name} operation"
            )
    elif bucket and key:
        data = await _fetch(call, code)
    else:
        raise InvalidParameterValueException("Please provide a source for function code.")

    def keep() -> str:
        sha = part.archives.keep(data)
        part.archives.unpack(sha)
        return sha

    return await asyncio.to_thread(keep), len(data)


async def _fetch(call: Call, code: Mapping[str, Any]) -> bytes:
    """The package's object, read as the caller."""
    wanted = {"Bucket": code["S3Bucket"], "Key": code["S3Key"]}
    if version := code.get("S3ObjectVersion"):
        wanted["VersionId"] = version
    try:
        found = await call.ask("s3", "GetObject", wanted)
    except ServiceError as error:
        told = f"S3 Error Code: {error.code}. S3 Error Message: {error.message}"
        if error.status == 403:
            raise AccessDeniedException(
                "Your access has been denied by S3, please make sure your request credentials have permission to "
                f"GetObject for {code['S3Bucket']}/{code['S3Key']}. {told}"
            ) from error
        raise InvalidParameterValueException(f"Error occurred while GetObject. {told}") from error
    return await collect(found.get("Body", b""), UNZIPPED_MAX)


async def collect(body: ReplyBody, limit: int) -> bytes:
    """All octets of a reply's body.

    Raises:
        InvalidParameterValueException: more than `limit`.
    """
    if isinstance(body, bytes | bytearray | memoryview):
        data = bytes(body)
    elif isinstance(body, FileSlice):
        data = await asyncio.to_thread(_slice, body, limit)
    else:
        held = bytearray()
        async for chunk in body:
            held += chunk
            if len(held) > limit:
                break
        data = bytes(held)
    if len(data) > limit:
        raise InvalidParameterValueException(f"Unzipped size must be smaller than {limit} bytes")
    return data


def _slice(piece: FileSlice, limit: int) -> bytes:
    with piece.path.open("rb") as file:
        file.seek(piece.offset)
        return file.read(min(piece.length, limit + 1))


def _unmark(marker: str) -> str:
    try:
        return pages.after(marker)
    except ValueError as error:
        raise InvalidParameterValueException("Marker is not valid") from error
