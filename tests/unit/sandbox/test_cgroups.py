# SPDX-License-Identifier: Apache-2.0
"""What is written into control groups of both versions, in folders that stand for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cloudchamber.sandbox import cgroups
from cloudchamber.sandbox.cgroups import Group, Hierarchy
from cloudchamber.sandbox.spec import Limits

LIMITS = Limits(memory_bytes=1 << 27, vcpus=1.5, pids=64)


def folder_with(parent, *names):
    made = parent / "cc-x"
    made.mkdir(parents=True)
    for name in names:
        (made / name).write_text("")
    return made


def test_version_two_has_one_folder_for_all(tmp_path):
    made = folder_with(
        tmp_path, "memory.max", "memory.swap.max", "pids.max", "cpu.max", "cgroup.freeze", "cgroup.procs"
    )
    (made / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n")
    group = Group(Hierarchy("cgroup2", dict.fromkeys(("memory", "pids", "cpu", "freeze"), str(tmp_path))), "x")
    group.make(LIMITS)
    assert (made / "memory.max").read_text() == "134217728"
    assert (made / "memory.swap.max").read_text() == "0"
    assert (made / "pids.max").read_text() == "64"
    assert (made / "cpu.max").read_text() == "150000 100000"
    group.add(4321)
    assert (made / "cgroup.procs").read_text() == "4321"
    assert group.processes() == [4321]
    assert group.out_of_memory() == 2
    assert group.freeze(True)
    assert (made / "cgroup.freeze").read_text() == "1"


def test_version_one_has_a_folder_for_each(tmp_path):
    memory = folder_with(tmp_path / "memory", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 1\n")
    pids = folder_with(tmp_path / "pids", "pids.max")
    cpu = folder_with(tmp_path / "cpu", "cpu.cfs_period_us", "cpu.cfs_quota_us")
    freezer = folder_with(tmp_path / "freezer", "freezer.state")
    parents = {"memory": "memory", "pids": "pids", "cpu": "cpu", "freeze": "freezer"}
    group = Group(Hierarchy("cgroup1", {name: str(tmp_path / folder) for name, folder in parents.items()}), "x")
    group.make(LIMITS)
    assert (memory / "memory.limit_in_bytes").read_text() == "134217728"
    assert (pids / "pids.max").read_text() == "64"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "150000"
    assert group.out_of_memory() == 1
    assert group.freeze(True)
    assert (freezer / "freezer.state").read_text() == "FROZEN"


def test_a_limit_that_cannot_be_set_is_an_error(tmp_path):
    folder_with(tmp_path)
    group = Group(Hierarchy("cgroup2", dict.fromkeys(("memory", "pids"), str(tmp_path))), "x")
    with pytest.raises(FileNotFoundError):
        group.make(LIMITS)


def test_without_groups_nothing_happens():
    group = Group(Hierarchy("rlimits"), "x")
    group.make(LIMITS)
    group.add(1)
    assert (group.out_of_memory(), group.freeze(True), group.processes(), group.remove()) == (0, False, [], True)


def delegated(tmp_path, monkeypatch, *, controllers: str):
    """A version 2 tree as systemd delegates it to a user; groups made in it have what is switched on for children."""
    user = tmp_path / "user.slice" / f"user@{os.getuid()}.service"
    own = user / "app.slice" / "chamber.scope"
    own.mkdir(parents=True)
    for folder in (user, user / "app.slice", own):
        (folder / "cgroup.controllers").write_text(controllers)
        (folder / "cgroup.subtree_control").write_text("")
    path = str(own.relative_to(tmp_path))
    monkeypatch.setattr(cgroups, "_mounts", lambda: [(str(tmp_path), "/", "cgroup2", {"rw"})])
    monkeypatch.setattr(cgroups, "_own_paths", lambda: {"": f"/{path}"})

    def takes(folder: str, wanted: str = "") -> bool:
        # A kernel's folder has a controller's files once its parent has it in cgroup.subtree_control.
        if wanted == "cgroup.freeze":
            return True
        switched_on = (Path(folder) / "cgroup.subtree_control").read_text()
        return f"+{wanted.partition('.')[0]}" in switched_on

    monkeypatch.setattr(cgroups, "_takes_groups", takes)
    return user


def test_delegated_controllers_of_version_two_are_switched_on_and_used(tmp_path, monkeypatch):
    user = delegated(tmp_path, monkeypatch, controllers="cpu memory pids\n")
    found = cgroups.find()
    assert found.by == "cgroup2"
    assert found.folders == dict.fromkeys(("memory", "pids", "cpu", "freeze"), str(user))
    assert (user / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_version_two_without_a_controller_for_cpu_still_limits_the_rest(tmp_path, monkeypatch):
    delegated(tmp_path, monkeypatch, controllers="memory pids\n")
    found = cgroups.find()
    assert found.by == "cgroup2"
    assert set(found.folders) == {"memory", "pids", "freeze"}


def test_version_two_without_controllers_leaves_its_freezer(tmp_path, monkeypatch):
    delegated(tmp_path, monkeypatch, controllers="\n")
    found = cgroups.find()
    assert found.by == "rlimits"
    assert set(found.folders) == {"freeze"}
