# SPDX-License-Identifier: Apache-2.0
"""User name and password of a user for one service. The services that take them are no part of a chamber."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.iam import credentials, needs, passwords, tables
from cloudchamber.services.iam.credentials import Credential
from cloudchamber.services.iam.errors import LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.names import page
from cloudchamber.services.iam.ssh_keys import status
from cloudchamber.services.iam.users import user_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.needs import Needs
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]

PER_SERVICE_MAX = 2
SERVICES = ("codecommit.amazonaws.com", "cassandra.amazonaws.com")


def _needs(action: str) -> Needs:
    """On the user, with the service as a condition key."""
    base = needs.entity(action, "user")

    def needed(call: Call, request: Request) -> Iterable[Need]:
        service = request.get("ServiceName", "")
        if not service and "ServiceSpecificCredentialId" in request:
            sql = "SELECT service FROM iam_credentials WHERE id = ? AND account = ?"
            row = call.doors.database.read(
                lambda db: db.execute(sql, (request["ServiceSpecificCredentialId"], call.account)).fetchone()
            )
            service = row[0] if row is not None else ""
        for need in base(call, request):
            named = service and not action.startswith("List")  # Why: AWS has no such key for the listing
            own = {"iam:ServiceSpecificCredentialServiceName": service} if named else {}
            yield Need(need.action, need.resource, {**need.context, **own})

    return needed


@operation("CreateServiceSpecificCredential", needs=_needs("CreateServiceSpecificCredential"))
async def create_service_specific_credential(call: Call, request: Request) -> dict[str, Any]:
    """Make a user name and password for one service; the only time the password is told. Source: IAM API Reference,
    CreateServiceSpecificCredential."""
    call.doors.database.read(lambda db: tables.get(db, call.account, "user", request["UserName"]))
    service = _known(request["ServiceName"])
    if "CredentialAgeDays" in request:
        raise ValidationError(f"CredentialAgeDays is not supported for {service}")
    password = ids.token(33)
    kept = await asyncio.to_thread(passwords.hashed, password)

    def change(tx: Tx) -> Credential:
        user = tables.get(tx, call.account, "user", request["UserName"])
        had = [one for one in credentials.of_user(tx, call.account, "service", user.name) if one.service == service]
        if len(had) >= PER_SERVICE_MAX:
            raise LimitExceeded(f"Cannot exceed quota for ServiceSpecificCredentialsPerUser: {PER_SERVICE_MAX}")
        plain = f"{user.name}-at-{call.account}"
        alias = plain if all(one.alias != plain for one in had) else f"{user.name}+1-at-{call.account}"
        made = Credential(
            ids.unique_id("ACCA"), call.account, user.name, "service", "Active", call.now.timestamp(), kept, "",
            service, alias, 0.0,
        )  # fmt: skip
        credentials.add(tx, made)
        return made

    made = await call.doors.database.write(change)
    return {"ServiceSpecificCredential": _shape(made) | {"ServicePassword": password}}


@operation("ListServiceSpecificCredentials", needs=_needs("ListServiceSpecificCredentials"))
async def list_service_specific_credentials(call: Call, request: Request) -> dict[str, Any]:
    """A user's credentials, or everybody's, without passwords. Source: IAM API Reference,
    ListServiceSpecificCredentials."""
    everybody = bool(request.get("AllUsers"))
    if everybody and "UserName" in request:
        raise ValidationError("UserName and AllUsers cannot be given together")
    name = "" if everybody else user_name(call, request)
    if name:
        call.doors.database.read(lambda db: tables.get(db, call.account, "user", name))
    service = _known(request["ServiceName"]) if "ServiceName" in request else ""

    def look(db: Reader) -> dict[str, Any]:
        if everybody:
            users = [one.name for one in tables.listed(db, call.account, "user", "/")]
        else:
            users = [tables.get(db, call.account, "user", name).name]
        found = [one for user in users for one in credentials.of_user(db, call.account, "service", user)]
        found = sorted((one for one in found if not service or one.service == service), key=lambda one: one.id)
        some, more = page(request, found, lambda one: one.id)
        # Why: AWS says that a list goes on, and never that it does not
        return {"ServiceSpecificCredentials": [_shape(one) for one in some]} | (more if "Marker" in more else {})

    return call.doors.database.read(look)


@operation("ResetServiceSpecificCredential", needs=_needs("ResetServiceSpecificCredential"))
async def reset_service_specific_credential(call: Call, request: Request) -> dict[str, Any]:
    """Make another password; the old one is worth nothing. Source: IAM API Reference,
    ResetServiceSpecificCredential."""
    name, password = user_name(call, request), ids.token(33)
    kept = await asyncio.to_thread(passwords.hashed, password)

    def change(tx: Tx) -> Credential:
        found = credentials.get(tx, call.account, "service", name, request["ServiceSpecificCredentialId"])
        tx.execute("UPDATE iam_credentials SET body = ? WHERE id = ?", (kept, found.id))
        return found

    made = await call.doors.database.write(change)
    return {"ServiceSpecificCredential": _shape(made) | {"ServicePassword": password}}


@operation("UpdateServiceSpecificCredential", needs=_needs("UpdateServiceSpecificCredential"))
async def update_service_specific_credential(call: Call, request: Request) -> dict[str, Any]:
    """Switch a credential on or off. Source: IAM API Reference, UpdateServiceSpecificCredential."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        found = credentials.get(tx, call.account, "service", name, request["ServiceSpecificCredentialId"])
        credentials.switch(tx, found, status(request))

    await call.doors.database.write(change)
    return {}


@operation("DeleteServiceSpecificCredential", needs=_needs("DeleteServiceSpecificCredential"))
async def delete_service_specific_credential(call: Call, request: Request) -> dict[str, Any]:
    """Remove a credential. Source: IAM API Reference, DeleteServiceSpecificCredential."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        found = credentials.get(tx, call.account, "service", name, request["ServiceSpecificCredentialId"])
        credentials.remove(tx, found)

    await call.doors.database.write(change)
    return {}


def _known(service: str) -> str:
    if service not in SERVICES:
        raise NoSuchEntity(f"No such service {service} is supported for Service Specific Credentials")
    return service


def _shape(found: Credential) -> dict[str, Any]:
    return {
        "CreateDate": tables.moment(found.created),
        "ServiceName": found.service,
        "ServiceUserName": found.alias,
        "ServiceSpecificCredentialId": found.id,
        "UserName": found.user,
        "Status": found.status,
    }
