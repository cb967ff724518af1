# SPDX-License-Identifier: Apache-2.0
"""Several accounts: what one lets the other do, and what it does not, through boto3 and the command line."""

from __future__ import annotations

import io
import json
import uuid
import zipfile

import pytest
from botocore.exceptions import ClientError

FIRST = "000000000000"


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action: object, resource: object = "*", **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


class Other:
    """Another account than the first, and clients of its root and users."""

    def __init__(self, chamber):
        self.chamber = chamber
        self.name = f"acc-{uuid.uuid4().hex[:10]}"
        self.told = json.loads(chamber.cli("account", "add", self.name, "--json").stdout)
        self.id = self.told["Id"]
        self.key = f"{self.told['AccessKeyId']}:{self.told['SecretAccessKey']}"

    def client(self, service, key=None, token=None):
        return self.chamber.client(service, key or self.key, token)


def user(chamber, key, name, *statements) -> str:
    """A user with an inline policy; its key pair."""
    iam = chamber.client("iam", key) if key else chamber.client("iam")
    iam.create_user(UserName=name)
    if statements:
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(*statements))
    made = iam.create_access_key(UserName=name)["AccessKey"]
    return f"{made['AccessKeyId']}:{made['SecretAccessKey']}"


def as_session(chamber, credentials, service):
    pair = f"{credentials['AccessKeyId']}:{credentials['SecretAccessKey']}"
    return chamber.client(service, pair, credentials["SessionToken"])


@pytest.fixture(scope="module")
def other(chamber):
    return Other(chamber)


@pytest.fixture
def name() -> str:
    return f"acc-{uuid.uuid4().hex[:10]}"


def test_the_root_of_an_account_is_that_accounts_root(chamber, other):
    identity = other.client("sts").get_caller_identity()
    assert identity["Arn"] == f"arn:aws:iam::{other.id}:root"
    assert identity["Account"] == identity["UserId"] == other.id
    assert len(other.id) == 12 and other.id.isdigit() and other.id != FIRST
    assert chamber.client("sts").get_access_key_info(AccessKeyId=other.told["AccessKeyId"])["Account"] == other.id
    listed = json.loads(chamber.cli("account", "list", "--json").stdout)
    assert listed[0]["Id"] == FIRST
    assert {"Id": other.id, "Name": other.name}.items() <= listed[-1].items()
    assert "SecretAccessKey" not in listed[-1]
    again = chamber.cli("account", "add", other.name.upper(), check=False)
    assert again.returncode == 1 and "EntityAlreadyExists" in again.stderr


def test_what_accounts_have_is_their_own(chamber, other, name):
    user(chamber, None, name)
    assert name not in [one["UserName"] for one in other.client("iam").list_users()["Users"]]
    refused("NoSuchEntity", other.client("iam").get_user, UserName=name)
    user(chamber, other.key, name)
    assert other.client("iam").get_user(UserName=name)["User"]["Arn"] == f"arn:aws:iam::{other.id}:user/{name}"
    chamber.client("s3").create_bucket(Bucket=name)
    assert name not in [one["Name"] for one in other.client("s3").list_buckets()["Buckets"]]
    assert other.client("s3").list_buckets()["Owner"]["ID"] == other.told["CanonicalId"]
    refused("403", other.client("s3").head_bucket, Bucket=name)
    refused("AccessDenied", other.client("s3").list_objects_v2, Bucket=name)
    assert other.client("ec2").describe_security_groups()["SecurityGroups"][0]["OwnerId"] == other.id


def test_a_bucket_lets_another_account_in_only_if_both_sides_allow(chamber, other, name):
    s3 = other.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"theirs")
    pair = user(chamber, None, name)
    ours = chamber.client("s3", pair)
    refused("AccessDenied", ours.get_object, Bucket=name, Key="k")
    opened = {
        "Effect": "Allow", "Principal": {"AWS": FIRST}, "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{name}/*",
    }  # fmt: skip
    s3.put_bucket_policy(Bucket=name, Policy=policy(opened))
    # Why: AWS tells nobody of another account's policies; 'cloudchamber why' does
    assert refused("AccessDenied", ours.get_object, Bucket=name, Key="k") == "Access Denied"
    iam = chamber.client("iam")
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy(allow("s3:*", f"arn:aws:s3:::{name}*")))
    assert ours.get_object(Bucket=name, Key="k")["Body"].read() == b"theirs"
    refused("AccessDenied", ours.put_object, Bucket=name, Key="k", Body=b"ours")
    s3.delete_bucket_policy(Bucket=name)
    assert refused("AccessDenied", ours.get_object, Bucket=name, Key="k") == "Access Denied"
    # Why: even the other account's root is a stranger there
    refused("AccessDenied", chamber.client("s3").get_object, Bucket=name, Key="k")


def test_a_role_of_another_account_is_assumed_only_if_both_sides_allow(chamber, other, name):
    pair = user(chamber, None, name)
    arn = f"arn:aws:iam::{FIRST}:user/{name}"
    trusted = policy({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"})
    iam = other.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(allow("s3:ListAllMyBuckets")))
    sts = chamber.client("sts", pair)
    message = refused("AccessDenied", sts.assume_role, RoleArn=role, RoleSessionName="visit")
    assert message == f"User: {arn} is not authorized to perform: sts:AssumeRole on resource: {role}"
    chamber.client("iam").put_user_policy(
        UserName=name, PolicyName="p", PolicyDocument=policy(allow("sts:AssumeRole", role))
    )
    credentials = sts.assume_role(RoleArn=role, RoleSessionName="visit")["Credentials"]
    assert as_session(chamber, credentials, "sts").get_caller_identity()["Account"] == other.id
    as_session(chamber, credentials, "s3").list_buckets()
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=trusted.replace(f"user/{name}", f"user/{name}", 1))
    iam.update_assume_role_policy(
        RoleName=name,
        PolicyDocument=policy({"Effect": "Allow", "Principal": {"AWS": other.id}, "Action": "sts:AssumeRole"}),
    )
    refused("AccessDenied", sts.assume_role, RoleArn=role, RoleSessionName="visit")


