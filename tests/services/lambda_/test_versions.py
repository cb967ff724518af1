# SPDX-License-Identifier: Apache-2.0
"""Versions, aliases, and what belongs to each of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import allow, call, function, messages, package, ready, role, until

WHO = (
    "import os\n"
    "def handler(event, context):\n"
    "    return [os.environ['AWS_LAMBDA_FUNCTION_VERSION'], context.function_version, context.invoked_function_arn,\n"
    "            os.environ['AWS_LAMBDA_LOG_STREAM_NAME'].split('/')[3].split(']')[0]]\n"
)
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


def test_versions_are_what_was_published(chamber: Any) -> None:
    client = function(chamber, "versioned", WHO)
    first = client.publish_version(FunctionName="versioned", Description="one")
    assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", ARN + "versioned:1", "one")
    client.get_waiter("published_version_active").wait(FunctionName="versioned", Qualifier="1")
    again = client.publish_version(FunctionName="versioned", Description="same")
    assert (again["Version"], again["Description"]) == ("1", "one")
    client.update_function_configuration(FunctionName="versioned", Environment={"Variables": {"AB": "b"}})
    ready(client, "versioned")
    assert client.publish_version(FunctionName="versioned")["Version"] == "2"
    assert "Environment" not in client.get_function_configuration(FunctionName="versioned", Qualifier="1")
    listed = client.list_versions_by_function(FunctionName="versioned")["Versions"]
    assert [each["Version"] for each in listed] == ["$LATEST", "1", "2"]
    pages = client.get_paginator("list_versions_by_function").paginate(
        FunctionName="versioned", PaginationConfig={"PageSize": 1}
    )
    assert [each["Version"] for page in pages for each in page["Versions"]] == ["$LATEST", "1", "2"]
    value, response = call(client, "versioned", Qualifier="1")
    assert value == ["1", "1", ARN + "versioned:1", "[1"]
    assert response["ExecutedVersion"] == "1"
    assert call(client, "versioned:2")[0][0] == "2"
    assert call(client, ARN + "versioned:$LATEST")[0] == ["$LATEST", "$LATEST", ARN + "versioned:$LATEST", "[$LATEST"]
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="versioned:9"):
        call(client, "versioned", Qualifier="9")
    with pytest.raises(ClientError, match="does not match the specified qualifier"):
        call(client, "versioned:1", Qualifier="2")


def test_publishing_compares_what_was_meant(chamber: Any) -> None:
    client = function(chamber, "compared", WHO)
    shown = client.get_function_configuration(FunctionName="compared")
    with pytest.raises(ClientError, match="is different from current CodeSHA256"):
        client.publish_version(FunctionName="compared", CodeSha256="nonsense")
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.publish_version(FunctionName="compared", RevisionId="0")
    made = client.publish_version(
        FunctionName="compared", CodeSha256=shown["CodeSha256"], RevisionId=shown["RevisionId"]
    )
    assert made["RevisionId"] != shown["RevisionId"]
    updated = client.update_function_code(FunctionName="compared", ZipFile=package(WHO + "#\n"), Publish=True)
    assert updated["Version"] == "2"
    ready(client, "compared")
    assert call(client, "compared:2")[0][0] == "2"


def test_a_new_function_may_be_published_at_once(chamber: Any) -> None:
    client = chamber.client("lambda")
    made = client.create_function(
        FunctionName="at-once", Runtime="python3.12", Handler="index.handler", Publish=True,
        Role=role(chamber, "functions", allow("logs:*")), Code={"ZipFile": package(WHO)},
    )  # fmt: skip
    assert (made["Version"], made["FunctionArn"]) == ("1", ARN + "at-once")
    client.get_waiter("published_version_active").wait(FunctionName="at-once", Qualifier="1")
    assert call(client, "at-once:1")[0][0] == "1"


def test_an_alias_from_its_creation_to_its_end(chamber: Any) -> None:
    client = function(chamber, "aliased", WHO)
    client.publish_version(FunctionName="aliased")
    made = client.create_alias(FunctionName="aliased", Name="live", FunctionVersion="1", Description="d")
    assert (made["AliasArn"], made["FunctionVersion"]) == (ARN + "aliased:live", "1")
    with pytest.raises(client.exceptions.ResourceConflictException, match="Alias already exists"):
        client.create_alias(FunctionName="aliased", Name="live", FunctionVersion="1")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.create_alias(FunctionName="aliased", Name="other", FunctionVersion="7")
    with pytest.raises(ClientError, match="failed to satisfy"):
        client.create_alias(FunctionName="aliased", Name="77", FunctionVersion="1")
    value, response = call(client, "aliased", Qualifier="live")
    assert value == ["1", "1", ARN + "aliased:live", "[1"]
    assert response["ExecutedVersion"] == "1"
    shown = client.get_function_configuration(FunctionName="aliased", Qualifier="live")
    assert (shown["FunctionArn"], shown["Version"]) == (ARN + "aliased:live", "1")
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_alias(FunctionName="aliased", Name="live", FunctionVersion="1", RevisionId="x")
    changed = client.update_alias(FunctionName="aliased", Name="live", FunctionVersion="$LATEST")
    assert changed["RevisionId"] != made["RevisionId"]
    assert call(client, "aliased:live")[1]["ExecutedVersion"] == "$LATEST"
    assert [a["Name"] for a in client.list_aliases(FunctionName="aliased")["Aliases"]] == ["live"]
    assert client.list_aliases(FunctionName="aliased", FunctionVersion="1")["Aliases"] == []
    client.delete_alias(FunctionName="aliased", Name="live")
    client.delete_alias(FunctionName="aliased", Name="live")
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="Cannot find alias arn"):
        client.get_alias(FunctionName="aliased", Name="live")


def test_an_alias_shares_its_traffic(chamber: Any) -> None:
    client = function(chamber, "shared", WHO)
    client.publish_version(FunctionName="shared")
    client.update_function_code(FunctionName="shared", ZipFile=package(WHO + "#2\n"), Publish=True)
    ready(client, "shared")
    refused = (
        ({"1": 0.5}, "1", "already included"),
        ({"1": 0.5}, "$LATEST", "not supported for an alias pointing to more than 1 version"),
        ({"1": 0.2, "2": 0.2}, "1", "greater than 1"),
        ({"2": 1.5}, "1", "less than or equal to 1.0"),
        ({"x": 0.5}, "1", r"\[0-9\]"),
    )
    for weights, version, words in refused:
        with pytest.raises(ClientError, match=words):
            client.create_alias(
                FunctionName="shared", Name="half", FunctionVersion=version,
                RoutingConfig={"AdditionalVersionWeights": weights},
            )  # fmt: skip
    client.create_alias(
        FunctionName="shared", Name="half", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    ran = [call(client, "shared:half")[1]["ExecutedVersion"] for _ in range(60)]
    assert {"1", "2"} == set(ran)
    client.update_alias(FunctionName="shared", Name="half", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    assert {call(client, "shared:half")[1]["ExecutedVersion"] for _ in range(5)} == {"2"}
    client.update_alias(FunctionName="shared", Name="half", RoutingConfig={})
    assert {call(client, "shared:half")[1]["ExecutedVersion"] for _ in range(5)} == {"1"}
    with pytest.raises(client.exceptions.ResourceConflictException, match=r"aliases reference it: \[half\]"):
        client.delete_function(FunctionName="shared", Qualifier="1")
    client.delete_function(FunctionName="shared", Qualifier="2")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="shared", Qualifier="2")
    with pytest.raises(ClientError, match="Deletion of aliases"):
        client.delete_function(FunctionName="shared", Qualifier="half")
    with pytest.raises(ClientError, match="cannot be deleted without deleting the function"):
        client.delete_function(FunctionName="shared", Qualifier="$LATEST")
    with pytest.raises(ClientError, match="permitted on Lambda functions only"):
        client.update_function_configuration(FunctionName="shared:1", Timeout=3)


def test_permissions_are_of_the_qualifier(chamber: Any) -> None:
    client = function(chamber, "guarded", WHO)
    client.publish_version(FunctionName="guarded")
    client.create_alias(FunctionName="guarded", Name="live", FunctionVersion="1")
    iam = chamber.client("iam")
    iam.create_user(UserName="qualified-caller")
    key = iam.create_access_key(UserName="qualified-caller")["AccessKey"]
    caller = chamber.client("lambda", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    client.add_permission(
        FunctionName="guarded", Qualifier="live", StatementId="s", Action="lambda:InvokeFunction",
        Principal="arn:aws:iam::000000000000:user/qualified-caller",
    )  # fmt: skip
    assert call(caller, "guarded:live")[0][0] == "1"
    for name in ("guarded", "guarded:1"):
        with pytest.raises(ClientError, match="not authorized"):
            call(caller, name)
    document = json.loads(client.get_policy(FunctionName="guarded", Qualifier="live")["Policy"])
    assert document["Statement"][0]["Resource"] == ARN + "guarded:live"
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName="guarded")
    with pytest.raises(ClientError, match="LATEST"):
        client.add_permission(
            FunctionName="guarded", Qualifier="$LATEST", StatementId="s", Action="lambda:*", Principal="000000000000"
        )
    client.remove_permission(FunctionName="guarded", Qualifier="live", StatementId="s")
    with pytest.raises(ClientError, match="not authorized"):
        call(caller, "guarded:live")


def test_event_settings_are_of_the_qualifier(chamber: Any) -> None:
    arn = role(chamber, "telling", allow("logs:*", "lambda:InvokeFunction"))
    function(chamber, "heard", "import json\ndef handler(event, context):\n    print('TOLD', json.dumps(event))\n")
    client = function(chamber, "spoken", "def handler(event, context):\n    return event\n", Role=arn)
    client.publish_version(FunctionName="spoken")
    client.create_alias(FunctionName="spoken", Name="live", FunctionVersion="1")
    told = {"OnSuccess": {"Destination": ARN + "heard"}}
    client.put_function_event_invoke_config(FunctionName="spoken", Qualifier="live", DestinationConfig=told)
    client.put_function_event_invoke_config(FunctionName="spoken", MaximumRetryAttempts=1)
    listed = client.list_function_event_invoke_configs(FunctionName="spoken")["FunctionEventInvokeConfigs"]
    assert [each["FunctionArn"].rpartition(":")[2] for each in listed] == ["$LATEST", "live"]
    client.invoke(FunctionName="spoken", Qualifier="live", InvocationType="Event", Payload=b'{"n": 1}')
    (line,) = until(lambda: messages(chamber, "heard", "TOLD"))
    record = json.loads(line.removeprefix("TOLD "))
    assert record["requestContext"]["functionArn"] == ARN + "spoken:live"
    assert record["responseContext"] == {"statusCode": 200, "executedVersion": "1"}
    assert record["responsePayload"] == {"n": 1}


def test_all_versions_in_one_list(chamber: Any) -> None:
    client = function(chamber, "zz-all", WHO)
    client.publish_version(FunctionName="zz-all")
    pages = client.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 1})
    found = [each["FunctionArn"] for page in pages for each in page["Functions"]]
    assert [arn for arn in found if "zz-all" in arn] == [ARN + "zz-all:$LATEST", ARN + "zz-all:1"]


def test_provisioned_concurrency_is_there_before_it_is_ready(chamber: Any) -> None:
    source = (
        "import os\nKIND = os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']\n"
        "def handler(event, context):\n    return KIND\n"
    )
    client = function(chamber, "warmed", source)
    with pytest.raises(ClientError, match="unpublished function versions"):
        client.put_provisioned_concurrency_config(
            FunctionName="warmed", Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )
    client.publish_version(FunctionName="warmed")
    client.create_alias(FunctionName="warmed", Name="live", FunctionVersion="1")
    asked = {"FunctionName": "warmed", "Qualifier": "live"}
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(**asked)
    put = client.put_provisioned_concurrency_config(**asked, ProvisionedConcurrentExecutions=2)
    assert (put["Status"], put["RequestedProvisionedConcurrentExecutions"]) == ("IN_PROGRESS", 2)

    def shown() -> Any:
        found = client.get_provisioned_concurrency_config(**asked)
        return found if found["Status"] == "READY" else None

    assert until(shown)["AvailableProvisionedConcurrentExecutions"] == 2
    assert call(client, "warmed:live")[0] == "provisioned-concurrency"
    assert call(client, "warmed")[0] == "on-demand"
    listed = client.list_provisioned_concurrency_configs(FunctionName="warmed")["ProvisionedConcurrencyConfigs"]
    assert [each["FunctionArn"] for each in listed] == [ARN + "warmed:live"]
    client.delete_provisioned_concurrency_config(**asked)
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(**asked)


def test_a_description_counts_and_publishing_is_a_revision(chamber: Any) -> None:
    client = function(chamber, "described", WHO, Description="none")
    asked = {"FunctionName": "described"}
    first = client.publish_version(**asked, Description="of the version")
    assert client.publish_version(**asked, Description="another")["Version"] == first["Version"] == "1"
    before = client.get_function_configuration(**asked)["RevisionId"]
    client.update_function_configuration(**asked, Description="of the function")
    client.get_waiter("function_updated_v2").wait(**asked, WaiterConfig={"Delay": 1})
    second = client.publish_version(**asked)
    assert (second["Version"], second["Description"]) == ("2", "of the function")
    after = client.get_function_configuration(**asked)["RevisionId"]
    client.tag_resource(Resource=ARN + "described", Tags={"a": "b"})
    assert len({before, after, client.get_function_configuration(**asked)["RevisionId"]}) == 3
    alias = client.create_alias(**asked, Name="live", FunctionVersion="2")
    permission = {"StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.add_permission(**asked, Qualifier="live", **permission, RevisionId="wrong")
    client.add_permission(**asked, Qualifier="live", **permission, RevisionId=alias["RevisionId"])


def test_a_version_is_provisioned_once(chamber: Any) -> None:
    client = function(chamber, "provisioned-once", WHO)
    asked = {"FunctionName": "provisioned-once"}
    client.publish_version(**asked)
    client.create_alias(**asked, Name="live", FunctionVersion="1")
    wanted = {**asked, "ProvisionedConcurrentExecutions": 1}
    client.put_provisioned_concurrency_config(**wanted, Qualifier="1")
    with pytest.raises(ClientError, match="Alias can't be used"):
        client.put_provisioned_concurrency_config(**wanted, Qualifier="live")
    client.delete_provisioned_concurrency_config(**asked, Qualifier="1")
    client.put_provisioned_concurrency_config(**wanted, Qualifier="live")
    with pytest.raises(ClientError, match="Version is pointed by"):
        client.put_provisioned_concurrency_config(**wanted, Qualifier="1")
    client.delete_provisioned_concurrency_config(**asked, Qualifier="live")


def test_provisioned_concurrency_is_a_part_of_the_reserved(chamber: Any) -> None:
    client = function(chamber, "reserved-whole", WHO)
    asked = {"FunctionName": "reserved-whole"}
    client.publish_version(**asked)
    client.put_function_concurrency(**asked, ReservedConcurrentExecutions=1)
    assert call(client, "reserved-whole")[0]
    client.put_provisioned_concurrency_config(**asked, Qualifier="1", ProvisionedConcurrentExecutions=1)
    until(lambda: client.get_provisioned_concurrency_config(**asked, Qualifier="1")["Status"] == "READY")
    with pytest.raises(client.exceptions.TooManyRequestsException) as refused:
        client.invoke(**asked)
    assert refused.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert call(client, "reserved-whole:1")[0][0] == "1"
    with pytest.raises(ClientError, match="should not be lower than function's total provisioned concurrency"):
        client.put_function_concurrency(**asked, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="should not be greater than the reservedConcurrentExecution"):
        client.put_provisioned_concurrency_config(**asked, Qualifier="1", ProvisionedConcurrentExecutions=2)
    client.delete_provisioned_concurrency_config(**asked, Qualifier="1")
