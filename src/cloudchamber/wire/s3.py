# SPDX-License-Identifier: Apache-2.0
"""What is peculiar to S3's REST-XML. Source: Amazon S3 API Reference, response syntax of each operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus

from cloudchamber.wire import xml
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
            if out.get(name):
                out[name] = [{**row, member: url_encode(row[member])} if row.get(member) else row for row in out[name]]
        return out

    return encode


def location(response: Mapping[str, Any]) -> tuple[bytes, str]:
    """GetBucketLocation: the root itself holds the text, and is empty for us-east-1."""
    text = response.get("LocationConstraint") or ""
    element = f'<LocationConstraint xmlns="{NAMESPACE}">{xml.escape(text)}</LocationConstraint>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{element}'.encode(), "application/xml"


SPECIAL: dict[str, Callable[[Mapping[str, Any]], tuple[Any, str]]] = {"GetBucketLocation": location}
