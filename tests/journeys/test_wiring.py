# SPDX-License-Identifier: Apache-2.0
"""What an app may do is what its instance's role may do: no role, no credentials; another role, another answer."""

from __future__ import annotations

import json
import time

import pytest
from botocore.exceptions import ClientError

WITHIN_S = 60
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
USER_DATA = """#!/bin/bash
python3 - <<'END'
import boto3
try:
    print("WHO", boto3.Session().get_credentials().method, boto3.client("sts").get_caller_identity()["Arn"])
except Exception as error:
    print("WHO", type(error).__name__)
try:
    boto3.client("s3").put_object(Bucket="{bucket}", Key="a", Body=b"1")
    print("PUT done")
except Exception as error:
    print("PUT", type(error).__name__, getattr(error, "response", {{}}).get("Error", {{}}).get("Code"))
END
"""


@pytest.fixture(scope="module")
def bucket(chamber):
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket="wiring-files")
    yield "wiring-files"
    s3.delete_object(Bucket="wiring-files", Key="a")
    s3.delete_bucket(Bucket="wiring-files")


def profile(chamber, name, bucket, *actions):
    iam = chamber.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    if actions:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": f"arn:aws:s3:::{bucket}/*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName="Files", PolicyDocument=document)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def said(chamber, bucket, **options):
    """What the instance's user data printed, by its first words."""
    ec2 = chamber.client("ec2")
    (image,) = ec2.describe_images(Owners=["amazon"])["Images"][:1]
    run = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType="t3.micro", MinCount=1, MaxCount=1,
        UserData=USER_DATA.format(bucket=bucket), **options,
    )  # fmt: skip
    instance = run["Instances"][0]["InstanceId"]
    try:
        ends = time.monotonic() + WITHIN_S
        while time.monotonic() < ends:
            output = ec2.get_console_output(InstanceId=instance).get("Output", "")
            lines = dict(line.split(" ", 1) for line in output.splitlines() if line.startswith(("WHO ", "PUT ")))
            if len(lines) == 2:
                return lines
            time.sleep(0.05)
        raise AssertionError(output)
    finally:
        ec2.terminate_instances(InstanceIds=[instance])


def test_with_the_role(chamber, bucket):
    name = profile(chamber, "wiring-writer", bucket, "s3:PutObject")
    lines = said(chamber, bucket, IamInstanceProfile={"Name": name})
    assert lines["WHO"].startswith("iam-role arn:aws:sts::000000000000:assumed-role/wiring-writer/i-")
    assert lines["PUT"] == "done"


def test_with_another_role(chamber, bucket):
    name = profile(chamber, "wiring-reader", bucket, "s3:GetObject")
    lines = said(chamber, bucket, IamInstanceProfile={"Name": name})
    assert "assumed-role/wiring-reader/" in lines["WHO"]
    assert lines["PUT"].endswith(" AccessDenied")


def test_without_a_role(chamber, bucket):
    lines = said(chamber, bucket)
    assert lines["PUT"] == "NoCredentialsError None"


def test_a_key_of_another_role_is_refused(chamber, bucket):
    """The key of a role that may not write answers 403, from wherever it is used."""
    iam = chamber.client("iam")
    everybody = {"Effect": "Allow", "Principal": {"AWS": "000000000000"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [everybody]}
    iam.create_role(RoleName="wiring-nothing", AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_user(UserName="wiring-user")
    key = iam.create_access_key(UserName="wiring-user")["AccessKey"]
    allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    iam.put_user_policy(UserName="wiring-user", PolicyName="Assume", PolicyDocument=document)
    sts = chamber.client("sts", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    role = "arn:aws:iam::000000000000:role/wiring-nothing"
    got = sts.assume_role(RoleArn=role, RoleSessionName="other")["Credentials"]
    s3 = chamber.client("s3", f"{got['AccessKeyId']}:{got['SecretAccessKey']}", got["SessionToken"])
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert "no identity-based policy allows the s3:PutObject action" in str(refused.value)
