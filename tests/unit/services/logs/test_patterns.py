# SPDX-License-Identifier: Apache-2.0
"""Filter patterns: cases of the guide, and properties."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.logs import patterns
from cloudchamber.services.logs.patterns.regex import Regex
from cloudchamber.services.logs.patterns.values import like

LOGIN = {
    "eventType": "UpdateTrail",
    "sourceIPAddress": "111.111.111.111",
    "arrayKey": ["value", "another value"],
    "objectList": [{"name": "a", "id": 1}, {"name": "b", "id": 2}],
    "SomeObject": None,
    "flag": True,
    "off": False,
    "latency": 1.5e-3,
    "big": 12345678901234567891,
    "code": "404",
    "user": {"id": 1, "email": "John.Stiles@example.com"},
    "cluster.name": "c",
}
APACHE = '127.0.0.1 - frank [10/Oct/2000:13:25:15 -0700] "GET /index.html HTTP/1.0" 404 1534'


@pytest.mark.parametrize(
    ("pattern", "message", "fits"),
    [
        ("", "anything", True),
        ("ERROR", "[ERROR 400] BAD REQUEST", True),
        ("ERROR", "error", False),
        ("ERROR ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", True),
        ("ERROR ARGUMENTS", "[ERROR 401] UNAUTHORIZED", False),
        ("?ERROR ?ARGUMENTS", "INVALID ARGUMENTS", True),
        ("?ERROR ?ARGUMENTS", "fine", False),
        ("ERROR ?ARGUMENTS", "[ERROR 401]", True),
        ("-DEBUG ?ARGUMENTS", "fine", True),
        ("ERROR -ARGUMENTS", "[ERROR 401]", True),
        ("ERROR -ARGUMENTS", "[ERROR 419] MISSING ARGUMENTS", False),
        ('"INTERNAL SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", True),
        ('-"SERVER ERROR"', "[ERROR 500] INTERNAL SERVER ERROR", False),
        (r'"a \"b\""', 'it is a "b"', True),
        ("%AUTHORIZED%", "UNAUTHORIZED", True),
        ("%^[hc]at%", "hat", True),
        ("%^[hc]at%", "a hat", False),
        ("%[hc]at$%", "a cat", True),
        ("%[hc]at$%", "a cat is", False),
        ("%colou?r%", "color", True),
        (r"%\d{1,3}\.\d{1,3}%", "at 10.20", True),
        ("%a{3,5}%", "aa", False),
        ("%gra|ey%", "grey", True),
        (r"%\[ERROR\]%", "[ERROR] x", True),
        (r"%10\s%", "10 ", True),
        ("%[^a]b%", "ab", False),
        ("-%fail% x", "x", True),
        ("%^$%", "", True),
        ("%x*$%", "abc", True),
    ],
)
def test_text(pattern: str, message: str, fits: bool) -> None:
    assert patterns.parse(pattern).matches(message) is fits


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ('{ $.eventType = "UpdateTrail" }', True),
        ("{ $.eventType = UpdateTrail }", True),
        ('{$.eventType="Update*"}', True),
        ('{ $.eventType != "UpdateTrail" }', False),
        ("{ $.sourceIPAddress != 123.123.* }", True),
        ("{ $.sourceIPAddress = 111.* }", True),
        ("{ $.sourceIPAddress = %111.*111$% }", True),
        ("{ $.sourceIPAddress != %^12% }", True),
        ('{ $.arrayKey[0] = "value" }', True),
        ('{ $.arrayKey[1] = "value" }', False),
        ('{ $.arrayKey[7] = "value" }', False),
        ('{ $.arrayKey[*] = "another*" }', True),
        ("{ $.arrayKey = * }", False),
        ("{ $.objectList[1].id = 2 }", True),
        ("{ $.objectList[*].id > 1 }", True),
        ("{ $.objectList[*].id > 2 }", False),
        ("{ $.SomeObject IS NULL }", True),
        ("{ $.eventType IS NULL }", False),
        ("{ $.nothing IS NULL }", False),
        ("{ $.SomeOtherObject NOT EXISTS }", True),
        ("{ $.SomeObject NOT EXISTS }", False),
        ("{ $.flag IS TRUE }", True),
        ("{ $.off IS FALSE }", True),
        ("{ $.off IS TRUE }", False),
        ("{ $.flag = true }", True),
        ("{ $.latency < 1e-2 }", True),
        ("{ $.latency = 0.0015 }", True),
        ("{ $.latency >= 0.0016 }", False),
        ("{ $.big = 12345678901234567892 }", False),
        ("{ $.big > 12345678901234567890 }", True),
        ("{ $.code = 404 }", True),
        ("{ $.code = 4* }", True),
        ("{ $.eventType > 3 }", False),
        ("{ $.nothing != 3 }", False),
        ("{ $.eventType = * }", True),
        ("{ $.nothing = * }", False),
        ('{ ($.user.id = 1) && ($.user.email = "John*") }', True),
        ("{ $.user.id = 2 && $.x = 1 || $.code = 404 }", True),
        ("{ $.user.id = 2 && ($.x = 1 || $.code = 404) }", False),
        ("{ $.*.id = 1 }", True),
        ("{ $.['cluster.name'] = c }", True),
        ('{ $["cluster.name"] = "c" }', True),
    ],
)
def test_json(pattern: str, fits: bool) -> None:
    assert patterns.parse(pattern).matches(json.dumps(LOGIN)) is fits


@pytest.mark.parametrize("message", ["", "text", "[1]", "{", "{}", '{"a": 1} x', "[" * 9000, '{"a":' * 9000])
def test_other_messages_fit_no_json_pattern(message: str) -> None:
    assert not patterns.parse("{ $.a = 1 }").matches(message)


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("[ip, user, username, timestamp, request, status_code, bytes]", True),
        ("[ip, user, username, timestamp, request, status_code]", False),
        ("[ip, user, username, timestamp, request, status_code = 4*, bytes]", True),
        ("[ip, user, username, timestamp, request =*.html*, status_code = 4*, bytes]", True),
        ("[ip, ..., status_code > 404, bytes]", False),
        ("[..., status_code = 404 || status_code = 410, bytes]", True),
        ("[..., status_code >= 400 && status_code != 404, bytes]", False),
        ('[ip, user, username = "frank", ...]', True),
        ("[ip, user, username = %^fr%, ...]", True),
        ("[ip, user, username, timestamp, request = *.png*, ...]", False),
        ("[...]", True),
        ("[,,,,,,]", True),
        ("[w1, w2, ..., (w7 = 1534 || w7 = 1)]", True),
    ],
)
def test_fields(pattern: str, fits: bool) -> None:
    assert patterns.parse(pattern).matches(APACHE) is fits


def test_what_is_taken() -> None:
    named = patterns.parse("[ip, identity, user_id, timestamp, request, status_code = 4*, size]").extract(APACHE)
    assert named == {
        "$ip": "127.0.0.1",
        "$identity": "-",
        "$user_id": "frank",
        "$timestamp": "10/Oct/2000:13:25:15 -0700",
        "$request": "GET /index.html HTTP/1.0",
        "$status_code": "404",
        "$size": "1534",
    }
    assert list(patterns.parse("[..., size]").extract(APACHE) or {}) == ["$1", "$2", "$3", "$4", "$5", "$6", "$size"]
    document = json.dumps({"a": {"b": 1.50}, "c": "d"})
    assert patterns.parse('{ $.a.b > 1 && $.c = "*" }').extract(document) == {"$.a.b": "1.5", "$.c": "d"}
    assert patterns.parse("word").extract("a word") == {}


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{ $.a = 1", "must end with '}'"),
        ("[a, b", "must end with ']'"),
        ("{}", "Invalid filter pattern"),
        ("{ $ = 1 }", "Invalid filter pattern"),
        ("{ a = 1 }", "Invalid filter pattern"),
        ("{ $.a }", "Invalid filter pattern"),
        ("{ $.a = }", "Invalid filter pattern"),
        ('{ $.a > "b" }', "Invalid filter pattern"),
        ("{ $.a = 1 && }", "Invalid filter pattern"),
        ("{ ($.a = 1 }", "Invalid filter pattern"),
        ("{ $.a = 1) }", "Invalid filter pattern"),
        ("{ $.*.* = 1 }", "more than one wildcard"),
        ("{ $.*.a = 1 || $.*.b = 1 || $.*.c = 1 || $.*.d = 1 }", "more than 3 wildcard"),
        ("{ $.a = %x% || $.a = %y% || $.a = %z% }", "more than 2 regular expressions"),
        ("{ " + "(" * 400 + "$.a = 1" + ")" * 400 + " }", "parentheses"),
        ("[a, ..., b, ...]", "Invalid filter pattern"),
        ("[a = 1 && b = 2]", "Invalid filter pattern"),
        ("error: it", "Invalid character(s) in term 'error:'"),
        ("7f98-1", "Invalid character(s) in term '7f98-1'"),
        ("- x", "Invalid character(s) in term '-'"),
        ('"open', "Invalid character(s) in term"),
        ("%open", "Invalid filter pattern"),
        ("%some(thing)%", "not supported"),
        ("%something!%", "not supported"),
        ("%a**%", "not supported"),
        ("%a{3,1}%", "end is before"),
        ("%[abc%", "open bracket"),
        ("%a{999}%", "too large"),
        ("%é%", "not supported"),
        ("x" * 1025, "more than 1024"),
    ],
)
def test_what_is_no_pattern(pattern: str, words: str) -> None:
    with pytest.raises(patterns.PatternError, match=re.escape(words)):
        patterns.parse(pattern)


@given(st.text(max_size=200), st.text(max_size=50))
def test_any_text_is_a_pattern_or_refused(text: str, message: str) -> None:
    for pattern in (text, "{" + text + "}", "[" + text + "]", "%" + text + "%"):
        try:
            found = patterns.parse(pattern)
        except patterns.PatternError:
            continue
        assert found.matches(message) is (found.extract(message) is not None)


_atoms = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\d", "c"])
_times = st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,2}", "{0,3}", "{2,}", "{0}"])
_alternatives = st.builds(
    lambda begin, parts, end: begin + "".join(a + t for a, t in parts) + end,
    st.sampled_from(["", "^"]),
    st.lists(st.tuples(_atoms, _times), min_size=1, max_size=4),
    st.sampled_from(["", "$"]),
)


@given(st.lists(_alternatives, min_size=1, max_size=3), st.text("abc1", max_size=8))
def test_expressions_are_as_pythons(alternatives: list[str], text: str) -> None:
    source = "|".join(alternatives)
    assert Regex(source).search(text) is (re.search(source.replace("$", r"\Z"), text, re.DOTALL) is not None)


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_asterisks_stand_for_anything(pattern: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None
    assert like(pattern, text) is expected


class _Counted(str):
    """A text that counts how often a character of it is read."""

    reads = 0

    def __iter__(self) -> Any:
        for character in str(self):
            _Counted.reads += 1
            yield character


def test_a_text_is_read_once_whatever_the_expression() -> None:
    for source in ("a*a*a*a*a*b", "[ab]*a[ab]{200}$", ".*.*.*=.*"):
        _Counted.reads = 0
        Regex(source).search(_Counted("ab" * 5_000))
        assert _Counted.reads <= 10_000
