# SPDX-License-Identifier: Apache-2.0
"""Days that lie behind the end of the calendar: S3 takes as many as fit in 32 bits."""

from __future__ import annotations

from botocore.exceptions import ClientError

FAR = 2**31 - 1


def test_rules_that_end_nothing_in_our_time(s3, bucket):
    rule = {
        "ID": "far", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": FAR},
        "NoncurrentVersionExpiration": {"NoncurrentDays": FAR},
        "Transitions": [{"Days": FAR - 1, "StorageClass": "GLACIER"}],
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": FAR},
    }  # fmt: skip
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    assert "9999" in s3.put_object(Bucket=bucket, Key="k", Body=b"x")["Expiration"]
    assert "9999" in s3.get_object(Bucket=bucket, Key="k")["Expiration"]
    assert "9999" in s3.head_object(Bucket=bucket, Key="k")["Expiration"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    assert upload["AbortDate"].year == 9999
    s3.list_parts(Bucket=bucket, Key="parts", UploadId=upload["UploadId"])
    s3.abort_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload["UploadId"])


def test_a_restored_copy_that_stays(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", StorageClass="GLACIER")
    asked = {"Bucket": bucket, "Key": "k", "RestoreRequest": {"Days": FAR}}
    try:
        s3.restore_object(**asked)
    except ClientError as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error
    s3.head_object(Bucket=bucket, Key="k")
