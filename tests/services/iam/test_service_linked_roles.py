# SPDX-License-Identifier: Apache-2.0
"""Service-linked roles, and AWS's own managed policies, through boto3."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"
EC2_TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def suffix() -> str:
    return uuid.uuid4().hex[:8]


@pytest.fixture
def role(iam, suffix):
    return iam.create_service_linked_role(
        AWSServiceName="autoscaling.amazonaws.com", CustomSuffix=suffix, Description="mine"
    )["Role"]


def test_a_service_linked_role_has_its_services_name_trust_and_policy(iam, role, suffix):
    name = f"AWSServiceRoleForAutoScaling_{suffix}"
    assert role["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/{name}"
    told = iam.get_role(RoleName=name)["Role"]
    statement = told["AssumeRolePolicyDocument"]["Statement"][0]
    assert statement["Principal"] == {"Service": "autoscaling.amazonaws.com"}
    assert (told["Description"], told["MaxSessionDuration"]) == ("mine", 3600)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [one["PolicyArn"] for one in attached] == [
        "arn:aws:iam::aws:policy/aws-service-role/AutoScalingServiceRolePolicy"
    ]
    message = refused(
        "InvalidInput", iam.create_service_linked_role, AWSServiceName="autoscaling.amazonaws.com", CustomSuffix=suffix
    )
    assert message == (f"Service role name {name} has been taken in this account, please try a different suffix.")


def test_only_some_services_have_one_and_few_take_a_suffix(iam):
    message = refused(
        "InvalidInput", iam.create_service_linked_role, AWSServiceName="rds.amazonaws.com", CustomSuffix="x"
    )
    assert message == "Custom suffix is not allowed for rds.amazonaws.com"
    refused("InvalidInput", iam.create_service_linked_role, AWSServiceName="nothing.amazonaws.com")


def test_nobody_but_its_service_changes_a_service_linked_role(iam, role):
    name = role["RoleName"]
    expected = f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS"
    policy = "arn:aws:iam::aws:policy/ReadOnlyAccess"
    own = "arn:aws:iam::aws:policy/aws-service-role/AutoScalingServiceRolePolicy"
    document = json.dumps(
        {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    )
    iam.create_instance_profile(InstanceProfileName=name)
    for call, more in (
        (iam.delete_role, {}),
        (iam.attach_role_policy, {"PolicyArn": policy}),
        (iam.detach_role_policy, {"PolicyArn": own}),
        (iam.put_role_policy, {"PolicyName": "p", "PolicyDocument": document}),
        (iam.delete_role_policy, {"PolicyName": "p"}),
        (iam.update_assume_role_policy, {"PolicyDocument": EC2_TRUST}),
        (iam.update_role, {"MaxSessionDuration": 7200}),
        (iam.put_role_permissions_boundary, {"PermissionsBoundary": policy}),
        (iam.delete_role_permissions_boundary, {}),
        (iam.add_role_to_instance_profile, {"InstanceProfileName": name}),
    ):
        assert refused("UnmodifiableEntity", call, RoleName=name, **more) == expected
    iam.update_role(RoleName=name, Description="other")
    assert iam.get_role(RoleName=name)["Role"]["Description"] == "other"


def test_a_service_linked_role_is_deleted_by_a_task(iam, role):
    task = iam.delete_service_linked_role(RoleName=role["RoleName"])["DeletionTaskId"]
    assert task.startswith(f"task/aws-service-role/autoscaling.amazonaws.com/{role['RoleName']}/")
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    refused("NoSuchEntity", iam.get_role, RoleName=role["RoleName"])
    refused("NoSuchEntity", iam.delete_service_linked_role, RoleName=role["RoleName"])
    refused("NoSuchEntity", iam.get_service_linked_role_deletion_status, DeletionTaskId=task[:-1] + "g")


def test_no_other_role_can_pose_as_a_service_linked_one(iam, suffix):
    refused(
        "InvalidInput", iam.create_role, RoleName=suffix, Path="/aws-service-role/x.amazonaws.com/",
        AssumeRolePolicyDocument=EC2_TRUST,
    )  # fmt: skip
    iam.create_role(RoleName=suffix, AssumeRolePolicyDocument=EC2_TRUST)
    refused("InvalidInput", iam.delete_service_linked_role, RoleName=suffix)
    message = refused(
        "PolicyNotAttachable", iam.attach_role_policy, RoleName=suffix,
        PolicyArn="arn:aws:iam::aws:policy/aws-service-role/AutoScalingServiceRolePolicy",
    )  # fmt: skip
    assert message == "Cannot attach a Service Role Policy to a Customer Role."
    refused(
        "NoSuchEntity", iam.attach_role_policy, RoleName=suffix, PolicyArn="arn:aws:iam::111122223333:policy/theirs"
    )


def test_aws_managed_policies_are_all_there_page_by_page(iam):
    pages = iam.get_paginator("list_policies").paginate(Scope="AWS", PaginationConfig={"PageSize": 500})
    found = {one["Arn"]: one for told in pages for one in told["Policies"]}
    assert len(found) > 1500
    basic = found["arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]
    assert (basic["Path"], basic["IsAttachable"], basic["DefaultVersionId"]) == ("/service-role/", True, "v1")
    jobs = iam.list_policies(Scope="AWS", PathPrefix="/job-function/")["Policies"]
    assert {"Billing", "ViewOnlyAccess"} <= {one["PolicyName"] for one in jobs}


def test_an_aws_managed_policy_has_its_true_document_and_is_nobodys_to_change(iam):
    arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    policy = iam.get_policy(PolicyArn=arn)["Policy"]
    assert (policy["CreateDate"].date().isoformat(), policy["UpdateDate"].date().isoformat()) == (
        "2015-02-06", "2023-08-10",
    )  # fmt: skip
    version = iam.get_policy_version(PolicyArn=arn, VersionId=policy["DefaultVersionId"])["PolicyVersion"]
    assert version["Document"]["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["s3:Get*", "s3:List*", "s3:Describe*", "s3-object-lambda:Get*", "s3-object-lambda:List*"],
            "Resource": "*",
        }
    ]
    refused("InvalidInput", iam.delete_policy, PolicyArn=arn)
    refused("NoSuchEntity", iam.get_policy, PolicyArn="arn:aws:iam::aws:policy/job-function/AmazonS3ReadOnlyAccess")


def test_only_attached_policies_can_be_listed(iam, suffix):
    arn = "arn:aws:iam::aws:policy/AWSHealthFullAccess"
    iam.create_group(GroupName=suffix)
    iam.attach_group_policy(GroupName=suffix, PolicyArn=arn)
    told = iam.list_policies(Scope="AWS", OnlyAttached=True, MaxItems=1000)["Policies"]
    assert {one["Arn"]: one["AttachmentCount"] for one in told}[arn] == 1
    assert len(told) < 100


def test_whoever_makes_a_service_linked_role_needs_leave_for_it_by_name(chamber, iam, suffix):
    iam.create_user(UserName=suffix)
    statement = {
        "Effect": "Allow", "Action": "iam:CreateServiceLinkedRole",
        "Resource": "arn:aws:iam::*:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling_o*",
        "Condition": {"StringLike": {"iam:AWSServiceName": "autoscaling.amazonaws.com"}},
    }  # fmt: skip
    iam.put_user_policy(
        UserName=suffix, PolicyName="p", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": statement})
    )
    key = iam.create_access_key(UserName=suffix)["AccessKey"]
    own = chamber.client("iam", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    own.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com", CustomSuffix=f"o{suffix}")
    for more in ({"CustomSuffix": f"x{suffix}"}, {}):
        refused("AccessDenied", own.create_service_linked_role, AWSServiceName="autoscaling.amazonaws.com", **more)
    refused("AccessDenied", own.create_service_linked_role, AWSServiceName="batch.amazonaws.com")
