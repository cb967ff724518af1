# SPDX-License-Identifier: Apache-2.0
"""Tracks as trees and as text, whatever their segments claim."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.track.track import Segment, Trace
from cloudchamber.track.tree import background, lines, short, steps, title


def segment(id: str, parent: str = "", started: float = 0.0, **more: object) -> Segment:
    made = Segment("1-00000000-" + "0" * 24, id, parent, "s3", f"op {id}", started, started + 1)
    for name, value in more.items():
        setattr(made, name, value)
    return made


def walked(*segments: Segment) -> list[tuple[str, int]]:
    return [(s.segment.id, s.depth) for s in steps(segments)]


def test_children_follow_their_parent_by_time() -> None:
    assert walked(
        segment("c", "a", 3), segment("a", "", 1), segment("b", "a", 2), segment("d", "b", 4)
    ) == [("a", 0), ("b", 1), ("d", 2), ("c", 1)]  # fmt: skip


def test_an_unknown_parent_makes_a_root() -> None:
    assert walked(segment("a", "gone", 1), segment("b", "a", 2)) == [("a", 0), ("b", 1)]


def test_circles_are_cut_at_the_earliest() -> None:
    assert walked(segment("a", "b", 1), segment("b", "a", 2), segment("c", "c", 3)) == [("c", 0), ("a", 0), ("b", 1)]


def test_a_chain_of_any_length_is_walked() -> None:
    chain = [segment(str(i), str(i - 1), float(i)) for i in range(5000)]
    assert steps(chain)[-1].depth == 4999
    assert len(lines(chain)) == 5000


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdefx"), st.floats(0, 9)), max_size=8))
def test_every_segment_is_shown_once(rows: list[tuple[str, str, float]]) -> None:
    segments = [segment(*row) for row in rows]
    assert sorted(id for id, _ in walked(*segments)) == sorted({s.id for s in segments})
    assert all(step.duration_ms >= 0 and step.offset_ms >= 0 for step in steps(segments))


def test_arns_are_shortened_to_what_differs() -> None:
    assert short("arn:aws:s3:::b/users/42") == "b/users/42"
    assert short("arn:aws:iam::000000000000:root") == "root"
    assert short("arn:aws:sts::000000000000:assumed-role/App/i-1") == "role/App (i-1)"
    assert short("arn:aws:lambda:us-east-1:000000000000:function:f") == "function:f"
    assert short("s3.amazonaws.com") == "s3.amazonaws.com"
    assert short("") == ""


def test_lines_fit_and_obey_nobody() -> None:
    long = segment(
        "a",
        resource="arn:aws:s3:::b/" + "k" * 300 + "\x1b[31m\nend",
        principal="arn:aws:iam::000000000000:user/ann",
        error="AccessDenied",
        decisions=[{"allowed": False, "action": "s3:PutObject", "reason": "because " + "no policy allows " * 20}],
        notes={"message": "the same again"},
    )
    text = lines([long, segment("b", "a", 2.0, status=200)])
    assert max(map(len, text)) <= 100
    assert "\x1b" not in "".join(text)
    assert "end" in text[0]
    assert text[0].endswith("AccessDenied")
    assert "as user/ann" in text[1]
    assert "the same again" not in "".join(text)


def test_looking_around_is_background() -> None:
    asked = segment("a", service="cloudchamber", name="s3 ListBuckets")
    assert background([asked, segment("b", "a", 1, name="ListBuckets")])
    assert not background([asked, segment("b", "a", 1, name="CreateBucket")])
    assert background([asked, segment("b", "a", 1, name="HeadBucket", error="NoSuchBucket")])
    assert not background([segment("a", service="sts", principal="ec2.amazonaws.com", error="AccessDenied")])
    assert not background([segment("b", name="ListBuckets")])
    assert background([segment("a", service="sts", name="AssumeRole", principal="ec2.amazonaws.com")])
    assert not background([segment("a", service="lambda", name="Invoke", principal="s3.amazonaws.com")])


def test_a_title_is_the_first_step() -> None:
    assert title([segment("b", "a", 2), segment("a", "", 1)]) == "s3 op a"
    assert title([]) == ""


def test_a_header_is_read_as_it_was_written() -> None:
    trace = Trace("1-5759e988-bd862e3fe1be46a994272793", "53995c3f42cd8ad8", "0:0:abc:1")
    assert Trace.parse(trace.header()) == trace


@given(st.text(max_size=80))
def test_any_header_can_be_read(header: str) -> None:
    Trace.parse(header)
