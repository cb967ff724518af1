# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to S3's REST-XML. Source: Amazon S3 API Reference, response syntax of each operation."""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from cloudchamber.wire import errors, xml
from cloudchamber.wire.http import Headers
from cloudchamber.wire.model import OperationModel

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"

ROOTS = {
    "ListBuckets": "ListAllMyBucketsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListParts": "ListPartsResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAcl": "AccessControlPolicy",
    "GetObjectAcl": "AccessControlPolicy",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketLifecycle": "LifecycleConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketNotification": "NotificationConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketTagging": "Tagging",
    "GetObjectTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationResult",
    "ListBucketIntelligentTieringConfigurations": "ListBucketIntelligentTieringConfigurationsOutput",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
}
FORM_AUTH = (
    "x-amz-algorithm", "x-amz-credential", "x-amz-date", "x-amz-signature", "x-amz-security-token",
    "x-amz-content-sha256", "x-amz-copy-source", "x-amz-decoded-", "x-amz-trailer", "x-amz-acl", "x-amz-tagging",
)  # fmt: skip
"""Fields of a form that say nothing of its object."""
HEADERS = {"HeadBucket": (("Content-Type", "application/xml"),)}
"""Further headers of replies, which the model does not know."""
STATUS = {"PutBucketTagging": 204, "RestoreObject": 202, "DeletePublicAccessBlock": 204}
"""Statuses that the model does not know."""
TELL_REGION = ("ListObjects", "ListObjectsV2")
"""Operations that tell the bucket's region in a header which the model does not know."""
_FIRST, _LAST = ("Owner",), ("Contents", "Versions", "DeleteMarkers", "Uploads", "CommonPrefixes")
ABSENT_LISTS = {"Tagging": "TagSet", "ServerSideEncryptionConfiguration": "Rules"}
"""Lists that the model wants and S3 takes for empty where they are absent, by the name of their document's shape."""
PAYLOAD_TYPES = {"GetBucketPolicy": "application/json"}

_ENCODED = {
    "ListObjects": ("Prefix", "Delimiter", "Marker", "NextMarker"),
    "ListObjectsV2": ("Prefix", "Delimiter", "StartAfter"),
    "ListObjectVersions": ("Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"),
    "ListMultipartUploads": ("Prefix", "Delimiter", "KeyMarker", "NextKeyMarker"),
}
_ENCODED_LISTS = {
    "Contents": "Key",
    "CommonPrefixes": "Prefix",
    "Versions": "Key",
    "DeleteMarkers": "Key",
    "Uploads": "Key",
}


def root(operation: OperationModel) -> str:
    """Name of a reply's root element."""
    return ROOTS.get(operation.name) or operation.output.get("name", operation.name + "Result")


def ordered(output: dict[str, Any]) -> dict[str, Any]:
    """An output shape whose elements stand as S3 writes them: some clients read on from what they have met."""
    members: dict[str, Any] = output.get("members", {})
    if not any(name in members for name in (*_LAST, "Buckets")):
        return output
    first = [name for name in _FIRST if name in members]
    last = [name for name in _LAST if name in members]
    between = [name for name in members if name not in first and name not in last]
    return {**output, "members": {name: members[name] for name in (*first, *between, *last)}}


def without_chunks(values: dict[str, Any], length: int | None) -> None:
    """Length and encoding of the object itself, where the body came as ``aws-chunked``."""
    if "ContentLength" in values and length is not None:
        values["ContentLength"] = length
    encoding = values.get("ContentEncoding")
    if isinstance(encoding, str) and "aws-chunked" in encoding:
        kept = [e.strip() for e in encoding.split(",") if e.strip() != "aws-chunked"]
        if kept:
            values["ContentEncoding"] = ",".join(kept)
        else:
            del values["ContentEncoding"]


def has_document(operation: OperationModel) -> bool:
    """Whether `Content-MD5` and checksums of a request speak of its body, and that is a document, not an object."""
    payload = operation.input.get("payload", "")
    if operation.service.name != "s3" or not payload or operation.name == "CompleteMultipartUpload":
        return False  # the checksums of a completion are the object's
    return not operation.service.resolve(operation.input["members"][payload]).get("streaming")


def check_document(headers: Headers, body: bytes) -> None:
    """Compare `Content-MD5` and the checksum of a body that is a document (a policy, a list of keys), not an object.

    Raises:
        BadDigest: one of them is another. InvalidDigest: `Content-MD5` is no MD5. InvalidRequest: a checksum of an
            algorithm that is not computed here.
    """
    given = headers.get("content-md5")
    if given:
        try:
            expected = base64.b64decode(given, validate=True)
        except ValueError:  # Why: not only binascii's own: also for what is no ASCII
            expected = b""
        if len(expected) != 16:
            raise errors.InvalidDigest("The Content-MD5 you specified was invalid.")
        if expected != hashlib.md5(body, usedforsecurity=False).digest():
            raise errors.BadDigest("The Content-MD5 you specified did not match what we received.")
    for name, value in headers.items:
        if not name.startswith("x-amz-checksum-") or name == "x-amz-checksum-algorithm":
            continue
        algorithm = name.removeprefix("x-amz-checksum-")
        if algorithm not in _DIGESTS:
            raise errors.InvalidRequest(f"{algorithm.upper()} checksums are not implemented by this chamber yet")
        if value != base64.b64encode(_DIGESTS[algorithm](body)).decode():
            raise errors.BadDigest(f"The {algorithm.upper()} you specified did not match the calculated checksum.")


def _crc32c(data: bytes) -> bytes:
    import awscrt.checksums as crt  # lazily: it is a large library

    return crt.crc32c(data).to_bytes(4, "big")


def _crc64nvme(data: bytes) -> bytes:
    import awscrt.checksums as crt  # lazily: it is a large library

    return crt.crc64nvme(data).to_bytes(8, "big")


_DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "crc32c": _crc32c,
    "crc64nvme": _crc64nvme,
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


def url_encode(text: str) -> str:
    """A key as ``encoding-type=url`` writes it: like a form, but slashes and stars stay."""
    return quote_plus(text, safe="/*~")


def url_encoder(operation: OperationModel) -> Callable[[Mapping[str, Any]], Mapping[str, Any]] | None:
    """Encodes keys and prefixes of a listing whose `EncodingType` is ``url``; None for other operations."""
    names = _ENCODED.get(operation.name)
    if names is None:
        return None

    def encode(response: Mapping[str, Any]) -> Mapping[str, Any]:
        if response.get("EncodingType") != "url":
            return response
        out = dict(response)
        for name in names:
            if out.get(name):
                out[name] = url_encode(out[name])
        for name, member in _ENCODED_LISTS.items():
            rows = out.get(name)
            if isinstance(rows, xml.Elements):
                out[name] = rows.url_encoded()
            elif rows:
                out[name] = [{**row, member: url_encode(row[member])} if row.get(member) else row for row in rows]
        return out

    return encode


def location(response: Mapping[str, Any]) -> tuple[bytes, str]:
    """GetBucketLocation: the root itself holds the text, and is empty for us-east-1."""
    text = response.get("LocationConstraint") or ""
    start = f'<LocationConstraint xmlns="{NAMESPACE}"'
    element = f"{start}>{xml.escape(text)}</LocationConstraint>" if text else f"{start}/>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{element}'.encode(), "application/xml"


SPECIAL: dict[str, Callable[[Mapping[str, Any]], tuple[Any, str]]] = {"GetBucketLocation": location}
