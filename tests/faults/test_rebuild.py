# SPDX-License-Identifier: Apache-2.0
"""The database is lost or broken: what comes back, and what does not."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

LARGE, OTHER, SMALL = b"large" * 10_000, b"other" * 10_000, b"small"
PART = b"p" * 5 * 1024 * 1024


def fill(chamber) -> dict[str, str]:
    """Objects of every kind; version ids of the versioned ones."""
    s3 = chamber.client("s3")
    for name in ("plain", "kept"):
        s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(
        Bucket="plain", Key="a/b", Body=LARGE, Metadata={"who": "me"}, ContentType="text/x", Tagging="t=1&u=2"
    )
    s3.put_object(Bucket="plain", Key="over", Body=OTHER)
    s3.put_object(Bucket="plain", Key="over", Body=LARGE)
    s3.put_object(Bucket="plain", Key="small", Body=SMALL)
    s3.put_object(Bucket="plain", Key="sha", Body=LARGE, ChecksumAlgorithm="SHA256")
    s3.put_object(Bucket="plain", Key="big", Body=b"b" * 9_000_000)
    s3.put_object(Bucket="plain", Key="mine", Body=LARGE, SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32)
    s3.copy_object(
        Bucket="plain", Key="copy", CopySource="plain/a/b", MetadataDirective="REPLACE", Metadata={"is": "copy"}
    )
    made = {"first": s3.put_object(Bucket="kept", Key="k", Body=OTHER)["VersionId"]}
    made["second"] = s3.put_object(Bucket="kept", Key="k", Body=LARGE)["VersionId"]
    made["copied"] = s3.copy_object(Bucket="kept", Key="c", CopySource="plain/over")["VersionId"]
    for key, bodies in (("one", [LARGE]), ("two", [PART, b"end"]), ("open", [LARGE])):
        upload = s3.create_multipart_upload(Bucket="kept", Key=key, Metadata={"m": key})["UploadId"]
        named = {"Bucket": "kept", "Key": key, "UploadId": upload}
        parts = [s3.upload_part(**named, PartNumber=n, Body=body) for n, body in enumerate(bodies, 1)]
        if key != "open":
            told = [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(parts, 1)]
            done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": told})
            made[key] = done["VersionId"]
    return made


def body(s3, bucket: str, key: str, **more) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def look(chamber, made: dict[str, str]) -> None:
    """All that is in files is there again."""
    s3 = chamber.client("s3")
    found = s3.get_object(Bucket="plain", Key="a/b")
    assert found["Body"].read() == LARGE
    assert (found["Metadata"], found["ContentType"], found["TagCount"]) == ({"who": "me"}, "text/x", 2)
    assert body(s3, "plain", "over") == body(s3, "plain", "sha", ChecksumMode="ENABLED") == LARGE
    assert body(s3, "plain", "big") == b"b" * 9_000_000
    assert body(s3, "plain", "mine", SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32) == LARGE
    copied = s3.get_object(Bucket="plain", Key="copy")
    assert (copied["Body"].read(), copied["Metadata"]) == (LARGE, {"is": "copy"})
    assert body(s3, "kept", "k", VersionId=made["first"]) == OTHER
    assert body(s3, "kept", "k") == body(s3, "kept", "k", VersionId=made["second"]) == LARGE
    assert body(s3, "kept", "c", VersionId=made["copied"]) == LARGE
    assert body(s3, "kept", "one", VersionId=made["one"]) == LARGE
    two = s3.get_object(Bucket="kept", Key="two", VersionId=made["two"])
    assert (two["Body"].read(), two["Metadata"]) == (PART + b"end", {"m": "two"})
    assert two["ETag"].endswith('-2"')
    assert s3.get_bucket_versioning(Bucket="kept")["Status"] == "Enabled"
    status = chamber.cli("scrub", check=False)
    assert status.returncode == 0, status.stdout


def lost(chamber) -> set[str]:
    s3 = chamber.client("s3")
    return {"small"} - {one["Key"] for one in s3.list_objects_v2(Bucket="plain")["Contents"]}


def test_a_database_that_is_gone(own_chamber):
    made = fill(own_chamber)
    assert "runs on" in own_chamber.cli("rebuild", check=False).stderr
    own_chamber.stop()
    assert "is sound" in own_chamber.cli("rebuild").stdout
    for path in own_chamber.state.glob("chamber.db*"):
        path.unlink()
    own_chamber.start()  # an empty one: nothing may be swept
    own_chamber.stop()
    told = own_chamber.cli("rebuild")
    assert "not the one that these files belong to" in told.stdout
    assert "kept, plain" in told.stderr
    assert "16 KiB" in told.stdout
    own_chamber.start()
    look(own_chamber, made)
    assert lost(own_chamber) == {"small"}
    own_chamber.stop()
    assert "is sound" in own_chamber.cli("rebuild").stdout


def test_a_database_that_is_broken(own_chamber):
    made = fill(own_chamber)
    user = own_chamber.client("iam").create_user(UserName="somebody")["User"]["Arn"]
    own_chamber.stop()
    path = own_chamber.state / "chamber.db"
    octets = bytearray(path.read_bytes())
    page = int.from_bytes(octets[16:18], "big")
    for number in (len(octets) // page // 2, len(octets) // page - 3):
        octets[number * page : (number + 1) * page] = b"\xff" * page
    path.write_bytes(octets)
    done = own_chamber.cli("rebuild", "--json")
    told = json.loads(done.stdout)
    assert told["wrong"]
    assert told["aside"]
    own_chamber.start()
    look(own_chamber, made)
    users = own_chamber.client("iam").list_users()["Users"]
    whole = {one["table"] for one in told["salvaged"] if one["whole"]}
    assert "iam_entities" not in whole or [one["Arn"] for one in users] == [user]
    assert len(whole) > 20


def test_a_file_that_is_no_database_says_what_to_do(own_chamber):
    fill(own_chamber)
    own_chamber.stop()
    (own_chamber.state / "chamber.db").write_bytes(b"nothing of sense" * 1000)
    with pytest.raises(AssertionError, match="cloudchamber rebuild"):
        own_chamber.start()
    own_chamber.cli("rebuild")
    own_chamber.start()
    assert body(own_chamber.client("s3"), "plain", "over") == LARGE


def test_octets_of_a_client_are_no_label(own_chamber):
    """Who uploads a copy of a label does not get an object of another's."""
    s3 = own_chamber.client("s3")
    fill(own_chamber)
    db_blob = next(
        p for p in (own_chamber.state / "s3" / "blobs").rglob("*") if p.is_file() and b'"a/b"' in p.read_bytes()
    )
    stolen = db_blob.read_bytes()[-900:].replace(b'"a/b"', b'"x/y"')
    s3.create_bucket(Bucket="thief")
    upload = s3.create_multipart_upload(Bucket="thief", Key="t")["UploadId"]
    s3.upload_part(Bucket="thief", Key="t", UploadId=upload, PartNumber=1, Body=b"x" * 70_000 + stolen)
    own_chamber.stop()
    for path in own_chamber.state.glob("chamber.db*"):
        path.unlink()
    own_chamber.cli("rebuild")
    own_chamber.start()
    keys = {one["Key"] for one in own_chamber.client("s3").list_objects_v2(Bucket="plain")["Contents"]}
    assert "a/b" in keys
    assert "x/y" not in keys
    with pytest.raises(ClientError):
        own_chamber.client("s3").head_bucket(Bucket="thief")
