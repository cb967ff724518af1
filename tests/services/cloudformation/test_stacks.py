# SPDX-License-Identifier: Apache-2.0
"""Stacks through unmodified boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest

ROLE = """
Parameters:
  Word: {Type: String, Default: one}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      Description: !Ref Word
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement: [{Effect: Allow, Principal: {Service: ec2.amazonaws.com}, Action: sts:AssumeRole}]
  Profile: {Type: AWS::IAM::InstanceProfile, Properties: {Roles: [!Ref Role]}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 7}}
Outputs:
  Arn: {Value: !GetAtt Role.Arn}
"""
QUICK = {"Delay": 1, "MaxAttempts": 60}


def test_a_stack_of_iam_and_logs(chamber: Any) -> None:
    cfn, iam = chamber.client("cloudformation"), chamber.client("iam")
    with pytest.raises(cfn.exceptions.InsufficientCapabilitiesException):
        cfn.create_stack(StackName="iam-logs", TemplateBody=ROLE)
    cfn.create_stack(StackName="iam-logs", TemplateBody=ROLE, Capabilities=["CAPABILITY_IAM"])
    cfn.get_waiter("stack_create_complete").wait(StackName="iam-logs", WaiterConfig=QUICK)
    (stack,) = cfn.describe_stacks(StackName="iam-logs")["Stacks"]
    name = stack["Outputs"][0]["OutputValue"].rpartition("/")[2]
    assert iam.get_role(RoleName=name)["Role"]["Description"] == "one"
    made = cfn.create_change_set(
        StackName="iam-logs", ChangeSetName="two", UsePreviousTemplate=True, Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": "Word", "ParameterValue": "two"}],
    )  # fmt: skip
    cfn.get_waiter("change_set_create_complete").wait(ChangeSetName=made["Id"], WaiterConfig=QUICK)
    found = cfn.describe_change_set(ChangeSetName=made["Id"], IncludePropertyValues=True)
    assert [c["ResourceChange"]["LogicalResourceId"] for c in found["Changes"]] == ["Role"]
    cfn.execute_change_set(ChangeSetName=made["Id"])
    cfn.get_waiter("stack_update_complete").wait(StackName="iam-logs", WaiterConfig=QUICK)
    assert iam.get_role(RoleName=name)["Role"]["Description"] == "two"
    events = cfn.get_paginator("describe_stack_events").paginate(StackName="iam-logs").build_full_result()
    assert events["StackEvents"][0]["ResourceStatus"] == "UPDATE_COMPLETE"
    assert json.loads(json.dumps(cfn.get_template(StackName="iam-logs")["TemplateBody"])) == ROLE
    cfn.delete_stack(StackName="iam-logs")
    cfn.get_waiter("stack_delete_complete").wait(StackName="iam-logs", WaiterConfig=QUICK)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName=name)


def test_no_stack(chamber: Any) -> None:
    cfn = chamber.client("cloudformation")
    with pytest.raises(cfn.exceptions.ClientError, match=r"ValidationError.*Stack with id none does not exist"):
        cfn.describe_stacks(StackName="none")


def test_a_change_set_belongs_to_the_stack_that_was_asked_for(chamber: Any) -> None:
    cfn, iam = chamber.client("cloudformation"), chamber.client("iam")
    logs = "Resources: {L: {Type: AWS::Logs::LogGroup}}"
    theirs = cfn.create_change_set(
        StackName="not-yours", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=logs
    )  # fmt: skip
    cfn.create_change_set(StackName="yours", ChangeSetName="c", ChangeSetType="CREATE", TemplateBody=logs)
    iam.create_user(UserName="of-yours")
    allowed = {"Effect": "Allow", "Action": "cloudformation:*", "Resource": "arn:aws:cloudformation:*:*:stack/yours/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="of-yours", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="of-yours")["AccessKey"]
    user = chamber.client("cloudformation", key=f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    for forbidden in (user.execute_change_set, user.describe_change_set, user.get_template):
        with pytest.raises(cfn.exceptions.ClientError, match="AccessDenied"):
            forbidden(ChangeSetName=theirs["Id"])
        with pytest.raises(cfn.exceptions.ClientError, match="ChangeSetNotFound"):
            forbidden(ChangeSetName=theirs["Id"], StackName="yours")
    user.delete_change_set(ChangeSetName=theirs["Id"], StackName="yours")
    assert cfn.describe_change_set(ChangeSetName=theirs["Id"])["Status"] == "CREATE_COMPLETE"
