# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL's messages in pieces, statements and their tracks, the life-cycle table."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.rds import states
from cloudchamber.services.rds.messages import Frames, Malformed, read_start
from cloudchamber.services.rds.observe import command_tag
from cloudchamber.services.rds.part import in_window
from cloudchamber.services.rds.statements import NAME_MAX, shown, traced

message = st.tuples(st.sampled_from(b"QPBDESdXcf"), st.binary(max_size=200))


def packed(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!I", len(body) + 4) + body


@given(st.lists(message, max_size=12), st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_frames_find_the_same_however_the_stream_is_cut(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    stream = b"".join(packed(*one) for one in sent)
    frames, found, at, turn = Frames(b"QP", 100), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += frames.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    wanted = [(kind, body if len(body) + 4 <= 100 else b"") for kind, body in sent if kind in b"QP"]
    assert found == wanted and not frames.broken


@given(st.binary(max_size=300))
def test_frames_survive_anything(piece: bytes) -> None:
    frames = Frames(b"QP", 64)
    frames.feed(piece)
    frames.feed(piece)


@given(st.binary(max_size=300))
def test_start_packets_are_read_or_refused(body: bytes) -> None:
    try:
        start = read_start(body)
    except Malformed:
        return
    assert start.user and start.raw[4:] == body


def test_start_packet() -> None:
    body = struct.pack("!I", 196608) + b"user\0me\0database\0db\0\0"
    assert (read_start(body).user, read_start(body).database) == ("me", "db")
    assert read_start(struct.pack("!I", 196608) + b"user\0me\0\0").database == "me"


TRACE, PARENT = "6553a0c1" + "0" * 23 + "1", "00f067aa0ba902b7"
COMMENT = f"/*traceparent='00-{TRACE}-{PARENT}-01'*/".encode()


@pytest.mark.parametrize(
    "sql", [b"SELECT 1 " + COMMENT, COMMENT + b" SELECT 1", COMMENT.replace(b"/*", b"/*route='x',") + b"SELECT 1;"]
)
def test_comments_name_tracks(sql: bytes) -> None:
    found = traced(sql)
    assert found is not None and found.name == "SELECT ?"
    assert found.trace.track_id == f"1-{TRACE[:8]}-{TRACE[8:]}" and found.trace.parent_id == PARENT


@pytest.mark.parametrize(
    "sql", [b"SELECT 1", b"SELECT 'traceparent=' /* x */", COMMENT.replace(b"00-6", b"00-Z"), b"/* a */ " + COMMENT[2:]]
)
def test_other_comments_name_none(sql: bytes) -> None:
    assert traced(sql) is None


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_traced_takes_anything(before: bytes, after: bytes) -> None:
    traced(before)
    found = traced(before + COMMENT + after)
    assert found is None or len(found.name) <= NAME_MAX


@given(st.text(alphabet="secretXYZ' \\", max_size=40))
def test_values_are_never_shown(value: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    assert shown(f"ALTER ROLE a PASSWORD {quoted} VALID") == "ALTER ROLE a PASSWORD ? VALID"


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("UPDATE users SET key = $1 WHERE id = $2", "UPDATE users SET key = $1 WHERE id = $2"),
        ("SELECT * FROM t1 WHERE a = 12.5 AND b IN (1,2)", "SELECT * FROM t1 WHERE a = ? AND b IN (?,?)"),
        ("SELECT E'it\\'s', $$body$$, $x$ a $$ b $x$", "SELECT ?, ?, ?"),
        ('INSERT INTO "Odd 1" VALUES (\'open', 'INSERT INTO "Odd 1" VALUES (?'),
    ],
)
def test_statements_as_shown(sql: str, name: str) -> None:
    assert shown(sql) == name


def test_command_tag() -> None:
    end = b"Z\0\0\0\x05I"
    assert command_tag(packed(ord("D"), b"row") + packed(ord("C"), b"UPDATE 3\0") + end) == "UPDATE 3"
    assert command_tag(end) == ""


def test_every_state_can_be_left_and_deleted() -> None:
    every = set(get_args(states.State))
    assert {state for state, _ in states.TABLE} | {"deleting"} == every
    for state in every - {"deleting", "stopping"}:
        assert states.after(state, "delete") == "deleting"
    for state in states.RISING:
        assert states.after(state, "works") == "available" and states.after(state, "gave-up") == "failed"
    assert states.after("deleting", "works") is None and states.after("stopped", "stop") is None


@pytest.mark.parametrize(
    ("window", "inside"),
    [
        ("sun:05:00-sun:05:30", True),
        ("sat:23:00-sun:06:00", True),
        ("sun:05:30-sun:06:00", False),
        ("mon:05:00-mon:05:30", False),
    ],
)
def test_maintenance_windows(window: str, inside: bool) -> None:
    assert in_window(window, datetime(2026, 11, 22, 5, 10, tzinfo=UTC)) is inside
