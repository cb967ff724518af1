# SPDX-License-Identifier: Apache-2.0
"""Replication to a bucket of another chamber: both are real, the other one goes away and comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import RunningChamber, end_chamber, new_chamber
from tests.services.lambda_.functions import until
from tests.services.s3.conftest import allow, policy
from tests.services.s3.test_replication import ALLOWED, configure, role, rule

HERE, THERE = "here-of-test-peers", "there-of-test-peers"
__all__ = ["role"]


@pytest.fixture(scope="module")
def other():
    running = new_chamber()
    running.start()
    yield running
    end_chamber(running)


def versioned(s3: Any, bucket: str) -> None:
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


def peer(chamber: RunningChamber, *arguments: str, secret: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cloudchamber", "peer", *arguments, "--state", str(chamber.state)],
        input=secret, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def status(s3: Any, key: str) -> str:
    return s3.head_object(Bucket=HERE, Key=key)["ReplicationStatus"]


def test_a_bucket_of_another_chamber(chamber: RunningChamber, other: RunningChamber, s3: Any, role: Any) -> None:
    versioned(s3, HERE)
    there = other.client("s3")
    versioned(there, THERE)
    with pytest.raises(s3.exceptions.ClientError, match="InvalidRequest"):
        configure(s3, HERE, role(*ALLOWED), rule(THERE))

    iam = other.client("iam")
    iam.create_user(UserName="copies")
    wanted = ["s3:PutObject*", "s3:GetBucketVersioning", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    iam.put_user_policy(UserName="copies", PolicyName="own", PolicyDocument=policy(allow(wanted, "*")))
    key = iam.create_access_key(UserName="copies")["AccessKey"]
    peer(
        chamber, "add", THERE, "--endpoint", other.endpoint, "--access-key-id", key["AccessKeyId"],
        secret=key["SecretAccessKey"],
    )  # fmt: skip
    (shown,) = json.loads(peer(chamber, "list", "--json"))
    assert shown == {
        "Bucket": THERE, "Endpoint": other.endpoint, "AccessKeyId": key["AccessKeyId"], "Region": "us-east-1"
    }  # fmt: skip
    assert (chamber.state / "peers.json").stat().st_mode & 0o777 == 0o600
    configure(s3, HERE, role(*ALLOWED), rule(THERE, DeleteMarkerReplication={"Status": "Enabled"}))

    bodies = {"small": b"small", "empty": b"", "ä b+%.txt": b"x" * 100_000, "large": os.urandom(17_000_000)}
    for name, body in bodies.items():
        s3.put_object(
            Bucket=HERE, Key=name, Body=body, Tagging="a=1%2B2", Metadata={"m": "a  b"}, ContentType="text/x",
            CacheControl="no-store",
        )  # fmt: skip
    for name, body in bodies.items():
        until(lambda name=name: status(s3, name) == "COMPLETED")
        found = there.get_object(Bucket=THERE, Key=name)
        assert found["Body"].read() == body
        assert (found["ContentType"], found["CacheControl"]) == ("text/x", "no-store")
        assert found["Metadata"] == s3.head_object(Bucket=HERE, Key=name)["Metadata"]
        tags = there.get_object_tagging(Bucket=THERE, Key=name)["TagSet"]
        assert tags == [{"Key": "a", "Value": "1+2"}]
    name = 'attachment; filename="zażółć ä.txt"'
    s3.put_object(
        Bucket=HERE, Key="named", Body=b"x", ContentDisposition=name, Metadata={"m": "=?UTF-8?Q?=C5=BC=0D=0A?="}
    )
    until(lambda: status(s3, "named") == "COMPLETED")
    here, found = (one.head_object(Bucket=b, Key="named") for one, b in ((s3, HERE), (there, THERE)))
    assert (found["ContentDisposition"], found["Metadata"]) == (here["ContentDisposition"], here["Metadata"])
    s3.delete_object(Bucket=HERE, Key="small")
    until(lambda: there.list_object_versions(Bucket=THERE, Prefix="small").get("DeleteMarkers"))

    other.kill()
    s3.put_object(Bucket=HERE, Key="while away", Body=b"waits")
    assert status(s3, "while away") == "PENDING"
    other.start()
    until(lambda: status(s3, "while away") == "COMPLETED", 60)
    assert there.get_object(Bucket=THERE, Key="while away")["Body"].read() == b"waits"

    s3.put_object(Bucket=HERE, Key="kms", Body=b"x", ServerSideEncryption="aws:kms")
    until(lambda: status(s3, "kms") == "FAILED", 60)
    iam.delete_user_policy(UserName="copies", PolicyName="own")
    s3.put_object(Bucket=HERE, Key="denied", Body=b"x")
    until(lambda: status(s3, "denied") == "FAILED", 60)
    assert "AccessDenied" in chamber.log
    assert key["SecretAccessKey"] not in chamber.log
    peer(chamber, "remove", THERE)
