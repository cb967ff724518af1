# SPDX-License-Identifier: Apache-2.0
"""The recorder: what was recorded is found; nothing it meets breaks those who record."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from cloudchamber.track import recorder as limits
from cloudchamber.track.recorder import Recorder
from cloudchamber.track.track import Segment


def segment(track: str, id: str, started: float, **more: object) -> Segment:
    made = Segment(track, id, "", "s3", "PutObject", started, started + 1, request_id=f"r-{id}")
    for name, value in more.items():
        setattr(made, name, value)
    return made


class Refusing:
    """A database on a full disk."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.full = True

    def execute(self, sql: str, *values: object) -> object:
        if self.full and sql.startswith("INSERT"):
            raise sqlite3.OperationalError("database or disk is full")
        return self.real.execute(sql, *values)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


class Slow:
    """A database on a disk that takes its time."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self.real = real
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.thread = 0

    def execute(self, sql: str, *values: object) -> object:
        if sql.startswith("INSERT") and not self.begun.is_set():
            self.thread = threading.get_ident()
            self.begun.set()
            self.go_on.wait(30)
        return self.real.execute(sql, *values)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)


async def test_what_was_recorded_is_found(tmp_path: Path) -> None:
    kept = Recorder(tmp_path / "tracks.db")
    for i in range(10):
        kept.record(segment(f"t{i % 3}", f"s{i}", float(i), notes={"n": i}))
    assert [s.id for s in kept.track("t0")] == ["s0", "s3", "s6", "s9"]
    assert [t[0].track_id for t in kept.recent(2)] == ["t0", "t2"]
    assert len(kept.recent(9)) == 3
    assert [t[0].track_id for t in kept.recent(9, before=2.0)] == ["t1", "t0"]
    found = kept.by_request("r-s4")
    assert found is not None
    assert found.notes == {"n": 4}
    assert kept.by_request("s4") == found
    assert kept.by_request("nothing") is None
    kept.close()
    again = Recorder(tmp_path / "tracks.db")
    assert len(again.track("t0")) == 4
    again.close()


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    Recorder(tmp_path / "tracks.db").close()
    found = [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()]
    assert found and not any(found)


async def test_a_full_disk_costs_segments_and_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limits, "PENDING_MAX", 100)
    kept = Recorder(tmp_path / "tracks.db")
    full = Refusing(kept._db)
    kept._db = full  # type: ignore[assignment]
    for i in range(250):
        kept.record(segment("t", f"s{i}", float(i)))
    assert kept.track("t") == []
    assert kept.recent() == []
    assert len(kept._pending) == 100
    assert caplog.text.count("cannot be written") == 1
    full.full = False
    assert len(kept.track("t")) == 100
    assert "150 segments are missing" in caplog.text
    kept.close()


async def test_what_is_written_behind_is_written_on_another_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_FLUSH_AFTER_S", 0.0)
    kept = Recorder(tmp_path / "tracks.db")
    slow = Slow(kept._db)
    kept._db = slow  # type: ignore[assignment]
    kept.record(segment("t", "s1", 1.0))
    await asyncio.to_thread(slow.begun.wait, 30)  # the disk is busy, and the loop is not
    kept.record(segment("t", "s2", 2.0))
    assert slow.thread != threading.get_ident()
    slow.go_on.set()
    assert [s.id for s in kept.track("t")] == ["s1", "s2"]
    kept.close()


async def test_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "tracks.db").write_bytes(b"not a database" * 1000)
    kept = Recorder(tmp_path / "tracks.db")
    kept.record(segment("t", "s", 1.0))
    assert len(kept.track("t")) == 1
    kept.close()
    assert (tmp_path / "tracks.db.broken").exists()


async def test_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "KEPT_MAX", 100)
    kept = Recorder(tmp_path / "tracks.db")
    for i in range(1000):
        kept.record(segment(f"t{i}", f"s{i}", float(i)))
        if i % 10 == 0:
            kept.flush()
    kept.flush()
    assert sum(len(track) for track in kept.recent(1000)) == (
        count := kept._db.execute("SELECT count(*) FROM segments").fetchone()[0]
    )
    assert 100 <= count <= 120
    assert kept.recent(1)[0][0].id == "s999"
    kept.close()


async def test_recent_reads_only_as_far_back_as_it_must(tmp_path: Path) -> None:
    kept = Recorder(tmp_path / "tracks.db")
    plan = kept._db.execute(
        "EXPLAIN QUERY PLAN SELECT track_id FROM segments WHERE started < 1e99 ORDER BY started DESC"
    ).fetchall()
    assert "COVERING INDEX by_time" in plan[0][3]
    assert "TEMP B-TREE" not in str([row[3] for row in plan])
    kept.close()


async def test_names_that_are_no_text_are_kept_without_their_notes(tmp_path: Path) -> None:
    kept = Recorder(tmp_path / "tracks.db")
    kept.record(segment("t", "s", 1.0, resource="arn:aws:s3:::b/\udcff", notes={"k": "\udcff"}))
    (found,) = kept.track("t")
    assert found.resource == "arn:aws:s3:::b/?"
    kept.close()


async def test_followers_hear_of_each_and_a_slow_one_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOLLOWER_MAX", 5)
    kept = Recorder(tmp_path / "tracks.db")
    following = kept.follow()
    first = asyncio.ensure_future(anext(following))
    await asyncio.sleep(0)
    for i in range(20):
        kept.record(segment("t", f"s{i}", float(i)))
    assert (await first).id == "s0"
    assert [(await anext(following)).id for _ in range(4)] == ["s1", "s2", "s3", "s4"]
    await following.aclose()  # type: ignore[attr-defined]
    assert not kept._followers
    kept.close()


async def test_segments_are_found_before_they_lie_in_an_index(tmp_path: Path) -> None:
    kept = Recorder(tmp_path / "tracks.db")
    for i in range(1500):
        kept.record(segment(f'"t{i}"', f"s{i}", 1.1 * i))
    assert [s.id for s in kept.track('"t700"')] == ["s700"]
    (indexed,) = kept._db.execute("SELECT count(*) FROM segments").fetchone()
    assert indexed == 500  # of one row, and no more
    assert kept.by_request("s3").id == "s3"  # type: ignore[union-attr]
    assert [track[0].id for track in kept.walk_back()] == [f"s{i}" for i in reversed(range(1500))]
    assert kept._db.execute("SELECT count(*) FROM fresh").fetchone() == (0,)
    kept.record(segment("t", "last", 1e9))
    kept.close()
    again = Recorder(tmp_path / "tracks.db")
    assert len(again.recent(2000)) == 1501
    again.close()


async def test_what_was_written_is_unfolded_when_there_is_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_FLUSH_AFTER_S", 0.0)
    kept = Recorder(tmp_path / "tracks.db")
    for i in range(1200):
        kept.record(segment(f"t{i}", f"s{i}", float(i)))
    all_done, turn = asyncio.Event(), kept._written_behind

    def turned() -> None:
        turn()
        if not kept._behind:
            all_done.set()

    kept._written_behind = turned  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        await all_done.wait()
    assert kept._reader.execute("SELECT count(*) FROM segments").fetchone() == (1200,)
    kept.close()
