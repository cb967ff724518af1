# SPDX-License-Identifier: Apache-2.0
"""What S3 says of a bucket or an object to whoever decides: its owner, the bucket policy in force, and its ACL.

An ACL is said as what it is: statements that allow, beside the bucket policy. While the bucket owner is enforced there
are none, and an object's facts are its bucket's; with ACLs each object has its own.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Facts
from cloudchamber.services.s3 import acl, tables, versions
from cloudchamber.services.s3.bucket_policy import restricted
from cloudchamber.services.s3.names import split_arn

if TYPE_CHECKING:
    from cloudchamber.contract.call import Doors
    from cloudchamber.store.database import Reader

_IGNORED, _RESTRICTED = '"IgnorePublicAcls": true', '"RestrictPublicBuckets": true'
_TAGS = [f"s3:{verb}Object{version}Tagging" for verb in ("Get", "Put", "Delete") for version in ("", "Version")]
_SELECT = (
    "SELECT account, policy, coalesce(public_access_block, '') || "
    "coalesce((SELECT block FROM s3_accounts WHERE s3_accounts.account = b.account), ''), ownership, "
    "(SELECT value FROM s3_settings WHERE bucket = b.name AND name = 'acl') FROM s3_buckets b WHERE name = ?"
)


def facts(doors: Doors, arn: str) -> Facts | None:
    """Owner, bucket policy, and the bucket's ACL.

    Source: Amazon S3 User Guide, "Bucket policies", "Block public access settings", "How Amazon S3 authorizes a
    request".
    """
    bucket, _ = split_arn(arn)
    row = doors.database.peek(lambda db: db.execute(_SELECT, (bucket,)).fetchone())
    if row is None:
        return None
    account, policy, block, ownership, kept = row
    policy = _in_force(policy or "", block or "")
    if ownership == acl.ENFORCED:
        return Facts(account, policy, f"bucket policy of {bucket}" if policy else "")
    text = _joined(policy, kept or "", account, of_object=False, ignore=_IGNORED in (block or ""))
    return Facts(account, text, f"bucket policy and ACL of {bucket}", apart=True)


def object_facts(doors: Doors, bucket: str, key: str, version: str = "") -> Facts | None:
    """Of an object in a bucket with ACLs; None if there is no such object.

    The policy of a bucket grants nothing on objects of other owners, but what it denies, it denies on all of them; and
    tags are the bucket owner's, too. Source: Amazon S3 API Reference, GetObjectTagging: "By default, the bucket owner
    has this permission".
    """

    def look(db: Reader) -> tuple[Any, tables.Object | None]:
        return db.execute(_SELECT, (bucket,)).fetchone(), _find(db, bucket, key, version)

    row, found = doors.database.peek(look)
    if row is None or found is None:
        return None
    account, policy, block, _, _ = row
    kept = found.stored.get("acl")
    owner = kept["owner"] if kept else account
    text = _joined(
        _in_force(policy or "", block or ""),
        json.dumps(kept) if kept else "",
        owner,
        of_object=True,
        ignore=_IGNORED in (block or ""),
        host=account if owner != account else "",
    )
    return Facts(owner, text, f"bucket policy of {bucket} and ACL of the object")


def deletion_facts(doors: Doors, bucket: str, key: str) -> Facts | None:
    """Of a bucket with ACLs, for the deletion of an object: who may write may not delete what others own. None if there
    is no such object."""

    def look(db: Reader) -> tuple[Any, tables.Object | None]:
        return db.execute(_SELECT, (bucket,)).fetchone(), tables.find_object(db, bucket, key)

    row, found = doors.database.peek(look)
    if row is None or found is None:
        return None
    account, policy, block, _, kept = row
    owner = (found.stored.get("acl") or {"owner": account})["owner"]
    text = _for_deletion(
        _in_force(policy or "", block or ""), kept or "", account, owner, ignore=_IGNORED in (block or "")
    )
    return Facts(account, text, f"bucket policy and ACL of {bucket}")


@lru_cache(1024)
def _for_deletion(policy: str, kept: str, account: str, owner: str, *, ignore: bool) -> str:
    body, found = _statements(policy)
    made = acl.kept(json.loads(kept) if kept else None, account)
    found += acl.may_delete(made, owner, ignore_public=ignore)
    return json.dumps({**body, "Statement": found}) if found else ""


def _statements(policy: str) -> tuple[dict[str, Any], list[Any]]:
    """A policy, and its statements as a list."""
    body: dict[str, Any] = json.loads(policy) if policy else {"Version": "2012-10-17", "Statement": []}
    written: Any = body.get("Statement", [])
    return body, list(written) if isinstance(written, list) else [written]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] - JSON


def _find(db: Reader, bucket: str, key: str, version: str) -> tables.Object | None:
    """The object, or one version of it."""
    return versions.find(db, bucket, key, version) if version else tables.find_object(db, bucket, key)


def _in_force(policy: str, block: str) -> str:
    return restricted(policy) if policy and _RESTRICTED in block else policy


@lru_cache(1024)
def _joined(policy: str, kept: str, owner: str, *, of_object: bool, ignore: bool, host: str = "") -> str:
    """The bucket policy and an ACL as one policy. `host`: the bucket's owner, where the object is another's."""
    body, found = _statements(policy)
    if host:
        found = [one for one in found if one.get("Effect") == "Deny"]
        who = {"AWS": f"arn:aws:iam::{host}:root"}
        found.append({"Effect": "Allow", "Principal": who, "Action": _TAGS, "Resource": "*"})
    made = acl.kept(json.loads(kept) if kept else None, owner)
    found += acl.statements(made, of_object=of_object, ignore_public=ignore)
    return json.dumps({**body, "Statement": found}) if found else ""
