# SPDX-License-Identifier: Apache-2.0
"""SAML providers: identity providers known by their metadata."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import metadata, needs, tables
from cloudchamber.services.iam.errors import EntityAlreadyExists, InvalidInput, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.providers import PrivateKey, SamlProvider, saml_provider, saml_providers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import Need
    from cloudchamber.store.database import Reader, Tx

PROVIDERS_MAX = 100
PRIVATE_KEYS_MAX = 2
_CENTURY_S = 100 * 365.25 * 86400
MEMBER = "SAMLProviderArn"


def _create_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    where = f"arn:aws:iam::{call.account}:saml-provider/{request['Name']}"
    return needs.provider_create("SAMLProvider", where, request)


@operation("CreateSAMLProvider", needs=_create_needs)
async def create_saml_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep an identity provider's metadata.

    Raises:
        InvalidInput: the metadata or the private key cannot be read.
        EntityAlreadyExists: there is a provider of that name.
        LimitExceeded: more than 100.

    Source: IAM API Reference, CreateSAMLProvider.
    """
    name: str = request["Name"]
    arn = f"arn:aws:iam::{call.account}:saml-provider/{name}"
    now = call.now.timestamp()
    until = _valid_until(request["SAMLMetadataDocument"], now)
    keys = [_private_key(request["AddPrivateKey"], now)] if "AddPrivateKey" in request else []

    def change(tx: Tx) -> dict[str, Any]:
        known = saml_providers(tx, call.account)
        if any(one.name.lower() == name.lower() for one in known):
            raise EntityAlreadyExists(f"Provider with name {name} already exists.")
        if len(known) >= PROVIDERS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for SAMLProvidersPerAccount: {PROVIDERS_MAX}")
        made = SamlProvider(
            arn, call.account, name, ids.unique_id("ASAML"), request["SAMLMetadataDocument"], now, until,
            request.get("AssertionEncryptionMode", ""), tuple(keys),
        )  # fmt: skip
        _write(tx, made)
        tables.put_tags(tx, arn, request.get("Tags", ()))
        own = tables.tags(tx, arn)
        return {MEMBER: arn} | ({"Tags": tables.tag_list(own)} if own else {})

    return await call.doors.database.write(change)


@operation("GetSAMLProvider", needs=needs.on("GetSAMLProvider", MEMBER))
async def get_saml_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A provider with its metadata; of private keys only their ids. Source: IAM API Reference, GetSAMLProvider."""

    def look(db: Reader) -> dict[str, Any]:
        found = find(db, call, request)
        told: dict[str, Any] = {
            "SAMLProviderUUID": found.id,
            "SAMLMetadataDocument": found.document,
            "CreateDate": tables.moment(found.created),
            "ValidUntil": tables.moment(found.valid_until),
            "Tags": tables.tag_list(tables.tags(db, found.arn)),
        }
        if found.encryption:
            told["AssertionEncryptionMode"] = found.encryption
        if found.private_keys:
            told["PrivateKeyList"] = [
                {"KeyId": key.id, "Timestamp": tables.moment(key.created)} for key in found.private_keys
            ]
        return told

    return call.doors.database.read(look)


@operation("ListSAMLProviders", needs=needs.account("ListSAMLProviders"))
async def list_saml_providers(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """All providers, without their metadata. Source: IAM API Reference, ListSAMLProviders."""
    found = call.doors.database.read(lambda db: saml_providers(db, call.account))
    return {
        "SAMLProviderList": [
            {"Arn": one.arn, "ValidUntil": tables.moment(one.valid_until), "CreateDate": tables.moment(one.created)}
            for one in found
        ]
    }


@operation("UpdateSAMLProvider", needs=needs.on("UpdateSAMLProvider", MEMBER))
async def update_saml_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the metadata or the encryption mode, add or remove a private key.

    Raises:
        InvalidInput: the metadata or the private key cannot be read, or there is no such key.
        LimitExceeded: more than two private keys.
        NoSuchEntity: there is no such provider.

    Source: IAM API Reference, UpdateSAMLProvider.
    """
    now = call.now.timestamp()
    document: str = request.get("SAMLMetadataDocument", "")
    until = _valid_until(document, now) if document else 0.0
    added = [_private_key(request["AddPrivateKey"], now)] if "AddPrivateKey" in request else []

    def change(tx: Tx) -> None:
        found = find(tx, call, request)
        removed: str = request.get("RemovePrivateKey", "")
        if removed and removed not in {key.id for key in found.private_keys}:
            raise InvalidInput(f"Private key {removed} cannot be found.")
        keys = [*(key for key in found.private_keys if key.id != removed), *added]
        if len(keys) > PRIVATE_KEYS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for PrivateKeysPerSAMLProvider: {PRIVATE_KEYS_MAX}")
        _write(
            tx,
            SamlProvider(
                found.arn, found.account, found.name, found.id, document or found.document, found.created,
                until or found.valid_until, request.get("AssertionEncryptionMode", found.encryption), tuple(keys),
            ),
        )  # fmt: skip

    await call.doors.database.write(change)
    return {MEMBER: request[MEMBER]}


@operation("DeleteSAMLProvider", needs=needs.on("DeleteSAMLProvider", MEMBER))
async def delete_saml_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Forget a provider. Source: IAM API Reference, DeleteSAMLProvider."""

    def change(tx: Tx) -> None:
        found = find(tx, call, request)
        tx.execute("DELETE FROM iam_saml WHERE arn = ?", (found.arn,))
        tx.execute("DELETE FROM iam_tags WHERE arn = ?", (found.arn,))

    await call.doors.database.write(change)
    return {}


def find(db: Reader, call: Call, request: Mapping[str, Any]) -> SamlProvider:
    """The provider that a request names.

    Raises:
        InvalidInput: not an ARN. NoSuchEntity: there is none.
    """
    arn: str = request[MEMBER]
    if not arn.startswith("arn:"):
        raise InvalidInput(f"Invalid ARN: {arn}")
    found = saml_provider(db, call.account, arn)
    if found is None:
        raise NoSuchEntity(f"Manifest not found for arn {arn}")
    return found


def _write(tx: Tx, made: SamlProvider) -> None:
    keys = json.dumps([(key.id, key.pem, key.created) for key in made.private_keys])
    row = (made.arn, made.account, made.name, made.id, made.document, made.created, made.valid_until, made.encryption)
    tx.execute("INSERT OR REPLACE INTO iam_saml VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, keys))


def _valid_until(document: str, now: float) -> float:
    """Until when a provider is valid: as its metadata says, or for a hundred years."""
    try:
        read = metadata.read(document)
    except ValueError as error:
        raise InvalidInput("Could not parse metadata") from error
    return read.valid_until.timestamp() if read.valid_until is not None else now + _CENTURY_S


def _private_key(pem: str, now: float) -> PrivateKey:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError) as error:
        raise InvalidInput("The private key is not valid.") from error
    return PrivateKey(ids.unique_id("ASAMLK"), pem, now)
