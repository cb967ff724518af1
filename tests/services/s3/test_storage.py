# SPDX-License-Identifier: Apache-2.0
"""Storage classes through boto3: what is kept and told of them, restored copies, transitions.

Time passes while a chamber is stopped: what is stored is made older.
"""

from __future__ import annotations

import io
import json
import sqlite3
import threading

import pytest

from tests.services.s3.conftest import refused
from tests.services.s3.test_lifecycle import age, put_rules

READABLE = ("STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY")
LARGE = bytes(128 * 1024)


def until(holds) -> None:
    """Ask again and again, as a waiter does."""
    pause = threading.Event()
    for _ in range(300):
        if holds():
            return
        pause.wait(0.1)
    pytest.fail("it did not come about")


def classes(s3, bucket) -> dict[str, str]:
    return {one["Key"]: one["StorageClass"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", [])}


@pytest.mark.parametrize("name", READABLE)
def test_a_class_is_kept_and_told(s3, bucket, name):
    assert "StorageClass" not in s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass=name)
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == name
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["StorageClass"], got["Body"].read()) == (name, b"x")
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["StorageClass"])
    assert attributes["StorageClass"] == name
    assert classes(s3, bucket) == {"k": name}
    assert s3.list_objects(Bucket=bucket)["Contents"][0]["StorageClass"] == name
    assert s3.list_object_versions(Bucket=bucket)["Versions"][0]["StorageClass"] == name
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")
    assert classes(s3, bucket) == {"k": "STANDARD"}


def test_a_copy_has_the_class_that_it_is_given(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD_IA")
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="plain", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="cold", CopySource=source, StorageClass="GLACIER_IR")
    refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="k", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, StorageClass="ONEZONE_IA")
    assert classes(s3, bucket) == {"cold": "GLACIER_IR", "k": "ONEZONE_IA", "plain": "STANDARD"}


def test_an_upload_has_a_class(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", StorageClass="GLACIER")["UploadId"]
    assert s3.list_multipart_uploads(Bucket=bucket)["Uploads"][0]["StorageClass"] == "GLACIER"
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=io.BytesIO(b"x"))
    assert s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["StorageClass"] == "GLACIER"
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload=parts)
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == "GLACIER"


@pytest.mark.parametrize("name", ["EXPRESS_ONEZONE", "OUTPOSTS", "SNOW", "FSX_OPENZFS", "Fake"])
def test_classes_of_other_stores_are_refused(s3, bucket, name):
    error = refused("InvalidStorageClass", s3.put_object, Bucket=bucket, Key="k", Body=b"x", StorageClass=name)
    assert error["StorageClassRequested"] == name


