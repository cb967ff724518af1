# SPDX-License-Identifier: Apache-2.0
"""Access logs, and configurations that are kept."""

from __future__ import annotations

import json

import pytest

from tests.services.s3.conftest import allow, policy, refused


def inventory(bucket: str, name: str = "all", **more) -> dict:
    return {
        "Destination": {"S3BucketDestination": {"Bucket": f"arn:aws:s3:::{bucket}", "Format": "CSV"}},
        "IsEnabled": True,
        "Id": name,
        "IncludedObjectVersions": "All",
        "Schedule": {"Frequency": "Daily"},
        **more,
    }


def test_logs_are_written_where_the_targets_policy_lets(own_chamber):
    s3 = own_chamber.client("s3")
    for name in ("watched", "logs"):
        s3.create_bucket(Bucket=name)
    let = allow("s3:PutObject", "arn:aws:s3:::logs/*", Principal={"Service": "logging.s3.amazonaws.com"},
                Condition={"ArnLike": {"aws:SourceArn": "arn:aws:s3:::watched"}})  # fmt: skip
    target = {"TargetBucket": "logs", "TargetPrefix": "p/"}
    refused(
        "InvalidTargetBucketForLogging",
        s3.put_bucket_logging,
        Bucket="watched",
        BucketLoggingStatus={"LoggingEnabled": {**target, "TargetBucket": "none"}},
    )
    s3.put_bucket_logging(Bucket="watched", BucketLoggingStatus={"LoggingEnabled": target})
    assert s3.get_bucket_logging(Bucket="watched")["LoggingEnabled"] == target
    s3.put_object(Bucket="watched", Key="refused", Body=b"x")
    own_chamber.stop()
    own_chamber.start()
    s3 = own_chamber.client("s3")
    assert "Contents" not in s3.list_objects_v2(Bucket="logs")
    s3.put_bucket_policy(Bucket="logs", Policy=policy(let))
    s3.put_object(Bucket="watched", Key="a key", Body=b"hello")
    refused("NoSuchKey", s3.get_object, Bucket="watched", Key="none")
    own_chamber.stop()
    own_chamber.start()
    s3 = own_chamber.client("s3")
    (found,) = s3.list_objects_v2(Bucket="logs", Prefix="p/")["Contents"]
    lines = s3.get_object(Bucket="logs", Key=found["Key"])["Body"].read().decode().splitlines()
    put, got = (line.split() for line in lines)
    assert put[1] == "watched"
    assert put[7:9] == ["REST.PUT.OBJECT", "a%20key"]
    assert ' "PUT /watched/a%20key HTTP/1.1" 200 - ' in lines[0]
    assert got[7] == "REST.GET.OBJECT"
    assert " 404 NoSuchKey " in lines[1]
    s3.put_bucket_logging(Bucket="watched", BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket="watched")


def test_inventories_are_kept_and_checked(s3, bucket):
    kept = inventory(bucket)
    s3.put_bucket_inventory_configuration(Bucket=bucket, Id="all", InventoryConfiguration=kept)
    assert s3.get_bucket_inventory_configuration(Bucket=bucket, Id="all")["InventoryConfiguration"] == kept
    assert s3.list_bucket_inventory_configurations(Bucket=bucket)["InventoryConfigurationList"] == [kept]
    put = s3.put_bucket_inventory_configuration
    refused("IdMismatch", put, Bucket=bucket, Id="other", InventoryConfiguration=kept)
    refused(
        "MalformedXML", put, Bucket=bucket, Id="all", InventoryConfiguration=inventory(bucket, OptionalFields=["X"])
    )
    s3.delete_bucket_inventory_configuration(Bucket=bucket, Id="all")
    refused("NoSuchConfiguration", s3.get_bucket_inventory_configuration, Bucket=bucket, Id="all")


@pytest.mark.parametrize(
    ("kind", "member", "kept"),
    [
        ("metrics", "MetricsConfiguration", {"Id": "m", "Filter": {"Prefix": "a/"}}),
        ("analytics", "AnalyticsConfiguration", {"Id": "m", "Filter": {"Prefix": "a/"}, "StorageClassAnalysis": {}}),
        (
            "intelligent_tiering",
            "IntelligentTieringConfiguration",
            {"Id": "m", "Status": "Enabled", "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}]},
        ),
    ],
)
def test_other_configurations_are_kept(s3, bucket, kind, member, kept):
    one = {"Bucket": bucket, "Id": "m"}
    getattr(s3, f"put_bucket_{kind}_configuration")(**one, **{member: kept})
    assert getattr(s3, f"get_bucket_{kind}_configuration")(**one)[member] == kept
    assert getattr(s3, f"list_bucket_{kind}_configurations")(Bucket=bucket)[f"{member}List"] == [kept]
    getattr(s3, f"delete_bucket_{kind}_configuration")(**one)
    refused("NoSuchConfiguration", getattr(s3, f"delete_bucket_{kind}_configuration"), **one)


def test_acceleration_is_kept(s3, bucket):
    assert "Status" not in s3.get_bucket_accelerate_configuration(Bucket=bucket)
    s3.put_bucket_accelerate_configuration(Bucket=bucket, AccelerateConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_accelerate_configuration(Bucket=bucket)["Status"] == "Enabled"
    refused(
        "MalformedXML", s3.put_bucket_accelerate_configuration, Bucket=bucket, AccelerateConfiguration={"Status": "on"}
    )


def test_requesters_pay_who_say_so(chamber, s3, bucket):
    made = json.loads(chamber.cli("account", "add", f"payer-{bucket}"[:40], "--json").stdout)
    other = chamber.client("s3", f"{made['AccessKeyId']}:{made['SecretAccessKey']}")
    let = allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*", Principal={"AWS": made["Id"]})
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(let))
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    s3.put_bucket_request_payment(Bucket=bucket, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=bucket)["Payer"] == "Requester"
    refused("AccessDenied", other.get_object, Bucket=bucket, Key="k")
    assert other.get_object(Bucket=bucket, Key="k", RequestPayer="requester")["Body"].read() == b"x"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
