# SPDX-License-Identifier: Apache-2.0
"""Limits by control groups, where this user may make them: version 2, else version 1, else none.

Sources: cgroups(7), the kernel's admin-guide on cgroup-v1 and cgroup-v2. Whether they work is found by trying.
"""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cloudchamber.base.clock import SystemClock
from cloudchamber.sandbox import linux

if TYPE_CHECKING:
    from cloudchamber.sandbox.spec import Limits

LimitsBy = Literal["cgroup2", "cgroup1", "rlimits"]
_WANTED = ("memory", "pids", "cpu")
_PERIOD_US = 100_000
_YOUNG_S = 60


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """Where groups may be made. `folders` has one parent folder per controller (`freeze` is one of them)."""

    by: LimitsBy
    folders: dict[str, str] = field(default_factory=dict[str, str])


def find() -> Hierarchy:
    """The best hierarchy that really takes a group of ours."""
    two, one = _version_two(), _version_one()
    if {"memory", "pids"} <= two.keys():
        return Hierarchy("cgroup2", two)
    if {"memory", "pids"} <= one.keys():
        return Hierarchy("cgroup1", one | ({"freeze": two["freeze"]} if "freeze" in two else {}))
    freezer = two.get("freeze") or one.get("freeze")
    return Hierarchy("rlimits", {"freeze": freezer} if freezer else {})


def _mounts() -> list[tuple[str, str, str, set[str]]]:
    """(mount point, root of it, kind, super options) of every control group mount."""
    found: list[tuple[str, str, str, set[str]]] = []
    with contextlib.suppress(OSError), open("/proc/self/mountinfo", encoding="utf-8") as table:
        for line in table:
            left, _, right = line.partition(" - ")
            fields, kinds = left.split(), right.split()
            if kinds and kinds[0] in {"cgroup", "cgroup2"}:
                found.append((fields[4], fields[3], kinds[0], set(kinds[2].split(","))))
    return found


def _own_paths() -> dict[str, str]:
    """Controller (empty: version 2) -> path of this process's group."""
    paths: dict[str, str] = {}
    with contextlib.suppress(OSError), open("/proc/self/cgroup", encoding="utf-8") as table:
        for line in table:
            _, controllers, path = line.rstrip("\n").split(":", 2)
            for controller in controllers.split(","):
                paths[controller] = path
    return paths


def _below(point: str, root: str, path: str) -> str:
    if root != "/" and path.startswith(root):
        path = path[len(root) :]
    return (point + path).rstrip("/")


def _takes_groups(folder: str, wanted: str = "") -> bool:
    """Whether a group can be made here, has the wanted file, and takes a process."""
    trial = f"{folder}/cc-trial-{os.getpid()}"
    try:
        os.mkdir(trial)
    except OSError:
        return False
    try:
        return (not wanted or os.path.exists(f"{trial}/{wanted}")) and _takes_process(trial)
    finally:
        os.rmdir(trial)


def _takes_process(folder: str) -> bool:
    held, release = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(release)
        os.read(held, 1)
        os._exit(0)
    os.close(held)
    try:
        Path(folder, "cgroup.procs").write_text(str(child))
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(release)
        os.waitpid(child, 0)


