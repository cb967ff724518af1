# SPDX-License-Identifier: Apache-2.0
"""A policy that names a user or role means that one, and nobody who has the name later."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import RunningChamber

NAME = "of-test-gone-principals"


def policy(arn: str, action: str, resource: str) -> str:
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": action, "Resource": resource}],
        }
    )


def user(chamber: RunningChamber, name: str) -> tuple[str, str, Any]:
    """ARN and id of a new user, and its session."""
    iam = chamber.client("iam")
    made = iam.create_user(UserName=name)["User"]
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return made["Arn"], made["UserId"], f"{key['AccessKeyId']}:{key['SecretAccessKey']}"


def delete(chamber: RunningChamber, name: str) -> None:
    iam = chamber.client("iam")
    for key in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName=name)


def test_a_deleted_user_and_the_next_of_its_name(chamber: RunningChamber) -> None:
    s3, secrets = chamber.client("s3"), chamber.client("secretsmanager")
    s3.create_bucket(Bucket=f"bucket-{NAME}")
    s3.put_object(Bucket=f"bucket-{NAME}", Key="kept", Body=b"kept")
    secret = secrets.create_secret(Name=f"secret-{NAME}", SecretString="kept")["ARN"]
    arn, unique_id, key = user(chamber, f"first-{NAME}")
    s3.put_bucket_policy(Bucket=f"bucket-{NAME}", Policy=policy(arn, "s3:GetObject", f"arn:aws:s3:::bucket-{NAME}/*"))
    secrets.put_resource_policy(SecretId=secret, ResourcePolicy=policy(arn, "secretsmanager:GetSecretValue", "*"))
    assert chamber.client("s3", key).get_object(Bucket=f"bucket-{NAME}", Key="kept")["Body"].read() == b"kept"
    assert chamber.client("secretsmanager", key).get_secret_value(SecretId=secret)["SecretString"] == "kept"

    delete(chamber, f"first-{NAME}")
    same, _, other = user(chamber, f"first-{NAME}")
    assert same == arn
    for call, arguments in (
        (chamber.client("s3", other).get_object, {"Bucket": f"bucket-{NAME}", "Key": "kept"}),
        (chamber.client("secretsmanager", other).get_secret_value, {"SecretId": secret}),
    ):
        with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
            call(**arguments)
    shown = json.loads(s3.get_bucket_policy(Bucket=f"bucket-{NAME}")["Policy"])
    assert shown["Statement"][0]["Principal"] == {"AWS": unique_id}


def test_a_renamed_user_is_followed(chamber: RunningChamber) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket=f"renamed-{NAME}")
    arn, _, key = user(chamber, f"before-{NAME}")
    s3.put_bucket_policy(Bucket=f"renamed-{NAME}", Policy=policy(arn, "s3:ListBucket", f"arn:aws:s3:::renamed-{NAME}"))
    chamber.client("iam").update_user(UserName=f"before-{NAME}", NewUserName=f"after-{NAME}")
    assert chamber.client("s3", key).list_objects_v2(Bucket=f"renamed-{NAME}")["KeyCount"] == 0
    shown = json.loads(s3.get_bucket_policy(Bucket=f"renamed-{NAME}")["Policy"])
    assert shown["Statement"][0]["Principal"]["AWS"].endswith(f":user/after-{NAME}")
