# SPDX-License-Identifier: Apache-2.0
"""Rows of functions, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.lambda_.errors import PreconditionFailedException, ResourceNotFoundException
from cloudchamber.services.lambda_.names import LATEST, Reference

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
    next_version: int = 1
    version: str = LATEST
    """Which version's code and configuration these are."""
    qualifier: str = ""
    """How it was asked for: a version, an alias, ``$LATEST``, or not at all."""

    @property
    def asked_arn(self) -> str:
        """The ARN as it was asked for."""
        return f"{self.arn}:{self.qualifier}" if self.qualifier else self.arn

    @property
    def key(self) -> tuple[str, str]:
        """What environments are shared by: function and version."""
        return self.arn, self.version

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
        next_version=row["next_version"],
    )


@dataclass(frozen=True, slots=True)
class Alias:
    """A name for a version; `weights` says how much of the traffic goes to another one."""

    arn: str
    name: str
    version: str
    description: str
    weights: Mapping[str, float]
    revision: str

    def choose(self, draw: float) -> str:
        """The version for one invocation; `draw` is evenly spread over 0 to 1."""
        for version, weight in self.weights.items():
            if draw < weight:
                return version
            draw -= weight
        return self.version


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set for a function, a version or an alias by itself."""

    statements: tuple[Mapping[str, Any], ...] = ()
    policy_revision: str = ""
    events: Mapping[str, Any] | None = None
    provisioned: Mapping[str, Any] | None = None
    """`Requested` environments, and `LastModified` (POSIX time)."""


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


def find_version(db: Reader, arn: str, version: str) -> Function | None:
    """The function as it was published, or None."""
    function = find(db, arn)
    if function is None or version == LATEST:
        return function
    row = db.execute("SELECT * FROM lambda_versions WHERE arn = ? AND version = ?", (arn, _number(version))).fetchone()
    return None if row is None else _published(function, row)


def _number(version: str) -> int:
    return int(version) if version.isascii() and version.isdigit() and len(version) < 16 else 0


def _published(function: Function, row: sqlite3.Row) -> Function:
    return replace(
        function,
        configuration=json.loads(row["configuration"]),
        code_sha=row["code_sha"],
        generation=0,
        state="Active" if function.state != "Pending" else "Pending",
        update_status="Successful" if function.state != "Pending" else "",
        reason="",
        version=str(row["version"]),
        qualifier=str(row["version"]),
    )


def versions(db: Reader, arn: str, after: int = 0, limit: int = 1 << 40) -> list[Function]:
    """Published versions by number, after a number."""
    function = get(db, arn)
    rows = db.execute(
        "SELECT * FROM lambda_versions WHERE arn = ? AND version > ? ORDER BY version LIMIT ?", (arn, after, limit)
    )
    return [_published(function, row) for row in rows]


def insert_version(tx: Tx, function: Function, document: Mapping[str, Any]) -> None:
    """Keep what ``$LATEST`` is now under the function's next number."""
    tx.execute(
        "INSERT INTO lambda_versions (arn, version, configuration, code_sha) VALUES (?, ?, ?, ?)",
        (function.arn, function.next_version, _column(dict(document)), function.code_sha),
    )
    change(tx, function.arn, next_version=function.next_version + 1)


def revise(tx: Tx, function: Function) -> None:
    """Give a function another revision: what is known of it has changed."""
    change(tx, function.arn, configuration={**function.configuration, "RevisionId": ids.request_id()})


def revise_versions(tx: Tx, arn: str) -> None:
    """Give every version of a function another revision."""
    for row in tx.execute("SELECT version, configuration FROM lambda_versions WHERE arn = ?", (arn,)).fetchall():
        document = {**json.loads(row["configuration"]), "RevisionId": ids.request_id()}
        tx.execute(
            "UPDATE lambda_versions SET configuration = ? WHERE arn = ? AND version = ?",
            (_column(document), arn, row["version"]),
        )


def delete_version(tx: Tx, arn: str, version: str) -> None:
    """Remove a version and what was set for it."""
    tx.execute("DELETE FROM lambda_versions WHERE arn = ? AND version = ?", (arn, _number(version)))
    for table in ("lambda_qualifiers", "lambda_urls"):
        tx.execute(f"DELETE FROM {table} WHERE arn = ? AND qualifier = ?", (arn, version))


def _alias(row: sqlite3.Row) -> Alias:
    return Alias(
        row["arn"], row["name"], row["version"], row["description"], json.loads(row["weights"]), row["revision"]
    )


def find_alias(db: Reader, arn: str, name: str) -> Alias | None:
    """The alias, or None."""
    row = db.execute("SELECT * FROM lambda_aliases WHERE arn = ? AND name = ?", (arn, name)).fetchone()
    return None if row is None else _alias(row)


def aliases(db: Reader, arn: str) -> list[Alias]:
    """All aliases of a function, by name."""
    return [_alias(row) for row in db.execute("SELECT * FROM lambda_aliases WHERE arn = ? ORDER BY name", (arn,))]


