# SPDX-License-Identifier: Apache-2.0
"""Who may list a bucket, and read nothing in it, learns that a key is missing: no more than that."""

from __future__ import annotations

import threading

import pytest
from botocore.exceptions import ClientError

from tests.services.s3.conftest import allow, refused


@pytest.fixture
def lister(user, bucket):
    return user(
        allow(["s3:ListBucket", "s3:ListBucketVersions"], f"arn:aws:s3:::{bucket}"),
        allow(["s3:PutObject", "s3:PutObjectTagging"], f"arn:aws:s3:::{bucket}/mine/*"),
    )


def test_a_version_behind_a_delete_marker_is_not_read_by_who_may_only_list(s3, bucket, lister):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"secret")["VersionId"]
    marker = s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    source = {"Bucket": bucket, "Key": "k", "VersionId": version}

    refused("NoSuchKey", lister.get_object, Bucket=bucket, Key="k")
    refused("AccessDenied", lister.get_object, **source)
    refused("403", lister.head_object, **source)
    refused("AccessDenied", lister.get_object_attributes, **source, ObjectAttributes=["ETag"])
    refused("AccessDenied", lister.copy_object, Bucket=bucket, Key="mine/copy", CopySource=source)
    upload = lister.create_multipart_upload(Bucket=bucket, Key="mine/parts")["UploadId"]
    refused("AccessDenied", lister.upload_part_copy, Bucket=bucket, Key="mine/parts", UploadId=upload, PartNumber=1,
            CopySource=source)  # fmt: skip
    for gone in (version, marker):
        s3.delete_object(Bucket=bucket, Key="k", VersionId=gone)
    s3.abort_multipart_upload(Bucket=bucket, Key="mine/parts", UploadId=upload)


def test_a_key_that_comes_after_the_decision_is_not_read(chamber, s3, bucket, lister):
    """The decision and the operation look one after the other: whoever asks all the time hits the moment between."""
    stop, seen = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                seen.append(lister.get_object(Bucket=bucket, Key="now")["Body"].read())
            except ClientError as error:
                assert error.response["Error"]["Code"] in ("AccessDenied", "NoSuchKey"), error

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        s3.put_object(Bucket=bucket, Key="now", Body=b"secret")
        s3.delete_object(Bucket=bucket, Key="now")
    stop.set()
    for thread in threads:
        thread.join()
    assert not seen
