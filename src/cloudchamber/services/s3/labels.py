# SPDX-License-Identifier: Apache-2.0
"""What a file of octets says of itself, behind them: enough to make its object anew when the database is lost.

``octets, then for each name of the file: JSON, its length, its seal, a magic word``. Who reads octets asks for as many
as the row says, so nobody meets a label. A file that has several names (a copy is one more name of the same octets) has
a label for each; the label of what is assembled of several files is a file beside them. Labels are sealed with the
chamber's key: no client can write one. They are synced with the octets; that of a further name is not waited for, since
the database is what counts.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3 import versions
from cloudchamber.services.s3.tables import NULL
from cloudchamber.store import assembled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.services.s3.encryption import Keeper
    from cloudchamber.services.s3.tables import Bucket, Object

MAGIC = b"\0cclabel"
_FOOT = struct.Struct(">I16s8s")
LABEL_MAX = 16 * 1024 * 1024

Label = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Draft:
    """What is known of an object before its octets are; `named` when they are."""

    doors: Doors
    keeper: Keeper
    bucket: Bucket
    key: str
    tags: Mapping[str, str]
    stored: Mapping[str, Any]
    lock: str | None
    modified: int
    seq: int = 0
    version: str = ""

    def named(self) -> Draft:
        """With a place and an id for the version, as of now; they hold unless another version is quicker."""
        seq = int(self.doors.clock.now().timestamp() * 1_000_000)
        enabled = self.bucket.versioning == versions.ENABLED
        return replace(self, seq=seq, version=versions.new_id(seq) if enabled else NULL)

    def label(self, size: int, etag: str, checksum: str, nonce: str | None) -> Callable[[str], bytes] | None:
        """What makes the label of a file by its name; None where files are not labelled."""
        if self.doors.database.shared:
            return None
        stored = {**self.stored, "nonce": nonce} if nonce is not None else dict(self.stored)
        told: Label = {
            "bucket": self.bucket.name,
            "account": self.bucket.account,
            "region": self.bucket.region,
            "versioning": self.bucket.versioning,
            "ownership": self.bucket.ownership,
            "key": self.key,
            "seq": self.seq,
            "version": self.version,
            "size": size,
            "etag": etag,
            "checksum": checksum,
            "modified": self.modified,
            "tags": dict(self.tags),
            "stored": stored,
            "lock": self.lock,
        }
        return lambda name: sealed(self.keeper, {"name": name, **told})


def draft(
    call: Call,
    keeper: Keeper,
    bucket: Bucket,
    key: str,
    tags: Mapping[str, str],
    stored: Mapping[str, Any],
    lock: str | None,
) -> Draft:
    """A label to be, of an object that is about to be stored."""
    return Draft(call.doors, keeper, bucket, key, tags, stored, lock, int(call.now.timestamp()))


def of_version(doors: Doors, keeper: Keeper, bucket: Bucket, found: Object) -> Callable[[str], bytes] | None:
    """The label of a replica in `bucket`."""
    stored = {name: value for name, value in found.stored.items() if name != "restore"}
    made = Draft(doors, keeper, bucket, found.key, found.tag_values, stored, None, found.modified)
    made = replace(made, seq=found.seq, version=found.version)
    return made.label(found.size, found.etag, found.checksum, None)


def sealed(keeper: Keeper, told: Label) -> bytes:
    """A label as it is written."""
    text = json.dumps(told, separators=(",", ":")).encode()
    return text + _FOOT.pack(len(text), keeper.seal(text), MAGIC)


def read(keeper: Keeper, path: Path) -> list[Label]:
    """The labels of a file, the last one first; those that nobody else can have written."""
    found: list[Label] = []
    with (path / assembled.LABEL if path.is_dir() else path).open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        while end >= _FOOT.size:
            file.seek(end - _FOOT.size)
            length, seal, magic = _FOOT.unpack(file.read(_FOOT.size))
            if magic != MAGIC or length > min(LABEL_MAX, end - _FOOT.size):
                break
            file.seek(end - _FOOT.size - length)
            text = file.read(length)
            if keeper.seal(text) != seal:
                break
            found.append(json.loads(text))
            end -= _FOOT.size + length
    return found
