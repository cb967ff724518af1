# SPDX-License-Identifier: Apache-2.0
"""The keys of a listing, written from their rows: a value for each of 1,000 keys would cost most of its time."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

from cloudchamber.wire import xml
from cloudchamber.wire.s3 import url_encode
from cloudchamber.wire.scalars import iso8601

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_PLAIN_IN_URLS = re.compile(r"[A-Za-z0-9_.\-~/*\n]*").fullmatch


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

    def xml(self) -> str:
        """All elements, as `wire.xml` would write them."""
        owner = "" if self._owner is None else _owner(self._owner)
        rows = self._rows
        keys = [row[0] for row in rows]
        if not self._encoded:
            escaped = xml.escape("\n".join(keys))
            if len(escaped) != sum(map(len, keys)) + len(keys) - 1:
                keys = [xml.escape(key) for key in keys]
        elif _PLAIN_IN_URLS("\n".join(keys)) is None or any("\n" in key for key in keys):
            keys = [xml.escape(url_encode(key)) for key in keys]
        return "".join(
            [
                f'<Contents><Key>{key}</Key><LastModified>{_time(modified)}</LastModified><ETag>"{etag}"</ETag>'
                f"{_checksum(checksum.partition(':')[0], '-' in checksum) if checksum else ''}"
                f"<Size>{size}</Size><StorageClass>{storage or 'STANDARD'}</StorageClass>{owner}</Contents>"
                for key, (_, size, etag, modified, checksum, storage) in zip(keys, rows, strict=True)
            ]
        )


@lru_cache(maxsize=4096)
def _time(modified: int) -> str:
    return iso8601(datetime.fromtimestamp(modified, UTC))


@lru_cache(maxsize=16)
def _checksum(algorithm: str, composite: bool) -> str:
    kind = "COMPOSITE" if composite else "FULL_OBJECT"
    return f"<ChecksumAlgorithm>{algorithm}</ChecksumAlgorithm><ChecksumType>{kind}</ChecksumType>"


def _owner(owner: Mapping[str, str]) -> str:
    members = "".join(f"<{n}>{xml.escape(owner[n])}</{n}>" for n in ("DisplayName", "ID") if n in owner)
    return f"<Owner>{members}</Owner>"
