# SPDX-License-Identifier: Apache-2.0
"""Keys: made, described, enabled and disabled, given policies and tags, scheduled for deletion."""

from __future__ import annotations

import hashlib
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.policy.document import PolicyError, document
from cloudchamber.services.kms import needs, tables
from cloudchamber.services.kms.errors import (
    KMSInvalidStateException,
    MalformedPolicyDocumentException,
    NotFoundException,
    TagException,
    UnsupportedOperationException,
    ValidationException,
)
from cloudchamber.services.kms.part import store
from cloudchamber.services.kms.tables import DISABLED, ENABLED, PENDING, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

POLICY_OCTETS_MAX = 32 * 1024
TAGS_MAX = 50
_SUPPORTED = {
    "KeyUsage": "ENCRYPT_DECRYPT",
    "KeySpec": "SYMMETRIC_DEFAULT",
    "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
    "Origin": "AWS_KMS",
    "MultiRegion": False,
}


def key_of(call: Call, name: str) -> Key:
    """The key that a request names."""
    return call.doors.database.read(lambda db: tables.find(db, call.account, call.region, name))


def own_key(call: Call, name: str) -> Key:
    """A key of the customer's own: what AWS manages cannot be changed."""
    found = key_of(call, name)
    if found.manager != "CUSTOMER":
        raise UnsupportedOperationException(f"You cannot perform this operation on an AWS managed key: {found.arn}")
    return found


