# SPDX-License-Identifier: Apache-2.0
"""Service last accessed, through boto3: what policies grant, and what the tracks say was asked for."""

from __future__ import annotations

import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "000000000000"


def refused(code: str, call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


def document(*actions: str, element="Action") -> str:
    statement = {"Effect": "Allow", element: list(actions), "Resource": "*"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def iam(chamber):
    return chamber.client("iam")


@pytest.fixture
def name() -> str:
    return f"la-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def user(chamber, iam, name):
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    iam.put_user_policy(
        UserName=name, PolicyName="own", PolicyDocument=document("s3:List*", "ec2:DescribeRegions", "sqs:*")
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return arn, lambda service: chamber.client(service, f"{key['AccessKeyId']}:{key['SecretAccessKey']}")


def report(iam, arn, **more):
    job = iam.generate_service_last_accessed_details(Arn=arn, **more)["JobId"]
    told = iam.get_service_last_accessed_details(JobId=job)
    assert told["JobStatus"] == "COMPLETED"
    return job, {one["ServiceNamespace"]: one for one in told["ServicesLastAccessed"]}


def test_a_report_names_the_services_that_are_granted_and_when_they_were_asked_for(iam, user):
    arn, client = user
    client("s3").list_buckets()
    _, services = report(iam, arn)
    assert set(services) == {"s3", "ec2", "sqs"}
    assert services["s3"]["ServiceName"] == "Amazon S3"
    assert services["s3"]["LastAuthenticatedEntity"] == arn
    assert services["s3"]["LastAuthenticatedRegion"] == "us-east-1"
    assert services["s3"]["TotalAuthenticatedEntities"] == 1
    assert "LastAuthenticated" not in services["ec2"]
    assert services["ec2"]["TotalAuthenticatedEntities"] == 0


def test_a_report_by_action_has_the_denied_attempts_too(iam, user):
    arn, client = user
    iam.put_user_policy(
        UserName=arn.rsplit("/", 1)[-1], PolicyName="no",
        PolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Deny", "Action": "ec2:DescribeRegions", "Resource": "*"}],
            }
        ),
    )  # fmt: skip
    refused("UnauthorizedOperation", client("ec2").describe_regions)
    job, services = report(iam, arn, Granularity="ACTION_LEVEL")
    assert iam.get_service_last_accessed_details(JobId=job)["JobType"] == "ACTION_LEVEL"
    (regions,) = services["ec2"]["TrackedActionsLastAccessed"]
    assert (regions["ActionName"], regions["LastAccessedEntity"]) == ("DescribeRegions", arn)
    listed = {one["ActionName"]: one for one in services["s3"]["TrackedActionsLastAccessed"]}
    assert "LastAccessedTime" not in listed["ListBucket"]
    assert "GetObject" not in listed
    assert "TrackedActionsLastAccessed" not in services["sqs"]


def test_a_report_about_a_group_or_policy_names_who_used_it(iam, user, name):
    arn, client = user
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    idle = iam.create_user(UserName=f"{name}-idle")["User"]["Arn"]
    iam.add_user_to_group(GroupName=name, UserName=f"{name}-idle")
    policy = iam.create_policy(PolicyName=name, PolicyDocument=document("lambda:ListFunctions"))["Policy"]["Arn"]
    iam.attach_group_policy(GroupName=name, PolicyArn=policy)
    client("lambda").list_functions()
    for about in (policy, f"arn:aws:iam::{ACCOUNT}:group/{name}"):
        job, services = report(iam, about)
        assert list(services) == ["lambda"]
        assert services["lambda"]["TotalAuthenticatedEntities"] == 1
        told = iam.get_service_last_accessed_details_with_entities(JobId=job, ServiceNamespace="lambda")
        first, second = told["EntityDetailsList"]
        assert (first["EntityInfo"]["Arn"], first["EntityInfo"]["Type"]) == (arn, "USER")
        assert first["LastAuthenticated"] == services["lambda"]["LastAuthenticated"]
        assert second["EntityInfo"]["Arn"] == idle
        assert "LastAuthenticated" not in second
        refused("NoSuchEntity", iam.get_service_last_accessed_details_with_entities, JobId=job, ServiceNamespace="s3")


def test_a_report_is_its_makers_and_comes_in_pages(chamber, iam, user, name):
    arn, client = user
    iam.attach_user_policy(UserName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    own = client("iam")
    job = own.generate_service_last_accessed_details(Arn=arn)["JobId"]
    refused("NoSuchEntity", iam.get_service_last_accessed_details, JobId=job)
    first = own.get_service_last_accessed_details(JobId=job)
    assert first["IsTruncated"]
    assert len(first["ServicesLastAccessed"]) == 100
    second = own.get_service_last_accessed_details(JobId=job, Marker=first["Marker"], MaxItems=1000)
    assert len(second["ServicesLastAccessed"]) > 300
    refused("NoSuchEntity", iam.generate_service_last_accessed_details, Arn=f"arn:aws:iam::{ACCOUNT}:user/nobody")


def test_policies_that_grant_a_service(iam, user, name):
    arn, _ = user
    iam.create_group(GroupName=name)
    iam.add_user_to_group(GroupName=name, UserName=name)
    managed = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    iam.attach_group_policy(GroupName=name, PolicyArn=managed)
    iam.put_group_policy(
        GroupName=name, PolicyName="most", PolicyDocument=document("iam:*", "s3:*", element="NotAction")
    )
    told = iam.list_policies_granting_service_access(Arn=arn, ServiceNamespaces=["s3", "iam", "lambda"])
    s3, of_iam, functions = told["PoliciesGrantingServiceAccess"]
    assert s3["Policies"] == [
        {"PolicyName": "own", "PolicyType": "INLINE", "EntityType": "USER", "EntityName": name},
        {"PolicyName": "AmazonS3ReadOnlyAccess", "PolicyType": "MANAGED", "PolicyArn": managed},
    ]
    assert of_iam["Policies"] == []
    assert functions["Policies"] == [
        {"PolicyName": "most", "PolicyType": "INLINE", "EntityType": "GROUP", "EntityName": name}
    ]
    refused("InvalidInput", iam.list_policies_granting_service_access, Arn=arn, ServiceNamespaces=["nothing"])
