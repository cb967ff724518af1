# SPDX-License-Identifier: Apache-2.0
"""The walls where there are no namespaces: Landlock and seccomp (`landlock`), or none (`plain`).

The sandbox sees the host's own paths and ports. Listeners are on free ports of 127.0.0.1; its home and its temporary
files are in its own folder; a mount stays where its source is (`${mount:TARGET}` says where that is).
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber.sandbox import etc, init, landlock, linux, messages, netlink, rootfs, seccomp, trees
from cloudchamber.sandbox.namespaces import (
    LaunchError,
    begin_connect,
    close_all_but,
    set_rlimits,
    tasks_of_user,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.sandbox.cgroups import Group
    from cloudchamber.sandbox.spec import Listener, Mode, Rule, SandboxSpec

_READABLE = (
    "/usr", "/bin", "/sbin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d",
    "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf",
    "/etc/passwd", "/etc/group", "/etc/localtime", "/etc/alternatives", "/etc/mime.types", "/etc/services",
    "/etc/protocols", "/etc/bash.bashrc", "/etc/inputrc", "/etc/os-release",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
_SPARE_PORTS = 16
_LISTENING = "0A"
_END_TRIES, _END_PAUSE_S = 200, 0.005


class SharedHost:
    """Makes one sandbox among the user's other processes."""

    def __init__(self, spec: SandboxSpec, mode: Mode, group: Group, *, by_rlimits: bool) -> None:
        self._spec = spec
        self._walled = mode == "landlock"
        self._group = group
        self._by_rlimits = by_rlimits
        self._pid = 0
        self._spare: list[socket.socket] = []
        self._tmp = spec.folder / "tmp"
        self._home = (spec.volume or spec.folder) / "home"
        self._bundle = spec.folder / "ca-bundle.crt"
        self.addresses: dict[str, tuple[str, int]] = {}

    def prepare(self) -> None:
        """Its own folders, its certificate bundle, and ports in store for listeners that come later."""
        for folder in (self._tmp, self._home):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._bundle.write_bytes(etc.host_bundle() + self._spec.ca_pem)
        if self._walled:
            # Why: Landlock's list of ports is closed for good when the program starts.
            self._spare = [netlink.open_listener("127.0.0.1", 0, "tcp") for _ in range(_SPARE_PORTS)]

    def start(self, stdio: tuple[int, int, int]) -> tuple[int, socket.socket]:
        """The parent of the sandbox, made but not started, and the socket to it."""
        if sys.platform == "linux":
            linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)  # what the program leaves behind becomes ours to end
        ours, theirs = messages.pair()
        child = os.fork()
        if child == 0:
            ours.close()
            self._child(theirs, stdio)
        theirs.close()
        self._pid = child
        self._group.add(child)
        return child, ours

    def begin(self, to: socket.socket) -> None:
        """Let the program start; returns when it runs.

        Raises:
            LaunchError: with the reason.
        """
        messages.send(to, {"addresses": {name: list(address) for name, address in self.addresses.items()}})
        got = messages.receive(to)
        message: dict[str, Any] = got[0] if got else {"failed": "it ended while it was made"}
        if "running" not in message:
            raise LaunchError(int(message.get("errno", errno.EIO)), str(message.get("failed", message)))

    def listen(self, listener: Listener) -> socket.socket:
        """A listening socket on a free port of 127.0.0.1."""
        if self._spare and self._running and listener.kind == "tcp":
            made = self._spare.pop()
        elif self._walled and self._running and listener.kind == "tcp":
            raise OSError(errno.EADDRNOTAVAIL, f"no port in store for {listener.name}: restart the instance")
        else:
            made = netlink.open_listener("127.0.0.1", 0, listener.kind)
        self.addresses[listener.name] = made.getsockname()[:2]
        return made

    @property
    def _running(self) -> bool:
        return len(self.addresses) >= len(self._spec.listeners)

    def connecting(self, port: int, source: str = "") -> socket.socket:
        """A socket on its way to a port at which a process of this sandbox listens; there are no addresses to choose.

        Raises:
            ConnectionRefusedError: nobody of it listens there, whoever else does.
        """
        if sys.platform == "linux" and not _listens(port, {self._pid, *descendants(self._pid)}):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"nothing of {self._spec.id} listens on port {port}")
        return begin_connect("127.0.0.1", port)

    def datagrams(self, source: tuple[str, int], port: int) -> socket.socket:
        """There are no addresses to choose here."""
        raise OSError(errno.EOPNOTSUPP, f"no router to send datagrams to port {port} as {source[0]}")

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Nothing to filter here: the shim itself refuses inbound, and Landlock has no addresses."""

    def signal(self, to: socket.socket, number: int, told_as: int = 0) -> bool:
        """Signal everything that the sandbox has started, now."""
        del to, told_as
        for pid in descendants(self._pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        return True

    def clean(self) -> None:
        """End what is left of it, and forget its temporary files."""
        for spare in self._spare:
            spare.close()
        for _ in range(_END_TRIES):
            left = descendants(os.getpid())
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not left:
                break
            time.sleep(_END_PAUSE_S)
        with contextlib.suppress(OSError):
            trees.remove(self._tmp)

    # --- the child ---------------------------------------------------------------------------------------------

    def _child(self, shim: socket.socket, stdio: tuple[int, int, int]) -> None:
        try:
            os.setsid()
            spare = [listener.getsockname()[1] for listener in self._spare]
            close_all_but({0, 1, 2, shim.fileno(), *stdio})
            got = messages.receive(shim)
            if got is None:
                os._exit(127)
            addresses = got[0]["addresses"]
            places = {mount.target: str(mount.source) for mount in self._spec.mounts}
            spec = init.placed(self._spec, self._environment(), addresses, places)
            os.chdir(self._inside(self._spec.workdir))
            os.umask(0o022)
            others = tasks_of_user() if self._by_rlimits else 0
            set_rlimits(self._spec.limits, by_rlimits=self._by_rlimits, others=others)
            if sys.platform == "linux":
                linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
            if self._walled:
                self._wall([*spare, *(port for _, port in addresses.values())])
            init.Init(shim, spec).serve(stdio)
        except BaseException as error:  # noqa: BLE001 - the edge of a process: the shim is told, then it ends
            traceback.print_exc()
            with contextlib.suppress(OSError):
                number = error.errno if isinstance(error, OSError) else None
                messages.send(shim, {"failed": f"{type(error).__name__}: {error}", "errno": number or errno.EIO})
        os._exit(127)

    def _environment(self) -> dict[str, str]:
        own = {"HOME": str(self._home), "TMPDIR": str(self._tmp)}
        bundle = str(self._bundle)
        trust = {"SSL_CERT_FILE": bundle, "AWS_CA_BUNDLE": bundle, "REQUESTS_CA_BUNDLE": bundle}
        return init.with_defaults({**trust, **self._spec.env, **own})

    def _inside(self, path: str) -> str:
        """Where a path of a mount is on this host."""
        for mount in self._spec.mounts:
            if path == mount.target or path.startswith(mount.target.rstrip("/") + "/"):
                return str(mount.source) + path[len(mount.target.rstrip("/")) :]
        return path

    def _wall(self, ports: list[int]) -> None:
        mounts = self._spec.mounts
        readable = [*_READABLE, *(str(mount.source) for mount in (*rootfs.interpreter_mounts(), *mounts))]
        readable.append(str(self._bundle))
        writable = [*_DEVICES, str(self._tmp), str(self._home), *(str(m.source) for m in mounts if m.writable)]
        if self._spec.volume:
            writable.append(str(self._spec.volume))
        state = self._spec.folder.parent.parent
        for path in readable:
            if state == Path(path) or Path(path) in state.parents:
                raise LaunchError(errno.EPERM, f"the chamber's state is below {path}, which sandboxes may read")
        landlock.restrict(readable, writable, ports)
        seccomp.install(ptrace=self._spec.ptrace)


def descendants(top: int) -> list[int]:
    """Every process below this one; empty where there is no /proc."""
    parents: dict[int, list[int]] = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, ValueError, IndexError):
                    fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                    if fields[0] != "Z":
                        parents.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    wanted = [top]
    while wanted:
        children = parents.get(wanted.pop(), [])
        found += children
        wanted += children
    return found


def _listens(port: int, pids: set[int]) -> bool:
    """Whether one of these processes has a socket that listens on this TCP port."""
    sockets: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    sockets.add(f"socket:[{fields[9]}]")
    for pid in pids:
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{descriptor}") in sockets:
                        return True
    return False
