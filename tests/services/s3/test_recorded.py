# SPDX-License-Identifier: Apache-2.0
"""What AWS was recorded to answer, where its documentation says less or something else.

The cases are those of LocalStack's recorded tests that had failed here, written anew.
"""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
import uuid
import zlib
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from cloudchamber.services.s3.names import copy_source
from tests.services.s3.conftest import refused


def crc32(data: bytes) -> str:
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def told(response) -> dict[str, str]:
    return response["ResponseMetadata"]["HTTPHeaders"]


def fetch(url: str, method: str = "GET", headers: dict[str, str] | None = None):
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers or {})) as reply:
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture
def versioned(s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    yield bucket
    page = s3.list_object_versions(Bucket=bucket)
    for one in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
        s3.delete_object(Bucket=bucket, Key=one["Key"], VersionId=one["VersionId"])


# Every header --------------------------------------------------------------------------------------------------------


def test_answers_have_the_headers_of_s3_and_no_others(s3, bucket, chamber):
    s3.put_object(Bucket=bucket, Key="k", Body=b"abc123", ContentLanguage="de")
    headers = told(s3.get_object(Bucket=bucket, Key="k"))
    assert set(headers) == {
        "accept-ranges", "content-language", "content-length", "content-type", "date", "etag", "last-modified",
        "server", "x-amz-checksum-crc32", "x-amz-checksum-type", "x-amz-id-2", "x-amz-request-id",
        "x-amz-server-side-encryption",
    }  # fmt: skip
    assert headers["server"] == "AmazonS3"
    assert told(s3.head_bucket(Bucket=bucket))["content-type"] == "application/xml"
    assert told(s3.list_objects_v2(Bucket=bucket))["x-amz-bucket-region"] == "us-east-1"
    error = refused("NoSuchKey", s3.get_object, Bucket=bucket, Key="none")
    assert "Resource" not in error
    status, headers, _ = fetch(f"{chamber.endpoint}/{bucket}/none")
    assert (status, headers["Transfer-Encoding"], headers["Content-Length"]) == (403, "chunked", None)


def test_other_services_still_tell_the_track(chamber):
    answer = chamber.client("sts").get_caller_identity()
    assert told(answer)["x-amzn-trace-id"].startswith("Root=1-")
    assert "server" not in told(answer)


def test_elements_stand_in_the_order_of_s3(s3, bucket, chamber):
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"")
    s3.put_object(Bucket=bucket, Key="c", Body=b"")
    seen: dict[str, str] = {}

    def keep(http_response, model, **_):
        seen[model.name] = http_response.text

    s3.meta.events.register("after-call.s3", keep)
    s3.list_buckets()
    s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    s3.get_bucket_location(Bucket=bucket)
    s3.meta.events.unregister("after-call.s3", keep)
    assert seen["ListBuckets"].index("<Owner>") < seen["ListBuckets"].index("<Buckets>")
    listed = seen["ListObjectsV2"]
    assert listed.index("<IsTruncated>") < listed.index("<Contents>") < listed.index("<CommonPrefixes>")
    assert seen["GetBucketLocation"].endswith('<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"/>')


# Buckets -------------------------------------------------------------------------------------------------------------


def test_a_location_keeps_the_name_that_it_was_given(chamber):
    s3 = chamber.client("s3")
    far = boto3.client(
        "s3", endpoint_url=chamber.endpoint, region_name="eu-west-1",
        aws_access_key_id=s3._request_signer._credentials.access_key,
        aws_secret_access_key=s3._request_signer._credentials.secret_key,
    )  # fmt: skip
    name = f"eu-{uuid.uuid4().hex[:12]}"
    far.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "EU"})
    assert far.get_bucket_location(Bucket=name)["LocationConstraint"] == "EU"
    assert far.head_bucket(Bucket=name)["BucketRegion"] == "eu-west-1"
    assert told(far.list_objects_v2(Bucket=name))["x-amz-bucket-region"] == "eu-west-1"
    (found,) = far.list_buckets(Prefix=name)["Buckets"]
    assert found["BucketRegion"] == "eu-west-1"
    assert all("BucketRegion" not in one for one in far.list_buckets()["Buckets"])
    refused("InvalidArgument", far.list_buckets, BucketRegion="eu-east-1")
    far.delete_bucket(Bucket=name)


