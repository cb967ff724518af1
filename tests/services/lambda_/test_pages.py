# SPDX-License-Identifier: Apache-2.0
"""Every paginator of Lambda, EventBridge and CloudWatch Logs, a row a page: all rows, each once. And every waiter."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.services.lambda_.functions import allow, function, package, role

ONE = "def handler(event, context):\n    return 1\n"
PAGE = {"PageSize": 1}


@pytest.fixture(scope="module")
def lambdas(chamber: Any) -> Any:
    client = function(chamber, "paged-a", ONE)
    function(chamber, "paged-b", ONE)
    for number in range(2):
        layer = client.publish_layer_version(LayerName="paged-layer", Content={"ZipFile": package(f"{number}")})
        client.publish_layer_version(LayerName=f"paged-layer-{number}", Content={"ZipFile": package(f"{number}")})
        assert layer["Version"] == number + 1
        client.update_function_configuration(FunctionName="paged-a", Description=f"{number}")
        client.get_waiter("function_updated_v2").wait(FunctionName="paged-a", WaiterConfig={"Delay": 1})
        version = client.publish_version(FunctionName="paged-a")["Version"]
        client.create_alias(FunctionName="paged-a", Name=f"alias-{number}", FunctionVersion=version)
        for qualifier in (version, f"alias-{number}"):
            client.put_function_event_invoke_config(
                FunctionName="paged-a", Qualifier=qualifier, MaximumRetryAttempts=number
            )
        client.create_function_url_config(FunctionName="paged-a", Qualifier=f"alias-{number}", AuthType="NONE")
        client.put_provisioned_concurrency_config(
            FunctionName="paged-a", Qualifier=version, ProvisionedConcurrentExecutions=1
        )
    yield client
    for number in range(2):
        client.delete_provisioned_concurrency_config(FunctionName="paged-a", Qualifier=f"{number + 1}")


def everything(client: Any, operation: str, result: str, **asked: Any) -> list[Any]:
    """All rows by pages of one; it must be what one call gives."""
    pages = list(client.get_paginator(operation).paginate(**asked, PaginationConfig=PAGE))
    assert all(len(page.get(result, ())) <= 1 for page in pages)
    rows = [row for page in pages for row in page.get(result, ())]
    assert rows == getattr(client, operation)(**asked)[result]
    return rows


@pytest.mark.parametrize(
    ("operation", "result", "asked", "key", "expected"),
    [
        ("list_versions_by_function", "Versions", {"FunctionName": "paged-a"}, "Version", ["$LATEST", "1", "2"]),
        ("list_aliases", "Aliases", {"FunctionName": "paged-a"}, "Name", ["alias-0", "alias-1"]),
        ("list_layer_versions", "LayerVersions", {"LayerName": "paged-layer"}, "Version", [2, 1]),
    ],
)
def test_rows_of_a_function_or_layer(
    lambdas: Any, operation: str, result: str, asked: dict[str, Any], key: str, expected: list[Any]
) -> None:
    assert [row[key] for row in everything(lambdas, operation, result, **asked)] == expected


@pytest.mark.parametrize(
    ("operation", "result", "count"),
    [
        ("list_function_event_invoke_configs", "FunctionEventInvokeConfigs", 4),
        ("list_function_url_configs", "FunctionUrlConfigs", 2),
    ],
)
def test_settings_of_qualifiers(lambdas: Any, operation: str, result: str, count: int) -> None:
    rows = everything(lambdas, operation, result, FunctionName="paged-a")
    assert len({row["FunctionArn"] for row in rows}) == len(rows) == count


def test_rows_of_an_account(lambdas: Any) -> None:
    names = [f["FunctionName"] for page in _pages(lambdas, "list_functions") for f in page["Functions"]]
    assert names == sorted(set(names)) and {"paged-a", "paged-b"} <= set(names)
    every = [f["FunctionArn"] for p in _pages(lambdas, "list_functions", FunctionVersion="ALL") for f in p["Functions"]]
    assert len(set(every)) == len(every) and sum(":paged-a:" in arn for arn in every) == 3
    layers = [one["LayerName"] for page in _pages(lambdas, "list_layers") for one in page["Layers"]]
    assert {"paged-layer", "paged-layer-0", "paged-layer-1"} <= set(layers) and len(set(layers)) == len(layers)
    pages = _pages(lambdas, "list_provisioned_concurrency_configs", FunctionName="paged-a")
    arns = [one["FunctionArn"].rpartition(":")[2] for page in pages for one in page["ProvisionedConcurrencyConfigs"]]
    assert arns == ["1", "2"]
    assert [p["EventSourceMappings"] for p in _pages(lambdas, "list_event_source_mappings")] == [[]]


def _pages(client: Any, operation: str, **asked: Any) -> Any:
    return client.get_paginator(operation).paginate(**asked, PaginationConfig=PAGE)


def test_every_waiter(chamber: Any) -> None:
    client = chamber.client("lambda")
    client.create_function(
        FunctionName="waited", Runtime="python3.12", Handler="index.handler", Publish=True,
        Role=role(chamber, "functions", allow("logs:*")), Code={"ZipFile": package(ONE)},
    )  # fmt: skip
    assert len(client.waiter_names) >= 6
    for name in client.waiter_names:
        asked = {"FunctionName": "waited"} | ({"Qualifier": "1"} if name == "published_version_active" else {})
        client.get_waiter(name).wait(**asked, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def test_rules_and_targets(chamber: Any) -> None:
    client = chamber.client("events")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:paged-target"
    for number in range(3):
        client.put_rule(Name=f"paged-{number}", ScheduleExpression="rate(9 hours)", State="DISABLED")
        client.put_targets(Rule=f"paged-{number}", Targets=[{"Id": f"{n}", "Arn": arn} for n in range(number + 1)])

    def rows(operation: str, result: str, **asked: Any) -> list[Any]:
        return [row for page in _pages(client, operation, **asked) for row in page[result]]

    names = ["paged-0", "paged-1", "paged-2"]
    assert [rule["Name"] for rule in rows("list_rules", "Rules", NamePrefix="paged-")] == names
    assert [one["Id"] for one in rows("list_targets_by_rule", "Targets", Rule="paged-2")] == ["0", "1", "2"]
    assert rows("list_rule_names_by_target", "RuleNames", TargetArn=arn) == names


def test_groups_streams_and_events(chamber: Any) -> None:
    client = chamber.client("logs")
    now = int(time.time() * 1000)
    for group in ("/paged/a", "/paged/b"):
        client.create_log_group(logGroupName=group)
        for stream in ("one", "two"):
            client.create_log_stream(logGroupName=group, logStreamName=stream)
            events = [{"timestamp": now + n, "message": f"{stream} {n}"} for n in range(3)]
            client.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
    groups = [g["logGroupName"] for p in _pages(client, "describe_log_groups", logGroupNamePrefix="/paged/")
              for g in p["logGroups"]]  # fmt: skip
    assert groups == ["/paged/a", "/paged/b"]
    for order in ("LogStreamName", "LastEventTime"):
        pages = _pages(client, "describe_log_streams", logGroupName="/paged/a", orderBy=order)
        assert sorted(s["logStreamName"] for page in pages for s in page["logStreams"]) == ["one", "two"]
    found = [e["message"] for p in _pages(client, "filter_log_events", logGroupName="/paged/a") for e in p["events"]]
    assert sorted(found) == sorted(f"{stream} {n}" for stream in ("one", "two") for n in range(3))
