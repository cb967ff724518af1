# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's AWS::S3::Bucket and AWS::S3::BucketPolicy.

Source: AWS CloudFormation Template Reference, "AWS::S3::Bucket" and "AWS::S3::BucketPolicy".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.errors import ServiceError, ValidationError
from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.s3 import resources_access, resources_versions
from cloudchamber.services.s3.errors import BucketAlreadyOwnedByYou
from cloudchamber.services.s3.names import bucket_arn, check_bucket_name

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloudchamber.contract.resource import Agent, Properties

    Apply = Callable[[Agent, str, Any], Awaitable[None]]

_RULE = Property(shape={"Name": Property(required=True), "Value": Property(required=True)})
_KEY_FILTER = Property(shape={"S3Key": Property(required=True, shape={"Rules": _RULE})})
_TAGS = Property(shape={"Key": Property(required=True), "Value": Property(required=True)})
_BLOCKS = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")


async def _encryption(agent: Agent, bucket: str, value: Any) -> None:
    if value is None:
        await agent.ask("s3", "DeleteBucketEncryption", {"Bucket": bucket})
        return
    rules: list[dict[str, Any]] = []
    for given in value["ServerSideEncryptionConfiguration"]:
        rule: dict[str, Any] = {}
        if "ServerSideEncryptionByDefault" in given:
            rule["ApplyServerSideEncryptionByDefault"] = given["ServerSideEncryptionByDefault"]
        if "BucketKeyEnabled" in given:
            rule["BucketKeyEnabled"] = _true(given["BucketKeyEnabled"])
        rules.append(rule)
    request = {"Bucket": bucket, "ServerSideEncryptionConfiguration": {"Rules": rules}}
    await agent.ask("s3", "PutBucketEncryption", request)


async def _public_access(agent: Agent, bucket: str, value: Any) -> None:
    if value is None:
        # Why: without the property a bucket has S3's own default, which blocks everything.
        value = dict.fromkeys(_BLOCKS, True)
    blocks = {name: _true(value.get(name, False)) for name in _BLOCKS}
    await agent.ask("s3", "PutPublicAccessBlock", {"Bucket": bucket, "PublicAccessBlockConfiguration": blocks})


