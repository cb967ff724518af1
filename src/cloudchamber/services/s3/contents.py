# SPDX-License-Identifier: Apache-2.0
"""The keys of a listing, written column by column: a value for each of 1,000 keys would cost most of its time."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from cloudchamber.wire import xml
from cloudchamber.wire.s3 import url_encode
from cloudchamber.wire.scalars import iso8601, truth

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

_PLAIN_IN_URLS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/*"


class Contents(xml.Elements):
    """`Contents` of ListObjects; a row is key, size, ETag, POSIX time, checksum, storage class.

    Source: Amazon S3 API Reference, Object.
    """

    def __init__(self, rows: Sequence[Any], owner: Mapping[str, str] | None, *, encoded: bool = False) -> None:
        self._rows = rows
        self._owner = owner
        self._encoded = encoded

    def url_encoded(self) -> Contents:
        """The same, with keys as ``encoding-type=url`` wants them."""
        return Contents(self._rows, self._owner, encoded=True)

    def pieces(self) -> list[str]:
        """All elements, as `wire.xml` would write them."""
        if not self._rows:
            return []
        keys, sizes, etags, modified, checksums, storage = zip(*self._rows, strict=True)
        return xml.interleaved(
            len(keys),
            "<Contents><Key>", _keys(keys, self._encoded),
            "</Key><LastModified>", _times(modified),
            '</LastModified><ETag>"', etags,
            '"</ETag>', _checksums(checksums),
            "<Size>", list(map(str, sizes)),
            "</Size><StorageClass>", _classes(storage),
            f"</StorageClass>{_owner(self._owner)}</Contents>",
        )  # fmt: skip


class Versions(xml.Elements):
    """`Versions` of ListObjectVersions; a row is key, version id, whether it is the newest, POSIX time, ETag, size,
    checksum, storage class.

    Source: Amazon S3 API Reference, ObjectVersion.
    """

    def __init__(self, rows: Sequence[Any], owner: Mapping[str, str], *, encoded: bool = False) -> None:
        self._rows = rows
        self._owner = owner
        self._encoded = encoded

    def url_encoded(self) -> Versions:
        """The same, with keys as ``encoding-type=url`` wants them."""
        return Versions(self._rows, self._owner, encoded=True)

    def pieces(self) -> list[str]:
        """All elements, as `wire.xml` would write them."""
        if not self._rows:
            return []
        keys, ids, newest, modified, etags, sizes, checksums, storage = zip(*self._rows, strict=True)
        return xml.interleaved(
            len(keys),
            '<Version><ETag>"', etags,
            '"</ETag>', _checksums(checksums),
            "<Size>", list(map(str, sizes)),
            "</Size><StorageClass>", _classes(storage),
            "</StorageClass><Key>", _keys(keys, self._encoded),
            "</Key><VersionId>", ids,
            "</VersionId><IsLatest>", list(map(truth, newest)),
            "</IsLatest><LastModified>", _times(modified),
            f"</LastModified>{_owner(self._owner)}</Version>",
        )  # fmt: skip


class DeleteMarkers(Versions):
    """`DeleteMarkers` of ListObjectVersions, from the same rows. Source: Amazon S3 API Reference, DeleteMarkerEntry."""

    def url_encoded(self) -> DeleteMarkers:
        """The same, with keys as ``encoding-type=url`` wants them."""
        return DeleteMarkers(self._rows, self._owner, encoded=True)

    def pieces(self) -> list[str]:
        """All elements, as `wire.xml` would write them."""
        if not self._rows:
            return []
        keys, ids, newest, modified, *_ = zip(*self._rows, strict=True)
        return xml.interleaved(
            len(keys),
            f"<DeleteMarker>{_owner(self._owner)}<Key>", _keys(keys, self._encoded),
            "</Key><VersionId>", ids,
            "</VersionId><IsLatest>", list(map(truth, newest)),
            "</IsLatest><LastModified>", _times(modified),
            "</LastModified></DeleteMarker>",
        )  # fmt: skip


def _keys(keys: Sequence[str], encoded: bool) -> Sequence[str]:
    """Keys as text of an element. Most pages hold none that is written otherwise, which one look at all tells."""
    if encoded:
        joined = "".join(keys)
        if joined.isascii() and not joined.encode().translate(None, _PLAIN_IN_URLS):
            return keys
        return [xml.escape(url_encode(key)) for key in keys]
    return xml.escaped(keys)


def _times(seconds: Iterable[int]) -> list[str]:
    """What was written by one client was written in few seconds."""
    written = {second: _time(second) for second in set(seconds)}
    return [written[second] for second in seconds]


def _classes(storage: Sequence[str | None]) -> str | list[str]:
    if not any(storage):
        return "STANDARD"
    return [one or "STANDARD" for one in storage]


def _checksums(checksums: Sequence[str]) -> str | list[str]:
    """A column, or what is the same in all rows: mostly it is, and one look at all of them tells."""
    first, colon, _ = checksums[0].partition(":")
    joined = "\n".join(checksums)
    if colon and "-" not in joined and joined.count(f"\n{first}:") == len(checksums) - 1:
        return _checksum(first, False)
    written = [_checksum(one.partition(":")[0], "-" in one) if one else "" for one in checksums]
    return written[0] if written.count(written[0]) == len(written) else written


@lru_cache(maxsize=4096)
def _time(modified: int) -> str:
    return iso8601(datetime.fromtimestamp(modified, UTC))


@lru_cache(maxsize=16)
def _checksum(algorithm: str, composite: bool) -> str:
    kind = "COMPOSITE" if composite else "FULL_OBJECT"
    return f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{kind}</ChecksumType>"


def _owner(owner: Mapping[str, str] | None) -> str:
    if owner is None:
        return ""
    members = "".join(f"<{n}>{xml.escape(owner[n])}</{n}>" for n in ("DisplayName", "ID") if n in owner)
    return f"<Owner>{members}</Owner>"
