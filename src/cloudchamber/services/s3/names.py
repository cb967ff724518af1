# SPDX-License-Identifier: Apache-2.0
"""Naming rules, ARNs, and small formats: pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote_plus

from cloudchamber.contract.accounts import canonical_id as canonical_id
from cloudchamber.services.s3.errors import (
    BadRequest,
    InvalidArgument,
    InvalidBucketName,
    InvalidTag,
    KeyTooLong,
    MetadataTooLarge,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KEY_OCTETS_MAX = 1024
METADATA_OCTETS_MAX = 2048
OBJECT_TAGS_MAX = 10
BUCKET_TAGS_MAX = 50
OWNERSHIPS = ("BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter")

REGIONS = frozenset(
    ("us-east-1", "us-east-2", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1",
     "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2",
     "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7", "ca-central-1",
     "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-2",
     "eu-west-3", "il-central-1", "me-central-1", "me-south-1", "mx-central-1", "sa-east-1")
)  # fmt: skip
"""Source: AWS General Reference, "Amazon Simple Storage Service endpoints and quotas"."""

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_URL = re.compile(r"https?://[^/]*/", re.IGNORECASE)
_IP = re.compile(r"\d+\.\d+\.\d+\.\d+")
_SYSTEM = {
    OBJECT_TAGS_MAX: "Your TagKey cannot be prefixed with aws:",
    BUCKET_TAGS_MAX: "System tags cannot be added/updated by requester",
}
_TAG = re.compile(r"[\w\s+\-=._:/@]*")
_RESERVED_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_RESERVED_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def check_bucket_name(name: str) -> None:
    """Source: Amazon S3 User Guide, "General purpose bucket naming rules"."""
    if (
        not _BUCKET.fullmatch(name)
        or ".." in name
        or _IP.fullmatch(name)
        or name.startswith(_RESERVED_PREFIXES)
        or name.endswith(_RESERVED_SUFFIXES)
    ):
        raise InvalidBucketName(BucketName=name)


def check_key(key: str) -> None:
    """At most 1,024 octets of UTF-8. Source: Amazon S3 User Guide, "Naming Amazon S3 objects"."""
    if len(key) * 4 <= KEY_OCTETS_MAX:
        return
    size = len(key.encode("utf-8", "surrogatepass"))
    if size > KEY_OCTETS_MAX:
        raise KeyTooLong(Size=str(size), MaxSizeAllowed=str(KEY_OCTETS_MAX))


def bucket_arn(bucket: str) -> str:
    """ARN of a bucket."""
    return f"arn:aws:s3:::{bucket}"


def object_arn(bucket: str, key: str) -> str:
    """ARN of an object."""
    return f"arn:aws:s3:::{bucket}/{key}"


def split_arn(arn: str) -> tuple[str, str]:
    """Bucket and key (empty for a bucket's own ARN)."""
    bucket, _, key = arn.removeprefix("arn:aws:s3:::").partition("/")
    return bucket, key


def quoted(etag: str) -> str:
    """An ETag as it goes onto the wire."""
    return f'"{etag}"'


def check_metadata(metadata: Mapping[str, str]) -> None:
    """At most 2 KB of names and values. Source: Amazon S3 User Guide, "Working with object metadata"."""
    size = sum(len(name.encode()) + len(value.encode("utf-8", "surrogateescape")) for name, value in metadata.items())
    if size > METADATA_OCTETS_MAX:
        raise MetadataTooLarge(Size=str(size), MaxSizeAllowed=str(METADATA_OCTETS_MAX))


def copy_source(text: str) -> tuple[str, str]:
    """Bucket and key of `x-amz-copy-source`: ``/bucket/key``, ``bucket/key``, percent-encoded (plus: a blank), a URL
    of an object with its bucket in the path, or an ARN's form.

    Raises:
        InvalidArgument: it names none, or an access point.
    """
    path = _URL.sub("/", text.partition("?")[0])
    path = unquote_plus(path).removeprefix("arn:aws:s3:::").removeprefix("/")
    bucket, slash, key = path.partition("/")
    if not slash or not bucket or not key:
        raise InvalidArgument(
            "Invalid copy source object key", ArgumentName="x-amz-copy-source", ArgumentValue="x-amz-copy-source"
        )
    return bucket, key


def source_version(text: str) -> str:
    """Version id of `x-amz-copy-source`; empty if it names none."""
    return text.partition("?versionId=")[2]


def tags_of_header(text: str) -> dict[str, str]:
    """Tags of `x-amz-tagging`, which is written like a query."""
    try:
        return checked_tags(parse_qsl(text, keep_blank_values=True), OBJECT_TAGS_MAX, "")
    except InvalidTag as error:
        if "TagKey" not in error.members or error.message == _SYSTEM[OBJECT_TAGS_MAX]:
            raise
        raise InvalidArgument(
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
            "name duplicates.",
            ArgumentName="x-amz-tagging",
            ArgumentValue=text,
        ) from None


def tags_of_set(tag_set: Iterable[Mapping[str, Any]], limit: int) -> dict[str, str]:
    """Tags of a `TagSet`."""
    return checked_tags([(t["Key"], t["Value"]) for t in tag_set], limit, "")


def tag_set(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as a `TagSet`."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def checked_tags(pairs: list[tuple[str, str]], limit: int, hint: str) -> dict[str, str]:
    """Source: Amazon S3 User Guide, "Categorizing your objects using tags"."""
    tags: dict[str, str] = {}
    for key, value in pairs:
        if key.lower().startswith("aws:"):
            raise InvalidTag(_SYSTEM[limit], TagKey=key)
        if not key or len(key) > 128 or not _TAG.fullmatch(key):
            raise InvalidTag(hint if not key else "", TagKey=key)
        if len(value) > 256 or not _TAG.fullmatch(value):
            raise InvalidTag("The TagValue you have provided is invalid", TagKey=key, TagValue=value)
        if key in tags:
            raise InvalidTag("Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > limit:
        # Why: so S3 says it of objects; moto's test of it is marked as verified on AWS
        kind, error = ("Object", BadRequest) if limit == OBJECT_TAGS_MAX else ("Bucket", InvalidTag)
        raise error(f"{kind} tags cannot be greater than {limit}")
    return tags
