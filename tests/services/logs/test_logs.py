# SPDX-License-Identifier: Apache-2.0
"""Log groups, streams and events through boto3."""

from __future__ import annotations

import time
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import until


def now_ms() -> int:
    return int(time.time() * 1000)


def test_groups(chamber: Any) -> None:
    logs = chamber.client("logs")
    logs.create_log_group(logGroupName="/t/groups", tags={"a": "b"})
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName="/t/groups")
    with pytest.raises(ClientError):
        logs.create_log_group(logGroupName="no spaces please")
    logs.put_retention_policy(logGroupName="/t/groups", retentionInDays=7)
    with pytest.raises(ClientError):
        logs.put_retention_policy(logGroupName="/t/groups", retentionInDays=8)
    (group,) = logs.describe_log_groups(logGroupNamePrefix="/t/gro")["logGroups"]
    assert group["retentionInDays"] == 7
    assert group["arn"] == "arn:aws:logs:us-east-1:000000000000:log-group:/t/groups:*"
    arn = group["logGroupArn"]
    logs.tag_resource(resourceArn=arn, tags={"c": "d"})
    logs.untag_resource(resourceArn=arn, tagKeys=["a"])
    assert logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"c": "d"}
    logs.delete_retention_policy(logGroupName="/t/groups")
    logs.delete_log_group(logGroupName="/t/groups")
    assert logs.describe_log_groups(logGroupNamePrefix="/t/groups")["logGroups"] == []
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName="/t/groups")


def test_events_of_a_stream(chamber: Any) -> None:
    logs = chamber.client("logs")
    logs.create_log_group(logGroupName="/t/events")
    target = {"logGroupName": "/t/events", "logStreamName": "s"}
    with pytest.raises(logs.exceptions.ResourceNotFoundException):
        logs.put_log_events(**target, logEvents=[{"timestamp": now_ms(), "message": "m"}])
    logs.create_log_stream(**target)
    began = now_ms()
    logs.put_log_events(**target, logEvents=[{"timestamp": began + n, "message": f"line {n}"} for n in range(25)])
    first = logs.get_log_events(**target, startFromHead=True, limit=10)
    assert [e["message"] for e in first["events"]] == [f"line {n}" for n in range(10)]
    second = logs.get_log_events(**target, limit=10, nextToken=first["nextForwardToken"])
    assert [e["message"] for e in second["events"]] == [f"line {n}" for n in range(10, 20)]
    back = logs.get_log_events(**target, limit=10, nextToken=second["nextBackwardToken"])
    assert back["events"] == first["events"]
    last = logs.get_log_events(**target, limit=10)
    assert last["events"][-1]["message"] == "line 24"
    end = logs.get_log_events(**target, nextToken=last["nextForwardToken"])
    assert end["events"] == []
    assert end["nextForwardToken"] == last["nextForwardToken"]
    (stream,) = logs.describe_log_streams(logGroupName="/t/events", orderBy="LastEventTime")["logStreams"]
    assert (stream["firstEventTimestamp"], stream["lastEventTimestamp"]) == (began, began + 24)


