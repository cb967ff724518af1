# SPDX-License-Identifier: Apache-2.0
"""X.509 signing certificates of users. Nothing here signs with them: SOAP requests are no part of a chamber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import credentials, needs, pem, tables
from cloudchamber.services.iam.credentials import Credential
from cloudchamber.services.iam.errors import DuplicateCertificate, InvalidCertificate, LimitExceeded
from cloudchamber.services.iam.names import page
from cloudchamber.services.iam.ssh_keys import status
from cloudchamber.services.iam.users import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

PER_USER_MAX = 2


@operation("UploadSigningCertificate", needs=needs.entity("UploadSigningCertificate", "user"))
async def upload_signing_certificate(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a certificate for a user. Source: IAM API Reference, UploadSigningCertificate."""
    name, body = user_name(call, request), request["CertificateBody"]
    call.doors.database.read(lambda db: tables.get(db, call.account, "user", name))
    found = pem.certificate(body)
    if found.not_valid_after_utc < call.now:
        raise InvalidCertificate("The certificate has expired.")
    print_ = pem.fingerprint(found)

    def change(tx: Tx) -> dict[str, Any]:
        user = tables.get(tx, call.account, "user", name)
        taken = "SELECT 1 FROM iam_credentials WHERE account = ? AND kind = 'signing' AND print = ?"
        if tx.execute(taken, (call.account, print_)).fetchone():
            raise DuplicateCertificate("The same certificate is associated with an IAM user in the account.")
        if len(credentials.of_user(tx, call.account, "signing", user.name)) >= PER_USER_MAX:
            raise LimitExceeded(f"Cannot exceed quota for CertificatesPerUser: {PER_USER_MAX}")
        own_id = ids.unique_id(ids.unique_id("")[:7])
        now = call.now.timestamp()
        made = Credential(own_id, call.account, user.name, "signing", "Active", now, body, print_, "", "", 0.0)
        credentials.add(tx, made)
        return _shape(made)

    return {"Certificate": await call.doors.database.write(change)}


@operation("ListSigningCertificates", needs=needs.entity("ListSigningCertificates", "user"))
async def list_signing_certificates(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A user's certificates. Source: IAM API Reference, ListSigningCertificates."""
    name = user_name(call, request)

    def look(db: Reader) -> dict[str, Any]:
        user = tables.get(db, call.account, "user", name)
        some, more = page(request, credentials.of_user(db, call.account, "signing", user.name), lambda one: one.id)
        return {"Certificates": [_shape(one) for one in some]} | more

    return call.doors.database.read(look)


@operation("UpdateSigningCertificate", needs=needs.entity("UpdateSigningCertificate", "user"))
async def update_signing_certificate(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Switch a certificate on or off. Source: IAM API Reference, UpdateSigningCertificate."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        found = credentials.get(tx, call.account, "signing", name, request["CertificateId"])
        credentials.switch(tx, found, status(request))

    await call.doors.database.write(change)
    return {}


@operation("DeleteSigningCertificate", needs=needs.entity("DeleteSigningCertificate", "user"))
async def delete_signing_certificate(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a certificate. Source: IAM API Reference, DeleteSigningCertificate."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        credentials.remove(tx, credentials.get(tx, call.account, "signing", name, request["CertificateId"]))

    await call.doors.database.write(change)
    return {}


def _shape(found: Credential) -> dict[str, Any]:
    return {
        "UserName": found.user,
        "CertificateId": found.id,
        "CertificateBody": found.body,
        "Status": found.status,
        "UploadDate": tables.moment(found.created),
    }
