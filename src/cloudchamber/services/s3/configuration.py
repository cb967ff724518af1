# SPDX-License-Identifier: Apache-2.0
"""Configuration of buckets: policy, public access, ownership, encryption, versioning, ACL, tags."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import bucket_policy, checks, needs, tables
from cloudchamber.services.s3.buckets import OWNERSHIPS
from cloudchamber.services.s3.errors import (
    AccessForbidden,
    InvalidRequest,
    MalformedXML,
    NoSuchBucketPolicy,
    NoSuchPublicAccessBlockConfiguration,
    NoSuchTagSet,
    OwnershipControlsNotFoundError,
    ServerSideEncryptionConfigurationNotFoundError,
    Unimplemented,
)
from cloudchamber.services.s3.names import BUCKET_TAGS_MAX, canonical_id, tag_set, tags_of_set

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
    blocks = json.loads(bucket.public_access_block or "{}")
    if blocks.get("BlockPublicPolicy") and bucket_policy.is_public(text):
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
    """Whether the policy is public. Source: Amazon S3 API Reference, GetBucketPolicyStatus."""
    bucket = checks.bucket(call, request)
    if bucket.policy is None:
        raise NoSuchBucketPolicy(BucketName=bucket.name)
    return {"PolicyStatus": {"IsPublic": bucket_policy.is_public(bucket.policy)}}


# Public access -------------------------------------------------------------------------------------------------------


@operation("PutPublicAccessBlock", needs=needs.on_bucket("s3:PutBucketPublicAccessBlock"))
async def put_public_access_block(call: Call, request: Request) -> dict[str, Any]:
    """Set the four switches; absent ones are off. Source: Amazon S3 API Reference, PutPublicAccessBlock."""
    bucket = checks.bucket(call, request)
    given: Request = request["PublicAccessBlockConfiguration"]
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


# Ownership and ACLs --------------------------------------------------------------------------------------------------


@operation("PutBucketOwnershipControls", needs=needs.on_bucket("s3:PutBucketOwnershipControls"))
async def put_bucket_ownership_controls(call: Call, request: Request) -> dict[str, Any]:
    """Set Object Ownership. Source: Amazon S3 API Reference, PutBucketOwnershipControls."""
    bucket = checks.bucket(call, request)
    rules: list[Request] = request["OwnershipControls"].get("Rules", [])
    if len(rules) != 1 or rules[0].get("ObjectOwnership") not in OWNERSHIPS:
        raise MalformedXML()
    return await _configure(call, bucket.name, "ownership", rules[0]["ObjectOwnership"])


@operation("GetBucketOwnershipControls", needs=needs.on_bucket("s3:GetBucketOwnershipControls"))
async def get_bucket_ownership_controls(call: Call, request: Request) -> dict[str, Any]:
    """Object Ownership. Source: Amazon S3 API Reference, GetBucketOwnershipControls."""
    bucket = checks.bucket(call, request)
    if not bucket.ownership:
        raise OwnershipControlsNotFoundError(BucketName=bucket.name)
    return {"OwnershipControls": {"Rules": [{"ObjectOwnership": bucket.ownership}]}}


@operation("DeleteBucketOwnershipControls", needs=needs.on_bucket("s3:PutBucketOwnershipControls"))
async def delete_bucket_ownership_controls(call: Call, request: Request) -> dict[str, Any]:
    """Remove Object Ownership. Source: Amazon S3 API Reference, DeleteBucketOwnershipControls."""
    return await _configure(call, checks.bucket(call, request).name, "ownership", "")


def _owner_only(account: str) -> dict[str, Any]:
    owner = {"ID": canonical_id(account)}
    grantee = {**owner, "Type": "CanonicalUser"}
    return {"Owner": owner, "Grants": [{"Grantee": grantee, "Permission": "FULL_CONTROL"}]}


@operation("GetBucketAcl", needs=needs.on_bucket("s3:GetBucketAcl"))
async def get_bucket_acl(call: Call, request: Request) -> dict[str, Any]:
    """The owner has full control. Source: Amazon S3 API Reference, GetBucketAcl."""
    return _owner_only(checks.bucket(call, request).account)


@operation("PutBucketAcl", needs=needs.on_bucket("s3:PutBucketAcl"))
async def put_bucket_acl(call: Call, request: Request) -> dict[str, Any]:
    """Only the ACL that is in force anyway is taken. Source: Amazon S3 API Reference, PutBucketAcl."""
    bucket = checks.bucket(call, request)
    checks.acl(bucket, request)
    _check_grants(bucket, request)
    return {}


@operation("GetObjectAcl", needs=needs.on_object("s3:GetObjectAcl"))
async def get_object_acl(call: Call, request: Request) -> dict[str, Any]:
    """The owner has full control. Source: Amazon S3 API Reference, GetObjectAcl."""
    bucket = checks.bucket(call, request)
    await _existing(call, request)
    return _owner_only(bucket.account)


@operation("PutObjectAcl", needs=needs.on_object("s3:PutObjectAcl"))
async def put_object_acl(call: Call, request: Request) -> dict[str, Any]:
    """Only the ACL that is in force anyway is taken. Source: Amazon S3 API Reference, PutObjectAcl."""
    bucket = checks.bucket(call, request)
    await _existing(call, request)
    checks.acl(bucket, request)
    _check_grants(bucket, request)
    return {}


def _check_grants(bucket: tables.Bucket, request: Request) -> None:
    wanted = request.get("AccessControlPolicy")
    if wanted is None:
        return
    owner = canonical_id(bucket.account)
    for grant in wanted.get("Grants", []):
        if grant.get("Grantee", {}).get("ID") != owner or grant.get("Permission") != "FULL_CONTROL":
            checks.acl(bucket, {"GrantRead": "somebody else"})


async def _existing(call: Call, request: Request) -> tables.Object:
    checks.version(request)
    found = call.doors.database.read(lambda db: tables.find_object(db, request["Bucket"], request["Key"]))
    if found is None:
        raise await checks.missing(call, request["Bucket"], request["Key"])
    return found


# Encryption and versioning -------------------------------------------------------------------------------------------


@operation("PutBucketEncryption", needs=needs.on_bucket("s3:PutEncryptionConfiguration"))
async def put_bucket_encryption(call: Call, request: Request) -> dict[str, Any]:
    """Encrypt new objects with the chamber's key (SSE-S3). Source: Amazon S3 API Reference, PutBucketEncryption."""
    bucket = checks.bucket(call, request)
    rules: list[Request] = request["ServerSideEncryptionConfiguration"].get("Rules", [])
    if len(rules) != 1 or "ApplyServerSideEncryptionByDefault" not in rules[0]:
        raise MalformedXML()
    rule = rules[0]
    default: Request = rule["ApplyServerSideEncryptionByDefault"]
    if default.get("SSEAlgorithm") not in ("AES256", "aws:kms", "aws:kms:dsse"):
        raise MalformedXML()
    if default["SSEAlgorithm"] != "AES256":
        raise Unimplemented(f"{default['SSEAlgorithm']} is not implemented by this chamber yet: use AES256")
    if default.get("KMSMasterKeyID"):
        raise InvalidRequest(
            "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
        )
    if rule.get("BlockedEncryptionTypes"):
        raise Unimplemented("BlockedEncryptionTypes is not implemented by this chamber yet")
    kept = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    value = json.dumps({"Rules": [{**kept, "BucketKeyEnabled": bool(rule.get("BucketKeyEnabled", False))}]})
    return await _configure(call, bucket.name, "encryption", value)


