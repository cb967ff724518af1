# SPDX-License-Identifier: Apache-2.0
"""Buckets of CloudFormation stacks: versions, locks and rules as the template says them."""

from __future__ import annotations

import json
import uuid

from tests.services.s3.conftest import refused

RULES = [
    {
        "Id": "one", "Status": "Enabled", "Prefix": "a/", "ExpirationInDays": 3,
        "TagFilters": [{"Key": "k", "Value": "v"}],
    },
    {
        "Status": "Disabled", "NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 1},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}, "Id": "two",
    },
    {"Id": "three", "Status": "Enabled", "ExpirationDate": "2100-01-01T00:00:00.000Z"},
    {
        "Id": "four", "Status": "Enabled", "Transition": {"StorageClass": "STANDARD_IA", "TransitionInDays": 30},
        "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 60}],
        "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER", "TransitionInDays": 1}],
    },
]  # fmt: skip


def test_a_bucket_with_versions_locks_and_rules(chamber, s3):
    stacks, name = chamber.client("cloudformation"), f"stack-{uuid.uuid4().hex[:12]}"
    bucket = f"test-{uuid.uuid4().hex[:20]}"
    properties = {
        "BucketName": bucket,
        "VersioningConfiguration": {"Status": "Enabled"},
        "ObjectLockEnabled": True,
        "ObjectLockConfiguration": {
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}},
        },
        "LifecycleConfiguration": {
            "Rules": RULES,
            "TransitionDefaultMinimumObjectSize": "varies_by_storage_class",
        },
    }
    template = {"Resources": {"Bucket": {"Type": "AWS::S3::Bucket", "Properties": properties}}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    lock = s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    assert lock["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", "Days": 1}
    kept = s3.get_bucket_lifecycle_configuration(Bucket=bucket)
    rules = kept["Rules"]
    assert [rule["ID"] for rule in rules] == ["one", "two", "three", "four"]
    assert kept["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    moves = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER"}]
    assert rules[3]["Transitions"] == moves
    assert rules[3]["NoncurrentVersionTransitions"] == [{"NoncurrentDays": 1, "StorageClass": "GLACIER"}]
    assert rules[0]["Filter"]["And"] == {"Prefix": "a/", "Tags": [{"Key": "k", "Value": "v"}]}
    assert rules[2]["Expiration"]["Date"].year == 2100
    del properties["LifecycleConfiguration"]
    stacks.update_stack(StackName=name, TemplateBody=json.dumps(template))
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
    refused("NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1})
