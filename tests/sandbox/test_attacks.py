# SPDX-License-Identifier: Apache-2.0
"""The attack table: what a malicious program can do in each mode, no more and no less than `not_blocked` says."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ALWAYS = {"connect to its own endpoint"}
USER_OF_OWN = {
    "read the chamber's state",
    "write the chamber's state",
    "read another instance's volume",
    "read a secret in the user's home",
    "read another sandbox's temporary file",
    "see the chamber's process",
    "read the chamber's environment",
    "ptrace the chamber",
    "signal the chamber",
    "connect to a database on the host's loopback",
    "connect to another sandbox's metadata port",
    "connect to the host's own address",
    "connect to an abstract unix socket",
    "connect to a unix socket with a path",
    "read the chamber's memory",
    "take a descriptor of the chamber",
    "send UDP to the host's loopback",
    "send UDP to the host's own address",
    "write more to /tmp than it has",
}
KERNEL = {
    "make a user namespace",
    "make namespaces within a user namespace",
    "clone into a user namespace",
    "clone into a network of its own",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "read the kernel's log",
    "io_uring",
    "add_key",
    "mount",
    "bpf",
    "change its network",
}
"""Open or not by the kernel's own settings in `plain`, which has no filter."""
OPEN = {
    "ns-root": set(),
    "ns-user": set(),
    "landlock": {
        "connect to a unix socket with a path",
        "send UDP to the host's loopback",
        "send UDP to the host's own address",
        "write more to /tmp than it has",
    },
    "plain": USER_OF_OWN,
}
ROOT = os.geteuid() == 0


def python_of_others() -> str | None:
    """An interpreter that an ordinary user may run too, of this one's version: its packages are this one's."""
    for name in (sys.executable, "/usr/bin/python3"):
        try:
            run = subprocess.run(
                [name, "-c", f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]})"],
                check=False,
                **as_user(),
            )
        except OSError:
            continue
        if run.returncode == 0:
            return name
    return None


def as_user() -> dict:
    return {"user": 1000, "group": 1000, "extra_groups": []} if ROOT else {}


@pytest.mark.parametrize("mode", [*(["ns-root"] if ROOT else []), "ns-user", "landlock", "plain"])
async def test_what_a_malicious_program_can_do(mode):
    plain_user = mode != "ns-root" and ROOT
    python = python_of_others() if plain_user else sys.executable
    if python is None:
        pytest.skip("no Python of this version that an ordinary user may run")
    base = Path(tempfile.mkdtemp(prefix="ccat-"))
    try:
        if plain_user:
            os.chown(base, 1000, 1000)
        environment = {"PYTHONPATH": str(HERE.parents[1] / "src"), "HOME": str(base), "PATH": "/usr/bin:/bin"}
        run = await asyncio.create_subprocess_exec(
            python,
            str(HERE / "attacked.py"),
            mode,
            str(base),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            cwd="/",
            **(as_user() if plain_user else {}),
        )
        async with asyncio.timeout(120):
            out, errors = await run.communicate()
        lines = out.decode().splitlines()
        if f"mode {mode} does not work here" in errors.decode():
            pytest.skip(errors.decode().strip().splitlines()[-1])
        assert run.returncode == 0, errors.decode()
        table = json.loads(next(line for line in lines if line.startswith("RESULT "))[7:])
        said = json.loads(next(line for line in lines if line.startswith("NOT BLOCKED "))[12:])
    finally:
        shutil.rmtree(base)
    print("\n".join(f"{mode}: {attempt}: {how}" for attempt, how in table.items()))
    print("\n".join(f"{mode} does not block {words}" for words in said))
    opened = {attempt for attempt, how in table.items() if how == "OPEN"}
    unsure = KERNEL if mode == "plain" else set()
    assert opened - unsure == OPEN[mode] | ALWAYS, {name: table[name] for name in opened ^ (OPEN[mode] | ALWAYS)}
    assert not {"write the host's /usr", "write /proc/sys", "open a disk or /dev/kvm"} & opened
    if mode == "landlock":
        assert any("unix sockets that have a path" in words for words in said)
        assert any("UDP" in words for words in said)
    if mode in ("landlock", "plain"):
        assert any("/tmp" in words for words in said)
    assert any("as much disk as is free" in words for words in said)
    odd = ("NameError", "TypeError", "KeyError", "AttributeError", "SyntaxError")
    assert not {attempt: how for attempt, how in table.items() if how.startswith(odd)}
