# SPDX-License-Identifier: Apache-2.0
"""A chamber that launches one sandbox that outlives it and one that does not, then waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cloudchamber.sandbox.spawner import open_sandboxes
from cloudchamber.sandbox.spec import Listener, SandboxSpec

LOOP = "while curl -s -m 30 http://${listener:endpoint}/; do echo; done; exit 9"


async def main(mode: str, state: Path) -> None:
    sandboxes = open_sandboxes(state / "sandbox", mode)
    await sandboxes.start()
    for name, detached in (("i-stays", True), ("f-goes", False)):
        await sandboxes.launch(
            SandboxSpec(
                id=name,
                folder=state / "sandbox" / name,
                program=("/bin/sh", "-c", LOOP),
                listeners=(Listener("endpoint", "127.0.0.1", 4566),),
                env={"MARK": str(state)} if detached else {},
                detached=detached,
            )
        )
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
