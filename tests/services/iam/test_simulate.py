# SPDX-License-Identifier: Apache-2.0
"""The policy simulator through boto3."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
OTHER = "111122223333"
READER = f"arn:aws:iam::{ACCOUNT}:user/reader"


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


def policy(*statements: dict) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action, resource="*", **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action, resource="*", **more) -> dict:
    return allow(action, resource, **more) | {"Effect": "Deny"}


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def name() -> str:
    return f"sim-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def user(iam, name):
    return iam.create_user(UserName=name)["User"]["Arn"]


@pytest.fixture
def custom(iam):
    """Simulate one action with the policies given; its result."""

    def simulate(*policies: str, action="s3:GetObject", **more) -> dict:
        (told,) = iam.simulate_custom_policy(PolicyInputList=list(policies), ActionNames=[action], **more)[
            "EvaluationResults"
        ]
        return told

    return simulate


def ids(told: dict) -> list[str]:
    return [one["SourcePolicyId"] for one in told["MatchedStatements"]]


def test_statements_that_decide_are_told_with_their_places(custom):
    first = policy(allow("s3:GetObject"), allow("ec2:*"))
    second = json.dumps({"Version": "2012-10-17", "Statement": allow("s3:Get*")}, indent=2)
    told = custom(first, second)
    assert told["EvalDecision"] == "allowed"
    assert ids(told) == ["PolicyInputList.1", "PolicyInputList.2"]
    one, two = told["MatchedStatements"]
    assert one["SourcePolicyType"] == "IAM Policy"
    begin, end = one["StartPosition"], one["EndPosition"]
    assert (begin["Line"], end["Line"]) == (1, 1)
    inside = first[begin["Column"] - 2 : end["Column"] - 1]
    assert json.loads(inside) == allow("s3:GetObject")
    assert (two["StartPosition"], two["EndPosition"]) == ({"Line": 3, "Column": 17}, {"Line": 7, "Column": 4})
    assert "EvalDecisionDetails" not in told
    assert "ResourceSpecificResults" not in told


def test_a_deny_stands_alone_among_the_matched_statements(custom):
    told = custom(policy(allow("s3:*")), policy(deny("s3:Get*")))
    assert (told["EvalDecision"], ids(told)) == ("explicitDeny", ["PolicyInputList.2"])
    told = custom(policy(allow("ec2:*")))
    assert (told["EvalDecision"], ids(told)) == ("implicitDeny", [])


def test_each_resource_has_a_result_and_the_worst_decides(custom):
    inside, outside = "arn:aws:s3:::b/in/x", "arn:aws:s3:::b/out/x"
    told = custom(policy(allow("s3:*", "arn:aws:s3:::b/in/*")), ResourceArns=[inside, outside])
    assert told["EvalDecision"] == "implicitDeny"
    assert told["EvalDecisionDetails"] == {}
    one, two = told["ResourceSpecificResults"]
    assert (one["EvalResourceName"], one["EvalResourceDecision"]) == (inside, "allowed")
    assert (two["EvalResourceName"], two["EvalResourceDecision"]) == (outside, "implicitDeny")
    assert len(one["MatchedStatements"]) == 1
    assert two["MatchedStatements"] == []


def test_missing_context_values_are_those_that_statements_read(custom):
    text = policy(
        allow("s3:GetObject", "arn:aws:s3:::b/${aws:PrincipalTag/team}/*",
              Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}),
        allow("ec2:*", Condition={"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
    )  # fmt: skip
    told = custom(text, ResourceArns=["arn:aws:s3:::b/x/y"])
    assert told["MissingContextValues"] == ["aws:principaltag/team"]
    team = {"ContextKeyName": "aws:PrincipalTag/team", "ContextKeyValues": ["x"], "ContextKeyType": "string"}
    told = custom(text, ResourceArns=["arn:aws:s3:::b/x/y"], ContextEntries=[team])
    assert told["MissingContextValues"] == ["aws:SourceIp"]
    assert told["ResourceSpecificResults"][0]["MissingContextValues"] == ["aws:SourceIp"]
    address = {"ContextKeyName": "aws:sourceip", "ContextKeyValues": ["10.1.2.3"], "ContextKeyType": "ip"}
    told = custom(text, ResourceArns=["arn:aws:s3:::b/x/y"], ContextEntries=[team, address])
    assert (told["EvalDecision"], told["MissingContextValues"]) == ("allowed", [])


def test_a_boundary_limits_and_says_so(custom):
    boundary = policy(allow("s3:List*"), deny("s3:ListBucket"))
    for action, decision, within in (
        ("s3:GetObject", "implicitDeny", False),
        ("s3:ListBucket", "explicitDeny", False),
        ("s3:ListAllMyBuckets", "allowed", True),
    ):
        told = custom(policy(allow("s3:*")), action=action, PermissionsBoundaryPolicyInputList=[boundary])
        assert told["EvalDecision"] == decision
        assert told["PermissionsBoundaryDecisionDetail"] == {"AllowedByPermissionsBoundary": within}
        assert ids(told) == (["PolicyInputList.1"] if within else [])


def test_levels_of_an_organization_must_all_allow(custom):
    whole = {"ServiceControlPolicyInputList": [policy(allow("*"))]}
    some = {"ServiceControlPolicyInputList": [policy(allow("ec2:*"))]}
    none = {"ServiceControlPolicyInputList": [policy(allow("*")), policy(deny("s3:*"))]}
    for levels, decision in (([whole, whole], "allowed"), ([whole, some], "implicitDeny"), ([none], "explicitDeny")):
        told = custom(policy(allow("s3:*")), OrderedOrganizationPolicyInputList=levels)
        assert told["EvalDecision"] == decision
        assert told["OrganizationsDecisionDetail"] == {"AllowedByOrganizations": decision == "allowed"}
    assert "OrganizationsDecisionDetail" not in custom(policy(allow("s3:*")))


def test_a_resource_policy_grants_at_home_and_must_grant_abroad(custom):
    own = policy({"Effect": "Allow", "Principal": {"AWS": READER}, "Action": "s3:GetObject",
                  "Resource": "arn:aws:s3:::b/*"})  # fmt: skip
    bucket = {"ResourceArns": ["arn:aws:s3:::b/x"], "ResourcePolicy": own, "CallerArn": READER}
    told = custom(policy(allow("ec2:*")), **bucket)
    assert (told["EvalDecision"], ids(told)) == ("allowed", ["ResourcePolicy"])
    assert told["MatchedStatements"][0]["SourcePolicyType"] == "Resource Policy"
    assert told["EvalDecisionDetails"] == {}
    told = custom(policy(allow("ec2:*")), **bucket, ResourceOwner=OTHER)
    assert told["EvalDecision"] == "implicitDeny"
    assert told["EvalDecisionDetails"] == {"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}
    told = custom(policy(allow("s3:*")), **bucket, ResourceOwner=f"arn:aws:iam::{OTHER}:root")
    assert told["EvalDecision"] == "allowed"
    details = told["ResourceSpecificResults"][0]["EvalDecisionDetails"]
    assert details == {"IAM Policy": "allowed", "Resource Policy": "allowed"}


def test_a_scenario_of_ec2_wants_all_its_resources(custom):
    arns = [
        f"arn:aws:ec2:us-east-1:{ACCOUNT}:{kind}/x" for kind in ("instance", "security-group", "network-interface")
    ] + ["arn:aws:ec2:us-east-1::image/ami-1"]
    most = policy(allow("ec2:RunInstances"), deny("ec2:RunInstances", "arn:aws:ec2:*:*:volume/*"))
    run = {"action": "ec2:RunInstances"}
    told = custom(most, ResourceArns=arns, ResourceHandlingOption="EC2-VPC-InstanceStore", **run)
    assert told["EvalDecision"] == "allowed"
    with pytest.raises(ClientError, match="volume"):
        custom(most, ResourceArns=arns, ResourceHandlingOption="EC2-VPC-EBS", **run)
    told = custom(
        most, ResourceArns=[*arns, f"arn:aws:ec2:us-east-1:{ACCOUNT}:volume/v"], ResourceHandlingOption="EC2-VPC-EBS",
        **run,
    )  # fmt: skip
    assert told["EvalDecision"] == "explicitDeny"
    with pytest.raises(ClientError, match="ResourceHandlingOption"):
        custom(most, ResourceArns=arns, ResourceHandlingOption="EC2-Moon", **run)


def test_a_principal_has_its_groups_policies_each_by_its_name(iam, user, name):
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    iam.put_group_policy(GroupName=name, PolicyName="lists", PolicyDocument=policy(allow("s3:List*")))
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=policy(allow("s3:Get*")))
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    told = iam.simulate_principal_policy(
        PolicySourceArn=user, ActionNames=["s3:GetObject", "s3:ListBucket", "s3:PutObject"]
    )["EvaluationResults"]
    get, listing, put = told
    assert ids(get) == [f"user_{name}_own", "AmazonS3ReadOnlyAccess"]
    assert ids(listing) == ["AmazonS3ReadOnlyAccess", f"group_{name}_lists"]
    assert put["EvalDecision"] == "implicitDeny"


def test_policies_can_be_left_out_of_a_simulation(iam, user, name):
    read = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    own = iam.create_policy(PolicyName=name, PolicyDocument=policy(allow("s3:*")))["Policy"]["Arn"]
    for arn in (read, own):
        iam.attach_user_policy(UserName=name, PolicyArn=arn)
    iam.put_user_policy(UserName=name, PolicyName="inline", PolicyDocument=policy(allow("s3:*")))
    iam.put_user_permissions_boundary(UserName=name, PermissionsBoundary="arn:aws:iam::aws:policy/AmazonEC2FullAccess")

    def left(*excluded) -> dict:
        (told,) = iam.simulate_principal_policy(
            PolicySourceArn=user, ActionNames=["s3:GetObject"],
            PolicyExclusionList=[{"PolicyType": "permission-boundary"}, *excluded],
        )["EvaluationResults"]  # fmt: skip
        return told

    assert ids(left()) == [f"user_{name}_inline", name, "AmazonS3ReadOnlyAccess"]
    assert ids(left({"PolicyType": "inline"})) == [name, "AmazonS3ReadOnlyAccess"]
    assert ids(left({"PolicyType": "aws-managed"})) == [f"user_{name}_inline", name]
    assert ids(left({"PolicyType": "user-managed"})) == [f"user_{name}_inline", "AmazonS3ReadOnlyAccess"]
    assert ids(left({"PolicyArn": "arn:aws:iam::aws:policy/AmazonS3*"})) == [f"user_{name}_inline", name]
    inline = {"PolicyName": "inline", "AttachmentType": "user", "AttachmentName": name}
    assert f"user_{name}_inline" not in ids(left({"InlinePolicyIdentifier": inline}))
    bounded = iam.simulate_principal_policy(PolicySourceArn=user, ActionNames=["s3:GetObject"])["EvaluationResults"][0]
    assert bounded["EvalDecision"] == "implicitDeny"
    for wrong in ({"PolicyArn": "arn:aws:iam::aws:policy/a*b*"}, {"PolicyArn": "nothing-of-the-kind-of"}):
        refused(
            "InvalidInput", iam.simulate_principal_policy, PolicySourceArn=user, ActionNames=["s3:GetObject"],
            PolicyExclusionList=[wrong],
        )  # fmt: skip


def test_a_simulation_comes_in_pages(iam):
    request = {
        "PolicyInputList": [policy(allow("s3:Get*"))],
        "ActionNames": [f"s3:{verb}Object" for verb in ("Get", "Put", "Delete")],
    }
    first = iam.simulate_custom_policy(**request, MaxItems=2)
    assert first["IsTruncated"]
    second = iam.simulate_custom_policy(**request, MaxItems=2, Marker=first["Marker"])
    found = [one["EvalActionName"] for told in (first, second) for one in told["EvaluationResults"]]
    assert found == request["ActionNames"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ActionNames": ["s3:*"]}, {"ActionNames": ["GetObject"]}, {"ResourceArns": ["bucket"]},
        {"PolicyInputList": ["{}"]}, {"PermissionsBoundaryPolicyInputList": [policy(allow("*"))] * 2},
        {"CallerArn": "arn:aws:sts::000000000000:assumed-role/a/b"}, {"ResourcePolicy": policy(allow("s3:*"))},
        {"ResourceOwner": "me"}, {"Marker": "not one of ours"},
        {"ResourcePolicy": policy(allow("s3:*")), "CallerArn": f"arn:aws:iam::{ACCOUNT}:role/r"},
        {"ContextEntries": [
            {"ContextKeyName": "aws:Some", "ContextKeyValues": ["x"], "ContextKeyType": "numeric"}]},
        {"ContextEntries": [
            {"ContextKeyName": "aws:Some", "ContextKeyValues": ["1", "2"], "ContextKeyType": "string"}]},
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_refused(iam, wrong):
    request = {"PolicyInputList": [policy(allow("s3:*"))], "ActionNames": ["s3:GetObject"]} | wrong
    refused("ValidationError" if "Marker" in wrong else "InvalidInput", iam.simulate_custom_policy, **request)


def test_context_keys_of_policies(iam, user, name):
    first = policy(
        allow("s3:*", "arn:aws:s3:::b/${aws:username}/${*}",
              Condition={"StringEquals": {"s3:prefix": "${aws:PrincipalTag/team, 'x'}"}}),
        allow("ec2:*", Condition={"Bool": {"aws:SecureTransport": "true"}}),
    )  # fmt: skip
    told = iam.get_context_keys_for_custom_policy(PolicyInputList=[first])
    assert told["ContextKeyNames"] == ["aws:PrincipalTag/team", "aws:SecureTransport", "aws:username", "s3:prefix"]
    iam.put_user_policy(UserName=name, PolicyName="own", PolicyDocument=first)
    more = policy(allow("s3:*", Condition={"StringLike": {"s3:Prefix": "a", "s3:delimiter": "/"}}))
    told = iam.get_context_keys_for_principal_policy(PolicySourceArn=user, PolicyInputList=[more])
    assert told["ContextKeyNames"] == [
        "aws:PrincipalTag/team", "aws:SecureTransport", "aws:username", "s3:delimiter", "s3:prefix",
    ]  # fmt: skip
    refused("InvalidInput", iam.get_context_keys_for_custom_policy, PolicyInputList=["nothing"])
    refused(
        "NoSuchEntity", iam.get_context_keys_for_principal_policy, PolicySourceArn=f"arn:aws:iam::{ACCOUNT}:role/none"
    )
