# SPDX-License-Identifier: Apache-2.0
"""Objects through boto3: what is put comes back, whole or in ranges, under the conditions that S3 documents."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.client
import json
import os
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.conftest import ROOT_KEY
from tests.services.s3.conftest import refused

KEYS = (
    "plain",
    "a/b c+é.txt",
    "//double//slash/",
    "dots/../x",
    "percent%20%2F",
    "日本語/🎉",
    "tab\tnewline\n",
    "'\"<&>",
)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_any_form_comes_back(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"octets")
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"octets"
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("size", [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000])
def test_every_size_comes_back_with_its_md5_and_checksum(s3, bucket, size):
    body = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body)
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Body"].read() == body
    assert got["ContentLength"] == size
    assert (
        got["ChecksumCRC32"] == put["ChecksumCRC32"] == base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    )
    assert got["ServerSideEncryption"] == "AES256"


@pytest.mark.parametrize("size", [1000, 100_000])
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=-7", -7, -1),
        ("bytes=990-", 990, -1),
        ("bytes=5-999999999", 5, -1),
    ],
)
def test_ranges(s3, bucket, size, asked, first, last):
    body = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    first, last = first % size, last % size
    got = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert got["ContentRange"] == f"bytes {first}-{last}/{size}"
    assert got["Body"].read() == body[first : last + 1]


def test_a_range_behind_the_end_is_not_satisfiable(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"12345")
    assert refused("InvalidRange", s3.get_object, Bucket=bucket, Key="k", Range="bytes=5-9")["ActualObjectSize"] == "5"


def test_headers_metadata_and_tags_come_back(s3, bucket):
    kept = {
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentType": "text/plain; charset=utf-8",
    }
    expires = datetime.datetime(2030, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    s3.put_object(
        Bucket=bucket, Key="k", Body=b"x", Metadata={"Name": "wert"}, Tagging="a=1&b=%C3%BC", Expires=expires, **kept
    )
    head = s3.head_object(Bucket=bucket, Key="k")
    assert {name: head[name] for name in kept} == kept
    assert head["Metadata"] == {"name": "wert"}
    assert head["Expires"] == expires
    tags = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert tags == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "ü"}]
    told = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="x/y", ResponseCacheControl="no-store")
    assert (told["ContentType"], told["CacheControl"]) == ("x/y", "no-store")


def test_conditions_of_reads(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"x")["ETag"]
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    future = datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)
    s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=past)
    refused("304", s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)
    written = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    refused("304", s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=written)
    s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=future)  # a time that is still to come counts for nothing
    assert (
        refused("PreconditionFailed", s3.get_object, Bucket=bucket, Key="k", IfMatch='"no"')["Condition"] == "If-Match"
    )
    refused("PreconditionFailed", s3.get_object, Bucket=bucket, Key="k", IfUnmodifiedSince=past)


def test_conditions_of_writes(s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"other"')
    refused("NoSuchKey", s3.put_object, Bucket=bucket, Key="none", Body=b"2", IfMatch=etag)
    refused("NotImplemented", s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag)
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_each_checksum_is_computed_compared_and_kept(s3, bucket, algorithm):
    body = os.urandom(70_000)
    put = s3.put_object(Bucket=bucket, Key="k", Body=body, ChecksumAlgorithm=algorithm)
    member = f"Checksum{algorithm}"
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[member] == put[member]
    wrong = base64.b64encode(bytes(len(base64.b64decode(put[member])))).decode()
    refused("BadDigest", s3.put_object, Bucket=bucket, Key="k2", Body=body, **{member: wrong})
    refused("InvalidRequest", s3.put_object, Bucket=bucket, Key="k2", Body=body, **{member: "!"})
    refused("404", s3.head_object, Bucket=bucket, Key="k2")


def test_content_md5(s3, bucket):
    right = base64.b64encode(hashlib.md5(b"x").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=right)
    refused("BadDigest", s3.put_object, Bucket=bucket, Key="k", Body=b"y", ContentMD5=right)
    refused("InvalidDigest", s3.put_object, Bucket=bucket, Key="k", Body=b"y", ContentMD5="AAAA")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_limits(s3, bucket):
    s3.put_object(Bucket=bucket, Key="é" * 512, Body=b"")
    refused("KeyTooLongError", s3.put_object, Bucket=bucket, Key="é" * 512 + "x", Body=b"")
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "b" * 2047})
    refused("MetadataTooLarge", s3.put_object, Bucket=bucket, Key="k", Body=b"", Metadata={"a": "b" * 2048})
    refused(
        "BadRequest", s3.put_object, Bucket=bucket, Key="k", Body=b"", Tagging="&".join(f"k{i}=v" for i in range(11))
    )


@pytest.mark.parametrize(
    "more",
    [
        {"WriteOffsetBytes": 0},
    ],
)
def test_what_would_change_the_object_and_is_not_there_is_refused(s3, bucket, more):
    refused("NotImplemented", s3.put_object, Bucket=bucket, Key="k", Body=b"", **more)
    refused("404", s3.head_object, Bucket=bucket, Key="k")


def test_copies(s3, bucket):
    body = os.urandom(200_000)
    put = s3.put_object(Bucket=bucket, Key="ä b", Body=body, Metadata={"m": "1"}, Tagging="t=1")
    copy = s3.copy_object(Bucket=bucket, Key="2", CopySource={"Bucket": bucket, "Key": "ä b"})
    assert copy["CopyObjectResult"]["ETag"] == put["ETag"]
    s3.delete_object(Bucket=bucket, Key="ä b")
    got = s3.get_object(Bucket=bucket, Key="2")
    assert (got["Body"].read(), got["Metadata"], got["TagCount"]) == (body, {"m": "1"}, 1)
    source = f"{bucket}/2"
    refused("InvalidRequest", s3.copy_object, Bucket=bucket, Key="2", CopySource=source)
    s3.copy_object(
        Bucket=bucket,
        Key="2",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"n": "2"},
        TaggingDirective="REPLACE",
    )
    got = s3.get_object(Bucket=bucket, Key="2")
    assert (got["Body"].read(), got["Metadata"], "TagCount" in got) == (body, {"n": "2"}, False)
    refused("PreconditionFailed", s3.copy_object, Bucket=bucket, Key="3", CopySource=source, CopySourceIfMatch='"no"')
    refused("NoSuchKey", s3.copy_object, Bucket=bucket, Key="3", CopySource=f"{bucket}/none")


def test_encryption_where_it_is_asked_for_and_nowhere_else(chamber, s3, bucket):
    secret = b"words that must not lie on the disk " * 2000
    refused("ServerSideEncryptionConfigurationNotFoundError", s3.get_bucket_encryption, Bucket=bucket)
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
    for key, body in (("small", secret[:500]), ("large", secret)):
        assert s3.put_object(Bucket=bucket, Key=key, Body=body)["ServerSideEncryption"] == "AES256"
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == body
        assert s3.get_object(Bucket=bucket, Key=key, Range="bytes=33-77")["Body"].read() == body[33:78]
        s3.copy_object(Bucket=bucket, Key=f"{key} copy", CopySource=f"{bucket}/{key}")
        assert s3.get_object(Bucket=bucket, Key=f"{key} copy")["Body"].read() == body
    lying = [p for p in chamber.state.rglob("*") if p.is_file() and b"words that must not" in p.read_bytes()]
    assert not lying


def test_many_deletes_at_once_answer_for_each_key(s3, bucket, user):
    for key in ("mine/1", "mine/2", "theirs/1"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    arn = f"arn:aws:s3:::{bucket}"
    limited = user({"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"{arn}/mine/*"})
    asked = [{"Key": k} for k in ("mine/1", "mine/2", "mine/none", "theirs/1")]
    done = limited.delete_objects(Bucket=bucket, Delete={"Objects": asked})
    assert sorted(d["Key"] for d in done["Deleted"]) == ["mine/1", "mine/2", "mine/none"]
    assert [(e["Key"], e["Code"]) for e in done["Errors"]] == [("theirs/1", "AccessDenied")]
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["theirs/1"]


def test_each_of_many_deletes_meets_the_conditions_of_the_request(s3, bucket, user):
    s3.put_object(Bucket=bucket, Key="kept", Body=b"")
    insecure = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:DeleteObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [insecure]}))
    done = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "kept"}]})
    assert [e["Code"] for e in done["Errors"]] == ["AccessDenied"]
    s3.delete_bucket_policy(Bucket=bucket)
    statement = {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    local = user(statement | {"Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}})
    assert "Errors" not in local.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "kept"}]})


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(chamber, s3, bucket):
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "half"}))
    with socket.create_connection((url.hostname, url.port)) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: 5000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(2_000_000))
        ends = time.monotonic() + 20
        while not list((chamber.state / "s3" / "blobs" / "incoming").iterdir()):
            assert time.monotonic() < ends
            time.sleep(0.01)
    while list((chamber.state / "s3" / "blobs" / "incoming").iterdir()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    refused("404", s3.head_object, Bucket=bucket, Key="half")
    s3.put_object(Bucket=bucket, Key="half", Body=b"whole")


def put_with_trailer(chamber, bucket: str, body: bytes, crc: str) -> int:
    """PutObject as the JavaScript SDK sends a stream: unsigned chunks, the checksum behind them; the status."""
    access, _, secret = ROOT_KEY.partition(":")
    chunks = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    framed += f"0\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()
    headers = {
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-decoded-content-length": str(len(body)),
        "x-amz-trailer": "x-amz-checksum-crc32",
        "Content-Encoding": "aws-chunked",
    }
    request = AWSRequest("PUT", f"{chamber.endpoint}/{bucket}/trailer", headers=headers)
    SigV4Auth(Credentials(access, secret), "s3", "us-east-1").add_auth(request)
    sent = urllib.request.Request(request.url, framed, dict(request.headers), method="PUT")
    try:
        with urllib.request.urlopen(sent) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_checksum_behind_the_body_is_compared_before_anything_is_seen(chamber, s3, bucket):
    body = os.urandom(300_000)
    assert put_with_trailer(chamber, bucket, body, "AAAAAA==") == 400
    refused("404", s3.head_object, Bucket=bucket, Key="trailer")
    crc = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    assert put_with_trailer(chamber, bucket, body, crc) == 200
    got = s3.get_object(Bucket=bucket, Key="trailer", ChecksumMode="ENABLED")
    assert (got["Body"].read(), got["ChecksumCRC32"], got.get("ContentEncoding")) == (body, crc, None)


@pytest.mark.parametrize("key", ["_cloudchamber/index.html", "_localstack/health", "plain"])
def test_a_bucket_in_the_host_may_have_keys_like_our_own_paths(chamber, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"mine")
    port = chamber.endpoint.rpartition(":")[2]
    config = Config(signature_version="s3v4", s3={"addressing_style": "virtual"})
    session = chamber.session()
    local = session.client("s3", endpoint_url=f"http://localhost:{port}", config=config)
    url = urllib.parse.urlsplit(local.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}))
    assert url.hostname == f"{bucket}.localhost"
    connection = http.client.HTTPConnection("127.0.0.1", int(port))
    connection.request("GET", f"{url.path}?{url.query}", headers={"Host": url.netloc})
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"mine")
    connection.close()
