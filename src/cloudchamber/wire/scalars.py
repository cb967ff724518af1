# SPDX-License-Identifier: Apache-2.0
"""Numbers, times, booleans and blobs as text, both ways. Source: Smithy, "Protocol serialization of timestamps"."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cloudchamber.wire.model import Shape

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Reader = Callable[[str], Any]
Writer = Callable[[Any], str]


def integer(text: str) -> int:
    """A decimal integer; nothing else that Python would take (underscores, 5,000 digits)."""
    stripped = text.strip()
    if not stripped.lstrip("+-").isascii() or "_" in stripped or len(stripped) > 24:
        raise ValueError("not an integer")
    return int(stripped)


def floating(text: str) -> float:
    """A number, NaN and infinities included."""
    if text in _SPECIAL:
        return _SPECIAL[text]
    number = float(text)
    if "_" in text or not math.isfinite(number):
        raise ValueError("not a number")
    return number


def boolean(text: str) -> bool:
    """``true`` or ``false``, in any case."""
    lowered = text.strip().lower()
    if lowered not in ("true", "false"):
        raise ValueError("not a boolean")
    return lowered == "true"


def blob(text: str) -> bytes:
    """Base64."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None


def moment(value: Any) -> datetime:
    """A time in any of AWS's forms: ISO 8601, HTTP date, seconds since 1970 (number or text)."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, bool):
        raise ValueError("not a time")
    if isinstance(value, int | float):
        return from_epoch(float(value))
    text = value.strip()
    if not text.isascii() or len(text) > 64:
        raise ValueError("not a time")
    try:
        return from_epoch(float(text))
    except ValueError:
        pass
    if text[:1].isalpha():
        from email.utils import parsedate_to_datetime  # Why here: costs 7 ms, and few clients send such dates.

        try:
            parsed = parsedate_to_datetime(text)
        except (TypeError, IndexError, OverflowError):
            raise ValueError("not a time") from None
    else:
        parsed = datetime.fromisoformat(text)
    try:
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except OverflowError:
        raise ValueError("time out of range") from None


def from_epoch(seconds: float) -> datetime:
    """Seconds since 1970 as a time."""
    if not math.isfinite(seconds):
        raise ValueError("not a time")
    try:
        return _EPOCH + timedelta(seconds=round(seconds, 6))
    except OverflowError:
        raise ValueError("time out of range") from None


def iso8601(value: datetime) -> str:
    """``2026-11-23T11:22:33.456Z``."""
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def iso8601_seconds(value: datetime) -> str:
    """``2026-11-23T11:22:33Z``, as IAM and STS write it; with a fraction only if there is one."""
    return iso8601(value).replace(".000Z", "Z")


def http_date(value: datetime) -> str:
    """``Mon, 23 Nov 2026 11:22:33 GMT``."""
    utc = value if value.tzinfo is UTC else value.astimezone(UTC)
    # Why: strftime would write the names in the machine's language.
    return (
        f"{_DAYS[utc.weekday()]}, {utc.day:02d} {_MONTHS[utc.month - 1]} {utc.year:04d} "
        f"{utc.hour:02d}:{utc.minute:02d}:{utc.second:02d} GMT"
    )


def epoch(value: datetime) -> int | float:
    """Seconds since 1970, with milliseconds only if there are any."""
    seconds = round((value - _EPOCH).total_seconds(), 3)
    return int(seconds) if seconds == int(seconds) else seconds


def number(value: float) -> str:
    """A float as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def truth(value: Any) -> str:
    """``true`` or ``false``."""
    return "true" if value else "false"


def base64_text(value: bytes | str) -> str:
    """Base64 of octets (text counts as UTF-8)."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


def text_of_epoch(value: datetime) -> str:
    """Seconds since 1970 as text."""
    return str(epoch(value))


FORMATS: dict[str, Writer] = {"iso8601": iso8601, "rfc822": http_date, "unixTimestamp": text_of_epoch}


def reader(shape: Shape) -> Reader:
    """Text to value, for a scalar shape. The function raises ValueError."""
    return {
        "string": str, "character": str, "boolean": boolean, "integer": integer, "long": integer,
        "bigint": integer, "short": integer, "byte": integer,
        "float": floating, "double": floating, "timestamp": moment, "blob": blob,
    }[shape["type"]]  # fmt: skip


def writer(shape: Shape, default_time: str, times: Callable[[datetime], str] = iso8601) -> Writer:
    """Value to text, for a scalar shape; `times` writes ISO 8601 as the service does."""
    kind = shape["type"]
    if kind == "timestamp":
        form = shape.get("timestampFormat", default_time)
        return times if form == "iso8601" else FORMATS[form]
    return {
        "string": str, "character": str, "boolean": truth, "integer": str, "long": str, "bigint": str,
        "short": str, "byte": str, "float": number, "double": number, "blob": base64_text,
    }[kind]  # fmt: skip
