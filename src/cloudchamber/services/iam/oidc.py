# SPDX-License-Identifier: Apache-2.0
"""OpenID Connect providers: whose tokens AssumeRoleWithWebIdentity takes."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import needs, tables
from cloudchamber.services.iam.errors import EntityAlreadyExists, InvalidInput, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.providers import Provider, oidc_provider, oidc_providers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cloudchamber.contract.call import Call
    from cloudchamber.contract.operation import Need
    from cloudchamber.store.database import Reader, Tx

PROVIDERS_MAX = 100
CLIENT_IDS_MAX = 100
THUMBPRINTS_MAX = 5
MEMBER = "OpenIDConnectProviderArn"


def provider_arn(account: str, url: str) -> str:
    """ARN of the provider of an issuer: ``arn:aws:iam::123456789012:oidc-provider/host/path``.

    Raises:
        InvalidInput: the URL is none that IAM takes.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise InvalidInput("Invalid Open ID Connect Provider URL") from error
    # Why: AWS takes no ports; an issuer on this machine has one, and nobody else could serve it
    odd = parts.query or parts.fragment or parts.username is not None or (port is not None and not _here(host))
    if parts.scheme != "https" or odd or not host or not url.isascii() or not url.isprintable() or " " in url:
        raise InvalidInput("Invalid Open ID Connect Provider URL")
    return f"arn:aws:iam::{account}:oidc-provider/{url.partition('://')[2]}"


def _here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _create_needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    where = f"arn:aws:iam::{call.account}:oidc-provider/{request['Url'].partition('://')[2]}"
    return needs.provider_create("OpenIDConnectProvider", where, request)


@operation("CreateOpenIDConnectProvider", needs=_create_needs)
async def create_open_id_connect_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Trust an issuer. Thumbprints are kept as given; none is fetched.

    Raises:
        InvalidInput: the URL is none that IAM takes, or too many thumbprints.
        EntityAlreadyExists: the account trusts the issuer already.
        LimitExceeded: more than 100 providers or client ids.

    Source: IAM API Reference, CreateOpenIDConnectProvider.
    """
    url: str = request["Url"].removesuffix("/")
    arn = provider_arn(call.account, url)
    clients = list(dict.fromkeys(request.get("ClientIDList", ())))
    thumbprints = _thumbprints(request.get("ThumbprintList", ()))
    if len(clients) > CLIENT_IDS_MAX:
        raise _too_many_clients()

    def change(tx: Tx) -> dict[str, Any]:
        known = oidc_providers(tx, call.account)
        if any(one.arn.lower() == arn.lower() for one in known):
            raise EntityAlreadyExists(f"Provider with url {url} already exists.")
        if len(known) >= PROVIDERS_MAX:
            raise LimitExceeded(f"Cannot exceed quota for OpenIdConnectProvidersPerAccount: {PROVIDERS_MAX}")
        row = (arn, call.account, url, json.dumps(clients), json.dumps(thumbprints), call.now.timestamp())
        tx.execute("INSERT INTO iam_oidc VALUES (?, ?, ?, ?, ?, ?)", row)
        tables.put_tags(tx, arn, request.get("Tags", ()))
        own = tables.tags(tx, arn)
        return {MEMBER: arn} | ({"Tags": tables.tag_list(own)} if own else {})

    return await call.doors.database.write(change)


@operation("GetOpenIDConnectProvider", needs=needs.on("GetOpenIDConnectProvider", MEMBER))
async def get_open_id_connect_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A provider; its URL without the scheme. Source: IAM API Reference, GetOpenIDConnectProvider."""

    def look(db: Reader) -> dict[str, Any]:
        found = find(db, call, request)
        return {
            "Url": found.name,
            "ClientIDList": list(found.client_ids),
            "ThumbprintList": list(found.thumbprints),
            "CreateDate": tables.moment(found.created),
            "Tags": tables.tag_list(tables.tags(db, found.arn)),
        }

    return call.doors.database.read(look)


