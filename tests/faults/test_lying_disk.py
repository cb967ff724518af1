# SPDX-License-Identifier: Apache-2.0
"""Power cuts on a disk that kept only what was synced; `python -m tools lying-disk` is the long form."""

from __future__ import annotations

import random

import pytest
from tools.lying_disk import Disk, built, cut, look, quick, record, records, start_on

from tests.conftest import end_chamber, new_chamber


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lying")
    shim = built(folder)
    if shim is None:
        pytest.skip("no C compiler, or no Linux: the lying disk cannot be built")
    chamber = new_chamber(quick())
    try:
        yield record(chamber, shim, folder / "log", seed=11, steps=25)
    finally:
        end_chamber(chamber)


def test_what_was_answered_survives_every_power_cut(run):
    assert cut(run, 25, 11, look(run)) >= 60


def test_a_chamber_starts_on_what_a_power_cut_left(run):
    assert cut(run, 1, 12, lambda left, at_s, _: start_on(run, left, at_s)) == 3


def test_the_disk_forgets_what_was_not_synced(run, tmp_path):
    """Else the tests above would prove nothing."""
    disk = Disk(run.root)
    for one in records(run.log):
        disk.take(one)
    disk.write(tmp_path / "all", random.Random(1), "all")
    disk.write(tmp_path / "nothing", random.Random(1), "nothing")
    for name in ("chamber.db", "chamber.db-wal"):
        assert (tmp_path / "all" / name).read_bytes() == (run.root / name).read_bytes()
    kept, told = ({p for p in (tmp_path / n).rglob("*") if p.is_file()} for n in ("nothing", "all"))
    assert len(kept) < len(told)
