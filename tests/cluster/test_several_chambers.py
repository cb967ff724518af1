# SPDX-License-Identifier: Apache-2.0
"""Several chambers serve the same buckets: what one was told, the others know."""

from __future__ import annotations

import json
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from urllib.parse import unquote_plus

import pytest
from botocore.exceptions import ClientError

from cloudchamber.base.errors import ChamberError
from tests.conftest import end_chamber, new_chamber

SMALL, LARGE = 1000, 9 * 1024 * 1024


def code(call, **request) -> str:
    with pytest.raises(ClientError) as caught:
        call(**request)
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize("size", [0, SMALL, 20_000, LARGE])
def test_what_one_stores_the_other_gives(doors, bucket, size):
    one, other = doors
    body = os.urandom(size)
    told = one.put_object(Bucket=bucket, Key="a/b", Body=body, Metadata={"m": "v"}, Tagging="t=1")
    got = other.get_object(Bucket=bucket, Key="a/b")
    assert (got["Body"].read(), got["ETag"], got["Metadata"]) == (body, told["ETag"], {"m": "v"})
    if size:
        part = other.get_object(Bucket=bucket, Key="a/b", Range=f"bytes={size // 2}-{size // 2 + 9}")
        assert part["Body"].read() == body[size // 2 : size // 2 + 10]
    assert [o["Key"] for o in other.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="a/")["Contents"]] == ["a/b"]
    other.put_object(Bucket=bucket, Key="a/b", Body=b"anew")
    assert one.get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"anew"
    other.delete_object(Bucket=bucket, Key="a/b")
    assert code(one.get_object, Bucket=bucket, Key="a/b") == "NoSuchKey"
    assert "Contents" not in one.list_objects_v2(Bucket=bucket)


def test_a_read_that_follows_a_write_elsewhere_sees_it(doors, bucket):
    one, other = doors
    for number in range(100):
        writer, reader = (one, other) if number % 2 else (other, one)
        writer.put_object(Bucket=bucket, Key="same", Body=b"%d" % number)
        assert reader.get_object(Bucket=bucket, Key="same")["Body"].read() == b"%d" % number
        assert reader.head_object(Bucket=bucket, Key="same")["ContentLength"] == len(b"%d" % number)


def test_keys_are_listed_in_the_order_of_their_octets(doors, bucket):
    one, other = doors
    keys = ["A", "B", "a", "a b", "a\x00", "a\x01", "a\x01b", "a\x02", "b", "z", "ä", "€", "\U0001f600"]
    for key in keys:
        one.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert other.get_object(Bucket=bucket, Key="a\x00")["Body"].read() == b"a\0"
    told, token = [], {}
    while True:
        page = other.list_objects_v2(Bucket=bucket, MaxKeys=3, EncodingType="url", **token)
        told += [o["Key"] for o in page["Contents"]]
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert [unquote_plus(key) for key in told] == sorted(keys, key=str.encode)


def test_versions_grow_in_one_line(doors, bucket):
    one, other = doors
    one.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    made = [doors[n % 2].put_object(Bucket=bucket, Key="k", Body=b"%d" % n)["VersionId"] for n in range(6)]
    marker = other.delete_object(Bucket=bucket, Key="k")["VersionId"]
    assert code(one.get_object, Bucket=bucket, Key="k") == "NoSuchKey"
    found = one.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in found["Versions"]] == made[::-1]
    assert [v["VersionId"] for v in found["DeleteMarkers"]] == [marker]
    one.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    assert other.get_object(Bucket=bucket, Key="k")["Body"].read() == b"5"
    assert other.get_object(Bucket=bucket, Key="k", VersionId=made[2])["Body"].read() == b"2"


def test_an_upload_is_begun_here_and_completed_there(doors, bucket):
    one, other = doors
    upload = one.create_multipart_upload(Bucket=bucket, Key="whole", ContentType="text/x")["UploadId"]
    bodies = [os.urandom(n * 1024 * 1024) for n in (5, 6, 1)]
    parts = [
        {
            "PartNumber": n,
            "ETag": doors[n % 2].upload_part(Bucket=bucket, Key="whole", UploadId=upload, PartNumber=n, Body=b)["ETag"],
        }
        for n, b in enumerate(bodies, 1)
    ]
    listed = other.list_parts(Bucket=bucket, Key="whole", UploadId=upload)["Parts"]
    assert [p["Size"] for p in listed] == [len(b) for b in bodies]
    other.complete_multipart_upload(Bucket=bucket, Key="whole", UploadId=upload, MultipartUpload={"Parts": parts})
    got = one.get_object(Bucket=bucket, Key="whole")
    assert (got["Body"].read(), got["ContentType"]) == (b"".join(bodies), "text/x")
    assert one.get_object(Bucket=bucket, Key="whole", PartNumber=2)["Body"].read() == bodies[1]
    other.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/whole")
    one.delete_object(Bucket=bucket, Key="whole")
    assert one.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"".join(bodies)


