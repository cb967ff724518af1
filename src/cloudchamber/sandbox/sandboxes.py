# SPDX-License-Identifier: Apache-2.0
"""The one door to sandboxes: launch, find again, connect, filter, end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from cloudchamber.sandbox.spec import Exit, Listener, Mode, Rule, SandboxSpec


class Sandbox(Protocol):
    """One running sandbox."""

    @property
    def id(self) -> str: ...
    @property
    def spec(self) -> SandboxSpec: ...
    @property
    def listeners(self) -> Mapping[str, socket.socket]:
        """Listening sockets by `Listener.name`: non-blocking, accept on them with the chamber's own loop."""
        ...

    @property
    def output(self) -> int:
        """Read end of stdout and stderr when `spec.console` is ``pipe`` (yours to close), else -1."""
        ...

    def address(self, name: str) -> tuple[str, int]:
        """Address and port at which the program inside reaches a listener."""
        ...

    def on_kill(self, hear: Callable[[int, str], None]) -> None:
        """Call `hear` whenever the memory limit killed processes inside: how many, and a line that says it."""
        ...

    async def listen(self, listener: Listener) -> socket.socket:
        """Open one more listener inside a running sandbox (an RDS endpoint that was created later)."""
        ...

    async def connect(self, port: int, timeout_s: float = 5.0, source: str = "") -> socket.socket:
        """A non-blocking TCP socket connected to `port` of the program inside, which sees `source` as its peer.

        Raises:
            OSError: `ConnectionRefusedError` when nobody listens, `TimeoutError`.
        """
        ...

    async def datagrams(self, source: tuple[str, int], port: int) -> socket.socket:
        """A non-blocking UDP socket connected to `port` of the program inside, which sees `source` as its peer.

        Raises:
            OSError: the mode has no network of its own, or the address cannot be had.
        """
        ...

    async def set_rules(self, rules: Sequence[Rule]) -> None:
        """Filter its traffic from now on: inbound by port (who calls is the caller's check), outbound by address too.

        What the sandbox reaches on its own loopback (the endpoint, database listeners) is not filtered here: whoever
        accepts there knows the caller and decides. Metadata and name service are always let through, as on AWS.
        """
        ...

    async def signal(self, number: int) -> None:
        """Signal every process inside."""
        ...

    async def stop(self, grace_s: float = 5.0) -> Exit:
        """SIGTERM to all, SIGKILL after the grace; returns when nothing of it is left (volume and logs stay)."""
        ...

    async def kill(self) -> Exit:
        """End it at once."""
        ...

    async def freeze(self) -> None:
        """Stop every process inside from running (a function between invocations)."""
        ...

    async def thaw(self) -> None: ...

    async def peak_kb(self) -> int:
        """The most memory that each of its processes has had, added up; 0 where the system does not tell."""
        ...

    async def exited(self) -> Exit:
        """Wait for the program to end by itself."""
        ...

    def console(self, limit: int = 65536) -> bytes:
        """The last octets that it wrote to stdout and stderr (`console.log` in its folder)."""
        ...

    async def run(
        self, argv: Sequence[str], *, fds: tuple[int, int, int], env: Mapping[str, str], tty: bool = False
    ) -> int:
        """Run one more program inside with these descriptors as 0, 1, 2; returns its exit code (`cloudchamber shell`).

        `env` is laid over the sandbox's own; `tty` makes descriptor 0 its controlling terminal.
        """
        ...


class Sandboxes(Protocol):
    """Every sandbox of a chamber. Made by `sandbox.spawner.open_sandboxes`."""

    @property
    def mode(self) -> Mode:
        """The mode in force, found by really trying."""
        ...

    @property
    def limits_by(self) -> str:
        """What enforces limits: `cgroup2`, `cgroup1`, `rlimits`."""
        ...

    @property
    def refused(self) -> Mapping[str, str]:
        """Why better modes are not in force: mode -> reason, for `doctor`."""
        ...

    @property
    def not_blocked(self) -> Sequence[str]:
        """What this mode does not stop, in words for `doctor` and the banner."""
        ...

    async def start(self) -> None:
        """Start the spawner. Must be called before any secret is in this process's environment."""
        ...

    async def warm(self, kind: SandboxSpec | None = None) -> None:
        """Load the warm Python now rather than with the first warm sandbox; with `kind`, also have some ready of these.

        What differs between them (`id`, `folder`, `env`, `mounts`, `limits`) does not matter in it.
        """
        ...

    async def launch(self, spec: SandboxSpec) -> Sandbox:
        """Start a sandbox; returns once its program runs and its listeners listen.

        Raises:
            OSError: it could not be made, or its program is not there (`SandboxError`); nothing of it is left.
            ValueError: the spec contradicts itself.
        """
        ...

    async def attach(self, folder: Path) -> Sandbox | None:
        """Find a detached sandbox again after a restart; None when it is gone (`ended` then says how)."""
        ...

    def ended(self, folder: Path) -> Exit | None:
        """How the sandbox of this folder ended, if it did (from `shim.json`)."""
        ...

    async def stop(self) -> None:
        """End the spawner and every sandbox that is not detached."""
        ...
