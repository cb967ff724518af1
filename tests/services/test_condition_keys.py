# SPDX-License-Identifier: Apache-2.0
"""Services' own condition keys, through boto3: one request, with a condition that holds and with one that does not."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.services.edges import ACCOUNT, REFUSALS, REGION, Person, allow, function, named, role

LAMBDA = {"Service": "lambda.amazonaws.com"}
S3_KEYS = [
    ("list_objects_v2", {"Prefix": "a/"}, {"StringLike": {"s3:prefix": "a/*"}}),
    ("list_objects_v2", {"Delimiter": "/"}, {"StringEquals": {"s3:delimiter": "/"}}),
    ("list_objects_v2", {"MaxKeys": 5}, {"NumericLessThanEquals": {"s3:max-keys": "10"}}),
    ("put_object", {"StorageClass": "STANDARD"}, {"StringEquals": {"s3:x-amz-storage-class": "STANDARD"}}),
    ("put_object", {"ServerSideEncryption": "AES256"}, {"StringEquals": {"s3:x-amz-server-side-encryption": "AES256"}}),
    (
        "put_object",
        {"ACL": "bucket-owner-full-control"},
        {"StringEquals": {"s3:x-amz-acl": "bucket-owner-full-control"}},
    ),
    ("put_object", {"Tagging": "team=blue"}, {"StringEquals": {"s3:RequestObjectTag/team": "blue"}}),
    ("put_object", {"Tagging": "team=blue"}, {"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["team"]}}),
    ("get_object", {}, {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}),
    ("get_object", {}, {"StringEquals": {"s3:ResourceAccount": ACCOUNT}}),
    ("get_object", {}, {"StringEquals": {"s3:authType": "REST-HEADER"}}),
    ("get_object", {}, {"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}),
    ("get_object", {}, {"NumericLessThan": {"s3:signatureAge": "600000"}}),
]
"""Operation of S3, what it is asked, and a condition that holds."""


def contrary(condition: dict[str, Any]) -> dict[str, Any]:
    """The condition that holds exactly where this one does not."""
    ((operator, keys),) = condition.items()
    return {CONTRARY[operator]: keys}


CONTRARY = {
    "StringEquals": "StringNotEquals",
    "StringLike": "StringNotLike",
    "NumericLessThan": "NumericGreaterThanEquals",
    "NumericLessThanEquals": "NumericGreaterThan",
    "ForAllValues:StringEquals": "ForAnyValue:StringNotEquals",
}


@pytest.fixture(scope="module")
def bucket(chamber: Any) -> str:
    s3, name = chamber.client("s3"), named("keys")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="k", Body=b"1", Tagging="team=red")
    return name


def outcome(call: Any, **request: Any) -> str:
    """`yes`, `no` for a refusal by IAM; EC2's dry runs count as yes."""
    try:
        call(**request)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        return "no" if code in REFUSALS else "yes" if code == "DryRunOperation" else code
    return "yes"


@pytest.mark.parametrize(("operation", "request_", "condition"), S3_KEYS)
def test_keys_of_s3(
    chamber: Any, bucket: str, operation: str, request_: dict[str, Any], condition: dict[str, Any]
) -> None:
    person = Person(chamber)
    call = getattr(person.client("s3"), operation)
    wanted = {"Bucket": bucket, **request_}
    if operation == "get_object":
        wanted["Key"] = "k"
    elif operation == "put_object":
        wanted["Key"] = named("put")
    besides = allow("s3:PutObjectTagging", "s3:PutObjectAcl")
    main = {"list_objects_v2": "s3:ListBucket", "put_object": "s3:PutObject", "get_object": "s3:GetObject"}[operation]
    person.may(allow(main, when=condition), besides)
    assert outcome(call, **wanted) == "yes"
    person.may(allow(main, when=contrary(condition)), besides)
    assert outcome(call, **wanted) == "no"