def default_policy(account: str) -> str:
    """Source: AWS KMS Developer Guide, "Default key policy"."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]})


def managed_policy(account: str, region: str, service: str) -> str:
    """Policy of an AWS managed key: for everybody of the account who comes through the service."""
    through = {"kms:ViaService": f"{service}.{region}.amazonaws.com", "kms:CallerAccount": account}
    use = {
        "Sid": f"Allow access through {service.upper()} for all principals in the account that are authorized to use "
        f"{service.upper()}",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"],
        "Resource": "*",
        "Condition": {"StringEquals": through},
    }
    look = {
        "Sid": "Allow direct access to key metadata to the account",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
        "Action": ["kms:Describe*", "kms:Get*", "kms:List*"],
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": f"auto-{service}-2", "Statement": [use, look]})


def new_key(call: Call, description: str, policy: str, tags: Mapping[str, str], manager: str = "CUSTOMER") -> Key:
    """A key that is not kept yet."""
    key_id = str(uuid.UUID(ids.hex_token(16), version=4))
    now = call.now.timestamp()
    material = store(call).new_material()
    return Key(
        call.account, call.region, key_id, now, description, ENABLED, None, policy, tags, manager, material
    )  # fmt: skip


def _policy(text: str) -> str:
    if len(text.encode()) > POLICY_OCTETS_MAX:
        raise ValidationException(f"A key policy has at most {POLICY_OCTETS_MAX} octets")
    try:
        document(text)
    except PolicyError as error:
        raise MalformedPolicyDocumentException(str(error)) from None
    return text


def _tags(given: Any) -> dict[str, str]:
    tags = {str(tag["TagKey"]): str(tag["TagValue"]) for tag in given or ()}
    if len(tags) > TAGS_MAX or any(name.lower().startswith("aws:") or not name for name in tags):
        raise TagException("A key has at most 50 tags, whose keys do not begin with aws:")
    return tags


@operation("CreateKey", needs=needs.create_key)
async def create_key(call: Call, request: Request) -> dict[str, Any]:
    """Make a symmetric key. Source: AWS Key Management Service API Reference, CreateKey."""
    for member, only in _SUPPORTED.items():
        if request.get(member, only) != only:
            raise UnsupportedOperationException(f"{member} {request[member]} is not implemented by this chamber yet")
    for member in ("CustomKeyStoreId", "XksKeyId"):
        if member in request:
            raise UnsupportedOperationException(f"{member}: custom key stores are not implemented by this chamber yet")
    policy = _policy(request["Policy"]) if request.get("Policy") else default_policy(call.account)
    made = new_key(call, request.get("Description", ""), policy, _tags(request.get("Tags")))
    await call.doors.database.write(lambda tx: tables.add(tx, made))
    return {"KeyMetadata": metadata(made)}


def metadata(key: Key) -> dict[str, Any]:
    """A `KeyMetadata`."""
    told: dict[str, Any] = {
        "AWSAccountId": key.account,
        "KeyId": key.id,
        "Arn": key.arn,
        "CreationDate": datetime.fromtimestamp(key.created, UTC),
        "Enabled": key.state == ENABLED,
        "Description": key.description,
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": key.state,
        "Origin": "AWS_KMS",
        "KeyManager": key.manager,
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
        "MultiRegion": False,
        # Why: keys do not rotate here, so each has one material, and its id follows from the key's.
        "CurrentKeyMaterialId": hashlib.sha256(f"material of {key.arn}".encode()).hexdigest(),
    }
    if key.deletion is not None:
        told["DeletionDate"] = datetime.fromtimestamp(key.deletion, UTC)
    return told


@operation("DescribeKey", needs=needs.on_key("DescribeKey"))
async def describe_key(call: Call, request: Request) -> dict[str, Any]:
    """One key. Source: AWS Key Management Service API Reference, DescribeKey."""
    return {"KeyMetadata": metadata(key_of(call, request["KeyId"]))}


@operation("ListKeys", needs=needs.anywhere("ListKeys"))
async def list_keys(call: Call, request: Request) -> dict[str, Any]:
    """Keys of the account. Source: AWS Key Management Service API Reference, ListKeys."""
    if "ResourceOwners" in request:
        raise UnsupportedOperationException("ResourceOwners is not implemented by this chamber yet")
    limit = int(request.get("Limit", 100))
    after = request.get("Marker", "")
    found = call.doors.database.read(lambda db: tables.listed(db, call.account, call.region, after, limit + 1))
    shown = found[:limit]
    response: dict[str, Any] = {
        "Keys": [{"KeyId": one.id, "KeyArn": one.arn} for one in shown],
        "Truncated": len(found) > limit,
    }
    if len(found) > limit:
        response["NextMarker"] = shown[-1].id
    return response


async def _set_state(call: Call, request: Request, state: str) -> dict[str, Any]:
    key = own_key(call, request["KeyId"])
    if key.state == PENDING:
        raise KMSInvalidStateException(f"{key.arn} is pending deletion.")
    await call.doors.database.write(lambda tx: tables.change(tx, key, state=state))
    return {}


@operation("EnableKey", needs=needs.on_key("EnableKey"))
async def enable_key(call: Call, request: Request) -> dict[str, Any]:
    """Let a key be used again. Source: AWS Key Management Service API Reference, EnableKey."""
    return await _set_state(call, request, ENABLED)


@operation("DisableKey", needs=needs.on_key("DisableKey"))
async def disable_key(call: Call, request: Request) -> dict[str, Any]:
    """Let a key not be used. Source: AWS Key Management Service API Reference, DisableKey."""
    return await _set_state(call, request, DISABLED)


@operation("ScheduleKeyDeletion", needs=needs.on_key("ScheduleKeyDeletion"))
async def schedule_key_deletion(call: Call, request: Request) -> dict[str, Any]:
    """Delete a key after 7 to 30 days; until then it cannot be used.

    Source: AWS Key Management Service API Reference, ScheduleKeyDeletion.
    """
    key = own_key(call, request["KeyId"])
    days = int(request.get("PendingWindowInDays", 30))
    if not 7 <= days <= 30:
        raise ValidationException("PendingWindowInDays must be between 7 and 30 (inclusive)")
    if key.state == PENDING:
        raise KMSInvalidStateException(f"{key.arn} is pending deletion.")
    deletion = call.now + timedelta(days=days)
    now = call.now.timestamp()

    def change(tx: Any) -> None:
        tables.expire(tx, now)
        tables.change(tx, key, state=PENDING, deletion=deletion.timestamp())

    await call.doors.database.write(change)
    return {"KeyId": key.arn, "DeletionDate": deletion, "KeyState": PENDING, "PendingWindowInDays": days}


@operation("CancelKeyDeletion", needs=needs.on_key("CancelKeyDeletion"))
async def cancel_key_deletion(call: Call, request: Request) -> dict[str, Any]:
    """Keep the key, disabled. Source: AWS Key Management Service API Reference, CancelKeyDeletion."""
    key = own_key(call, request["KeyId"])
    if key.state != PENDING:
        raise KMSInvalidStateException(f"{key.arn} is not pending deletion.")
    await call.doors.database.write(lambda tx: tables.change(tx, key, state=DISABLED, deletion=None))
    return {"KeyId": key.arn}


@operation("UpdateKeyDescription", needs=needs.on_key("UpdateKeyDescription"))
async def update_key_description(call: Call, request: Request) -> dict[str, Any]:
    """Describe a key anew. Source: AWS Key Management Service API Reference, UpdateKeyDescription."""
    key = own_key(call, request["KeyId"])
    await call.doors.database.write(lambda tx: tables.change(tx, key, description=request["Description"]))
    return {}


@operation("GetKeyPolicy", needs=needs.on_key("GetKeyPolicy"))
async def get_key_policy(call: Call, request: Request) -> dict[str, Any]:
    """The key policy. Source: AWS Key Management Service API Reference, GetKeyPolicy."""
    _policy_name(request)
    return {"Policy": key_of(call, request["KeyId"]).policy, "PolicyName": "default"}


@operation("PutKeyPolicy", needs=needs.on_key("PutKeyPolicy"))
async def put_key_policy(call: Call, request: Request) -> dict[str, Any]:
    """Set the key policy; in force for the next call.

    Source: AWS Key Management Service API Reference, PutKeyPolicy.
    """
    _policy_name(request)
    key = own_key(call, request["KeyId"])
    policy = _policy(request["Policy"])
    await call.doors.database.write(lambda tx: tables.change(tx, key, policy=policy))
    return {}


def _policy_name(request: Request) -> None:
    if request.get("PolicyName", "default") != "default":
        raise NotFoundException(f"No such policy exists: {request['PolicyName']}")


@operation("ListResourceTags", needs=needs.on_key("ListResourceTags"))
async def list_resource_tags(call: Call, request: Request) -> dict[str, Any]:
    """A key's tags. Source: AWS Key Management Service API Reference, ListResourceTags."""
    tags = key_of(call, request["KeyId"]).tags
    limit, after = int(request.get("Limit", TAGS_MAX)), request.get("Marker", "")
    names = [name for name in sorted(tags) if name > after]
    shown = names[:limit]
    response: dict[str, Any] = {
        "Tags": [{"TagKey": name, "TagValue": tags[name]} for name in shown],
        "Truncated": len(names) > limit,
    }
    if len(names) > limit:
        response["NextMarker"] = shown[-1]
    return response


@operation("TagResource", needs=needs.on_key("TagResource"))
async def tag_resource(call: Call, request: Request) -> dict[str, Any]:
    """Set tags of a key. Source: AWS Key Management Service API Reference, TagResource."""
    key = own_key(call, request["KeyId"])
    text = json.dumps({**key.tags, **_tags(request["Tags"])})
    await call.doors.database.write(lambda tx: tables.change(tx, key, tags=text))
    return {}


@operation("UntagResource", needs=needs.on_key("UntagResource"))
async def untag_resource(call: Call, request: Request) -> dict[str, Any]:
    """Remove tags of a key. Source: AWS Key Management Service API Reference, UntagResource."""
    key = own_key(call, request["KeyId"])
    text = json.dumps({name: value for name, value in key.tags.items() if name not in request["TagKeys"]})
    await call.doors.database.write(lambda tx: tables.change(tx, key, tags=text))
    return {}
