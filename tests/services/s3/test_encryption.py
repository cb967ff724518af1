# SPDX-License-Identifier: Apache-2.0
"""Encryption: by size, by bucket, with keys of KMS, and with the customer's own; and what is then on the disk."""

from __future__ import annotations

import base64
import hashlib
import os
import uuid

import pytest

from tests.conftest import end_chamber, new_chamber
from tests.services.s3.conftest import allow, policy, refused

KEY, OTHER = os.urandom(32), os.urandom(32)
MIB = 1024 * 1024


def customer(key: bytes = KEY, prefix: str = "SSECustomer") -> dict:
    return {
        f"{prefix}Algorithm": "AES256",
        f"{prefix}Key": base64.b64encode(key).decode(),
        f"{prefix}KeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }


def on_disk(chamber, marker: bytes) -> bool:
    """Whether a file of the state folder holds `marker`."""
    return any(marker in path.read_bytes() for path in (chamber.state / "s3" / "blobs").rglob("*") if path.is_file())


@pytest.fixture
def key(chamber):
    kms = chamber.client("kms")
    made = kms.create_key()["KeyMetadata"]["Arn"]
    yield made
    kms.schedule_key_deletion(KeyId=made, PendingWindowInDays=7)


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_is_not_large_is_encrypted_by_itself(chamber, s3, bucket, size):
    marker = uuid.uuid4().hex.encode()
    body = marker.ljust(size, b".")
    assert s3.put_object(Bucket=bucket, Key="k", Body=body)["ServerSideEncryption"] == "AES256"
    told = s3.get_object(Bucket=bucket, Key="k")
    assert (told["Body"].read(), told["ServerSideEncryption"]) == (body, "AES256")
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=3-40")["Body"].read() == body[3:41]
    assert not on_disk(chamber, marker)


def test_what_is_large_is_encrypted_where_it_is_asked_for_and_says_so(chamber, s3, bucket):
    marker = uuid.uuid4().hex.encode()
    body = marker.ljust(9 * MIB, b".")
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="k")
    assert on_disk(chamber, marker)
    marker = uuid.uuid4().hex.encode()
    body = marker.ljust(9 * MIB, b".")
    s3.put_object(Bucket=bucket, Key="k", Body=body, ServerSideEncryption="AES256")
    assert s3.head_object(Bucket=bucket, Key="k")["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=5000000-5000010")["Body"].read() == b"." * 11
    assert not on_disk(chamber, marker)


def test_a_customers_key_is_needed_again(s3, bucket):
    refused(
        "InvalidArgument", s3.put_object, Bucket=bucket, Key="k", Body=b"", **(customer() | {"SSECustomerKeyMD5": "x"})
    )
    told = s3.put_object(Bucket=bucket, Key="k", Body=b"secret", **customer())
    assert told["SSECustomerKeyMD5"] == customer()["SSECustomerKeyMD5"]
    assert "ServerSideEncryption" not in told
    for ask in (s3.get_object, s3.head_object):
        refused("InvalidRequest" if ask == s3.get_object else "400", ask, Bucket=bucket, Key="k")
        refused("AccessDenied" if ask == s3.get_object else "403", ask, Bucket=bucket, Key="k", **customer(OTHER))
    assert s3.get_object(Bucket=bucket, Key="k", **customer())["Body"].read() == b"secret"
    source = {"Bucket": bucket, "Key": "k"}
    refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="c", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source, **customer(prefix="CopySourceSSECustomer"))
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"secret"
    s3.copy_object(Bucket=bucket, Key="d", CopySource={"Bucket": bucket, "Key": "c"}, **customer(OTHER))
    assert s3.get_object(Bucket=bucket, Key="d", **customer(OTHER))["Body"].read() == b"secret"


