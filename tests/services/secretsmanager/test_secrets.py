# SPDX-License-Identifier: Apache-2.0
"""Secrets through boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture(scope="module")
def sm(chamber: Any) -> Any:
    return chamber.client("secretsmanager")


def test_versions_move(sm: Any) -> None:
    made = sm.create_secret(Name="sm/one", SecretString="first", Tags=[{"Key": "a", "Value": "b"}])
    assert made["ARN"].startswith("arn:aws:secretsmanager:us-east-1:") and made["ARN"][-7] == "-"
    sm.put_secret_value(SecretId="sm/one", SecretString="second")
    assert sm.get_secret_value(SecretId=made["ARN"])["SecretString"] == "second"
    assert sm.get_secret_value(SecretId=made["ARN"][:-7], VersionStage="AWSPREVIOUS")["SecretString"] == "first"
    sm.update_secret(SecretId="sm/one", SecretBinary=b"\x00\xff", Description="new")
    found = sm.get_secret_value(SecretId="sm/one")
    assert found["SecretBinary"] == b"\x00\xff" and found["VersionStages"] == ["AWSCURRENT"]
    described = sm.describe_secret(SecretId="sm/one")
    assert described["Description"] == "new" and sorted(map(tuple, described["VersionIdsToStages"].values())) == [
        ("AWSCURRENT",), ("AWSPREVIOUS",)]  # fmt: skip
    sm.tag_resource(SecretId="sm/one", Tags=[{"Key": "c", "Value": "d"}])
    sm.untag_resource(SecretId="sm/one", TagKeys=["a"])
    assert sm.describe_secret(SecretId="sm/one")["Tags"] == [{"Key": "c", "Value": "d"}]
    names = [one["Name"] for one in sm.list_secrets(Filters=[{"Key": "name", "Values": ["sm/"]}])["SecretList"]]
    assert names == ["sm/one"]


def test_values_are_sealed_on_disk(chamber: Any, sm: Any) -> None:
    sm.create_secret(Name="sm/sealed", SecretString="plainly-visible-value")
    for file in chamber.state.rglob("*"):
        if file.is_file() and "rds" not in file.parts:
            assert b"plainly-visible-value" not in file.read_bytes(), file
    assert (chamber.state / "secretsmanager" / "key").stat().st_mode & 0o777 == 0o600


def test_deleted_and_restored(sm: Any) -> None:
    sm.create_secret(Name="sm/gone", SecretString="x")
    sm.delete_secret(SecretId="sm/gone", RecoveryWindowInDays=7)
    with pytest.raises(ClientError, match="marked for deletion"):
        sm.get_secret_value(SecretId="sm/gone")
    sm.restore_secret(SecretId="sm/gone")
    assert sm.get_secret_value(SecretId="sm/gone")["SecretString"] == "x"
    sm.delete_secret(SecretId="sm/gone", ForceDeleteWithoutRecovery=True)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        sm.describe_secret(SecretId="sm/gone")


def test_only_who_may_reads(chamber: Any, sm: Any) -> None:
    iam = chamber.client("iam")
    arn = sm.create_secret(Name="sm/mine", SecretString="x")["ARN"]
    iam.create_user(UserName="sm-reader")
    key = iam.create_access_key(UserName="sm-reader")["AccessKey"]
    reader = chamber.client("secretsmanager", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    with pytest.raises(ClientError, match="not authorized to perform: secretsmanager:GetSecretValue"):
        reader.get_secret_value(SecretId="sm/mine")
    statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": arn}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="sm-reader", PolicyName="read", PolicyDocument=document)
    assert reader.get_secret_value(SecretId="sm/mine")["SecretString"] == "x"
    statement = {"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sm.put_resource_policy(SecretId="sm/mine", ResourcePolicy=document)
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.get_secret_value(SecretId="sm/mine")


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"Name": "rds!db-x", "SecretString": "x"}, "InvalidParameterException"),
        ({"Name": "sm/k", "SecretString": "x", "KmsKeyId": "alias/mine"}, "KmsKeyId"),
        ({"Name": "bad name", "SecretString": "x"}, "InvalidParameterException|ValidationException"),
    ],
)
def test_refusals(sm: Any, request_: dict[str, Any], error: str) -> None:
    with pytest.raises(ClientError, match=error):
        sm.create_secret(**request_)


def test_random_passwords(sm: Any) -> None:
    found = sm.get_random_password(PasswordLength=20, ExcludePunctuation=True)["RandomPassword"]
    assert len(found) == 20 and found.isalnum()


def test_rds_owns_its_secret(chamber: Any, sm: Any) -> None:
    import psycopg

    from tests.services.rds.test_instances import create, wait

    rds = chamber.client("rds")
    rds.create_db_instance(
        DBInstanceIdentifier="managed", DBInstanceClass="db.t4g.micro", Engine="postgres", AllocatedStorage=20,
        MasterUsername="boss", ManageMasterUserPassword=True, PubliclyAccessible=True,
    )  # fmt: skip
    database = wait(rds, "managed", "available")
    arn = database["MasterUserSecret"]["SecretArn"]
    value = json.loads(sm.get_secret_value(SecretId=arn)["SecretString"])
    endpoint = database["Endpoint"]
    with psycopg.connect(
        host=endpoint["Address"], port=endpoint["Port"], user=value["username"], password=value["password"],
        dbname="postgres", sslmode="verify-full", sslrootcert=str(chamber.state / "ca" / "ca.pem"),
    ) as session:  # fmt: skip
        assert session.execute("SELECT 1").fetchone() == (1,)
    assert sm.describe_secret(SecretId=arn)["OwningService"] == "rds"
    with pytest.raises(ClientError, match="managed by rds"):
        sm.delete_secret(SecretId=arn)
    rds.delete_db_instance(DBInstanceIdentifier="managed", SkipFinalSnapshot=True)
    wait(rds, "managed", "deleted")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        sm.describe_secret(SecretId=arn)
    assert create is not None
