# SPDX-License-Identifier: Apache-2.0
"""Object Lock through boto3: what is locked stays, whoever asks, except where S3 documents a way around."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.s3.conftest import allow, refused


def later(**more) -> datetime:
    return (datetime.now(UTC) + timedelta(**more)).replace(microsecond=0)


@pytest.fixture
def locked(s3):
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    yield name
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        for one in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            named = {"Bucket": name, "Key": one["Key"], "VersionId": one["VersionId"]}
            if "Size" in one:
                s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
            s3.delete_object(**named, BypassGovernanceRetention=True)
    s3.delete_bucket(Bucket=name)


def test_governance_needs_header_and_permission_to_bypass(s3, locked, user):
    until = later(days=2)
    put = s3.put_object(Bucket=locked, Key="k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    named = {"Bucket": locked, "Key": "k", "VersionId": put["VersionId"]}
    assert s3.get_object_retention(**named)["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", until)
    assert "object lock" in refused("AccessDenied", s3.delete_object, **named)["Message"]
    assert s3.delete_object(Bucket=locked, Key="k")["DeleteMarker"] is True
    many = {"Objects": [{"Key": "k", "VersionId": put["VersionId"]}]}
    assert [e["Code"] for e in s3.delete_objects(Bucket=locked, Delete=many)["Errors"]] == ["AccessDenied"]
    plain = user(allow("s3:Delete*", "*"))
    refused("AccessDenied", plain.delete_object, **named, BypassGovernanceRetention=True)
    other = user(allow(["s3:Delete*", "s3:BypassGovernanceRetention"], "*"))
    other.delete_object(**named, BypassGovernanceRetention=True)


def test_retention_is_prolonged_by_anyone_and_shortened_by_few(s3, locked):
    put = s3.put_object(Bucket=locked, Key="k")
    named = {"Bucket": locked, "Key": "k", "VersionId": put["VersionId"]}

    def retain(**more):
        return {**named, "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": later(**more)}}

    refused("NoSuchObjectLockConfiguration", s3.get_object_retention, **named)
    s3.put_object_retention(**retain(days=2))
    s3.put_object_retention(**retain(days=3))
    refused("AccessDenied", s3.put_object_retention, **retain(days=1))
    compliance = {"Mode": "COMPLIANCE", "RetainUntilDate": later(days=4)}
    refused("AccessDenied", s3.put_object_retention, **named, Retention=compliance)
    s3.put_object_retention(**retain(days=1), BypassGovernanceRetention=True)
    refused("InvalidArgument", s3.put_object_retention, **retain(days=-1), BypassGovernanceRetention=True)
    refused("MalformedXML", s3.put_object_retention, **named, Retention={"Mode": "GOVERNANCE"})
    s3.put_object_retention(**named, Retention={}, BypassGovernanceRetention=True)
    s3.delete_object(**named)


def test_compliance_is_for_everybody_until_its_time(s3):
    bucket = f"test-{uuid.uuid4().hex[:20]}"  # not emptied: nobody could
    s3.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    put = s3.put_object(Bucket=bucket, Key="k", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=later(days=1))
    named = {"Bucket": bucket, "Key": "k", "VersionId": put["VersionId"]}
    refused("AccessDenied", s3.delete_object, **named, BypassGovernanceRetention=True)
    refused("AccessDenied", s3.put_object_retention, **named, Retention={}, BypassGovernanceRetention=True)
    weaker = {"Mode": "GOVERNANCE", "RetainUntilDate": later(days=9)}
    refused("AccessDenied", s3.put_object_retention, **named, Retention=weaker, BypassGovernanceRetention=True)
    s3.put_object_retention(**named, Retention={"Mode": "COMPLIANCE", "RetainUntilDate": later(days=2)})


def test_a_legal_hold_holds(s3, locked, user):
    put = s3.put_object(Bucket=locked, Key="k", ObjectLockLegalHoldStatus="ON")
    named = {"Bucket": locked, "Key": "k", "VersionId": put["VersionId"]}
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "ON"}
    refused("AccessDenied", s3.delete_object, **named, BypassGovernanceRetention=True)
    only_on = user(allow("s3:PutObjectLegalHold", "*", Condition={"StringEquals": {"s3:object-lock-legal-hold": "ON"}}))
    only_on.put_object_legal_hold(**named, LegalHold={"Status": "ON"})
    refused("AccessDenied", only_on.put_object_legal_hold, **named, LegalHold={"Status": "OFF"})
    s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    assert s3.head_object(**named)["ObjectLockLegalHoldStatus"] == "OFF"
    s3.delete_object(**named)


def test_remaining_days_of_a_retention_can_be_limited(s3, locked, user):
    days = {"NumericLessThanEquals": {"s3:object-lock-remaining-retention-days": "10"}}
    few = user(allow("s3:PutObject", "*"), allow("s3:PutObjectRetention", f"arn:aws:s3:::{locked}/*", Condition=days))
    asked = {"Bucket": locked, "Key": "k", "ObjectLockMode": "GOVERNANCE"}
    few.put_object(**asked, ObjectLockRetainUntilDate=later(days=9))
    refused("AccessDenied", few.put_object, **asked, ObjectLockRetainUntilDate=later(days=11))


def test_the_default_retention_is_applied(s3, locked):
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 3}}
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": rule}
    s3.put_object_lock_configuration(Bucket=locked, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"] == wanted
    s3.put_object(Bucket=locked, Key="k")
    until = s3.head_object(Bucket=locked, Key="k")["ObjectLockRetainUntilDate"]
    assert timedelta(days=2, hours=23) < until - datetime.now(UTC) < timedelta(days=3, hours=1)
    upload = s3.create_multipart_upload(Bucket=locked, Key="m", ObjectLockLegalHoldStatus="ON")["UploadId"]
    part = s3.upload_part(Bucket=locked, Key="m", UploadId=upload, PartNumber=1, Body=b"x")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=locked, Key="m", UploadId=upload, MultipartUpload=parts)
    head = s3.head_object(Bucket=locked, Key="m")
    assert (head["ObjectLockMode"], head["ObjectLockLegalHoldStatus"]) == ("GOVERNANCE", "ON")
    copied = s3.copy_object(Bucket=locked, Key="c", CopySource={"Bucket": locked, "Key": "m"})
    assert "ObjectLockLegalHoldStatus" not in s3.head_object(Bucket=locked, Key="c", VersionId=copied["VersionId"])


def test_configurations_that_make_no_sense(s3, locked, bucket):
    put = s3.put_object_lock_configuration
    enabled = {"ObjectLockEnabled": "Enabled"}
    refused("InvalidBucketState", put, Bucket=bucket, ObjectLockConfiguration=enabled)
    refused("ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k")
    hold = {"Bucket": bucket, "Key": "k", "LegalHold": {"Status": "ON"}}
    refused("InvalidRequest", s3.put_object_legal_hold, **hold)
    refused("InvalidArgument", s3.delete_object, Bucket=bucket, Key="k", BypassGovernanceRetention=True)
    for default, code in (
        ({"Mode": "GOVERNANCE"}, "MalformedXML"),
        ({"Mode": "governance", "Days": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "Days": 1, "Years": 1}, "MalformedXML"),
        ({"Mode": "GOVERNANCE", "Days": 0}, "InvalidRetentionPeriod"),
        ({"Mode": "GOVERNANCE", "Years": 101}, "InvalidRetentionPeriod"),
    ):
        wanted = {**enabled, "Rule": {"DefaultRetention": default}}
        refused(code, put, Bucket=locked, ObjectLockConfiguration=wanted)
    suspended = {"Status": "Suspended"}
    refused("InvalidBucketState", s3.put_bucket_versioning, Bucket=locked, VersioningConfiguration=suspended)
    refused("InvalidArgument", s3.put_object, Bucket=locked, Key="k", ObjectLockMode="GOVERNANCE")
