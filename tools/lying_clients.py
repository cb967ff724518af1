# SPDX-License-Identifier: Apache-2.0
"""Clients of S3 that remember what they were told, and when."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PART = 5 * 1024 * 1024


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
        self.now: dict[str, Any] = {}
        self.said: list[Said] = []
        self.uploads: list[tuple[str, str]] = []

    def change(self, what: str, call: Callable[[], Any], after: Callable[[Any], tuple[str, str] | None]) -> Any:
        """One change; `after` writes into `now` what must be there once it was answered."""
        sent_s = time.monotonic()
        answer = call()
        answered_s = time.monotonic()
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
        nobody = "arn:aws:lambda:us-east-1:000000000000:function:nobody"
        wanted = {"LambdaFunctionArn": nobody, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
        self.s3.put_bucket_notification_configuration(
            Bucket=self.kept,
            NotificationConfiguration={"LambdaFunctionConfigurations": [wanted]},
            SkipDestinationValidation=True,
        )

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
        )  # fmt: skip
        self.luck.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()

    def body(self) -> bytes:
        """Octets of all the sizes that are kept differently."""
        return self.luck.randbytes(self.luck.choice((0, 10, 5_000, 16_384, 16_385, 70_000, 700_000)))

    def object(self, versioned: bool) -> tuple[str, str] | None:
        """An object that is there: its key and version."""
        bucket = self.kept if versioned else self.plain
        found = [p.split(" ")[2:4] for p, v in self.now.items() if p.startswith(f"object {bucket} ") and v["etag"]]
        key, version = self.luck.choice(found) if found else ("", "")
        return (key, version) if key else None

    def _stored(self, bucket: str, key: str, event: str, etag: str, version: str, tags: Any) -> tuple[str, str] | None:
        version = version or "null"
        self.now[f"object {bucket} {key} {version}"] = {"etag": etag.strip('"'), "tags": tags}
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
        )

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
            self.now[f"object {bucket} {found[0]} {answer['VersionId']}"] = {"etag": "", "tags": {}}
            return "ObjectRemoved:DeleteMarkerCreated", answer["VersionId"]

        self.change(f"delete {bucket} {found[0]}", lambda: self.s3.delete_object(Bucket=bucket, Key=found[0]), after)

    def remove(self) -> None:
        """Delete a version for good."""
        found = self.object(versioned=True)
        if found is None:
            return
        key, version = found

        def after(_: Any) -> tuple[str, str]:
            del self.now[f"object {self.kept} {key} {version}"]
            return "ObjectRemoved:Delete", version

        self.change(f"remove {key}", lambda: self.s3.delete_object(Bucket=self.kept, Key=key, VersionId=version), after)

    def many(self) -> None:
        """Delete several in one request."""
        found = {found[0] for found in (self.object(versioned=False) for _ in range(3)) if found is not None}
        if not found:
            return

        def after(_: Any) -> None:
            for key in found:
                del self.now[f"object {self.plain} {key} null"]

        asked = {"Objects": [{"Key": key} for key in found]}
        self.change("delete several", lambda: self.s3.delete_objects(Bucket=self.plain, Delete=asked), after)

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
        )

    def bucket_tags(self) -> None:
        """Set the tags of a bucket."""
        value = str(self.luck.random())
        asked = {"TagSet": [{"Key": "t", "Value": value}]}
        self.change(
            "bucket tags",
            lambda: self.s3.put_bucket_tagging(Bucket=self.plain, Tagging=asked),
            self._set("tags", self.plain, value),
        )

    def bucket(self) -> None:
        """Make another bucket, or remove it."""
        name = f"{self.plain}-more"
        if f"bucket {name}" not in self.now:
            self.change("bucket", lambda: self.s3.create_bucket(Bucket=name), self._set("bucket", name, ""))
            return

        def after(_: Any) -> None:
            del self.now[f"bucket {name}"]

        self.change("no bucket", lambda: self.s3.delete_bucket(Bucket=name), after)

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
            self.change("part", lambda named=named, body=body: self.s3.upload_part(**named, Body=body), came)
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
        )

    def _forget(self, upload: str) -> None:
        for place in [place for place in self.now if place.startswith(f"part {upload} ")]:
            del self.now[place]
