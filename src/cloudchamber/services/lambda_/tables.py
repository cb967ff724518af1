# SPDX-License-Identifier: Apache-2.0
"""Rows of functions, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.services.lambda_.errors import PreconditionFailedException, ResourceNotFoundException

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader, Tx


@dataclass(frozen=True, slots=True)
class Function:
    """One function as it is now.

    `configuration` holds the members of FunctionConfiguration that users set, as the API writes them, and
    `LastModified`, `RevisionId`, `CodeSha256`, `CodeSize`. `generation` counts changes of code and configuration.
    """

    arn: str
    account: str
    region: str
    name: str
    configuration: Mapping[str, Any]
    code_sha: str
    generation: int
    state: str
    update_status: str
    reason: str
    reserved: int | None
    recursion: str
    statements: tuple[Mapping[str, Any], ...]
    policy_revision: str
    events: Mapping[str, Any] | None
    tags: Mapping[str, str]

    @property
    def memory_mb(self) -> int:
        return int(self.configuration["MemorySize"])

    @property
    def timeout_s(self) -> int:
        return int(self.configuration["Timeout"])

    @property
    def role(self) -> str:
        return str(self.configuration["Role"])

    @property
    def ready(self) -> bool:
        """Whether its code is there to run."""
        return self.state == "Active" and self.update_status != "InProgress"


def _function(row: sqlite3.Row) -> Function:
    return Function(
        arn=row["arn"],
        account=row["account"],
        region=row["region"],
        name=row["name"],
        configuration=json.loads(row["configuration"]),
        code_sha=row["code_sha"],
        generation=row["generation"],
        state=row["state"],
        update_status=row["update_status"],
        reason=row["reason"],
        reserved=row["reserved"],
        recursion=row["recursion"],
        statements=tuple(json.loads(row["statements"])),
        policy_revision=row["policy_revision"],
        events=json.loads(row["events"]) if row["events"] else None,
        tags=json.loads(row["tags"]),
    )


def find(db: Reader, arn: str) -> Function | None:
    """The function, or None."""
    row = db.execute("SELECT * FROM lambda_functions WHERE arn = ?", (arn,)).fetchone()
    return _function(row) if row else None


def get(db: Reader, arn: str) -> Function:
    """The function.

    Raises:
        ResourceNotFoundException: there is none.
    """
    found = find(db, arn)
    if found is None:
        raise ResourceNotFoundException(f"Function not found: {arn}")
    return found


def page(db: Reader, account: str, region: str, after: str, limit: int) -> list[Function]:
    """Functions by name, after a name."""
    rows = db.execute(
        "SELECT * FROM lambda_functions WHERE account = ? AND region = ? AND name > ? ORDER BY name LIMIT ?",
        (account, region, after, limit),
    )
    return [_function(row) for row in rows]


def every(db: Reader) -> list[Function]:
    """All functions of all accounts and regions."""
    return [_function(row) for row in db.execute("SELECT * FROM lambda_functions ORDER BY arn")]


def insert(tx: Tx, arn: str, values: Mapping[str, Any]) -> None:
    """Add a function; `values` by column."""
    columns = {"arn": arn, **{name: _column(value) for name, value in values.items()}}
    tx.execute(
        f"INSERT INTO lambda_functions ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",
        tuple(columns.values()),
    )


def change(tx: Tx, arn: str, **values: Any) -> None:
    """Set columns of a function."""
    names = ", ".join(f"{name} = ?" for name in values)
    tx.execute(f"UPDATE lambda_functions SET {names} WHERE arn = ?", (*map(_column, values.values()), arn))


def _column(value: Any) -> Any:
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, separators=(",", ":"))
    return value


def check_revision(function: Function, request: Mapping[str, Any]) -> None:
    """Refuse a change that was made for another revision.

    Raises:
        PreconditionFailedException: `RevisionId` is given and is not the current one.
    """
    wanted = request.get("RevisionId")
    if wanted and wanted != function.configuration["RevisionId"]:
        raise PreconditionFailedException(
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id"
        )
