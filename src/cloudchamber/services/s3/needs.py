# SPDX-License-Identifier: Apache-2.0
"""Which permissions a request needs: pure, except that tags of existing objects are read.

Only those condition keys are said that AWS lists for the action. What the request carries is said at once; what must
be found out (how it was signed, tags of the object, the bucket's account) only if a policy asks for it.

Source: Service Authorization Reference, "Actions, resources, and condition keys for Amazon S3"; Amazon S3 API
Reference, section "Permissions" of each operation.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.accounts import canonical_id
from cloudchamber.contract.operation import Facts, Need
from cloudchamber.services.s3 import tables, versions
from cloudchamber.services.s3.errors import BucketAlreadyExists, NoSuchBucket
from cloudchamber.services.s3.facts import deletion_facts, object_facts
from cloudchamber.services.s3.names import (
    bucket_arn,
    copy_source,
    object_arn,
    source_version,
    tags_of_header,
    tags_of_set,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import ContextValue
    from cloudchamber.store.database import Reader

    Request = Mapping[str, Any]
    Needs = Callable[[Call, Request], Iterable[Need]]
    LookedUp = tuple[str, Callable[[], Mapping[str, ContextValue]]]

_NONE: Mapping[str, ContextValue] = MappingProxyType({})
_AUTH_TYPES = {"header": "REST-HEADER", "query": "REST-QUERY-STRING"}
_GRANTS = {
    "ACL": "s3:x-amz-acl",
    "GrantFullControl": "s3:x-amz-grant-full-control",
    "GrantRead": "s3:x-amz-grant-read",
    "GrantReadACP": "s3:x-amz-grant-read-acp",
    "GrantWrite": "s3:x-amz-grant-write",
    "GrantWriteACP": "s3:x-amz-grant-write-acp",
}
_LOCKS = {
    "ObjectLockMode": "s3:object-lock-mode",
    "ObjectLockRetainUntilDate": "s3:object-lock-retain-until-date",
    "ObjectLockLegalHoldStatus": "s3:object-lock-legal-hold",
}
_UNTIL = "s3:object-lock-retain-until-date"
_WRITE = {
    **_GRANTS,
    **_LOCKS,
    "CopySource": "s3:x-amz-copy-source",
    "MetadataDirective": "s3:x-amz-metadata-directive",
    "ServerSideEncryption": "s3:x-amz-server-side-encryption",
    "SSEKMSKeyId": "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "SSECustomerAlgorithm": "s3:x-amz-server-side-encryption-customer-algorithm",
    "StorageClass": "s3:x-amz-storage-class",
    "WebsiteRedirectLocation": "s3:x-amz-website-redirect-location",
    "IfMatch": "s3:if-match",
    "IfNoneMatch": "s3:if-none-match",
}
_LIST = {"Prefix": "s3:prefix", "Delimiter": "s3:delimiter", "MaxKeys": "s3:max-keys"}
_CREATE_BUCKET = {
    **_GRANTS,
    "ObjectOwnership": "s3:x-amz-object-ownership",
    "BucketNamespace": "s3:x-amz-bucket-namespace",
}
_MEMBERS: Mapping[str, Mapping[str, str]] = {
    "s3:PutObject": _WRITE,
    "s3:PutObjectAcl": _GRANTS,
    "s3:PutObjectVersionAcl": _GRANTS,
    "s3:PutBucketAcl": _GRANTS,
    "s3:CreateBucket": _CREATE_BUCKET,
    "s3:ListBucket": _LIST,
    "s3:ListBucketVersions": _LIST,
    "s3:DeleteObject": {"IfMatch": "s3:if-match"},
    "s3:PutObjectRetention": {
        **{n: _LOCKS[n] for n in ("ObjectLockMode", "ObjectLockRetainUntilDate")},
        "Mode": _LOCKS["ObjectLockMode"],
        "RetainUntilDate": _LOCKS["ObjectLockRetainUntilDate"],
    },
    "s3:PutObjectLegalHold": dict.fromkeys(
        ("ObjectLockLegalHoldStatus", "Status"), _LOCKS["ObjectLockLegalHoldStatus"]
    ),
}
"""Members of requests, and which condition key of the action each is."""
_TAGGED = frozenset(
    f"s3:{verb}Object{kind}"
    for verb, kinds in {
        "Get": ("", "Acl", "Attributes", "Tagging"),
        "Put": ("Acl", "Tagging"),
        "Delete": ("Tagging",),
    }.items()
    for name in kinds
    for kind in (name, f"Version{name}")
)
"""Actions for which the tags of the existing object count."""
_OF_OBJECT = frozenset(
    f"s3:{verb}Object{kind}"
    for verb, kinds in {
        "Get": ("", "Acl", "Attributes", "Tagging", "Retention", "LegalHold"),
        "Put": ("Acl", "Tagging", "Retention", "LegalHold"),
        "Delete": ("Tagging",),
    }.items()
    for name in kinds
    for kind in (name, f"Version{name}")
)
"""Actions that the object's owner and ACL decide, where there are ACLs; of others, the bucket's decide."""
_READS = ("s3:GetObject", "s3:GetObjectVersion")


def context(action: str, request: Request) -> Mapping[str, ContextValue]:
    """The action's condition keys that stand in the request."""
    members = _MEMBERS.get(action)
    if members is None:
        return _NONE
    return {members[name]: _text(value) for name, value in request.items() if name in members}


