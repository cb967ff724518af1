# SPDX-License-Identifier: Apache-2.0
"""Deployment packages: untrusted ZIP files, checked, kept, and unpacked for functions to read.

``<state>/lambda/code/<sha256>.zip`` is the package as it came, on disk before anybody hears of it;
``<sha256>/`` beside it is the same unpacked, made whole or not at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import shutil
import stat
import sys
import sysconfig
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.services.lambda_.errors import InvalidParameterValueException

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.services.lambda_.tables import Function

ZIPPED_MAX = 50 * 1024 * 1024
UNZIPPED_MAX = 262_144_000
ENTRIES_MAX = 100_000
_COPY = 256 * 1024
_SINGLY_MAX = 500
"""So many files are forced to the disk one by one; more of them all at once."""
_BROKEN = "Could not unzip uploaded file. Please check your file, then try to upload again."
_HERE = tuple(str(number) for number in sys.version_info[:2])
_COMPILED = re.compile(r"\.(?P<tag>(?:cpython|abi|pypy)[^/]*)\.so$")


@dataclass(frozen=True, slots=True)
class Files:
    """What an environment reads: the function's code, and its layers merged into one folder, if it has any."""

    code: Path
    layers: Path | None = None


class Archives:
    """Packages on disk, by the SHA-256 of their bytes. Every method blocks: call it on a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, data: bytes) -> str:
        """Check a package and keep it durably; its SHA-256 in hexadecimal.

        Raises:
            InvalidParameterValueException: not a ZIP, too big, or with entries that are not plain files.
        """
        check(data)
        sha = hashlib.sha256(data).hexdigest()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        target = self._folder / f"{sha}.zip"
        if not target.exists():
            temporary = self._folder / f".{sha}.{ids.hex_token(4)}"
            _write(temporary, data)
            temporary.rename(target)
            _sync(self._folder)
        os.utime(target)
        return sha

    def unpack(self, sha: str) -> Path:
        """The folder with a kept package's files; unpacked now if it is not yet."""
        target = self._folder / sha
        if target.is_dir():
            return target
        temporary = self._folder / f".{sha}.{ids.hex_token(4)}"
        try:
            with zipfile.ZipFile(self._folder / f"{sha}.zip") as package:
                _extract(package, temporary)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():  # otherwise another function unpacked the same bytes first
                    raise
            _sync(self._folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    def unzipped_size(self, sha: str) -> int:
        """Octets of a kept package's files."""
        with zipfile.ZipFile(self._folder / f"{sha}.zip") as package:
            return sum(entry.file_size for entry in package.infolist())

    def package(self, sha: str) -> Path:
        """A kept package as it came."""
        return self._folder / f"{sha}.zip"

    def path(self, sha: str) -> Path:
        """Where a package's files are, once unpacked."""
        return self._folder / sha

    async def files(self, function: Function) -> Files:
        """What an environment of this function reads; layers are merged now if they are not yet."""
        layers = layers_of(function.configuration)
        if not layers:
            return Files(self._folder / function.code_sha)
        merged = self._folder / merged_name(layers)
        if not merged.is_dir():
            await asyncio.to_thread(self.merge, layers)
        return Files(self._folder / function.code_sha, merged)

    def merge(self, layers: tuple[str, ...]) -> Path:
        """One folder with the files of these layers; of two files with one name the later layer's is taken."""
        target = self._folder / merged_name(layers)
        if target.is_dir():
            return target
        temporary = self._folder / f".{target.name}.{ids.hex_token(4)}"
        try:
            for sha in layers:
                _lay_over(self.unpack(sha), temporary)
            try:
                temporary.rename(target)
            except OSError:
                if not target.is_dir():
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target

    def forget_all_but(self, wanted: Iterable[str], before_s: float) -> None:
        """Remove packages that no function has, and what an ended process left half done.

        What was touched after `before_s` (POSIX time) stays: somebody may be about to publish it.
        """
        keep = {name for sha in wanted for name in (sha, f"{sha}.zip")}
        if not self._folder.is_dir():
            return
        for entry in self._folder.iterdir():
            if entry.name not in keep and entry.stat().st_mtime < before_s:
                if entry.is_dir():
                    shutil.rmtree(entry, ignore_errors=True)
                else:
                    entry.unlink(missing_ok=True)


def layers_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """SHA-256 of the layers of a configuration, in order."""
    return tuple(str(each["Sha"]) for each in document.get("Layers", ()))


def merged_name(layers: tuple[str, ...]) -> str:
    """The folder's name for these layers laid over each other; one alone is its own folder."""
    if len(layers) == 1:
        return layers[0]
    return "opt-" + hashlib.sha256(" ".join(layers).encode()).hexdigest()


def names_of(code_sha: str, document: Mapping[str, Any]) -> set[str]:
    """Everything in the archive that one function version needs."""
    layers = layers_of(document)
    return {code_sha, *layers, *([merged_name(layers)] if layers else [])}


def _lay_over(source: Path, target: Path) -> None:
    """The files of `source` over those of `target`, as links: nothing is copied."""
    for place, folders, names in os.walk(source):
        here = target / os.path.relpath(place, source)
        if here.is_symlink() or here.is_file():
            here.unlink()
        here.mkdir(mode=0o755, parents=True, exist_ok=True)
        for folder in folders:
            if (here / folder).is_file():
                (here / folder).unlink()
        for name in names:
            if (here / name).is_dir():
                shutil.rmtree(here / name)
            (here / name).unlink(missing_ok=True)
            os.link(os.path.join(place, name), here / name)


def check(data: bytes) -> None:
    """Refuse a package that could not be unpacked safely, by what its directory says."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            entries = package.infolist()
            if not entries:
                raise InvalidParameterValueException("Uploaded file must be a non-empty zip")
            if len(entries) > ENTRIES_MAX:
                raise InvalidParameterValueException(f"The package has more than {ENTRIES_MAX} entries")
            for entry in entries:
                _check_entry(entry)
            if sum(entry.file_size for entry in entries) >= UNZIPPED_MAX:
                raise InvalidParameterValueException(f"Unzipped size must be smaller than {UNZIPPED_MAX} bytes")
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError) as error:
        raise InvalidParameterValueException(_BROKEN) from error


def _check_entry(entry: zipfile.ZipInfo) -> None:
    path = PurePosixPath(entry.filename)
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if path.is_absolute() or ".." in path.parts or "\0" in entry.filename or len(entry.filename.encode()) > 1024:
        raise InvalidParameterValueException(f"{_BROKEN} (entry {entry.filename[:200]!r} leaves the package)")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise InvalidParameterValueException(
            f"{_BROKEN} (entry {entry.filename[:200]!r} is neither a file nor a folder; links are not supported)"
        )
    if entry.flag_bits & 1:
        raise InvalidParameterValueException(f"{_BROKEN} (entry {entry.filename[:200]!r} is encrypted)")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InvalidParameterValueException(f"{_BROKEN} (entry {entry.filename[:200]!r}: unknown compression)")


def _extract(package: zipfile.ZipFile, target: Path) -> None:
    """Unpack; sizes in the directory may lie, so octets are counted as they come."""
    target.mkdir(mode=0o755)
    left = UNZIPPED_MAX
    made: list[Path] = []
    try:
        for entry in package.infolist():
            _check_entry(entry)
            place = target.joinpath(*PurePosixPath(entry.filename).parts)
            if entry.is_dir():
                place.mkdir(parents=True, exist_ok=True, mode=0o755)
                continue
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            mode = 0o755 if (entry.external_attr >> 16) & 0o111 else 0o644
            with package.open(entry) as source, place.open("wb") as out:
                while chunk := source.read(_COPY):
                    left -= len(chunk)
                    if left <= 0:
                        raise InvalidParameterValueException(f"Unzipped size must be smaller than {UNZIPPED_MAX} bytes")
                    out.write(chunk)
            place.chmod(mode)
            made.append(place)
        _settle(made)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise InvalidParameterValueException(_BROKEN) from error


def foreign_parts(folder: Path, python: str) -> str:
    """What to say of compiled modules that this Python (``3.12.1``) cannot load; empty if there are none.

    A package built for another machine or Python fails with a bare ImportError; this names the cause.
    """
    machine = os.uname().machine
    version = "cpython-" + "".join(python.split(".")[:2])
    suffix = str(sysconfig.get_config_var("EXT_SUFFIX")).replace(f"cpython-{''.join(_HERE)}", version)
    found: set[str] = set()
    usable: set[str] = set()
    for index, path in enumerate(folder.rglob("*.so")):
        match = _COMPILED.search(path.name)
        if match is None or index > 2000:
            continue
        stem = str(path.relative_to(folder)).removesuffix(path.name[match.start() :])
        tag = match["tag"]
        if f".{tag}.so" == suffix or (tag.startswith("abi") and elf_machine(path) in ("", machine)):
            usable.add(stem)
        else:
            found.add(f"{stem}\0{tag}")
    foreign = sorted({item.split("\0")[1] for item in found if item.split("\0")[0] not in usable})
    if not foreign:
        return ""
    built = ", ".join(foreign[:3])
    return f"the package holds modules compiled for {built}; this chamber runs {version}-{machine}-linux-gnu"


def elf_machine(path: Path) -> str:
    """The machine that an ELF file is for; empty if unknown. Source: ELF specification, e_machine."""
    with path.open("rb") as file:
        head = file.read(20)
    number = int.from_bytes(head[18:20], "little") if head[:4] == b"\x7fELF" else 0
    return {62: "x86_64", 183: "aarch64"}.get(number, "")


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _settle(files: list[Path]) -> None:
    """Return when the files' octets are on the disk."""
    if len(files) > _SINGLY_MAX:
        os.sync()  # Why: one fsync for each of 60,000 files takes minutes; Linux waits here until all is written
        return
    for path in files:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
