# SPDX-License-Identifier: Apache-2.0
"""Functions as resources: create, read, change, delete."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import allow, call, function, package, ready, role

ONE = "def handler(event, context):\n    return 1\n"


def test_a_function_from_its_creation_to_its_end(chamber: Any) -> None:
    client = chamber.client("lambda")
    made = client.create_function(
        FunctionName="life", Runtime="python3.12", Role=role(chamber, "functions"), Handler="index.handler",
        Code={"ZipFile": package(ONE)}, Description="d", Tags={"team": "a"}, Environment={"Variables": {"WORD": "x"}},
    )  # fmt: skip
    assert made["State"] == "Pending"
    client.get_waiter("function_active_v2").wait(FunctionName="life")
    shown = client.get_function(FunctionName="life")
    assert shown["Configuration"]["MemorySize"] == 128
    assert shown["Configuration"]["Timeout"] == 3
    assert shown["Tags"] == {"team": "a"}
    assert call(client, "life")[0] == 1
    changed = client.update_function_code(
        FunctionName="life", ZipFile=package("import os\ndef handler(e, c):\n    return os.environ['WORD']\n")
    )
    assert changed["CodeSha256"] != made["CodeSha256"]
    client.get_waiter("function_updated_v2").wait(FunctionName="life")
    assert call(client, "life")[0] == "x"
    client.update_function_configuration(FunctionName="life", Environment={"Variables": {"WORD": "y"}}, Timeout=9)
    ready(client, "life")
    assert call(client, "life")[0] == "y"
    with pytest.raises(client.exceptions.PreconditionFailedException):
        client.update_function_configuration(FunctionName="life", Timeout=8, RevisionId=made["RevisionId"])
    arn = made["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"more": "b"})
    client.untag_resource(Resource=arn, TagKeys=["team"])
    assert client.list_tags(Resource=arn)["Tags"] == {"more": "b"}
    client.delete_function(FunctionName=arn)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="life")


@pytest.mark.parametrize(
    ("members", "code", "words"),
    [
        ({"Runtime": "java21"}, "InvalidParameterValueException", "java21"),
        ({"Runtime": "python3.6"}, "InvalidParameterValueException", "no longer supported"),
        ({"Role": "arn:aws:iam::000000000000:role/none"}, "InvalidParameterValueException", "cannot be assumed"),
        ({"Role": "arn:aws:iam::111111111111:role/none"}, "AccessDeniedException", "Cross-account pass role"),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException", "Could not unzip"),
        ({"Code": {"ZipFile": package("", **{"../out": ""})}}, "InvalidParameterValueException", "leaves the package"),
        ({"Code": {}}, "InvalidParameterValueException", "source for function code"),
        ({"VpcConfig": {"SubnetIds": ["subnet-0"]}}, "InvalidParameterValueException", "VpcConfig"),
        ({"TracingConfig": {"Mode": "Active"}}, "InvalidParameterValueException", "TracingConfig"),
        ({"PublishTo": "LATEST_PUBLISHED"}, "InvalidParameterValueException", "PublishTo"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException", "AWS_REGION"),
        ({"Environment": {"Variables": {"LONG": "x" * 4097}}}, "InvalidParameterValueException", "4KB"),
    ],
)
def test_what_is_wrong_is_refused_by_name(chamber: Any, members: dict[str, Any], code: str, words: str) -> None:
    client = chamber.client("lambda")
    request = {
        "FunctionName": "wrong", "Runtime": "python3.12", "Role": role(chamber, "functions"),
        "Handler": "index.handler", "Code": {"ZipFile": package(ONE)}, **members,
    }  # fmt: skip
    with pytest.raises(ClientError) as caught:
        client.create_function(**request)
    assert caught.value.response["Error"]["Code"] == code
    assert words in caught.value.response["Error"]["Message"]
    assert caught.value.response.get("Type", "User") == "User"  # AccessDeniedException is not in the model
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="wrong")


def test_names_are_taken_once(chamber: Any) -> None:
    function(chamber, "taken", ONE)
    with pytest.raises(ClientError, match="already exist"):
        function(chamber, "taken", ONE)


def test_pages_of_functions(chamber: Any) -> None:
    for number in range(3):
        function(chamber, f"page-{number}", ONE)
    client = chamber.client("lambda")
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    names = [shown["FunctionName"] for page in pages for shown in page["Functions"]]
    assert [name for name in names if name.startswith("page-")] == ["page-0", "page-1", "page-2"]
    assert len(pages) > 1


def test_passing_a_role_must_be_allowed(chamber: Any) -> None:
    iam = chamber.client("iam")
    iam.create_user(UserName="lambda-deployer")
    key = iam.create_access_key(UserName="lambda-deployer")["AccessKey"]
    arn = role(chamber, "functions")
    document = {"Version": "2012-10-17", "Statement": [allow("lambda:*")]}
    iam.put_user_policy(UserName="lambda-deployer", PolicyName="p", PolicyDocument=json.dumps(document))
    client = chamber.client("lambda", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    request = {
        "FunctionName": "passed", "Runtime": "python3.12", "Role": arn, "Handler": "index.handler",
        "Code": {"ZipFile": package(ONE)},
    }  # fmt: skip
    with pytest.raises(ClientError, match="iam:PassRole"):
        client.create_function(**request)
    passed = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    document["Statement"].append({**allow("iam:PassRole"), "Condition": passed})
    iam.put_user_policy(UserName="lambda-deployer", PolicyName="p", PolicyDocument=json.dumps(document))
    client.create_function(**request)


def test_the_function_policy(chamber: Any) -> None:
    client = function(chamber, "asked", ONE)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_policy(FunctionName="asked")
    request = {
        "FunctionName": "asked", "StatementId": "s3", "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com", "SourceArn": "arn:aws:s3:::b", "SourceAccount": "000000000000",
    }  # fmt: skip
    made = json.loads(client.add_permission(**request)["Statement"])
    assert made == {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": "arn:aws:lambda:us-east-1:000000000000:function:asked",
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": "000000000000"},
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::b"},
        },
    }
    with pytest.raises(client.exceptions.ResourceConflictException):
        client.add_permission(**request)
    document = json.loads(client.get_policy(FunctionName="asked")["Policy"])
    assert document["Statement"] == [made]
    client.remove_permission(FunctionName="asked", StatementId="s3")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.remove_permission(FunctionName="asked", StatementId="s3")


def test_settings_of_asynchronous_invocations(chamber: Any) -> None:
    client = function(chamber, "configured", ONE)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_event_invoke_config(FunctionName="configured")
    client.put_function_event_invoke_config(FunctionName="configured", MaximumRetryAttempts=0)
    client.update_function_event_invoke_config(FunctionName="configured", MaximumEventAgeInSeconds=60)
    shown = client.get_function_event_invoke_config(FunctionName="configured")
    assert (shown["MaximumRetryAttempts"], shown["MaximumEventAgeInSeconds"]) == (0, 60)
    queue = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:q"}}
    with pytest.raises(client.exceptions.InvalidParameterValueException, match="sqs"):
        client.put_function_event_invoke_config(FunctionName="configured", DestinationConfig=queue)
    assert len(client.list_function_event_invoke_configs(FunctionName="configured")["FunctionEventInvokeConfigs"]) == 1
    client.delete_function_event_invoke_config(FunctionName="configured")
    assert client.list_function_event_invoke_configs(FunctionName="configured")["FunctionEventInvokeConfigs"] == []


def test_a_stack_with_a_function(chamber: Any) -> None:
    template = {
        "Resources": {
            "Role": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "AssumeRolePolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Principal": {"Service": "lambda.amazonaws.com"},
                                "Action": "sts:AssumeRole",
                            }
                        ],
                    }
                },
            },
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.12",
                    "Handler": "index.handler",
                    "Timeout": "5",
                    "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Code": {"ZipFile": "def handler(event, context):\n    return 'first'\n"},
                },
            },
            "Allowed": {
                "Type": "AWS::Lambda::Permission",
                "Properties": {
                    "Action": "lambda:InvokeFunction",
                    "FunctionName": {"Ref": "Function"},
                    "Principal": "s3.amazonaws.com",
                    "SourceAccount": {"Ref": "AWS::AccountId"},
                },
            },
        },
        "Outputs": {"Name": {"Value": {"Ref": "Function"}}, "Arn": {"Value": {"Fn::GetAtt": ["Function", "Arn"]}}},
    }
    stacks, client = chamber.client("cloudformation"), chamber.client("lambda")
    request = {"StackName": "with-function", "Capabilities": ["CAPABILITY_IAM"]}
    stacks.create_stack(TemplateBody=json.dumps(template), **request)
    quick = {"Delay": 1, "MaxAttempts": 60}
    stacks.get_waiter("stack_create_complete").wait(StackName="with-function", WaiterConfig=quick)
    (stack,) = stacks.describe_stacks(StackName="with-function")["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    assert call(client, outputs["Arn"])[0] == "first"
    assert json.loads(client.get_policy(FunctionName=outputs["Name"])["Policy"])["Statement"]
    properties = template["Resources"]["Function"]["Properties"]
    properties["Code"]["ZipFile"] = "def handler(event, context):\n    return 'second'\n"
    properties["MemorySize"] = 256
    stacks.update_stack(TemplateBody=json.dumps(template), **request)
    stacks.get_waiter("stack_update_complete").wait(StackName="with-function", WaiterConfig=quick)
    assert call(client, outputs["Name"])[0] == "second"
    assert client.get_function_configuration(FunctionName=outputs["Name"])["MemorySize"] == 256
    stacks.delete_stack(StackName="with-function")
    stacks.get_waiter("stack_delete_complete").wait(StackName="with-function", WaiterConfig=quick)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=outputs["Name"])


def test_states_are_seen_in_revisions_and_not_in_lists(chamber: Any) -> None:
    client = chamber.client("lambda")
    made = client.create_function(
        FunctionName="revised", Runtime="python3.12", Handler="index.handler", Environment={}, Publish=True,
        Role=role(chamber, "functions", allow("logs:*")), Code={"ZipFile": package("def handler(e, c): pass\n")},
    )  # fmt: skip
    assert (made["Version"], made["State"], made["Environment"]) == ("1", "Pending", {"Variables": {}})
    assert "LastUpdateStatus" not in made
    client.get_waiter("function_active_v2").wait(FunctionName="revised", WaiterConfig={"Delay": 1})
    shown = client.get_function_configuration(FunctionName="revised")
    assert shown["RevisionId"] != made["RevisionId"]
    assert shown["RuntimeVersionConfig"]["RuntimeVersionArn"].startswith("arn:aws:lambda:us-east-1::runtime:")
    changed = client.update_function_configuration(FunctionName="revised", Timeout=9, RevisionId=shown["RevisionId"])
    client.get_waiter("function_updated_v2").wait(FunctionName="revised", WaiterConfig={"Delay": 1})
    assert client.get_function_configuration(FunctionName="revised")["RevisionId"] != changed["RevisionId"]
    listed = [f for page in client.get_paginator("list_functions").paginate() for f in page["Functions"]]
    versions = client.list_versions_by_function(FunctionName="revised")["Versions"]
    for each in (*listed, *versions):
        assert not {"State", "LastUpdateStatus", "RuntimeVersionConfig"} & each.keys()
    assert client.get_function_code_signing_config(FunctionName="revised")["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert client.list_event_source_mappings(FunctionName="revised")["EventSourceMappings"] == []


def test_functions_of_other_regions_are_not_reached(chamber: Any) -> None:
    client = chamber.client("lambda")
    with pytest.raises(ClientError, match="Functions from 'eu-west-1' are not reachable in this region"):
        client.get_function(FunctionName="arn:aws:lambda:eu-west-1:000000000000:function:any")


def test_variables_are_measured_as_json(chamber: Any) -> None:
    client = chamber.client("lambda")
    with pytest.raises(ClientError, match="exceeded the 4KB limit"):
        client.create_function(
            FunctionName="large", Runtime="python3.12", Handler="index.handler", Role=role(chamber, "functions"),
            Code={"ZipFile": package("x = 1\n")}, Environment={"Variables": {"LARGE_VAR": "x" * (4096 - 6 - 9)}},
        )  # fmt: skip
