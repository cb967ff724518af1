# SPDX-License-Identifier: Apache-2.0
"""Lifecycle rules through boto3: which are valid, what objects say of them, and what they end when their day has come.

Time passes while a chamber is stopped: what is stored is made older.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.s3.conftest import refused

DAY_S = 86_400


def put_rules(s3, bucket, *rules):
    wanted = [{"Status": "Enabled", **({} if "Prefix" in r else {"Filter": {}}), **r} for r in rules]
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": wanted})


def age(chamber, days: int) -> None:
    """Everything that is stored was stored so many days earlier."""
    chamber.kill()
    db = sqlite3.connect(chamber.state / "chamber.db")
    with db:
        for table, column in (("s3_objects", "modified"), ("s3_versions", "modified"), ("s3_uploads", "initiated")):
            db.execute(f"UPDATE {table} SET {column} = {column} - ?", (days * DAY_S,))
    db.close()
    chamber.start()


def versions(s3, bucket) -> list[tuple[str, str, bool]]:
    page = s3.list_object_versions(Bucket=bucket)
    rows = [(v["Key"], v["VersionId"], False) for v in page.get("Versions", [])]
    return rows + [(m["Key"], m["VersionId"], True) for m in page.get("DeleteMarkers", [])]


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("MalformedXML", {"Status": "enabled", "Expiration": {"Days": 1}}),
        ("InvalidRequest", {"ID": "nothing to do"}),
        ("MalformedXML", {"Filter": {"Prefix": "a", "Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Days": 1}}),
        ("MalformedXML", {"Filter": {"And": {"Prefix": "a"}}, "Expiration": {"Days": 1}}),
        ("MalformedXML", {"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}),
        ("InvalidArgument", {"Expiration": {"Days": 0}}),
        ("InvalidArgument", {"Expiration": {"Date": datetime(2030, 1, 1, 12, tzinfo=UTC)}}),
        ("InvalidArgument", {"ID": "x" * 256, "Expiration": {"Days": 1}}),
        ("MalformedXML", {"NoncurrentVersionExpiration": {"NewerNoncurrentVersions": 2}}),
        ("InvalidArgument", {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}),
        ("InvalidArgument", {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}}),
    ],
)
def test_rules_that_are_refused(s3, bucket, code, rule):
    refused(
        code,
        s3.put_bucket_lifecycle_configuration,
        Bucket=bucket,
        LifecycleConfiguration={"Rules": [{"Status": "Enabled", "Filter": {}, **rule}]},
    )
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)


def test_rules_come_back_and_go(s3, bucket):
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    rules = [
        {"ID": "one", "Status": "Disabled", "Prefix": "old/", "Expiration": {"Days": 3}},
        {
            "ID": "two",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "x/", "Tags": tags}},
            "Expiration": {"Days": 1},
        },
        {"ID": "3", "Status": "Enabled", "Filter": {}, "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)}},
    ]
    done = s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
    assert done["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules
    twice = [{**rules[0], "ID": "same"}] * 2
    wanted = {"Rules": twice}
    refused("InvalidArgument", s3.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration=wanted)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    s3.delete_bucket_lifecycle(Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)


def test_objects_and_uploads_say_when_they_end(s3, bucket):
    put_rules(
        s3,
        bucket,
        {"ID": "a rule", "Prefix": "k", "Expiration": {"Days": 2}},
        {"ID": "later", "Expiration": {"Days": 9}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    )
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    ends = (modified + timedelta(days=3)).replace(hour=0, minute=0, second=0)
    day = ends.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert put["Expiration"] == f'expiry-date="{day}", rule-id="a%20rule"'
    assert s3.head_object(Bucket=bucket, Key="k")["Expiration"] == put["Expiration"]
    assert "Expiration" not in s3.head_object(Bucket=bucket, Key="k", VersionId="null")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")
    assert upload["AbortRuleId"] == "later"
    assert upload["AbortDate"] == ends - timedelta(days=1)
    listed = s3.list_parts(Bucket=bucket, Key="m", UploadId=upload["UploadId"])
    assert listed["AbortDate"] == upload["AbortDate"]


def test_what_is_due_when_the_rules_come_is_ended_soon(s3, bucket):
    for key in ("past/1", "past/2", "future", "tagged"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 20_000, Tagging="a=1" if key == "tagged" else "")
    put_rules(
        s3,
        bucket,
        {"Prefix": "past/", "Expiration": {"Date": datetime(2015, 1, 1, tzinfo=UTC)}},
        {"Filter": {"Tag": {"Key": "a", "Value": "1"}}, "Expiration": {"Date": datetime(2015, 1, 1, tzinfo=UTC)}},
        {"Filter": {"ObjectSizeGreaterThan": 20_000}, "Expiration": {"Date": datetime(2015, 1, 1, tzinfo=UTC)}},
        {"Prefix": "future", "Expiration": {"Date": datetime(2100, 1, 1, tzinfo=UTC)}},
    )
    for key in ("past/1", "past/2", "tagged"):
        s3.get_waiter("object_not_exists").wait(Bucket=bucket, Key=key, WaiterConfig={"Delay": 1})
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["future"]


def test_days_pass(own_chamber):
    s3 = own_chamber.client("s3")
    for bucket in ("plain", "versions"):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="plain", Key="old", Body=b"x" * 20_000)
    upload = s3.create_multipart_upload(Bucket="plain", Key="m")["UploadId"]
    made = [s3.put_object(Bucket="versions", Key="k", Body=bytes([n]))["VersionId"] for n in range(5)]
    s3.put_object(Bucket="versions", Key="gone")
    marker = s3.delete_object(Bucket="versions", Key="gone")["VersionId"]
    put_rules(s3, "plain", {"Expiration": {"Days": 2}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2}})
    put_rules(
        s3,
        "versions",
        {"Prefix": "k", "Expiration": {"Days": 2}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 2}, "Prefix": "k"},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 2}, "Prefix": "gone"},
        {"Expiration": {"ExpiredObjectDeleteMarker": True}, "Prefix": "gone"},
    )
    age(own_chamber, 1)
    s3 = own_chamber.client("s3")
    assert len(versions(s3, "versions")) == 7
    age(own_chamber, 2)
    s3 = own_chamber.client("s3")
    s3.put_object(Bucket="plain", Key="new")
    s3.get_waiter("object_not_exists").wait(Bucket="plain", Key="old", WaiterConfig={"Delay": 1})
    refused("NoSuchUpload", s3.list_parts, Bucket="plain", Key="m", UploadId=upload)
    s3.get_waiter("object_not_exists").wait(Bucket="versions", Key="k", WaiterConfig={"Delay": 1})
    assert s3.head_object(Bucket="plain", Key="new")["ContentLength"] == 0
    kept = versions(s3, "versions")
    assert {v for k, v, deleted in kept if k == "k" and not deleted} == {made[4], made[3], made[2]}
    assert [deleted for k, _, deleted in kept if k == "k"].count(True) == 1
    assert ("gone", marker, True) in kept  # it hid a version until then
    s3.put_object(Bucket="versions", Key="last")
    put_rules(
        s3,
        "versions",
        {"Expiration": {"ExpiredObjectDeleteMarker": True}, "Prefix": "gone"},
        {"Expiration": {"Date": datetime(2015, 1, 1, tzinfo=UTC)}, "Prefix": "last"},
    )
    s3.get_waiter("object_not_exists").wait(Bucket="versions", Key="last", WaiterConfig={"Delay": 1})
    assert ("gone", marker, True) not in versions(s3, "versions")