def test_presigned_urls_say_how_they_were_signed(chamber: Any, bucket: str) -> None:
    person = Person(chamber)

    def status(version: str) -> int:
        signer = chamber.client("s3", person.key, config=Config(signature_version=version))
        try:
            with urllib.request.urlopen(
                signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
            ) as reply:
                return reply.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    for condition, expected in (
        ({"s3:authType": "REST-QUERY-STRING"}, (200, 200)),
        ({"s3:authType": "REST-HEADER"}, (403, 403)),
        ({"s3:signatureversion": "AWS4-HMAC-SHA256"}, (200, 403)),
        ({"s3:signatureversion": "AWS"}, (403, 200)),
    ):
        person.may(allow("s3:GetObject", when={"StringEquals": condition}))
        assert (status("s3v4"), status("s3")) == expected, condition


def test_one_version_of_an_object_has_actions_of_its_own(chamber: Any, bucket: str) -> None:
    person = Person(chamber, allow("s3:GetObject"))
    get = person.client("s3").get_object
    assert outcome(get, Bucket=bucket, Key="k") == "yes"
    assert outcome(get, Bucket=bucket, Key="k", VersionId="null") == "no"
    person.may(allow("s3:GetObjectVersion", when={"StringEquals": {"s3:VersionId": "null"}}))
    assert outcome(get, Bucket=bucket, Key="k", VersionId="null") == "yes"
    assert outcome(get, Bucket=bucket, Key="k") == "no"


@pytest.mark.parametrize(
    ("kind", "condition", "holds"),
    [
        ("instance", {"StringEquals": {"ec2:InstanceType": "t3.micro"}}, "yes"),
        ("instance", {"StringEquals": {"ec2:InstanceType": "t3.large"}}, "no"),
        ("instance", {"StringEquals": {"ec2:MetadataHttpTokens": "required"}}, "yes"),
        ("instance", {"NumericLessThan": {"ec2:MetadataHttpPutResponseHopLimit": "2"}}, "no"),
        ("instance", {"StringEquals": {"ec2:Tenancy": "dedicated"}}, "no"),
        ("instance", {"StringEquals": {"aws:RequestTag/team": "blue"}}, "yes"),
        ("instance", {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}, "yes"),
        ("instance", {"ForAllValues:StringEquals": {"aws:TagKeys": ["cost"]}}, "no"),
        ("image", {"StringEquals": {"ec2:Owner": "amazon"}}, "yes"),
        ("image", {"Bool": {"ec2:Public": "false"}}, "no"),
        ("subnet", {"ArnLike": {"ec2:Vpc": f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/vpc-*"}}, "yes"),
        ("network-interface", {"ArnLike": {"ec2:Vpc": f"arn:aws:ec2:{REGION}:{ACCOUNT}:vpc/other"}}, "no"),
        ("security-group", {"Null": {"ec2:SecurityGroupID": "false"}}, "yes"),
        ("volume", {"Bool": {"ec2:Encrypted": "true"}}, "no"),
    ],
)
def test_a_launch_is_decided_on_everything_that_it_uses(
    chamber: Any, kind: str, condition: dict[str, Any], holds: str
) -> None:
    kinds = ("instance", "image", "subnet", "network-interface", "security-group", "volume")
    arns = {one: f"arn:aws:ec2:{REGION}:*:{one}/*" for one in kinds}
    person = Person(
        chamber,
        allow("ec2:RunInstances", on=[arn for one, arn in arns.items() if one != kind]),
        allow("ec2:RunInstances", on=arns[kind], when=condition),
        allow("ec2:CreateTags", when={"StringEquals": {"ec2:CreateAction": "RunInstances"}}),
    )
    image = chamber.client("ec2").describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "team", "Value": "blue"}]}]
    wanted = {"ImageId": image, "InstanceType": "t3.micro", "MinCount": 1, "MaxCount": 1, "TagSpecifications": tags}
    assert outcome(person.client("ec2").run_instances, DryRun=True, **wanted) == holds


def test_attributes_that_are_set_are_keys(chamber: Any) -> None:
    person = Person(chamber)
    modify = person.client("ec2").modify_instance_metadata_options
    wanted = {"InstanceId": "i-0123456789abcdef0", "HttpTokens": "optional", "DryRun": True}
    for value, holds in (("required", "no"), ("optional", "yes")):
        when = {"StringEquals": {"ec2:Attribute/HttpTokens": value}}
        person.may(allow("ec2:ModifyInstanceMetadataOptions", when=when))
        assert outcome(modify, **wanted) == holds