def _text(value: Any) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else str(value)


def _need(
    call: Call, action: str, bucket: str, key: str | None = None, said: Mapping[str, ContextValue] = _NONE
) -> Need:
    """One need, with the keys that are looked up only if a policy asks for one of them.

    Raises:
        NoSuchBucket: nobody in particular asks for a bucket that is not there; no policy could let them in.
    """
    if call.principal.kind == "anonymous" and bucket and _account_of(call, bucket) is None:
        raise NoSuchBucket(BucketName=bucket)

    look = "s3:", partial(_look, call, action, bucket, key, said)
    where = "*" if not bucket else bucket_arn(bucket) if key is None else object_arn(bucket, key)
    if key is not None and action in _OF_OBJECT:
        version = str(said.get("s3:VersionId", "")) if said else ""
        own = partial(object_facts, call.doors, bucket, key, version)
        instead = partial(_listing, call, bucket, key, version) if action in _READS else None
        return Need(action, where, said, look, own, instead)
    if key is not None and action == "s3:DeleteObject":
        return Need(action, where, said, look, partial(deletion_facts, call.doors, bucket, key))
    return Need(action, where, said, look)


def _look(
    call: Call, action: str, bucket: str, key: str | None, said: Mapping[str, ContextValue]
) -> Mapping[str, ContextValue]:
    """The keys of a need that must be found out."""
    keys = signature(call)
    if _UNTIL in said:
        left = datetime.fromisoformat(str(said[_UNTIL])) - call.now
        keys["s3:object-lock-remaining-retention-days"] = str(max(0, -(-left // timedelta(days=1))))
    if bucket:
        account = _account_of(call, bucket)
        if account is not None:
            keys["s3:ResourceAccount"] = account
    if key is not None and action in _TAGGED:
        keys |= existing(call, bucket, key, str(said.get("s3:VersionId", "")))
    return keys


def _listing(call: Call, bucket: str, key: str, version: str) -> Need | None:
    """To list the bucket, for a key, or a version of it, that is not there.

    Source: Amazon S3 API Reference, HeadObject, "Permissions". That `s3:prefix` is the key is what ceph/s3-tests and
    kopia saw on S3.
    """

    def look(db: Reader) -> tables.Object | None:
        return versions.find(db, bucket, key, version) if version else tables.find_object(db, bucket, key)

    if call.doors.database.read(look) is not None:
        return None
    return _need(call, "s3:ListBucket", bucket, None, {"s3:prefix": key})


def _account_of(call: Call, bucket: str) -> str | None:
    sql = "SELECT account FROM s3_buckets WHERE name = ?"
    row = call.doors.database.peek(lambda db: db.execute(sql, (bucket,)).fetchone())
    return None if row is None else str(row[0])


def signature(call: Call) -> dict[str, ContextValue]:
    """How a request was signed. Source: Amazon S3 API Reference, "Authentication-specific policy keys"."""
    keys: dict[str, ContextValue] = {}
    if call.headers is None:
        return keys
    if call.signed_by:
        keys["s3:authType"] = _AUTH_TYPES.get(call.signed_by, "POST")
    if call.algorithm:
        keys["s3:signatureversion"] = call.algorithm
    if call.signed_at is not None:
        keys["s3:signatureAge"] = str(max(0, int((call.now - call.signed_at).total_seconds() * 1000)))
    sha = call.headers.get("x-amz-content-sha256")
    if sha:
        keys["s3:x-amz-content-sha256"] = sha
    return keys


def existing(call: Call, bucket: str, key: str, version: str = "") -> dict[str, ContextValue]:
    """`s3:ExistingObjectTag/...` of an object, or of a version of it; nothing if there is none."""
    look = tables.object_tags if not version else partial(versions.tags_of, version=version)
    tags = call.doors.database.peek(lambda db: look(db, bucket, key))
    return {f"s3:ExistingObjectTag/{name}": value for name, value in tags.items()}


def on_bucket(action: str) -> Needs:
    """One action on the bucket."""

    def needs(call: Call, request: Request) -> Iterable[Need]:
        return (_need(call, action, request["Bucket"], None, context(action, request)),)

    return needs


def on_object(*actions: str) -> Needs:
    """Actions on an object; on one version of it, if the request names one, under the version's own actions."""

    first = actions[0]

    def needs(call: Call, request: Request) -> Iterable[Need]:
        if "VersionId" in request:
            return [_on_version(call, action, request) for action in actions]
        if len(actions) == 1:
            return (_need(call, first, request["Bucket"], request["Key"], context(first, request)),)
        return [_need(call, one, request["Bucket"], request["Key"], context(one, request)) for one in actions]

    return needs


def _on_version(call: Call, action: str, request: Request) -> Need:
    action = action.replace("Object", "ObjectVersion", 1)
    keys = {**context(action, request), "s3:VersionId": str(request["VersionId"])}
    return _need(call, action, request["Bucket"], request["Key"], keys)


def restore_object(call: Call, request: Request) -> Iterable[Need]:
    """RestoreObject: one action, whether a version is named or not."""
    yield _need(call, "s3:RestoreObject", request["Bucket"], request["Key"])


def delete_object(call: Call, request: Request) -> Iterable[Need]:
    """DeleteObject, or DeleteObjectVersion; and to bypass governance mode, where that is asked."""
    yield from on_object("s3:DeleteObject")(call, request)
    if request.get("BypassGovernanceRetention"):
        yield _need(call, "s3:BypassGovernanceRetention", request["Bucket"], request["Key"])


def _of_lock(call: Call, action: str, request: Request) -> Need:
    """An action of Object Lock: versions have no actions of their own."""
    return _need(call, action, request["Bucket"], request["Key"], context(action, request))


def of_lock(action: str) -> Needs:
    """Reading a version's lock."""
    return lambda call, request: (_of_lock(call, action, request),)


def put_object_retention(call: Call, request: Request) -> Iterable[Need]:
    """What is set counts; and to bypass governance mode is an action of its own."""
    need = _of_lock(call, "s3:PutObjectRetention", request)
    yield replace(need, context={**need.context, **context("s3:PutObjectRetention", request.get("Retention") or {})})
    if request.get("BypassGovernanceRetention"):
        yield _need(call, "s3:BypassGovernanceRetention", request["Bucket"], request["Key"])


def put_object_legal_hold(call: Call, request: Request) -> Iterable[Need]:
    """What is set counts."""
    need = _of_lock(call, "s3:PutObjectLegalHold", request)
    yield replace(need, context={**need.context, **context("s3:PutObjectLegalHold", request.get("LegalHold") or {})})


def put_bucket_replication(call: Call, request: Request) -> Iterable[Need]:
    """The configuration, and to hand the role to S3."""
    yield _need(call, "s3:PutReplicationConfiguration", request["Bucket"])
    role = request["ReplicationConfiguration"].get("Role")
    if role:
        yield Need("iam:PassRole", role, {"iam:PassedToService": "s3.amazonaws.com"})


def of_upload(action: str) -> Needs:
    """An action on an upload, which whoever began it may do, too, as long as nothing denies it.

    Source: Amazon S3 User Guide, "Multipart upload API and permissions".
    """

    def needs(call: Call, request: Request) -> Iterable[Need]:
        bucket, key = request["Bucket"], request["Key"]
        sql = (
            "SELECT b.account, b.policy, u.initiator FROM s3_uploads u JOIN s3_buckets b ON b.name = u.bucket "
            "WHERE u.id = ? AND u.bucket = ? AND u.key = ?"
        )
        row = call.doors.database.peek(lambda db: db.execute(sql, (request["UploadId"], bucket, key)).fetchone())
        need = _need(call, action, bucket, key, context(action, request))
        if row is None or row[2] != call.principal.arn or row[0] == call.principal.account:
            return (need,)
        return (replace(need, own=lambda: _facts_for(row[0], row[1], row[2], action, object_arn(bucket, key))),)

    return needs


def _facts_for(account: str, policy: str | None, arn: str, action: str, resource: str) -> Facts:
    """The bucket policy, and that somebody may."""
    body: dict[str, Any] = json.loads(policy) if policy else {"Version": "2012-10-17", "Statement": []}
    written: Any = body.get("Statement", [])
    found: list[Any] = [*written] if isinstance(written, list) else [written]
    found.append({"Effect": "Allow", "Principal": {"AWS": arn}, "Action": action, "Resource": resource})
    return Facts(account, json.dumps({**body, "Statement": found}), "bucket policy, and who began the upload")


def list_buckets(call: Call, request: Request) -> Iterable[Need]:
    """ListBuckets is about all buckets: policies write ``*`` or ``arn:aws:s3:::*``.

    Source: Amazon S3 User Guide, "Identity-based policy examples for Amazon S3", which write both.
    """
    return (replace(_need(call, "s3:ListAllMyBuckets", ""), resource=bucket_arn("*")),)


def create_bucket(call: Call, request: Request) -> Iterable[Need]:
    """CreateBucket, and what it sets besides."""
    bucket = request["Bucket"]
    taken = _account_of(call, bucket)
    if taken not in (None, call.account):  # Why: the policies of somebody else's bucket do not decide about a new one
        raise BucketAlreadyExists(BucketName=bucket)
    keys = dict(context("s3:CreateBucket", request))
    configuration: Mapping[str, Any] = request.get("CreateBucketConfiguration", {})
    if configuration.get("LocationConstraint"):
        keys["s3:LocationConstraint"] = configuration["LocationConstraint"]
    tags: dict[str, ContextValue] = {
        f"aws:RequestTag/{tag['Key']}": tag["Value"] for tag in configuration.get("Tags") or ()
    }
    if tags:
        tags["aws:TagKeys"] = tuple(tag["Key"] for tag in configuration["Tags"])
    yield _need(call, "s3:CreateBucket", bucket, None, keys | tags)
    if _grants(request):
        yield _need(call, "s3:PutBucketAcl", bucket, None, context("s3:PutBucketAcl", request))
    if "ObjectOwnership" in request:
        yield _need(call, "s3:PutBucketOwnershipControls", bucket)
    if request.get("ObjectLockEnabledForBucket"):
        yield _need(call, "s3:PutBucketObjectLockConfiguration", bucket)
        yield _need(call, "s3:PutBucketVersioning", bucket)
    if tags:
        yield _need(call, "s3:TagResource", bucket, None, tags)


def _grants(request: Request) -> bool:
    return any(name in _GRANTS for name in request)


def _to_owner(call: Call, request: Request) -> bool:
    """Whether a request grants full control to the bucket's owner, and nothing to anybody else: PutObject is enough.

    Source: Amazon S3 User Guide, "Policy examples for ACLs", "Granting s3:PutObject permission with a condition
    requiring the bucket owner to get full control".
    """
    said = {name: value for name, value in request.items() if name in _GRANTS}
    if said == {"ACL": "bucket-owner-full-control"}:
        return True
    owner = _account_of(call, request["Bucket"])
    return owner is not None and said == {"GrantFullControl": f"id={canonical_id(owner)}"}


def put_object(call: Call, request: Request) -> Iterable[Need]:
    """PutObject, and what it sets besides; also CreateMultipartUpload."""
    bucket, key = request["Bucket"], request["Key"]
    said = context("s3:PutObject", request)
    tags = _requested(tags_of_header(request["Tagging"])) if request.get("Tagging") else _NONE
    needs = [_need(call, "s3:PutObject", bucket, key, {**said, **tags} if tags else said)]
    if not said and not tags:
        return needs
    if tags:
        needs.append(_of_new(_need(call, "s3:PutObjectTagging", bucket, key, tags)))
    if _grants(request) and not _to_owner(call, request):
        needs.append(_of_new(_need(call, "s3:PutObjectAcl", bucket, key, context("s3:PutObjectAcl", request))))
    if "ObjectLockMode" in request or "ObjectLockRetainUntilDate" in request:
        held = _need(call, "s3:PutObjectRetention", bucket, key, context("s3:PutObjectRetention", request))
        needs.append(_of_new(held))
    if "ObjectLockLegalHoldStatus" in request:
        held = _need(call, "s3:PutObjectLegalHold", bucket, key, context("s3:PutObjectLegalHold", request))
        needs.append(_of_new(held))
    return needs


def _of_new(need: Need) -> Need:
    """A need about an object that is being written: what the one that it replaces says does not count."""
    return replace(need, own=None)


def _requested(tags: Mapping[str, str]) -> Mapping[str, ContextValue]:
    if not tags:
        return _NONE
    keys: dict[str, ContextValue] = {f"s3:RequestObjectTag/{name}": value for name, value in tags.items()}
    keys["s3:RequestObjectTagKeys"] = tuple(tags)
    return keys


def copy_object(call: Call, request: Request) -> Iterable[Need]:
    """Read the source, write the destination; tags that are copied are read and written too."""
    yield from _source(call, request)
    if request.get("TaggingDirective") == "REPLACE":
        yield from put_object(call, request)
        return
    yield from put_object(call, {name: value for name, value in request.items() if name != "Tagging"})
    bucket, key = copy_source(request["CopySource"])
    version = source_version(request["CopySource"])
    if existing(call, bucket, key, version):
        said: Mapping[str, ContextValue] = {"s3:VersionId": version} if version else _NONE
        yield _need(call, f"s3:Get{_object(request)}Tagging", bucket, key, said)
        yield _of_new(_need(call, "s3:PutObjectTagging", request["Bucket"], request["Key"]))


def upload_part_copy(call: Call, request: Request) -> Iterable[Need]:
    """Read the source, write the part."""
    yield from _source(call, request)
    yield from on_object("s3:PutObject")(call, request)


def _source(call: Call, request: Request) -> Iterable[Need]:
    bucket, key = copy_source(request["CopySource"])
    version = source_version(request["CopySource"])
    yield _need(call, f"s3:Get{_object(request)}", bucket, key, {"s3:VersionId": version} if version else _NONE)


def _object(request: Request) -> str:
    """What the source's actions are about: the object, or one version of it."""
    return "ObjectVersion" if source_version(request["CopySource"]) else "Object"


def put_object_tagging(call: Call, request: Request) -> Iterable[Need]:
    """Tags as they are and as they shall be count."""
    (need,) = on_object("s3:PutObjectTagging")(call, request)
    keys = _requested(tags_of_set(request["Tagging"]["TagSet"], 10))
    return (replace(need, context={**need.context, **keys}),)