def test_tags_of_buckets(s3, bucket):
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "a", "Value": "1"}]})
    answer = s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": []})
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    refused("NoSuchTagSet", s3.get_bucket_tagging, Bucket=bucket)
    reserved = {"TagSet": [{"Key": "aws:x", "Value": "1"}]}
    error = refused("InvalidTag", s3.put_bucket_tagging, Bucket=bucket, Tagging=reserved)
    assert error["Message"] == "System tags cannot be added/updated by requester"
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    error = refused("InvalidTag", s3.put_object_tagging, Bucket=bucket, Key="k", Tagging=reserved)
    assert error["Message"] == "Your TagKey cannot be prefixed with aws:"
    assert refused("NoSuchKey", s3.get_object_tagging, Bucket=bucket, Key="none")["Key"] == f"{bucket}/none"
    again = {"Bucket": bucket, "CreateBucketConfiguration": {"Tags": [{"Key": "a", "Value": "1"}]}}
    refused("BucketAlreadyOwnedByYou", s3.create_bucket, **again)


# Copies --------------------------------------------------------------------------------------------------------------


def test_copies_tell_versions_but_null_ones_as_sources(s3, versioned):
    s3.put_object(Bucket=versioned, Key="k", Body=b"x")
    source = {"Bucket": versioned, "Key": "k"}
    first = s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE")
    assert first["VersionId"] != first["CopySourceVersionId"]
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    second = s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE")
    assert (second["VersionId"], second["CopySourceVersionId"]) == ("null", first["VersionId"])
    third = s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE")
    assert third["VersionId"] == "null"
    assert "CopySourceVersionId" not in third


def test_copies_onto_themselves_may_change_the_encryption(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    named = {"Bucket": bucket, "Key": "k"}
    assert s3.copy_object(**named, CopySource=named)["ServerSideEncryption"] == "AES256"
    refused("InvalidRequest", s3.copy_object, **named, CopySource=named)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.copy_object(**named, CopySource=named)


def test_sources_of_copies_may_have_pluses_or_be_urls():
    for source in ("b%2Fa+key", "/b/a%20key", "http://127.0.0.1:4566/b/a%20key", "arn:aws:s3:::b/a+key?versionId=v"):
        assert copy_source(source) == ("b", "a key")
    assert copy_source("b/a%2Bkey") == ("b", "a+key")


def test_ranges_of_copies_behind_the_end(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="to")["UploadId"]
    asked = {"Bucket": bucket, "Key": "to", "UploadId": upload, "PartNumber": 1, "CopySource": f"{bucket}/k"}
    error = refused("InvalidRequest", s3.upload_part_copy, **asked, CopySourceRange="bytes=100-200")
    assert error["Message"] == "The specified copy range is invalid for the source object size"
    refused("InvalidArgument", s3.upload_part_copy, **asked, CopySourceRange="bytes=0-100")
    s3.upload_part_copy(**asked, CopySourceIfModifiedSince=datetime.now(UTC) + timedelta(days=1))


# Completions ---------------------------------------------------------------------------------------------------------


def begun(s3, bucket, **options):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **options)["UploadId"]
    asked = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    part = s3.upload_part(**asked, PartNumber=1, Body=b"test")
    return asked, {"PartNumber": 1, "ETag": part["ETag"]}


def test_a_completion_on_condition_wants_its_key_untouched_since_the_upload_began(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    asked, part = begun(s3, bucket)
    whole = {**asked, "MultipartUpload": {"Parts": [part]}}
    now = s3.put_object(Bucket=bucket, Key="k", Body=b"2")["ETag"]
    refused("PreconditionFailed", s3.complete_multipart_upload, **whole, IfMatch=etag)
    error = refused("ConditionalRequestConflict", s3.complete_multipart_upload, **whole, IfMatch=now)
    assert (error["Condition"], error["Key"]) == ("If-Match", "k")
    refused("PreconditionFailed", s3.complete_multipart_upload, **whole, IfNoneMatch="*")
    s3.delete_object(Bucket=bucket, Key="k")
    refused("ConditionalRequestConflict", s3.complete_multipart_upload, **whole, IfNoneMatch="*")
    s3.abort_multipart_upload(**asked)
    asked, part = begun(s3, bucket)
    s3.complete_multipart_upload(**asked, MultipartUpload={"Parts": [part]}, IfNoneMatch="*")


def test_a_checksum_of_checksums_wants_each_of_them_said(s3, bucket):
    asked, part = begun(s3, bucket, ChecksumAlgorithm="CRC32")
    complete = s3.complete_multipart_upload
    refused("InvalidRequest", complete, **asked, MultipartUpload={"Parts": [part]})
    other = part | {"ChecksumSHA256": base64.b64encode(bytes(32)).decode()}
    refused("BadDigest", complete, **asked, MultipartUpload={"Parts": [other]})
    wrong = part | {"ChecksumCRC32": crc32(b"other")}
    refused("InvalidPart", complete, **asked, MultipartUpload={"Parts": [wrong]})
    good = {"Parts": [part | {"ChecksumCRC32": crc32(b"test")}]}
    refused("InvalidRequest", complete, **asked, MultipartUpload=good, ChecksumType="FULL_OBJECT")
    done = complete(**asked, MultipartUpload=good)
    assert done["ChecksumCRC32"].endswith("-1")
    attributes = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["Checksum"])
    assert attributes["Checksum"]["ChecksumCRC32"] == done["ChecksumCRC32"].removesuffix("-1")


