# SPDX-License-Identifier: Apache-2.0
"""Disks that are full, read-only, slow or broken: AWS's 5xx, nothing lost, and no restart afterwards."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tools.lying_disk import built, preloaded, quick

from tests.conftest import RunningChamber, end_chamber, new_chamber

SMALL, LARGE = b"s" * 100, b"l" * 100_000
BUCKET = "trouble"


class Disk:
    """What the chamber's disk does from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def does(self, *rules: str) -> None:
        fresh = self._path.with_suffix(".new")
        fresh.write_text("\n".join(rules) + "\n")
        fresh.replace(self._path)

    def is_well(self) -> None:
        self._path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A chamber with its disk."""
    folder = tmp_path_factory.mktemp("trouble")
    shim = built(folder)
    if shim is None:
        pytest.skip("no C compiler, or no Linux: the disk cannot be made to fail")
    chamber = new_chamber(quick())
    chamber.more = preloaded(shim, chamber.state, LYING_FAULTS=str(folder / "faults"))
    chamber.start()
    chamber.client("s3").create_bucket(Bucket=BUCKET)
    yield chamber, Disk(folder / "faults")
    Disk(folder / "faults").is_well()
    end_chamber(chamber)


@pytest.fixture
def s3(troubled):
    chamber, disk = troubled
    yield chamber.client("s3")
    disk.is_well()


@pytest.fixture
def disk(troubled):
    return troubled[1]


def put(s3, key: str, body: bytes) -> str:
    """The error's code; empty if there was none."""
    try:
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def get(s3, key: str) -> bytes:
    return s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()


def goes_on(s3) -> None:
    """All is taken again, by the same process."""
    assert put(s3, "again/small", SMALL) == put(s3, "again/large", LARGE) == ""
    assert get(s3, "again/small") == SMALL
    assert get(s3, "again/large") == LARGE


@pytest.mark.parametrize("left", [1_000_000, 0])
def test_a_full_disk_refuses_writes_and_takes_deletions(troubled, s3, disk, left: int):
    chamber, _ = troubled
    for number in range(20):
        assert put(s3, f"full/{number}", LARGE if number % 2 else SMALL) == ""
    disk.does(f"space {left}")
    while not (code := put(s3, "more", SMALL)):  # the chamber looks now and then
        pass
    assert code == "ServiceUnavailable"
    assert put(s3, "more", LARGE) == "ServiceUnavailable"
    with pytest.raises(ClientError, match="disk of this chamber is full") as refused:
        s3.copy_object(
            Bucket=BUCKET, Key="copied", CopySource={"Bucket": BUCKET, "Key": "full/1"}, MetadataDirective="REPLACE"
        )
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert get(s3, "full/0") == SMALL
    assert get(s3, "full/1") == LARGE
    parts = chamber.cli("status").stdout
    assert any("disk" in line and " full " in line for line in parts.splitlines()), parts
    assert "Delete objects, or free space on that disk" in chamber.log
    for number in range(10):
        s3.delete_object(Bucket=BUCKET, Key=f"full/{number}")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"full/{number}"} for number in range(10, 20)]})
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET, Prefix="full/")
    disk.is_well()
    while put(s3, "more", SMALL):
        pass
    goes_on(s3)
    assert "has room again" in chamber.log


@pytest.mark.parametrize("rule", [
    f"write chamber.db-wal 0 -1 {errno.EIO} 0",
    f"sync chamber.db-wal 0 -1 {errno.EIO} 0",
    f"* chamber.db 0 -1 {errno.EROFS} 0",
])  # fmt: skip
def test_a_database_that_cannot_be_written(s3, disk, rule: str):
    assert put(s3, "kept", SMALL) == ""
    disk.does(rule)
    assert put(s3, "kept", b"other") == "InternalError"
    assert put(s3, "kept", LARGE) == "InternalError"
    assert get(s3, "kept") == SMALL
    disk.is_well()
    assert get(s3, "kept") == SMALL
    goes_on(s3)


