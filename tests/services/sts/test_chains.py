# SPDX-License-Identifier: Apache-2.0
"""AssumeRole: what a session is passed, what goes on through a chain, and what ends a session."""

from __future__ import annotations

import base64
import json
import os
import uuid

import pytest
from botocore.config import Config
from tests.services.sts.helpers import ACCOUNT, Device, allow, policy, refused, role, session, trust, user

BOTH = ["sts:AssumeRole", "sts:TagSession"]
EVERY = [*BOTH, "sts:SetSourceIdentity"]


@pytest.fixture
def name() -> str:
    return f"chain-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def sts(chamber, name):
    return user(chamber, name, allow("sts:*"))("sts")


def test_session_tags_are_a_permission_of_their_own(chamber, sts, name):
    arn = role(chamber, name, trust())
    tags = [{"Key": "team", "Value": "red"}]
    sts.assume_role(RoleArn=arn, RoleSessionName="one")
    message = refused("AccessDenied", sts.assume_role, RoleArn=arn, RoleSessionName="one", Tags=tags)
    assert "sts:TagSession" in message
    iam = chamber.client("iam")
    only = trust(action=BOTH, StringEquals={"aws:RequestTag/team": "red"}, Null={"sts:ExternalId": "true"})
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=only)
    answer = sts.assume_role(RoleArn=arn, RoleSessionName="one", Tags=tags)
    assert 0 < answer["PackedPolicySize"] <= 100
    blue = [{"Key": "team", "Value": "blue"}]
    refused("AccessDenied", sts.assume_role, RoleArn=arn, RoleSessionName="one", Tags=blue)
    refused("AccessDenied", sts.assume_role, RoleArn=arn, RoleSessionName="one")


def test_a_session_tag_hides_the_roles_own_tag(chamber, sts, name):
    is_red = {"StringEquals": {"aws:PrincipalTag/team": "red"}}
    arn = role(
        chamber, name, trust(action=BOTH), allow("s3:ListAllMyBuckets", Condition=is_red),
        Tags=[{"Key": "Team", "Value": "blue"}, {"Key": "kept", "Value": "x"}],
    )  # fmt: skip
    plain = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    refused("AccessDenied", session(chamber, plain, "s3").list_buckets)
    tags = [{"Key": "team", "Value": "red"}]
    tagged = sts.assume_role(RoleArn=arn, RoleSessionName="one", Tags=tags)["Credentials"]
    session(chamber, tagged, "s3").list_buckets()


def test_transitive_tags_go_on_and_cannot_be_changed(chamber, sts, name):
    may = allow("sts:*")
    first = role(chamber, f"{name}-1", trust(action=BOTH), may)
    second = role(chamber, f"{name}-2", trust(action=BOTH, StringEquals={"aws:RequestTag/team": "red"}), may)
    is_red = {"StringEquals": {"aws:PrincipalTag/team": "red"}, "Null": {"aws:PrincipalTag/other": "true"}}
    third = role(chamber, f"{name}-3", trust(action=BOTH), allow("s3:ListAllMyBuckets", Condition=is_red))
    tags = [{"Key": "team", "Value": "red"}, {"Key": "other", "Value": "x"}]
    one = sts.assume_role(RoleArn=first, RoleSessionName="one", Tags=tags, TransitiveTagKeys=["team"])["Credentials"]
    again = session(chamber, one, "sts")
    two = again.assume_role(RoleArn=second, RoleSessionName="two")["Credentials"]
    three = session(chamber, two, "sts").assume_role(RoleArn=third, RoleSessionName="three")["Credentials"]
    session(chamber, three, "s3").list_buckets()
    for key in ("team", "TEAM"):
        message = refused(
            "InvalidParameterValue", again.assume_role,
            RoleArn=second, RoleSessionName="two", Tags=[{"Key": key, "Value": "blue"}],
        )  # fmt: skip
        assert "conflicts with a transitive tag key from the calling session" in message
    lone = role(chamber, f"{name}-4", trust(action="sts:AssumeRole"))
    refused("AccessDenied", again.assume_role, RoleArn=lone, RoleSessionName="four")


def test_session_tags_are_checked(chamber, sts, name):
    arn = role(chamber, name, trust(action=BOTH))
    ask = {"RoleArn": arn, "RoleSessionName": "one"}
    twice = [{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}]
    message = refused("InvalidParameterValue", sts.assume_role, **ask, Tags=twice)
    assert message == "Duplicate tag keys found. Please note that Tag keys are case insensitive."
    message = refused("InvalidParameterValue", sts.assume_role, **ask, TransitiveTagKeys=["b"], Tags=twice[:1])
    assert message == "The specified transitive tag key must be included in the requested tags."
    refused("InvalidParameterValue", sts.assume_role, **ask, Tags=[{"Key": "aws:x", "Value": "1"}])
    many = [{"Key": f"key-{n}", "Value": base64.b64encode(os.urandom(150)).decode()} for n in range(50)]
    refused("PackedPolicyTooLarge", sts.assume_role, **ask, Tags=many)
    refused("ValidationError", sts.assume_role, **ask, Tags=[{"Key": "k" * 129, "Value": ""}])
    sts.assume_role(**ask, Tags=[{"Key": f"key-{n}", "Value": "v"} for n in range(50)])


