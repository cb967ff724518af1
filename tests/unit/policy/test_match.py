# SPDX-License-Identifier: Apache-2.0
"""Patterns against a plain model of them."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.policy import match
from cloudchamber.policy.document import PolicyError, document, load

pattern = st.text(alphabet="ab*?.:/", max_size=12)
value = st.text(alphabet="ab*?.:/", max_size=12)


def expression(text: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in text), re.DOTALL)


@given(pattern, value)
def test_wildcards_match_as_an_expression_would(text: str, word: str) -> None:
    found = match.matcher(match.tokens(text, variables=False))(word)
    assert found == (expression(text).fullmatch(word) is not None)


@given(st.text(alphabet="ab*?", max_size=6), st.text(alphabet="ab*?", max_size=6))
def test_a_variable_stands_for_its_text_only(text: str, word: str) -> None:
    test = match.text("x/${aws:username}", variables=True, wildcards=True)
    assert test(f"x/{word}", {"aws:username": text}) == (text == word and text != "")


def test_many_stars_take_no_time() -> None:
    hostile = match.matcher(match.tokens("*a" * 400 + "b", variables=False))
    assert not hostile("a" * 10_000)


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    try:
        document(text)
    except PolicyError:
        return


def test_a_name_that_comes_twice_is_refused() -> None:
    try:
        load('{"Version": "2012-10-17", "Version": "2008-10-17"}')
    except PolicyError:
        return
    raise AssertionError("accepted")


def test_a_variable_that_never_ends_takes_no_time() -> None:
    assert match.tokens("${" * 60_000, variables=True)[0] == "${" * 60_000
    assert match.tokens("${a${b}", variables=True) == ("${a", match.Variable("b"))
