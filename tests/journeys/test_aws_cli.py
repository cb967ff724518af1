# SPDX-License-Identifier: Apache-2.0
"""The aws command, unmodified, with IAM on: what people type on AWS, they type here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT_KEY

ACCOUNT = "000000000000"
IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-x86_64"
LOGS = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
TEMPLATE = """
Parameters:
  Days: {Type: Number, Default: 3}
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: !Ref Days}}
Outputs:
  Bucket: {Value: !Ref Bucket}
"""


def document(**statement: object) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def trust(**principal: str) -> str:
    return document(Principal=principal, Action="sts:AssumeRole")


@dataclass
class Aws:
    """The aws command in a folder and with configuration files of its own."""

    folder: Path
    endpoint: str
    environment: dict[str, str]

    def ran(self, line: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).parent / "aws"), *line.split(), *more]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, timeout=120
        )

    def __call__(self, line: str, *more: str) -> str:
        done = self.ran(line, *more)
        assert done.returncode == 0, f"aws {line}: {done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, line: str, *more: str) -> str:
        done = self.ran(line, *more)
        assert done.returncode != 0, f"aws {line}: {done.stdout}"
        return done.stdout + done.stderr

    def text(self, line: str, query: str, *more: str) -> str:
        return self(line, *more, "--output", "text", "--query", query).strip()


@pytest.fixture
def aws(chamber, tmp_path):
    access, _, secret = ROOT_KEY.partition(":")
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
        # Why: the command keeps the credentials of roles in ~/.aws/cli/cache, past the chamber that gave them.
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
    }
    aws = Aws(tmp_path, chamber.endpoint, environment)
    profile(aws, "default", aws_access_key_id=access, aws_secret_access_key=secret)
    return aws


def profile(aws: Aws, name: str, **values: str) -> None:
    section = "[default]" if name == "default" else f"[profile {name}]"
    lines = {**values, "region": "us-east-1", "endpoint_url": aws.endpoint}
    with (aws.folder / "config").open("a") as file:
        file.write("\n".join([section, *(f"{k} = {v}" for k, v in lines.items()), ""]))


def test_s3_moves_files_and_folders_as_they_are(aws):
    tree = aws.folder / "tree"
    (tree / "deep").mkdir(parents=True)
    for name in ("a.txt", "deep/b.txt", "with space & ünicode+plus.txt"):
        (tree / name).write_text(name)
    (aws.folder / "big").write_bytes(os.urandom(20 * 1024 * 1024))
    aws("s3 mb s3://cli-files")
    aws("s3 cp big s3://cli-files/big --only-show-errors")
    aws("s3 cp s3://cli-files/big back --only-show-errors")
    assert (aws.folder / "back").read_bytes() == (aws.folder / "big").read_bytes()
    assert aws("s3 sync tree s3://cli-files/tree").count("upload:") == 3
    assert aws("s3 sync tree s3://cli-files/tree") == ""
    assert "tree/deep/b.txt" in aws("s3 ls --recursive s3://cli-files")
    (tree / "a.txt").unlink()
    assert "delete: s3://cli-files/tree/a.txt" in aws("s3 sync tree s3://cli-files/tree --delete")
    aws("s3 sync s3://cli-files/tree again")
    there = {str(p.relative_to(aws.folder / "again")) for p in (aws.folder / "again").rglob("*.txt")}
    assert there == {"deep/b.txt", "with space & ünicode+plus.txt"}
    with urllib.request.urlopen(aws("s3 presign s3://cli-files/tree/deep/b.txt").strip()) as answer:
        assert answer.read() == b"deep/b.txt"
    aws("s3api get-object --bucket cli-files --key big --range bytes=10-19 piece")
    assert (aws.folder / "piece").read_bytes() == (aws.folder / "big").read_bytes()[10:20]
    once = "s3api put-object --bucket cli-files --key once --body piece --if-none-match *"
    aws(once)
    assert "PreconditionFailed" in aws.refused(once)
    assert "BucketNotEmpty" in aws.refused("s3 rb s3://cli-files")
    aws("s3 rm --recursive s3://cli-files/tree")
    aws("s3 rb --force s3://cli-files")


def test_a_user_may_what_its_policy_says_and_a_role_more(aws):
    aws("iam create-user --user-name cli-reader")
    key = aws.text("iam create-access-key --user-name cli-reader", "AccessKey.[AccessKeyId,SecretAccessKey]").split()
    profile(aws, "reader", aws_access_key_id=key[0], aws_secret_access_key=key[1])
    allowed = document(Action=["s3:ListAllMyBuckets", "sts:AssumeRole"], Resource="*")
    aws("iam put-user-policy --user-name cli-reader --policy-name list --policy-document", allowed)
    user, role = f"arn:aws:iam::{ACCOUNT}:user/cli-reader", f"arn:aws:iam::{ACCOUNT}:role/cli-writer"
    aws("iam create-role --role-name cli-writer --assume-role-policy-document", trust(AWS=user))
    files = document(Action="s3:*", Resource="*")
    aws("iam put-role-policy --role-name cli-writer --policy-name files --policy-document", files)
    profile(aws, "writer", role_arn=role, source_profile="reader")

    assert aws.text("sts get-caller-identity --profile reader", "Arn") == user
    aws("s3 ls --profile reader")
    denied = aws.refused("s3 mb s3://cli-made --profile reader")
    assert f"User: {user} is not authorized to perform: s3:CreateBucket" in denied
    assert "because no identity-based policy allows the s3:CreateBucket action" in denied
    assert ":assumed-role/cli-writer/" in aws.text("sts get-caller-identity --profile writer", "Arn")
    aws("s3 mb s3://cli-made --profile writer")
    aws("s3 rb s3://cli-made --profile writer")
    assert "iam:ListUsers" in aws.refused("iam list-users --profile writer")


def instance_runs_stops_starts_and_ends(aws: Aws) -> None:
    (aws.folder / "start.sh").write_text("#!/bin/bash\necho hello from user data\n")
    image = aws.text(f"ssm get-parameter --name {IMAGE}", "Parameter.Value")
    run = f"ec2 run-instances --image-id {image} --instance-type t3.micro --user-data file://start.sh"
    instance = aws.text(run, "Instances[0].InstanceId")
    one = f"--instance-ids {instance}"
    aws(f"ec2 wait instance-status-ok {one}")
    assert "hello from user data" in aws(f"ec2 get-console-output --latest --output text --instance-id {instance}")
    aws(f"ec2 stop-instances {one}")
    aws(f"ec2 wait instance-stopped {one}")
    aws(f"ec2 start-instances {one}")
    aws(f"ec2 terminate-instances {one}")
    aws(f"ec2 wait instance-terminated {one}")
    assert aws.text(f"ec2 describe-instances {one}", "Reservations[0].Instances[0].State.Name") == "terminated"


def test_a_function_runs_and_its_lines_are_in_the_logs(aws):
    with zipfile.ZipFile(aws.folder / "f.zip", "w") as code:
        code.writestr("app.py", "def handler(event, context):\n    print('got', event)\n    return event['n'] * 2\n")
    aws("iam create-role --role-name cli-function --assume-role-policy-document", trust(Service="lambda.amazonaws.com"))
    aws(f"iam attach-role-policy --role-name cli-function --policy-arn {LOGS}")
    aws(
        "lambda create-function --function-name cli-double --runtime python3.12 --handler app.handler"
        f" --zip-file fileb://f.zip --role arn:aws:iam::{ACCOUNT}:role/cli-function"
    )
    aws("lambda wait function-active-v2 --function-name cli-double")
    aws("lambda invoke --function-name cli-double out --payload", '{"n": 21}')
    assert (aws.folder / "out").read_text() == "42"
    failed = aws("lambda invoke --function-name cli-double out --payload", "{}")
    assert json.loads(failed)["FunctionError"] == "Unhandled"
    assert "KeyError" in (aws.folder / "out").read_text()
    lines = aws.text("logs filter-log-events --log-group-name /aws/lambda/cli-double", "events[].message")
    assert "got {'n': 21}" in lines
    aws("lambda delete-function --function-name cli-double")


def stack_is_deployed_twice_changed_and_deleted(aws: Aws) -> None:
    (aws.folder / "stack.yaml").write_text(TEMPLATE)
    deploy = "cloudformation deploy --template-file stack.yaml --stack-name cli-stack"
    assert "Successfully created/updated stack" in aws(deploy)
    aws(f"{deploy} --parameter-overrides Days=7")
    assert "No changes to deploy" in aws(f"{deploy} --no-fail-on-empty-changeset")
    bucket = aws.text("cloudformation describe-stacks --stack-name cli-stack", "Stacks[0].Outputs[0].OutputValue")
    aws(f"s3api head-bucket --bucket {bucket}")
    aws("cloudformation delete-stack --stack-name cli-stack")
    aws("cloudformation wait stack-delete-complete --stack-name cli-stack")
    assert "does not exist" in aws.refused("cloudformation describe-stacks --stack-name cli-stack")


def database_is_made_and_deleted(aws: Aws) -> None:
    # Why the option: version 1 of the command sends `rds` in us-east-1 to AWS, whatever its configuration says.
    rds = f"--endpoint-url {aws.endpoint} rds"
    one = "--db-instance-identifier cli-database"
    aws(
        f"{rds} create-db-instance {one} --engine postgres --db-instance-class db.t4g.micro --allocated-storage 20"
        " --master-username app --master-user-password not-a-secret-1"
    )
    aws(f"{rds} wait db-instance-available {one}")
    assert aws.text(f"{rds} describe-db-instances {one}", "DBInstances[0].Endpoint.Address").startswith("127.")
    aws(f"{rds} delete-db-instance {one} --skip-final-snapshot")
    aws(f"{rds} wait db-instance-deleted {one}")
    assert "DBInstanceNotFound" in aws.refused(f"{rds} describe-db-instances {one}")


def test_what_takes_time_is_waited_for(aws):
    # Why at once: the command's own waiters look every 15 or 30 seconds.
    long = (
        instance_runs_stops_starts_and_ends,
        stack_is_deployed_twice_changed_and_deleted,
        database_is_made_and_deleted,
    )
    with ThreadPoolExecutor(len(long)) as threads:
        for done in [threads.submit(one, aws) for one in long]:
            done.result()
