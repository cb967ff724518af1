# SPDX-License-Identifier: Apache-2.0
"""Credentials that are out already: policies that change, trust that ends, keys that are used from elsewhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.edges import (
    ACCOUNT,
    REGION,
    Person,
    allow,
    deny,
    document,
    function,
    function_arn,
    invoke,
    may,
    named,
    profile,
    refused,
    role,
    role_arn,
    until,
)

LAMBDA = {"Service": "lambda.amazonaws.com"}
EC2 = {"Service": "ec2.amazonaws.com"}
WHO = (
    "import boto3\n"
    "def handler(event, context):\n"
    "    key = boto3.Session().get_credentials().access_key\n"
    "    try: boto3.client('s3').list_buckets()\n"
    "    except Exception as error: return [key, error.response['Error']['Code']]\n"
    "    return [key, 'listed']\n"
)
SHOW = """#!/usr/bin/env python3
import boto3, json, sys
keys = boto3.Session().get_credentials().get_frozen_credentials()
print("KEYS", json.dumps([keys.access_key, keys.secret_key, keys.token]), flush=True)
last = ""
while last != "AccessDenied":
    try:
        boto3.client("s3").list_buckets()
        now = "listed"
    except Exception as error:
        now = error.response["Error"]["Code"]
    if now != last:
        print("NOW", now, flush=True)
    last = now
