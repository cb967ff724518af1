# SPDX-License-Identifier: Apache-2.0
"""Replication through boto3: copies are made by the role that the configuration names, and only if it may."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.services.s3.conftest import allow, policy, refused
from tests.services.s3.test_versions import empty

ALLOWED = (
    "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging", "s3:ReplicateObject", "s3:ReplicateTags",
    "s3:ReplicateDelete",
)  # fmt: skip


@pytest.fixture
def pair(s3):
    names = [f"test-{uuid.uuid4().hex[:20]}" for _ in range(2)]
    for name in names:
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield names
    for name in names:
        empty(s3, name)
        s3.delete_bucket(Bucket=name)


@pytest.fixture
def role(chamber):
    """Makes roles that S3 may assume, with the actions given."""
    iam = chamber.client("iam")
    made = []

    def make(*actions: str) -> str:
        name = f"role-{uuid.uuid4().hex[:12]}"
        trust = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        iam.put_role_policy(RoleName=name, PolicyName="own", PolicyDocument=policy(allow(list(actions), "*")))
        made.append(name)
        return arn

    yield make
    for name in made:
        iam.delete_role_policy(RoleName=name, PolicyName="own")
        iam.delete_role(RoleName=name)


def rule(target: str, **more) -> dict:
    return {
        "Status": "Enabled", "Priority": 1, "Filter": {}, "DeleteMarkerReplication": {"Status": "Disabled"},
        "Destination": {"Bucket": f"arn:aws:s3:::{target}"}, **more,
    }  # fmt: skip


def configure(s3, bucket, role, *rules):
    s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration={"Role": role, "Rules": list(rules)})


def arrived(s3, bucket, key, version):
    s3.get_waiter("object_exists").wait(
        Bucket=bucket, Key=key, VersionId=version, WaiterConfig={"Delay": 1, "MaxAttempts": 30}
    )
    return s3.get_object(Bucket=bucket, Key=key, VersionId=version)


def test_versions_are_copied_with_their_ids(s3, pair, role):
    source, target = pair
    wanted = rule(target, Filter={"Prefix": "in/"}, DeleteMarkerReplication={"Status": "Enabled"})
    configure(s3, source, role(*ALLOWED), wanted)
    told = s3.get_bucket_replication(Bucket=source)["ReplicationConfiguration"]["Rules"]
    assert told == [{**wanted, "ID": told[0]["ID"]}]
    bodies = [b"small", b"x" * 20_000, b""]
    ids = [s3.put_object(Bucket=source, Key="in/k", Body=b, Tagging="a=1", Metadata={"m": "v"}) for b in bodies]
    outside = s3.put_object(Bucket=source, Key="out", Body=b"x")
    for put, body in zip(ids, bodies, strict=True):
        copy = arrived(s3, target, "in/k", put["VersionId"])
        assert (copy["Body"].read(), copy["Metadata"], copy["ReplicationStatus"]) == (body, {"m": "v"}, "REPLICA")
        assert s3.head_object(Bucket=source, Key="in/k", VersionId=put["VersionId"])["ReplicationStatus"] == "COMPLETED"
    assert s3.get_object(Bucket=target, Key="in/k")["VersionId"] == ids[-1]["VersionId"]
    assert s3.get_object_tagging(Bucket=target, Key="in/k")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert "ReplicationStatus" not in s3.head_object(Bucket=source, Key="out", VersionId=outside["VersionId"])
    marker = s3.delete_object(Bucket=source, Key="in/k")["VersionId"]
    s3.get_waiter("object_not_exists").wait(Bucket=target, Key="in/k", WaiterConfig={"Delay": 1})
    assert [m["VersionId"] for m in s3.list_object_versions(Bucket=target)["DeleteMarkers"]] == [marker]
    s3.delete_object(Bucket=source, Key="in/k", VersionId=ids[0]["VersionId"])
    assert len(s3.list_object_versions(Bucket=target)["Versions"]) == 3


def test_a_role_that_may_not_copies_nothing(s3, pair, role):
    source, target = pair
    configure(s3, source, role("s3:ReplicateObject"), rule(target))
    version = s3.put_object(Bucket=source, Key="k", Body=b"x")["VersionId"]
    seen = "PENDING"
    while seen == "PENDING":  # until the last try
        seen = s3.head_object(Bucket=source, Key="k", VersionId=version)["ReplicationStatus"]
    assert seen == "FAILED"
    assert "Versions" not in s3.list_object_versions(Bucket=target)


def test_configurations_that_are_refused(s3, pair, bucket, role, user):
    source, target = pair
    arn = role(*ALLOWED)
    put = s3.put_bucket_replication
    refused("ReplicationConfigurationNotFoundError", s3.get_bucket_replication, Bucket=source)

    def with_rules(*rules):
        return {"Role": arn, "Rules": list(rules)}

    refused("InvalidRequest", put, Bucket=bucket, ReplicationConfiguration=with_rules(rule(target)))
    refused("InvalidRequest", put, Bucket=source, ReplicationConfiguration=with_rules(rule(bucket)))
    refused("MalformedXML", put, Bucket=source, ReplicationConfiguration=with_rules())
    other = {"Bucket": f"arn:aws:s3:::{target}", "StorageClass": "SNOW"}
    refused("MalformedXML", put, Bucket=source, ReplicationConfiguration=with_rules(rule(target, Destination=other)))
    plain = user(allow("s3:*", "*"))
    error = refused(
        "AccessDenied", plain.put_bucket_replication, Bucket=source, ReplicationConfiguration=with_rules(rule(target))
    )
    assert "iam:PassRole" in error["Message"]
    configure(s3, source, arn, rule(target))
    suspended = {"Status": "Suspended"}
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=source, VersioningConfiguration=suspended)
    s3.delete_bucket_replication(Bucket=source)
    s3.delete_bucket_replication(Bucket=source)
