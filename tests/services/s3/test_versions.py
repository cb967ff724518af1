# SPDX-License-Identifier: Apache-2.0
"""Versions through boto3: what S3 documents of them, and random walks beside a small model of S3."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.services.s3.conftest import allow, refused


def empty(s3, bucket):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, MaxKeys=7):
        found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if found:
            gone = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in found]
            assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": gone})


@pytest.fixture
def versioned(s3):
    name = f"test-{uuid.uuid4().hex[:20]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    yield name
    empty(s3, name)
    s3.delete_bucket(Bucket=name)


def suspend(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})


def put(s3, bucket, key="k", body=b"x", **more):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **more).get("VersionId")


def listed(s3, bucket, **more):
    page = s3.list_object_versions(Bucket=bucket, **more)
    rows = [(v["Key"], v["VersionId"], v["IsLatest"], False) for v in page.get("Versions", [])]
    rows += [(m["Key"], m["VersionId"], m["IsLatest"], True) for m in page.get("DeleteMarkers", [])]
    return rows


def headers(caught) -> dict:
    return caught.value.response["ResponseMetadata"]["HTTPHeaders"]


def test_versions_stay_and_the_newest_is_told(s3, versioned):
    first, second = put(s3, versioned, body=b"1"), put(s3, versioned, body=b"2" * 20_000)
    assert len(first) == len(second) == 32
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == second
    old = s3.get_object(Bucket=versioned, Key="k", VersionId=first)
    assert (old["Body"].read(), old["VersionId"]) == (b"1", first)
    assert listed(s3, versioned) == [("k", second, True, False), ("k", first, False, False)]
    assert [o["Size"] for o in s3.list_objects_v2(Bucket=versioned)["Contents"]] == [20_000]


def test_a_delete_marker_hides_and_can_be_deleted(s3, versioned):
    version = put(s3, versioned)
    marked = s3.delete_object(Bucket=versioned, Key="k")
    assert marked["DeleteMarker"] is True
    marker = marked["VersionId"]
    with pytest.raises(s3.exceptions.NoSuchKey) as caught:
        s3.get_object(Bucket=versioned, Key="k")
    assert headers(caught)["x-amz-delete-marker"] == "true"
    assert headers(caught)["x-amz-version-id"] == marker
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=versioned, Key="k", VersionId=marker)
    assert caught.value.response["Error"]["Code"] == "MethodNotAllowed"
    assert caught.value.response["Error"]["ResourceType"] == "DeleteMarker"
    assert headers(caught)["allow"] == "DELETE"
    assert "last-modified" in headers(caught)
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=versioned, Key="k", VersionId=marker)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405
    assert "KeyCount" not in s3.list_objects(Bucket=versioned)
    assert s3.list_objects_v2(Bucket=versioned)["KeyCount"] == 0
    gone = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    assert (gone["DeleteMarker"], gone["VersionId"]) == (True, marker)
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == version


def test_objects_of_before_have_the_null_version(s3, bucket):
    put(s3, bucket, body=b"before")
    assert "VersionId" not in s3.get_object(Bucket=bucket, Key="k", VersionId="null")
    refused("InvalidArgument", s3.get_object, Bucket=bucket, Key="k", VersionId="HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    version = put(s3, bucket, body=b"after")
    assert s3.get_object(Bucket=bucket, Key="k", VersionId="null")["Body"].read() == b"before"
    suspend(s3, bucket)
    assert put(s3, bucket, body=b"suspended") is None
    assert listed(s3, bucket) == [("k", "null", True, False), ("k", version, False, False)]
    marked = s3.delete_object(Bucket=bucket, Key="k")
    assert (marked["DeleteMarker"], marked["VersionId"]) == (True, "null")
    assert listed(s3, bucket) == [("k", version, False, False), ("k", "null", True, True)]
    error = refused("BucketNotEmpty", s3.delete_bucket, Bucket=bucket)
    assert error["Message"].endswith("You must delete all versions in the bucket.")
    empty(s3, bucket)


def test_versioning_is_configured_by_aws_words(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    suspend(s3, bucket)
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    put_versioning = s3.put_bucket_versioning
    refused("MalformedXML", put_versioning, Bucket=bucket, VersioningConfiguration={"Status": "enabled"})
    refused("IllegalVersioningConfigurationException", put_versioning, Bucket=bucket, VersioningConfiguration={})
    wanted = {"Status": "Enabled", "MFADelete": "Enabled"}
    refused("AccessDenied", put_versioning, Bucket=bucket, VersioningConfiguration=wanted)


def test_deleting_many_with_versions(s3, versioned):
    version = put(s3, versioned)
    done = s3.delete_objects(Bucket=versioned, Delete={"Objects": [{"Key": "k"}, {"Key": "other"}]})
    marks = {one["Key"]: one for one in done["Deleted"]}
    assert all(one["DeleteMarker"] and one["DeleteMarkerVersionId"] for one in marks.values())
    marker = marks["k"]["DeleteMarkerVersionId"]
    wanted = [{"Key": "k", "VersionId": v} for v in (marker, version, "HPniJFCxqTsMuIH9KX8K8wEjNUgmABCD")]
    done = s3.delete_objects(Bucket=versioned, Delete={"Objects": wanted})
    assert done["Deleted"][0] == {
        "Key": "k", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker
    }  # fmt: skip
    assert done["Deleted"][1] == {"Key": "k", "VersionId": version}
    assert [e["Code"] for e in done["Errors"]] == ["NoSuchVersion"]
    bad = refused("InvalidArgument", s3.delete_object, Bucket=versioned, Key="k", VersionId="nothing")
    assert bad["ArgumentName"] == "versionId"
    refused("NoSuchVersion", s3.get_object, Bucket=versioned, Key="k", VersionId=version)
    assert s3.delete_object(Bucket=versioned, Key="k", VersionId=version)["VersionId"] == version


def test_tags_and_attributes_of_versions(s3, versioned):
    first, second = put(s3, versioned, Tagging="a=1"), put(s3, versioned)
    tags = {"TagSet": [{"Key": "b", "Value": "2"}]}
    assert s3.put_object_tagging(Bucket=versioned, Key="k", Tagging=tags)["VersionId"] == second
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == [{"Key": "a", "Value": "1"}]
    s3.delete_object_tagging(Bucket=versioned, Key="k", VersionId=first)
    assert s3.get_object_tagging(Bucket=versioned, Key="k", VersionId=first)["TagSet"] == []
    assert s3.get_object_tagging(Bucket=versioned, Key="k")["TagSet"] == tags["TagSet"]
    asked = s3.get_object_attributes(Bucket=versioned, Key="k", VersionId=first, ObjectAttributes=["ETag"])
    assert asked["VersionId"] == first
    s3.delete_object(Bucket=versioned, Key="k")
    assert refused("MethodNotAllowed", s3.get_object_tagging, Bucket=versioned, Key="k")["Method"] == "GET"


def test_copies_of_versions(s3, versioned):
    first, second = put(s3, versioned, body=b"1"), put(s3, versioned, body=b"2")
    source = {"Bucket": versioned, "Key": "k", "VersionId": first}
    copied = s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
    assert copied["CopySourceVersionId"] == first
    assert copied["VersionId"] not in (first, second)
    assert s3.get_object(Bucket=versioned, Key="k")["Body"].read() == b"1"
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    refused("NoSuchKey", s3.copy_object, Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k"})
    source["VersionId"] = marker
    refused("InvalidRequest", s3.copy_object, Bucket=versioned, Key="c", CopySource=source)
    upload = s3.create_multipart_upload(Bucket=versioned, Key="m")["UploadId"]
    source["VersionId"] = second
    part = s3.upload_part_copy(Bucket=versioned, Key="m", UploadId=upload, PartNumber=1, CopySource=source)
    assert part["CopySourceVersionId"] == second
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    done = s3.complete_multipart_upload(Bucket=versioned, Key="m", UploadId=upload, MultipartUpload=parts)
    assert s3.get_object(Bucket=versioned, Key="m", VersionId=done["VersionId"])["Body"].read() == b"2"


def test_conditions_see_the_current_version_only(s3, versioned):
    put(s3, versioned)
    refused("PreconditionFailed", s3.put_object, Bucket=versioned, Key="k", IfNoneMatch="*")
    s3.delete_object(Bucket=versioned, Key="k")
    refused("NoSuchKey", s3.put_object, Bucket=versioned, Key="k", IfMatch='"d41d8cd98f00b204e9800998ecf8427e"')
    assert s3.put_object(Bucket=versioned, Key="k", IfNoneMatch="*")["VersionId"]


def test_versions_have_permissions_of_their_own(s3, versioned, user):
    version = put(s3, versioned)
    where = f"arn:aws:s3:::{versioned}/*"
    plain = user(allow(["s3:GetObject", "s3:DeleteObject"], where))
    plain.get_object(Bucket=versioned, Key="k")
    refused("AccessDenied", plain.get_object, Bucket=versioned, Key="k", VersionId=version)
    refused("AccessDenied", plain.delete_object, Bucket=versioned, Key="k", VersionId=version)
    only = {"StringEquals": {"s3:VersionId": version}}
    other = user(allow(["s3:GetObjectVersion", "s3:DeleteObjectVersion"], where, Condition=only))
    other.get_object(Bucket=versioned, Key="k", VersionId=version)
    refused("AccessDenied", other.get_object, Bucket=versioned, Key="k", VersionId="null")
    other.delete_object(Bucket=versioned, Key="k", VersionId=version)


def test_markers_of_the_listing_are_checked(s3, versioned):
    version = put(s3, versioned)
    refused("InvalidArgument", s3.list_object_versions, Bucket=versioned, VersionIdMarker=version)
    refused("InvalidArgument", s3.list_object_versions, Bucket=versioned, KeyMarker="k", VersionIdMarker="no")
    refused("InvalidArgument", s3.list_object_versions, Bucket=versioned, KeyMarker="k", VersionIdMarker="")


# A small model of S3 -------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """Keys with their versions, the newest first: (version, body; None for a delete marker)."""

    status: str = ""
    keys: dict[str, list[tuple[str, bytes | None]]] = field(default_factory=dict)

    def add(self, key: str, version: str, body: bytes | None) -> None:
        there = self.keys.setdefault(key, [])
        if version == "null":
            there[:] = [one for one in there if one[0] != "null"]
        there.insert(0, (version, body))

    def current(self, key: str) -> bytes | None:
        there = self.keys.get(key)
        return there[0][1] if there else None

    def remove(self, key: str, version: str) -> None:
        self.keys[key] = [one for one in self.keys.get(key, []) if one[0] != version]

    def rows(self, prefix: str, delimiter: str) -> list[tuple]:
        """All entries of a listing in order: prefixes, versions and markers."""
        rows: list[tuple] = []
        for key in sorted(self.keys, key=str.encode):
            if not key.startswith(prefix):
                continue
            at = key.find(delimiter, len(prefix)) if delimiter else -1
            if at >= 0:
                rolled = key[: at + len(delimiter)]
                if self.keys[key] and rows[-1:] != [(rolled,)]:
                    rows.append((rolled,))
                continue
            rows += [(key, v, i == 0, body is None) for i, (v, body) in enumerate(self.keys[key])]
        return rows


KEYS = st.sampled_from(["a", "a/b", "a/b/c", "a0", "b/", "b/\U0001f389", "é", "\U0010ffff"])
BODIES = st.one_of(st.binary(max_size=20), st.integers(0, 3).map(lambda n: bytes([n]) * 17_000))


class Walk(RuleBasedStateMachine):
    s3: object
    made = Bundle("made")

    def __init__(self) -> None:
        super().__init__()
        self.bucket = f"walk-{uuid.uuid4().hex[:20]}"
        self.s3.create_bucket(Bucket=self.bucket)
        self.model = Model()

    def teardown(self) -> None:
        empty(self.s3, self.bucket)
        self.s3.delete_bucket(Bucket=self.bucket)

    @rule(status=st.sampled_from(["Enabled", "Enabled", "Suspended"]))
    def configure(self, status):
        self.s3.put_bucket_versioning(Bucket=self.bucket, VersioningConfiguration={"Status": status})
        self.model.status = status

    @rule(target=made, key=KEYS, body=BODIES, condition=st.sampled_from(["", "", "none", "match"]))
    def put(self, key, body, condition):
        current = self.model.current(key)
        more, expected = {}, ""
        if condition == "none":
            more, expected = {"IfNoneMatch": "*"}, "PreconditionFailed" if current is not None else ""
        elif condition == "match":
            more = {"IfMatch": '"d41d8cd98f00b204e9800998ecf8427e"'}
            expected = "NoSuchKey" if current is None else "PreconditionFailed" if current else ""
        if expected:
            refused(expected, self.s3.put_object, Bucket=self.bucket, Key=key, Body=body, **more)
            return key, "null"
        done = self.s3.put_object(Bucket=self.bucket, Key=key, Body=body, **more)
        assert ("VersionId" in done) == (self.model.status == "Enabled")
        version = done.get("VersionId", "null")
        self.model.add(key, version, body)
        return key, version

    @rule(target=made, source=KEYS, key=KEYS)
    def copy(self, source, key):
        body = self.model.current(source)
        asked = {"Bucket": self.bucket, "Key": key, "CopySource": {"Bucket": self.bucket, "Key": source}}
        if body is None:
            refused("NoSuchKey", self.s3.copy_object, **asked)
            return key, "null"
        done = self.s3.copy_object(**asked, MetadataDirective="REPLACE")
        self.model.add(key, done.get("VersionId", "null"), body)
        return key, done.get("VersionId", "null")

    @rule(target=made, key=KEYS)
    def delete(self, key):
        done = self.s3.delete_object(Bucket=self.bucket, Key=key)
        assert done.get("DeleteMarker", False) == bool(self.model.status)
        if not self.model.status:
            self.model.remove(key, "null")
            return key, "null"
        assert (done["VersionId"] == "null") == (self.model.status == "Suspended")
        self.model.add(key, done["VersionId"], None)
        return key, done["VersionId"]

    @rule(one=made, many=st.booleans())
    def delete_version(self, one, many):
        key, version = one
        if many:
            gone = {"Objects": [{"Key": key, "VersionId": version}]}
            assert "Errors" not in self.s3.delete_objects(Bucket=self.bucket, Delete=gone)
        else:
            self.s3.delete_object(Bucket=self.bucket, Key=key, VersionId=version)
        self.model.remove(key, version)

    @rule(key=KEYS)
    def get(self, key):
        body = self.model.current(key)
        if body is None:
            refused("NoSuchKey", self.s3.get_object, Bucket=self.bucket, Key=key)
        else:
            assert self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() == body

    @rule(one=made)
    def get_version(self, one):
        key, version = one
        there = dict(self.model.keys.get(key, []))
        asked = {"Bucket": self.bucket, "Key": key, "VersionId": version}
        if version not in there:
            refused("NoSuchVersion", self.s3.get_object, **asked)
        elif there[version] is None:
            refused("MethodNotAllowed", self.s3.get_object, **asked)
        else:
            assert self.s3.get_object(**asked)["Body"].read() == there[version]

    @rule(
        prefix=st.sampled_from(["", "a", "a/", "b/", "é"]),
        delimiter=st.sampled_from(["", "/", "b"]),
        limit=st.integers(1, 4),
    )
    def list_versions(self, prefix, delimiter, limit):
        expected = self.model.rows(prefix, delimiter)
        found, marker = [], {}
        while True:
            page = self.s3.list_object_versions(
                Bucket=self.bucket, Prefix=prefix, Delimiter=delimiter, MaxKeys=limit, **marker
            )
            rows = [(v["Key"], v["VersionId"], v["IsLatest"], False) for v in page.get("Versions", [])]
            rows += [(m["Key"], m["VersionId"], m["IsLatest"], True) for m in page.get("DeleteMarkers", [])]
            rows += [(p["Prefix"],) for p in page.get("CommonPrefixes", [])]
            assert len(rows) <= limit
            found += rows
            if not page["IsTruncated"]:
                break
            assert len(rows) == limit
            marker = {"KeyMarker": page["NextKeyMarker"]}
            if "NextVersionIdMarker" in page:
                marker["VersionIdMarker"] = page["NextVersionIdMarker"]
        assert sorted(found) == sorted(expected)
        assert len(found) == len(expected)

    @rule(prefix=st.sampled_from(["", "a", "a/"]), delimiter=st.sampled_from(["", "/", "b"]), limit=st.integers(1, 4))
    def list_keys(self, prefix, delimiter, limit):
        current = {k: there[:1] for k, there in self.model.keys.items() if there and there[0][1] is not None}
        rows = Model("", current).rows(prefix, delimiter)
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, Delimiter=delimiter, PaginationConfig={"PageSize": limit}
        )
        found = [[*page.get("Contents", []), *page.get("CommonPrefixes", [])] for page in pages]
        assert all(len(page) <= limit for page in found)
        names = [one.get("Key", one.get("Prefix")) for page in found for one in page]
        assert sorted(names) == sorted(row[0] for row in rows)


def test_walks_agree_with_a_model_of_s3(s3):
    walk = type("WalkHere", (Walk,), {"s3": s3})
    run_state_machine_as_test(
        walk,
        settings=settings(
            max_examples=12, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