def chosen(db: Reader, reference: Reference, draw: float = 1.0) -> Function:
    """The function, version or alias that is meant; an alias with weights is decided by `draw` (1: its main version).

    Raises:
        ResourceNotFoundException: there is none.
    """
    qualifier = reference.qualifier
    version = qualifier or LATEST
    if version != LATEST and not version.isdigit():
        alias = find_alias(db, reference.arn, qualifier)
        version = alias.choose(draw) if alias is not None else "0"
    found = find_version(db, reference.arn, version)
    if found is None:
        raise ResourceNotFoundException(f"Function not found: {reference.qualified}")
    return replace(found, qualifier=qualifier)


def settings(db: Reader, arn: str, qualifier: str) -> Settings:
    """Policy, event settings and provisioned concurrency of a function, version or alias."""
    if qualifier in ("", LATEST):
        function = get(db, arn)
        return Settings(function.statements, function.policy_revision, function.events)
    row = db.execute("SELECT * FROM lambda_qualifiers WHERE arn = ? AND qualifier = ?", (arn, qualifier)).fetchone()
    if row is None:
        return Settings()
    events = json.loads(row["events"]) if row["events"] else None
    kept = json.loads(row["provisioned"]) if row["provisioned"] else None
    return Settings(tuple(json.loads(row["statements"])), row["policy_revision"], events, kept)


def qualifiers(db: Reader, arn: str) -> list[tuple[str, Settings]]:
    """Versions and aliases that have settings of their own, by name."""
    rows = db.execute("SELECT qualifier FROM lambda_qualifiers WHERE arn = ? ORDER BY qualifier", (arn,)).fetchall()
    return [(row[0], settings(db, arn, row[0])) for row in rows]


def provisioned(db: Reader) -> list[tuple[str, str, int]]:
    """Every (function, qualifier, number) with provisioned concurrency."""
    rows = db.execute("SELECT arn, qualifier, provisioned FROM lambda_qualifiers WHERE provisioned != ''")
    return [(row[0], row[1], int(json.loads(row[2])["Requested"])) for row in rows]


def change_settings(tx: Tx, arn: str, qualifier: str, **values: Any) -> None:
    """Set columns of a function's, a version's or an alias's settings."""
    if qualifier in ("", LATEST):
        change(tx, arn, **values)
        return
    tx.execute("INSERT OR IGNORE INTO lambda_qualifiers (arn, qualifier) VALUES (?, ?)", (arn, qualifier))
    names = ", ".join(f"{name} = ?" for name in values)
    columns = (*map(_column, values.values()), arn, qualifier)
    tx.execute(f"UPDATE lambda_qualifiers SET {names} WHERE arn = ? AND qualifier = ?", columns)


def code_in_use(db: Reader) -> set[str]:
    """SHA-256 of every package that a function, a version or a layer has."""
    rows = db.execute(
        "SELECT code_sha FROM lambda_functions UNION SELECT code_sha FROM lambda_versions "
        "UNION SELECT code_sha FROM lambda_layers WHERE deleted = 0"
    )
    return {row[0] for row in rows}


def code_sizes(db: Reader, account: str, region: str) -> int:
    """Octets of all packages: of functions, their versions, and layers."""
    return int(
        db.execute(
            "SELECT (SELECT coalesce(sum(json_extract(configuration, '$.CodeSize')), 0) FROM lambda_functions "
            "WHERE account = ?1 AND region = ?2) + (SELECT coalesce(sum(json_extract(v.configuration, '$.CodeSize')), "
            "0) FROM lambda_versions v JOIN lambda_functions f ON f.arn = v.arn WHERE f.account = ?1 AND f.region = ?2)"
            " + (SELECT coalesce(sum(json_extract(document, '$.CodeSize')), 0) FROM lambda_layers "
            "WHERE account = ?1 AND region = ?2 AND deleted = 0)",
            (account, region),
        ).fetchone()[0]
    )


def page(db: Reader, account: str, region: str, after: tuple[str, int], limit: int, *, every: bool) -> list[Function]:
    """Functions by name, with all their versions if `every`, after (name, version; 0 is ``$LATEST``)."""
    rows = db.execute(
        "SELECT arn, name, 0 AS number FROM lambda_functions WHERE account = :account AND region = :region "
        "AND (name, 0) > (:name, :number) UNION ALL SELECT f.arn, f.name, v.version FROM lambda_functions f "
        "JOIN lambda_versions v ON v.arn = f.arn WHERE :every AND f.account = :account AND f.region = :region "
        "AND (f.name, v.version) > (:name, :number) ORDER BY 2, 3 LIMIT :limit",
        {
            "account": account, "region": region, "name": after[0], "number": after[1], "every": every,
            "limit": limit,
        },
    ).fetchall()  # fmt: skip
    found: list[Function] = []
    for row in rows:
        version = str(row["number"]) if row["number"] else LATEST
        one = find_version(db, row["arn"], version)
        if one is not None:
            found.append(replace(one, qualifier=version if every else ""))
    return found


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
