# SPDX-License-Identifier: Apache-2.0
"""Schedule expressions: what is due when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.events.schedule import parse

START = datetime(2026, 11, 23, 15, 30, 20, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("rate(1 minute)", "2026-11-23T15:31:20"),
        ("rate(12 hours)", "2026-11-24T03:30:20"),
        ("rate(2 days)", "2026-11-25T15:30:20"),
        ("cron(0 12 * * ? *)", "2026-11-24T12:00:00"),
        ("cron(0/15 * * * ? *)", "2026-11-23T15:45:00"),
        ("cron(15 10 ? * MON-FRI *)", "2026-11-24T10:15:00"),
        ("cron(0 18 ? * 2 *)", "2026-11-23T18:00:00"),
        ("cron(0 8 1 * ? *)", "2026-12-01T08:00:00"),
        ("cron(0 8 L * ? *)", "2026-11-30T08:00:00"),
        ("cron(0 8 ? * 6L *)", "2026-11-27T08:00:00"),
        ("cron(0 8 ? * MON#1 *)", "2026-12-07T08:00:00"),
        ("cron(0 8 15W * ? *)", "2026-12-15T08:00:00"),
        ("cron(0 8 29 FEB ? *)", "2028-02-29T08:00:00"),
        ("cron(0,30 8-10 ? JAN,MAR SAT 2027-2028)", "2027-01-02T08:00:00"),
    ],
)
def test_the_next_run(text: str, due: str) -> None:
    assert parse(text).after(START) == datetime.fromisoformat(due).replace(tzinfo=UTC)


def test_a_schedule_may_be_over() -> None:
    assert parse("cron(0 0 1 1 ? 2020)").after(START) is None
    assert parse("cron(0 0 31 FEB ? *)").after(START) is None


@pytest.mark.parametrize(
    "text",
    [
        "", "rate(1 minutes)", "rate(5 minute)", "rate(0 minutes)", "rate(1.5 hours)", "cron(* * * * * *)",
        "cron(0 12 * * ?)", "cron(60 12 * * ? *)", "cron(0 24 * * ? *)", "cron(0 12 ? * 8 *)", "cron(0 12 32 * ? *)",
        "cron(0/0 12 * * ? *)", "cron(0 12 ? * ? *)", "cron(a 12 * * ? *)", "cron(0 12 ? * MON#6 *)", "at(2026)",
    ],
)  # fmt: skip
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


@given(st.integers(0, 59), st.integers(0, 23), st.integers(0, 2_500_000_000))
def test_a_day_has_one_run(minute: int, hour: int, at: int) -> None:
    start = datetime.fromtimestamp(at, UTC)
    due = parse(f"cron({minute} {hour} * * ? *)").after(start)
    assert due is not None
    assert start < due <= start + timedelta(days=1)
    assert (due.hour, due.minute) == (hour, minute)


@given(st.text())
def test_nonsense_is_refused_and_nothing_else(text: str) -> None:
    try:
        parse(f"cron({text})")
    except ValueError:
        return
