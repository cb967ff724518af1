# SPDX-License-Identifier: Apache-2.0
"""The command line: the only package that prints.

Importing a module of commands registers them: `@main.command()` (from `group`) makes one. A new module is imported and
listed here; a new command gets its place in `group.ORDER`, as the help shows it.
"""

from __future__ import annotations

from cloudchamber.cli import (
    accounts,
    building,
    checking,
    functions,
    iam,
    looking,
    peers,
    running,
    secure_shell,
    using,
    written,
)
from cloudchamber.cli.group import main

__all__ = [
    "accounts",
    "building",
    "checking",
    "functions",
    "iam",
    "looking",
    "main",
    "peers",
    "running",
    "secure_shell",
    "using",
    "written",
]