async def _ownership(agent: Agent, bucket: str, value: Any) -> None:
    controls = value or {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    await agent.ask("s3", "PutBucketOwnershipControls", {"Bucket": bucket, "OwnershipControls": controls})


async def _tags(agent: Agent, bucket: str, value: Any) -> None:
    tags = {name: text for name, text in agent.stack_tags.items() if not name.startswith("aws:")}
    tags |= {tag["Key"]: str(tag["Value"]) for tag in cast("list[dict[str, Any]]", value or [])}
    if not tags:
        await agent.ask("s3", "DeleteBucketTagging", {"Bucket": bucket})
        return
    tag_set = [{"Key": name, "Value": text} for name, text in tags.items()]
    await agent.ask("s3", "PutBucketTagging", {"Bucket": bucket, "Tagging": {"TagSet": tag_set}})


async def _notifications(agent: Agent, bucket: str, value: Any) -> None:
    found: dict[str, dict[str, Any]] = {}
    for given in cast("dict[str, Any]", value or {}).get("LambdaConfigurations", []):
        rules: list[dict[str, Any]] = given.get("Filter", {}).get("S3Key", {}).get("Rules", [])
        # Why: S3 takes one configuration for each function and filter, so events of the same go together.
        name = json.dumps([given["Function"], rules], sort_keys=True)
        made = found.setdefault(name, {"LambdaFunctionArn": given["Function"], "Events": []})
        made["Events"].append(given["Event"])
        if rules:
            made["Filter"] = {"Key": {"FilterRules": rules}}
    configuration = {"LambdaFunctionConfigurations": list(found.values())} if found else {}
    request = {"Bucket": bucket, "NotificationConfiguration": configuration}
    await agent.ask("s3", "PutBucketNotificationConfiguration", request)


_APPLY: dict[str, Apply] = {
    "VersioningConfiguration": resources_versions.apply_versioning,
    "ObjectLockConfiguration": resources_versions.apply_object_lock,
    "LifecycleConfiguration": resources_versions.apply_lifecycle,
    "OwnershipControls": _ownership,
    "PublicAccessBlockConfiguration": _public_access,
    "AccessControl": resources_access.apply_acl,
    "BucketEncryption": _encryption,
    "CorsConfiguration": resources_access.apply_cors,
    "WebsiteConfiguration": resources_access.apply_website,
    "LoggingConfiguration": resources_access.apply_logging,
    "AccelerateConfiguration": resources_access.apply_acceleration,
    "Tags": _tags,
    "NotificationConfiguration": _notifications,
}


async def create_bucket(agent: Agent, properties: Properties) -> Made:
    """Create the bucket and all its configuration; nothing stays if one of them fails."""
    name = properties.get("BucketName") or agent.name(63, lower=True)
    if "BucketName" in properties and await _exists(agent, name):
        raise BucketAlreadyOwnedByYou(f"{name} already exists", BucketName=name)
    request: dict[str, Any] = {"Bucket": name}
    if agent.region != "us-east-1":
        request["CreateBucketConfiguration"] = {"LocationConstraint": agent.region}
    if _true(properties.get("ObjectLockEnabled", False)):
        request["ObjectLockEnabledForBucket"] = True
    await agent.ask("s3", "CreateBucket", request)
    agent.begun(name)
    try:
        for member, apply in _APPLY.items():
            if member in properties or (member == "Tags" and agent.stack_tags):
                await apply(agent, name, properties.get(member))
    except BaseException:
        await agent.ask("s3", "DeleteBucket", {"Bucket": name})
        raise
    return _made(agent, name)


async def _exists(agent: Agent, name: str) -> bool:
    try:
        await agent.ask("s3", "HeadBucket", {"Bucket": name})
    except ServiceError as error:
        return error.code != "NoSuchBucket"
    return True


async def update_bucket(agent: Agent, name: str, old: Properties, new: Properties) -> Made:
    """Apply what changed."""
    for member, apply in _APPLY.items():
        if member == "Tags" or old.get(member) != new.get(member):
            await apply(agent, name, new.get(member))
    return _made(agent, name)


async def delete_bucket(agent: Agent, name: str, properties: Properties) -> None:
    """Delete the bucket; it must be empty, as on AWS."""
    try:
        await agent.ask("s3", "DeleteBucket", {"Bucket": name})
    except ServiceError as error:
        if error.code != "NoSuchBucket":
            raise


def _made(agent: Agent, name: str) -> Made:
    region = agent.region
    attributes = {
        "Arn": bucket_arn(name),
        "DomainName": f"{name}.s3.amazonaws.com",
        "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        "WebsiteURL": resources_access.website_url(name, region),
    }
    return Made(name, attributes)


def check_bucket(properties: Properties) -> None:
    """The name's rules, and that there is such a canned ACL."""
    if "BucketName" in properties:
        check_bucket_name(properties["BucketName"])
    control = properties.get("AccessControl", "Private")
    if control not in resources_access.CANNED:
        known = ", ".join(resources_access.CANNED)
        raise ValidationError(f"AWS::S3::Bucket: AccessControl {control} is none of {known}")


async def put_policy(agent: Agent, properties: Properties) -> Made:
    """Set the bucket policy."""
    bucket = properties["Bucket"]
    document = properties["PolicyDocument"]
    text = document if isinstance(document, str) else json.dumps(document)
    await agent.ask("s3", "PutBucketPolicy", {"Bucket": bucket, "Policy": text})
    return Made(bucket)


async def update_policy(agent: Agent, bucket: str, old: Properties, new: Properties) -> Made:
    """Replace the bucket policy."""
    return await put_policy(agent, new)


async def delete_policy(agent: Agent, bucket: str, properties: Properties) -> None:
    """Remove the bucket policy."""
    try:
        await agent.ask("s3", "DeleteBucketPolicy", {"Bucket": bucket})
    except ServiceError as error:
        if error.code != "NoSuchBucket":
            raise


def _true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


BUCKET = ResourceType(
    "AWS::S3::Bucket",
    {
        "BucketName": Property("replace"),
        "BucketEncryption": Property(
            shape={
                "ServerSideEncryptionConfiguration": Property(
                    required=True,
                    shape={
                        "BucketKeyEnabled": Property(),
                        "ServerSideEncryptionByDefault": Property(
                            shape={"SSEAlgorithm": Property(required=True), "KMSMasterKeyID": Property()}
                        ),
                    },
                )
            }
        ),
        "PublicAccessBlockConfiguration": Property(shape={name: Property() for name in _BLOCKS}),
        "OwnershipControls": Property(
            shape={"Rules": Property(required=True, shape={"ObjectOwnership": Property(required=True)})}
        ),
        "NotificationConfiguration": Property(
            shape={
                "LambdaConfigurations": Property(
                    shape={
                        "Event": Property(required=True),
                        "Function": Property(required=True),
                        "Filter": _KEY_FILTER,
                    }
                )
            }
        ),
        "Tags": _TAGS,
        **resources_access.PROPERTIES,
        **resources_versions.PROPERTIES,
    },
    create_bucket,
    delete_bucket,
    update_bucket,
    ("Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"),
    check_bucket,
)

BUCKET_POLICY = ResourceType(
    "AWS::S3::BucketPolicy",
    {"Bucket": Property("replace", required=True), "PolicyDocument": Property(required=True)},
    put_policy,
    delete_policy,
    update_policy,
)