def test_a_checksum_of_the_whole_object_is_said_with_its_type(s3, bucket):
    asked, part = begun(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    whole = {**asked, "MultipartUpload": {"Parts": [part]}, "ChecksumCRC32": crc32(b"test")}
    refused("BadDigest", s3.complete_multipart_upload, **whole)
    assert s3.complete_multipart_upload(**whole, ChecksumType="FULL_OBJECT")["ChecksumCRC32"] == crc32(b"test")


def test_an_upload_without_an_algorithm_knows_no_checksums_of_parts(chamber, bucket):
    plain = chamber.client("s3", config=Config(request_checksum_calculation="when_required"))
    asked, part = begun(plain, bucket)
    said = {"Parts": [part | {"ChecksumCRC32": crc32(b"test")}]}
    refused("InvalidPart", plain.complete_multipart_upload, **asked, MultipartUpload=said)
    mode = {**asked, "MultipartUpload": {"Parts": [part]}, "ChecksumType": "FULL_OBJECT"}
    refused("InvalidRequest", plain.complete_multipart_upload, **mode)
    plain.complete_multipart_upload(**asked, MultipartUpload={"Parts": [part]})


# Keys ----------------------------------------------------------------------------------------------------------------


def test_etags_under_other_keys_are_no_md5(s3, bucket):
    plain = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    sealed = [s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")["ETag"] for _ in "12"]
    assert len({plain, *sealed}) == 3
    assert all(len(one) == len(plain) for one in sealed)
    assert s3.get_object(Bucket=bucket, Key="k", IfMatch=sealed[1])["ETag"] == sealed[1]


def test_a_request_takes_the_bucket_key_of_the_configuration(s3, bucket):
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]})
    assert s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")["BucketKeyEnabled"] is True


# Presigned -----------------------------------------------------------------------------------------------------------


def presigned(chamber, method: str, path: str, **params: str) -> str:
    keys = chamber.client("s3")._request_signer._credentials
    request = AWSRequest(method=method, url=f"{chamber.endpoint}{path}", params=params)
    S3SigV4QueryAuth(Credentials(keys.access_key, keys.secret_key), "s3", "us-east-1").add_auth(request)
    return request.url


def test_presigned_urls_carry_conditions(s3, bucket, chamber):
    url = presigned(chamber, "PUT", f"/{bucket}/k", **{"If-None-Match": "*"})
    assert fetch(url, "PUT")[0] == 200
    assert fetch(url, "PUT")[0] == 412
    url = presigned(chamber, "PUT", f"/{bucket}/k", **{"If-Match": "0" * 32})
    assert fetch(url, "PUT")[0] == 412


def test_presigned_urls_that_are_refused(s3, bucket, chamber):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    url = presigned(chamber, "GET", f"/{bucket}/k")
    status, _, body = fetch(url.replace("%2F", "%252F"))
    assert (status, b"the Credential is mal-formed" in body) == (400, True)
    assert fetch(url, headers={"x-amz-user-agent": "x"})[0] == 403
    asked = presigned(chamber, "GET", f"/{bucket}/k", **{"response-cache-control": "\u2014"})
    status, _, body = fetch(asked)
    assert (status, b"ISO-8859-1" in body) == (400, True)