def test_of_writes_that_race_exactly_one_wins(two, doors, bucket):
    def race(number: int) -> list[bool]:
        line = threading.Barrier(8)

        def put(worker: int) -> bool:
            client = two[worker % 2].client("s3")
            line.wait()
            try:
                client.put_object(Bucket=bucket, Key=f"race/{number}", Body=b"%d" % worker, IfNoneMatch="*")
            except ClientError as error:
                assert error.response["Error"]["Code"] == "PreconditionFailed"
                return False
            return True

        with ThreadPoolExecutor(8) as workers:
            return list(workers.map(put, range(8)))

    for number in range(5):
        won = race(number)
        assert sum(won) == 1
        for client in doors:
            assert client.get_object(Bucket=bucket, Key=f"race/{number}")["Body"].read() == b"%d" % won.index(True)


@pytest.mark.parametrize("which", [0, 1])
def test_rules_are_carried_out_whoever_leads(doors, bucket, which):
    doors[0].put_object(Bucket=bucket, Key="old", Body=b"")
    doors[1].put_object(Bucket=bucket, Key="kept", Body=b"")
    rule = {"Status": "Enabled", "Prefix": "old", "Expiration": {"Date": datetime(2015, 1, 1, tzinfo=UTC)}}
    doors[which].put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    doors[1 - which].get_waiter("object_not_exists").wait(
        Bucket=bucket, Key="old", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    assert [o["Key"] for o in doors[0].list_objects_v2(Bucket=bucket)["Contents"]] == ["kept"]


def test_copies_are_made_whoever_leads(two, doors, bucket):
    target = f"{bucket}-copy"
    doors[1].create_bucket(Bucket=target)
    for name in (bucket, target):
        doors[0].put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    trust = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam = two[0].client("iam")
    role = iam.create_role(
        RoleName=bucket[:60], AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": trust})
    )["Role"]["Arn"]
    everything = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}
    iam.put_role_policy(RoleName=bucket[:60], PolicyName="own", PolicyDocument=json.dumps(everything))
    rule = {
        "ID": "all", "Status": "Enabled", "Priority": 1, "Filter": {},
        "DeleteMarkerReplication": {"Status": "Disabled"}, "Destination": {"Bucket": f"arn:aws:s3:::{target}"},
    }  # fmt: skip
    doors[0].put_bucket_replication(Bucket=bucket, ReplicationConfiguration={"Role": role, "Rules": [rule]})
    for number, client in enumerate(doors):
        body = os.urandom(100_000)
        made = client.put_object(Bucket=bucket, Key=str(number), Body=body)["VersionId"]
        other = doors[1 - number]
        other.get_waiter("object_exists").wait(
            Bucket=target, Key=str(number), WaiterConfig={"Delay": 1, "MaxAttempts": 60}
        )
        got = other.get_object(Bucket=target, Key=str(number))
        assert (got["Body"].read(), got["VersionId"], got["ReplicationStatus"]) == (body, made, "REPLICA")