@pytest.mark.parametrize("name", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_archived_object_is_restored_first(s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass=name)
    assert refused("InvalidObjectState", s3.get_object, Bucket=bucket, Key="k")["StorageClass"] == name
    source = {"Bucket": bucket, "Key": "k"}
    refused("InvalidObjectState", s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)
    assert "Restore" not in s3.head_object(Bucket=bucket, Key="k")
    asked = {"Bucket": bucket, "Key": "k"}
    refused("MalformedXML", s3.restore_object, **asked, RestoreRequest={})
    refused("InvalidArgument", s3.restore_object, **asked, RestoreRequest={"Days": 0})
    refused("NotImplemented", s3.restore_object, **asked, RestoreRequest={"Days": 1, "Type": "SELECT"})
    bulk = {"Days": 2, "GlacierJobParameters": {"Tier": "Bulk"}}
    done = s3.restore_object(**asked, RestoreRequest=bulk)
    assert done["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert s3.head_object(Bucket=bucket, Key="k")["Restore"] == 'ongoing-request="true"'
    for listing, name in ((s3.list_objects_v2, "Contents"), (s3.list_object_versions, "Versions")):
        told = listing(Bucket=bucket, OptionalObjectAttributes=["RestoreStatus"])[name][0]
        assert told["RestoreStatus"] == {"IsRestoreInProgress": True}
    refused("RestoreAlreadyInProgress", s3.restore_object, **asked, RestoreRequest=bulk)
    refused("InvalidObjectState", s3.get_object, Bucket=bucket, Key="k")
    faster = {"Days": 2, "GlacierJobParameters": {"Tier": "Standard"}}
    assert s3.restore_object(**asked, RestoreRequest=faster)["ResponseMetadata"]["HTTPStatusCode"] == 202


def test_what_need_not_be_restored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="STANDARD_IA")
    wanted = {"Days": 1}
    refused("InvalidObjectState", s3.restore_object, Bucket=bucket, Key="k", RestoreRequest=wanted)
    s3.put_object(Bucket=bucket, Key="deep", Body=b"x", StorageClass="DEEP_ARCHIVE")
    at_once = {"Days": 1, "GlacierJobParameters": {"Tier": "Expedited"}}
    refused("InvalidArgument", s3.restore_object, Bucket=bucket, Key="deep", RestoreRequest=at_once)
    refused("NoSuchKey", s3.restore_object, Bucket=bucket, Key="none", RestoreRequest=wanted)


def hours_pass(chamber, hours: float) -> None:
    """All restores were ordered so many hours earlier."""
    chamber.kill()
    db = sqlite3.connect(chamber.state / "chamber.db")
    with db:
        db.execute("UPDATE s3_restores SET at = at - ?", (hours * 3600,))
        for key, text in db.execute("SELECT key, stored FROM s3_objects").fetchall():
            stored = json.loads(text)
            if "restore" in stored:
                for name in ("ready", "until"):
                    stored["restore"][name] -= hours * 3600
                db.execute("UPDATE s3_objects SET stored = ? WHERE key = ?", (json.dumps(stored), key))
    db.close()
    chamber.start()


def test_a_restored_copy_comes_and_goes(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="archive")
    s3.put_object(Bucket="archive", Key="k", Body=b"x", StorageClass="GLACIER")
    s3.restore_object(Bucket="archive", Key="k", RestoreRequest={"Days": 2})
    hours_pass(own_chamber, 4)
    told = s3.head_object(Bucket="archive", Key="k")
    assert told["Restore"].startswith('ongoing-request="false", expiry-date="')
    assert (told["StorageClass"], s3.get_object(Bucket="archive", Key="k")["Body"].read()) == ("GLACIER", b"x")
    s3.copy_object(Bucket="archive", Key="copy", CopySource={"Bucket": "archive", "Key": "k"})
    longer = s3.restore_object(Bucket="archive", Key="k", RestoreRequest={"Days": 5})
    assert longer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert s3.head_object(Bucket="archive", Key="k")["Restore"] != told["Restore"]
    hours_pass(own_chamber, 24 * 7)
    assert "Restore" not in s3.head_object(Bucket="archive", Key="k")
    refused("InvalidObjectState", s3.get_object, Bucket="archive", Key="k")
    assert s3.get_object(Bucket="archive", Key="copy")["Body"].read() == b"x"


def test_rules_move_objects_down(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="moving")
    for key in ("a/large", "b/large"):
        s3.put_object(Bucket="moving", Key=key, Body=LARGE)
    s3.put_object(Bucket="moving", Key="a/small", Body=b"x")
    s3.put_object(Bucket="moving", Key="tiny/named", Body=b"x")
    moves = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"}]
    put_rules(
        s3,
        "moving",
        {"ID": "a", "Filter": {"Prefix": "a/"}, "Transitions": moves, "Expiration": {"Days": 90}},
        {
            "ID": "t",
            "Filter": {"And": {"Prefix": "tiny/", "ObjectSizeGreaterThan": 0}},
            "Transitions": [{"Days": 0, "StorageClass": "DEEP_ARCHIVE"}],
        },
    )
    age(own_chamber, 31)
    until(lambda: classes(s3, "moving")["tiny/named"] == "DEEP_ARCHIVE")
    until(lambda: classes(s3, "moving")["a/large"] == "STANDARD_IA")
    assert (classes(s3, "moving")["a/small"], classes(s3, "moving")["b/large"]) == ("STANDARD", "STANDARD")
    assert s3.get_object(Bucket="moving", Key="a/large")["Body"].read() == LARGE
    age(own_chamber, 31)
    until(lambda: classes(s3, "moving")["a/large"] == "GLACIER")
    refused("InvalidObjectState", s3.get_object, Bucket="moving", Key="a/large")
    age(own_chamber, 31)
    until(lambda: "a/large" not in classes(s3, "moving"))


def test_small_objects_go_into_archives_where_that_is_asked_for(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="varying")
    s3.put_bucket_versioning(Bucket="varying", VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket="varying", Key="k", Body=b"1")["VersionId"]
    s3.put_object(Bucket="varying", Key="k", Body=b"2")
    rule = {
        "ID": "r",
        "Status": "Enabled",
        "Filter": {},
        "NoncurrentVersionTransitions": [{"NoncurrentDays": 1, "StorageClass": "GLACIER"}],
    }
    s3.put_bucket_lifecycle_configuration(
        Bucket="varying",
        LifecycleConfiguration={"Rules": [rule]},
        TransitionDefaultMinimumObjectSize="varies_by_storage_class",
    )
    assert s3.get_bucket_lifecycle_configuration(Bucket="varying")["Rules"] == [rule]
    age(own_chamber, 3)

    def kinds():
        return {v["VersionId"]: v["StorageClass"] for v in s3.list_object_versions(Bucket="varying")["Versions"]}

    until(lambda: kinds()[first] == "GLACIER")
    assert sorted(kinds().values()) == ["GLACIER", "STANDARD"]
    refused("InvalidObjectState", s3.get_object, Bucket="varying", Key="k", VersionId=first)
    s3.restore_object(Bucket="varying", Key="k", VersionId=first, RestoreRequest={"Days": 1})
    assert s3.head_object(Bucket="varying", Key="k", VersionId=first)["Restore"] == 'ongoing-request="true"'


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("MalformedXML", {"Transitions": [{"Days": 30, "StorageClass": "STANDARD"}]}),
        ("MalformedXML", {"Transitions": [{"StorageClass": "GLACIER"}]}),
        ("InvalidArgument", {"Transitions": [{"Days": 29, "StorageClass": "STANDARD_IA"}]}),
        ("InvalidArgument", {"Transitions": [{"Days": -1, "StorageClass": "GLACIER"}]}),
        ("InvalidArgument", {"Transitions": [{"Days": 30, "StorageClass": "GLACIER"}], "Expiration": {"Days": 30}}),
        (
            "InvalidArgument",
            {"Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 40, "StorageClass": "GLACIER"}]},
        ),
        (
            "InvalidRequest",
            {"Transitions": [{"Days": 30, "StorageClass": "GLACIER"}, {"Days": 40, "StorageClass": "GLACIER"}]},
        ),
        ("MalformedXML", {"NoncurrentVersionTransitions": [{"StorageClass": "GLACIER"}]}),
    ],
)
def test_transitions_that_are_refused(s3, bucket, code, rule):
    wanted = {"Rules": [{"Status": "Enabled", "Filter": {}, **rule}]}
    refused(code, s3.put_bucket_lifecycle_configuration, Bucket=bucket, LifecycleConfiguration=wanted)
