# SPDX-License-Identifier: Apache-2.0
"""AWS's own managed policies, with their true documents: ``data/aws_managed.sqlite``.

Facts, not code: each document is what GetPolicyVersion answers for the default version. A policy that is not in the
file does not exist here. A look-up reads one row; nothing is loaded before the first. Made by ``tools policies``.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from base64 import b32encode
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from cloudchamber.services.iam.names import AWS_MANAGED

SERVICE_LINKED = "/aws-service-role/"
_FILE = Path(__file__).parent / "data" / "aws_managed.sqlite"


@dataclass(frozen=True, slots=True)
class AwsManaged:
    """One of AWS's policies."""

    name: str
    path: str
    id: str
    description: str
    created: float
    updated: float
    version: int
    document: str


@cache
def _open() -> sqlite3.Connection:
    # Why: SQLite itself serialises the threads that share a connection, and nobody writes
    return sqlite3.connect(f"{_FILE.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)


@cache
def _dictionary() -> bytes:
    return _open().execute("SELECT dictionary FROM about").fetchone()[0]


@lru_cache(64)
def find(arn: str) -> AwsManaged | None:
    """The policy with an ARN."""
    path, _, name = f"/{arn.removeprefix(AWS_MANAGED)}".rpartition("/")
    row = (
        _open()
        .execute(
            "SELECT version, created, updated, packed FROM policies JOIN documents USING (number) "
            "WHERE name = ? AND path = ?",
            (name, f"{path}/"),
        )
        .fetchone()
    )
    if row is None:
        return None
    # Why: the facts have no policy ids; one made of the ARN is at least the same everywhere and always.
    own_id = "ANPA" + b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]
    version, created, updated, packed = row
    text = zlib.decompressobj(-15, _dictionary()).decompress(packed).decode()
    document = json.dumps(json.loads(text), indent=4)
    return AwsManaged(name, f"{path}/", own_id, "", created, updated, version, document)


def arns(prefix: str = "/") -> list[str]:
    """ARNs of all whose path begins with `prefix`."""
    rows = _open().execute("SELECT path || name FROM policies WHERE substr(path, 1, ?) = ?", (len(prefix), prefix))
    return sorted(AWS_MANAGED + row[0][1:] for row in rows)
