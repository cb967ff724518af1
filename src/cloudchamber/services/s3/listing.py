# SPDX-License-Identifier: Apache-2.0
"""Listings: a page at a time by key, common prefixes skipped by seeking, never by scanning.

Source: Amazon S3 API Reference, ListObjects and ListObjectsV2.
"""

from __future__ import annotations

import base64
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs
from cloudchamber.services.s3.acl import owner_shown
from cloudchamber.services.s3.checksums import algorithm_of, kind
from cloudchamber.services.s3.contents import Contents
from cloudchamber.services.s3.errors import InvalidArgument
from cloudchamber.services.s3.names import quoted
from cloudchamber.services.s3.owning import people
from cloudchamber.services.s3.restoring import add_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader

PAGE_MAX = 1000
_CHUNK_MIN = 4


@dataclass(slots=True)
class Page:
    """One page: objects and common prefixes, together at most as many as asked for, in order."""

    objects: list[Any] = field(default_factory=list[Any])
    prefixes: list[str] = field(default_factory=list[str])
    truncated: bool = False
    last: str = ""
    """The last key or prefix of the page."""


def successor(text: str) -> str | None:
    """The least string that is greater than every string that begins with `text`; None if there is none.

    In order of code points, which is the order of UTF-8 and so of S3 and SQLite.
    """
    while text:
        last = ord(text[-1])
        if last < 0x10FFFF:
            return text[:-1] + chr(0xE000 if last == 0xD7FF else last + 1)
        text = text[:-1]
    return None


