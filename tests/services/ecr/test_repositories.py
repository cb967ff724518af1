# SPDX-License-Identifier: Apache-2.0
"""Repositories through unmodified boto3: their settings and policies are real, images are not offered."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

NAME = "ecr-own/app"
SELECTION = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 9}
LIFECYCLE = json.dumps({"rules": [{"rulePriority": 1, "selection": SELECTION, "action": {"type": "expire"}}]})


@pytest.fixture
def ecr(chamber):
    return chamber.client("ecr")


def test_a_repository(ecr):
    made = ecr.create_repository(repositoryName=NAME, imageTagMutability="IMMUTABLE")["repository"]
    assert made["repositoryArn"] == f"arn:aws:ecr:us-east-1:000000000000:repository/{NAME}"
    assert made["repositoryUri"] == f"000000000000.dkr.ecr.us-east-1.amazonaws.com/{NAME}"
    with pytest.raises(ecr.exceptions.RepositoryAlreadyExistsException):
        ecr.create_repository(repositoryName=NAME)
    assert ecr.describe_repositories(repositoryNames=[NAME])["repositories"] == [made]
    assert ecr.list_images(repositoryName=NAME)["imageIds"] == []
    with pytest.raises(ecr.exceptions.RepositoryPolicyNotFoundException):
        ecr.get_repository_policy(repositoryName=NAME)
    ecr.put_lifecycle_policy(repositoryName=NAME, lifecyclePolicyText=LIFECYCLE)
    assert ecr.get_lifecycle_policy(repositoryName=NAME)["lifecyclePolicyText"] == LIFECYCLE
    ecr.tag_resource(resourceArn=made["repositoryArn"], tags=[{"Key": "a", "Value": "1"}])
    assert ecr.list_tags_for_resource(resourceArn=made["repositoryArn"])["tags"] == [{"Key": "a", "Value": "1"}]
    ecr.delete_repository(repositoryName=NAME)
    with pytest.raises(ecr.exceptions.RepositoryNotFoundException):
        ecr.describe_repositories(repositoryNames=[NAME])


def test_its_policy_decides(chamber, ecr):
    iam = chamber.client("iam")
    user = iam.create_user(UserName="ecr-reader")["User"]["Arn"]
    key = iam.create_access_key(UserName="ecr-reader")["AccessKey"]
    reader = chamber.client("ecr", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    ecr.create_repository(repositoryName="ecr-policy")
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.list_images(repositoryName="ecr-policy")
    statement = {"Effect": "Allow", "Principal": {"AWS": user}, "Action": "ecr:ListImages"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ecr.set_repository_policy(repositoryName="ecr-policy", policyText=document)
    assert reader.list_images(repositoryName="ecr-policy")["imageIds"] == []
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.describe_repositories(repositoryNames=["ecr-policy"])
    ecr.delete_repository(repositoryName="ecr-policy", force=True)
    iam.delete_access_key(UserName="ecr-reader", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="ecr-reader")


def test_refused(ecr):
    for asked in (
        {"repositoryName": "Upper"},
        {"repositoryName": "ecr-kms", "encryptionConfiguration": {"encryptionType": "KMS"}},
        {"repositoryName": "ecr-tags", "imageTagMutability": "MUTABLE_WITH_EXCLUSION"},
    ):
        with pytest.raises(ecr.exceptions.InvalidParameterException):
            ecr.create_repository(**asked)
    with pytest.raises(ClientError, match="does not implement it"):
        ecr.get_authorization_token()
    ecr.create_repository(repositoryName="ecr-bad")
    for text in ("no json", "[]", '{"Statement": 3}', '{"Version": "2012-10-17", "Statement": [{"Effect": "No"}]}'):
        with pytest.raises(ecr.exceptions.InvalidParameterException):
            ecr.set_repository_policy(repositoryName="ecr-bad", policyText=text)
        with pytest.raises(ecr.exceptions.InvalidParameterException):
            ecr.put_lifecycle_policy(repositoryName="ecr-bad", lifecyclePolicyText=text.ljust(100))
    ecr.delete_repository(repositoryName="ecr-bad")