def test_a_source_identity_stays(chamber, sts, name):
    first = role(chamber, f"{name}-1", trust(action=EVERY, StringLike={"sts:SourceIdentity": "ann*"}), allow("sts:*"))
    second = role(chamber, f"{name}-2", trust(action=EVERY, StringEquals={"aws:SourceIdentity": "anna"}))
    third = role(chamber, f"{name}-3", trust())
    refused("AccessDenied", sts.assume_role, RoleArn=first, RoleSessionName="one")
    refused("AccessDenied", sts.assume_role, RoleArn=first, RoleSessionName="one", SourceIdentity="bob")
    answer = sts.assume_role(RoleArn=first, RoleSessionName="one", SourceIdentity="anna")
    assert answer["SourceIdentity"] == "anna"
    again = session(chamber, answer["Credentials"], "sts")
    assert again.assume_role(RoleArn=second, RoleSessionName="two")["SourceIdentity"] == "anna"
    refused("AccessDenied", again.assume_role, RoleArn=second, RoleSessionName="two", SourceIdentity="bob")
    message = refused("AccessDenied", again.assume_role, RoleArn=third, RoleSessionName="three")
    assert "sts:SetSourceIdentity" in message


def test_trust_can_ask_for_the_session_name(chamber, sts, name):
    arn = role(chamber, name, trust(StringEquals={"sts:RoleSessionName": "${aws:username}"}))
    refused("AccessDenied", sts.assume_role, RoleArn=arn, RoleSessionName="somebody")
    sts.assume_role(RoleArn=arn, RoleSessionName=name)


def test_trust_can_ask_for_a_transitive_key_and_a_tag_of_the_caller(chamber, sts, name):
    chamber.client("iam").tag_user(UserName=name, Tags=[{"Key": "team", "Value": "red"}])
    arn = role(
        chamber, name,
        trust(action=BOTH, StringEquals={"aws:PrincipalTag/team": "red"},
              **{"ForAllValues:StringEquals": {"sts:TransitiveTagKeys": ["a", "b"]}}),
    )  # fmt: skip
    tags = [{"Key": "a", "Value": "1"}, {"Key": "c", "Value": "1"}]
    ask = {"RoleArn": arn, "RoleSessionName": "one", "Tags": tags}
    sts.assume_role(**ask, TransitiveTagKeys=["a"])
    refused("AccessDenied", sts.assume_role, **ask, TransitiveTagKeys=["a", "c"])


def test_a_chained_session_lasts_an_hour_at_most(chamber, sts, name):
    first = role(chamber, f"{name}-1", trust(), allow("sts:*"), MaxSessionDuration=7200)
    second = role(chamber, f"{name}-2", trust(), MaxSessionDuration=7200)
    one = sts.assume_role(RoleArn=first, RoleSessionName="one", DurationSeconds=7200)["Credentials"]
    again = session(chamber, one, "sts")
    ask = {"RoleArn": second, "RoleSessionName": "two"}
    message = refused("ValidationError", again.assume_role, **ask, DurationSeconds=3601)
    assert "role chaining" in message
    again.assume_role(**ask, DurationSeconds=3600)
    refused("ValidationError", sts.assume_role, **ask, DurationSeconds=7201)
    unchecked = chamber.client("sts", config=Config(parameter_validation=False))
    refused("ValidationError", unchecked.assume_role, **ask, DurationSeconds=899)


def test_session_policies_by_arn_follow_the_policy(chamber, sts, name):
    iam = chamber.client("iam")
    arn = role(chamber, name, trust(), allow("*"))
    named = iam.create_policy(PolicyName=name, PolicyDocument=policy(allow("s3:ListAllMyBuckets")))["Policy"]["Arn"]
    given = sts.assume_role(RoleArn=arn, RoleSessionName="one", PolicyArns=[{"arn": named}])["Credentials"]
    session(chamber, given, "s3").list_buckets()
    refused("AccessDenied", session(chamber, given, "iam").list_users)
    iam.create_policy_version(PolicyArn=named, PolicyDocument=policy(allow("iam:ListUsers")), SetAsDefault=True)
    session(chamber, given, "iam").list_users()
    refused("AccessDenied", session(chamber, given, "s3").list_buckets)
    iam.delete_policy_version(PolicyArn=named, VersionId="v1")
    iam.delete_policy(PolicyArn=named)
    refused("AccessDenied", session(chamber, given, "iam").list_users)
    ask = {"RoleArn": arn, "RoleSessionName": "one"}
    refused("MalformedPolicyDocument", sts.assume_role, **ask, PolicyArns=[{"arn": named}])
    refused("MalformedPolicyDocument", sts.assume_role, **ask, Policy='{"Version": "2012-10-17"}')
    refused("PackedPolicyTooLarge", sts.assume_role, **ask, Policy=policy(allow("s3:*", ["arn:aws:s3:::b" * 200])))


