# SPDX-License-Identifier: Apache-2.0
"""The walls of modes `ns-root` and `ns-user`: user, PID, mount, network, IPC and UTS namespaces.

The shim lives in the router (a network namespace of its own) when the sandbox has an eth0, and for an ordinary user in
an outer user namespace that owns it; the sandbox is in an inner one, where its root has power over nothing else.
Sockets are made in the namespace where they belong and handed out: a socket stays in the namespace of its birth.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudchamber.sandbox import etc, init, linux, messages, netlink, nft, rootfs, seccomp, uids, volume
from cloudchamber.sandbox.spec import Limits, Listener, Mount

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchamber.sandbox.cgroups import Group
    from cloudchamber.sandbox.spec import Mode, Rule, SandboxSpec

_INNER = linux.NEWUSER | linux.NEWNET | linux.NEWIPC | linux.NEWUTS | linux.NEWNS | linux.NEWCGROUP
_MEMORY_SLACK_BYTES = 64 << 20
_COUNTS_BY_NAMESPACE = (5, 14)


class LaunchError(OSError):
    """The sandbox could not be made; says at which step."""


class Namespaces:
    """Makes one sandbox and the sockets into it."""

    def __init__(self, spec: SandboxSpec, mode: Mode, group: Group, *, by_rlimits: bool, shared: Path) -> None:
        self._spec = spec
        self._root = mode == "ns-root"
        self._group = group
        self._by_rlimits = by_rlimits
        self._shared = shared
        self._first = 0
        self._held = -1
        self._here = -1
        self._inside = -1
        self._others = 0
        self._place = spec.folder / "root"
        self._mounts = -1
        self._orders: socket.socket | None = None
        self.addresses: dict[str, tuple[str, int]] = {}

    def wait_for(self, orders: socket.socket) -> None:
        """Start the program only up to where it must know what it is to be: it hears that from this socket."""
        self._orders = orders

    def become(self, spec: SandboxSpec) -> None:
        """Put the files of a program that was waited for where it sees them, and give its /tmp the right size.

        Nothing of a user's has run in there yet, so that no path can lead elsewhere.
        """
        flags = linux.REMOUNT | linux.NOSUID | linux.NODEV
        trees: list[int] = []
        try:
            for mount in spec.mounts:
                trees.append(linux.detached_tree(os.path.realpath(mount.source), read_only=not mount.writable))
            with linux.inside_mounts(self._mounts):
                for mount, tree in zip(spec.mounts, trees, strict=True):
                    os.makedirs(mount.target, exist_ok=True)
                    linux.attach_tree(tree, mount.target)
                linux.mount(None, "/tmp", None, flags, f"size={spec.limits.tmp_bytes or '50%'}")
        finally:
            for tree in trees:
                os.close(tree)

    def prepare(self) -> None:
        """Ids, volume, /etc; then leave the host's network if there is a router."""
        spec = self._spec
        if self._root:
            earlier = spec.volume.stat().st_uid if spec.volume and spec.volume.exists() else None
            self._first, self._held = uids.take(spec.folder, earlier)
        self._place.mkdir(mode=0o700, exist_ok=True)
        if self._by_rlimits and linux.release() < _COUNTS_BY_NAMESPACE:
            self._others = tasks_of_user()
        self._binds = (*self._own_folders(), *rootfs.interpreter_mounts(), *spec.mounts)
        outer = 0 if self._root else linux.NEWUSER
        uid, gid = os.geteuid(), os.getegid()
        # Why: an ordinary user can come back only into a network namespace that belongs to its outer user namespace.
        if outer or spec.private_ip:
            linux.unshare(outer | linux.NEWNET)
        if outer:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        self._here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if spec.private_ip:
            netlink.loopback_up()

    def _own_folders(self) -> tuple[Mount, ...]:
        spec = self._spec
        files = etc.generated(spec, many_uids=self._root, path=etc.path_variable(sys.prefix))
        if spec.volume is None:
            ready = etc.shared_folder(self._shared, files, None)
            return (Mount(ready, "/etc"),)
        owner = (self._first, self._first) if self._root else None
        volume.make_ready(spec.volume, rootfs.KEPT_FOLDERS, owner)
        etc.fill(spec.volume / "etc", files, owner, once=etc.MADE_ONCE)
        if owner and spec.volume.stat().st_uid != self._first:
            etc.change_owner(
                spec.volume, lambda uid, gid: (uids.shifted(uid, self._first), uids.shifted(gid, self._first))
            )
        kept = [Mount(spec.volume / name, f"/{name}", writable=True) for name in rootfs.KEPT_FOLDERS]
        return (*kept, *self._disks())

    def _disks(self) -> tuple[Mount, ...]:
        """Further volumes, each the sandbox's own; the folder that they stand in stays the host's, where ids differ."""
        if self._spec.disks is None:
            return ()
        self._spec.disks.mkdir(mode=0o755, parents=True, exist_ok=True)
        for disk in self._spec.disks.iterdir():
            # Why not through links: an instance without user ids of its own may have put one there.
            if self._root and not disk.is_symlink() and disk.is_dir() and disk.stat().st_uid != self._first:
                etc.change_owner(
                    disk, lambda uid, gid: (uids.shifted(uid, self._first), uids.shifted(gid, self._first))
                )
        return (Mount(self._spec.disks, "/mnt", writable=True),)

    def start(self, stdio: tuple[int, int, int]) -> tuple[int, socket.socket]:
        """PID 1, made and walled in but not started, and the socket to it: `begin` lets it run."""
        ours, theirs = messages.pair()
        linux.unshare(linux.NEWPID)
        child = os.fork()
        if child == 0:
            ours.close()
            self._child(theirs, stdio)
        theirs.close()
        self._pid = child
        try:
            self._group.add(child)  # the kernel takes some 15 ms for it: meanwhile the child builds its root
            messages.send(ours, {"go": True})
            self._expect(ours, "unshared")
            self._map_ids(child)
            self._inside = os.open(f"/proc/{child}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            if self._orders is not None:
                self._orders.close()
                self._mounts = os.open(f"/proc/{child}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            self._wire(child)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        return child, ours

    def begin(self, to: socket.socket) -> None:
        """Let the program start; returns when it runs.

        Raises:
            LaunchError: with the reason.
        """
        addresses = {name: list(address) for name, address in self.addresses.items()}
        messages.send(to, {"go": True, "addresses": addresses})
        self._expect(to, "running")

    @staticmethod
    def _expect(source: socket.socket, wanted: str) -> None:
        got = messages.receive(source)
        message: dict[str, Any] = got[0] if got else {"failed": "PID 1 ended while it was made"}
        if wanted not in message:
            raise LaunchError(int(message.get("errno", 0)) or 5, str(message.get("failed", f"PID 1 said {message}")))

    def _map_ids(self, child: int) -> None:
        if not self._root:
            Path(f"/proc/{child}/setgroups").write_text("deny")
        text = f"0 {self._first} {uids.COUNT}" if self._root else "0 0 1"
        Path(f"/proc/{child}/uid_map").write_text(text)
        Path(f"/proc/{child}/gid_map").write_text(text)

    def _wire(self, child: int) -> None:
        """Cable between router and sandbox, addresses, routes, the filter."""
        spec = self._spec
        subnet = ipaddress.ip_network(spec.subnet, strict=False)
        gateway = str(subnet.network_address + 1)
        if spec.private_ip:
            netlink.send(netlink.veth_pair("vpc0", "eth0", child))
            netlink.interface_up("vpc0", gateway, subnet.prefixlen)
            if nft.program():
                nft.load(spec.rules, spec.outbound_port, spec.datagram_port)
            if spec.datagram_port:
                with contextlib.suppress(OSError):  # then datagrams are dropped, as `SandboxSpec.datagram_port` says
                    netlink.keep_marked(nft.MARK)
        with linux.inside_network(self._inside, self._here):
            netlink.loopback_up()
            if spec.private_ip and spec.outbound_port:
                netlink.interface_behind("eth0", spec.private_ip, subnet.prefixlen, gateway)
            elif spec.private_ip:
                netlink.interface_up("eth0", spec.private_ip, subnet.prefixlen)
                # Why: only what the router has. Nothing leads further, so elsewhere is "network unreachable" at once.
                netlink.send(netlink.route("169.254.0.0", 16, gateway))

    def listen(self, listener: Listener) -> socket.socket:
        """A socket that listens inside, or in the router."""
        if listener.side == "router":
            if not self._spec.private_ip:
                raise OSError(f"{listener.name}: a sandbox without private_ip has no router")
            if listener.address != "0.0.0.0":
                netlink.loopback_address(listener.address)
            made = netlink.open_listener(listener.address, listener.port, listener.kind)
        else:
            with linux.inside_network(self._inside, self._here):
                netlink.loopback_address(listener.address)
                made = netlink.open_listener(listener.address, listener.port, listener.kind)
        self.addresses[listener.name] = made.getsockname()[:2]
        return made

    def connecting(self, port: int, source: str = "") -> socket.socket:
        """A socket on its way to a port inside: from the router if there is one, else over the loopback.

        `source` is the address that the program sees as its peer's, if there is a router.
        """
        if self._spec.private_ip:
            if source:
                netlink.loopback_address(source)  # what is sent back to it stays in the router
            return begin_connect(self._spec.private_ip, port, source)
        with linux.inside_network(self._inside, self._here):
            return begin_connect("127.0.0.1", port)

    def datagrams(self, source: tuple[str, int], port: int) -> socket.socket:
        """A UDP socket connected to a port inside, which the program sees as `source`."""
        if not self._spec.private_ip:
            raise OSError("a sandbox without private_ip has no router")
        return netlink.datagrams_as(source, (self._spec.private_ip, port))

    def set_rules(self, rules: Sequence[Rule]) -> None:
        """Filter in the router. Without `nft` nothing leaves the router anyway, and the shim itself refuses inbound."""
        if self._spec.private_ip and nft.program():
            nft.load(rules, self._spec.outbound_port, self._spec.datagram_port)

    def signal(self, to: socket.socket, number: int, told_as: int = 0) -> bool:
        """Signal all: PID 1 passes it on to everybody in its namespace, and tells that it did under `told_as`."""
        messages.send(to, {"signal": number} | ({"id": told_as} if told_as else {}))
        return False

    def clean(self) -> None:
        """Remove what is left on the host once PID 1 is dead."""
        with contextlib.suppress(OSError):
            self._place.rmdir()
        if self._held >= 0:
            os.close(self._held)

    # --- the child ---------------------------------------------------------------------------------------------

    def _child(self, shim: socket.socket, stdio: tuple[int, int, int]) -> None:
        try:
            os.setsid()
            orders = {self._orders.fileno()} if self._orders is not None else set[int]()
            close_all_but({0, 1, 2, shim.fileno(), *stdio, *orders})
            linux.unshare(linux.NEWNS)
            owner = (self._first, self._first)
            hidden = (self._shared.parent,)
            rootfs.build(rootfs.Plan(self._place, self._binds, owner, self._spec.limits.tmp_bytes, hidden))
            self._wait_for(shim)
            linux.unshare(_INNER)
            messages.send(shim, {"unshared": True})
            told = self._wait_for(shim)
            self._harden()
            places = {mount.target: mount.target for mount in self._spec.mounts}
            spec = init.placed(self._spec, init.with_defaults(self._spec.env), told["addresses"], places)
            init.Init(shim, spec, self._orders).serve(stdio)
        except BaseException as error:  # noqa: BLE001 - the edge of a process: the shim is told, then it ends
            traceback.print_exc()
            with contextlib.suppress(OSError):
                number = error.errno if isinstance(error, OSError) else None
                messages.send(shim, {"failed": f"{type(error).__name__}: {error}", "errno": number or 5})
                while messages.receive(shim):  # until it has read this: to close first would lose it
                    pass
        os._exit(127)

    @staticmethod
    def _wait_for(shim: socket.socket) -> dict[str, Any]:
        got = messages.receive(shim)
        if got is None or "go" not in got[0]:
            os._exit(127)
        return got[0]

    def _harden(self) -> None:
        if self._root:
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        socket.sethostname(self._spec.hostname[:63])
        rootfs.close_proc()
        os.umask(0o022)
        os.chdir(self._spec.workdir)
        set_rlimits(self._spec.limits, by_rlimits=self._by_rlimits, others=self._others)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.prctl(linux.PR_SET_DUMPABLE, 0)  # nobody inside looks into PID 1; an exec makes the program visible again
        linux.drop_capabilities()
        seccomp.install(ptrace=self._spec.ptrace)


def close_all_but(kept: set[int]) -> None:
    """Close every other descriptor: what forks and never execs keeps whatever its parents had open."""
    first = 0
    for descriptor in sorted(kept):
        if descriptor > first:  # Python's closerange(0, 0) closes everything
            os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, 65536)


def begin_connect(address: str, port: int, source: str = "") -> socket.socket:
    """A socket that is on its way; who gets it waits until it may write."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    try:
        if source:
            made.bind((source, 0))
        made.connect((address, port))
    except BlockingIOError:
        pass
    except OSError:
        made.close()
        raise
    return made


def tasks_of_user() -> int:
    """How many processes and threads this user has now: RLIMIT_NPROC counts them all."""
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                count += len(os.listdir(folder / "task"))
    return count


def set_rlimits(limits: Limits, *, by_rlimits: bool, others: int) -> None:
    """Open files and core dumps; memory and processes too where no control group does it.

    `others` are the user's tasks outside, where the kernel counts these too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = limits.open_files if hard == resource.RLIM_INFINITY else min(limits.open_files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if by_rlimits:
        if limits.memory_bytes:
            size = limits.memory_bytes + _MEMORY_SLACK_BYTES
            resource.setrlimit(resource.RLIMIT_DATA, (size, size))
        if limits.pids:
            _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            tasks = limits.pids + others
            tasks = tasks if hard == resource.RLIM_INFINITY else min(tasks, hard)
            resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
