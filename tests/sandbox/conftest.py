# SPDX-License-Identifier: Apache-2.0
"""Real sandboxes in every mode that this user can have."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from cloudchamber.sandbox.spawner import SandboxError, open_sandboxes

MODES = ["ns-root" if os.geteuid() == 0 else "ns-user", "landlock", "plain"]


@pytest.fixture
def state():
    """A chamber's state folder with a short path that other users may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="ccsb-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(params=MODES)
async def sandboxes(request, state):
    if sys.platform != "linux" and request.param != "plain":
        pytest.skip(f"{request.param} needs Linux")
    opened = open_sandboxes(state / "sandbox", request.param)
    try:
        await opened.start()
    except SandboxError as error:
        pytest.skip(f"{request.param} does not work on this machine: {error}")
    yield opened
    await opened.stop()


@pytest.fixture(params=MODES[:1])
async def walled(request, state):
    """Only the mode with namespaces."""
    opened = open_sandboxes(state / "sandbox", request.param)
    try:
        await opened.start()
    except SandboxError as error:
        pytest.skip(f"{request.param} does not work on this machine: {error}")
    yield opened
    await opened.stop()
