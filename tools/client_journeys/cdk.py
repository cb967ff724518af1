# SPDX-License-Identifier: Apache-2.0
"""AWS CDK: bootstrap, then deploy, change and destroy an app with what needs CDK's own custom resources.

CDK's function that empties a bucket is written for Node.js and takes the AWS SDK from its runtime: it is put into the
state folder, where functions on Node.js find it.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

import boto3

APP = """
const cdk = require('aws-cdk-lib');
const { aws_s3: s3, aws_lambda: lambda, aws_s3_notifications: n, aws_ssm: ssm } = cdk;
class Uploads extends cdk.Stack {
  constructor(scope, id) {
    super(scope, id);
    const bucket = new s3.Bucket(this, 'Uploads', {
      removalPolicy: cdk.RemovalPolicy.DESTROY, autoDeleteObjects: true, enforceSSL: true,
    });
    const upper = new lambda.Function(this, 'Upper', {
      runtime: lambda.Runtime.PYTHON_3_12, handler: 'index.handler', code: lambda.Code.fromAsset('code'),
      timeout: cdk.Duration.seconds(30),
    });
    bucket.addEventNotification(s3.EventType.OBJECT_CREATED, new n.LambdaDestination(upper),
      { prefix: process.env.PREFIX });
    bucket.grantReadWrite(upper);
    new ssm.StringParameter(this, 'Where', { parameterName: '/uploads/bucket', stringValue: bucket.bucketName });
    new cdk.CfnOutput(this, 'Bucket', { value: bucket.bucketName });
  }
}
new Uploads(new cdk.App(), 'Uploads');
"""
CODE = """
import boto3
s3 = boto3.client("s3")
def handler(event, context):
    for record in event["Records"]:
        bucket, key = record["s3"]["bucket"]["name"], record["s3"]["object"]["key"]
        data = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        s3.put_object(Bucket=bucket, Key="upper/" + key.rpartition("/")[2], Body=data.upper())
"""
state = Path(os.environ["NODE_EXTRA_CA_CERTS"]).parents[1]
own = shutil.ignore_patterns("aws-cdk*", "constructs", ".bin")
shutil.copytree("node_modules", state / "lambda/node/node_modules", ignore=own)
Path("code").mkdir()
Path("code/index.py").write_text(CODE)
Path("app.js").write_text(APP)
Path("cdk.json").write_text('{"app": "node app.js"}')

iam = boto3.client("iam")  # not as root, who can assume no roles, but as a user, so that CDK takes its own
iam.create_user(UserName="cdk-developer")
iam.attach_user_policy(UserName="cdk-developer", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
key = iam.create_access_key(UserName="cdk-developer")["AccessKey"]
os.environ |= {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def cdk(*arguments: str, prefix: str = "originals/") -> str:
    """Run the command; what it said."""
    command = ["node_modules/.bin/cdk", *arguments]
    done = subprocess.run(
        command, env={**os.environ, "PREFIX": prefix}, capture_output=True, text=True, check=False, timeout=300
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{arguments}: {said[-4000:]}"
    assert "could not be used to assume" not in said, said[-4000:]
    return said


def upper(name: str) -> bytes:
    """Put an object, and wait for what the function makes of it."""
    s3.put_object(Bucket=bucket, Key=name, Body=b"hello")
    ends = time.monotonic() + 30
    while True:
        try:
            return s3.get_object(Bucket=bucket, Key="upper/" + name.rpartition("/")[2])["Body"].read()
        except s3.exceptions.NoSuchKey:
            assert time.monotonic() < ends, "the function did not run"
            time.sleep(0.1)


assert "bootstrapped" in cdk("bootstrap", "aws://000000000000/us-east-1")
cdk("deploy", "--require-approval", "never")
s3, ssm = boto3.client("s3"), boto3.client("ssm")
bucket = ssm.get_parameter(Name="/uploads/bucket")["Parameter"]["Value"]
assert upper("originals/a.txt") == b"HELLO"
assert "There were no differences" in cdk("diff")
assert "(no changes)" in cdk("deploy", "--require-approval", "never")
cdk("deploy", "--require-approval", "never", prefix="incoming/")  # an update of CDK's custom resource
assert upper("incoming/b.txt") == b"HELLO"
cdk("destroy", "--force")
assert bucket not in [one["Name"] for one in s3.list_buckets()["Buckets"]]
assert not ssm.get_parameters(Names=["/uploads/bucket"])["Parameters"]
