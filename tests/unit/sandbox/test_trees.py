# SPDX-License-Identifier: Apache-2.0
"""Folders that somebody in a sandbox wrote: links, depths and what goes meanwhile."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cloudchamber.sandbox import etc, trees
from cloudchamber.services.ec2 import folders


def nested(folder: Path, depth: int) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_every_folder_comes_once_and_links_are_not_followed(tmp_path: Path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "a/file").write_text("x" * 5000)
    (tmp_path / "c/up").symlink_to(tmp_path)
    found = [sorted(name for name, _ in entries) for _, entries in trees.walk(tmp_path)]
    assert sorted(found) == [[], ["a", "c"], ["b", "file"], ["up"]]
    assert folders.size(tmp_path) == sum(p.lstat().st_blocks * 512 for p in (tmp_path / "a/file", tmp_path / "c/up"))
    with pytest.raises(OSError):
        list(trees.walk(tmp_path / "c/up"))


def test_what_goes_meanwhile_is_left_out(tmp_path: Path):
    (tmp_path / "a").mkdir()
    for number, (_, entries) in enumerate(trees.walk(tmp_path)):
        assert number == 0
        assert [stat.S_ISDIR(seen.st_mode) for _, seen in entries] == [True]
        (tmp_path / "a").rmdir()
        (tmp_path / "a").symlink_to("/")


def test_a_depth_that_ends_the_library_is_an_error_of_the_system(tmp_path: Path):
    top = tmp_path / "top"
    top.mkdir()
    nested(top, 1500)
    before = len(os.listdir("/proc/self/fd"))
    for work in (folders.size, lambda path: etc.change_owner(path, lambda uid, gid: (uid, gid))):
        with pytest.raises(OSError, match="deep"):
            work(top)
    assert len(os.listdir("/proc/self/fd")) == before
    trees.remove(top)
    assert list(tmp_path.iterdir()) == []
    trees.remove(top)
