# SPDX-License-Identifier: Apache-2.0
"""Which interpreter of this machine runs the functions of which runtime.

AWS brings interpreters; a chamber has those of its machine. A function runs on the very version that it names where
that is installed, else on the nearest one, and its log, its track and `status` say so.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from cloudchamber.sandbox import interpreters
from cloudchamber.services.lambda_.errors import InvalidParameterValueException

_PYTHON = re.compile(r"python3\.(\d{1,2})")
_NODE = re.compile(r"nodejs(\d{1,2})\.x")
_PYTHON_MINOR = range(9, 16)
_NODE_MAJOR = range(18, 27, 2)
_PROVIDED = ("provided.al2", "provided.al2023")
_OTHERS = re.compile(r"(java|dotnet|dotnetcore|ruby|go|nodejs|python|provided)[a-z0-9.]*")
_CLIENT = Path(__file__).resolve().parents[2] / "sandbox" / "node_client.cjs"
_found: dict[str, Runtime] = {}


@dataclass(frozen=True, slots=True)
class Runtime:
    """What runs a function. `version` is what is installed, `note` how that differs from what was named."""

    kind: Literal["python", "nodejs", "provided"]
    program: str = ""
    version: str = ""
    note: str = ""
    mounts: tuple[Path, ...] = ()

    def arn(self, region: str) -> str:
        """The ARN of this very version of a runtime: another interpreter has another one."""
        mark = hashlib.sha256(f"{self.kind} {self.version} {self.program}".encode()).hexdigest()
        return f"arn:aws:lambda:{region}::runtime:{mark}"


def check(runtime: str) -> None:
    """Refuse what cannot run here, by name.

    Raises:
        InvalidParameterValueException: no such runtime, or nothing on this machine runs it.
    """
    find(runtime)


def known(runtime: str) -> Runtime | None:
    """What `find` has found before: to look for it asks programs, which takes a while."""
    return _found.get(runtime)


def find(runtime: str) -> Runtime:
    """What runs a runtime's functions here; see `check`."""
    made = _found[runtime] = _find(runtime)
    return made


def _find(runtime: str) -> Runtime:
    python, node = _PYTHON.fullmatch(runtime), _NODE.fullmatch(runtime)
    if python and int(python[1]) in _PYTHON_MINOR:
        return _python(int(python[1]))
    if node and int(node[1]) in _NODE_MAJOR:
        return _node(int(node[1]))
    if runtime in _PROVIDED:
        return Runtime("provided", "bootstrap", runtime)
    if python or node or runtime in ("provided", "go1.x", "nodejs", "python2.7"):
        raise InvalidParameterValueException(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating AWS Lambda functions. "
            f"We recommend you use a supported runtime while creating or updating functions."
        )
    known = "is not supported here yet" if _OTHERS.fullmatch(runtime) else "is not a runtime"
    raise InvalidParameterValueException(
        f"Value {runtime} at 'runtime' failed to satisfy constraint: this chamber runs python3.9 to python3.15, "
        f"nodejs18.x to nodejs26.x, provided.al2 and provided.al2023; '{runtime}' {known}"
    )


@cache
def _python(minor: int) -> Runtime:
    program, version = interpreters.python(minor)
    if version.startswith(f"3.{minor}."):
        return Runtime("python", program, version)
    note = f"the function names python3.{minor}; this chamber runs it on its own interpreter, Python {version}"
    return Runtime("python", "", version, note)


@cache
def _node(major: int) -> Runtime:
    found = interpreters.installed("node", (f"v{major}.", f"{major}.")) or interpreters.installed("node", ())
    if not found:
        raise InvalidParameterValueException(
            f"The runtime nodejs{major}.x needs Node.js on the chamber's machine, and none was found: install Node.js "
            f"{major} (https://nodejs.org), or put `node` into the PATH that the chamber is started with"
        )
    version = interpreters.version(found, "process.stdout.write(process.version)", "-e").removeprefix("v")
    note = ""
    if version.partition(".")[0] != str(major):
        note = f"the function names nodejs{major}.x; this chamber runs it on the machine's Node.js {version}"
    real = Path(os.path.realpath(found))
    mounts = () if real.is_relative_to("/usr") else (real.parent.parent,)
    return Runtime("nodejs", str(real), version, note, mounts)


def client() -> Path:
    """Our runtime client for Node.js; it lies in a folder that every sandbox sees."""
    return _CLIENT


def script() -> tuple[str, ...]:
    """How a Python is started that is not forked: our part of its runtime, and where the runtime's packages lie."""
    return str(_CLIENT.with_name("warm_lambda.py")), *packages()


def packages() -> tuple[str, ...]:
    """Folders with the packages that AWS's Python runtimes have."""
    return tuple(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