# Notifications, and conditions of deletions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "arn", "word", "of", "reason"),
    [
        ("Lambda", "LambdaFunctionArn", "CloudFunction", "lambda", "Not authorized to invoke function [{0}]"),
        ("Queue", "QueueArn", "Queue", "sqs", "The destination queue does not exist"),
        ("Topic", "TopicArn", "Topic", "sns", "The destination topic does not exist"),
    ],
)
def test_destinations_of_notifications_are_checked_unless_that_is_skipped(s3, bucket, member, arn, word, of, reason):
    put = s3.put_bucket_notification_configuration
    member = f"{'LambdaFunction' if member == 'Lambda' else member}Configurations"
    one = {"Id": "id", "Events": ["s3:ObjectCreated:*"], arn: "no-arn"}
    for skip in (False, True):
        error = refused(
            "InvalidArgument", put, Bucket=bucket, NotificationConfiguration={member: [one]},
            SkipDestinationValidation=skip,
        )  # fmt: skip
        assert error["Message"] == "The ARN could not be parsed"
        assert (error["ArgumentName"], error["ArgumentValue"]) == (word, "no-arn")
    named = [f"arn:aws:{of}:us-east-1:000000000000:{'function:' if of == 'lambda' else ''}none{n}" for n in (1, 2)]
    both = {
        member: [
            one | {"Id": "id1", arn: named[0]},
            one | {"Id": "id2", arn: named[1], "Events": ["s3:ObjectRemoved:*"]},
        ]
    }
    error = refused("InvalidArgument", put, Bucket=bucket, NotificationConfiguration=both)
    assert error["Message"] == "Unable to validate the following destination configurations"
    for number, wanted in enumerate(named, 1):
        assert error[f"ArgumentName{number}"] == wanted + (", null" if of == "lambda" else "")
        assert error[f"ArgumentValue{number}"] == reason.format(wanted)
    assert s3.get_bucket_notification_configuration(Bucket=bucket).keys() == {"ResponseMetadata"}
    put(Bucket=bucket, NotificationConfiguration=both, SkipDestinationValidation=True)
    assert s3.get_bucket_notification_configuration(Bucket=bucket)[member] == both[member]
    s3.put_object(Bucket=bucket, Key="k", Body=b"")  # nobody gets this event, and that is no error


def test_conditions_that_only_directory_buckets_know(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    earlier = datetime.now(UTC) - timedelta(days=1)
    error = refused("NotImplemented", s3.delete_object, Bucket=bucket, Key="k", IfMatchSize=10)
    assert error["Message"] == "A header you provided implies functionality that is not implemented"
    assert error["Header"] == "x-amz-if-match-size"
    error = refused(
        "NotImplemented", s3.delete_object, Bucket=bucket, Key="k", IfMatchSize=0, IfMatchLastModifiedTime=earlier
    )
    assert error["Header"] == "x-amz-if-match-last-modified-time"
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 0


def test_a_page_of_uploads_with_nothing_but_prefixes_tells_no_marker(s3, bucket):
    for key in ("f/a/1", "f/a/2", "f/b"):
        s3.create_multipart_upload(Bucket=bucket, Key=key)
    asked = {"Bucket": bucket, "Prefix": "f/", "Delimiter": "/", "MaxUploads": 1}
    page = s3.list_multipart_uploads(**asked)
    assert (page["CommonPrefixes"], page["IsTruncated"]) == ([{"Prefix": "f/a/"}], True)
    assert (page["NextKeyMarker"], page["NextUploadIdMarker"]) == ("", "")
    page = s3.list_multipart_uploads(**asked, KeyMarker="f/a/")
    assert ([one["Key"] for one in page["Uploads"]], page["NextKeyMarker"]) == (["f/b"], "f/b")
    for one in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]:
        s3.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])


# Forms ---------------------------------------------------------------------------------------------------------------


def test_what_a_form_says_of_its_object_comes_back_as_latin_1_and_encoded_words_are_not_read(s3, bucket):
    """Headers of a PUT come back octet by octet; a form is text, and its characters go into headers as Latin-1."""
    wanted = {
        "Cache-Control": "a—b_é_",
        "x-amz-meta-word": "=?UTF-8?Q?actually-ascii?=",
        "x-amz-meta-other": "ÄM S3",
        "x-amz-meta-tab": "~\t",
    }
    form = s3.generate_presigned_post(
        bucket, "k", Fields=wanted, Conditions=[["eq", f"${name}", value] for name, value in wanted.items()]
    )
    body = "".join(
        f'--XX\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in (form["fields"] | {"file": "octets"}).items()
    )
    headers = {"Content-Type": "multipart/form-data; boundary=XX"}
    sent = urllib.request.Request(form["url"], data=f"{body}--XX--\r\n".encode(), headers=headers)
    with urllib.request.urlopen(sent) as reply:
        assert reply.status == 204
    for _ in range(2):
        found = s3.head_object(Bucket=bucket, Key="k")
        assert found["CacheControl"] == "a b_é_"  # what botocore makes of octets in Latin-1
        assert found["Metadata"] == {
            "word": "=?UTF-8?Q?actually-ascii?=", "other": "=?UTF-8?Q?=C3=84M_S3?=", "tab": "~\t",
        }  # fmt: skip
        s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", StorageClass="STANDARD_IA")