def test_parts_take_the_key_of_their_upload(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m", **customer())["UploadId"]
    one = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    refused("InvalidRequest", s3.upload_part, PartNumber=1, Body=b"x", **one)
    refused("InvalidRequest", s3.upload_part, PartNumber=1, Body=b"x", **one, **customer(OTHER))
    bodies = [os.urandom(5 * MIB + 7), b"last"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **one, **customer())["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **one)
    whole = b"".join(bodies)
    assert s3.get_object(Bucket=bucket, Key="m", **customer())["Body"].read() == whole
    at = 5 * MIB
    told = s3.get_object(Bucket=bucket, Key="m", Range=f"bytes={at}-{at + 9}", **customer())
    assert told["Body"].read() == whole[at : at + 10]


def test_parts_are_encrypted_by_themselves(s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="m")
    assert upload["ServerSideEncryption"] == "AES256"
    one = {"Bucket": bucket, "Key": "m", "UploadId": upload["UploadId"]}
    bodies = [os.urandom(5 * MIB), os.urandom(5 * MIB), b"last"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(PartNumber=n, Body=body, **one)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    assert s3.complete_multipart_upload(MultipartUpload={"Parts": parts}, **one)["ServerSideEncryption"] == "AES256"
    told = s3.get_object(Bucket=bucket, Key="m")
    assert (told["Body"].read(), told["ServerSideEncryption"]) == (b"".join(bodies), "AES256")
    s3.copy_object(Bucket=bucket, Key="c", CopySource={"Bucket": bucket, "Key": "m"})
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"".join(bodies)


def test_a_key_of_kms_is_asked_each_time(chamber, s3, bucket, key, user):
    told = s3.put_object(Bucket=bucket, Key="k", Body=b"secret", ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
    assert (told["ServerSideEncryption"], told["SSEKMSKeyId"]) == ("aws:kms", key)
    reader = user(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"))
    refused("AccessDenied", reader.get_object, Bucket=bucket, Key="k")
    through = {"StringEquals": {"kms:ViaService": "s3.us-east-1.amazonaws.com"}}
    both = user(allow("s3:GetObject", f"arn:aws:s3:::{bucket}/*"), allow("kms:Decrypt", key, Condition=through))
    assert both.get_object(Bucket=bucket, Key="k")["Body"].read() == b"secret"
    chamber.client("kms").disable_key(KeyId=key)
    refused("KMS.DisabledException", s3.get_object, Bucket=bucket, Key="k")
    refused(
        "KMS.NotFoundException", s3.put_object, Bucket=bucket, Key="k", ServerSideEncryption="aws:kms", SSEKMSKeyId="x"
    )


def test_the_managed_key_is_for_everybody_who_comes_through_s3(s3, bucket, user):
    writer = user(allow(["s3:PutObject", "s3:GetObject"], f"arn:aws:s3:::{bucket}/*"))
    told = writer.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    assert told["SSEKMSKeyId"].startswith("arn:aws:kms:us-east-1:")
    assert writer.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_a_bucket_encrypts_as_its_configuration_says(s3, bucket, key):
    rule = {
        "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key},
        "BucketKeyEnabled": True,
    }
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
    told = s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    assert (told["SSEKMSKeyId"], told["BucketKeyEnabled"]) == (key, True)
    told = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="AES256")
    assert "SSEKMSKeyId" not in told
    deny = allow("s3:PutObject", f"arn:aws:s3:::{bucket}/*", Effect="Deny", Principal="*",
                 Condition={"Null": {"s3:x-amz-server-side-encryption": "true"}})  # fmt: skip
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(deny))
    refused("AccessDenied", s3.put_object, Bucket=bucket, Key="k", Body=b"x")


def test_a_chamber_may_encrypt_all_objects_and_then_says_so(chamber, s3, bucket):
    """Whatever the size, as on AWS; elsewhere a large object is encrypted where somebody asks for it."""
    marker = b"found-on-the-disk-in-plain-text!"
    body = marker * (9 * MIB // len(marker))
    assert "ServerSideEncryption" not in s3.put_object(Bucket=bucket, Key="large", Body=body)
    refused("ServerSideEncryptionConfigurationNotFoundError", s3.get_bucket_encryption, Bucket=bucket)
    assert on_disk(chamber, marker)
    running = new_chamber()
    running.more["CLOUDCHAMBER_S3_ENCRYPTION"] = "all"
    running.start()
    try:
        other = running.client("s3")
        other.create_bucket(Bucket=bucket)
        found = other.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]
        default = {"SSEAlgorithm": "AES256"}
        assert found == {"Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": False}]}
        assert other.put_object(Bucket=bucket, Key="large", Body=body)["ServerSideEncryption"] == "AES256"
        told = other.get_object(Bucket=bucket, Key="large", Range="bytes=32-95")
        assert (told["ServerSideEncryption"], told["Body"].read()) == ("AES256", marker * 2)
        assert not on_disk(running, marker)
    finally:
        end_chamber(running)
