# SPDX-License-Identifier: Apache-2.0
"""Schedule expressions: ``rate(5 minutes)`` and ``cron(0 12 * * ? *)``, in UTC. Pure.

Source: Amazon EventBridge User Guide, "Schedule expressions for rules: cron expressions, rate expressions".
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_RATE = re.compile(r"rate\((\d{1,9}) (minutes?|hours?|days?)\)")
_CRON = re.compile(r"cron\(([^()]{1,240})\)")
_UNITS = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTHS = {name: n for n, name in enumerate(_MONTH_NAMES, 1)}
_DAYS = {name: n for n, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)}
_YEARS = (1970, 2199)


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so many seconds."""

    period_s: int

    def after(self, moment: datetime) -> datetime | None:
        """The next run after one at `moment`."""
        return moment + timedelta(seconds=self.period_s)


@dataclass(frozen=True, slots=True)
class Cron:
    """Moments that fit; `days` and `weekdays` are the two fields as written, one of them is ``?``."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]

    def after(self, moment: datetime) -> datetime | None:
        """The first fitting minute after `moment`; None if there is none any more."""
        start = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for year in sorted(y for y in self.years if y >= start.year):
            for month in sorted(self.months):
                if (year, month) < (start.year, start.month):
                    continue
                for day in sorted(self.days_of(year, month)):
                    if (year, month, day) < (start.year, start.month, start.day):
                        continue
                    today = (year, month, day) == (start.year, start.month, start.day)
                    for hour in sorted(self.hours):
                        for minute in sorted(self.minutes):
                            if not today or (hour, minute) >= (start.hour, start.minute):
                                return datetime(year, month, day, hour, minute, tzinfo=UTC)
        return None

    def days_of(self, year: int, month: int) -> set[int]:
        """The fitting days of a month; raises ValueError for fields that mean nothing."""
        last = calendar.monthrange(year, month)[1]
        if self.days != "?":
            return _month_days(self.days, year, month, last)
        return _week_days(self.weekdays, year, month, last)


Schedule = Rate | Cron


def parse(text: str) -> Schedule:
    """Read an expression.

    Raises:
        ValueError: it is none.
    """
    if found := _RATE.fullmatch(text):
        number, unit = int(found[1]), found[2]
        if number < 1 or (number == 1) == unit.endswith("s"):
            raise ValueError("a rate of 1 has a singular unit, every other a plural one")
        return Rate(number * _UNITS[unit.removesuffix("s")])
    if found := _CRON.fullmatch(text):
        fields = found[1].upper().split()
        if len(fields) != 6:
            raise ValueError("a cron expression has six fields")
        return _cron(*fields)
    raise ValueError("neither rate(...) nor cron(...)")


def _cron(minutes: str, hours: str, days: str, months: str, weekdays: str, years: str) -> Cron:
    if (days == "?") == (weekdays == "?"):
        raise ValueError("exactly one of day-of-month and day-of-week must be ?")
    made = Cron(
        _numbers(minutes, 0, 59), _numbers(hours, 0, 23), days, _numbers(months, 1, 12, _MONTHS), weekdays,
        _numbers(years, *_YEARS),
    )  # fmt: skip
    made.days_of(2024, 1)
    return made


def _numbers(text: str, low: int, high: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """The values of a field: lists, ranges, steps, names."""
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if slash and step_text.isdigit() else 0 if slash else 1
        if step < 1:
            raise ValueError(f"the step of {part!r} is not valid")
        first, dash, last = span.partition("-")
        if span == "*":
            begin, end = low, high
        else:
            begin = _value(first, names)
            end = _value(last, names) if dash else high if slash else begin
        if not low <= begin <= high or not low <= end <= high or begin > end:
            raise ValueError(f"{part!r} is not between {low} and {high}")
        found |= set(range(begin, end + 1, step))
    return frozenset(found)


def _value(text: str, names: dict[str, int] | None) -> int:
    if names and text in names:
        return names[text]
    if not text.isascii() or not text.isdigit() or len(text) > 4:
        raise ValueError(f"{text!r} is not a number")
    return int(text)


def _month_days(text: str, year: int, month: int, last: int) -> set[int]:
    if text == "L":
        return {last}
    if text == "LW":
        return {_nearest_weekday(year, month, last, last)}
    if text.endswith("W"):
        wanted = min(_value(text[:-1], None), last)
        if not 1 <= wanted <= 31:
            raise ValueError(f"{text!r} is not a day")
        return {_nearest_weekday(year, month, wanted, last)}
    return {day for day in _numbers(text, 1, 31) if day <= last}


def _nearest_weekday(year: int, month: int, day: int, last: int) -> int:
    weekday = calendar.weekday(year, month, day)
    if weekday == calendar.SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == calendar.SUNDAY:
        return day + 1 if day < last else day - 2
    return day


def _week_days(text: str, year: int, month: int, last: int) -> set[int]:
    if "#" in text:
        name, _, nth_text = text.partition("#")
        wanted, nth = _value(name, _DAYS), _value(nth_text, None)
        if not 1 <= wanted <= 7 or not 1 <= nth <= 5:
            raise ValueError(f"{text!r} is not a day of a week")
        matching = [day for day in range(1, last + 1) if _weekday(year, month, day) == wanted]
        return set(matching[nth - 1 : nth])
    if text.endswith("L") and text != "L":
        wanted = _value(text[:-1], _DAYS)
        if not 1 <= wanted <= 7:
            raise ValueError(f"{text!r} is not a day of a week")
        return {max(day for day in range(1, last + 1) if _weekday(year, month, day) == wanted)}
    allowed = frozenset({7}) if text == "L" else _numbers(text, 1, 7, _DAYS)
    return {day for day in range(1, last + 1) if _weekday(year, month, day) in allowed}


def _weekday(year: int, month: int, day: int) -> int:
    """1 is Sunday, as in the expressions."""
    return (calendar.weekday(year, month, day) + 1) % 7 + 1
