# SPDX-License-Identifier: Apache-2.0
"""The live side of Secrets Manager: the key that seals values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.services.secretsmanager import tables
from cloudchamber.services.secretsmanager.sealing import Seal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Doors


class Safe:
    """Holds the seal."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self.seal = Seal(doors.folder / "secretsmanager")

    async def start(self) -> None:
        """Remove what has outlived its recovery window."""
        now = self._doors.clock.now().timestamp()
        await self._doors.database.write(lambda tx: tables.purge(tx, now))

    async def stop(self) -> None:
        """Nothing runs."""

    def status(self) -> list[Mapping[str, Any]]:
        """Nothing runs."""
        return []
