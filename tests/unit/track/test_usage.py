# SPDX-License-Identifier: Apache-2.0
"""What entities asked for, added up: counted once, bounded, and kept when segments go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudchamber.track import fresh, usage
from cloudchamber.track import recorder as limits
from cloudchamber.track.recorder import Recorder
from cloudchamber.track.track import Segment

ROLE = "arn:aws:iam::000000000000:role/app/Web"


def asked(id: str, started: float, resource: str = "arn:aws:s3:::b/k", **more: Any) -> Segment:
    told = {
        "allowed": True, "entity": ROLE, "account": "000000000000", "principal": "session", "action": "s3:GetObject",
        "resource": resource, "keys": {}, "because": [{"kind": "identity"}],
    } | more  # fmt: skip
    return Segment(f"t-{id}", id, "", "s3", "GetObject", started, started + 1, decisions=[told])


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path / "tracks.db")


async def test_the_same_question_is_one_row(recorder: Recorder) -> None:
    for n in range(3):
        recorder.record(asked(f"s{n}", 10.0 + n))
    recorder.flush()
    recorder.record(asked("s9", 5.0))
    (one,) = recorder.usage("000000000000", ROLE)
    assert (one.count, one.first, one.last, one.segment) == (4, 5.0, 12.0, "s2")
    assert one.granted_by == "identity"
    recorder.close()


async def test_what_differs_is_kept_apart(recorder: Recorder) -> None:
    recorder.record(asked("a", 1.0))
    recorder.record(asked("b", 2.0, allowed=False))
    recorder.record(asked("c", 3.0, keys={"s3:prefix": ["x"]}))
    recorder.record(asked("d", 4.0, because=[{"kind": "resource"}]))
    recorder.record(asked("e", 5.0, entity="arn:aws:iam::000000000000:role/Other"))
    rows = recorder.usage("000000000000", ROLE)
    assert sorted((r.segment, r.keys, r.allowed, r.granted_by) for r in rows) == [
        ("a", {}, True, "identity"),
        ("b", {}, False, ""),
        ("c", {"s3:prefix": ["x"]}, True, "identity"),
        ("d", {}, True, "resource"),
    ]
    assert recorder.usage("111111111111", ROLE) == []
    recorder.close()


async def test_last_used_tells_each_action_once(recorder: Recorder) -> None:
    recorder.record(asked("a", 1.0, allowed=False))
    recorder.record(asked("b", 3.0, action="lambda:InvokeFunction", resource="arn:aws:lambda:eu-west-1:0:function:f"))
    recorder.record(asked("c", 7.0, resource="arn:aws:s3:::b/new", allowed=False))
    found = recorder.last_used("000000000000", ROLE)
    assert [(u.action, u.last, u.count, u.allowed, u.region) for u in found] == [
        ("lambda:InvokeFunction", 3.0, 1, True, "eu-west-1"),
        ("s3:GetObject", 7.0, 2, False, ""),
    ]
    assert found[1].resource == "arn:aws:s3:::b/new"
    recorder.close()


async def test_the_last_denial_is_anybodys(recorder: Recorder) -> None:
    assert recorder.last_denied() is None
    recorder.record(asked("a", 1.0, allowed=False))
    recorder.record(asked("b", 2.0, allowed=False, entity="", principal="*"))
    recorder.record(asked("c", 3.0))
    last = recorder.last_denied()
    assert last is not None and last.id == "b"
    recorder.close()


async def test_nobodys_permissions_are_not_kept(recorder: Recorder) -> None:
    recorder.record(asked("a", 1.0, entity="", principal="s3.amazonaws.com"))
    recorder.flush()
    assert recorder._db.execute("SELECT count(*) FROM usage").fetchone() == (0,)
    recorder.close()


async def test_what_was_decided_earlier_counts_once(recorder: Recorder) -> None:
    recorder.record(asked("a", 1.0, action="rds-db:connect"))
    recorder.record(asked("b", 2.0, action="rds-db:connect", earlier=True))
    (one,) = recorder.usage("000000000000", ROLE)
    assert (one.count, one.segment) == (1, "a")
    recorder.close()


async def test_a_busy_action_drives_out_no_rare_one(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "ACTION_ROWS_MAX", 10)
    monkeypatch.setattr(limits, "KEPT_MAX", 50)
    monkeypatch.setattr(fresh, "ROW_MAX", 10)
    recorder.record(asked("rare", 0.0, action="secretsmanager:GetSecretValue", resource="arn:aws:secretsmanager:::s"))
    for n in range(200):
        recorder.record(asked(f"s{n}", 1.0 + n, resource=f"arn:aws:s3:::b/{n:03}"))
    rows = recorder.usage("000000000000", ROLE)
    assert [r.resource for r in rows] == [f"arn:aws:s3:::b/{n}" for n in range(190, 200)] + [
        "arn:aws:secretsmanager:::s"
    ]
    assert recorder.by_request("rare") is None  # its segment went
    recorder.close()


async def test_it_survives_a_restart_and_strange_text(tmp_path: Path) -> None:
    first = Recorder(tmp_path / "tracks.db")
    first.record(asked("a", 1.0, resource="arn:aws:s3:::b/\ud800", keys={"k": "\ud800" * 5000}))
    first.close()
    second = Recorder(tmp_path / "tracks.db")
    (row,) = second.usage("000000000000", ROLE)
    assert row.keys == {}
    second.close()
