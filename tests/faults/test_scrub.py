# SPDX-License-Identifier: Apache-2.0
"""Bit rot: what a scrub finds, what clients see of it, and what it leaves alone."""

from __future__ import annotations

import json
import os
import sqlite3

import pytest
from botocore.exceptions import BotoCoreError, ClientError

SMALL, LARGE, HUGE = b"small" * 100, b"large" * 10_000, b"huge" * 3_000_000
PART = b"p" * 5 * 1024 * 1024


def scrub(chamber, *arguments: str) -> tuple[int, list[dict]]:
    done = chamber.cli("scrub", "--json", *arguments, check=False)
    assert done.returncode in (0, 2), done.stdout + done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def wrong(told: list[dict]) -> list[tuple[str, str]]:
    return sorted((one["key"], one["wrong"]) for one in told if one["kind"] == "wrong")


def rows(chamber, sql: str) -> list[tuple]:
    db = sqlite3.connect(chamber.state / "chamber.db")
    try:
        found = db.execute(sql).fetchall()
        db.commit()
        return found
    finally:
        db.close()


def blob(chamber, key: str):
    ((name,),) = rows(chamber, f"SELECT blob FROM s3_objects WHERE key = '{key}'")
    return chamber.state / "s3" / "blobs" / name


def rot(path) -> None:
    octets = bytearray(path.read_bytes())
    octets[len(octets) // 2] ^= 1
    path.write_bytes(octets)


def code(call, **asked) -> str:
    with pytest.raises(ClientError) as refused:
        call(**asked)
    return refused.value.response["Error"]["Code"]


def test_what_is_sound_is_left_alone(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="sound")
    s3.put_bucket_versioning(Bucket="sound", VersioningConfiguration={"Status": "Enabled"})
    for key, body, more in (
        ("small", SMALL, {}), ("large", LARGE, {}), ("huge", HUGE, {}), ("empty", b"", {}),
        ("sha", LARGE, {"ChecksumAlgorithm": "SHA256"}), ("crc", SMALL, {"ChecksumAlgorithm": "CRC32"}),
        ("customer", LARGE, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}),
        ("kms", LARGE, {"ServerSideEncryption": "aws:kms"}), ("small", SMALL * 2, {}), ("large", LARGE * 2, {}),
    ):  # fmt: skip
        s3.put_object(Bucket="sound", Key=key, Body=body, **more)
    s3.copy_object(Bucket="sound", Key="copy", CopySource={"Bucket": "sound", "Key": "large"})
    s3.delete_object(Bucket="sound", Key="small")
    for algorithm in ("", "CRC32", "SHA256"):
        given = {"ChecksumAlgorithm": algorithm} if algorithm else {}
        upload = s3.create_multipart_upload(Bucket="sound", Key=f"parts{algorithm}", **given)["UploadId"]
        named = {"Bucket": "sound", "Key": f"parts{algorithm}", "UploadId": upload}
        parts = []
        for number, body in ((1, PART), (2, b"end")):
            told = s3.upload_part(**named, PartNumber=number, Body=body, **given)
            sums = {f"Checksum{algorithm}": told[f"Checksum{algorithm}"]} if algorithm else {}
            parts.append({"PartNumber": number, "ETag": told["ETag"], **sums})
        if algorithm != "CRC32":
            s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    status, told = scrub(own_chamber)
    assert (status, wrong(told)) == (0, [])
    done = told[-1]
    assert done["kind"] == "done"
    assert done["objects"] == 13
    assert told[0]["parts"] == 2


