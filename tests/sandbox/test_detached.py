# SPDX-License-Identifier: Apache-2.0
"""A chamber that is killed loses no instance: the next one finds it, with its calls waiting."""

# ruff: noqa: ASYNC110, ASYNC240 - waiting for another process, whose files are small

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from cloudchamber.sandbox.spec import SandboxSpec
from tests.sandbox.test_sandbox import accepted, nothing_left

CHAMBER = Path(__file__).parent / "chamber.py"


async def killed_chamber(mode: str, state: Path) -> None:
    """Run chamber.py until its sandboxes run, then kill -9 it."""
    package = str(Path(__file__).parents[2] / "src")
    chamber = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CHAMBER),
        mode,
        str(state),
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": package},
    )
    assert chamber.stdout
    assert await chamber.stdout.readline() == b"ready\n"
    chamber.kill()
    await chamber.wait()
    await nothing_left(state / "sandbox" / "f-goes")


async def test_an_instance_survives_its_chamber_and_its_calls_wait(sandboxes, state):
    await killed_chamber(sandboxes.mode, state)
    folder = state / "sandbox" / "i-stays"
    assert sandboxes.ended(folder) is None
    sandbox = await sandboxes.attach(folder)
    assert sandbox is not None
    assert sandbox.spec.detached
    assert (await accepted(sandbox.listeners["endpoint"]))[0] == b"GET / HTTP/1.1"
    assert (await accepted(sandbox.listeners["endpoint"]))[0] == b"GET / HTTP/1.1"
    assert (await sandbox.stop(1)).code == -signal.SIGTERM
    await nothing_left(folder)
    assert await sandboxes.attach(folder) is None
    assert sandboxes.ended(folder).code == -signal.SIGTERM


async def test_the_end_of_an_instance_without_a_chamber_is_known_afterwards(sandboxes, state):
    await killed_chamber(sandboxes.mode, state)
    folder = state / "sandbox" / "i-stays"
    first = await sandboxes.attach(folder)
    assert first is not None
    connection, _ = await asyncio.get_running_loop().sock_accept(first.listeners["endpoint"])
    first.let_go()
    connection.close()  # curl fails, so the program ends by itself
    while sandboxes.ended(folder) is None:
        await asyncio.sleep(0.01)
    assert sandboxes.ended(folder).code == 9
    assert await sandboxes.attach(folder) is None
    await nothing_left(folder)


async def test_an_instance_whose_folder_is_deleted_ends(sandboxes, state):
    await killed_chamber(sandboxes.mode, state)
    folder = state / "sandbox" / "i-stays"
    shim = os.pidfd_open(json.loads((folder / "shim.json").read_text())["shim"])
    shutil.rmtree(folder)
    async with asyncio.timeout(30):
        await asyncio.to_thread(select.select, [shim], [], [])
    os.close(shim)


async def test_only_who_knows_the_token_is_answered(sandboxes, state):
    await killed_chamber(sandboxes.mode, state)
    folder = state / "sandbox" / "i-stays"
    written = json.loads((folder / "shim.json").read_text())
    (folder / "shim.json").write_text(json.dumps(written | {"token": "guessed"}))
    assert await sandboxes.attach(folder) is None
    (folder / "shim.json").write_text(json.dumps(written))
    sandbox = await sandboxes.attach(folder)
    assert (await sandbox.kill()).code == -signal.SIGKILL


async def test_a_killed_spawner_is_started_again_and_ends_nobody(sandboxes, state):
    def spec(name: str) -> SandboxSpec:
        return SandboxSpec(name, state / "sandbox" / name, ("sleep", "1000"))

    first = await sandboxes.launch(spec("i-1"))
    [spawner] = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if _is_spawner(path, state)]
    os.kill(int(spawner), signal.SIGKILL)
    while not sandboxes._link.closed:
        await asyncio.sleep(0.01)
    second = await sandboxes.launch(spec("i-2"))
    for sandbox in (first, second):
        assert (await sandbox.stop(5)).code == -signal.SIGTERM


def _is_spawner(path: Path, state: Path) -> bool:
    with contextlib.suppress(OSError):
        parent = path.with_name("stat").read_text().rpartition(")")[2].split()[1]
        return f"{state}/sandbox\0".encode() in path.read_bytes() and int(parent) == os.getpid()
    return False


def _environments() -> list[bytes]:
    """Environments of the processes that this user may look into."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


async def test_a_killed_shim_takes_its_sandbox_along(sandboxes, state):
    await killed_chamber(sandboxes.mode, state)
    folder = state / "sandbox" / "i-stays"
    sandbox = await sandboxes.attach(folder)
    assert any(f"MARK={state}".encode() in environment for environment in _environments())
    os.kill(json.loads((folder / "shim.json").read_text())["shim"], signal.SIGKILL)
    assert (await sandbox.exited()).detail
    async with asyncio.timeout(10):
        while any(f"MARK={state}".encode() in environment for environment in _environments()):
            await asyncio.sleep(0.01)
    assert sandboxes.ended(folder).code == -signal.SIGKILL
    (folder / "ctl.sock").unlink()
