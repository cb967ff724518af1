# SPDX-License-Identifier: Apache-2.0
"""Parameter Store through unmodified boto3: put, get, by path, delete, tags; IAM decides by name."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

NAME = "/own-store/app/url"


@pytest.fixture
def ssm(chamber):
    client = chamber.client("ssm")
    yield client
    found = client.get_parameters_by_path(Path="/own-store", Recursive=True)["Parameters"]
    if found:
        client.delete_parameters(Names=[one["Name"] for one in found])


def test_a_parameter_and_its_next_version(ssm):
    assert ssm.put_parameter(Name=NAME, Value="one", Type="String", Description="where")["Version"] == 1
    with pytest.raises(ssm.exceptions.ParameterAlreadyExists):
        ssm.put_parameter(Name=NAME, Value="two", Type="String")
    assert ssm.put_parameter(Name=NAME, Value="two", Overwrite=True)["Version"] == 2
    found = ssm.get_parameter(Name=NAME, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Version"], found["Type"]) == ("two", 2, "String")
    assert found["ARN"] == f"arn:aws:ssm:us-east-1:000000000000:parameter{NAME}"
    assert ssm.get_parameter(Name=f"{NAME}:2")["Parameter"]["Selector"] == ":2"
    with pytest.raises(ssm.exceptions.ParameterVersionNotFound):
        ssm.get_parameter(Name=f"{NAME}:1")
    both = ssm.get_parameters(Names=[NAME, "/own-store/none"])
    assert [one["Value"] for one in both["Parameters"]] == ["two"]
    assert both["InvalidParameters"] == ["/own-store/none"]
    ssm.delete_parameter(Name=NAME)
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name=NAME)
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.delete_parameter(Name=NAME)


def test_by_path(ssm):
    for name in ("/own-store/a", "/own-store/b/c", "/own-store/b/d", "/own-storeer"):
        ssm.put_parameter(Name=name, Value="x", Type="StringList")

    def names(**more):
        return [one["Name"] for one in ssm.get_parameters_by_path(**more)["Parameters"]]

    assert names(Path="/own-store") == ["/own-store/a"]
    assert names(Path="/own-store/", Recursive=True) == ["/own-store/a", "/own-store/b/c", "/own-store/b/d"]
    assert names(Path="/own-store/b", MaxResults=1) == ["/own-store/b/c"]
    assert len(names(Path="/aws/service/ami-amazon-linux-latest")) > 3
    ssm.delete_parameter(Name="/own-storeer")


def test_tags(ssm):
    ssm.put_parameter(Name=NAME, Value="x", Type="String", Tags=[{"Key": "a", "Value": "1"}])
    about = {"ResourceType": "Parameter", "ResourceId": NAME}
    ssm.add_tags_to_resource(**about, Tags=[{"Key": "b", "Value": "2"}])
    ssm.remove_tags_from_resource(**about, TagKeys=["a"])
    assert ssm.list_tags_for_resource(**about)["TagList"] == [{"Key": "b", "Value": "2"}]
    with pytest.raises(ClientError, match="tags and overwrite can't be used together"):
        ssm.put_parameter(Name=NAME, Value="y", Type="String", Overwrite=True, Tags=[{"Key": "a", "Value": "1"}])
    with pytest.raises(ssm.exceptions.InvalidResourceId):
        ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId="/own-store/none")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"Type": "SecureString"}, "SecureString is not supported here"),
        ({"Type": "String", "Tier": "Advanced"}, "Tier Advanced"),
        ({"Type": "String", "AllowedPattern": "a+"}, "AllowedPattern"),
        ({"Type": "String", "DataType": "aws:ec2:image"}, "DataType"),
        ({"Type": "String", "Name": "/aws/mine"}, "aws"),
        ({"Type": "String", "Name": "a/b"}, "fully qualified"),
        ({"Type": "String", "Name": "/a" * 16}, "levels"),
        ({"Type": "String", "Value": "x" * 4097}, "4096"),
        ({}, "type is required"),
    ],
)
def test_refused(ssm, asked, said):
    with pytest.raises(ClientError, match=said):
        ssm.put_parameter(**{"Name": "/own-store/refused", "Value": "x", **asked})


def test_iam_decides_by_name(chamber, ssm):
    iam = chamber.client("iam")
    iam.create_user(UserName="ssm-reader")
    below = "arn:aws:ssm:us-east-1:000000000000:parameter/own-store/*"
    allow = {"Effect": "Allow", "Action": "ssm:*", "Resource": below}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="ssm-reader", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="ssm-reader")["AccessKey"]
    reader = chamber.client("ssm", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    reader.put_parameter(Name=NAME, Value="x", Type="String")
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.get_parameter(Name="/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64")
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.put_parameter(Name="/other-store", Value="x", Type="String")
    iam.delete_access_key(UserName="ssm-reader", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="ssm-reader", PolicyName="p")
    iam.delete_user(UserName="ssm-reader")


def test_a_stack_with_a_parameter(chamber, ssm):
    stacks = chamber.client("cloudformation")

    def template(value):
        properties = {"Name": NAME, "Type": "String", "Value": value, "Tags": {"of": "stack"}}
        return json.dumps(
            {
                "Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": properties}},
                "Outputs": {"Value": {"Value": {"Fn::GetAtt": "P.Value"}}},
            }
        )

    stacks.create_stack(StackName="ssm-stack", TemplateBody=template("one"))
    stacks.get_waiter("stack_create_complete").wait(StackName="ssm-stack", WaiterConfig={"Delay": 1})
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Value"] == "one"
    stacks.update_stack(StackName="ssm-stack", TemplateBody=template("two"))
    stacks.get_waiter("stack_update_complete").wait(StackName="ssm-stack", WaiterConfig={"Delay": 1})
    assert ssm.get_parameter(Name=NAME)["Parameter"]["Version"] == 2
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=NAME)["TagList"]
    assert tags == [{"Key": "of", "Value": "stack"}]
    stacks.delete_stack(StackName="ssm-stack")
    stacks.get_waiter("stack_delete_complete").wait(StackName="ssm-stack", WaiterConfig={"Delay": 1})
    with pytest.raises(ssm.exceptions.ParameterNotFound):
        ssm.get_parameter(Name=NAME)
