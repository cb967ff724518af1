# SPDX-License-Identifier: Apache-2.0
"""AWS's managed policies as a small database that a look-up reads one row of.

    python -m tools policies FILE       FILE: moto's `moto/iam/aws_managed_policies.py`, from its sdist or wheel

Facts come from moto (Apache-2.0), whose file holds what ListPolicies and GetPolicyVersion of a real account answered.
Documents are compressed each by itself, with one dictionary of what they have in common.
"""

from __future__ import annotations

import ast
import json
import re
import sqlite3
import sys
import zlib
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "src" / "cloudchamber" / "services" / "iam" / "data" / "aws_managed.sqlite"
SOURCE = (
    "AWS's managed policies as ListPolicies and GetPolicyVersion answer them. From moto/iam/aws_managed_policies.py of "
    "moto (https://github.com/getmoto/moto), Copyright Steve Pulec and contributors, Apache-2.0."
)
DICTIONARY_MAX = 32_000
_ORDER = ("Version", "Id", "Statement", "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction",
          "Resource", "NotResource", "Condition")  # fmt: skip


def load(path: Path) -> dict[str, Any]:
    """The JSON text that is the one constant of moto's module."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            return json.loads(node.value.value)
    raise SystemExit(f"{path} holds no policies")


def ordered(document: dict[str, Any]) -> str:
    """A document with its elements in the order in which AWS writes them."""

    def sort(body: dict[str, Any]) -> dict[str, Any]:
        return {name: body[name] for name in sorted(body, key=_ORDER.index)}

    statements: dict[str, Any] | list[dict[str, Any]] = document["Statement"]
    listed = [sort(one) for one in statements] if isinstance(statements, list) else sort(statements)
    return json.dumps(sort(document) | {"Statement": listed}, separators=(",", ":"))


def dictionary(documents: list[str]) -> bytes:
    """The strings that save most, the best last, as zlib wants them."""
    seen = Counter(text for one in documents for text in set(re.findall(r'"[^"]{4,}"', one)))
    best = sorted((text for text, times in seen.items() if times > 2), key=lambda text: (-seen[text] * len(text), text))
    made = ""
    for text in best:
        if len(made) + len(text) < DICTIONARY_MAX:
            made = f"{text},{made}"
    return made.encode()


def packed(text: str, shared: bytes) -> bytes:
    """A document, compressed."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, shared)
    return press.compress(text.encode()) + press.flush()


def moment(text: str) -> int:
    """Seconds since 1970."""
    return int(datetime.fromisoformat(text).timestamp())


def main(arguments: list[str]) -> int:
    """Write the database anew."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    policies = load(Path(arguments[0]))
    documents = {name: ordered(found["Document"]) for name, found in policies.items()}
    shared = dictionary(list(documents.values()))
    OUT.unlink(missing_ok=True)
    db = sqlite3.connect(OUT)
    db.executescript(
        "PRAGMA page_size = 4096; CREATE TABLE about (source TEXT, dictionary BLOB);"
        "CREATE TABLE policies (number INTEGER PRIMARY KEY, name TEXT, path TEXT, version INTEGER, created INTEGER,"
        " updated INTEGER);"
        "CREATE TABLE documents (number INTEGER PRIMARY KEY, packed BLOB);"
    )
    db.execute("INSERT INTO about VALUES (?, ?)", (SOURCE, shared))
    for number, (name, found) in enumerate(sorted(policies.items(), key=lambda one: one[1]["Path"] + one[0]), 1):
        version = int(found["DefaultVersionId"].removeprefix("v"))
        times = moment(found["CreateDate"]), moment(found["UpdateDate"])
        db.execute("INSERT INTO policies VALUES (?,?,?,?,?,?)", (number, name, found["Path"], version, *times))
        db.execute("INSERT INTO documents VALUES (?,?)", (number, packed(documents[name], shared)))
    db.execute("CREATE UNIQUE INDEX by_name ON policies (name)")
    db.commit()
    db.execute("VACUUM")
    db.close()
    print(f"policies: {len(policies)} in {OUT.stat().st_size:,} bytes")
    return 0
