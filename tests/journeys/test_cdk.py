# SPDX-License-Identifier: Apache-2.0
"""What the AWS CDK does, call by call, with templates that it wrote: bootstrap, publish, deploy, destroy.

The command itself is run by ``python -m tools clients "AWS CDK"``; it needs Node.js. The calls here are those that it
was seen to make: change sets, the roles of the bootstrap stack for each step, HTTPS for the bucket of assets.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

DATA = Path(__file__).resolve().parents[1] / "data" / "cdk"
ACCOUNT, REGION = "000000000000", "us-east-1"
ASSETS = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"
CODE = """
import boto3
s3 = boto3.client("s3")
def handler(event, context):
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key="upper/" + key.rpartition("/")[2], Body=data.upper())
"""
WITHIN_S = 60


def role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/cdk-hnb659fds-{name}-role-{ACCOUNT}-{REGION}"


class Developer:
    """Calls by HTTPS, as a user who may do everything, or as a role that it assumes."""

    def __init__(self, chamber, key: dict[str, str]) -> None:
        self._endpoint = chamber.endpoint.replace("http:", "https:")
        self._ca = str(chamber.state / "ca" / "ca.pem")
        self._user = boto3.Session(key["AccessKeyId"], key["SecretAccessKey"], region_name=REGION)

    def client(self, service: str, as_role: str = ""):
        session = self._user
        if as_role:
            given = self.client("sts").assume_role(RoleArn=role(as_role), RoleSessionName="aws-cdk")["Credentials"]
            keys = given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
            session = boto3.Session(*keys, region_name=REGION)
        return session.client(service, endpoint_url=self._endpoint, verify=self._ca)

    def settled(self, stacks, stack_id: str, status: str) -> dict:
        ends = time.monotonic() + WITHIN_S
        while (stack := stacks.describe_stacks(StackName=stack_id)["Stacks"][0])["StackStatus"].endswith("IN_PROGRESS"):
            assert time.monotonic() < ends, stack
            time.sleep(0.05)
        events = stacks.describe_stack_events(StackName=stack_id)["StackEvents"]
        assert stack["StackStatus"] == status, [e.get("ResourceStatusReason") for e in events]
        return stack

    def deploy(self, stacks, name: str, **asked) -> dict:
        """By a change set, as the command does."""
        made = stacks.create_change_set(
            StackName=name, ChangeSetName="cdk-deploy-change-set", ChangeSetType="CREATE", IncludeNestedStacks=True,
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            DeploymentConfig={"Mode": "STANDARD"}, **asked,
        )  # fmt: skip
        found = stacks.describe_change_set(ChangeSetName=made["Id"], StackName=name, IncludePropertyValues=True)
        assert found["Status"] == "CREATE_COMPLETE", found.get("StatusReason")
        stacks.execute_change_set(ChangeSetName=made["Id"], StackName=name, ClientRequestToken="exec1")
        return self.settled(stacks, made["StackId"], "CREATE_COMPLETE")


@pytest.fixture
def developer(own_chamber):
    if not own_chamber.about["sandbox_mode"].startswith("ns-"):
        mode = own_chamber.about["sandbox_mode"]
        pytest.skip(f"functions in mode {mode} have no network of their own: custom resources are refused")
    iam = own_chamber.client("iam")
    iam.create_user(UserName="developer")
    iam.attach_user_policy(UserName="developer", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    return Developer(own_chamber, iam.create_access_key(UserName="developer")["AccessKey"])


def test_bootstrap_deploy_and_destroy(developer):
    stacks = developer.client("cloudformation")
    given = {"FileAssetsBucketKmsKeyId": "AWS_MANAGED_KEY", "PublicAccessBlockConfiguration": "true"}
    developer.deploy(
        stacks, "CDKToolkit", TemplateBody=(DATA / "bootstrap.yaml").read_text(), ImportExistingResources=True,
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in given.items()],
    )  # fmt: skip
    version = developer.client("ssm", "deploy").get_parameter(Name="/cdk-bootstrap/hnb659fds/version")["Parameter"]
    assert int(version["Value"]) >= 30

    template = json.loads((DATA / "Uploads.template.json").read_text())
    publisher = developer.client("s3", "file-publishing")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("index.py", CODE)
    (key,) = {
        one["Properties"]["Code"]["S3Key"]
        for one in template["Resources"].values()
        if one["Type"] == "AWS::Lambda::Function" and "S3Key" in one["Properties"]["Code"]
    }
    publisher.put_object(Bucket=ASSETS, Key=key, Body=packed.getvalue(), ChecksumAlgorithm="SHA256")
    publisher.put_object(Bucket=ASSETS, Key="template.json", Body=json.dumps(template).encode())
    with pytest.raises(ClientError, match="AccessDenied"):
        publisher.list_buckets()

    deployer = developer.client("cloudformation", "deploy")
    stack = developer.deploy(
        deployer, "Uploads", RoleARN=role("cfn-exec"),
        TemplateURL=f"https://s3.{REGION}.amazonaws.com/{ASSETS}/template.json",
    )  # fmt: skip
    bucket = stack["Outputs"][0]["OutputValue"]
    kinds = {r["ResourceType"] for r in deployer.describe_stack_resources(StackName="Uploads")["StackResources"]}
    assert {"Custom::S3BucketNotifications", "AWS::SSM::Parameter", "AWS::CDK::Metadata"} <= kinds

    s3 = developer.client("s3")
    s3.put_object(Bucket=bucket, Key="originals/a.txt", Body=b"hello")
    ends = time.monotonic() + WITHIN_S
    while "Contents" not in (found := s3.list_objects_v2(Bucket=bucket, Prefix="upper/")):
        assert time.monotonic() < ends, found
        time.sleep(0.05)
    assert s3.get_object(Bucket=bucket, Key="upper/a.txt")["Body"].read() == b"HELLO"

    for name in ("originals/a.txt", "upper/a.txt"):
        s3.delete_object(Bucket=bucket, Key=name)
    deployer.delete_stack(StackName=stack["StackId"], RoleARN=role("cfn-exec"), DeploymentConfig={"Mode": "STANDARD"})
    developer.settled(deployer, stack["StackId"], "DELETE_COMPLETE")
    assert bucket not in [one["Name"] for one in s3.list_buckets()["Buckets"]]
