# SPDX-License-Identifier: Apache-2.0
"""A power cut at any moment, on a disk that kept only what it was made to keep.

``python -m tools lying-disk [--seeds 20] [--points 40] [--starts 3] [--seed 1]`` runs a chamber whose every change of a
file or folder is recorded (``tests/faults/lying_disk.c``, preloaded) while clients work. Then, for many moments, the
disk is made that a power cut could have left: of files what was synced, of folders the names that were synced, and of
all else nothing, or some of it. What had been answered before that moment must be there, and nothing half.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tools.lying_clients import Worker
from tools.lying_state import compare, events_in, found_in, promises

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.conftest import RunningChamber

SOURCE = Path(__file__).parent.parent / "tests" / "faults" / "lying_disk.c"
CREATE, WRITE, TRUNC, RENAME, LINK, UNLINK, MKDIR, RMDIR, SYNC_BEGIN, SYNC_END = range(1, 11)
_HEAD = struct.Struct("=IHHHHIQQQQII")
_MAGIC = 0x4C494E47
TORN = 512
"""Octets that a disk writes whole or not at all."""


def built(folder: Path) -> Path | None:
    """The shim, compiled; None where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    made = folder / "lying_disk.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(made), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return made


def quick() -> str | None:
    """A folder in memory, where there is one: what is made there is never synced."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > 2 * 1024**3 else None


# The disk ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """One call that changed the disk. `time_s` is of the monotonic clock, which the clients use as well."""

    number: int
    op: int
    time_s: float
    path: str
    path2: str
    ino: int
    at: int
    sync: int
    data: bytes


def records(log: Path) -> Iterator[Record]:
    """What the shim wrote down, in order."""
    octets = log.read_bytes()
    place = number = 0
    while place + _HEAD.size <= len(octets):
        magic, op, len1, len2, _, _, time_ns, ino, at, sync, size, _ = _HEAD.unpack_from(octets, place)
        assert magic == _MAGIC, "the log is torn"
        place += _HEAD.size
        path, path2 = octets[place : place + len1].decode(), octets[place + len1 : place + len1 + len2].decode()
        place += len1 + len2
        yield Record(number, op, time_ns / 1e9, path, path2, ino, at, sync, octets[place : place + size])
        place += size
        number += 1


@dataclass(eq=False, slots=True)
class File:
    """A file: what the disk has, and what it was told since."""

    kept: bytearray = field(default_factory=bytearray)
    pending: list[Record] = field(default_factory=list[Record])

    def settle(self, before: int) -> None:
        """A sync that began with record `before` is over."""
        for record in self.pending:
            if record.number < before:
                _apply(self.kept, record)
        self.pending = [record for record in self.pending if record.number >= before]


@dataclass(eq=False, slots=True)
class Folder:
    """A folder: the names that the disk has, and the changes since: (record, name, what it names or None)."""

    kept: dict[str, Any] = field(default_factory=dict[str, Any])
    pending: list[tuple[int, str, Any]] = field(default_factory=list[tuple[int, str, Any]])

    def settle(self, before: int) -> None:
        """A sync that began with record `before` is over."""
        for number, name, node in self.pending:
            if number < before:
                _name(self.kept, name, node)
        self.pending = [change for change in self.pending if change[0] >= before]

    def now(self) -> dict[str, Any]:
        """The names as the chamber sees them."""
        names = dict(self.kept)
        for _, name, node in self.pending:
            _name(names, name, node)
        return names


def _apply(octets: bytearray, record: Record, cut: int | None = None) -> None:
    if record.op == TRUNC:
        if record.at <= len(octets):
            del octets[record.at :]
        else:
            octets.extend(bytes(record.at - len(octets)))
        return
    data = record.data if cut is None else record.data[:cut]
    if len(octets) < record.at:
        octets.extend(bytes(record.at - len(octets)))
    octets[record.at : record.at + len(data)] = data


def _name(names: dict[str, Any], name: str, node: Any) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


class Disk:
    """What a disk holds after the records so far, in all the ways it may."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.top = Folder()
        self._nodes: dict[int, Any] = {root.stat().st_ino: self.top}
        self._begun: dict[int, int] = {}

    def take(self, record: Record) -> None:
        """One more record."""
        match record.op:
            case 1:  # CREATE
                self._nodes[record.ino] = File()
                self._change(record, record.path, self._nodes[record.ino])
            case 7:  # MKDIR
                self._nodes[record.ino] = Folder()
                self._change(record, record.path, self._nodes[record.ino])
            case 2 | 3:  # WRITE, TRUNC
                node = self._nodes.get(record.ino)
                if isinstance(node, File):
                    node.pending.append(record)
            case 4:  # RENAME
                self._change(record, record.path, None)
                self._change(record, record.path2, self._nodes[record.ino])
            case 5:  # LINK
                self._change(record, record.path2, self._nodes[record.ino])
            case 6 | 8:  # UNLINK, RMDIR
                self._change(record, record.path, None)
            case 9:
                self._begun[record.sync] = record.number
            case _:
                node = self._nodes.get(record.ino)
                if node is not None:
                    node.settle(self._begun.pop(record.sync))

    def _change(self, record: Record, path: str, node: Any) -> None:
        *folders, name = Path(path).relative_to(self._root).parts
        at = self.top
        for folder in folders:
            at = at.now()[folder]
        at.pending.append((record.number, name, node))

    def write(self, where: Path, luck: random.Random | None, keep: str) -> None:
        """Make the folder that a power cut leaves. `keep`: ``nothing`` that was not synced, ``some``, or ``all``."""
        made: dict[int, Path] = {}
        self._folder(self.top, where, luck, keep, made)

    def _folder(self, folder: Folder, where: Path, luck: Any, keep: str, made: dict[int, Path]) -> None:
        where.mkdir(mode=0o700)
        names = dict(folder.kept)
        # Why the first so many: a file system writes the changes of one folder in their order.
        count = {"nothing": 0, "all": len(folder.pending)}.get(keep)
        if count is None:
            count = luck.randint(0, len(folder.pending))
        for _, name, node in folder.pending[:count]:
            _name(names, name, node)
        for name, node in names.items():
            if isinstance(node, Folder):
                self._folder(node, where / name, luck, keep, made)
            elif id(node) in made:
                os.link(made[id(node)], where / name)
            else:
                (where / name).write_bytes(_octets(node, luck, keep))
                (where / name).chmod(0o600)
                made[id(node)] = where / name