def test_a_role_cannot_be_passed_across_accounts(chamber, other, name):
    trusted = policy({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})
    role = other.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    pair = user(chamber, None, name, allow("*"))
    message = refused("AccessDeniedException", chamber.client("lambda", pair).create_function, **function(name, role))
    assert "iam:PassRole" in message and role in message
    refused("AccessDeniedException", chamber.client("lambda").create_function, **function(name, role))


def function(name: str, role: str) -> dict:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("app.py", "def run(event, context):\n    return event\n")
    return {
        "FunctionName": name, "Runtime": "python3.12", "Role": role, "Handler": "app.run",
        "Code": {"ZipFile": packed.getvalue()},
    }  # fmt: skip


def test_a_function_lets_another_account_invoke_it(chamber, other, name):
    trusted = policy({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})
    role = other.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    theirs = other.client("lambda")
    arn = theirs.create_function(**function(name, role))["FunctionArn"]
    assert arn.split(":")[4] == other.id
    theirs.get_waiter("function_active_v2").wait(FunctionName=name)
    pair = user(chamber, None, name, allow("lambda:InvokeFunction"))
    ours = chamber.client("lambda", pair)
    refused("AccessDeniedException", ours.invoke, FunctionName=arn, Payload=b"1")
    theirs.add_permission(FunctionName=name, StatementId="s", Action="lambda:InvokeFunction", Principal=FIRST)
    answer = ours.invoke(FunctionName=arn, Payload=b'{"from": "abroad"}')
    assert json.loads(answer["Payload"].read()) == {"from": "abroad"}
    refused("ResourceNotFoundException", chamber.client("lambda").get_function, FunctionName=name)


def test_events_of_a_bucket_reach_a_function_of_another_account_that_lets_them(chamber, other, name):
    trusted = policy({"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})
    role = chamber.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trusted)["Role"]["Arn"]
    ours, theirs = chamber.client("lambda"), other.client("s3")
    arn = ours.create_function(**function(name, role))["FunctionArn"]
    ours.get_waiter("function_active_v2").wait(FunctionName=name)
    theirs.create_bucket(Bucket=name)
    told = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    ask = {"Bucket": name, "NotificationConfiguration": told}
    permission = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    refused("InvalidArgument", theirs.put_bucket_notification_configuration, **ask)
    ours.add_permission(**permission, StatementId="first", SourceAccount=FIRST)
    refused("InvalidArgument", theirs.put_bucket_notification_configuration, **ask)
    ours.add_permission(**permission, StatementId="theirs", SourceAccount=other.id)
    theirs.put_bucket_notification_configuration(**ask)


def test_a_secret_lets_another_account_read_it(chamber, other, name):
    theirs = other.client("secretsmanager")
    arn = theirs.create_secret(Name=name, SecretString="word")["ARN"]
    pair = user(chamber, None, name, allow("secretsmanager:GetSecretValue"))
    ours = chamber.client("secretsmanager", pair)
    refused("AccessDeniedException", ours.get_secret_value, SecretId=arn)
    opened = {
        "Effect": "Allow", "Principal": {"AWS": FIRST}, "Action": "secretsmanager:GetSecretValue", "Resource": "*",
    }  # fmt: skip
    theirs.put_resource_policy(SecretId=arn, ResourcePolicy=policy(opened))
    assert ours.get_secret_value(SecretId=arn)["SecretString"] == "word"


def test_nobody_tags_what_another_account_has(chamber, other, name):
    ours, theirs = chamber.client("ec2"), other.client("ec2")
    group = ours.create_security_group(GroupName=name, Description="ours")["GroupId"]
    data = {"InstanceType": "t3.micro"}
    template = ours.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    template_id = template["LaunchTemplate"]["LaunchTemplateId"]
    key = ours.create_key_pair(KeyName=name)["KeyPairId"]
    tags = [{"Key": "team", "Value": "theirs"}]
    for one, code in (
        (group, "InvalidGroup.NotFound"),
        (template_id, "InvalidLaunchTemplateId.NotFound"),
        (key, "InvalidKeyPair.NotFound"),
    ):
        refused(code, theirs.create_tags, Resources=[one], Tags=tags)
        ours.create_tags(Resources=[one], Tags=[{"Key": "team", "Value": "ours"}])
        refused(code, theirs.delete_tags, Resources=[one])
        found = ours.describe_tags(Filters=[{"Name": "resource-id", "Values": [one]}])["Tags"]
        assert [tag["Value"] for tag in found] == ["ours"]


def test_a_boundary_is_a_policy_of_the_same_account(chamber, other, name):
    given = policy(allow("s3:*"))
    foreign = chamber.client("iam").create_policy(PolicyName=name, PolicyDocument=given)["Policy"]["Arn"]
    iam = other.client("iam")
    refused("NoSuchEntity", iam.create_user, UserName=name, PermissionsBoundary=foreign)
    iam.create_user(UserName=name, PermissionsBoundary="arn:aws:iam::aws:policy/ReadOnlyAccess")
    refused("NoSuchEntity", iam.put_user_permissions_boundary, UserName=name, PermissionsBoundary=foreign)
