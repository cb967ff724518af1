# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - templates and commands stand on one line
"""Stacks like the flagship's, through boto3 and the aws command, with IAM on and everything really running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TEMPLATE = (Path(__file__).parent / "flagship_like.yaml").read_text()
QUICK = {"Delay": 1, "MaxAttempts": 120}
BOTH = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
AWS = str(Path(sys.executable).with_name("aws"))


def of(rows: list[dict[str, str]]) -> dict[str, str]:
    return {row["OutputKey"]: row["OutputValue"] for row in rows}


def parameters(**values: str) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def test_four_pieces_then_the_function(chamber: Any) -> None:
    cfn, s3, ec2, rds = (chamber.client(name) for name in ("cloudformation", "s3", "ec2", "rds"))
    cfn.create_stack(
        StackName="flag", TemplateBody=TEMPLATE, Capabilities=BOTH, Parameters=parameters(Thumbnails="off")
    )
    cfn.get_waiter("stack_create_complete").wait(StackName="flag", WaiterConfig=QUICK)
    outputs = of(cfn.describe_stacks(StackName="flag")["Stacks"][0]["Outputs"])
    bucket = outputs["Bucket"]
    s3.put_object(Bucket=bucket, Key="users/1/avatar.png", Body=b"kept")
    (instance,) = ec2.describe_instances(InstanceIds=[outputs["Web"]])["Reservations"][0]["Instances"]
    assert (
        instance["State"]["Name"] == "running"
        and {"Key": "aws:cloudformation:stack-name", "Value": "flag"} in instance["Tags"]
    )
    (database,) = [
        d for d in rds.describe_db_instances()["DBInstances"] if d["Endpoint"]["Address"] == outputs["Database"]
    ]
    assert database["DBInstanceStatus"] == "available"
    # adding the function is an update that touches nothing else
    cfn.update_stack(
        StackName="flag", UsePreviousTemplate=True, Capabilities=BOTH, Parameters=parameters(Thumbnails="on")
    )
    cfn.get_waiter("stack_update_complete").wait(StackName="flag", WaiterConfig=QUICK)
    assert s3.get_object(Bucket=bucket, Key="users/1/avatar.png")["Body"].read() == b"kept"
    (wired,) = s3.get_bucket_notification_configuration(Bucket=bucket)["LambdaFunctionConfigurations"]
    assert wired["Filter"]["Key"]["FilterRules"][0]["Value"] == "users/"
    resources = cfn.list_stack_resources(StackName="flag")["StackResourceSummaries"]
    by_type = {r["ResourceType"]: r["PhysicalResourceId"] for r in resources}
    assert by_type["AWS::EC2::Instance"] == outputs["Web"] and "AWS::Lambda::Permission" in by_type
    with pytest.raises(cfn.exceptions.ClientError, match="No updates are to be performed"):
        cfn.update_stack(
            StackName="flag", UsePreviousTemplate=True, Capabilities=BOTH, Parameters=parameters(Thumbnails="on")
        )
    # a bucket that is not empty stays, and the stack says so
    cfn.delete_stack(StackName="flag")
    with pytest.raises(Exception, match="DELETE_FAILED"):
        cfn.get_waiter("stack_delete_complete").wait(StackName="flag", WaiterConfig=QUICK)
    for item in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        s3.delete_object(Bucket=bucket, Key=item["Key"])
    cfn.delete_stack(StackName="flag")
    cfn.get_waiter("stack_delete_complete").wait(StackName="flag", WaiterConfig=QUICK)


def test_the_aws_command(chamber: Any, tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / "thumb").mkdir(parents=True)
    (folder / "thumb" / "index.py").write_text("def handler(event, context):\n    return 'from a folder'\n")
    only_function = """
Transform: AWS::Serverless-2016-10-31
Resources:
  F:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: thumb, Handler: index.handler, Runtime: python3.12}
