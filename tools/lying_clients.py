# SPDX-License-Identifier: Apache-2.0
"""Clients of S3 that remember what they were told, and when."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PART = 5 * 1024 * 1024
COPYING = (
    "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging", "s3:ReplicateObject", "s3:ReplicateTags",
)  # fmt: skip
NOBODY = "arn:aws:lambda:us-east-1:000000000000:function:nobody"


@dataclass(slots=True)
class Said:
    """One change by a client: when it was sent and answered, and all that must be there afterwards."""

    what: str
    sent_s: float
    answered_s: float
    after: dict[str, Any]
    event: tuple[str, str] | None = None


class Worker:
    """One client with buckets of its own: one with versions, one without. It does one thing after the other."""

    def __init__(self, s3: Any, number: int, seed: int) -> None:
        self.s3 = s3
        self.luck = random.Random(seed * 1000 + number)
        self.plain, self.kept = f"plain{number}", f"kept{number}"
        self.copies, self.aged = f"copies{number}", f"aged{number}"
        self.now: dict[str, Any] = {}
        self.said: list[Said] = []
        self.uploads: list[tuple[str, str]] = []
        self.began_s = 0.0
        self.unsure: tuple[str, ...] = ()
        """Beginnings of places that a change which was not answered may have changed."""

    def began(self) -> None:
        """What is said from now on was said by the chamber that runs now."""
        self.began_s = time.monotonic()
        self.unsure = ()

    def change(
        self, what: str, call: Callable[[], Any], after: Callable[[Any], tuple[str, str] | None], *touched: str
    ) -> Any:
        """One change; `after` writes into `now` what must be there once it was answered. `touched`: where."""
        sent_s = time.monotonic()
        self.unsure = touched
        answer = call()
        answered_s = time.monotonic()
        self.unsure = ()
        event = after(answer)
        self.said.append(Said(what, sent_s, answered_s, dict(self.now), event))
        return answer

    def begin(self) -> None:
        """Make the buckets."""
        for bucket in (self.plain, self.kept):
            self.change("bucket", lambda b=bucket: self.s3.create_bucket(Bucket=b), self._set("bucket", bucket, ""))
        on = {"Status": "Enabled"}
        self.change(
            "versioning",
            lambda: self.s3.put_bucket_versioning(Bucket=self.kept, VersioningConfiguration=on),
            self._set("bucket", self.kept, "Enabled"),
        )
        for bucket in (self.copies, self.aged):
            self.s3.create_bucket(Bucket=bucket)
            self.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=on)
        for bucket, events in (
            (self.kept, ["s3:ObjectCreated:*", "s3:ObjectRemoved:*", "s3:ObjectRestore:*"]),
            (self.aged, ["s3:LifecycleExpiration:*"]),
        ):
            wanted = {"LambdaFunctionConfigurations": [{"LambdaFunctionArn": NOBODY, "Events": events}]}
            self.s3.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration=wanted, SkipDestinationValidation=True
            )

    def replicate(self, iam: Any) -> None:
        """Let the bucket with versions be copied."""
        name = f"copying-{self.copies}"
        trust = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}
        let = {"Effect": "Allow", "Action": COPYING, "Resource": "*"}
        said = {"Version": "2012-10-17"}
        role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({**said, "Statement": trust}))
        iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps({**said, "Statement": let}))
        rule = {
            "Status": "Enabled", "Priority": 1, "Filter": {}, "DeleteMarkerReplication": {"Status": "Disabled"},
            "Destination": {"Bucket": f"arn:aws:s3:::{self.copies}"},
        }  # fmt: skip
        wanted = {"Role": role["Role"]["Arn"], "Rules": [rule]}
        self.s3.put_bucket_replication(Bucket=self.kept, ReplicationConfiguration=wanted)

    def _set(self, *place_and_value: str) -> Callable[[Any], None]:
        *place, value = place_and_value

        def after(_: Any) -> None:
            self.now[" ".join(place)] = value

        return after

    def step(self) -> None:
        """Something at random."""
        steps: tuple[tuple[int, Callable[[], None]], ...] = (
            (30, self.put), (10, self.copy), (10, self.delete), (8, self.remove), (8, self.tag), (4, self.rules),
            (4, self.bucket_tags), (4, self.upload), (3, self.many), (3, self.bucket), (3, self.abort),
            (4, self.restore), (3, self.age),
        )  # fmt: skip
        self.luck.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()

    def body(self) -> bytes:
        """Octets of all the sizes that are kept differently."""
        return self.luck.randbytes(self.luck.choice((0, 10, 5_000, 16_384, 16_385, 70_000, 700_000)))

    def object(self, versioned: bool) -> tuple[str, str] | None:
        """An object that is there: its key and version."""
        bucket = self.kept if versioned else self.plain
        found = [
            place.split(" ")[2:4]
            for place, told in self.now.items()
            if place.startswith(f"object {bucket} ") and told["etag"] and not place.startswith(f"object {bucket} g")
        ]
        key, version = self.luck.choice(found) if found else ("", "")
        return (key, version) if key else None

    def _stored(self, bucket: str, key: str, event: str, etag: str, version: str, tags: Any) -> tuple[str, str] | None:
        version = version or "null"
        self.now[f"object {bucket} {key} {version}"] = {"etag": etag.strip('"'), "tags": tags, "restored": False}
        return (f"ObjectCreated:{event}", version) if bucket == self.kept else None

    def put(self) -> None:
        """Put an object."""
        bucket, key, body = self.luck.choice((self.plain, self.kept)), f"k{self.luck.randrange(6)}", self.body()
        tags = self.luck.choice(({}, {"a": str(self.luck.random())}))
        given = {"Tagging": "&".join(f"{n}={v}" for n, v in tags.items())} if tags else {}
        self.change(
            f"put {bucket} {key}",
            lambda: self.s3.put_object(Bucket=bucket, Key=key, Body=body, **given),
            lambda answer: self._stored(bucket, key, "Put", answer["ETag"], answer.get("VersionId", ""), tags),
            f"object {bucket} {key} ",
        )

    def restore(self) -> None:
        """Archive an object, and order it back."""
        key = f"g{self.luck.randrange(3)}"
        body, touched = self.body(), f"object {self.kept} {key} "
        version = self.change(
            f"archive {key}",
            lambda: self.s3.put_object(Bucket=self.kept, Key=key, Body=body, StorageClass="GLACIER"),
            lambda answer: self._stored(self.kept, key, "Put", answer["ETag"], answer["VersionId"], {}),
            touched,
        )["VersionId"]

        def restored(_: Any) -> tuple[str, str]:
            self.now[touched + version] = {**self.now[touched + version], "restored": True}
            return "ObjectRestore:Post", version

        named = {"Bucket": self.kept, "Key": key, "VersionId": version}
        self.change(
            f"restore {key}", lambda: self.s3.restore_object(**named, RestoreRequest={"Days": 3}), restored, touched
        )

    def age(self) -> None:
        """Store something that a lifecycle rule ends; when, nobody says."""
        self.s3.put_object(Bucket=self.aged, Key=f"a{self.luck.randrange(3)}", Body=self.body())
        over = datetime(2015, 1, 1, tzinfo=UTC)
        rule = {"Status": "Enabled", "Filter": {"Prefix": "a"}, "Expiration": {"Date": over}}
        self.s3.put_bucket_lifecycle_configuration(Bucket=self.aged, LifecycleConfiguration={"Rules": [rule]})

    def copy(self) -> None:
        """Copy one."""
        found = self.object(versioned=True)
        if found is None:
            return
        source = {"Bucket": self.kept, "Key": found[0], "VersionId": found[1]}
        bucket, key = self.luck.choice((self.plain, self.kept)), f"c{self.luck.randrange(3)}"
        tags = self.now[f"object {self.kept} {found[0]} {found[1]}"]["tags"]
        self.change(
            f"copy to {bucket} {key}",
            lambda: self.s3.copy_object(Bucket=bucket, Key=key, CopySource=source),
            lambda answer: self._stored(
                bucket, key, "Copy", answer["CopyObjectResult"]["ETag"], answer.get("VersionId", ""), tags
            ),
            f"object {bucket} {key} ",
        )

    def delete(self) -> None:
        """Delete an object; in the bucket with versions: put a marker."""
        bucket = self.luck.choice((self.plain, self.kept))
        found = self.object(versioned=bucket == self.kept)
        if found is None:
            return

        def after(answer: Any) -> tuple[str, str] | None:
            if bucket == self.plain:
                del self.now[f"object {bucket} {found[0]} null"]
                return None
            place = f"object {bucket} {found[0]} {answer['VersionId']}"
            self.now[place] = {"etag": "", "tags": {}, "restored": False}
            return "ObjectRemoved:DeleteMarkerCreated", answer["VersionId"]

        call = partial(self.s3.delete_object, Bucket=bucket, Key=found[0])
        self.change(f"delete {bucket} {found[0]}", call, after, f"object {bucket} {found[0]} ")

    def remove(self) -> None:
        """Delete a version for good."""
        found = self.object(versioned=True)
        if found is None:
            return
        key, version = found

        def after(_: Any) -> tuple[str, str]:
            del self.now[f"object {self.kept} {key} {version}"]
            return "ObjectRemoved:Delete", version

        call = partial(self.s3.delete_object, Bucket=self.kept, Key=key, VersionId=version)
        self.change(f"remove {key}", call, after, f"object {self.kept} {key} ")

    def many(self) -> None:
        """Delete several in one request."""
        found = {found[0] for found in (self.object(versioned=False) for _ in range(3)) if found is not None}
        if not found:
            return

        def after(_: Any) -> None:
            for key in found:
                del self.now[f"object {self.plain} {key} null"]

        asked = {"Objects": [{"Key": key} for key in found]}
        touched = [f"object {self.plain} {key} " for key in found]
        self.change("delete several", lambda: self.s3.delete_objects(Bucket=self.plain, Delete=asked), after, *touched)

    def tag(self) -> None:
        """Set the tags of an object."""
        found = self.object(versioned=True)
        if found is None:
            return
        key, version = found
        tags = {"t": str(self.luck.random())}

        def after(_: Any) -> None:
            place = f"object {self.kept} {key} {version}"
            self.now[place] = {**self.now[place], "tags": tags}

        asked = {"TagSet": [{"Key": n, "Value": v} for n, v in tags.items()]}
        self.change(
            f"tag {key}",
            lambda: self.s3.put_object_tagging(Bucket=self.kept, Key=key, VersionId=version, Tagging=asked),
            after,
            f"object {self.kept} {key} ",
        )

    def rules(self) -> None:
        """Set lifecycle rules, which end nothing yet."""
        name = f"r{self.luck.random()}"
        rule = {"ID": name, "Status": "Enabled", "Filter": {"Prefix": "none/"}, "Expiration": {"Days": 3650}}
        self.change(
            "rules",
            lambda: self.s3.put_bucket_lifecycle_configuration(
                Bucket=self.plain, LifecycleConfiguration={"Rules": [rule]}
            ),
            self._set("rules", self.plain, name),
            f"rules {self.plain}",
        )

    def bucket_tags(self) -> None:
        """Set the tags of a bucket."""
        value = str(self.luck.random())
        asked = {"TagSet": [{"Key": "t", "Value": value}]}
        self.change(
            "bucket tags",
            lambda: self.s3.put_bucket_tagging(Bucket=self.plain, Tagging=asked),
            self._set("tags", self.plain, value),
            f"tags {self.plain}",
        )

    def bucket(self) -> None:
        """Make another bucket, or remove it."""
        name = f"{self.plain}-more"
        if f"bucket {name}" not in self.now:
            made = self._set("bucket", name, "")
            self.change("bucket", lambda: self.s3.create_bucket(Bucket=name), made, f"bucket {name}")
            return

        def after(_: Any) -> None:
            del self.now[f"bucket {name}"]

        self.change("no bucket", lambda: self.s3.delete_bucket(Bucket=name), after, f"bucket {name}")

    def upload(self) -> None:
        """Upload in one part or two."""
        bucket, key = self.luck.choice((self.plain, self.kept)), f"m{self.luck.randrange(2)}"
        upload = self.s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        bodies = [self.luck.randbytes(PART)] * self.luck.randrange(2) + [self.luck.randbytes(60_000)]
        parts: list[dict[str, Any]] = []
        for number, body in enumerate(bodies, 1):

            def came(answer: Any, number: int = number) -> None:
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
                self.now[f"part {upload} {number}"] = answer["ETag"].strip('"')

            named = {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": number}
            sent = partial(self.s3.upload_part, **named, Body=body)
            self.change("part", sent, came, f"part {upload} ")
        if self.luck.random() < 0.2:
            self.uploads.append((upload, f"{bucket} {key}"))
            return

        def after(answer: Any) -> tuple[str, str] | None:
            self._forget(upload)
            version = answer.get("VersionId", "")
            return self._stored(bucket, key, "CompleteMultipartUpload", answer["ETag"], version, {})

        self.change(
            f"complete {bucket} {key}",
            lambda: self.s3.complete_multipart_upload(
                Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}
            ),
            after,
            f"object {bucket} {key} ",
            f"part {upload} ",
        )

    def abort(self) -> None:
        """Give an upload up."""
        if not self.uploads:
            return
        upload, where = self.uploads.pop()
        bucket, key = where.split(" ")
        self.change(
            "abort",
            lambda: self.s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload),
            lambda _: self._forget(upload),
            f"part {upload} ",
        )

    def _forget(self, upload: str) -> None:
        for place in [place for place in self.now if place.startswith(f"part {upload} ")]:
            del self.now[place]
