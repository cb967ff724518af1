# SPDX-License-Identifier: Apache-2.0
"""Packages are untrusted."""

from __future__ import annotations

import io
import os
import platform
import stat
import struct
import sysconfig
import zipfile
from pathlib import Path

import pytest

from cloudchamber.services.lambda_.archive import Archives, check, foreign_parts
from cloudchamber.services.lambda_.errors import InvalidParameterValueException


def zipped(*entries: tuple[str, bytes, int]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data, mode in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr = mode << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            made.writestr(entry, data)
    return held.getvalue()


FILE = stat.S_IFREG | 0o644


def test_a_package_is_kept_and_unpacked_readable(tmp_path: Path) -> None:
    archives = Archives(tmp_path / "code")
    data = zipped(("index.py", b"x = 1", 0o600), ("bin/run", b"#!", stat.S_IFREG | 0o700), ("empty/", b"", 0))
    sha = archives.keep(data)
    assert archives.keep(data) == sha
    where = archives.unpack(sha)
    assert archives.unpack(sha) == where
    assert (where / "index.py").read_bytes() == b"x = 1"
    assert stat.S_IMODE((where / "index.py").stat().st_mode) == 0o644
    assert stat.S_IMODE((where / "bin/run").stat().st_mode) == 0o755
    assert (where / "empty").is_dir()
    assert sorted(p.name for p in (tmp_path / "code").iterdir()) == sorted([sha, f"{sha}.zip"])


def test_a_package_of_many_files(tmp_path: Path) -> None:
    archives = Archives(tmp_path / "code")
    where = archives.unpack(archives.keep(zipped(*((f"{number}", b"x", FILE) for number in range(600)))))
    assert len(list(where.iterdir())) == 600


@pytest.mark.parametrize("name", ["../out.py", "a/../../out.py", "/etc/out.py", "a/" * 600 + "x"])
def test_names_that_leave_the_package(name: str) -> None:
    with pytest.raises(InvalidParameterValueException, match="leaves the package"):
        check(zipped((name, b"", FILE)))


def test_links_and_devices_are_refused() -> None:
    for kind in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK):
        with pytest.raises(InvalidParameterValueException, match="neither a file nor a folder"):
            check(zipped(("link", b"/etc/passwd", kind | 0o777)))


@pytest.mark.parametrize("data", [b"", b"PK", b"no zip at all", zipped(("a", b"x" * 100, FILE))[:-30]])
def test_what_is_no_zip(data: bytes) -> None:
    with pytest.raises(InvalidParameterValueException):
        check(data)


def test_an_empty_package() -> None:
    with pytest.raises(InvalidParameterValueException, match="non-empty"):
        check(zipped())


def test_a_bomb_by_its_own_words() -> None:
    data = bytearray(zipped(("a", b"x", FILE)))
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 300_000_000)
    with pytest.raises(InvalidParameterValueException, match="Unzipped size"):
        check(bytes(data))


def test_a_damaged_entry_leaves_nothing(tmp_path: Path) -> None:
    archives = Archives(tmp_path)
    data = bytearray(zipped(("first.py", b"fine", FILE), ("second.py", os.urandom(2000), FILE)))
    data[data.index(b"second.py") + 500] ^= 0xFF
    sha = archives.keep(bytes(data))
    with pytest.raises(InvalidParameterValueException):
        archives.unpack(sha)
    assert [p.name for p in tmp_path.iterdir()] == [f"{sha}.zip"]


def test_old_packages_are_forgotten(tmp_path: Path) -> None:
    archives = Archives(tmp_path)
    kept, gone = archives.keep(zipped(("a", b"1", FILE))), archives.keep(zipped(("a", b"2", FILE)))
    archives.unpack(kept)
    archives.unpack(gone)
    archives.forget_all_but({kept}, before_s=0.0)
    assert archives.path(gone).exists()
    archives.forget_all_but({kept}, before_s=1e12)
    assert sorted(p.name for p in tmp_path.iterdir()) == [kept, f"{kept}.zip"]


def test_modules_for_another_python_are_named(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    own = str(sysconfig.get_config_var("EXT_SUFFIX"))
    (tmp_path / "lib" / f"fast{own}").write_bytes(b"")
    assert foreign_parts(tmp_path, platform.python_version()) == ""
    (tmp_path / "lib" / "other.cpython-37m-x86_64-linux-gnu.so").write_bytes(b"")
    assert "cpython-37m" in foreign_parts(tmp_path, platform.python_version())
    (tmp_path / "lib" / f"other{own}").write_bytes(b"")
    assert foreign_parts(tmp_path, platform.python_version()) == ""
