# SPDX-License-Identifier: Apache-2.0
"""SSH public keys of users. Nothing here signs in with them: CodeCommit is no part of a chamber."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.iam import credentials, needs, pem, tables
from cloudchamber.services.iam.credentials import Credential
from cloudchamber.services.iam.errors import DuplicateSSHPublicKey, InvalidInput, LimitExceeded
from cloudchamber.services.iam.names import page
from cloudchamber.services.iam.users import user_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

PER_USER_MAX = 5


@operation("UploadSSHPublicKey", needs=needs.entity("UploadSSHPublicKey", "user"))
async def upload_ssh_public_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep an RSA public key for a user. Source: IAM API Reference, UploadSSHPublicKey."""
    body = request["SSHPublicKeyBody"]
    call.doors.database.read(lambda db: tables.get(db, call.account, "user", request["UserName"]))
    print_ = pem.ssh_fingerprint(pem.ssh_key(body))

    def change(tx: Tx) -> dict[str, Any]:
        user = tables.get(tx, call.account, "user", request["UserName"])
        had = credentials.of_user(tx, call.account, "ssh", user.name)
        if any(one.print == print_ for one in had):
            raise DuplicateSSHPublicKey("The SSH public key is already associated with the specified IAM user.")
        if len(had) >= PER_USER_MAX:
            raise LimitExceeded(f"Cannot exceed quota for SSHPublicKeysPerUser: {PER_USER_MAX}")
        made = Credential(
            ids.unique_id("APKA"), call.account, user.name, "ssh", "Active", call.now.timestamp(), body, print_, "", "",
            0.0,
        )  # fmt: skip
        credentials.add(tx, made)
        return _shape(made, body)

    return {"SSHPublicKey": await call.doors.database.write(change)}


@operation("GetSSHPublicKey", needs=needs.entity("GetSSHPublicKey", "user"))
async def get_ssh_public_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A key, in the form that is asked for. Source: IAM API Reference, GetSSHPublicKey."""
    found = call.doors.database.read(
        lambda db: credentials.get(db, call.account, "ssh", request["UserName"], request["SSHPublicKeyId"])
    )
    is_pem = found.body.lstrip().startswith("-----BEGIN ")
    if is_pem == (request["Encoding"] == "PEM"):
        return {"SSHPublicKey": _shape(found, found.body)}
    return {"SSHPublicKey": _shape(found, pem.ssh_text(pem.ssh_key(found.body), request["Encoding"]))}


@operation("ListSSHPublicKeys", needs=needs.entity("ListSSHPublicKeys", "user"))
async def list_ssh_public_keys(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """A user's keys, without their bodies. Source: IAM API Reference, ListSSHPublicKeys."""
    name = user_name(call, request)

    def look(db: Reader) -> dict[str, Any]:
        user = tables.get(db, call.account, "user", name)
        some, more = page(request, credentials.of_user(db, call.account, "ssh", user.name), lambda one: one.id)
        told = [
            {k: v for k, v in _shape(one, "").items() if k not in ("Fingerprint", "SSHPublicKeyBody")} for one in some
        ]
        return {"SSHPublicKeys": told} | more

    return call.doors.database.read(look)


@operation("UpdateSSHPublicKey", needs=needs.entity("UpdateSSHPublicKey", "user"))
async def update_ssh_public_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Switch a key on or off. Source: IAM API Reference, UpdateSSHPublicKey."""

    def change(tx: Tx) -> None:
        found = credentials.get(tx, call.account, "ssh", request["UserName"], request["SSHPublicKeyId"])
        credentials.switch(tx, found, status(request))

    await call.doors.database.write(change)
    return {}


@operation("DeleteSSHPublicKey", needs=needs.entity("DeleteSSHPublicKey", "user"))
async def delete_ssh_public_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Remove a key. Source: IAM API Reference, DeleteSSHPublicKey."""

    def change(tx: Tx) -> None:
        credentials.remove(tx, credentials.get(tx, call.account, "ssh", request["UserName"], request["SSHPublicKeyId"]))

    await call.doors.database.write(change)
    return {}


def status(request: Mapping[str, Any]) -> str:
    """The status that a request sets; `Expired` is none that a client may set.

    Raises:
        InvalidInput: it is `Expired`.
    """
    wanted: str = request["Status"]
    if wanted == "Expired":
        raise InvalidInput("Status can be set to Active or Inactive only.")
    return wanted


def _shape(found: Credential, body: str) -> dict[str, Any]:
    return {
        "UserName": found.user,
        "SSHPublicKeyId": found.id,
        "Fingerprint": found.print,
        "SSHPublicKeyBody": body,
        "Status": found.status,
        "UploadDate": tables.moment(found.created),
    }
