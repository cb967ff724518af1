# SPDX-License-Identifier: Apache-2.0
"""What the root of an instance reaches that is not its own: nothing, in both modes that have instances."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import boto3
import pytest

from tests.sandbox.test_attacks import ROOT, as_user, python_of_others

HERE = Path(__file__).parent


@pytest.mark.parametrize("mode", [*(["ns-root"] if ROOT else []), "ns-user"])
async def test_an_instance_reaches_only_what_groups_and_routes_say(mode):
    other_user = mode == "ns-user" and ROOT
    python = python_of_others() if other_user else sys.executable
    if python is None:
        pytest.skip("no Python of this version that an ordinary user may run")
    base = Path(tempfile.mkdtemp(prefix="ccan-"))
    try:
        if other_user:
            os.chown(base, 1000, 1000)
        packages = Path(boto3.__file__).parents[1]
        run = await asyncio.create_subprocess_exec(
            python, "-B", str(HERE / "attacked_instance.py"), mode, str(base),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd="/",
            env={"PYTHONPATH": f"{HERE.parents[1] / 'src'}:{packages}", "HOME": str(base),
                 "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
            **(as_user() if other_user else {}),
        )  # fmt: skip
        async with asyncio.timeout(600):
            out, errors = await run.communicate()
        if f"mode {mode} does not work here" in errors.decode():
            pytest.skip(errors.decode().strip().splitlines()[-1])
        said = out.decode() + errors.decode()
        line = next((line for line in said.splitlines() if line.startswith("RESULT ")), None)
        assert run.returncode == 0 and line, said[-4000:]
        table = json.loads(line[7:])
    finally:
        shutil.rmtree(base)
    print("\n".join(f"{mode}: {attempt}: {how}" for attempt, how in table.items()))
    assert {attempt: how for attempt, how in table.items() if how.startswith("OPEN")} == {}
    assert not {
        attempt: how for attempt, how in table.items() if how.startswith(("NameError", "TypeError", "KeyError"))
    }