def test_what_may_not_be_put(chamber: Any) -> None:
    logs = chamber.client("logs")
    logs.create_log_group(logGroupName="/t/put")
    target = {"logGroupName": "/t/put", "logStreamName": "s"}
    logs.create_log_stream(**target)
    now, day = now_ms(), 86_400_000
    for events in (
        [{"timestamp": now, "message": "b"}, {"timestamp": now - 1, "message": "a"}],
        [{"timestamp": now - day - 1, "message": "a"}, {"timestamp": now, "message": "b"}],
        [{"timestamp": now, "message": "x" * 1_048_576}],
    ):
        with pytest.raises(logs.exceptions.InvalidParameterException):
            logs.put_log_events(**target, logEvents=events)
    old = logs.put_log_events(**target, logEvents=[{"timestamp": now - 15 * day, "message": "old"}])
    assert old["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert logs.get_log_events(**target)["events"] == []


def test_retention_removes_old_events(chamber: Any) -> None:
    logs = chamber.client("logs")
    logs.create_log_group(logGroupName="/t/retention")
    target = {"logGroupName": "/t/retention", "logStreamName": "s"}
    logs.create_log_stream(**target)
    now, day = now_ms(), 86_400_000
    logs.put_log_events(**target, logEvents=[{"timestamp": now - 2 * day, "message": "old"}])
    logs.put_log_events(**target, logEvents=[{"timestamp": now, "message": "new"}])
    logs.put_retention_policy(logGroupName="/t/retention", retentionInDays=1)
    until(lambda: [e["message"] for e in logs.get_log_events(**target)["events"]] == ["new"])
    late = logs.put_log_events(**target, logEvents=[{"timestamp": now - 2 * day, "message": "late"}])
    assert late["rejectedLogEventsInfo"] == {"expiredLogEventEndIndex": 1}


def test_filters(chamber: Any) -> None:
    logs = chamber.client("logs")
    logs.create_log_group(logGroupName="/t/filter")
    began = now_ms()
    for stream in ("a-1", "a-2", "b-1"):
        logs.create_log_stream(logGroupName="/t/filter", logStreamName=stream)
        events = [{"timestamp": began + n, "message": f"{stream} {n} {'odd' if n % 2 else 'even'}"} for n in range(20)]
        logs.put_log_events(logGroupName="/t/filter", logStreamName=stream, logEvents=events)

    def found(**members: Any) -> list[str]:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName="/t/filter", **members)
        return [event["message"] for page in pages for event in page["events"]]

    assert len(found()) == 60
    assert len(found(filterPattern="odd", PaginationConfig={"PageSize": 7})) == 30
    assert len(found(filterPattern="odd", logStreamNamePrefix="a-")) == 20
    assert found(filterPattern='"a-1 3" odd', logStreamNames=["a-1"]) == ["a-1 3 odd"]
    assert len(found(startTime=began + 5, endTime=began + 9)) == 15
    assert found(filterPattern="[stream = b-*, n > 17, ...]") == ["b-1 18 even", "b-1 19 odd"]
    assert found(filterPattern=r"%^a-1\s1[13]%") == ["a-1 11 odd", "a-1 13 odd"]
    logs.put_log_events(
        logGroupName="/t/filter",
        logStreamName="b-1",
        logEvents=[{"timestamp": began + n, "message": f'{{"level": "ERROR", "n": {n}}}'} for n in range(5)],
    )
    assert found(filterPattern='{ $.level = "ERROR" && $.n > 3 && $.other NOT EXISTS }') == [
        '{"level": "ERROR", "n": 4}'
    ]
    with pytest.raises(ClientError, match="must end with"):
        found(filterPattern="{ $.a = 1")


def test_a_pattern_can_be_tried(chamber: Any) -> None:
    logs = chamber.client("logs")
    messages = ['127.0.0.1 - frank [10/Oct/2000] "GET / HTTP/1.0" 200 1534', "something else"]
    answer = logs.test_metric_filter(filterPattern="[ip, id, user, ..., size]", logEventMessages=messages)
    values = {"$ip": "127.0.0.1", "$id": "-", "$user": "frank", "$size": "1534"}
    values |= {"$4": "10/Oct/2000", "$5": "GET / HTTP/1.0", "$6": "200"}
    assert answer["matches"] == [{"eventNumber": 0, "eventMessage": messages[0], "extractedValues": values}]
    with pytest.raises(ClientError, match="Invalid character"):
        logs.test_metric_filter(filterPattern="error:", logEventMessages=["x"])


def test_a_reader_needs_the_permission(chamber: Any) -> None:
    iam = chamber.client("iam")
    iam.create_user(UserName="log-reader")
    key = iam.create_access_key(UserName="log-reader")["AccessKey"]
    logs = chamber.client("logs", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    with pytest.raises(ClientError, match="logs:FilterLogEvents"):
        logs.filter_log_events(logGroupName="/t/none")


def test_live_tail(chamber: Any) -> None:
    logs = chamber.client("logs")
    logs.create_log_group(logGroupName="/t/live")
    logs.create_log_stream(logGroupName="/t/live", logStreamName="one")
    # Why inject_host_prefix: boto3 would ask stream-127.0.0.1, which is no host.
    tailing = chamber.client("logs", config=Config(inject_host_prefix=False))
    arn = "arn:aws:logs:us-east-1:000000000000:log-group:/t/live"
    with pytest.raises(ClientError, match="ARNs of one to ten"):
        tailing.start_live_tail(logGroupIdentifiers=["/t/live"])
    answer = tailing.start_live_tail(logGroupIdentifiers=[arn], logEventFilterPattern="wanted")
    seen: list[str] = []
    for event in answer["responseStream"]:
        if "sessionStart" in event:
            assert event["sessionStart"]["logGroupIdentifiers"] == [arn]
            said = [{"timestamp": now_ms(), "message": text} for text in ("wanted 1", "other", "wanted 2")]
            logs.put_log_events(logGroupName="/t/live", logStreamName="one", logEvents=said)
        else:
            seen += [result["message"] for result in event["sessionUpdate"]["sessionResults"]]
        if len(seen) == 2:
            break
    answer["responseStream"].close()
    assert seen == ["wanted 1", "wanted 2"]
