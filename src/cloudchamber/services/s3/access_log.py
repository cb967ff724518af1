# SPDX-License-Identifier: Apache-2.0
"""Server access logging: one line for each request, delivered in batches as objects of another bucket.

Delivery is a call like any other: `logging.s3.amazonaws.com` puts the object, and the target bucket's policy (or its
ACL, for the group of log delivery) must let it. As on AWS it is best effort: lines that wait are lost by a crash.

Source: Amazon S3 User Guide, "Logging requests with server access logging" and "Amazon S3 server access log format".
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.base import ids
from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.identity import service_principal
from cloudchamber.services.s3 import tables
from cloudchamber.services.s3.names import bucket_arn, canonical_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors
    from cloudchamber.track.track import Segment
    from cloudchamber.wire.http import HttpRequest
    from cloudchamber.wire.route import Routed

LINES_MAX = 1000
"""Lines that are delivered at once."""
WAIT_S = 60.0
"""How long a line waits for others."""
BUFFERED_MAX = 100_000
_log = logging.getLogger(__name__)
_VERBS = {
    "GetObject": "REST.GET.OBJECT", "HeadObject": "REST.HEAD.OBJECT", "PutObject": "REST.PUT.OBJECT",
    "DeleteObject": "REST.DELETE.OBJECT", "CopyObject": "REST.COPY.OBJECT", "PostObject": "REST.POST.OBJECT",
    "DeleteObjects": "REST.POST.MULTI_OBJECT_DELETE", "CreateMultipartUpload": "REST.POST.UPLOADS",
    "CompleteMultipartUpload": "REST.POST.UPLOAD", "AbortMultipartUpload": "REST.DELETE.UPLOAD",
    "UploadPart": "REST.PUT.PART", "UploadPartCopy": "REST.COPY.PART", "ListParts": "REST.GET.UPLOAD",
    "ListMultipartUploads": "REST.GET.UPLOADS", "ListObjects": "REST.GET.BUCKET", "ListObjectsV2": "REST.GET.BUCKET",
    "ListObjectVersions": "REST.GET.BUCKETVERSIONS", "CreateBucket": "REST.PUT.BUCKET",
    "HeadBucket": "REST.HEAD.BUCKET", "DeleteBucket": "REST.DELETE.BUCKET", "OptionsObject": "REST.OPTIONS.PREFLIGHT",
    "GetObjectTagging": "REST.GET.OBJECT_TAGGING", "PutObjectTagging": "REST.PUT.OBJECT_TAGGING",
    "DeleteObjectTagging": "REST.DELETE.OBJECT_TAGGING", "GetBucketLocation": "REST.GET.LOCATION",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Served:
    """One request that was answered."""

    request: HttpRequest
    routed: Routed
    segment: Segment
    status: int
    sent: int
    host_id: str

    @property
    def bucket(self) -> str:
        """The bucket."""
        return self.routed.bucket


@dataclass(frozen=True, slots=True)
class _Line:
    at: float
    text: str


class AccessLog:
    """Gathers lines by bucket, and puts them into the target when there are enough or the oldest has waited."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._lines: dict[str, list[_Line]] = {}
        self._task: asyncio.Task[None] | None = None
        self._count = 0
        self.targets: dict[str, Mapping[str, Any]] = {}
        """Bucket -> its `LoggingEnabled`; buckets without are not in it."""

    def served(self, one: Served) -> None:
        """Take note of one request."""
        if self._count >= BUFFERED_MAX:
            return
        lines = self._lines.setdefault(one.bucket, [])
        lines.append(_Line(one.segment.started, line(self._doors, one)))
        self._count += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._wait(), name="s3 access logs")
        if len(lines) >= LINES_MAX:
            self._task = asyncio.create_task(self.flush(), name="s3 access logs")

    async def _wait(self) -> None:
        await asyncio.sleep(WAIT_S)
        await self.flush()

    async def stop(self) -> None:
        """Deliver what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()

    async def flush(self) -> None:
        """Deliver everything."""
        waiting, self._lines, self._count = self._lines, {}, 0
        for bucket, lines in waiting.items():
            target = self.targets.get(bucket)
            if target is not None:
                await self._deliver(bucket, target, lines)

    async def _deliver(self, bucket: str, target: Mapping[str, Any], lines: list[_Line]) -> None:
        owner = self._doors.database.read(lambda db: tables.find_bucket(db, bucket))
        if owner is None:
            return
        key = self._key(owner, target)
        body = "".join(one.text for one in lines).encode("utf-8", "surrogateescape")
        request: dict[str, Any] = {"Bucket": target["TargetBucket"], "Key": key, "Body": body}
        who = service_principal("logging.s3.amazonaws.com", owner.account, bucket_arn(bucket))
        try:
            await self._doors.ask("s3", "PutObject", request, principal=who, region=owner.region)
        except ServiceError as error:
            _log.warning("the access log of %s cannot be written: %s %s", bucket, error.code, error.message)

    def _key(self, owner: tables.Bucket, target: Mapping[str, Any]) -> str:
        now = self._doors.clock.now()
        prefix, unique = target.get("TargetPrefix", ""), ids.hex_token(8).upper()
        stamp = f"{now:%Y-%m-%d-%H-%M-%S}-{unique}"
        if "PartitionedPrefix" not in target.get("TargetObjectKeyFormat", {}):
            return f"{prefix}{stamp}"
        return f"{prefix}{owner.account}/{owner.region}/{owner.name}/{now:%Y/%m/%d}/{stamp}"


def line(doors: Doors, one: Served) -> str:
    """One line of the log, fields in AWS's order; a dash for what there is not."""
    segment, request = one.segment, one.request
    account = doors.database.peek(
        lambda db: db.execute("SELECT account FROM s3_buckets WHERE name = ?", (one.bucket,)).fetchone()
    )
    owner = canonical_id(account[0]) if account is not None else "-"
    took = max(0, int((segment.ended - segment.started) * 1000))
    signed = "SigV4" if "AWS4-HMAC-SHA256" in request.headers.get("authorization") + request.query else "-"
    how = "-" if signed == "-" else "AuthHeader" if request.headers.get("authorization") else "QueryString"
    version = next((v for n, v in one.routed.query if n == "versionId"), "-")
    size = segment.notes.get("bytes", "-")
    fields = (
        owner,
        one.bucket,
        f"[{_time(segment.started)}]",
        request.peer,
        segment.principal if segment.principal not in ("", "*") else "-",
        segment.request_id,
        _verb(one),
        quote(one.routed.key, safe="/") or "-",
        f'"{_plain(request.method)} {_plain(request.path + (f"?{request.query}" if request.query else ""))} HTTP/1.1"',
        str(one.status),
        segment.error or "-",
        str(one.sent) if one.sent else "-",
        str(size),
        str(took),
        str(took) if one.status < 400 else "-",
        f'"{_plain(request.headers.get("referer") or "-")}"',
        f'"{_plain(request.headers.get("user-agent") or "-")}"',
        version,
        one.host_id or "-",
        signed,
        "-",
        how,
        _plain(request.headers.get("host") or "-"),
        "-",
        "-",
        "-",
    )
    return " ".join(fields) + "\n"


def _verb(one: Served) -> str:
    return _VERBS.get(one.routed.operation) or f"REST.{one.request.method}.{'OBJECT' if one.routed.key else 'BUCKET'}"


def _plain(text: str) -> str:
    """Without what would end the field or the line."""
    return "".join(c if c.isprintable() and c != '"' else quote(c) for c in text)


def _time(at: float) -> str:

    return datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
