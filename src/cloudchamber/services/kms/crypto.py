# SPDX-License-Identifier: Apache-2.0
"""Encrypt, decrypt, and data keys: AES-256-GCM, bound to the encryption context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.kms import keys, needs, tables
from cloudchamber.services.kms.errors import (
    DisabledException,
    DryRunOperationException,
    IncorrectKeyException,
    KMSInvalidStateException,
    NotFoundException,
    UnsupportedOperationException,
    ValidationException,
)
from cloudchamber.services.kms.part import key_id_of, octets, store
from cloudchamber.services.kms.tables import DISABLED, ENABLED, Alias, Key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call

    Request = Mapping[str, Any]

PLAIN_OCTETS_MAX = 4096
DATA_KEY_OCTETS_MAX = 1024


def _usable(key: Key) -> Key:
    if key.state == DISABLED:
        raise DisabledException(f"{key.arn} is disabled.")
    if key.state != ENABLED:
        raise KMSInvalidStateException(f"{key.arn} is pending deletion.")
    return key


def _form(request: Request) -> None:
    for member in ("Recipient", "DryRunModifiers"):
        if member in request:
            raise UnsupportedOperationException(f"{member} is not implemented by this chamber yet")
    if request.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT":
        raise UnsupportedOperationException("The key is symmetric: EncryptionAlgorithm must be SYMMETRIC_DEFAULT")


def _dry(request: Request) -> None:
    if request.get("DryRun"):
        raise DryRunOperationException("The request would have succeeded, but the DryRun option is set.")


@operation("Encrypt", needs=needs.on_key("Encrypt"))
async def encrypt(call: Call, request: Request) -> dict[str, Any]:
    """Encrypt up to 4,096 octets. Source: AWS Key Management Service API Reference, Encrypt."""
    _form(request)
    key = _usable(keys.key_of(call, request["KeyId"]))
    plain: bytes = request["Plaintext"]
    if not 1 <= len(plain) <= PLAIN_OCTETS_MAX:
        raise ValidationException(
            "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must have length "
            "between 1 and 4096"
        )
    _dry(request)
    blob = store(call).encrypt(key, plain, request.get("EncryptionContext") or {})
    return {"CiphertextBlob": blob, "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}


@operation("Decrypt", needs=needs.on_key("Decrypt"))
async def decrypt(call: Call, request: Request) -> dict[str, Any]:
    """Decrypt what `Encrypt` or a data key's maker gave. Source: AWS Key Management Service API Reference, Decrypt."""
    _form(request)
    blob: bytes = request.get("CiphertextBlob", b"")
    meant = key_id_of(blob)
    key = _usable(keys.key_of(call, request.get("KeyId") or meant))
    if key.id != meant:
        raise IncorrectKeyException(
            "The key ID in the request does not identify a CMK that can perform this operation."
        )
    plain = store(call).decrypt(key, blob, request.get("EncryptionContext") or {})
    _dry(request)
    return {"Plaintext": plain, "KeyId": key.arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}


async def _data_key(call: Call, request: Request) -> tuple[Key, bytes, bytes]:
    _form(request)
    if ("KeySpec" in request) == ("NumberOfBytes" in request):
        raise ValidationException("Please specify either number of bytes or key spec.")
    count = {"AES_256": 32, "AES_128": 16}.get(request.get("KeySpec", "")) or int(request.get("NumberOfBytes", 0))
    if not 1 <= count <= DATA_KEY_OCTETS_MAX:
        raise ValidationException("NumberOfBytes must be between 1 and 1024")
    key = _usable(await _found(call, request["KeyId"]))
    _dry(request)
    plain = octets(count)
    return key, plain, store(call).encrypt(key, plain, request.get("EncryptionContext") or {})


async def _found(call: Call, name: str) -> Key:
    """The key; an AWS managed key is made when its service first asks for it."""
    try:
        return keys.key_of(call, name)
    except NotFoundException:
        service = call.principal.via[-1].partition(".")[0] if call.principal.via else ""
        if not service or name.rpartition("alias/aws/")[2] != service:
            raise
    return await managed(call, service)


async def managed(call: Call, service: str) -> Key:
    """The AWS managed key of a service, made if it is not there."""
    name, now = f"alias/aws/{service}", call.now.timestamp()
    policy = keys.managed_policy(call.account, call.region, service)
    what = f"Default key that protects my {service.upper()} objects when no other key is defined"
    made = keys.new_key(call, what, policy, {}, "AWS")

    def change(tx: Any) -> Key:
        old = tables.alias(tx, call.account, call.region, name)
        if old is not None:
            return tables.find(tx, call.account, call.region, old.key)
        tables.add(tx, made)
        tables.put_alias(tx, Alias(call.account, call.region, name, made.id, now, now))
        return made

    return await call.doors.database.write(change)


@operation("GenerateDataKey", needs=needs.on_key("GenerateDataKey"))
async def generate_data_key(call: Call, request: Request) -> dict[str, Any]:
    """A fresh key, plain and encrypted. Source: AWS Key Management Service API Reference, GenerateDataKey."""
    key, plain, blob = await _data_key(call, request)
    return {"CiphertextBlob": blob, "Plaintext": plain, "KeyId": key.arn}


@operation("GenerateDataKeyWithoutPlaintext", needs=needs.on_key("GenerateDataKeyWithoutPlaintext"))
async def generate_data_key_without_plaintext(call: Call, request: Request) -> dict[str, Any]:
    """A fresh key, encrypted. Source: AWS Key Management Service API Reference, GenerateDataKeyWithoutPlaintext."""
    key, _, blob = await _data_key(call, request)
    return {"CiphertextBlob": blob, "KeyId": key.arn}
