# SPDX-License-Identifier: Apache-2.0
"""Which encryption an object has: the chamber's key (SSE-S3), a key of KMS (SSE-KMS), or the customer's (SSE-C).

What an object keeps of it, below ``sse``: nothing for SSE-S3; ``{"c": MD5 of the key}`` for SSE-C, whose key is never
kept; for SSE-KMS the key's ARN, the data key as KMS encrypted it, and the encryption context.

Source: Amazon S3 User Guide, "Protecting data with server-side encryption"; Amazon S3 API Reference, PutObject.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.services.s3.errors import (
    AccessForbidden,
    InvalidArgument,
    InvalidEncryptionAlgorithm,
    InvalidRequest,
    KmsRefusal,
)
from cloudchamber.services.s3.names import bucket_arn, object_arn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.s3.tables import Bucket

    Request = Mapping[str, Any]

ALWAYS_MAX = 8 * 1024 * 1024
"""Objects up to this size are encrypted though nobody asked for it. Larger ones go from disk to the socket without
passing through this process, unless they were asked to be encrypted: decrypting them cost 60 % of the speed."""
KMS = ("aws:kms", "aws:kms:dsse")
CUSTOMER = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")
"""Members of a request that bring the customer's key along: its algorithm, itself, its MD5."""
COPIED = ("CopySourceSSECustomerAlgorithm", "CopySourceSSECustomerKey", "CopySourceSSECustomerKeyMD5")
"""The same for the source of a copy."""
_ARGUMENT = "x-amz-server-side-encryption"
_KEY_OCTETS = 32