def test_keys_of_secrets(chamber: Any) -> None:
    root, name = chamber.client("secretsmanager"), named("keys")
    root.create_secret(Name=name, SecretString="x", Tags=[{"Key": "team", "Value": "blue"}])
    person = Person(chamber)
    sm = person.client("secretsmanager")
    for when, holds in (
        ({"StringEquals": {"secretsmanager:ResourceTag/team": "blue"}}, "yes"),
        ({"StringEquals": {"aws:ResourceTag/team": "red"}}, "no"),
        ({"StringEquals": {"secretsmanager:VersionStage": "AWSCURRENT"}}, "yes"),
        ({"StringEquals": {"secretsmanager:SecretPrimaryRegion": REGION}}, "yes"),
    ):
        person.may(allow("secretsmanager:*", when=when))
        assert outcome(sm.get_secret_value, SecretId=name, VersionStage="AWSCURRENT") == holds, when
    person.may(
        allow("secretsmanager:DeleteSecret", when={"Bool": {"secretsmanager:ForceDeleteWithoutRecovery": "false"}})
    )
    assert outcome(sm.delete_secret, SecretId=name, ForceDeleteWithoutRecovery=True) == "no"
    root.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_keys_of_iam(chamber: Any) -> None:
    """A deployer who may only make roles with a boundary, and only attach what was chosen."""
    iam = chamber.client("iam")
    chosen = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    person = Person(
        chamber,
        allow("iam:CreateRole", "iam:UpdateRole", when={"StringEquals": {"iam:PermissionsBoundary": chosen}}),
        allow("iam:AttachRolePolicy", when={"ArnEquals": {"iam:PolicyARN": chosen}}),
        allow("iam:DeleteRole", when={"StringEquals": {"iam:ResourceTag/team": "blue"}}),
    )
    own, name = person.client("iam"), named("keys")
    trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'  # noqa: E501
    assert outcome(own.create_role, RoleName=name, AssumeRolePolicyDocument=trust) == "no"
    made = {"RoleName": name, "AssumeRolePolicyDocument": trust, "PermissionsBoundary": chosen}
    assert outcome(own.create_role, **made) == "yes"
    assert outcome(own.update_role, RoleName=name, Description="d") == "yes"
    assert outcome(own.attach_role_policy, RoleName=name, PolicyArn=chosen) == "yes"
    admin = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert outcome(own.attach_role_policy, RoleName=name, PolicyArn=admin) == "no"
    iam.detach_role_policy(RoleName=name, PolicyArn=chosen)
    assert outcome(own.delete_role, RoleName=name) == "no"
    iam.tag_role(RoleName=name, Tags=[{"Key": "team", "Value": "blue"}])
    assert outcome(own.delete_role, RoleName=name) == "yes"


def test_permissions_of_a_function_are_told_apart_by_whom_they_are_for(chamber: Any) -> None:
    made = function(chamber, "def handler(event, context):\n    return 1\n", role(chamber, LAMBDA))
    when = {"StringEquals": {"lambda:Principal": "s3.amazonaws.com"}}
    person = Person(chamber, allow("lambda:AddPermission", "lambda:RemovePermission", when=when))
    own, root = person.client("lambda"), chamber.client("lambda")
    wanted = {"FunctionName": made, "Action": "lambda:InvokeFunction"}
    assert outcome(own.add_permission, StatementId="one", Principal="s3.amazonaws.com", **wanted) == "yes"
    assert outcome(own.add_permission, StatementId="two", Principal="events.amazonaws.com", **wanted) == "no"
    root.add_permission(StatementId="two", Principal="events.amazonaws.com", **wanted)
    assert outcome(own.remove_permission, FunctionName=made, StatementId="two") == "no"
    assert outcome(own.remove_permission, FunctionName=made, StatementId="one") == "yes"
