# SPDX-License-Identifier: Apache-2.0
"""Server certificates: kept with their private key, which is never told again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.iam import needs, pem, tables
from cloudchamber.services.iam.errors import EntityAlreadyExists, LimitExceeded, NoSuchEntity
from cloudchamber.services.iam.names import check_name, page, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.needs import Needs
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]

ACCOUNT_MAX = 20
_COLUMNS = "account, name, path, id, arn, uploaded, expires, body, chain"


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """A row of `iam_server_certificates`, without its private key."""

    account: str
    name: str
    path: str
    id: str
    arn: str
    uploaded: float
    expires: float
    body: str
    chain: str


def find(db: Reader, account: str, name: str) -> ServerCertificate | None:
    """A certificate by its name."""
    sql = f"SELECT {_COLUMNS} FROM iam_server_certificates WHERE account = ? AND name = ?"
    row = db.execute(sql, (account, name)).fetchone()
    return ServerCertificate(*row) if row is not None else None


def get(db: Reader, account: str, name: str) -> ServerCertificate:
    """A certificate by its name.

    Raises:
        NoSuchEntity: there is none.
    """
    found = find(db, account, name)
    if found is None:
        raise NoSuchEntity(f"The Server Certificate with name {name} cannot be found.")
    return found


def _arn(account: str, path: str, name: str) -> str:
    return f"arn:aws:iam::{account}:server-certificate{path}{name}"


def on_certificate(action: str) -> Needs:
    """On a certificate that exists, by its full ARN."""

    def needed(call: Call, request: Request) -> Iterable[Need]:
        name: str = request["ServerCertificateName"]
        found = call.doors.database.read(lambda db: find(db, call.account, name))
        where = found.arn if found is not None else _arn(call.account, "/", name)
        return (Need(f"iam:{action}", where, needs.tag_keys(request)),)

    return needed


def _upload_needs(call: Call, request: Request) -> Iterable[Need]:
    where = _arn(call.account, request.get("Path", "/"), request["ServerCertificateName"])
    yield Need("iam:UploadServerCertificate", where, needs.tag_keys(request))
    if request.get("Tags"):
        yield Need("iam:TagServerCertificate", where, needs.tag_keys(request))


@operation("UploadServerCertificate", needs=_upload_needs)
async def upload_server_certificate(call: Call, request: Request) -> dict[str, Any]:
    """Keep a certificate with its key, which must fit. Source: IAM API Reference, UploadServerCertificate."""
    name, path = request["ServerCertificateName"], path_of(request)
    check_name("serverCertificateName", name, 128)
    found = pem.certificate(request["CertificateBody"])
    pem.belongs(request["PrivateKey"], found)
    if "CertificateChain" in request:
        pem.chain(request["CertificateChain"])

    def change(tx: Tx) -> ServerCertificate:
        if find(tx, call.account, name) is not None:
            raise _taken(name)
        count = tx.execute("SELECT count(*) FROM iam_server_certificates WHERE account = ?", (call.account,))
        if count.fetchone()[0] >= ACCOUNT_MAX:
            raise LimitExceeded(f"Cannot exceed quota for ServerCertificatesPerAccount: {ACCOUNT_MAX}")
        made = ServerCertificate(
            call.account, name, path, ids.unique_id("ASCA"), _arn(call.account, path, name), call.now.timestamp(),
            found.not_valid_after_utc.timestamp(), request["CertificateBody"].strip(),
            request.get("CertificateChain", "").strip(),
        )  # fmt: skip
        tx.execute(
            f"INSERT INTO iam_server_certificates ({_COLUMNS}, private_key) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (made.account, made.name, made.path, made.id, made.arn, made.uploaded, made.expires, made.body, made.chain,
             request["PrivateKey"]),
        )  # fmt: skip
        tables.put_tags(tx, made.arn, request.get("Tags", ()))
        return made

    told: dict[str, Any] = {"ServerCertificateMetadata": _shape(await call.doors.database.write(change))}
    if request.get("Tags"):
        told["Tags"] = [dict(tag) for tag in request["Tags"]]
    return told


@operation("GetServerCertificate", needs=on_certificate("GetServerCertificate"))
async def get_server_certificate(call: Call, request: Request) -> dict[str, Any]:
    """A certificate and its chain. Source: IAM API Reference, GetServerCertificate."""

    def look(db: Reader) -> dict[str, Any]:
        found = get(db, call.account, request["ServerCertificateName"])
        told: dict[str, Any] = {"ServerCertificateMetadata": _shape(found), "CertificateBody": found.body}
        if found.chain:
            told["CertificateChain"] = found.chain
        told["Tags"] = tables.tag_list(tables.tags(db, found.arn))
        return told

    return {"ServerCertificate": call.doors.database.read(look)}


@operation("ListServerCertificates", needs=needs.account("ListServerCertificates"))
async def list_server_certificates(call: Call, request: Request) -> dict[str, Any]:
    """Certificates below a path prefix, by name. Source: IAM API Reference, ListServerCertificates."""
    prefix = request.get("PathPrefix", "/")

    def look(db: Reader) -> dict[str, Any]:
        sql = f"SELECT {_COLUMNS} FROM iam_server_certificates WHERE account = ? ORDER BY name COLLATE BINARY"
        found = [ServerCertificate(*row) for row in db.execute(sql, (call.account,))]
        some, more = page(request, [one for one in found if one.path.startswith(prefix)], lambda one: one.name)
        return {"ServerCertificateMetadataList": [_shape(one) for one in some]} | more

    return call.doors.database.read(look)


@operation("UpdateServerCertificate", needs=on_certificate("UpdateServerCertificate"))
async def update_server_certificate(call: Call, request: Request) -> dict[str, Any]:
    """Give a certificate another name or path; its ARN follows. Source: IAM API Reference, UpdateServerCertificate."""

    def change(tx: Tx) -> None:
        found = get(tx, call.account, request["ServerCertificateName"])
        name = request.get("NewServerCertificateName", found.name)
        path = path_of({"Path": request.get("NewPath", found.path)})
        check_name("newServerCertificateName", name, 128)
        other = find(tx, call.account, name)
        if other is not None and other.id != found.id:
            raise _taken(name)
        new = _arn(call.account, path, name)
        tx.execute(
            "UPDATE iam_server_certificates SET name = ?, path = ?, arn = ? WHERE arn = ?",
            (name, path, new, found.arn),
        )
        tx.execute("UPDATE iam_tags SET arn = ? WHERE arn = ?", (new, found.arn))

    await call.doors.database.write(change)
    return {}


@operation("DeleteServerCertificate", needs=on_certificate("DeleteServerCertificate"))
async def delete_server_certificate(call: Call, request: Request) -> dict[str, Any]:
    """Remove a certificate with its key. Source: IAM API Reference, DeleteServerCertificate."""

    def change(tx: Tx) -> None:
        found = get(tx, call.account, request["ServerCertificateName"])
        tx.execute("DELETE FROM iam_server_certificates WHERE arn = ?", (found.arn,))
        tx.execute("DELETE FROM iam_tags WHERE arn = ?", (found.arn,))

    await call.doors.database.write(change)
    return {}


def _taken(name: str) -> EntityAlreadyExists:
    return EntityAlreadyExists(f"The Server Certificate with name {name} already exists.")


def _shape(found: ServerCertificate) -> dict[str, Any]:
    return {
        "Path": found.path,
        "ServerCertificateName": found.name,
        "ServerCertificateId": found.id,
        "Arn": found.arn,
        "UploadDate": tables.moment(found.uploaded),
        "Expiration": tables.moment(found.expires),
    }
