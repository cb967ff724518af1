# SPDX-License-Identifier: Apache-2.0
"""boto3: transfers in parts, resources, addresses signed by both versions, forms."""

import io
import os
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

BUCKET = os.environ["BUCKET"]
in_parts = TransferConfig(max_concurrency=8, multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
s3 = boto3.client("s3")
s3.create_bucket(Bucket=BUCKET)
data = os.urandom(23 << 20)
s3.upload_fileobj(io.BytesIO(data), BUCKET, "big", Config=in_parts, ExtraArgs={"Metadata": {"a": "b"}})
back = io.BytesIO()
s3.download_fileobj(BUCKET, "big", back, Config=in_parts)
assert back.getvalue() == data

bucket = boto3.resource("s3").Bucket(BUCKET)
bucket.copy({"Bucket": BUCKET, "Key": "big"}, "copy", Config=in_parts)
assert bucket.Object("copy").content_length == len(data)
assert bucket.Object("copy").metadata == {"a": "b"}
for version in ("s3", "s3v4"):
    signing = boto3.client("s3", config=Config(signature_version=version))
    address = signing.generate_presigned_url("put_object", {"Bucket": BUCKET, "Key": version})
    request = urllib.request.Request(address, data=b"x", method="PUT", headers={"Content-Type": ""})
    if version == "s3v4":
        request.remove_header("Content-type")
    assert urllib.request.urlopen(request).status == 200
    address = signing.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": version})
    assert urllib.request.urlopen(address).read() == b"x"
assert sorted(one.key for one in bucket.objects.all()) == ["big", "copy", "s3", "s3v4"]
bucket.objects.all().delete()
bucket.delete()
bucket.wait_until_not_exists()
