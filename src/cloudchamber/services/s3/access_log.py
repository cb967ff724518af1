# SPDX-License-Identifier: Apache-2.0
"""Server access logging: one line for each request, delivered in batches as objects of another bucket.

Delivery is a call like any other: `logging.s3.amazonaws.com` puts the object, and the target bucket's policy (or its
ACL, for the group of log delivery) must let it. Lines that wait are rows: written behind, in batches, so that requests
never wait for them (a crash may lose the last second), and delivered at least once, by the next start if need be.

Source: Amazon S3 User Guide, "Logging requests with server access logging" and "Amazon S3 server access log format".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from cloudchamber.base import ids
from cloudchamber.base.errors import ChamberError, ServiceError
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
BUFFERED_MAX = 20_000
"""Lines in memory that the disk has not taken; what comes beyond is dropped, and the chamber's log says so."""
WAITING_MAX = 100_000
"""Lines of one bucket that wait for a target which cannot be written; older ones go."""
BEHIND_S = 0.5
LOOK_S = 5.0
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


class AccessLog:
    """Writes lines down, and puts them into the target when there are enough or the oldest has waited."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._lines: list[tuple[str, float, bytes]] = []
        self._task: asyncio.Task[None] | None = None
        self._came = asyncio.Event()
        self._dropped = 0
        self._waits = True
        """Whether there may be rows."""
        self.targets: dict[str, Mapping[str, Any]] = {}
        """Bucket -> its `LoggingEnabled`; buckets without are not in it."""

    def served(self, one: Served) -> None:
        """Take note of one request."""
        if len(self._lines) >= BUFFERED_MAX:
            self._dropped += 1
            return
        octets = line(self._doors, one).encode("utf-8", "surrogateescape")
        self._lines.append((one.bucket, one.segment.started, octets))
        self._came.set()

    def start(self) -> None:
        """Begin to write lines down, and to deliver them; also those of before."""
        self._task = asyncio.create_task(self._for_ever(), name="s3 access logs")

    async def stop(self) -> None:
        """Deliver what waits."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._written()
        await self._deliver_due(all_of_it=True)

    async def _for_ever(self) -> None:
        while True:
            try:
                await self._written()
                await self._deliver_due(all_of_it=False)
            except Exception:  # noqa: BLE001 - the edge: a disk in trouble must not end the logs
                _log.exception("access logs could not be written; once more in %s s", LOOK_S)
                await asyncio.sleep(LOOK_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if self._waits else None):
                    await self._came.wait()
            await asyncio.sleep(BEHIND_S)

    async def _written(self) -> None:
        """Make rows of the lines that came; what the disk refuses stays."""
        self._came.clear()
        lines = self._lines[:BUFFERED_MAX]
        if not lines:
            return
        sql = "INSERT INTO s3_log_lines (bucket, at, line) VALUES (?, ?, ?)"
        try:
            await self._doors.database.write(lambda tx: tx.executemany(sql, lines) and None)
        except ChamberError as error:
            _log.warning("%d lines of access logs wait for the disk: %s", len(self._lines), error.message)
            return
        del self._lines[: len(lines)]
        self._waits = True
        if self._dropped:
            _log.warning("%d lines of access logs were dropped: the disk did not take them in time", self._dropped)
            self._dropped = 0

    async def _deliver_due(self, *, all_of_it: bool) -> None:
        database = self._doors.database
        if not database.leads or not self._waits:
            return
        sql = "SELECT bucket, count(*), min(at), min(id) FROM s3_log_lines GROUP BY bucket"
        rows = await database.query(lambda db: db.execute(sql).fetchall())
        self._waits = bool(rows) or database.shared
        now = self._doors.clock.now().timestamp()
        for bucket, count, oldest, first in rows:
            while count > 0 and (all_of_it or count >= LINES_MAX or oldest + WAIT_S <= now):
                if not await self._deliver(bucket):
                    if count > WAITING_MAX:
                        await self._forget(bucket, first + count - WAITING_MAX)
                    break
                count -= LINES_MAX

    async def _deliver(self, bucket: str) -> bool:
        """Deliver the oldest lines of a bucket; False if that is to be tried again."""
        database = self._doors.database
        sql = "SELECT id, line FROM s3_log_lines WHERE bucket = ? ORDER BY id LIMIT ?"
        rows = await database.query(lambda db: db.execute(sql, (bucket, LINES_MAX)).fetchall())
        owner, target = database.read(lambda db: tables.find_bucket(db, bucket)), self.targets.get(bucket)
        if rows and owner is not None and target is not None:
            body = b"".join(bytes(row["line"]) for row in rows)
            request: dict[str, Any] = {"Bucket": target["TargetBucket"], "Key": self._key(owner, target), "Body": body}
            who = service_principal("logging.s3.amazonaws.com", owner.account, bucket_arn(bucket))
            try:
                await self._doors.ask("s3", "PutObject", request, principal=who, region=owner.region)
            except ServiceError as error:
                _log.warning("the access log of %s cannot be written: %s %s", bucket, error.code, error.message)
                if error.status >= 500:
                    return False
        if rows:
            await self._forget(bucket, rows[-1]["id"])
        return True

    async def _forget(self, bucket: str, last: int) -> None:
        sql = "DELETE FROM s3_log_lines WHERE bucket = ? AND id <= ?"
        await self._doors.database.write(lambda tx: tx.execute(sql, (bucket, last)) and None)

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
