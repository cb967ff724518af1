# SPDX-License-Identifier: Apache-2.0
"""EC2's CloudFormation types, through CloudFormation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import unique

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def template(lab: Lab, **web: Any) -> str:
    rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "0.0.0.0/0"}
    instance = {
        "ImageId": lab.image,
        "InstanceType": lab.kind,
        "SecurityGroupIds": [{"Fn::GetAtt": ["WebGroup", "GroupId"]}],
        "MetadataOptions": {"HttpTokens": "required"},
        "UserData": {"Fn::Base64": {"Fn::Sub": "#!/bin/bash\necho in ${AWS::StackName}\n"}},
        "Tags": [{"Key": "Name", "Value": "web"}],
    }
    return json.dumps(
        {
            "Resources": {
                "WebGroup": {
                    "Type": "AWS::EC2::SecurityGroup",
                    "Properties": {"GroupDescription": "web", "SecurityGroupIngress": [rule]},
                },
                "DatabaseGroup": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"GroupDescription": "db"}},
                "FromWeb": {
                    "Type": "AWS::EC2::SecurityGroupIngress",
                    "Properties": {
                        "GroupId": {"Ref": "DatabaseGroup"},
                        "IpProtocol": "tcp",
                        "FromPort": 5432,
                        "ToPort": 5432,
                        "SourceSecurityGroupId": {"Ref": "WebGroup"},
                    },
                },
                "Web": {"Type": "AWS::EC2::Instance", "Properties": {**instance, **web}},
            },
            "Outputs": {
                "Id": {"Value": {"Ref": "Web"}},
                "Name": {"Value": {"Fn::GetAtt": ["Web", "PublicDnsName"]}},
                "Database": {"Value": {"Ref": "DatabaseGroup"}},
            },
        }
    )


def settled(cfn: Any, stack: str, waiter: str) -> dict[str, str]:
    wait = cfn.get_waiter(waiter)
    wait.config.delay, wait.config.max_attempts = 0.1, 600
    wait.wait(StackName=stack)
    if waiter == "stack_delete_complete":
        return {}
    outputs = cfn.describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
    return {one["OutputKey"]: one["OutputValue"] for one in outputs}


def test_a_stack_with_an_instance(lab: Lab) -> None:
    cfn = lab.chamber.client("cloudformation")
    stack = unique("web")
    cfn.create_stack(StackName=stack, TemplateBody=template(lab))
    outputs = settled(cfn, stack, "stack_create_complete")
    instance = outputs["Id"]
    assert outputs["Name"] == f"{instance}.ec2.localhost"
    view = lab.view(instance)
    assert view["State"]["Name"] == "running"
    tags = {tag["Key"]: tag["Value"] for tag in view["Tags"]}
    assert tags["Name"] == "web"
    assert tags["aws:cloudformation:stack-name"] == stack
    lab.until_console(instance, f"in {stack}")
    rules = lab.ec2.describe_security_groups(GroupIds=[outputs["Database"]])["SecurityGroups"][0]["IpPermissions"]
    assert rules[0]["UserIdGroupPairs"][0]["GroupId"] == view["SecurityGroups"][0]["GroupId"]

    data = {"Fn::Base64": "#!/bin/bash\necho never run\n"}
    cfn.update_stack(StackName=stack, TemplateBody=template(lab, UserData=data, Tags=[{"Key": "Name", "Value": "new"}]))
    assert settled(cfn, stack, "stack_update_complete")["Id"] == instance
    assert {"Key": "Name", "Value": "new"} in lab.view(instance)["Tags"]
    console = lab.until(lambda: said if (said := lab.console(instance)).count(" boots: ") == 2 else "", "a second boot")
    assert "never run" not in console

    cfn.delete_stack(StackName=stack)
    settled(cfn, stack, "stack_delete_complete")
    assert lab.view(instance)["State"]["Name"] == "terminated"
    with pytest.raises(ClientError):
        lab.ec2.describe_security_groups(GroupIds=[outputs["Database"]])
