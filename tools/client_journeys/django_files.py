# SPDX-License-Identifier: Apache-2.0
"""django-storages: files saved, told apart, listed, opened, addressed, deleted."""

import os
import urllib.request

import boto3
import django
from django.conf import settings
from django.core.files.base import ContentFile

BUCKET = os.environ["BUCKET"]
settings.configure(
    AWS_STORAGE_BUCKET_NAME=BUCKET, AWS_S3_ENDPOINT_URL=os.environ["AWS_ENDPOINT_URL"], AWS_S3_FILE_OVERWRITE=False
)
django.setup()
from storages.backends.s3 import S3Storage  # noqa: E402 - Django must be set up before

s3 = boto3.client("s3")
s3.create_bucket(Bucket=BUCKET)
storage = S3Storage()
first = storage.save("letters/a.txt", ContentFile(b"one"))
second = storage.save("letters/a.txt", ContentFile(b"two"))
assert first == "letters/a.txt"
assert second != first
assert storage.open(second).read() == b"two"
assert len(storage.listdir("letters")[1]) == 2
assert storage.size(first) == 3
assert storage.exists(first)
assert not storage.exists("letters/none")
assert urllib.request.urlopen(storage.url(first)).read() == b"one"
storage.delete(first)
storage.delete(second)
s3.delete_bucket(Bucket=BUCKET)
