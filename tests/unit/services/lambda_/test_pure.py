# SPDX-License-Identifier: Apache-2.0
"""Lineage, policies, names, configurations, records."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchamber.services.lambda_ import configuration, events, lineage, names, outcome, policy
from cloudchamber.services.lambda_.errors import (
    InvalidParameterValueException,
    PolicyLengthExceededException,
    ResourceNotFoundException,
)

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
    assert names.resolve(reference, "000000000000", "us-east-1") == ARN
    assert names.try_resolve(reference, "000000000000", "us-east-1") == ARN


def test_there_are_no_versions() -> None:
    with pytest.raises(ResourceNotFoundException):
        names.resolve("f:1", "000000000000", "us-east-1")
    with pytest.raises(ResourceNotFoundException):
        names.resolve("f", "000000000000", "us-east-1", "live")


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
        {"Runtime": "go1.x"},
        {"Architectures": ["mips"]},
        {"Layers": ["arn:aws:lambda:us-east-1:0:layer:l:1"]},
        {"LoggingConfig": {"LogFormat": "JSON"}},
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
        arn=ARN,
        condition="RetriesExhausted",
        runs=3,
        request_payload=asked,
        response_payload=answered,
        function_error="Unhandled",
    )
    assert json.loads(json.dumps(record))["requestContext"]["functionArn"] == f"{ARN}:$LATEST"
