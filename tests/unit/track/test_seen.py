# SPDX-License-Identifier: Apache-2.0
"""When a key, a user, a role or a root user last asked for anything."""

from __future__ import annotations

from pathlib import Path

from cloudchamber.track import usage
from cloudchamber.track.recorder import Recorder
from cloudchamber.track.track import Segment

ROLE = "arn:aws:iam::000000000000:role/app/Web"
ROOT = "arn:aws:iam::000000000000:root"


def segment(number: int, service: str, started: float, **more: object) -> Segment:
    made = Segment(f"t-{number}", f"s-{number}", "", service, "Do", started, started + 1)
    for name, value in more.items():
        setattr(made, name, value)
    return made


async def test_the_latest_time_wins_in_whatever_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "tracks.db")
    assert recorder.seen("AKIA1") is None
    recorder.record(segment(1, "s3", 20.0, access_key="AKIA1", region="eu-west-1"))
    recorder.record(segment(2, "iam", 10.0, access_key="AKIA1", region="us-east-1"))
    assert recorder.seen("AKIA1") == usage.Seen(20.0, "s3", "eu-west-1")
    recorder.record(segment(3, "ec2", 5.0, access_key="AKIA1", region="us-east-1"))
    assert recorder.seen("AKIA1") == usage.Seen(20.0, "s3", "eu-west-1")
    recorder.record(segment(4, "ec2", 30.0, access_key="AKIA1", region="us-east-1"))
    assert recorder.seen("AKIA1") == usage.Seen(30.0, "ec2", "us-east-1")
    recorder.close()


async def test_entities_and_root_users_are_seen_and_strange_names_do_no_harm(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "tracks.db")
    told = {"allowed": True, "entity": ROLE, "action": "s3:GetObject", "resource": "r", "because": []}
    recorder.record(segment(1, "s3", 1.0, decisions=[told], region="us-east-1"))
    recorder.record(segment(2, "iam", 2.0, principal=ROOT, region="us-east-1"))
    recorder.record(segment(3, "iam", 3.0, access_key="\ud800"))
    assert recorder.seen(ROLE) == usage.Seen(1.0, "s3", "us-east-1")
    assert recorder.seen(ROOT) == usage.Seen(2.0, "iam", "us-east-1")
    recorder.close()
    again = Recorder(tmp_path / "tracks.db")
    assert again.seen(ROLE) == usage.Seen(1.0, "s3", "us-east-1")
    again.close()