@pytest.mark.parametrize(("rule", "code"), [
    (f"write blobs 0 -1 {errno.EIO} 0", "InternalError"),
    (f"sync blobs 0 -1 {errno.EIO} 0", "InternalError"),
    (f"write blobs 0 -1 {errno.ENOSPC} 0", "ServiceUnavailable"),
    (f"* blobs 0 -1 {errno.EROFS} 0", "ServiceUnavailable"),
])  # fmt: skip
def test_blobs_that_cannot_be_written(troubled, s3, disk, rule: str, code: str):
    assert put(s3, "kept", LARGE) == ""
    disk.does(rule)
    assert put(s3, "kept", LARGE * 2) == code
    assert put(s3, "small", SMALL) == ""
    assert get(s3, "kept") == LARGE
    disk.is_well()
    assert get(s3, "kept") == LARGE
    goes_on(s3)
    assert list((troubled[0].state / "s3" / "blobs" / "incoming").iterdir()) == []


def test_a_slow_disk_is_waited_for(s3, disk):
    disk.does("sync * 0 6 0 300")
    goes_on(s3)


def test_tracks_that_cannot_be_written_break_nothing(s3, disk):
    disk.does(f"* tracks.db 0 -1 {errno.EIO} 0")
    goes_on(s3)


@pytest.mark.parametrize("where", ["s3", "chamber.db"])
def test_any_one_call_fails(troubled, s3, disk, where: str):
    """The n-th call on the disk fails, for each n: what was answered is so, and else it is as before."""
    body = LARGE
    assert put(s3, "one", body) == ""
    failed = 0
    for number in range(24):
        for fresh in (bytes([number]) * 100_000, bytes([number]) * 50):
            disk.does(f"* {where} {number} 1 {errno.EIO} 0")
            code = put(s3, "one", fresh)
            disk.is_well()
            assert code in ("", "InternalError")
            found = get(s3, "one")
            assert found == fresh or (code and found == body)
            failed += code != ""
            body = found
    assert failed > 2
    chamber: RunningChamber = troubled[0]
    chamber.kill()
    chamber.start()
    assert get(chamber.client("s3"), "one") == body


def test_any_one_call_of_other_changes_fails(troubled, s3, disk):
    """Copies, uploads in parts and deletions: done and told so, or not done at all, whichever call fails."""
    part = b"p" * 5 * 1024 * 1024
    codes: list[str] = []

    def tried(call, **asked) -> str:
        disk.does(f"* {where} {number} 1 {errno.EIO} 0")
        try:
            call(Bucket=BUCKET, **asked)
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
            return codes[-1]
        finally:
            disk.is_well()
        return ""

    assert put(s3, "from", LARGE) == ""
    for where in ("s3", "chamber.db"):
        for number in range(8):
            key = f"{where} {number}"
            refused = tried(s3.copy_object, Key=key, CopySource={"Bucket": BUCKET, "Key": "from"})
            found = {one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])}
            assert refused or key in found
            if key in found:
                assert get(s3, key) == LARGE
                assert tried(s3.delete_object, Key=key) == "" or get(s3, key) == LARGE
            upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
            named = {"Key": key, "UploadId": upload}
            for n, body in ((1, part), (2, LARGE)):
                if tried(s3.upload_part, **named, PartNumber=n, Body=body):
                    s3.upload_part(Bucket=BUCKET, **named, PartNumber=n, Body=body)
            parts = s3.list_parts(Bucket=BUCKET, **named)["Parts"]
            told = {"Parts": [{"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in parts]}
            if tried(s3.complete_multipart_upload, **named, MultipartUpload=told):
                s3.complete_multipart_upload(Bucket=BUCKET, **named, MultipartUpload=told)
            assert get(s3, key) == part + LARGE
            s3.delete_object(Bucket=BUCKET, Key=key)
    assert set(codes) == {"InternalError"}
    assert troubled[0].cli("scrub", check=False).returncode == 0


def test_a_chamber_starts_on_a_full_disk(troubled, s3, disk):
    chamber: RunningChamber = troubled[0]
    assert put(s3, "there", LARGE) == ""
    chamber.kill()
    disk.does("space 0")
    chamber.start()
    again = chamber.client("s3")
    assert get(again, "there") == LARGE
    disk.does("space 2000000")  # a start removes what nothing names, which may free a lot
    while not (code := put(again, "more", SMALL)):
        pass
    assert code == "ServiceUnavailable"
    again.delete_object(Bucket=BUCKET, Key="there")
    disk.is_well()
    while put(again, "more", SMALL):
        pass
    goes_on(again)
