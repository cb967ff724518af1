# SPDX-License-Identifier: Apache-2.0
"""Configurations of a bucket that are kept one by one: the SQL of them.

A name is the kind (``acl``, ``cors``, ``website``), or ``<kind>:<id>`` where there may be several.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx


def text(db: Reader, bucket: str, name: str) -> str | None:
    """One configuration as it is kept; None if there is none."""
    row = db.execute("SELECT value FROM s3_settings WHERE bucket = ? AND name = ?", (bucket, name)).fetchone()
    return None if row is None else row[0]


def get(call: Call, bucket: str, name: str) -> Any:
    """One configuration; None if there is none."""
    found = call.doors.database.peek(lambda db: text(db, bucket, name))
    return None if found is None else json.loads(found)


def listed(db: Reader, bucket: str, kind: str) -> list[Any]:
    """All of a kind, by id."""
    rows = db.execute(
        "SELECT value FROM s3_settings WHERE bucket = ? AND name > ? AND name < ? ORDER BY name",
        (bucket, f"{kind}:", f"{kind};"),
    )
    return [json.loads(row[0]) for row in rows]


def put(tx: Tx, bucket: str, name: str, value: Any) -> None:
    """Keep one; None removes it."""
    if value is None:
        tx.execute("DELETE FROM s3_settings WHERE bucket = ? AND name = ?", (bucket, name))
        return
    made = json.dumps(value, separators=(",", ":"))
    tx.execute("INSERT OR REPLACE INTO s3_settings VALUES (?, ?, ?)", (bucket, name, made))