def test_users_and_keys_hold_everywhere(two, doors, bucket):
    iam = two[0].client("iam")
    name = f"user-{uuid.uuid4().hex[:12]}"
    iam.create_user(UserName=name.upper())
    key = iam.create_access_key(UserName=name)["AccessKey"]
    theirs = two[1].client("s3", f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    assert code(theirs.put_object, Bucket=bucket, Key="k", Body=b"") == "AccessDenied"
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": f"arn:aws:s3:::{bucket}/*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    two[1].client("iam").put_user_policy(UserName=name, PolicyName="own", PolicyDocument=document)
    theirs.put_object(Bucket=bucket, Key="k", Body=b"")
    session = two[0].client("sts").get_session_token()["Credentials"]
    known = f"{session['AccessKeyId']}:{session['SecretAccessKey']}"
    assert two[1].client("s3", known, session["SessionToken"]).get_object(Bucket=bucket, Key="k")["Body"].read() == b""


def test_what_one_encrypts_the_other_reads(two, doors, bucket):
    key = two[0].client("kms").create_key()["KeyMetadata"]["Arn"]
    for size in (SMALL, 100_000):
        body = os.urandom(size)
        doors[0].put_object(Bucket=bucket, Key="k", Body=body, ServerSideEncryption="aws:kms", SSEKMSKeyId=key)
        assert doors[1].get_object(Bucket=bucket, Key="k")["Body"].read() == body


def test_what_runs_on_one_machine_only_is_refused_by_name(two, doors, bucket):
    for service, ask in (("lambda", "list_functions"), ("ec2", "describe_instances"), ("rds", "describe_db_instances")):
        with pytest.raises(ClientError, match="runs on one machine only"):
            getattr(two[0].client(service), ask)()
    arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    wanted = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    assert (
        code(doors[0].put_bucket_notification_configuration, Bucket=bucket, NotificationConfiguration=wanted)
        == "NotImplemented"
    )


def test_another_secret_is_none(stand):
    wrong = new_chamber(**{**stand.settings, "CLOUDCHAMBER_CLUSTER_SECRET": "another secret, which is wrong"})
    with pytest.raises(AssertionError, match="under another secret"):
        wrong.start()


def test_the_place_of_blobs_is_read_or_refused():
    from cloudchamber.store.s3_client import Place

    place = Place.of("s3://b/a/c/?endpoint=http://h:1&region=eu-west-1", "key", "secret-of-mine")
    assert (place.bucket, place.prefix, place.region, place.endpoint) == ("b", "a/c/", "eu-west-1", "http://h:1")
    assert "secret-of-mine" not in repr(place)
    for url in ("s3://b", "http://b?endpoint=http://h", "s3://?endpoint=http://h", "s3://b?endpoint=h&x=1"):
        with pytest.raises(ChamberError):
            Place.of(url, "key", "secret")


def test_the_blobs_of_another_database_are_left_alone(stand):
    import psycopg

    with psycopg.connect(stand.postgres.url, autocommit=True) as made:
        made.execute("CREATE DATABASE another")
    another = stand.postgres.url.rpartition("/")[0] + "/another"
    wrong = new_chamber(**{**stand.settings, "CLOUDCHAMBER_DATABASE": another})
    with pytest.raises(AssertionError, match="are another database's"):
        wrong.start()


def test_only_chambers_that_share_listen_elsewhere(stand):
    alone = new_chamber(CLOUDCHAMBER_LISTEN="127.0.0.2")
    with pytest.raises(AssertionError, match="on its own answers on"):
        alone.start()
    more = new_chamber(**stand.settings, CLOUDCHAMBER_LISTEN="127.0.0.2")
    more.start()
    try:
        more.about["endpoint"] = f"http://127.0.0.2:{more.port}"
        assert more.client("s3").list_buckets()["Owner"]
    finally:
        more.about["endpoint"] = f"http://127.0.0.1:{more.port}"
        end_chamber(more)


def test_a_scrub_names_what_the_store_lost_or_changed(stand, two, doors, bucket):
    from cloudchamber.base.clock import SystemClock
    from cloudchamber.store.s3_client import Place, Store

    place = Place.of(stand.settings["CLOUDCHAMBER_BLOBS"], *stand.settings["CLOUDCHAMBER_BLOBS_KEY"].split(":"))
    store = Store(place, SystemClock())
    names = {one.name for page in store.pages() for one in page}
    for key in ("lost", "changed", "whole"):
        doors[0].put_object(Bucket=bucket, Key=key, Body=os.urandom(50_000))
        (made,) = {one.name for page in store.pages() for one in page} - names
        names.add(made)
        if key == "lost":
            store.remove(made)
        elif key == "changed":
            store.put(made, os.urandom(50_000))
    assert code(doors[1].get_object, Bucket=bucket, Key="lost") == "InternalError"
    done = two[1].cli("scrub", bucket, check=False)
    told = done.stdout + done.stderr + two[1].log[-3000:]
    assert f"{bucket}/lost" in told and f"{bucket}/changed" in told, told
    for key in ("lost", "changed"):
        assert code(doors[0].get_object, Bucket=bucket, Key=key) == "InternalError"
    assert len(doors[0].get_object(Bucket=bucket, Key="whole")["Body"].read()) == 50_000
