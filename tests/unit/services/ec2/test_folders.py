# SPDX-License-Identifier: Apache-2.0
"""Copies of a volume's folder: whole or not at all, and nothing of them leads out of it."""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from cloudchamber.services.ec2 import folders

if TYPE_CHECKING:
    from pathlib import Path


def copy(source: Path, target: Path) -> int:
    return folders.Copy(lambda _: None).make(source, target)


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    made = tmp_path / "vol"
    (made / "etc").mkdir(parents=True)
    (made / "etc" / "hosts").write_text("127.0.0.1 localhost\n")
    return made


def test_everything_is_as_it_was(volume: Path, tmp_path: Path):
    (tmp_path / "secret").write_text("not of this volume")
    (volume / "out").symlink_to(tmp_path / "secret")
    (volume / "up").symlink_to("../../..")
    (volume / "etc" / "locked").write_text("kept")
    (volume / "etc" / "locked").chmod(0o000)
    (volume / "closed").mkdir()
    (volume / "closed" / "in").write_text("x")
    (volume / "closed").chmod(0o000)
    os.mkfifo(volume / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(volume / "sock"))
    os.link(volume / "etc" / "hosts", volume / "hosts")
    os.utime(volume / "etc" / "hosts", ns=(10**9, 2 * 10**9))
    copy(volume, tmp_path / "copy")
    made = tmp_path / "copy"
    assert os.readlink(made / "out") == str(tmp_path / "secret")
    assert os.readlink(made / "up") == "../../.."
    assert stat.S_IMODE((made / "etc" / "locked").stat().st_mode) == 0
    assert stat.S_IMODE((made / "closed").stat().st_mode) == 0
    assert stat.S_IMODE((volume / "closed").stat().st_mode) == 0
    assert stat.S_ISFIFO((made / "pipe").stat().st_mode)
    assert not (made / "sock").exists()
    assert (made / "hosts").stat().st_ino == (made / "etc" / "hosts").stat().st_ino
    assert (made / "hosts").stat().st_ino != (volume / "hosts").stat().st_ino
    assert (made / "etc" / "hosts").stat().st_mtime_ns == 2 * 10**9
    (made / "closed").chmod(0o700)
    assert (made / "closed" / "in").read_text() == "x"
    (volume / "closed").chmod(0o700)


def test_holes_stay_holes(volume: Path, tmp_path: Path):
    with (volume / "disk").open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"in the middle")
    octets = copy(volume, tmp_path / "copy")
    made = tmp_path / "copy" / "disk"
    assert made.stat().st_size == 1 << 40
    assert made.stat().st_blocks * 512 < 1 << 20
    assert octets < 1 << 20 or made.stat().st_blocks == (volume / "disk").stat().st_blocks  # shared with the original
    with made.open("rb") as file:
        file.seek(1 << 39)
        assert file.read(13) == b"in the middle"


def test_copy_that_is_broken_off_leaves_nothing(volume: Path, tmp_path: Path):
    def told(octets: int) -> None:
        raise OSError("enough")

    with pytest.raises(OSError, match="enough"):
        folders.Copy(told).make(volume, tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vol"]


def test_what_an_earlier_crash_left_is_not_taken_for_a_copy(volume: Path, tmp_path: Path):
    (tmp_path / "copy.part" / "etc").mkdir(parents=True)
    (tmp_path / "copy.part" / "etc" / "old").write_text("half")
    copy(volume, tmp_path / "copy")
    assert not (tmp_path / "copy" / "etc" / "old").exists()


def test_folders_too_deep_for_a_copy_are_an_error_and_can_be_removed(volume: Path, tmp_path: Path):
    here = os.open(volume, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(OSError, match="deep"):
        copy(volume, tmp_path / "copy")
    folders.remove(volume)
    assert list(tmp_path.iterdir()) == []


def test_removing_follows_no_links(tmp_path: Path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "kept").write_text("x")
    (tmp_path / "vol").mkdir()
    (tmp_path / "vol" / "link").symlink_to(tmp_path / "other")
    folders.remove(tmp_path / "vol")
    (tmp_path / "link").symlink_to(tmp_path / "other")
    folders.remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]
    assert (tmp_path / "other" / "kept").read_text() == "x"
    assert not folders.is_folder(tmp_path / "link")