def _octets(file: File, luck: Any, keep: str) -> bytes:
    octets = bytearray(file.kept)
    chance = {"nothing": 0.0, "all": 1.0}.get(keep)
    if chance is None:
        chance = luck.choice((0.0, 0.3, 0.8, 1.0))
    for record in file.pending:
        if chance == 1.0 or (chance and luck.random() < chance):
            torn = keep == "some" and luck.random() < 0.1 and len(record.data) > TORN
            _apply(octets, record, luck.randrange(len(record.data) // TORN) * TORN if torn else None)
    return bytes(octets)


# Recording -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recording:
    """A run of a chamber on a disk that writes everything down."""

    root: Path
    log: Path
    workers: Sequence[Worker]
    began_s: float


def preloaded(shim: Path, state: Path, **more: str) -> dict[str, str]:
    """Environment of a chamber on the disk of `shim`."""
    return {"LD_PRELOAD": str(shim), "LYING_ROOT": str(state), **more}


def record(chamber: RunningChamber, shim: Path, log: Path, seed: int, steps: int, workers: int = 3) -> Recording:
    """Let clients work on a new chamber, and write down what its disk is told. The chamber is killed afterwards."""
    began_s = time.monotonic()
    chamber.more = preloaded(shim, chamber.state, LYING_LOG=str(log))
    chamber.start()
    clients = [Worker(chamber.client("s3"), number, seed) for number in range(workers)]
    wrong: list[BaseException] = []

    def work(client: Worker) -> None:
        try:
            client.begin()
            client.replicate(chamber.client("iam"))
            for _ in range(steps):
                client.step()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chamber.kill()
    chamber.more = {}
    if wrong:
        raise wrong[0]
    return Recording(chamber.state, log, clients, began_s)


def moments(run: Recording, count: int, luck: random.Random) -> set[int]:
    """Records after which the power is cut: most of them beside a sync, where it matters."""
    all_records = [(r.number, r.op) for r in records(run.log)]
    beside = [number + luck.randrange(2) for number, op in all_records if op in (SYNC_BEGIN, SYNC_END, RENAME)]
    some = luck.sample(beside, min(len(beside), count * 3 // 4))
    return {*some, *luck.sample(range(len(all_records)), count - len(some))}


def cut(run: Recording, count: int, seed: int, check: Callable[[Path, float, str], None]) -> int:
    """Cut the power at `count` moments, thrice each; `check` gets the folder that is left. How many were looked at."""
    luck = random.Random(seed)
    chosen = moments(run, count, luck)
    disk = Disk(run.root)
    looked = 0
    for one in records(run.log):
        if one.number in chosen:
            for keep in ("nothing", "some", "all"):
                with tempfile.TemporaryDirectory(prefix="lying-", dir=quick()) as folder:
                    left = Path(folder) / "state"
                    disk.write(left, luck, keep)
                    try:
                        check(left, one.time_s, keep)
                    except BaseException as error:
                        error.add_note(f"seed {seed}, before record {one.number}, kept of what was not synced: {keep}")
                        raise
                    looked += 1
        disk.take(one)
    return looked


def look(run: Recording) -> Callable[[Path, float, str], None]:
    """The check that reads the folder without a chamber."""

    def check(left: Path, at_s: float, _: str) -> None:
        exists = (left / "chamber.db").exists()
        found = found_in(left) if exists else {}
        events = events_in(left) if exists else set[tuple[str, str]]()
        broken = promises(left) if exists else []
        assert not broken, broken
        for worker in run.workers:
            mine = {p: v for p, v in found.items() if belongs_to(p, worker)}
            compare(mine, events, worker.said, at_s)

    return check


def start_on(run: Recording, left: Path, at_s: float) -> None:
    """Start a chamber on what is left: it starts, everything can be read, and nothing is lost by that."""
    from tests.conftest import RunningChamber

    chamber = RunningChamber(left)
    chamber.start()
    try:
        s3 = chamber.client("s3")
        for bucket in s3.list_buckets()["Buckets"]:
            for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
                for one in page.get("Versions", []):
                    if one["StorageClass"] != "STANDARD":  # archived: only a restored copy could be read
                        continue
                    named = {"Bucket": bucket["Name"], "Key": one["Key"], "VersionId": one["VersionId"]}
                    assert len(s3.get_object(**named)["Body"].read()) == one["Size"]
    finally:
        chamber.kill()
    found = found_in(left)
    for worker in run.workers:
        compare({p: v for p, v in found.items() if belongs_to(p, worker)}, None, worker.said, at_s)


def belongs_to(place: str, worker: Worker) -> bool:
    """Whether a place is a client's own, and one that it knows all about."""
    kind, name, *_ = place.split(" ")
    if kind == "part":
        return place.startswith(worker.unsure or "-") or any(place in one.after for one in worker.said)
    return name.partition("-")[0] in (worker.plain, worker.kept)


def main(arguments: list[str]) -> int:
    """Seeds one after the other; says what was looked at."""
    from tests.conftest import end_chamber, new_chamber

    asked = argparse.ArgumentParser(prog="python -m tools lying-disk", description=__doc__)
    asked.add_argument("--seeds", type=int, default=20)
    asked.add_argument("--seed", type=int, default=1, help="the first one")
    asked.add_argument("--points", type=int, default=60, help="moments for each seed, each with three disks")
    asked.add_argument("--starts", type=int, default=3, help="how many of them get a chamber")
    asked.add_argument("--steps", type=int, default=60, help="what each of the three clients does")
    given = asked.parse_args(arguments)
    for seed in range(given.seed, given.seed + given.seeds):
        with tempfile.TemporaryDirectory(prefix="lying-", dir=quick()) as folder:
            shim = built(Path(folder))
            if shim is None:
                print("there is no C compiler, or this is no Linux")
                return 1
            chamber = new_chamber(quick())
            try:
                run = record(chamber, shim, Path(folder) / "log", seed, given.steps)
                looked = cut(run, given.points, seed, look(run))
                cut(run, given.starts, seed, lambda left, at_s, _, run=run: start_on(run, left, at_s))
            finally:
                end_chamber(chamber)
            print(
                f"seed {seed}: {sum(len(w.said) for w in run.workers)} changes, {looked} disks: all is there",
                flush=True,
            )
    return 0
