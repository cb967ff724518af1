# SPDX-License-Identifier: Apache-2.0
"""The root of a sandbox: the host's programs read-only, its own folders, and nothing else ("the host is the AMI").

Everything here runs in a fresh mount namespace, as the user who may mount in it. Targets are walked folder by folder
without following links: what an instance wrote into its volume must not lead a mount, or a new file, out of it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudchamber.sandbox import linux
from cloudchamber.sandbox.etc import Owner, step_into
from cloudchamber.sandbox.spec import Mount

if TYPE_CHECKING:
    from collections.abc import Generator

KEPT_FOLDERS = ("etc", "home", "root", "var", "opt", "srv")
_PROGRAMS = ("usr", "bin", "sbin", "lib", "lib64", "lib32", "libx32")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {
    "ptmx": "pts/ptmx",
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
}
_READ_ONLY_PROC = ("sys", "sysrq-trigger", "irq", "bus", "fs")
_HIDDEN_PROC = ("kcore", "keys", "kmsg", "timer_list", "sched_debug", "latency_stats")


@dataclass(frozen=True, slots=True)
class Plan:
    """What to mount where. `hidden` are host folders that no bind may show (the chamber's state)."""

    place: Path
    binds: tuple[Mount, ...]
    owner: Owner
    tmp_bytes: int
    hidden: tuple[Path, ...] = ()


def interpreter_mounts() -> tuple[Mount, ...]:
    """This Python, its packages and ours, at their own paths."""
    package = str(Path(__file__).resolve().parent.parent)
    wanted = {sys.prefix, sys.base_prefix, sys.exec_prefix, package}
    wanted.add(str(Path(os.path.realpath(sys.executable)).parent.parent))
    wanted |= {path for path in sys.path if path.endswith(("site-packages", "dist-packages"))}
    chosen: list[str] = []
    for path in sorted(wanted, key=len):
        inside = any(path == other or path.startswith(other + "/") for other in (*chosen, "/usr", "/lib", "/bin"))
        if not inside and path != "/" and os.path.isdir(path):
            chosen.append(path)
    return tuple(Mount(Path(path), path) for path in chosen)


def build(plan: Plan) -> None:
    """Mount everything below `plan.place` and make it the root of this process."""
    linux.mount(None, "/", None, linux.REC | linux.PRIVATE)
    place = str(plan.place)
    uid, gid = plan.owner
    linux.mount("tmpfs", place, "tmpfs", linux.NOSUID | linux.NODEV, f"mode=755,size=16m,uid={uid},gid={gid}")
    root = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _programs(root)
        _scratch(root, plan)
        for bind in plan.binds:
            _bind(root, bind)
        _hide(root, plan)
        _devices(root, plan.owner)
        _processes(root)
        os.fchdir(root)
    finally:
        os.close(root)
    linux.pivot_root_here()


def _inside(root: int, path: str, owner: Owner | None = None) -> int:
    folder = os.dup(root)
    for name in filter(None, path.split("/")):
        if name in {".", ".."}:
            os.close(folder)
            raise ValueError(f"not a path for a mount: {path}")
        folder = step_into(folder, name, owner)
    return folder


def _handle(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"


def _programs(root: int) -> None:
    for name in _PROGRAMS:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), name, dir_fd=root)
        elif os.path.isdir(f"/{name}"):
            _bind(root, Mount(Path("/", name), f"/{name}"))


def _scratch(root: int, plan: Plan) -> None:
    """Folders in memory. Before the binds: what is bound below them must stay visible."""
    uid, gid = plan.owner
    sizes = {"tmp": ("1777", str(plan.tmp_bytes or "50%")), "run": ("755", "64m"), "dev": ("755", "64k")}
    for name, (mode, size) in sizes.items():
        with _opened(root, name) as target:
            options = f"mode={mode},size={size},uid={uid},gid={gid}"
            linux.mount("tmpfs", target, "tmpfs", linux.NOSUID | linux.NODEV, options)
    for name in ("proc", "sys"):
        os.close(_inside(root, name))
    for name in ("lock", "user"):
        os.close(_inside(root, f"run/{name}", plan.owner))


@contextlib.contextmanager
def _opened(root: int, path: str) -> Generator[str]:
    descriptor = _inside(root, path)
    try:
        yield _handle(descriptor)
    finally:
        os.close(descriptor)


def _bind(root: int, bind: Mount) -> None:
    source = os.path.realpath(bind.source)
    if os.path.isdir(source):
        descriptor = _inside(root, bind.target)
    else:
        parent, _, name = bind.target.rpartition("/")
        folder = _inside(root, parent)
        try:
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o644, dir_fd=folder)
        finally:
            os.close(folder)
    try:
        linux.mount(source, _handle(descriptor), None, linux.BIND | linux.REC)
    finally:
        os.close(descriptor)
    with _mounted(root, bind.target) as target:
        linux.harden_tree(target, read_only=not bind.writable)


@contextlib.contextmanager
def _mounted(root: int, path: str) -> Generator[str]:
    """The top of what is mounted at `path`: opened anew, because an old handle shows what lies below the mount."""
    parent, _, name = path.strip("/").rpartition("/")
    folder = _inside(root, parent)
    try:
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        yield _handle(descriptor)
    finally:
        os.close(descriptor)


def _hide(root: int, plan: Plan) -> None:
    for path in plan.hidden:
        for bind in plan.binds:
            if not bind.writable and path.is_relative_to(bind.target) and str(bind.source) == bind.target:
                with _mounted(root, str(path)) as target:
                    linux.mount("tmpfs", target, "tmpfs", linux.RDONLY | linux.NOSUID | linux.NODEV, "mode=000,size=4k")


def _devices(root: int, owner: Owner) -> None:
    uid, gid = owner
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            with _opened(root, "dev") as folder:
                os.close(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
                linux.mount(f"/dev/{name}", f"{folder}/{name}", None, linux.BIND)
    with _opened(root, "dev/shm") as target:
        options = f"mode=1777,size=64m,uid={uid},gid={gid}"
        linux.mount("tmpfs", target, "tmpfs", linux.NOSUID | linux.NODEV, options)
    with _opened(root, "dev/pts") as target:
        linux.mount("devpts", target, "devpts", linux.NOSUID | linux.NOEXEC, "newinstance,ptmxmode=0666,mode=620")
    with _opened(root, "dev") as folder:
        for name, to in _DEVICE_LINKS.items():
            os.symlink(to, f"{folder}/{name}")


def _processes(root: int) -> None:
    with _opened(root, "proc") as target:
        linux.mount("proc", target, "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC)


def close_proc() -> None:
    """Make the kernel's switches read-only and hide what tells about the host; run inside, before the hardening."""
    with contextlib.suppress(OSError):
        # No namespaces below this one: an instance has no use for them, and its root could not undo this.
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    flags = linux.RDONLY | linux.NOSUID | linux.NODEV | linux.NOEXEC
    for name in _READ_ONLY_PROC:
        path = f"/proc/{name}"
        if os.path.exists(path):
            linux.mount(path, path, None, linux.BIND | linux.REC)
            linux.mount(None, path, None, linux.BIND | linux.REMOUNT | flags)
    for name in _HIDDEN_PROC:
        if os.path.exists(f"/proc/{name}"):
            linux.mount("/dev/null", f"/proc/{name}", None, linux.BIND)
