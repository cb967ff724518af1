# SPDX-License-Identifier: Apache-2.0
"""Why, who can, and the written policy: through the command line, against a real chamber."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningChamber

ACCOUNT = "000000000000"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}],
    }
)
WIDE = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "All", "Effect": "Allow", "Action": ["s3:*", "ec2:DescribeInstances"], "Resource": "*"},
        {"Sid": "Never", "Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::writer-files/keys/*"},
    ],
}


STARTER: dict[str, str] = {}
"""Key of a user who may take roles, by endpoint: root may not."""


@pytest.fixture(autouse=True)
def starter(chamber: RunningChamber) -> Any:
    iam = chamber.client("iam")
    iam.create_user(UserName="writer-starter")
    take = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}}
    iam.put_user_policy(UserName="writer-starter", PolicyName="Take", PolicyDocument=json.dumps(take))
    key = iam.create_access_key(UserName="writer-starter")["AccessKey"]
    STARTER[chamber.endpoint] = f"{key['AccessKeyId']}:{key['SecretAccessKey']}"
    yield
    iam.delete_access_key(UserName="writer-starter", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="writer-starter", PolicyName="Take")
    iam.delete_user(UserName="writer-starter")


class Role:
    """A role with a session of it."""

    def __init__(self, chamber: RunningChamber, name: str, policy: dict[str, Any]) -> None:
        self.chamber, self.name = chamber, name
        self.iam = chamber.client("iam")
        self.arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Path="/app/")["Role"]["Arn"]
        self.iam.put_role_policy(RoleName=name, PolicyName="Wide", PolicyDocument=json.dumps(policy))

    def client(self, service: str) -> Any:
        starter = self.chamber.client("sts", STARTER[self.chamber.endpoint])
        made = starter.assume_role(RoleArn=self.arn, RoleSessionName="work")["Credentials"]
        return self.chamber.client(service, f"{made['AccessKeyId']}:{made['SecretAccessKey']}", made["SessionToken"])

    def end(self) -> None:
        for policy in self.iam.list_role_policies(RoleName=self.name)["PolicyNames"]:
            self.iam.delete_role_policy(RoleName=self.name, PolicyName=policy)
        for policy in self.iam.list_attached_role_policies(RoleName=self.name)["AttachedPolicies"]:
            self.iam.detach_role_policy(RoleName=self.name, PolicyArn=policy["PolicyArn"])
        self.iam.delete_role(RoleName=self.name)


@pytest.fixture
def role(chamber: RunningChamber) -> Any:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket="writer-files")
    made = Role(chamber, "writer-role", WIDE)
    made.iam.attach_role_policy(RoleName=made.name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    yield made
    made.end()
    for one in s3.list_objects_v2(Bucket="writer-files").get("Contents", []):
        s3.delete_object(Bucket="writer-files", Key=one["Key"])
    s3.delete_bucket(Bucket="writer-files")


def work(role: Role) -> None:
    s3 = role.client("s3")
    for number in (1, 2):
        s3.put_object(Bucket="writer-files", Key=f"users/{number}/avatar.png", Body=b"x")
    assert s3.get_object(Bucket="writer-files", Key="users/1/avatar.png")["Body"].read() == b"x"
    s3.list_objects_v2(Bucket="writer-files", Prefix="users/1/")
    s3.list_objects_v2(Bucket="writer-files", Prefix="users/2/")


def refused(call: Any, **request: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as error:
        call(**request)
    return error.value.response


def test_a_role_gets_the_policy_of_what_it_did(chamber: RunningChamber, role: Role) -> None:
    work(role)
    refused(role.client("s3").get_object, Bucket="writer-files", Key="keys/1")
    told = json.loads(chamber.cli("policy", "writer-role", "--json").stdout)
    assert told["entity"] == role.arn
    files = "arn:aws:s3:::writer-files"
    assert told["policy"]["Statement"] == [
        {
            "Sid": "ReadWriteUsersAvatar",
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject"],
            "Resource": f"{files}/users/*/avatar.png",
        },
        {
            "Sid": "ListBucket",
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": files,
            "Condition": {"StringLike": {"s3:prefix": "users/*/"}},
        },
        WIDE["Statement"][1],
    ]
    assert [(d["action"], d["resource"]) for d in told["denied"]] == [("s3:GetObject", f"{files}/keys/1")]
    assert told["proof"]["holds"] and told["proof"]["replayed"] == 5
    shown = chamber.cli("policy", "writer-role", "--prove", "--diff")
    assert json.JSONDecoder().raw_decode(shown.stdout)[0] == told["policy"]
    assert "replayed 5 decisions that were allowed (5 different ones): 0 would be denied" in shown.stdout
    assert "proved" in shown.stdout.splitlines()
    never = shown.stdout.partition("granted and never used")[2]
    assert "ec2:DescribeInstances on *" in never and "s3:* on *" not in never
    assert "2 different numbers (1, 2)" in shown.stderr


def test_it_is_put_in_force_and_taken_back(chamber: RunningChamber, role: Role) -> None:
    work(role)
    before = role.iam.list_role_policies(RoleName=role.name)["PolicyNames"]
    done = chamber.cli("policy", role.arn, "--prove", "--apply", "--yes")
    assert role.iam.list_role_policies(RoleName=role.name)["PolicyNames"] == ["LeastPrivilege"]
    assert role.iam.list_attached_role_policies(RoleName=role.name)["AttachedPolicies"] == []
    work(role)
    s3 = role.client("s3")
    s3.put_object(Bucket="writer-files", Key="users/77/avatar.png", Body=b"x")
    refused(s3.delete_object, Bucket="writer-files", Key="users/1/avatar.png")
    refused(s3.put_object, Bucket="writer-files", Key="other", Body=b"x")
    refused(s3.list_objects_v2, Bucket="writer-files")
    undo = done.stderr.partition("policy --undo ")[2].split()[0]
    chamber.cli("policy", "--undo", undo)
    assert role.iam.list_role_policies(RoleName=role.name)["PolicyNames"] == before
    attached = role.iam.list_attached_role_policies(RoleName=role.name)["AttachedPolicies"]
    assert [a["PolicyName"] for a in attached] == ["AmazonS3ReadOnlyAccess"]
    assert role.iam.get_role_policy(RoleName=role.name, PolicyName="Wide")["PolicyDocument"] == WIDE
    s3.list_objects_v2(Bucket="writer-files")


def test_nobody_and_nothing_are_refused(chamber: RunningChamber, role: Role) -> None:
    assert "no role or user" in chamber.cli("policy", "writer-nobody", check=False).stderr
    empty = Role(chamber, "writer-idle", WIDE)
    try:
        several = chamber.cli("policy", "writer-", check=False).stderr
        assert "in the names of several" in several and empty.arn in several
        done = chamber.cli("policy", "writer-idle", "--apply", "--yes", check=False)
        assert done.returncode == 1 and "nothing is recorded" in done.stderr
        assert empty.iam.list_role_policies(RoleName="writer-idle")["PolicyNames"] == ["Wide"]
    finally:
        empty.end()
    done = chamber.cli("policy", "--undo", str(chamber.state / "chamber.json"), check=False)
    assert done.returncode == 1 and "no file of an earlier --apply" in done.stderr


def test_what_is_too_large_for_a_user_becomes_a_managed_policy(chamber: RunningChamber, role: Role) -> None:
    iam = role.iam
    name = "writer-" + "u" * 20
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    key = iam.create_access_key(UserName=name)["AccessKey"]
    s3 = chamber.client("s3", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    letters = "abcdefghijklmnopqrstuvwxyz"
    for number in range(28):
        folder = letters[number % 7] * 30 + letters[number // 7] * 30
        s3.put_object(Bucket="writer-files", Key=f"{folder}/{folder}.txt", Body=b"")
    done = chamber.cli("policy", name, "--apply", "--yes")
    assert "TOO LARGE for an inline policy" in done.stderr
    (attached,) = iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
    assert attached["PolicyName"].startswith("LeastPrivilege-writer-")
    s3.put_object(Bucket="writer-files", Key=f"{folder}/{folder}.txt", Body=b"")
    refused(s3.put_object, Bucket="writer-files", Key="other", Body=b"")
    chamber.cli("policy", "--undo", done.stderr.partition("policy --undo ")[2].split()[0])
    (attached,) = iam.list_attached_user_policies(UserName=name)["AttachedPolicies"]
    assert attached["PolicyName"] == "AmazonS3FullAccess"
    assert not [p for p in iam.list_policies(Scope="Local")["Policies"] if p["PolicyName"].startswith("LeastPriv")]
    iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.detach_user_policy(UserName=name, PolicyArn=attached["PolicyArn"])
    iam.delete_user(UserName=name)


def test_why_tells_the_whole_story(chamber: RunningChamber, role: Role) -> None:
    work(role)
    role.iam.put_role_policy(
        RoleName=role.name,
        PolicyName="Wide",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [
                {"Sid": "Files", "Effect": "Allow", "Action": "s3:PutObject",
                 "Resource": "arn:aws:s3:::writer-files/users/*"}]},
            indent=2,
        ),
    )  # fmt: skip
    response = refused(role.client("s3").put_object, Bucket="writer-files", Key="other/1", Body=b"x")
    request_id = response["ResponseMetadata"]["RequestId"]
    text = chamber.cli("why", request_id).stdout
    for line in (
        "DENIED s3:PutObject",
        "because no identity-based policy allows the s3:PutObject action",
        f"principal  arn:aws:sts::{ACCOUNT}:assumed-role/writer-role/work",
        f"with the policies of {role.arn}",
        "resource   arn:aws:s3:::writer-files/other/1",
        "identity-based policies: nothing allows it",
        "inline policy Wide of role writer-role (identity-based policies): statement 1 (Files), line 4",
        "its Resource is arn:aws:s3:::writer-files/users/*, and the request is for arn:aws:s3:::writer-files/other/1",
        "The smallest statement that would allow it",
        f"in an identity-based policy of {role.arn}",
        '"Resource": "arn:aws:s3:::writer-files/other/1"',
    ):
        assert line in text, (line, text)
    last = json.loads(chamber.cli("why", "--last", "--json").stdout)
    assert last["request_id"] == request_id
    assert json.loads(chamber.cli("why", last["id"], "--json").stdout)["id"] == last["id"]
    assert [c["title"] for c in last["stories"][0]][:2] == ["DENIED", "The question"]
    statement = last["decisions"][0]["allow_with"][0]["statement"]
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    role.iam.put_role_policy(RoleName=role.name, PolicyName="Pasted", PolicyDocument=json.dumps(policy))
    role.client("s3").put_object(Bucket="writer-files", Key="other/1", Body=b"x")


def test_who_can(chamber: RunningChamber, role: Role) -> None:
    office = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Office", "Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::writer-files/*",
             "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        ],
    }  # fmt: skip
    other = Role(chamber, "writer-office", office)
    bucket = {
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Logs", "Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"},
             "Action": "s3:GetObject", "Resource": "arn:aws:s3:::writer-files/*"},
        ],
    }  # fmt: skip
    chamber.client("s3").put_bucket_policy(Bucket="writer-files", Policy=json.dumps(bucket))
    try:
        key = "arn:aws:s3:::writer-files/users/1/avatar.png"
        found = json.loads(chamber.cli("who-can", "s3:GetObject", key, "--json").stdout)
        answers = {a["principal"]: a for a in found["answers"]}
        assert answers[f"arn:aws:iam::{ACCOUNT}:root"]["answer"] == "allowed"
        assert answers[role.arn]["answer"] == "allowed"
        assert answers[role.arn]["through"][0]["policy"].startswith("inline policy Wide")
        assert answers[other.arn]["answer"] == "conditional"
        assert answers[other.arn]["conditions"] == ["aws:SourceIp IpAddress 10.0.0.0/8"]
        assert answers["logging.s3.amazonaws.com"]["answer"] == "allowed"
        assert answers["*"]["answer"] == "denied"
        denied = json.loads(chamber.cli("who-can", "s3:GetObject", key.replace("users", "keys"), "--json").stdout)
        (never,) = [a for a in denied["answers"] if a["principal"] == role.arn]
        assert never["answer"] == "denied" and never["through"][0]["sid"] == "Never"
        assert "explicit deny" in never["reason"]
        text = chamber.cli("who-can", "s3:GetObject", key, "--all").stdout
        assert f"yes  {role.arn} (role)" in text and "if aws:SourceIp IpAddress 10.0.0.0/8" in text
        assert "no   * (anonymous)" in text
        assert "is not an action" in chamber.cli("who-can", "nonsense", check=False).stderr
    finally:
        other.end()


def test_other_accounts_are_asked_too(chamber: RunningChamber, role: Role) -> None:
    made = json.loads(chamber.cli("account", "add", "writer-abroad", "--json").stdout)
    key = f"{made['AccessKeyId']}:{made['SecretAccessKey']}"
    abroad = chamber.client("iam", key)
    arn = abroad.create_role(RoleName="writer-guest", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    abroad.put_role_policy(RoleName="writer-guest", PolicyName="Wide", PolicyDocument=json.dumps(WIDE))
    key_arn = "arn:aws:s3:::writer-files/users/1/avatar.png"

    def answer() -> str:
        found = json.loads(chamber.cli("who-can", "s3:GetObject", key_arn, "--json").stdout)
        return {a["principal"]: a["answer"] for a in found["answers"]}[arn]

    assert answer() == "denied"
    guest = {"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "s3:GetObject", "Resource": key_arn}
    bucket = json.dumps({"Version": "2012-10-17", "Statement": [guest]})
    chamber.client("s3").put_bucket_policy(Bucket="writer-files", Policy=bucket)
    assert answer() == "allowed"
    assert json.loads(chamber.cli("policy", arn, "--json").stdout)["recorded"]["different"] == 0
    abroad.delete_role_policy(RoleName="writer-guest", PolicyName="Wide")
    abroad.delete_role(RoleName="writer-guest")


def test_who_can_take_a_role(chamber: RunningChamber, role: Role) -> None:
    found = json.loads(chamber.cli("who-can", "sts:AssumeRole", role.arn, "--json").stdout)
    answers = {a["principal"]: a["answer"] for a in found["answers"]}
    assert answers[f"arn:aws:iam::{ACCOUNT}:user/writer-starter"] == "allowed"
    assert answers[f"arn:aws:iam::{ACCOUNT}:root"] == "denied"
    assert answers[role.arn] == answers["*"] == "denied"
