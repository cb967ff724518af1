# SPDX-License-Identifier: Apache-2.0
"""After its end nothing of an instance is left on this machine: no process, mount, namespace, control group, folder."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.ec2.conftest import lab_of

if TYPE_CHECKING:
    from collections.abc import Iterator

BUSY = """#!/bin/bash
for i in 1 2 3; do (setsid sleep 1000 &) ; done
(trap '' TERM HUP INT; while :; do sleep 0.1; done) &
mkdir /opt/deep; cd /opt/deep; ln -s / root; mkfifo pipe; echo x > file; chmod 000 file
echo busy
wait
"""


def processes() -> Iterator[Path]:
    return (Path("/proc", name) for name in os.listdir("/proc") if name.isdigit())


def read(path: Path) -> str:
    try:
        return path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def groups(instance: str) -> list[str]:
    """Control groups that are named after it, wherever groups are."""
    found = []
    for mount in {line.split()[1] for line in read(Path("/proc/mounts")).splitlines() if " cgroup" in line}:
        for folder, names, _ in os.walk(mount):
            found += [f"{folder}/{name}" for name in names if instance in name]
    return found


def left(instance: str, state: Path) -> list[str]:
    """Traces of an instance: what its processes say of themselves, and where they live."""
    found = [f"group {one}" for one in groups(instance)]
    if (state / "ec2" / instance).exists():
        found.append("folder")
    for one in processes():
        if instance in read(one / "environ") or instance in read(one / "cmdline") or instance in read(one / "cgroup"):
            found.append(f"process {one.name}: {read(one / 'cmdline')}")
        if re.search(rf"{re.escape(str(state))}/ec2/(vol-[^ ]*|{instance})", read(one / "mountinfo")):
            found.append(f"mount of {one.name}")
    return found


def life(pid: int) -> tuple[int, str]:
    """A process, told apart from a later one with its number by the time of its start."""
    return pid, read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[19]


def processes_of(state: Path, instance: str) -> list[tuple[int, str]]:
    """The shim of an instance and all below it: as long as one of them lives, so do their namespaces."""
    pids = [json.loads((state / "ec2" / instance / "shim.json").read_text())["shim"]]
    for pid in pids:
        pids += [int(one) for one in read(Path(f"/proc/{pid}/task/{pid}/children")).split()]
    return [life(pid) for pid in pids]


def alive(known: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [one for one in known if Path(f"/proc/{one[0]}/stat").exists() and life(one[0]) == one]


def test_after_terminate(own_chamber: Any) -> None:
    lab = lab_of(own_chamber)
    instance = lab.run(BUSY)
    lab.wait(instance)
    lab.until_console(instance, "busy")
    assert left(instance, own_chamber.state), "what is looked for would be found"
    known = processes_of(own_chamber.state, instance)
    assert len(alive(known)) > 6
    lab.ec2.terminate_instances(InstanceIds=[instance])
    lab.wait(instance, "terminated")
    lab.until(lambda: not alive(known), "the end of all its processes")
    assert left(instance, own_chamber.state) == []


def test_after_the_chamber_was_killed_in_the_middle_of_a_boot(own_chamber: Any) -> None:
    """At several moments of it: between the row and the launch, in the launch, and after it."""
    instances = []
    for moment in range(4):
        lab = lab_of(own_chamber)
        if moment == 3:
            lab.wait(instances[0])
        instances.append(lab.run(BUSY))
        for _ in range(moment * 3):
            lab.view(instances[-1])
        own_chamber.kill()
        own_chamber.start()
    lab = lab_of(own_chamber)
    for instance in instances:
        lab.wait(instance)
        lab.until_console(instance, "busy")
        shims = [
            one
            for one in processes()
            if instance in read(one / "cmdline") or f"/{instance}/" in read(one / "mountinfo")
        ]
        assert left(instance, own_chamber.state), shims
    lab.ec2.terminate_instances(InstanceIds=instances)
    for instance in instances:
        lab.wait(instance, "terminated")
    for instance in instances:
        assert left(instance, own_chamber.state) == []
