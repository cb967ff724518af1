# SPDX-License-Identifier: Apache-2.0
"""Multipart uploads through boto3."""

from __future__ import annotations

import base64
import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.services.s3.conftest import refused

MIB = 1024 * 1024


@pytest.fixture
def upload(s3, bucket):
    """Starts an upload; gives its id and a function that uploads a part."""

    def begin(key="k", **more):
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, **more)["UploadId"]

        def part(number, body, **options):
            return s3.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=body, **options)

        return upload_id, part

    yield begin
    for found in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        s3.abort_multipart_upload(Bucket=bucket, Key=found["Key"], UploadId=found["UploadId"])


def finish(s3, bucket, upload_id, parts, key="k", **more):
    listed = [
        {"PartNumber": n, "ETag": r["ETag"], **{m: v for m, v in r.items() if m in more.get("keep", ())}}
        for n, r in parts
    ]
    more.pop("keep", None)
    return s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": listed}, **more
    )


@pytest.mark.parametrize("encrypted", [False, True])
def test_an_object_of_parts(s3, bucket, upload, encrypted):
    more = {"ServerSideEncryption": "AES256"} if encrypted else {}
    first, last = os.urandom(5 * MIB), b"the end"
    upload_id, part = upload(ContentType="x/y", Metadata={"a": "1"}, Tagging="t=1", **more)
    parts = [(2, part(2, last)), (1, part(1, b"replaced")), (1, part(1, first))]
    refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="k")
    done = finish(s3, bucket, upload_id, [parts[2], parts[0]])
    md5s = b"".join(hashlib.md5(body).digest() for body in (first, last))
    assert done["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-2"'
    assert finish(s3, bucket, upload_id, [parts[2], parts[0]])["ETag"] == done["ETag"]
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == first + last
    assert (got["ContentType"], got["Metadata"], got["TagCount"]) == ("x/y", {"a": "1"}, 1)
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert (second["PartsCount"], second["Body"].read()) == (2, last)
    refused("NoSuchUpload", s3.abort_multipart_upload, Bucket=bucket, Key="k", UploadId=upload_id)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_completions_at_the_same_time_answer_alike(s3, bucket, upload):
    upload_id, part = upload()
    made = part(1, bytes(5 * MIB))
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(finish, s3, bucket, upload_id, [(1, made)], IfNoneMatch="*") for _ in range(8)]
        assert len({one.result()["ETag"] for one in asked}) == 1


def test_checksums_of_the_whole_and_of_the_parts(s3, bucket, upload):
    bodies = [os.urandom(5 * MIB), os.urandom(1234)]
    crc = base64.b64encode(zlib.crc32(b"".join(bodies)).to_bytes(4, "big")).decode()
    upload_id, part = upload(ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    parts = [(n, part(n, body, ChecksumAlgorithm="CRC32")) for n, body in enumerate(bodies, 1)]
    refused(
        "BadDigest", lambda: finish(s3, bucket, upload_id, parts, ChecksumCRC32="AAAAAA==", ChecksumType="FULL_OBJECT")
    )
    done = finish(s3, bucket, upload_id, parts, ChecksumCRC32=crc, ChecksumType="FULL_OBJECT")
    assert (done["ChecksumCRC32"], done["ChecksumType"]) == (crc, "FULL_OBJECT")
    upload_id, part = upload(ChecksumAlgorithm="SHA256")
    parts = [(n, part(n, body, ChecksumAlgorithm="SHA256")) for n, body in enumerate(bodies, 1)]
    done = finish(s3, bucket, upload_id, parts, keep=("ChecksumSHA256",))
    whole = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).digest()
    assert done["ChecksumSHA256"] == f"{base64.b64encode(whole).decode()}-2"


def test_what_completion_refuses(s3, bucket, upload):
    upload_id, part = upload()
    small, last = (1, part(1, b"too small")), (2, part(2, b"end"))
    error = refused("EntityTooSmall", lambda: finish(s3, bucket, upload_id, [small, last]))
    assert error["MinSizeAllowed"] == str(5 * MIB)
    refused("InvalidPartOrder", lambda: finish(s3, bucket, upload_id, [last, small]))
    refused("InvalidPart", lambda: finish(s3, bucket, upload_id, [(3, last[1])]))
    refused("InvalidPart", lambda: finish(s3, bucket, upload_id, [(1, last[1])]))
    refused("NoSuchUpload", lambda: finish(s3, bucket, "unknown", [small]))
    refused("InvalidArgument", s3.upload_part, Bucket=bucket, Key="k", UploadId=upload_id, PartNumber=10001, Body=b"")
    refused("404", s3.head_object, Bucket=bucket, Key="k")


def test_parts_from_objects(s3, bucket, upload):
    body = os.urandom(6 * MIB)
    s3.put_object(Bucket=bucket, Key="source", Body=body)
    upload_id, part = upload()
    asked = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "CopySource": f"{bucket}/source"}
    copied = s3.upload_part_copy(PartNumber=1, CopySourceRange=f"bytes=10-{5 * MIB + 9}", **asked)["CopyPartResult"]
    refused("InvalidArgument", s3.upload_part_copy, PartNumber=1, CopySourceRange="bytes=0-99999999", **asked)
    finish(s3, bucket, upload_id, [(1, copied), (2, part(2, b"end"))])
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == body[10 : 5 * MIB + 10] + b"end"


def test_listings_of_parts_and_uploads(s3, bucket, upload):
    ids = {}
    for key in ("a/1", "a/2", "b"):
        ids[key], part = upload(key)
    for number in (7, 3, 5):
        part(number, bytes(number))
    found = s3.list_parts(Bucket=bucket, Key="b", UploadId=ids["b"], MaxParts=2)
    assert [(p["PartNumber"], p["Size"]) for p in found["Parts"]] == [(3, 3), (5, 5)]
    assert found["IsTruncated"]
    rest = s3.list_parts(Bucket=bucket, Key="b", UploadId=ids["b"], PartNumberMarker=found["NextPartNumberMarker"])
    assert [p["PartNumber"] for p in rest["Parts"]] == [7]
    listed = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert ([u["Key"] for u in listed["Uploads"]], listed["CommonPrefixes"]) == (["b"], [{"Prefix": "a/"}])
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, PaginationConfig={"PageSize": 1})
    assert [u["UploadId"] for page in pages for u in page.get("Uploads", [])] == list(ids.values())
