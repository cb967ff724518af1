# SPDX-License-Identifier: Apache-2.0
"""Versioning of buckets, and the listing of versions.

Source: Amazon S3 User Guide, "Retaining multiple versions of objects with S3 Versioning".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, tables, versions
from cloudchamber.services.s3.acl import owner_shown
from cloudchamber.services.s3.checksums import algorithm_of, kind
from cloudchamber.services.s3.contents import DeleteMarkers, Versions
from cloudchamber.services.s3.errors import (
    AccessForbidden,
    IllegalVersioningConfigurationException,
    InvalidArgument,
    InvalidBucketState,
    MalformedXML,
)
from cloudchamber.services.s3.listing import bare, encoding, limit_of, rolled_up, successor
from cloudchamber.services.s3.names import quoted
from cloudchamber.services.s3.owning import people
from cloudchamber.services.s3.restoring import add_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]

_CHUNK_MIN, _CHUNK = 4, 256
_FIELDS = "key, seq, version, {} AS marker, size, etag, modified, checksum, storage"
_SEQ, _VERSION, _MARKER = 1, 2, 3


@operation("PutBucketVersioning", needs=needs.on_bucket("s3:PutBucketVersioning"))
async def put_bucket_versioning(call: Call, request: Request) -> dict[str, Any]:
    """Begin to keep versions, or suspend it. Source: Amazon S3 API Reference, PutBucketVersioning.

    Raises:
        InvalidBucketState: object lock or replication need versions.
        AccessForbidden: MFA delete; there is no device that S3 would ask.
    """
    bucket = checks.bucket(call, request)
    checks.refuse({k: v for k, v in request.items() if k == "MFA"})
    wanted: Request = request["VersioningConfiguration"]
    status, mfa = wanted.get("Status"), wanted.get("MFADelete", "Disabled")
    if status is None and "MFADelete" not in wanted:
        raise IllegalVersioningConfigurationException()
    if status not in ("Enabled", "Suspended") or mfa not in ("Enabled", "Disabled"):
        raise MalformedXML()
    if mfa == "Enabled":
        raise AccessForbidden("Mfa Authentication must be used for this request")

    def change(tx: Tx) -> None:
        now = tables.bucket(tx, bucket.name)
        for kept, what in ((now.object_lock, "An Object Lock"), (now.replication, "A replication")):
            if kept and status == "Suspended":
                raise InvalidBucketState(
                    f"{what} configuration is present on this bucket, so the versioning state cannot be changed."
                )
        tables.configure_bucket(tx, bucket.name, "versioning", status)

    await call.doors.database.write(change)
    return {}


@operation("GetBucketVersioning", needs=needs.on_bucket("s3:GetBucketVersioning"))
async def get_bucket_versioning(call: Call, request: Request) -> dict[str, Any]:
    """Whether versions are kept; nothing if that was never set. Source: GetBucketVersioning."""
    status = checks.bucket(call, request).versioning
    return {"Status": status} if status else {}


# The listing ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Page:
    """One page: versions and delete markers (rows, and whether each is the newest of its key), and common prefixes."""

    rows: list[tuple[Any, bool]] = field(default_factory=list[tuple[Any, bool]])
    prefixes: list[str] = field(default_factory=list[str])
    truncated: bool = False
    key: str = ""
    version: str = ""
    """The last key or prefix, and the last version; none if a prefix was last."""

    @property
    def count(self) -> int:
        """Entries of the page."""
        return len(self.rows) + len(self.prefixes)


def _rows(db: Reader, bucket: str, where: str, values: tuple[Any, ...], limit: int) -> list[Any]:
    """Versions in order: by key, the newest first. Both tables are read by their keys and merged."""
    current = f"SELECT {_FIELDS.format(0)} FROM s3_objects WHERE bucket = ? AND {where}"
    others = f"SELECT {_FIELDS.format('marker')} FROM s3_versions WHERE bucket = ? AND {where}"
    sql = f"{current} UNION ALL {others} ORDER BY key, seq DESC LIMIT ?"
    return bare(db, sql, (bucket, *values, bucket, *values, limit))


def version_page(db: Reader, bucket: str, prefix: str, delimiter: str, marker: tuple[str, str], limit: int) -> Page:
    """Versions behind the marker (key, version id): all of greater keys, and the older ones of that key."""
    found = Page()
    if limit == 0:
        return found
    end = successor(prefix)
    after, version = marker
    low, strict = (after, True) if after >= prefix else (prefix, False)
    if delimiter and after.startswith(prefix):
        rolled = rolled_up(after, prefix, delimiter)
        behind = None if rolled is None else successor(rolled)
        if rolled is not None:  # Why: a marker inside a common prefix means that the prefix was told already
            if behind is None:
                return found
            low, strict, version = behind, False, ""
    if version and after.startswith(prefix) and _rest_of_key(db, bucket, after, version, found, limit):
        return found
    _walk(db, bucket, prefix, delimiter, (low, strict, end), found, limit)
    return found


def _rest_of_key(db: Reader, bucket: str, key: str, version: str, found: Page, limit: int) -> bool:
    """What is older than `version` of one key; whether the page is full."""
    there = versions.find(db, bucket, key, version)
    # Why: who deletes a page of versions and asks for the next names a marker that is gone; its id still says where.
    seq = there.seq if there is not None else versions.seq_of(version)
    top = _rows(db, bucket, "key = ?", (key,), 1)
    if seq is None:  # the null version, gone: what is left of the key
        seq = 1 << 62
    for row in _rows(db, bucket, "key = ? AND seq < ?", (key, seq), limit + 1):
        if found.count == limit:
            found.truncated = True
            return True
        found.rows.append((row, row[_SEQ] == top[0][_SEQ]))
        found.key, found.version = key, row[_VERSION]
    return False


def _walk(
    db: Reader,
    bucket: str,
    prefix: str,
    delimiter: str,
    span: tuple[str, bool, str | None],
    found: Page,
    limit: int,
) -> None:
    low, strict, end = span
    inside: tuple[str, int] | None = None
    last = ""
    chunk = _CHUNK_MIN if delimiter else _CHUNK
    while True:
        if inside is not None:  # the chunk ended among the versions of one key
            rows = _rows(db, bucket, "key = ? AND seq < ?", inside, chunk)
            if len(rows) < chunk:
                low, strict, inside = inside[0], True, None
            else:
                inside = (inside[0], rows[-1][_SEQ])
        else:
            where, values = (">" if strict else ">="), (low,)
            upper = "" if end is None else " AND key < ?"
            rows = _rows(
                db, bucket, f"key {where} ?{upper}", values if end is None else (*values, end), min(limit + 1, chunk)
            )
            if not rows:
                return
            inside = (rows[-1][0], rows[-1][_SEQ])
        chunk = min(_CHUNK, 2 * chunk)
        for row in rows:
            if found.count == limit:
                found.truncated = True
                return
            rolled = rolled_up(row[0], prefix, delimiter) if delimiter else None
            if rolled is not None:
                found.prefixes.append(rolled)
                found.key, found.version = rolled, ""
                behind = successor(rolled)
                if behind is None:
                    return
                low, strict, inside = behind, False, None
                chunk = _CHUNK_MIN  # Why: one prefix follows another, mostly, and what is read behind it is for nothing
                break
            found.rows.append((row, row[0] != last))
            last = found.key = row[0]
            found.version = row[_VERSION]


def _marker(request: Request) -> tuple[str, str]:
    key, version = request.get("KeyMarker", ""), request.get("VersionIdMarker")
    if version is None:
        return key, ""
    if not version:
        raise InvalidArgument(
            "A version-id marker cannot be empty.", ArgumentName="version-id-marker", ArgumentValue=version
        )
    if not key:
        raise InvalidArgument(
            "A version-id marker cannot be specified without a key marker.",
            ArgumentName="version-id-marker",
            ArgumentValue=version,
        )
    if version != versions.NULL and versions.seq_of(version) is None:
        raise InvalidArgument("Invalid version id specified", ArgumentName="version-id-marker", ArgumentValue=version)
    return key, version


@operation("ListObjectVersions", needs=needs.on_bucket("s3:ListBucketVersions"))
async def list_object_versions(call: Call, request: Request) -> dict[str, Any]:
    """Versions and delete markers by key, the newest first. Source: Amazon S3 API Reference, ListObjectVersions."""
    bucket = checks.bucket(call, request)
    encoding(request)
    limit, prefix, delimiter = limit_of(request), request.get("Prefix", ""), request.get("Delimiter", "")
    marker = _marker(request)
    found = call.doors.database.read(lambda db: version_page(db, bucket.name, prefix, delimiter, marker, limit))
    response: dict[str, Any] = {
        "Name": bucket.name,
        "Prefix": prefix,
        "KeyMarker": request.get("KeyMarker", ""),
        "VersionIdMarker": request.get("VersionIdMarker", ""),
        "MaxKeys": limit,
        "IsTruncated": found.truncated,
    }
    if found.truncated:
        response["NextKeyMarker"] = found.key
        if found.version:
            response["NextVersionIdMarker"] = found.version
    for member in ("Delimiter", "EncodingType"):
        if request.get(member):
            response[member] = request[member]
    owner = owner_shown(bucket.account, people(call.doors))
    if call.headers is not None and "OptionalObjectAttributes" not in request:
        _fill(response, found, owner)
    else:
        for row, newest in found.rows:
            told = _told(row, newest, owner)
            response.setdefault("DeleteMarkers" if row[_MARKER] else "Versions", []).append(told)
        add_status(call, bucket.name, request, response.get("Versions", []))
    if found.prefixes:
        response["CommonPrefixes"] = [{"Prefix": p} for p in found.prefixes]
    return response


def _fill(response: dict[str, Any], found: Page, owner: Mapping[str, str]) -> None:
    """What is written from rows, without a value for each."""
    rows: tuple[list[Any], list[Any]] = [], []
    for (key, _, version, marker, size, etag, modified, checksum, storage), newest in found.rows:
        rows[bool(marker)].append((key, version, newest, modified, etag, size, checksum, storage))
    if rows[0]:
        response["Versions"] = Versions(rows[0], owner)
    if rows[1]:
        response["DeleteMarkers"] = DeleteMarkers(rows[1], owner)


def _told(row: Any, newest: bool, owner: Mapping[str, str]) -> dict[str, Any]:
    key, _, version, marker, size, etag, modified, checksum, storage = row
    told: dict[str, Any] = {
        "Key": key,
        "VersionId": version,
        "IsLatest": newest,
        "LastModified": datetime.fromtimestamp(modified, UTC),
        "Owner": owner,
    }
    if marker:
        return told
    told |= {"ETag": quoted(etag), "Size": size, "StorageClass": storage or "STANDARD"}
    if checksum:
        told |= {"ChecksumAlgorithm": [algorithm_of(checksum)], "ChecksumType": kind(checksum)}
    return told
