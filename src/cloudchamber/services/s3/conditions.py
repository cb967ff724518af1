# SPDX-License-Identifier: Apache-2.0
"""Conditional requests and ranges: pure.

Source: RFC 9110, sections 13 and 14; Amazon S3 User Guide, "Add preconditions to S3 operations with conditional
requests".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3.errors import (
    ConditionalRequestConflict,
    InvalidRange,
    NoSuchKey,
    NotModified,
    PreconditionFailed,
    Unimplemented,
)
from cloudchamber.services.s3.names import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudchamber.services.s3.tables import Current, Object, Upload

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def etags(text: str) -> set[str]:
    """ETags of a header, without quotes."""
    return {part.strip().removeprefix("W/").strip('"') for part in text.split(",")}


def same(text: str, etag: str) -> bool:
    """Whether a header names `etag`, or ``*``."""
    return text.strip() == "*" or etag in etags(text)


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _unchanged(found: Object, since: datetime, now: datetime) -> bool:
    """Whether the object is not younger; a time that is still to come counts for nothing (RFC 9110, section 13.1.3)."""
    return found.modified <= _seconds(since) <= now.timestamp()


def check_read(found: Object, request: Mapping[str, Any], now: datetime) -> None:
    """If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, in that order.

    Raises:
        PreconditionFailed, NotModified
    """
    if "IfMatch" in request:
        if not same(request["IfMatch"], found.etag):
            raise PreconditionFailed(Condition="If-Match")
    elif "IfUnmodifiedSince" in request and found.modified > _seconds(request["IfUnmodifiedSince"]):
        raise PreconditionFailed(Condition="If-Unmodified-Since")
    if "IfNoneMatch" in request:
        if same(request["IfNoneMatch"], found.etag):
            raise NotModified(headers={"ETag": quoted(found.etag)})
    elif "IfModifiedSince" in request and _unchanged(found, request["IfModifiedSince"], now):
        raise NotModified(headers={"ETag": quoted(found.etag)})


def check_copy(found: Object, request: Mapping[str, Any], now: datetime) -> None:
    """The same four, of a copy's source; all failures are 412.

    Raises:
        PreconditionFailed
    """
    if "CopySourceIfMatch" in request:
        if not same(request["CopySourceIfMatch"], found.etag):
            raise PreconditionFailed(Condition="x-amz-copy-source-If-Match")
    elif "CopySourceIfUnmodifiedSince" in request and found.modified > _seconds(request["CopySourceIfUnmodifiedSince"]):
        raise PreconditionFailed(Condition="x-amz-copy-source-If-Unmodified-Since")
    if "CopySourceIfNoneMatch" in request:
        if same(request["CopySourceIfNoneMatch"], found.etag):
            raise PreconditionFailed(Condition="x-amz-copy-source-If-None-Match")
    elif "CopySourceIfModifiedSince" in request and _unchanged(found, request["CopySourceIfModifiedSince"], now):
        raise PreconditionFailed(Condition="x-amz-copy-source-If-Modified-Since")


def check_write_form(request: Mapping[str, Any]) -> None:
    """On writes, If-None-Match takes ``*`` only and If-Match an ETag only."""
    if "IfMatch" in request and "IfNoneMatch" in request:
        raise Unimplemented(
            Header="If-Match,If-None-Match",
            additionalMessage="Multiple conditional request headers present in the request",
        )
    if request.get("IfNoneMatch", "*").strip() != "*":
        raise Unimplemented(
            Header="If-None-Match",
            additionalMessage="We don't accept the provided value of If-None-Match header for this API",
        )
    if request.get("IfMatch", "").strip() == "*":
        raise Unimplemented(
            Header="If-Match", additionalMessage="We don't accept the provided value of If-Match header for this API"
        )


def check_write(old: Object | Current | None, key: str, request: Mapping[str, Any]) -> None:
    """If-Match and If-None-Match of a write, inside its transaction.

    Raises:
        PreconditionFailed: the object is another, or exists.
        NoSuchKey: If-Match, and there is no object.
    """
    if "IfNoneMatch" in request and old is not None:
        raise PreconditionFailed(Condition="If-None-Match")
    if "IfMatch" in request:
        if old is None:
            raise NoSuchKey(Key=key)
        if not same(request["IfMatch"], old.etag):
            raise PreconditionFailed(Condition="If-Match")


def check_conflict(old: Object | Current | None, upload: Upload, request: Mapping[str, Any]) -> None:
    """A completion on a condition fails if its key was written or deleted since the upload began: recorded on AWS.

    Raises:
        ConditionalRequestConflict: the whole upload has to be made anew.
    """
    later = old is not None and old.seq > int(upload.initiated * 1_000_000)
    if later or upload.stored.get("crossed"):
        for member, header in (("IfMatch", "If-Match"), ("IfNoneMatch", "If-None-Match")):
            if member in request:
                raise ConditionalRequestConflict(Condition=header, Key=upload.key)


def byte_range(text: str | None, size: int) -> tuple[int, int] | None:
    """Offset and length of a range header; None for the whole: no range, several ranges, or none that is valid.

    Raises:
        InvalidRange: it begins behind the end.
    """
    found = _RANGE.fullmatch(text.replace(" ", "")) if text else None
    if found is None or found.group(0) == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        count = min(int(last), size)
        if count == 0:
            raise InvalidRange(RangeRequested=str(text), ActualObjectSize=str(size))
        return size - count, count
    start = int(first)
    end = min(int(last), size - 1) if last else size - 1
    if last and int(last) < start:
        return None
    if start >= size:
        raise InvalidRange(RangeRequested=str(text), ActualObjectSize=str(size))
    return start, end - start + 1
