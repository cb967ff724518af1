# SPDX-License-Identifier: Apache-2.0
"""Packages on their way in: from a request, or from a bucket as the caller reads it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.base.body import FileSlice
from cloudchamber.base.errors import ServiceError
from cloudchamber.services.lambda_ import configuration
from cloudchamber.services.lambda_.archive import UNZIPPED_MAX, ZIPPED_MAX
from cloudchamber.services.lambda_.errors import (
    AccessDeniedException,
    InvalidParameterValueException,
    RequestEntityTooLargeException,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.body import ReplyBody
    from cloudchamber.contract.call import Call
    from cloudchamber.services.lambda_.part import LambdaPart


async def fetch(call: Call, code: Mapping[str, Any], part: LambdaPart) -> tuple[str, int]:
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
            raise RequestEntityTooLargeException(f"Zipped size must be smaller than {ZIPPED_MAX} bytes")
    elif bucket and key:
        data = await _object(call, code)
    else:
        raise InvalidParameterValueException("Please provide a source for function code.")

    def keep() -> str:
        sha = part.archives.keep(data)
        part.archives.unpack(sha)
        return sha

    return await asyncio.to_thread(keep), len(data)


async def _object(call: Call, code: Mapping[str, Any]) -> bytes:
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
        data = await asyncio.to_thread(_piece, body, limit)
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


def _piece(piece: FileSlice, limit: int) -> bytes:
    with piece.path.open("rb") as file:
        file.seek(piece.offset)
        return file.read(min(piece.length, limit + 1))