class _WrongSize(InvalidArgument):
    """A customer's key that is no AES-256 key."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """How octets are encrypted: not at all, or with `key` (None: the chamber's)."""

    on: bool
    key: bytes | None = field(default=None, repr=False)
    kept: Mapping[str, Any] | None = None
    """What the object keeps of it."""

    @property
    def stored(self) -> dict[str, Any]:
        """The same as a member of an object's `stored`."""
        return {"sse": self.kept} if self.kept is not None else {}

    @property
    def told(self) -> dict[str, Any]:
        """Response members."""
        return told(self.kept) if self.on else {}


NONE, OURS = Encryption(False), Encryption(True)


def told(kept: Mapping[str, Any] | None) -> dict[str, Any]:
    """Response members of an encrypted object."""
    if kept is None:
        return {"ServerSideEncryption": "AES256"}
    if "c" in kept:
        return {"SSECustomerAlgorithm": "AES256", "SSECustomerKeyMD5": kept["c"]}
    members: dict[str, Any] = {"ServerSideEncryption": kept["alg"], "SSEKMSKeyId": kept["id"]}
    if kept.get("bucket"):
        members["BucketKeyEnabled"] = True
    return members


def of_object(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Response members that say how an object is encrypted."""
    return told(stored.get("sse")) if "nonce" in stored or "nonces" in stored else {}


# What is asked for ---------------------------------------------------------------------------------------------------


async def wanted(call: Call, bucket: Bucket, request: Request, size: int | None) -> Encryption:
    """The encryption of a new object: as asked for, else as the bucket has it, else by its size.

    Raises:
        InvalidArgument, InvalidRequest: what is asked for makes no sense. KmsRefusal: KMS said no.
    """
    algorithm = request.get("ServerSideEncryption")
    if algorithm is not None and any(name in request for name in CUSTOMER):
        raise InvalidArgument(
            "Server Side Encryption with Customer provided key is incompatible with the encryption method specified",
            ArgumentName=_ARGUMENT,
            ArgumentValue=algorithm,
        )
    key = customer_key(request, CUSTOMER)
    if key is not None:
        if bucket.encryption is not None and '"SSE-C"' in bucket.encryption:
            raise AccessForbidden("Server-side encryption with customer-provided keys is blocked for this bucket.")
        return Encryption(True, key, {"c": _md5(key)})
    key_id, bucket_key, context = request.get("SSEKMSKeyId"), request.get("BucketKeyEnabled"), None
    check(algorithm, key_id)
    if algorithm != "AES256" and bucket.encryption is not None:
        rule = json.loads(bucket.encryption)["Rules"][0]
        default = rule["ApplyServerSideEncryptionByDefault"]
        if algorithm is None:
            algorithm, key_id = default["SSEAlgorithm"], default.get("KMSMasterKeyID")
        bucket_key = rule.get("BucketKeyEnabled") if bucket_key is None else bucket_key
    if algorithm in KMS:
        context = _context(request, bucket, bool(bucket_key))
        return await _by_kms(call, algorithm, key_id or "alias/aws/s3", context, bool(bucket_key))
    if algorithm is not None or size is None or size <= ALWAYS_MAX or call.doors.encrypts_all:
        return OURS
    return NONE


def check(algorithm: str | None, key_id: str | None) -> None:
    """Whether there is such an encryption, and whether it takes a key."""
    if algorithm not in (None, "AES256", *KMS):
        raise InvalidArgument(
            "The encryption method specified is not supported", ArgumentName=_ARGUMENT, ArgumentValue=str(algorithm)
        )
    if key_id is not None and algorithm not in KMS:
        raise InvalidArgument(
            "Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : "
            "aws:kms",
            ArgumentName=_ARGUMENT,
            ArgumentValue=str(algorithm or "null"),
        )


def customer_key(request: Request, members: tuple[str, str, str]) -> bytes | None:
    """The key that a request brings with it, checked; None if it brings none."""
    algorithm, key, md5 = (request.get(name) for name in members)
    if algorithm is None and key is None and md5 is None:
        return None
    if algorithm is None:
        raise InvalidArgument(
            "Requests specifying Server Side Encryption with Customer provided keys must provide a valid encryption "
            "algorithm.",
            ArgumentName=_ARGUMENT,
        )
    if key is None:
        raise InvalidArgument(
            "Requests specifying Server Side Encryption with Customer provided keys must provide an appropriate "
            "secret key.",
            ArgumentName=_ARGUMENT,
        )
    if algorithm != "AES256":
        raise InvalidEncryptionAlgorithm(ArgumentName=_ARGUMENT, ArgumentValue=str(algorithm))
    try:
        octets = base64.b64decode(str(key), validate=True)
    except ValueError:
        octets = b""
    if len(octets) != _KEY_OCTETS:
        raise _WrongSize("The secret key was invalid for the specified algorithm.", ArgumentName=_ARGUMENT)
    if md5 is None:
        raise InvalidArgument(
            "Requests specifying Server Side Encryption with Customer provided keys must provide the client calculated "
            "MD5 of the secret key.",
            ArgumentName=_ARGUMENT,
        )
    if not hmac.compare_digest(_md5(octets), str(md5)):
        raise InvalidArgument(
            "The calculated MD5 hash of the key did not match the hash that was provided.", ArgumentName=_ARGUMENT
        )
    return octets


def _md5(key: bytes) -> str:
    return base64.b64encode(hashlib.md5(key, usedforsecurity=False).digest()).decode()


def _context(request: Request, bucket: Bucket, bucket_key: bool) -> dict[str, str]:
    """The encryption context: the ARN, and what the client adds."""
    given = request.get("SSEKMSEncryptionContext")
    more: Any = {}
    if given is not None:
        try:
            more = json.loads(base64.b64decode(given, validate=True))
        except ValueError:
            more = None
        if not isinstance(more, dict) or not all(isinstance(value, str) for value in more.values()):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType] - JSON
            raise InvalidArgument(
                "The header 'x-amz-server-side-encryption-context' shall be Base64-encoded UTF-8 string holding JSON "
                "which represents a string-string map",
                ArgumentName="x-amz-server-side-encryption-context",
            )
    own = bucket_arn(bucket.name) if bucket_key else object_arn(bucket.name, request["Key"])
    return {"aws:s3:arn": own, **more}


# KMS -----------------------------------------------------------------------------------------------------------------


async def _by_kms(call: Call, algorithm: str, key_id: str, context: Mapping[str, str], bucket_key: bool) -> Encryption:
    asked = {"KeyId": key_id, "KeySpec": "AES_256", "EncryptionContext": context}
    made = await _kms(call, "GenerateDataKey", asked)
    kept = {
        "alg": algorithm,
        "id": made["KeyId"],
        "data": base64.b64encode(made["CiphertextBlob"]).decode(),
        "context": dict(context),
        "bucket": bucket_key,
    }
    return Encryption(True, made["Plaintext"], kept)


async def _kms(call: Call, name: str, request: Request) -> Any:
    """Ask KMS as the caller, through S3."""
    who = replace(call.principal, via=(*call.principal.via, "s3.amazonaws.com"))
    try:
        return await call.ask("kms", name, request, principal=who)
    except AccessDenied as error:
        raise AccessForbidden(error.message) from None
    except ServiceError as error:
        raise KmsRefusal(error.code, error.message) from None


async def key_of(
    call: Call,
    stored: Mapping[str, Any],
    request: Request,
    members: tuple[str, str, str] = CUSTOMER,
    *,
    unwrap: bool = True,
) -> bytes | None:
    """The key of an object that is there; None: the chamber's, or none at all. `unwrap`: ask KMS for it.

    Raises:
        InvalidRequest: it takes the customer's key, and the request has none or brings one though it takes none.
        AccessForbidden: the key is another. KmsRefusal, AccessDenied: KMS said no.
    """
    kept: Mapping[str, Any] | None = stored.get("sse")
    try:
        given = customer_key(request, members)
    except _WrongSize:  # Why: told of writes only
        given = b""
    if kept is not None and "c" in kept:
        if given is None:
            raise InvalidRequest(
                "The object was stored using a form of Server Side Encryption. The correct parameters must be provided "
                "to retrieve the object."
            )
        if _md5(given) != kept["c"]:
            raise AccessForbidden(
                "Requests specifying Server Side Encryption with Customer provided keys must provide the correct "
                "secret key."
            )
        return given
    if given is not None:
        raise InvalidRequest("The encryption parameters are not applicable to this object.")
    return None if kept is None or not unwrap else await unwrapped(call, kept)


async def unwrapped(call: Call, kept: Mapping[str, Any]) -> bytes:
    """The data key of an object, decrypted by KMS as the caller."""
    asked = {"CiphertextBlob": base64.b64decode(kept["data"]), "EncryptionContext": kept["context"]}
    return (await _kms(call, "Decrypt", asked))["Plaintext"]


async def of_part(call: Call, stored: Mapping[str, Any], request: Request) -> Encryption:
    """The encryption of a part: the upload's, with the key brought along if it is the customer's."""
    if not stored.get("encrypt"):
        if "SSECustomerAlgorithm" in request:
            raise InvalidRequest(
                "The multipart upload initiate did not request encryption. Please resubmit the request without "
                "including encryption parameters."
            )
        return NONE
    kept: Mapping[str, Any] | None = stored.get("sse")
    given = customer_key(request, CUSTOMER)
    if kept is not None and "c" in kept:
        if given is None:
            raise InvalidRequest(
                "The multipart upload initiate requested encryption. Subsequent part requests must include the "
                "appropriate encryption parameters."
            )
        if _md5(given) != kept["c"]:
            raise InvalidRequest("The provided encryption parameters did not match the ones used originally.")
        return Encryption(True, given, kept)
    if given is not None:
        raise InvalidRequest(
            "The multipart upload initiate requested encryption. Subsequent part requests must include the "
            "appropriate encryption parameters."
        )
    return OURS if kept is None else Encryption(True, await unwrapped(call, kept), kept)


def same_key(stored: Mapping[str, Any], request: Request) -> None:
    """Compare a key that came along, where none is needed, with the upload's.

    Raises:
        InvalidRequest: the upload takes none, or another.
    """
    kept: Mapping[str, Any] = stored.get("sse") or {}
    given = customer_key(request, CUSTOMER)
    if given is not None and _md5(given) != kept.get("c"):
        raise InvalidRequest("The provided encryption parameters did not match the ones used originally.")