"""


def session(chamber: Any, keys: tuple[str, str, str], service: str) -> Any:
    return chamber.client(service, f"{keys[0]}:{keys[1]}", keys[2])


def assumed(chamber: Any, person: Person, name: str, **members: Any) -> tuple[str, str, str]:
    got = person.client("sts").assume_role(RoleArn=role_arn(name), RoleSessionName="edge", **members)["Credentials"]
    return got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"]


def test_a_detached_policy_denies_the_next_call(chamber: Any) -> None:
    """Of a user, and of a session of a role that was opened before."""
    iam = chamber.client("iam")
    person = Person(chamber, allow("sts:AssumeRole"))
    name = role(chamber, {"AWS": person.arn})
    policy = iam.create_policy(PolicyName=named("edge"), PolicyDocument=document(allow("s3:ListAllMyBuckets")))
    arn = policy["Policy"]["Arn"]
    s3 = session(chamber, assumed(chamber, person, name), "s3")
    iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    s3.list_buckets()
    iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    assert "no identity-based policy allows" in refused(s3.list_buckets)
    iam.attach_user_policy(UserName=person.name, PolicyArn=arn)
    person.client("s3").list_buckets()
    iam.detach_user_policy(UserName=person.name, PolicyArn=arn)
    assert "no identity-based policy allows" in refused(person.client("s3").list_buckets)


def test_sessions_that_were_revoked_stop(chamber: Any) -> None:
    """What the console writes for "Revoke active sessions": a deny for tokens that were issued before now."""
    person = Person(chamber, allow("sts:AssumeRole"))
    name = role(chamber, {"AWS": person.arn}, allow("s3:ListAllMyBuckets"))
    s3 = session(chamber, assumed(chamber, person, name), "s3")
    s3.list_buckets()
    now = datetime.now(UTC)
    for moment, works in ((now - timedelta(hours=1), True), (now + timedelta(hours=1), False)):
        when = {"DateLessThan": {"aws:TokenIssueTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}}
        may(chamber, name, allow("s3:ListAllMyBuckets"), deny("*", when=when))
        if works:
            s3.list_buckets()
        else:
            assert "with an explicit deny in an identity-based policy" in refused(s3.list_buckets)


def test_a_key_that_was_made_inactive_stops(chamber: Any) -> None:
    person = Person(chamber, allow("s3:ListAllMyBuckets"))
    s3 = person.client("s3")
    s3.list_buckets()
    key = person.key.partition(":")[0]
    chamber.client("iam").update_access_key(UserName=person.name, AccessKeyId=key, Status="Inactive")
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3.list_buckets()


def test_a_running_function_loses_what_its_role_loses(chamber: Any) -> None:
    """The same environment, the same credentials, another answer."""
    name = role(chamber, LAMBDA, allow("s3:ListAllMyBuckets"))
    made = function(chamber, WHO, name)
    key, said = invoke(chamber, made)
    assert said == "listed"
    chamber.client("iam").delete_role_policy(RoleName=name, PolicyName="own")
    assert invoke(chamber, made) == [key, "AccessDenied"]
    may(chamber, name, allow("s3:ListAllMyBuckets"))
    assert invoke(chamber, made) == [key, "listed"]


def test_a_role_that_ceases_to_trust_lambda_starts_no_new_environment(chamber: Any) -> None:
    iam, client = chamber.client("iam"), chamber.client("lambda")
    name = role(chamber, LAMBDA)
    made = function(chamber, WHO, name)
    statement = {"Effect": "Allow", "Principal": EC2, "Action": "sts:AssumeRole"}
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=document(statement))
    client.update_function_configuration(FunctionName=made, Environment={"Variables": {"NEW": "1"}})
    until(lambda: client.get_function_configuration(FunctionName=made)["LastUpdateStatus"] != "InProgress")
    with pytest.raises(ClientError, match="cannot be assumed by Lambda"):
        client.invoke(FunctionName=made, Payload=b"null")


def refused_logs(chamber: Any) -> str:
    """What tracks say of calls of Logs that IAM refused."""
    tracks = json.loads(chamber.cli("tracks", "--all", "--json", "--limit", "100").stdout)
    steps = [step for track in tracks for step in track["segments"]]
    return json.dumps([step for step in steps if step["service"] == "logs" and step["error"]])


def test_logs_are_missing_where_the_role_may_not_write_them(chamber: Any) -> None:
    """The function runs all the same; once the role may, its lines are there."""
    logs = chamber.client("logs")
    name = role(chamber, LAMBDA)
    made = function(chamber, "def handler(event, context):\n    print('line', event)\n    return event\n", name)
    assert invoke(chamber, made, 1) == 1
    # what the first run wrote is refused some time after its answer
    until(lambda: made in refused_logs(chamber))
    assert logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{made}")["logGroups"] == []
    group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/lambda/{made}"
    # an environment that was refused is quiet for a while; a change of the configuration makes a new one
    client = chamber.client("lambda")
    client.update_function_configuration(FunctionName=made, Environment={"Variables": {"NEW": "1"}})
    until(lambda: client.get_function_configuration(FunctionName=made)["LastUpdateStatus"] == "Successful")
    may(chamber, name, allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", on=f"{group}:*"))
    assert invoke(chamber, made, 2) == 2

    def lines() -> str:
        try:
            found = logs.filter_log_events(logGroupName=f"/aws/lambda/{made}")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return ""
        return "".join(event["message"] for event in found)

    until(lambda: "line 2" in lines())
    assert "line 1" not in lines()


def test_credentials_of_an_instance(chamber: Any) -> None:
    """They lose what the role loses while the instance runs; outside of it they work, unless a policy forbids it.

    Source: IAM User Guide, `aws:Ec2InstanceSourceVpc`: it says where credentials were given out, whoever uses them.
    """
    ec2 = chamber.client("ec2")
    name = profile(chamber, role(chamber, EC2, allow("s3:ListAllMyBuckets")))
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]
    kind = "t3.micro" if image["Architecture"] == "x86_64" else "t4g.micro"
    run = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType=kind, MinCount=1, MaxCount=1, UserData=SHOW,
        IamInstanceProfile={"Name": name},
    )["Instances"][0]  # fmt: skip
    instance = run["InstanceId"]

    def said(word: str) -> list[str]:
        lines = ec2.get_console_output(InstanceId=instance).get("Output", "").splitlines()
        return [line[len(word) + 1 :] for line in lines if line.startswith(f"{word} ")]

    try:
        until(lambda: "listed" in said("NOW"))
        s3 = session(chamber, tuple(json.loads(said("KEYS")[0])), "s3")
        s3.list_buckets()
        here = f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{instance}"
        only = allow("s3:ListAllMyBuckets", when={"ArnEquals": {"ec2:SourceInstanceARN": here}})
        may(chamber, name, only)
        s3.list_buckets()
        # AWS's own example against exfiltration: the VPC that the call comes from is not the one of the instance
        there = {"StringNotEquals": {"aws:Ec2InstanceSourceVpc": run["VpcId"]}}
        may(chamber, name, only, deny("s3:*", when=there))
        s3.list_buckets()
        inside = {"NotIpAddress": {"aws:SourceIp": "172.31.0.0/16"}}
        may(chamber, name, only, deny("s3:*", when=inside))
        assert "explicit deny" in refused(s3.list_buckets)
        may(chamber, name, deny("s3:*"))
        until(lambda: "AccessDenied" in said("NOW"))
    finally:
        ec2.terminate_instances(InstanceIds=[instance])


def test_an_instance_whose_role_does_not_trust_ec2_has_no_credentials(chamber: Any) -> None:
    ec2 = chamber.client("ec2")
    name = profile(chamber, role(chamber, LAMBDA, allow("s3:ListAllMyBuckets")))
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]
    kind = "t3.micro" if image["Architecture"] == "x86_64" else "t4g.micro"
    script = (
        "#!/bin/bash\n"
        "T=$(curl -s -X PUT http://169.254.169.254/latest/api/token -H 'X-aws-ec2-metadata-token-ttl-seconds: 60')\n"
        "P=http://169.254.169.254/latest/meta-data/iam/security-credentials\n"
        f'curl -s -H "X-aws-ec2-metadata-token: $T" $P/{name}\n'
    )
    instance = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType=kind, MinCount=1, MaxCount=1, UserData=script,
        IamInstanceProfile={"Name": name},
    )["Instances"][0]["InstanceId"]  # fmt: skip
    try:
        until(lambda: "AssumeRoleUnauthorizedAccess" in ec2.get_console_output(InstanceId=instance).get("Output", ""))
    finally:
        ec2.terminate_instances(InstanceIds=[instance])


def test_credentials_of_a_function_used_elsewhere(chamber: Any) -> None:
    """They work, unless a policy asks for the function; and they never become more than the role."""
    name = role(chamber, LAMBDA, allow("s3:ListAllMyBuckets"))
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    return list(boto3.Session().get_credentials().get_frozen_credentials())\n"
    )
    made = function(chamber, source, name)
    s3 = session(chamber, tuple(invoke(chamber, made)[:3]), "s3")
    s3.list_buckets()
    where = {"ArnEquals": {"lambda:SourceFunctionArn": function_arn(made)}}
    may(chamber, name, allow("s3:ListAllMyBuckets", when=where))
    s3.list_buckets()
    where["ArnEquals"]["lambda:SourceFunctionArn"] = function_arn("another")
    may(chamber, name, allow("s3:ListAllMyBuckets", when=where))
    refused(s3.list_buckets)


def test_a_shortened_or_foreign_token_is_no_key(chamber: Any) -> None:
    """A key with another session's token, or with none, is refused before any policy is read."""
    person = Person(chamber, allow("sts:AssumeRole"))
    name = role(chamber, {"AWS": person.arn}, allow("s3:ListAllMyBuckets"))
    first, second = assumed(chamber, person, name), assumed(chamber, person, name)
    for keys in ((*first[:2], second[2]), (*first[:2], first[2][:-8]), (*first[:2], "")):
        with pytest.raises(ClientError) as caught:
            session(chamber, keys, "s3").list_buckets()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)