def test_decrypted_objects_are_compared_in_passing(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="passing")
    for key, body in (("one", LARGE), ("more", HUGE[:7_000_000])):
        s3.put_object(Bucket="passing", Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")
        assert s3.get_object(Bucket="passing", Key=key)["Body"].read() == body
        rot(blob(own_chamber, key))
        with pytest.raises(BotoCoreError):
            s3.get_object(Bucket="passing", Key=key, ChecksumMode="DISABLED")["Body"].read()
        assert s3.get_object(Bucket="passing", Key=key, Range="bytes=0-9")["Body"].read() == body[:10]
    assert "more is not what was stored: CRC64NVME should be" in own_chamber.log


def test_octets_under_keys_of_others_are_compared_as_they_lie(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="sealed")
    mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
    for key, body, more in (
        ("mine", LARGE, mine), ("kms", LARGE, {"ServerSideEncryption": "aws:kms"}), ("small", SMALL, mine),
    ):  # fmt: skip
        s3.put_object(Bucket="sealed", Key=key, Body=body, **more)
    upload = s3.create_multipart_upload(Bucket="sealed", Key="parts", **mine)["UploadId"]
    named = {"Bucket": "sealed", "Key": "parts", "UploadId": upload}
    tags = [
        {"PartNumber": n, "ETag": s3.upload_part(**named, **mine, PartNumber=n, Body=body)["ETag"]}
        for n, body in ((1, PART), (2, LARGE))
    ]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": tags})
    assert scrub(own_chamber)[0] == 0
    assert s3.get_object(Bucket="sealed", Key="parts", **mine)["Body"].read() == PART + LARGE
    assert s3.get_object(Bucket="sealed", Key="small", **mine)["Body"].read() == SMALL
    for key in ("mine", "kms"):
        rot(blob(own_chamber, key))
    rot(sorted(blob(own_chamber, "parts").iterdir())[1])
    rows(own_chamber, "UPDATE s3_bodies SET data = CAST(zeroblob(500) AS BLOB)")
    assert wrong(scrub(own_chamber)[1]) == [(key, "changed") for key in ("kms", "mine", "parts", "small")]
    s3.delete_object(Bucket="sealed", Key="parts")
    left = json.loads(own_chamber.cli("scrub", "--discard", "--json").stdout)
    assert {one["key"] for one in left} == {"kms", "mine", "small"}
    assert len(list((own_chamber.state / "s3" / "quarantine").iterdir())) == 2


def test_rot_is_named_and_put_aside(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="rotten")
    for key, body in (("a", LARGE), ("b", HUGE), ("c", SMALL), ("d", LARGE), ("e", LARGE), ("f", LARGE)):
        s3.put_object(Bucket="rotten", Key=key, Body=body)
    upload = s3.create_multipart_upload(Bucket="rotten", Key="u")["UploadId"]
    named = {"Bucket": "rotten", "Key": "u", "UploadId": upload}
    part = s3.upload_part(**named, PartNumber=1, Body=PART)
    ((name,),) = rows(own_chamber, "SELECT blob FROM s3_parts")
    rot(own_chamber.state / "s3" / "blobs" / name)
    rot(blob(own_chamber, "a"))
    rot(blob(own_chamber, "b"))
    rows(own_chamber, "UPDATE s3_bodies SET data = CAST(zeroblob(500) AS BLOB)")
    blob(own_chamber, "d").unlink()
    os.truncate(blob(own_chamber, "e"), 100)
    file = blob(own_chamber, "a")
    status, told = scrub(own_chamber, "rotten")
    assert status == 2
    assert wrong(told) == [
        ("a", "changed"), ("b", "changed"), ("c", "changed"), ("d", "missing"), ("e", "short"), ("u", "changed"),
    ]  # fmt: skip
    one = next(one for one in told if one.get("key") == "a")
    assert one["expected"].startswith(("CRC64NVME:", "CRC32:"))
    assert one["expected"] != one["actual"]
    assert one["place"].endswith(file.name)
    assert not file.exists()
    for key in "abcde":
        assert code(s3.get_object, Bucket="rotten", Key=key) == "InternalError"
        assert code(s3.copy_object, Bucket="rotten", Key="x", CopySource=f"rotten/{key}") == "InternalError"
        assert s3.head_object(Bucket="rotten", Key=key)["ContentLength"] > 0
    assert s3.get_object(Bucket="rotten", Key="f")["Body"].read() == LARGE
    completed = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert code(s3.complete_multipart_upload, **named, MultipartUpload=completed) == "InvalidPart"
    assert scrub(own_chamber)[0] == 0, "what is known is not told twice"
    s3.put_object(Bucket="rotten", Key="a", Body=LARGE)
    s3.delete_object(Bucket="rotten", Key="b")
    assert s3.get_object(Bucket="rotten", Key="a")["Body"].read() == LARGE
    listed = json.loads(own_chamber.cli("scrub", "--list", "--json").stdout)
    assert {one["key"]: one["open"] for one in listed} == {
        "a": False, "b": False, "c": True, "d": True, "e": True, "u": False,
    }  # fmt: skip
    assert "open" in own_chamber.cli("scrub", "--list").stdout
    listed = json.loads(own_chamber.cli("scrub", "--discard", "--json").stdout)
    assert {one["key"] for one in listed} == {"c", "d", "e"}
    assert len(list((own_chamber.state / "s3" / "quarantine").iterdir())) == 1
    own_chamber.kill()
    own_chamber.start()
    assert code(own_chamber.client("s3").get_object, Bucket="rotten", Key="c") == "InternalError"


def test_blobs_of_another_database_are_not_swept(own_chamber):
    s3 = own_chamber.client("s3")
    s3.create_bucket(Bucket="mine")
    s3.put_object(Bucket="mine", Key="a", Body=LARGE)
    file = blob(own_chamber, "a")
    own_chamber.stop()
    for path in own_chamber.state.glob("chamber.db*"):
        path.unlink()
    own_chamber.start()
    assert "are not those of this database" in own_chamber.log
    assert scrub(own_chamber)[0] == 0
    assert file.exists()
