# SPDX-License-Identifier: Apache-2.0
"""Lineage, policies, names, configurations, records."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.lambda_ import (
    configuration,
    events,
    lineage,
    names,
    outcome,
    policy,
    runtimes,
    url_events,
)
from cloudchamber.services.lambda_.errors import InvalidParameterValueException, PolicyLengthExceededException
from cloudchamber.services.lambda_.tables import Alias
from cloudchamber.wire.http import Headers, HttpRequest

ARN = "arn:aws:lambda:us-east-1:000000000000:function:f"
MARKS = st.lists(st.sampled_from([f"{ARN}{n}" for n in range(30)]), max_size=60)


@given(MARKS)
def test_lineage_counts_the_last_twenty_functions(arns: list[str]) -> None:
    text = ""
    for arn in arns:
        text = lineage.extend(text, arn)
    assert len(text) <= 256  # what the tracing header carries
    if len(set(arns)) <= 20:
        assert all(lineage.runs(text, arn) == arns.count(arn) for arn in arns)


@given(st.text())
def test_lineage_of_anything(text: str) -> None:
    assert lineage.runs(lineage.extend(text, ARN), ARN) == lineage.runs(text, ARN) + 1


def test_lineage_as_aws_writes_it() -> None:
    assert lineage.parse("a87bd80c:1|68fd508a:5|c512fbe3:2") == {"a87bd80c": 1, "68fd508a": 5, "c512fbe3": 2}


@pytest.mark.parametrize(
    ("given_", "principal"),
    [
        ("s3.amazonaws.com", {"Service": "s3.amazonaws.com"}),
        ("123456789012", {"AWS": "arn:aws:iam::123456789012:root"}),
        ("arn:aws:iam::123456789012:role/r", {"AWS": "arn:aws:iam::123456789012:role/r"}),
        ("*", "*"),
    ],
)
def test_principals_of_permissions(given_: str, principal: object) -> None:
    request = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": given_}
    assert policy.statement(request, ARN)["Principal"] == principal


@pytest.mark.parametrize(
    "wrong",
    [
        {"Principal": "nobody"},
        {"Action": "s3:GetObject"},
        {"StatementId": "with space"},
        {"SourceAccount": "12"},
        {"SourceArn": "bucket"},
    ],
)
def test_permissions_that_are_refused(wrong: dict[str, str]) -> None:
    right = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    with pytest.raises(InvalidParameterValueException):
        policy.statement({**right, **wrong}, ARN)


def test_a_policy_has_a_longest_length() -> None:
    statements = [{"Sid": str(n), "Resource": ARN} for n in range(400)]
    with pytest.raises(PolicyLengthExceededException):
        policy.document(statements)
    assert policy.document(()) == ""


@pytest.mark.parametrize(
    "reference", ["f", "f:$LATEST", ARN, f"{ARN}:$LATEST", "000000000000:function:f", "function:f", "000000000000:f"]
)
def test_ways_to_name_a_function(reference: str) -> None:
    assert names.resolve(reference, "000000000000", "us-east-1").arn == ARN
    asked = f"{ARN}:$LATEST" if reference.endswith("$LATEST") else ARN
    assert names.try_resolve(reference, "000000000000", "us-east-1") == asked


def test_qualifiers_are_kept() -> None:
    for reference, qualifier, asked in (
        ("f:1", "", "1"),
        ("f", "live", "live"),
        (f"{ARN}:live", "live", "live"),
        ("f", "$LATEST", "$LATEST"),
    ):
        found = names.resolve(reference, "000000000000", "us-east-1", qualifier)
        assert (found.arn, found.qualifier, found.qualified) == (ARN, asked, f"{ARN}:{asked}")
        assert names.try_resolve(reference, "000000000000", "us-east-1", qualifier) == f"{ARN}:{asked}"
    for reference, qualifier in (("f:1", "2"), ("f", "no spaces"), ("f g", "")):
        with pytest.raises(InvalidParameterValueException):
            names.resolve(reference, "000000000000", "us-east-1", qualifier)


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_an_alias_chooses_by_its_shares(draw: float, weight: float) -> None:
    alias = Alias(ARN, "live", "1", "", {"2": weight}, "r")
    assert alias.choose(draw) == ("2" if draw < weight else "1")


@given(st.text(), st.text())
def test_layers_never_raise_for_a_need(text: str, version: str) -> None:
    assert names.try_layer(text, "000000000000", "us-east-1", version).startswith("arn:aws:lambda:")


def request_of(path: str, query: str = "", headers: tuple[tuple[str, str], ...] = ()) -> HttpRequest:
    return HttpRequest("GET", path, query, Headers(headers))


@given(st.text(max_size=30), st.text(max_size=30), st.binary(max_size=30))
def test_any_request_is_an_event(path: str, query: str, body: bytes) -> None:
    request = request_of(f"/{quote(path)}", quote(query, safe="&="))
    made = url_events.event(
        request, body, None, url_id="u", host="h", request_id="r", now=datetime(2026, 11, 23, tzinfo=UTC)
    )
    assert json.loads(json.dumps(made))["version"] == "2.0"
    if body:
        told = base64.b64decode(made["body"]) if made["isBase64Encoded"] else made["body"].encode()
        assert told == body


MEMBERS = st.sampled_from(["statusCode", "headers", "cookies", "body", "isBase64Encoded", "x"])
SCALARS = st.none() | st.booleans() | st.integers() | st.text()


@given(st.recursive(SCALARS, lambda one: st.lists(one) | st.dictionaries(MEMBERS, one)))
def test_any_answer_is_a_reply_or_refused(value: object) -> None:
    try:
        made = url_events.reply(json.dumps(value).encode())
    except url_events.NoReplyError:
        return
    assert 100 <= made.status <= 599
    assert all("\n" not in text and "\r" not in text for _, text in made.headers)


def test_cors_origins() -> None:
    assert url_events.allows(["https://*.example.com"], "https://a.example.com")
    assert not url_events.allows(["https://*.example.com"], "https://example.org")
    assert url_events.cors_headers({"AllowOrigins": ["*"]}, "https://a.test") == [("Access-Control-Allow-Origin", "*")]
    assert url_events.cors_headers({"AllowOrigins": ["https://b.test"]}, "https://a.test") == []


@given(st.text())
def test_a_need_never_raises_for_a_name(text: str) -> None:
    assert names.try_resolve(text, "000000000000", "us-east-1").startswith("arn:aws:lambda:")


@pytest.mark.parametrize(
    "members",
    [
        {"Timeout": 0},
        {"Timeout": 901},
        {"MemorySize": 127},
        {"MemorySize": 10241},
        {"EphemeralStorage": {"Size": 511}},
        {"Handler": "with space"},
        {"Architectures": ["mips"]},
        {"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"}},
        {"LoggingConfig": {"LogFormat": "XML"}},
        {"LoggingConfig": {"LogFormat": "Text", "SystemLogLevel": "WARN"}},
        {"Environment": {"Variables": {"1X": "y"}}},
    ],
)
def test_configurations_that_are_refused(members: dict[str, object]) -> None:
    with pytest.raises(InvalidParameterValueException):
        configuration.check(members)


def test_defaults_may_be_said() -> None:
    configuration.check({"TracingConfig": {"Mode": "PassThrough"}, "Layers": [], "VpcConfig": {}, "Publish": False})


def test_how_processes_end() -> None:
    assert outcome.exit_words(-9).endswith("signal: killed")
    assert outcome.exit_words(137).endswith("signal: killed")
    assert outcome.exit_words(-11).endswith("signal: segmentation fault")
    assert outcome.exit_words(1).endswith("exit status 1")


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_records_can_be_written_as_json(asked: bytes, answered: bytes) -> None:
    record = events.invocation_record(
        now=datetime(2026, 11, 23, tzinfo=UTC),
        request_id="r",
        arn=f"{ARN}:live",
        version="7",
        condition="RetriesExhausted",
        runs=3,
        request_payload=asked,
        response_payload=answered,
        function_error="Unhandled",
    )
    assert json.loads(json.dumps(record))["requestContext"]["functionArn"] == f"{ARN}:live"


@pytest.mark.parametrize("runtime", ["go1.x", "python2.7", "python3.8", "nodejs16.x", "java21", "cobol"])
def test_runtimes_that_are_refused(runtime: str) -> None:
    with pytest.raises(InvalidParameterValueException, match=runtime):
        runtimes.check(runtime)
