# SPDX-License-Identifier: Apache-2.0
"""Configuration of buckets: policy, public access, ownership, encryption, ACL, tags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import bucket_policy, checks, needs, owning, settings, sse, tables
from cloudchamber.services.s3.errors import (
    AccessForbidden,
    InvalidArgument,
    InvalidRequest,
    MalformedXML,
    NoSuchBucketPolicy,
    NoSuchPublicAccessBlockConfiguration,
    NoSuchTagSet,
    ServerSideEncryptionConfigurationNotFoundError,
)
from cloudchamber.services.s3.names import BUCKET_TAGS_MAX, tag_set, tags_of_set

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


async def _configure(call: Call, name: str, column: str, value: str | None) -> dict[str, Any]:
    await call.doors.database.write(lambda tx: tables.configure_bucket(tx, name, column, value))
    return {}


# Policy --------------------------------------------------------------------------------------------------------------


@operation("PutBucketPolicy", needs=needs.on_bucket("s3:PutBucketPolicy"))
async def put_bucket_policy(call: Call, request: Request) -> dict[str, Any]:
    """Set the bucket policy; in force for the next call.

    Raises:
        MalformedPolicy: it is not a policy for this bucket.
        AccessForbidden: it is public, and the bucket blocks public policies.

    Source: Amazon S3 API Reference, PutBucketPolicy.
    """
    bucket = checks.bucket(call, request)
    text: str = request["Policy"]
    bucket_policy.check(text, bucket.name)
    if owning.blocks(bucket, "BlockPublicPolicy") and bucket_policy.is_public(text):
        raise AccessForbidden(
            f"User: {call.principal.arn} is not authorized to perform: s3:PutBucketPolicy on resource: "
            f'"arn:aws:s3:::{bucket.name}" because public policies are prevented by the BlockPublicPolicy setting in '
            "S3 Block Public Access."
        )
    return await _configure(call, bucket.name, "policy", text)


@operation("GetBucketPolicy", needs=needs.on_bucket("s3:GetBucketPolicy"))
async def get_bucket_policy(call: Call, request: Request) -> dict[str, Any]:
    """The bucket policy as it was put. Source: Amazon S3 API Reference, GetBucketPolicy."""
    bucket = checks.bucket(call, request)
    if bucket.policy is None:
        raise NoSuchBucketPolicy(BucketName=bucket.name)
    return {"Policy": bucket.policy}


@operation("DeleteBucketPolicy", needs=needs.on_bucket("s3:DeleteBucketPolicy"))
async def delete_bucket_policy(call: Call, request: Request) -> dict[str, Any]:
    """Remove the bucket policy. Source: Amazon S3 API Reference, DeleteBucketPolicy."""
    return await _configure(call, checks.bucket(call, request).name, "policy", None)


@operation("GetBucketPolicyStatus", needs=needs.on_bucket("s3:GetBucketPolicyStatus"))
async def get_bucket_policy_status(call: Call, request: Request) -> dict[str, Any]:
    """Whether the bucket is public, by policy or ACL. Source: Amazon S3 API Reference, GetBucketPolicyStatus."""
    bucket = checks.bucket(call, request)
    kept = call.doors.database.peek(lambda db: settings.text(db, bucket.name, "acl"))
    by_acl = owning.of_bucket(bucket, kept).public and not owning.blocks(bucket, "IgnorePublicAcls")
    if bucket.policy is None:
        if not by_acl:
            raise NoSuchBucketPolicy(BucketName=bucket.name)
        return {"PolicyStatus": {"IsPublic": True}}
    return {"PolicyStatus": {"IsPublic": by_acl or bucket_policy.is_public(bucket.policy)}}


# Public access -------------------------------------------------------------------------------------------------------


@operation("PutPublicAccessBlock", needs=needs.on_bucket("s3:PutBucketPublicAccessBlock"))
async def put_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """Set the four switches; absent ones are off. Source: Amazon S3 API Reference, PutPublicAccessBlock."""
    bucket = checks.bucket(call, request)
    given: Request = request["PublicAccessBlockConfiguration"]
    if not any(name in given for name in BLOCKS):
        raise InvalidRequest("Must specify at least one configuration.")
    value = json.dumps({name: bool(given.get(name, False)) for name in BLOCKS})
    return await _configure(call, bucket.name, "public_access_block", value)


@operation("GetPublicAccessBlock", needs=needs.on_bucket("s3:GetBucketPublicAccessBlock"))
async def get_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """The four switches. Source: Amazon S3 API Reference, GetPublicAccessBlock."""
    bucket = checks.bucket(call, request)
    if bucket.public_access_block is None:
        raise NoSuchPublicAccessBlockConfiguration(BucketName=bucket.name)
    return {"PublicAccessBlockConfiguration": json.loads(bucket.public_access_block)}


@operation("DeletePublicAccessBlock", needs=needs.on_bucket("s3:PutBucketPublicAccessBlock"))
async def delete_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """Switch all four off. Source: Amazon S3 API Reference, DeletePublicAccessBlock."""
    return await _configure(call, checks.bucket(call, request).name, "public_access_block", None)


# Encryption -------------------------------------------------------------------------------------------


@operation("PutBucketEncryption", needs=needs.on_bucket("s3:PutEncryptionConfiguration"))
async def put_bucket_encryption(call: Call, request: Request) -> dict[str, Any]:
    """Encrypt new objects: with the chamber's key (SSE-S3), or with one of KMS.

    Source: Amazon S3 API Reference, PutBucketEncryption.
    """
    bucket = checks.bucket(call, request)
    rules: list[Request] = request["ServerSideEncryptionConfiguration"].get("Rules", [])
    if len(rules) != 1 or "ApplyServerSideEncryptionByDefault" not in rules[0]:
        raise MalformedXML()
    rule = rules[0]
    default: Request = rule["ApplyServerSideEncryptionByDefault"]
    algorithm = default.get("SSEAlgorithm")
    if algorithm not in ("AES256", *sse.KMS):
        raise MalformedXML()
    kept: dict[str, Any] = {"SSEAlgorithm": algorithm}
    if default.get("KMSMasterKeyID"):
        if algorithm == "AES256":
            raise InvalidArgument(
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse",
                ArgumentName="ApplyServerSideEncryptionByDefault",
            )
        kept["KMSMasterKeyID"] = default["KMSMasterKeyID"]
    made = {"ApplyServerSideEncryptionByDefault": kept, "BucketKeyEnabled": bool(rule.get("BucketKeyEnabled", False))}
    given: Request = rule.get("BlockedEncryptionTypes") or {}
    blocked: list[str] = given.get("EncryptionType") or []
    if any(kind not in ("NONE", "SSE-C") for kind in blocked):
        raise MalformedXML()
    if blocked:
        made["BlockedEncryptionTypes"] = {"EncryptionType": blocked}
    return await _configure(call, bucket.name, "encryption", json.dumps({"Rules": [made]}))


_ALL = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]}
"""What AWS says of a bucket that nobody configured."""


@operation("GetBucketEncryption", needs=needs.on_bucket("s3:GetEncryptionConfiguration"))
async def get_bucket_encryption(call: Call, request: Request) -> dict[str, Any]:
    """What encrypts new objects. Without a configuration this says so, unless all objects are encrypted anyway.

    Source: Amazon S3 API Reference, GetBucketEncryption.
    """
    bucket = checks.bucket(call, request)
    if bucket.encryption is None and call.doors.encrypts_all:
        return {"ServerSideEncryptionConfiguration": _ALL}
    if bucket.encryption is None:
        raise ServerSideEncryptionConfigurationNotFoundError(BucketName=bucket.name)
    return {"ServerSideEncryptionConfiguration": json.loads(bucket.encryption)}


@operation("DeleteBucketEncryption", needs=needs.on_bucket("s3:PutEncryptionConfiguration"))
async def delete_bucket_encryption(call: Call, request: Request) -> dict[str, Any]:
    """Encrypt new objects no more. Source: Amazon S3 API Reference, DeleteBucketEncryption."""
    return await _configure(call, checks.bucket(call, request).name, "encryption", None)


# Tags ----------------------------------------------------------------------------------------------------------------


@operation("PutBucketTagging", needs=needs.on_bucket("s3:PutBucketTagging"))
async def put_bucket_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Replace the bucket's tags. Source: Amazon S3 API Reference, PutBucketTagging."""
    bucket = checks.bucket(call, request)
    tags = tags_of_set(request["Tagging"]["TagSet"], BUCKET_TAGS_MAX)
    return await _configure(call, bucket.name, "tags", json.dumps(tags))


@operation("GetBucketTagging", needs=needs.on_bucket("s3:GetBucketTagging"))
async def get_bucket_tagging(call: Call, request: Request) -> dict[str, Any]:
    """The bucket's tags. Source: Amazon S3 API Reference, GetBucketTagging."""
    bucket = checks.bucket(call, request)
    if bucket.tags in (None, "", "{}"):
        raise NoSuchTagSet(BucketName=bucket.name)
    return {"TagSet": tag_set(json.loads(bucket.tags or "{}"))}


@operation("DeleteBucketTagging", needs=needs.on_bucket("s3:PutBucketTagging"))
async def delete_bucket_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Remove the bucket's tags. Source: Amazon S3 API Reference, DeleteBucketTagging."""
    return await _configure(call, checks.bucket(call, request).name, "tags", None)