Outputs: {Name: {Value: !Ref F}}
"""
    (folder / "template.yaml").write_text(only_function)
    chamber.client("s3").create_bucket(Bucket="cli-assets")

    def aws(*arguments: str) -> str:
        done = subprocess.run([AWS, *arguments], env=chamber.environment(), capture_output=True, text=True, cwd=folder, timeout=120)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    aws("cloudformation", "package", "--template-file", "template.yaml", "--s3-bucket", "cli-assets", "--output-template-file", "packed.yaml")  # fmt: skip
    deploy = ("cloudformation", "deploy", "--template-file", "packed.yaml", "--stack-name", "cli", "--capabilities", "CAPABILITY_IAM", "--s3-bucket", "cli-assets")  # fmt: skip
    assert "Successfully created/updated stack - cli" in aws(*deploy)
    assert "No changes to deploy" in aws(*deploy, "--no-fail-on-empty-changeset")
    name = of(json.loads(aws("cloudformation", "describe-stacks", "--stack-name", "cli"))["Stacks"][0]["Outputs"])[
        "Name"
    ]
    aws("lambda", "invoke", "--function-name", name, "out.json")
    assert json.loads((folder / "out.json").read_text()) == "from a folder"
    processed = json.loads(
        aws("cloudformation", "get-template", "--stack-name", "cli", "--template-stage", "Processed")
    )
    assert processed["TemplateBody"]["Resources"]["F"]["Type"] == "AWS::Lambda::Function"
    aws("cloudformation", "delete-stack", "--stack-name", "cli")
    chamber.client("cloudformation").get_waiter("stack_delete_complete").wait(StackName="cli", WaiterConfig=QUICK)


def test_the_service_role_decides(chamber: Any) -> None:
    iam, cfn = chamber.client("iam"), chamber.client("cloudformation")
    trust = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "cloudformation.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    role = iam.create_role(RoleName="cfn-deploys", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    body = "Resources: {Logs: {Type: AWS::Logs::LogGroup}}"
    cfn.create_stack(StackName="roled", TemplateBody=body, RoleARN=role)
    with pytest.raises(Exception, match="ROLLBACK"):
        cfn.get_waiter("stack_create_complete").wait(StackName="roled", WaiterConfig=QUICK)
    events = cfn.describe_stack_events(StackName="roled")["StackEvents"]
    reason = next(e["ResourceStatusReason"] for e in events if e["ResourceStatus"] == "CREATE_FAILED")
    assert "assumed-role/cfn-deploys/AWSCloudFormation" in reason and "logs:" in reason
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName="cfn-deploys", PolicyName="logs", PolicyDocument=json.dumps(allow))
    cfn.delete_stack(StackName="roled")
    cfn.get_waiter("stack_delete_complete").wait(StackName="roled", WaiterConfig=QUICK)
    cfn.create_stack(StackName="roled", TemplateBody=body, RoleARN=role)
    cfn.get_waiter("stack_create_complete").wait(StackName="roled", WaiterConfig=QUICK)
    # who may create stacks but not pass the role, may not
    iam.create_user(UserName="cfn-user")
    deny = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "cloudformation:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="cfn-user", PolicyName="stacks", PolicyDocument=json.dumps(deny))
    key = iam.create_access_key(UserName="cfn-user")["AccessKey"]
    theirs = chamber.client("cloudformation", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    with pytest.raises(theirs.exceptions.ClientError, match="iam:PassRole"):
        theirs.create_stack(StackName="theirs", TemplateBody=body, RoleARN=role)
    theirs.create_stack(StackName="theirs", TemplateBody=body)
    with pytest.raises(Exception, match="ROLLBACK"):
        theirs.get_waiter("stack_create_complete").wait(StackName="theirs", WaiterConfig=QUICK)
    events = theirs.describe_stack_events(StackName="theirs")["StackEvents"]
    assert any("user/cfn-user" in e.get("ResourceStatusReason", "") for e in events)


def test_kill_in_the_middle(own_chamber: Any) -> None:
    cfn = own_chamber.client("cloudformation")
    cfn.create_stack(StackName="killed", TemplateBody=TEMPLATE, Capabilities=BOTH)
    while True:
        begun = cfn.describe_stack_resources(StackName="killed")["StackResources"]
        if any(r["LogicalResourceId"] == "Database" for r in begun):
            break
    assert own_chamber.process is not None
    own_chamber.process.send_signal(signal.SIGKILL)
    own_chamber.process.wait()
    own_chamber.start()
    cfn = own_chamber.client("cloudformation")
    ends = time.monotonic() + 120
    while time.monotonic() < ends and (stack := cfn.describe_stacks(StackName="killed")["Stacks"][0])[
        "StackStatus"
    ].endswith("_IN_PROGRESS"):
        pass
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE", cfn.describe_stack_events(StackName="killed")["StackEvents"]
    assert own_chamber.client("rds").describe_db_instances()["DBInstances"] == []
    assert own_chamber.client("s3").list_buckets()["Buckets"] == []
    assert own_chamber.client("lambda").list_functions()["Functions"] == []
    reservations = own_chamber.client("ec2").describe_instances()["Reservations"]
    assert all(i["State"]["Name"] == "terminated" for r in reservations for i in r["Instances"])
    assert own_chamber.client("iam").list_roles()["Roles"] == []