@operation("GetBucketEncryption", needs=needs.on_bucket("s3:GetEncryptionConfiguration"))
async def get_bucket_encryption(call: Call, request: Request) -> dict[str, Any]:
    """What encrypts new objects. Without a configuration nothing does, and this says so.

    Source: Amazon S3 API Reference, GetBucketEncryption.
    """
    bucket = checks.bucket(call, request)
    if bucket.encryption is None:
        raise ServerSideEncryptionConfigurationNotFoundError(BucketName=bucket.name)
    return {"ServerSideEncryptionConfiguration": json.loads(bucket.encryption)}


@operation("DeleteBucketEncryption", needs=needs.on_bucket("s3:PutEncryptionConfiguration"))
async def delete_bucket_encryption(call: Call, request: Request) -> dict[str, Any]:
    """Encrypt new objects no more. Source: Amazon S3 API Reference, DeleteBucketEncryption."""
    return await _configure(call, checks.bucket(call, request).name, "encryption", None)


@operation("GetBucketVersioning", needs=needs.on_bucket("s3:GetBucketVersioning"))
async def get_bucket_versioning(call: Call, request: Request) -> dict[str, Any]:
    """Nothing: the bucket has never had versioning. Source: Amazon S3 API Reference, GetBucketVersioning."""
    checks.bucket(call, request)
    return {}


@operation("PutBucketVersioning", needs=needs.on_bucket("s3:PutBucketVersioning"))
async def put_bucket_versioning(call: Call, request: Request) -> dict[str, Any]:
    """Refused: versioning is not implemented yet. Source: Amazon S3 API Reference, PutBucketVersioning."""
    checks.bucket(call, request)
    status = request["VersioningConfiguration"].get("Status")
    if status not in ("Enabled", "Suspended"):
        raise MalformedXML()
    raise Unimplemented(f"Versioning ({status}) is not implemented by this chamber yet")


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
    if not bucket.tags:
        raise NoSuchTagSet(BucketName=bucket.name)
    return {"TagSet": tag_set(json.loads(bucket.tags))}


@operation("DeleteBucketTagging", needs=needs.on_bucket("s3:PutBucketTagging"))
async def delete_bucket_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Remove the bucket's tags. Source: Amazon S3 API Reference, DeleteBucketTagging."""
    return await _configure(call, checks.bucket(call, request).name, "tags", None)


async def _retag(call: Call, request: Request, tags: Mapping[str, str]) -> dict[str, Any]:
    bucket = checks.bucket(call, request)
    found = await _existing(call, request)
    value = json.dumps(tags) if tags else None

    def change(tx: Any) -> None:
        sql = "UPDATE s3_objects SET tags = ? WHERE bucket = ? AND key = ?"
        tx.execute(sql, (value, bucket.name, found.key))

    await call.doors.database.write(change)
    return {}


@operation("PutObjectTagging", needs=needs.put_object_tagging)
async def put_object_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Replace an object's tags. Source: Amazon S3 API Reference, PutObjectTagging."""
    return await _retag(call, request, tags_of_set(request["Tagging"]["TagSet"], 10))


@operation("GetObjectTagging", needs=needs.on_object("s3:GetObjectTagging"))
async def get_object_tagging(call: Call, request: Request) -> dict[str, Any]:
    """An object's tags. Source: Amazon S3 API Reference, GetObjectTagging."""
    checks.bucket(call, request)
    return {"TagSet": tag_set((await _existing(call, request)).tag_values)}


@operation("DeleteObjectTagging", needs=needs.on_object("s3:DeleteObjectTagging"))
async def delete_object_tagging(call: Call, request: Request) -> dict[str, Any]:
    """Remove an object's tags. Source: Amazon S3 API Reference, DeleteObjectTagging."""
    return await _retag(call, request, {})
