# SPDX-License-Identifier: Apache-2.0
"""Filter patterns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.logs.errors import InvalidParameterException
from cloudchamber.services.logs.pattern import parse


@pytest.mark.parametrize(
    ("text", "message", "fits"),
    [
        ("", "anything", True),
        ("ERROR", "[ERROR] it", True),
        ("ERROR", "error", False),
        ("ERROR it", "it ERROR", True),
        ("ERROR that", "ERROR it", False),
        ('"ERROR it"', "an ERROR it is", True),
        ('"ERROR it"', "it ERROR", False),
        ("ERROR -it", "ERROR it", False),
        ("ERROR -it", "ERROR", True),
        ("?ERROR ?WARN", "WARN", True),
        ("?ERROR ?WARN", "INFO", False),
        ('-"two words"', "two words", False),
        (r'"say \"so\""', 'say "so"', True),
        ("a-b", "a-b", True),
    ],
)
def test_patterns(text: str, message: str, fits: bool) -> None:
    assert parse(text).matches(message) is fits


@pytest.mark.parametrize("text", ["{ $.a = 1 }", "[ip, user]", "%a+%", '"open', "x" * 1025])
def test_patterns_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameterException):
        parse(text)


@given(st.text(max_size=1024), st.text())
def test_any_text_is_a_pattern_or_refused(text: str, message: str) -> None:
    try:
        parse(text).matches(message)
    except InvalidParameterException:
        pass
