# SPDX-License-Identifier: Apache-2.0
"""What runs databases: the interface that DB instances are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from cloudchamber.services.rds.control import Control


class EngineError(Exception):
    """A database server could not be made, started or stopped; the text says why, for events and the log."""


class Engine(Protocol):
    """Database servers, one for each DB instance, by its resource id (``db-…``).

    A server is a process of its own that outlives the chamber.
    """

    @property
    def version(self) -> str:
        """The version of the real server, ``18.6``; empty until `prepare` found it."""
        ...

    async def prepare(self) -> None:
        """Get ready to create quickly. May be called again.

        Raises:
            ChamberError: no server can run on this machine.
        """
        ...

    async def create(self, resource_id: str) -> None:
        """Make an empty cluster, synced to disk; does nothing if there is one."""
        ...

    async def start(self, resource_id: str, settings: Mapping[str, str]) -> None:
        """Start the server, or find it running; returns when it takes connections.

        Raises:
            EngineError: it does not start.
        """
        ...

    async def stop(self, resource_id: str) -> None:
        """Stop the server after a checkpoint; running statements are ended."""
        ...

    async def destroy(self, resource_id: str) -> None:
        """Stop the server and remove everything of it."""
        ...

    def running(self, resource_id: str) -> int:
        """The process id of the server, 0 if it does not run."""
        ...

    def watch(self, resource_id: str, ended: Callable[[], None]) -> Callable[[], None]:
        """Call `ended` once when the server's process is gone; returns what cancels that."""
        ...

    def address(self, resource_id: str) -> Path:
        """The private socket that the server listens on."""
        ...

    def control(self, resource_id: str, database: str = "postgres") -> Awaitable[Control]:
        """A session of ours, as the cluster's superuser."""
        ...

    async def admit(self, resource_id: str, users: Mapping[str, bool]) -> None:
        """Say for single users whether the private socket lets them in without a password (True) or asks for one."""
        ...

    def log_tail(self, resource_id: str, octets: int = 4096) -> str:
        """The end of the server's log."""
        ...