@operation("ListOpenIDConnectProviders", needs=needs.account("ListOpenIDConnectProviders"))
async def list_open_id_connect_providers(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """ARNs of all. Source: IAM API Reference, ListOpenIDConnectProviders."""
    found = call.doors.database.read(lambda db: oidc_providers(db, call.account))
    return {"OpenIDConnectProviderList": [{"Arn": one.arn} for one in found]}


@operation("DeleteOpenIDConnectProvider", needs=needs.on("DeleteOpenIDConnectProvider", MEMBER))
async def delete_open_id_connect_provider(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Trust an issuer no longer; again is no error. Source: IAM API Reference, DeleteOpenIDConnectProvider."""

    def change(tx: Tx) -> None:
        found = oidc_provider(tx, call.account, request[MEMBER])
        if found is not None:
            tx.execute("DELETE FROM iam_oidc WHERE arn = ?", (found.arn,))
            tx.execute("DELETE FROM iam_tags WHERE arn = ?", (found.arn,))

    await call.doors.database.write(change)
    return {}


@operation("AddClientIDToOpenIDConnectProvider", needs=needs.on("AddClientIDToOpenIDConnectProvider", MEMBER))
async def add_client_id(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take tokens of one more audience; again is no error.

    Source: IAM API Reference, AddClientIDToOpenIDConnectProvider.
    """

    def change(tx: Tx) -> None:
        found = find(tx, call, request)
        clients = list(dict.fromkeys([*found.client_ids, request["ClientID"]]))
        if len(clients) > CLIENT_IDS_MAX:
            raise _too_many_clients()
        tx.execute("UPDATE iam_oidc SET client_ids = ? WHERE arn = ?", (json.dumps(clients), found.arn))

    await call.doors.database.write(change)
    return {}


@operation(
    "RemoveClientIDFromOpenIDConnectProvider",
    needs=needs.on("RemoveClientIDFromOpenIDConnectProvider", MEMBER),
)
async def remove_client_id(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Take tokens of an audience no longer; again is no error.

    Source: IAM API Reference, RemoveClientIDFromOpenIDConnectProvider.
    """

    def change(tx: Tx) -> None:
        found = find(tx, call, request)
        clients = [one for one in found.client_ids if one != request["ClientID"]]
        tx.execute("UPDATE iam_oidc SET client_ids = ? WHERE arn = ?", (json.dumps(clients), found.arn))

    await call.doors.database.write(change)
    return {}


@operation(
    "UpdateOpenIDConnectProviderThumbprint",
    needs=needs.on("UpdateOpenIDConnectProviderThumbprint", MEMBER),
)
async def update_thumbprint(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Replace all thumbprints. Source: IAM API Reference, UpdateOpenIDConnectProviderThumbprint."""
    thumbprints = _thumbprints(request["ThumbprintList"])

    def change(tx: Tx) -> None:
        found = find(tx, call, request)
        tx.execute("UPDATE iam_oidc SET thumbprints = ? WHERE arn = ?", (json.dumps(thumbprints), found.arn))

    await call.doors.database.write(change)
    return {}


def find(db: Reader, call: Call, request: Mapping[str, Any]) -> Provider:
    """The provider that a request names.

    Raises:
        InvalidInput: not an ARN. NoSuchEntity: there is none.
    """
    arn: str = request[MEMBER]
    if not arn.startswith("arn:"):
        raise InvalidInput(f"Invalid ARN: {arn}")
    found = oidc_provider(db, call.account, arn)
    if found is None:
        raise NoSuchEntity(f"OpenIDConnect Provider not found for arn {arn}")
    return found


def _thumbprints(given: Sequence[str]) -> list[str]:
    if len(given) > THUMBPRINTS_MAX:
        raise InvalidInput(f"Thumbprint list must contain fewer than {THUMBPRINTS_MAX} entries.")
    return [one.lower() for one in given]


def _too_many_clients() -> LimitExceeded:
    return LimitExceeded(f"Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: {CLIENT_IDS_MAX}")