def test_an_mfa_code_opens_a_role_once(chamber, name):
    sts = user(chamber, name, allow("sts:*"))("sts")
    device = Device(chamber, name)
    arn = role(chamber, name, trust(Bool={"aws:MultiFactorAuthPresent": "true"}))
    ask = {"RoleArn": arn, "RoleSessionName": "one"}
    refused("AccessDenied", sts.assume_role, **ask)
    refused("AccessDenied", sts.assume_role, **ask, SerialNumber=device.serial, TokenCode="000000")
    code = device.code()
    sts.assume_role(**ask, SerialNumber=device.serial, TokenCode=code)
    refused("AccessDenied", sts.assume_role, **ask, SerialNumber=device.serial, TokenCode=code)
    other = user(chamber, f"{name}-2", allow("sts:*"))("sts")
    refused("AccessDenied", other.assume_role, **ask, SerialNumber=device.serial, TokenCode=device.code())


def test_older_sessions_of_a_role_can_be_revoked(chamber, sts, name):
    arn = role(chamber, name, trust(), allow("s3:ListAllMyBuckets"))
    old = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    session(chamber, old, "s3").list_buckets()
    far = "2999-01-01T00:00:00Z"
    deny = {
        "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": {"DateLessThan": {"aws:TokenIssueTime": far}},
    }  # fmt: skip
    iam = chamber.client("iam")
    iam.put_role_policy(RoleName=name, PolicyName="AWSRevokeOlderSessions", PolicyDocument=policy(deny))
    refused("AccessDenied", session(chamber, old, "s3").list_buckets)
    past = json.loads(json.dumps(deny).replace(far, "2020-01-01T00:00:00Z"))
    iam.put_role_policy(RoleName=name, PolicyName="AWSRevokeOlderSessions", PolicyDocument=policy(past))
    session(chamber, old, "s3").list_buckets()


def test_a_role_made_again_does_not_take_old_sessions(chamber, sts, name):
    arn = role(chamber, name, trust(), allow("s3:ListAllMyBuckets"))
    old = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    iam = chamber.client("iam")
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
    role(chamber, name, trust(), allow("s3:ListAllMyBuckets"))
    refused("InvalidClientTokenId", session(chamber, old, "sts").get_caller_identity)
    new = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    session(chamber, new, "s3").list_buckets()


@pytest.mark.parametrize(
    "arn", ["nothing-valid-in-here", "arn::b:::something/test-role", "arn:a::::something/test-role",
            "arn:a:::something/test-role", "arn:a:a::aaaaaaaaaa:"],
)  # fmt: skip
def test_a_wrong_arn_is_named(sts, arn):
    assert refused("ValidationError", sts.assume_role, RoleArn=arn, RoleSessionName="one") == f"{arn} is invalid"


def test_a_key_says_whose_it_is(chamber, sts, name):
    arn = role(chamber, name, trust())
    given = sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"]
    assert sts.get_access_key_info(AccessKeyId=given["AccessKeyId"])["Account"] == ACCOUNT
    refused("ValidationError", sts.get_access_key_info, AccessKeyId="AKIA" + "Z" * 16)


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1"])
def test_every_region_answers(chamber, region):
    client = chamber.client("sts", region_name=region)
    assert client.get_caller_identity()["Account"] == ACCOUNT


def test_a_session_has_the_tags_that_its_role_has_now(chamber, sts, name):
    arn = role(chamber, name, trust(action=BOTH))
    iam, red = chamber.client("iam"), {"StringEquals": {"aws:PrincipalTag/team": "red"}}
    when_red = {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*", "Condition": red}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy(when_red))
    plain = session(chamber, sts.assume_role(RoleArn=arn, RoleSessionName="one")["Credentials"], "s3")
    refused("AccessDenied", plain.list_buckets)
    iam.tag_role(RoleName=name, Tags=[{"Key": "team", "Value": "red"}])
    plain.list_buckets()
    passed = [{"Key": "Team", "Value": "blue"}]
    blue = sts.assume_role(RoleArn=arn, RoleSessionName="two", Tags=passed)["Credentials"]
    refused("AccessDenied", session(chamber, blue, "s3").list_buckets)
    iam.untag_role(RoleName=name, TagKeys=["team"])
    refused("AccessDenied", plain.list_buckets)
