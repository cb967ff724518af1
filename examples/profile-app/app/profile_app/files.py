# SPDX-License-Identifier: Apache-2.0
"""The file store: pictures in S3. The database only has their keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from profile_app.tracing import trace_client

if TYPE_CHECKING:
    from profile_app.settings import Settings


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture from the store."""

    data: bytes
    etag: str
    of_etag: str
    """For a thumbnail: the ETag of the picture that it was made of."""


class Files:
    """The bucket. boto3 finds the instance's role by itself; no key is given."""

    def __init__(self, settings: Settings) -> None:
        config = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 4})
        self._s3 = trace_client(boto3.client("s3", region_name=settings.region, config=config))
        self._bucket = settings.files_bucket

    def put_avatar(self, user_id: int, data: bytes) -> tuple[str, str]:
        """Store a member's picture; returns its key and ETag."""
        key = f"users/{user_id}/avatar.png"
        answer = self._s3.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType="image/png")
        return key, answer["ETag"].strip('"')

    def get(self, key: str) -> Picture | None:
        """A picture, or None if it is not there (yet)."""
        try:
            found = self._s3.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None
            raise
        of_etag = found["Metadata"].get("source-etag", "")
        return Picture(found["Body"].read(), found["ETag"].strip('"'), of_etag)


def thumbnail_key(avatar_key: str) -> str:
    """Where the function writes the thumbnail of a picture."""
    return f"thumbnails/{avatar_key}"
