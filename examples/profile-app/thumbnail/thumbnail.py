# SPDX-License-Identifier: Apache-2.0
"""Makes a thumbnail of every picture that lands below `users/`, below `thumbnails/`.

An event may come twice, and events may come late: the thumbnail is named after the picture and says which picture it
is of (`source-etag`), so doing it again changes nothing.
"""

from __future__ import annotations

import io
from urllib.parse import unquote_plus

import boto3
from PIL import Image, ImageOps

SIDE_PX = 256
PIXELS_MAX = 50_000_000
OCTETS_MAX = 20 * 1024 * 1024

Image.MAX_IMAGE_PIXELS = PIXELS_MAX
s3 = boto3.client("s3")


def handler(event: dict, context: object) -> dict:
    """Handle the records of one S3 notification."""
    made = [thumbnail(r["s3"]["bucket"]["name"], unquote_plus(r["s3"]["object"]["key"])) for r in event["Records"]]
    return {"made": made}


def thumbnail(bucket: str, key: str) -> str:
    """Read one picture, write its thumbnail; returns the thumbnail's key."""
    found = s3.get_object(Bucket=bucket, Key=key)
    if found["ContentLength"] > OCTETS_MAX:
        raise ValueError(f"{key} has {found['ContentLength']} octets, more than {OCTETS_MAX}")
    target = f"thumbnails/{key}"
    s3.put_object(
        Bucket=bucket,
        Key=target,
        Body=shrink(found["Body"].read()),
        ContentType="image/png",
        Metadata={"source-etag": found["ETag"].strip('"')},
    )
    print(f"{key} -> {target}")
    return target


def shrink(data: bytes) -> bytes:
    """A PNG of at most 256 x 256 pixels, upright, without metadata."""
    with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
        image.draft("RGB", (SIDE_PX * 2, SIDE_PX * 2))
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    upright.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    upright.save(out, "PNG", optimize=True)
    return out.getvalue()
