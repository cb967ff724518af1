# SPDX-License-Identifier: Apache-2.0
"""Interpreters of this machine: which Python runs what names a version, and where programs are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

_FORKED_MINOR = 11
"""Sandboxes fork from a warm Python, which must be one that our own code runs on."""
_ASK_S = 10.0


@cache
def python(minor: int) -> tuple[str, str]:
    """Path and version of a Python 3.`minor` of this machine; without one this process's own, whose path is empty."""
    own = ".".join(str(n) for n in sys.version_info[:3])
    if minor != sys.version_info.minor and minor >= _FORKED_MINOR:
        found = installed(f"python3.{minor}", (f"3.{minor}.",))
        said = (
            version(found, "import sys; print('.'.join(map(str, sys.version_info[:3])))", "-I", "-c") if found else ""
        )
        if said.startswith(f"3.{minor}."):
            return found, said
    return "", own


def installed(name: str, versions: tuple[str, ...]) -> str:
    """An executable: of one of these versions in the folders of version managers, else by name in PATH."""
    home = Path.home()
    folders = (home / ".pyenv/versions", home / ".nvm/versions/node", home / ".local/share/uv/python", Path("/opt"))
    for folder in folders if versions else ():
        if not os.access(folder, os.R_OK | os.X_OK):
            continue
        for place in sorted(folder.iterdir(), reverse=True):
            label = place.name.removeprefix("cpython-")
            binary = place / "bin" / name
            if label.startswith(versions) and os.access(binary, os.X_OK):
                return str(binary)
    for folder in ("/usr/local/bin", "/usr/bin", "/opt/homebrew/bin"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    return shutil.which(name) or ""


def version(program: str, code: str, *options: str) -> str:
    """What a program writes when it is given some code; empty when it fails."""
    try:
        done = subprocess.run(
            [program, *options, code], capture_output=True, text=True, timeout=_ASK_S, check=True, env={}
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
