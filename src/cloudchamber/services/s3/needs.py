# SPDX-License-Identifier: Apache-2.0
"""Which permissions a request needs: pure, except that tags of existing objects are read.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; Amazon S3 API
Reference, section "Permissions" of each operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need
from cloudchamber.services.s3 import tables
from cloudchamber.services.s3.names import bucket_arn, copy_source, object_arn, tags_of_header, tags_of_set

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue

    Request = Mapping[str, Any]
    Needs = Callable[[Call, Request], Iterable[Need]]

_EXISTING = "s3:existingobjecttag/"
_AUTH_TYPES = {"header": "REST-HEADER", "query": "REST-QUERY-STRING"}
_HEADERS = {
    "ACL": "s3:x-amz-acl",
    "GrantFullControl": "s3:x-amz-grant-full-control",
    "GrantRead": "s3:x-amz-grant-read",
    "GrantReadACP": "s3:x-amz-grant-read-acp",
    "GrantWrite": "s3:x-amz-grant-write",
    "GrantWriteACP": "s3:x-amz-grant-write-acp",
    "CopySource": "s3:x-amz-copy-source",
    "MetadataDirective": "s3:x-amz-metadata-directive",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "StorageClass": "s3:x-amz-storage-class",
    "WebsiteRedirectLocation": "s3:x-amz-website-redirect-location",
    "ObjectOwnership": "s3:x-amz-object-ownership",
    "IfMatch": "s3:if-match",
    "IfNoneMatch": "s3:if-none-match",
    "VersionId": "s3:VersionId",
    "Prefix": "s3:prefix",
    "Delimiter": "s3:delimiter",
}


def context(call: Call, request: Request) -> dict[str, ContextValue]:
    """S3's condition keys of a request."""
    keys: dict[str, ContextValue] = {key: str(request[name]) for name, key in _HEADERS.items() if name in request}
    if call.headers is not None:
        if call.signed_by:
            keys["s3:authType"] = _AUTH_TYPES.get(call.signed_by, "POST")
            scheme = call.headers.get("authorization").partition(" ")[0]
            if scheme:  # Why: a presigned URL may be of either version, and the call does not say which
                keys["s3:signatureversion"] = "AWS" if scheme == "AWS" else "AWS4-HMAC-SHA256"
        sha = call.headers.get("x-amz-content-sha256")
        if sha:
            keys["s3:x-amz-content-sha256"] = sha
    return keys


def on_bucket(action: str) -> Needs:
    """One action on the bucket."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        return (Need(action, bucket_arn(request["Bucket"]), context(call, request)),)

    return needs


def on_object(action: str) -> Needs:
    """One action on an existing object, whose tags count."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        bucket, key = request["Bucket"], request["Key"]

        def tags() -> Mapping[str, ContextValue]:
            keys: dict[str, ContextValue] = {}
            _existing(call, bucket, key, keys)
            return keys

        return (Need(action, object_arn(bucket, key), context(call, request), (_EXISTING, tags)),)

    return needs


def _existing(call: Call, bucket: str, key: str, keys: dict[str, ContextValue]) -> None:
    tags = call.doors.database.peek(lambda db: tables.object_tags(db, bucket, key))
    for name, value in tags.items():
        keys[f"s3:ExistingObjectTag/{name}"] = value


def _requested(tags: Mapping[str, str], keys: dict[str, ContextValue]) -> None:
    if tags:
        keys["s3:RequestObjectTagKeys"] = tuple(tags)
        for name, value in tags.items():
            keys[f"s3:RequestObjectTag/{name}"] = value


def list_buckets(call: Call, request: Request) -> Iterable[Need]:
    """ListBuckets has no resource."""
    return (Need("s3:ListAllMyBuckets", "*", context(call, request)),)


def list_objects(call: Call, request: Request) -> Iterable[Need]:
    """A listing says which prefix, delimiter and how many keys."""
    keys = context(call, request)
    if "MaxKeys" in request:
        keys["s3:max-keys"] = str(request["MaxKeys"])
    return (Need("s3:ListBucket", bucket_arn(request["Bucket"]), keys),)


def list_versions(call: Call, request: Request) -> Iterable[Need]:
    """As a listing, under an action of its own."""
    return [Need("s3:ListBucketVersions", need.resource, need.context) for need in list_objects(call, request)]


def create_bucket(call: Call, request: Request) -> Iterable[Need]:
    """CreateBucket, and what it sets besides."""
    keys = context(call, request)
    constraint = request.get("CreateBucketConfiguration", {}).get("LocationConstraint")
    if constraint:
        keys["s3:LocationConstraint"] = constraint
    arn = bucket_arn(request["Bucket"])
    yield Need("s3:CreateBucket", arn, keys)
    if "ACL" in request or any(name.startswith("Grant") for name in request):
        yield Need("s3:PutBucketAcl", arn, keys)
    if "ObjectOwnership" in request:
        yield Need("s3:PutBucketOwnershipControls", arn, keys)
    if request.get("CreateBucketConfiguration", {}).get("Tags"):
        yield Need("s3:TagResource", arn, keys)


def put_object(call: Call, request: Request) -> Iterable[Need]:
    """PutObject, and what it sets besides; also CreateMultipartUpload."""
    keys = context(call, request)
    arn = object_arn(request["Bucket"], request["Key"])
    tags = tags_of_header(request["Tagging"]) if request.get("Tagging") else {}
    _requested(tags, keys)
    needs = [Need("s3:PutObject", arn, keys)]
    if tags:
        needs.append(Need("s3:PutObjectTagging", arn, keys))
    if "ACL" in request or any(name.startswith("Grant") for name in request):
        needs.append(Need("s3:PutObjectAcl", arn, keys))
    return needs


def copy_object(call: Call, request: Request) -> Iterable[Need]:
    """Read the source, write the destination."""
    yield from _source(call, request)
    if request.get("TaggingDirective") != "REPLACE":
        request = {name: value for name, value in request.items() if name != "Tagging"}
    yield from put_object(call, request)


def upload_part_copy(call: Call, request: Request) -> Iterable[Need]:
    """Read the source, write the part."""
    yield from _source(call, request)
    yield Need("s3:PutObject", object_arn(request["Bucket"], request["Key"]), context(call, request))


def _source(call: Call, request: Request) -> Iterable[Need]:
    bucket, key = copy_source(request["CopySource"])
    keys: dict[str, ContextValue] = {}
    _existing(call, bucket, key, keys)
    yield Need("s3:GetObject", object_arn(bucket, key), keys)
    tags = [name for name in keys if name.startswith("s3:ExistingObjectTag/")]
    if tags and "UploadId" not in request and request.get("TaggingDirective", "COPY") == "COPY":
        yield Need("s3:GetObjectTagging", object_arn(bucket, key), keys)


def put_object_tagging(call: Call, request: Request) -> Iterable[Need]:
    """Tags as they are and as they shall be count."""
    keys = context(call, request)
    _existing(call, request["Bucket"], request["Key"], keys)
    _requested(tags_of_set(request["Tagging"]["TagSet"], 10), keys)
    return (Need("s3:PutObjectTagging", object_arn(request["Bucket"], request["Key"]), keys),)
