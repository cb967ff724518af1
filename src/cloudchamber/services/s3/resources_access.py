# SPDX-License-Identifier: Apache-2.0
"""Properties of CloudFormation's AWS::S3::Bucket that say who may come, from where, and what is written of it.

Source: AWS CloudFormation Template Reference, "AWS::S3::Bucket": AccessControl, CorsConfiguration,
WebsiteConfiguration, LoggingConfiguration, AccelerateConfiguration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from cloudchamber.base.errors import ServiceError
from cloudchamber.contract.resource import Property

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.resource import Agent

CANNED = {
    "Private": "private",
    "PublicRead": "public-read",
    "PublicReadWrite": "public-read-write",
    "AuthenticatedRead": "authenticated-read",
    "LogDeliveryWrite": "log-delivery-write",
    "BucketOwnerRead": "bucket-owner-read",
    "BucketOwnerFullControl": "bucket-owner-full-control",
    "AwsExecRead": "aws-exec-read",
}
_DASHED = frozenset(
    ("us-east-1", "us-west-1", "us-west-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "eu-west-1",
     "sa-east-1", "us-gov-west-1")
)  # fmt: skip
"""Regions whose website hosts are written with a dash. Source: AWS General Reference, "Amazon S3 website endpoints"."""
_REDIRECT = ("HostName", "HttpRedirectCode", "Protocol", "ReplaceKeyPrefixWith", "ReplaceKeyWith")
_CONDITION = ("HttpErrorCodeReturnedEquals", "KeyPrefixEquals")


def website_url(name: str, region: str) -> str:
    """The attribute `WebsiteURL`."""
    return f"http://{name}.s3-website{'-' if region in _DASHED else '.'}{region}.amazonaws.com"


async def apply_acl(agent: Agent, bucket: str, value: Any) -> None:
    """AccessControl: a canned ACL, in CloudFormation's words. A bucket without ACLs is private already."""
    canned = CANNED.get(value or "Private", str(value))
    try:
        await agent.ask("s3", "PutBucketAcl", {"Bucket": bucket, "ACL": canned})
    except ServiceError as error:
        if error.code != "AccessControlListNotSupported" or canned != "private":
            raise


async def apply_cors(agent: Agent, bucket: str, value: Any) -> None:
    """CorsConfiguration."""
    if not value:
        await agent.ask("s3", "DeleteBucketCors", {"Bucket": bucket})
        return
    words = {"ExposedHeaders": "ExposeHeaders", "Id": "ID", "MaxAge": "MaxAgeSeconds"}
    rules: list[dict[str, Any]] = []
    for given in cast("list[Mapping[str, Any]]", value["CorsRules"]):
        rule = {words.get(name, name): one for name, one in given.items()}
        if "MaxAgeSeconds" in rule:
            rule["MaxAgeSeconds"] = int(rule["MaxAgeSeconds"])
        rules.append(rule)
    await agent.ask("s3", "PutBucketCors", {"Bucket": bucket, "CORSConfiguration": {"CORSRules": rules}})


async def apply_website(agent: Agent, bucket: str, value: Any) -> None:
    """WebsiteConfiguration."""
    if not value:
        await agent.ask("s3", "DeleteBucketWebsite", {"Bucket": bucket})
        return
    site: dict[str, Any] = {}
    if "IndexDocument" in value:
        site["IndexDocument"] = {"Suffix": value["IndexDocument"]}
    if "ErrorDocument" in value:
        site["ErrorDocument"] = {"Key": value["ErrorDocument"]}
    if "RedirectAllRequestsTo" in value:
        site["RedirectAllRequestsTo"] = dict(value["RedirectAllRequestsTo"])
    for given in cast("list[Mapping[str, Any]]", value.get("RoutingRules", [])):
        rule: dict[str, Any] = {"Redirect": {name: str(one) for name, one in given["RedirectRule"].items()}}
        if "RoutingRuleCondition" in given:
            rule["Condition"] = {name: str(one) for name, one in given["RoutingRuleCondition"].items()}
        site.setdefault("RoutingRules", []).append(rule)
    await agent.ask("s3", "PutBucketWebsite", {"Bucket": bucket, "WebsiteConfiguration": site})


async def apply_logging(agent: Agent, bucket: str, value: Any) -> None:
    """LoggingConfiguration; without a destination the bucket logs into itself."""
    status: dict[str, Any] = {}
    if value is not None:
        target = {
            "TargetBucket": value.get("DestinationBucketName", bucket),
            "TargetPrefix": value.get("LogFilePrefix", ""),
        }
        if "TargetObjectKeyFormat" in value:
            target["TargetObjectKeyFormat"] = value["TargetObjectKeyFormat"]
        status["LoggingEnabled"] = target
    await agent.ask("s3", "PutBucketLogging", {"Bucket": bucket, "BucketLoggingStatus": status})


async def apply_acceleration(agent: Agent, bucket: str, value: Any) -> None:
    """AccelerateConfiguration."""
    status = value["AccelerationStatus"] if value else "Suspended"
    request = {"Bucket": bucket, "AccelerateConfiguration": {"Status": status}}
    await agent.ask("s3", "PutBucketAccelerateConfiguration", request)


PROPERTIES = {
    "AccessControl": Property(),
    "CorsConfiguration": Property(
        shape={
            "CorsRules": Property(
                required=True,
                shape={
                    "AllowedHeaders": Property(),
                    "AllowedMethods": Property(required=True),
                    "AllowedOrigins": Property(required=True),
                    "ExposedHeaders": Property(),
                    "Id": Property(),
                    "MaxAge": Property(),
                },
            )
        }
    ),
    "WebsiteConfiguration": Property(
        shape={
            "IndexDocument": Property(),
            "ErrorDocument": Property(),
            "RedirectAllRequestsTo": Property(shape={"HostName": Property(required=True), "Protocol": Property()}),
            "RoutingRules": Property(
                shape={
                    "RedirectRule": Property(required=True, shape={name: Property() for name in _REDIRECT}),
                    "RoutingRuleCondition": Property(shape={name: Property() for name in _CONDITION}),
                }
            ),
        }
    ),
    "LoggingConfiguration": Property(
        shape={
            "DestinationBucketName": Property(),
            "LogFilePrefix": Property(),
            "TargetObjectKeyFormat": Property(),
        }
    ),
    "AccelerateConfiguration": Property(shape={"AccelerationStatus": Property(required=True)}),
}
