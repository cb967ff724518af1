# SPDX-License-Identifier: Apache-2.0
"""The same tests once more as a user without privileges, when root runs them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from tests.sandbox.test_attacks import as_user, python_of_others


@pytest.mark.skipif(os.geteuid() != 0, reason="this user has no privileges anyway")
@pytest.mark.parametrize("name", ["test_sandbox.py", "test_detached.py"])
async def test_everything_holds_without_privileges(name):
    python = python_of_others()
    if python is None:
        pytest.skip("no Python of this version that an ordinary user may run")
    root = Path(__file__).parents[2]
    packages = Path(pytest.__file__).parents[1]
    run = await asyncio.create_subprocess_exec(
        python,
        "-B",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        f"tests/sandbox/{name}",
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={"PYTHONPATH": f"{root / 'src'}:{packages}:{root}", "HOME": "/tmp", "PATH": "/usr/bin:/bin:/usr/sbin"},
        **as_user(),
    )
    out, _ = await run.communicate()
    assert run.returncode == 0, out.decode()[-6000:]