def key_page(db: Reader, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """Keys with `prefix` that are greater than `after`; those with `delimiter` behind the prefix are rolled up."""
    found = Page()
    end = successor(prefix)
    low, strict = (after, True) if after >= prefix else (prefix, False)
    if delimiter and after.startswith(prefix):
        rolled = rolled_up(after, prefix, delimiter)
        if rolled is not None:  # Why: a marker inside a common prefix means that the prefix was told already
            behind = successor(rolled)
            if behind is None:
                return found
            low, strict = behind, False
    if not delimiter:
        rows = _rows(db, bucket, low, strict, end, limit + 1)
        found.objects, found.truncated = rows[:limit], 0 < limit < len(rows)
        found.last = found.objects[-1][0] if found.objects else ""
        return found
    chunk = _CHUNK_MIN
    while True:
        count = len(found.objects) + len(found.prefixes)
        rows = _rows(db, bucket, low, strict, end, min(limit - count + 1, chunk))
        chunk = min(PAGE_MAX + 1, 4 * chunk)
        if not rows:
            return found
        for row in rows:
            if count == limit:
                found.truncated = limit > 0
                return found
            count += 1
            key = row[0]
            rolled = rolled_up(key, prefix, delimiter)
            if rolled is not None:
                found.prefixes.append(rolled)
                found.last = rolled
                behind = successor(rolled)
                if behind is None:
                    return found
                low, strict = behind, False
                chunk = _CHUNK_MIN  # Why: one prefix follows another, mostly, and what is read behind it is for nothing
                break
            found.objects.append(row)
            found.last = low = key
            strict = True


def rolled_up(key: str, prefix: str, delimiter: str) -> str | None:
    """The common prefix that `key` is told by; None if it is told by itself."""
    at = key.find(delimiter, len(prefix))
    return None if at < 0 else key[: at + len(delimiter)]


def _rows(db: Reader, bucket: str, low: str, strict: bool, end: str | None, limit: int) -> list[Any]:
    sql = "SELECT key, size, etag, modified, checksum, storage FROM s3_objects WHERE bucket = ? AND key "
    sql += ">" if strict else ">="
    values: tuple[Any, ...] = (bucket, low, limit)
    if end is None:
        sql += " ? ORDER BY key LIMIT ?"
    else:
        sql += " ? AND key < ? ORDER BY key LIMIT ?"
        values = (bucket, low, end, limit)
    return bare(db, sql, values)


def bare(db: Reader, sql: str, values: tuple[Any, ...]) -> list[Any]:
    """Rows as plain tuples: their columns have no names, and cost a sixth less."""
    found: Any = db.execute(sql, values)
    if isinstance(found, sqlite3.Cursor):  # Why: PostgreSQL's rows are plain as they come
        found.row_factory = None
    return found.fetchall()


def limit_of(request: Mapping[str, Any]) -> int:
    """Entries of one page: `MaxKeys`, at most 1,000."""
    wanted = int(request.get("MaxKeys", PAGE_MAX))
    if wanted < 0:
        raise InvalidArgument(
            "Argument maxKeys must be an integer between 0 and 2147483647",
            ArgumentName="maxKeys",
            ArgumentValue=str(wanted),
        )
    return min(wanted, PAGE_MAX)


def encoding(request: Mapping[str, Any]) -> None:
    """`encoding-type` is ``url`` or absent."""
    if request.get("EncodingType", "url") != "url":
        raise InvalidArgument(
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=request["EncodingType"],
        )


def _contents(found: Page, owner: Mapping[str, str] | None) -> list[dict[str, Any]]:
    contents: list[dict[str, Any]] = []
    for key, size, etag, modified, checksum, storage in found.objects:
        entry: dict[str, Any] = {
            "Key": key,
            "LastModified": datetime.fromtimestamp(modified, UTC),
            "ETag": quoted(etag),
            "Size": size,
            "StorageClass": storage or "STANDARD",
        }
        if checksum:
            entry["ChecksumAlgorithm"] = [algorithm_of(checksum)]
            entry["ChecksumType"] = kind(checksum)
        if owner is not None:
            entry["Owner"] = owner
        contents.append(entry)
    return contents


def _fill(
    call: Call, response: dict[str, Any], found: Page, request: Mapping[str, Any], owner: Mapping[str, str] | None
) -> dict[str, Any]:
    if found.objects and call.headers is not None and "OptionalObjectAttributes" not in request:
        response["Contents"] = Contents(found.objects, owner)
    elif found.objects:
        response["Contents"] = _contents(found, owner)
        add_status(call, request["Bucket"], request, response["Contents"])
    if found.prefixes:
        response["CommonPrefixes"] = [{"Prefix": prefix} for prefix in found.prefixes]
    if request.get("Delimiter"):
        response["Delimiter"] = request["Delimiter"]
    if "EncodingType" in request:
        response["EncodingType"] = request["EncodingType"]
    return response


@operation("ListObjects", needs=needs.on_bucket("s3:ListBucket"))
async def list_objects(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 of the listing. Source: Amazon S3 API Reference, ListObjects."""
    bucket = checks.bucket(call, request)
    encoding(request)
    limit, prefix, delimiter = limit_of(request), request.get("Prefix", ""), request.get("Delimiter", "")
    marker = request.get("Marker", "")
    found = call.doors.database.read(lambda db: key_page(db, bucket.name, prefix, delimiter, marker, limit))
    response: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "Marker": marker,
        "MaxKeys": limit,
        "IsTruncated": found.truncated,
        "BucketRegion": bucket.region,
    }
    if found.truncated and delimiter:
        response["NextMarker"] = found.last
    known = call.principal.kind != "anonymous"  # Why: S3 tells nobody's callers no owner
    return _fill(call, response, found, request, owner_shown(bucket.account, people(call.doors)) if known else None)


@operation("ListObjectsV2", needs=needs.on_bucket("s3:ListBucket"))
async def list_objects_v2(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Version 2 of the listing. Source: Amazon S3 API Reference, ListObjectsV2."""
    bucket = checks.bucket(call, request)
    encoding(request)
    limit, prefix, delimiter = limit_of(request), request.get("Prefix", ""), request.get("Delimiter", "")
    after = request.get("StartAfter", "")
    token = request.get("ContinuationToken")
    if token is not None:
        after = _token_read(token)
    found = call.doors.database.read(lambda db: key_page(db, bucket.name, prefix, delimiter, after, limit))
    response: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "MaxKeys": limit,
        "KeyCount": len(found.objects) + len(found.prefixes),
        "IsTruncated": found.truncated,
        "BucketRegion": bucket.region,
    }
    if token is not None:
        response["ContinuationToken"] = token
    if found.truncated:
        response["NextContinuationToken"] = _token(found.last)
    if request.get("StartAfter") and token is None:
        response["StartAfter"] = request["StartAfter"]
    owner = owner_shown(bucket.account, people(call.doors)) if request.get("FetchOwner") else None
    return _fill(call, response, found, request, owner)


def _token(last: str) -> str:
    return base64.urlsafe_b64encode(b"1" + last.encode()).decode()


def _token_read(token: str) -> str:
    try:
        text = base64.urlsafe_b64decode(token.encode())
        if text[:1] != b"1":
            raise ValueError(token)
        return text[1:].decode()
    except ValueError:
        error = InvalidArgument("The continuation token provided is incorrect", ArgumentName="continuation-token")
        if token:
            error.members = {**error.members, "ArgumentValue": token}
        raise error from None
