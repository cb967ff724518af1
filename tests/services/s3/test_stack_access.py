# SPDX-License-Identifier: Apache-2.0
"""Buckets of CloudFormation stacks: who may come, from where, and what is written of it."""

from __future__ import annotations

import json
import uuid

from tests.services.s3.conftest import refused


def test_a_website_with_acl_cors_and_log(chamber, s3):
    stacks, name = chamber.client("cloudformation"), f"stack-{uuid.uuid4().hex[:12]}"
    bucket, logs = f"site-{uuid.uuid4().hex[:20]}", f"logs-{uuid.uuid4().hex[:20]}"
    properties = {
        "BucketName": bucket,
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]},
        "PublicAccessBlockConfiguration": {"BlockPublicAcls": False},
        "AccessControl": "PublicRead",
        "CorsConfiguration": {
            "CorsRules": [
                {
                    "AllowedMethods": ["GET"],
                    "AllowedOrigins": ["*"],
                    "ExposedHeaders": ["ETag"],
                    "Id": "x",
                    "MaxAge": 60,
                }
            ]
        },
        "WebsiteConfiguration": {
            "IndexDocument": "index.html",
            "ErrorDocument": "error.html",
            "RoutingRules": [
                {
                    "RedirectRule": {"ReplaceKeyPrefixWith": "b/", "HttpRedirectCode": 302},
                    "RoutingRuleCondition": {"KeyPrefixEquals": "a/"},
                }
            ],
        },
        "LoggingConfiguration": {"DestinationBucketName": {"Ref": "Logs"}, "LogFilePrefix": "p/"},
        "AccelerateConfiguration": {"AccelerationStatus": "Enabled"},
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]
        },
    }
    template = {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties},
            "Logs": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": logs}},
        },
        "Outputs": {"Url": {"Value": {"Fn::GetAtt": ["Bucket", "WebsiteURL"]}}},
    }
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    outputs = stacks.describe_stacks(StackName=name)["Stacks"][0]["Outputs"]
    assert outputs[0]["OutputValue"] == f"http://{bucket}.s3-website-us-east-1.amazonaws.com"
    assert len(s3.get_bucket_acl(Bucket=bucket)["Grants"]) == 2
    (rule,) = s3.get_bucket_cors(Bucket=bucket)["CORSRules"]
    assert (rule["ID"], rule["MaxAgeSeconds"], rule["ExposeHeaders"]) == ("x", 60, ["ETag"])
    site = s3.get_bucket_website(Bucket=bucket)
    assert site["RoutingRules"][0]["Redirect"]["HttpRedirectCode"] == "302"
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == {"TargetBucket": logs, "TargetPrefix": "p/"}
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"")["ServerSideEncryption"] == "aws:kms"
    s3.delete_object(Bucket=bucket, Key="k")
    for gone in ("CorsConfiguration", "WebsiteConfiguration", "LoggingConfiguration"):
        del properties[gone]
    del template["Outputs"]
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    refused("NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=bucket)
    refused("NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=bucket)
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
