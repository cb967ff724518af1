# SPDX-License-Identifier: Apache-2.0
"""Small secret files."""

from __future__ import annotations

import pytest

from cloudchamber.base.errors import ChamberError
from cloudchamber.store import private


def test_made_once_and_for_the_owner_only(tmp_path):
    path = tmp_path / "key"
    assert private.kept(path, lambda: b"first") == b"first"
    assert private.kept(path, lambda: b"second") == b"first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_what_a_crash_left_half_written_is_not_taken(tmp_path):
    path = tmp_path / "key"
    (tmp_path / "key.new").write_bytes(b"ha")
    (tmp_path / "key.new").chmod(0o644)
    assert private.kept(path, lambda: b"whole") == b"whole"
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_link_is_followed(tmp_path):
    (tmp_path / "key.new").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        private.write(tmp_path / "key", b"secret")


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "key").mkdir()
    with pytest.raises(ChamberError, match="cannot read"):
        private.kept(tmp_path / "key", lambda: b"")