def _version_two() -> dict[str, str]:
    own = _own_paths().get("", "/")
    for point, root, kind, _ in _mounts():
        if kind != "cgroup2":
            continue
        here = _below(point, root, own)
        # Why: with systemd a user may write below user@UID.service only; the group of a process itself takes no
        # controllers for its children while it has processes, so its parent is tried too.
        places = [here, os.path.dirname(here)]
        service = f"user@{os.getuid()}.service"
        if service in here:
            places.insert(0, here[: here.index(service)] + service)
        plain = ""
        for place in places:
            if not place.startswith(point):
                continue
            with contextlib.suppress(OSError):
                available = set(Path(place, "cgroup.controllers").read_text().split())
                wanted = [name for name in _WANTED if name in available]
                if wanted:
                    Path(place, "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
                if _takes_groups(place, "memory.max") and _takes_groups(place, "pids.max"):
                    return dict.fromkeys([*wanted, "freeze"], place)
            if not plain and _takes_groups(place, "cgroup.freeze"):
                plain = place
        return {"freeze": plain} if plain else {}
    return {}


def _version_one() -> dict[str, str]:
    found: dict[str, str] = {}
    own = _own_paths()
    for point, root, kind, options in _mounts():
        if kind != "cgroup":
            continue
        for controller in (*_WANTED, "freezer"):
            if controller in options:
                folder = _below(point, root, own.get(controller, "/"))
                if _takes_groups(folder):
                    found["freeze" if controller == "freezer" else controller] = folder
    return found


class Group:
    """The control groups of one sandbox, one folder per controller (in version 2 they are the same)."""

    def __init__(self, hierarchy: Hierarchy, name: str) -> None:
        self._folders = {controller: f"{parent}/cc-{name}" for controller, parent in hierarchy.folders.items()}
        self._two = hierarchy.by == "cgroup2"

    def make(self, limits: Limits) -> None:
        """Make the groups and write the limits.

        Raises:
            OSError: a limit that was found to work at start cannot be set now.
        """
        for folder in set(self._folders.values()):
            os.makedirs(folder, exist_ok=True)
        if "memory" in self._folders and limits.memory_bytes:
            self._limit_memory(limits.memory_bytes + (limits.tmp_bytes if limits.tmp_apart else 0))
        if "pids" in self._folders and limits.pids:
            self._write("pids", "pids.max", str(limits.pids))
        if "cpu" in self._folders and limits.vcpus:
            self._limit_cpu(int(limits.vcpus * _PERIOD_US))

    def _limit_memory(self, size_bytes: int) -> None:
        if self._two:
            self._write("memory", "memory.max", str(size_bytes))
            with contextlib.suppress(OSError):
                self._write("memory", "memory.swap.max", "0")
        else:
            self._write("memory", "memory.limit_in_bytes", str(size_bytes))
            with contextlib.suppress(OSError):  # only with swap accounting
                self._write("memory", "memory.memsw.limit_in_bytes", str(size_bytes))

    def _limit_cpu(self, quota_us: int) -> None:
        with contextlib.suppress(FileNotFoundError, PermissionError):  # a kernel without bandwidth control
            if self._two:
                self._write("cpu", "cpu.max", f"{quota_us} {_PERIOD_US}")
            else:
                self._write("cpu", "cpu.cfs_period_us", str(_PERIOD_US))
                self._write("cpu", "cpu.cfs_quota_us", str(max(quota_us, 1000)))

    def _write(self, controller: str, name: str, value: str) -> None:
        # Why: not Path.write_text, which would create a plain file on a kernel that has no such setting.
        descriptor = os.open(f"{self._folders[controller]}/{name}", os.O_WRONLY)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def add(self, pid: int) -> None:
        """Move a process in, with all that it will start."""
        for folder in set(self._folders.values()):
            Path(folder, "cgroup.procs").write_text(str(pid))

    def out_of_memory(self) -> int:
        """How many processes the memory limit has killed."""
        if "memory" not in self._folders:
            return 0
        name = "memory.events" if self._two else "memory.oom_control"
        with contextlib.suppress(OSError):
            for line in Path(self._folders["memory"], name).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def uses_more_than(self, size_bytes: int) -> bool:
        """Whether its processes use more memory than this, without files in memory and what can be given back."""
        if "memory" not in self._folders:
            return False
        folder = self._folders["memory"]
        used, prefix = ("memory.current", "") if self._two else ("memory.usage_in_bytes", "total_")
        with contextlib.suppress(OSError, ValueError):
            octets = int(Path(folder, used).read_text())
            if octets <= size_bytes:
                return False
            told = dict(line.split() for line in Path(folder, "memory.stat").read_text().splitlines())
            octets -= sum(int(told.get(prefix + name, 0)) for name in ("shmem", "inactive_file", "active_file"))
            return octets > size_bytes
        return False

    def watch(self) -> int:
        """A descriptor that can be read when memory ran out; -1 where the kernel does not tell.

        Sources: the kernel's admin-guide, cgroup-v1/memory (OOM control), cgroup-v2 (memory.events); inotify(7).
        """
        if "memory" not in self._folders:
            return -1
        folder = self._folders["memory"]
        try:
            if self._two:
                return linux.watch_file(f"{folder}/memory.events")
            heard = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            limit = os.open(f"{folder}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
            try:
                self._write("memory", "cgroup.event_control", f"{heard} {limit}")
            except OSError:
                os.close(heard)
                raise
            finally:
                os.close(limit)
        except OSError:
            return -1
        return heard

    def freeze(self, frozen: bool) -> bool:
        """Stop or go on; False when there is no freezer."""
        if "freeze" not in self._folders:
            return False
        folder = self._folders["freeze"]
        try:
            if os.path.exists(f"{folder}/cgroup.freeze"):
                self._write("freeze", "cgroup.freeze", "1" if frozen else "0")
            else:
                self._write("freeze", "freezer.state", "FROZEN" if frozen else "THAWED")
        except OSError:
            return False
        return True

    def processes(self) -> list[int]:
        """Who is still in one of the groups."""
        found: set[int] = set()
        for folder in set(self._folders.values()):
            with contextlib.suppress(OSError):
                found |= {int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()}
        return sorted(found)

    def kill(self) -> None:
        """Kill whoever is in the groups."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def remove(self) -> bool:
        """Remove the groups; False while one still has a process in it."""
        gone = True
        for folder in set(self._folders.values()):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


def sweep(hierarchy: Hierarchy) -> None:
    """Remove empty groups that a killed shim left behind; young ones may be another chamber's, about to be filled."""
    young = SystemClock().now().timestamp() - _YOUNG_S
    for parent in set(hierarchy.folders.values()):
        for left in Path(parent).glob("cc-*"):
            with contextlib.suppress(OSError):
                if left.stat().st_mtime < young:
                    left.rmdir()
