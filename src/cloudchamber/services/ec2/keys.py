# SPDX-License-Identifier: Apache-2.0
"""Key pairs: public keys by name, for the log-in to instances. A private key is made, handed over once, and forgotten.

Source: Amazon EC2 User Guide, Amazon EC2 key pairs, Verify the fingerprint of your key pair.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
import sqlite3
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import errors, needs, tables
from cloudchamber.services.ec2.checks import many, named, same, select, specified_tags, tag_list, takes
from cloudchamber.services.ec2.tables import moment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.store.database import Reader, Tx

KEY_PAIRS_MAX = 5000
_NAME_MAX = 255
_MATERIAL_MAX = 16 * 1024
_KINDS = ("ssh-rsa", "ssh-ed25519")
_LENGTHS = (1024, 2048, 4096)
"""Lengths of RSA keys that may be imported."""
_RFC_4716 = re.compile(
    r"---- BEGIN SSH2 PUBLIC KEY ----\r?\n((?:[\x20-\x7e]{1,72}:.*(?:\\\r?\n.*)*\r?\n)*)([A-Za-z0-9+/=\s]+)"
    r"---- END SSH2 PUBLIC KEY ----"
)


@dataclass(frozen=True, slots=True)
class KeyPair:
    """One key pair; `public_key` is a line for `authorized_keys`, `created` is POSIX seconds."""

    id: str
    account: str
    region: str
    name: str
    type: str
    fingerprint: str
    public_key: str
    created: float


_COLUMNS = ", ".join(one.name for one in fields(KeyPair))


def find(db: Reader, account: str, region: str, name: str) -> KeyPair | None:
    """A key pair by name."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM ec2_key_pairs WHERE account = ? AND region = ? AND name = ?", (account, region, name)
    ).fetchone()
    return KeyPair(*row) if row is not None else None


def by_id(db: Reader, account: str, region: str, identifier: str) -> KeyPair | None:
    """A key pair by id."""
    row = db.execute(
        f"SELECT {_COLUMNS} FROM ec2_key_pairs WHERE account = ? AND region = ? AND id = ?",
        (account, region, identifier),
    ).fetchone()
    return KeyPair(*row) if row is not None else None


def of_launch(call: Call, name: str) -> tuple[str, str]:
    """Name and public key of the key pair that a launch names; empty texts for none.

    Raises:
        InvalidKeyPair.NotFound: there is no such key pair.
    """
    if not name:
        return "", ""
    found = call.doors.database.read(lambda db: find(db, call.account, call.region, name))
    if found is None:
        raise errors.InvalidKeyPairNotFound(f"The key pair '{name}' does not exist")
    return found.name, found.public_key


def _view(db: Reader, row: KeyPair, *, public: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "KeyPairId": row.id,
        "KeyName": row.name,
        "KeyType": row.type,
        "KeyFingerprint": row.fingerprint,
        "CreateTime": moment(row.created),
        "Tags": tag_list(tables.tags(db, row.id)),
    }
    return {**shown, "PublicKey": row.public_key} if public else shown


def _check_name(name: str) -> None:
    if not name or len(name) > _NAME_MAX or not name.isascii() or not name.isprintable() or name != name.strip():
        raise errors.InvalidParameterValue(
            "Value for parameter KeyName is invalid. Length must be from 1 to 255 ASCII characters, without "
            "leading or trailing spaces."
        )


async def _keep(call: Call, row: KeyPair, tags: Mapping[str, str]) -> None:
    def change(tx: Tx) -> None:
        count = tx.execute(
            "SELECT count(*) FROM ec2_key_pairs WHERE account = ? AND region = ?", (call.account, call.region)
        ).fetchone()[0]
        if count >= KEY_PAIRS_MAX:
            raise errors.ResourceLimitExceeded("The maximum number of key pairs has been reached.")
        try:
            tx.execute("INSERT INTO ec2_key_pairs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(row))
        except sqlite3.IntegrityError:
            raise errors.InvalidKeyPairDuplicate("The keypair already exists") from None
        tables.put_tags(tx, call.account, call.region, row.id, tags)

    await call.doors.database.write(change)


def _made(row: KeyPair, tags: Mapping[str, str]) -> dict[str, Any]:
    return {
        "KeyPairId": row.id,
        "KeyName": row.name,
        "KeyFingerprint": row.fingerprint,
        "Tags": tag_list(tags),
    }


@operation("CreateKeyPair", needs=needs.create_key("CreateKeyPair"))
@takes("KeyName", "KeyType", "KeyFormat", "TagSpecifications")
async def create_key_pair(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Make a key pair; the response is the only place where its private key ever is.

    Raises:
        InvalidKeyPair.Duplicate: the name is taken.
        UnsupportedOperation: PuTTY's format.

    Source: Amazon EC2 API Reference, CreateKeyPair.
    """
    name, kind, form = request["KeyName"], request.get("KeyType") or "rsa", request.get("KeyFormat") or "pem"
    _check_name(name)
    if kind not in ("rsa", "ed25519"):
        raise errors.InvalidParameterValue(f"Value ({kind}) for parameter KeyType is invalid.")
    if form != "pem":
        unknown = errors.UnsupportedOperation if form == "ppk" else errors.InvalidParameterValue
        raise unknown(
            f"Value ({form}) for parameter KeyFormat is not supported by this EC2 endpoint: take 'pem', and convert "
            f"it with puttygen."
        )
    tags = specified_tags(request, "key-pair").get("key-pair", {})
    # Why aside: two primes take a while.
    private, public, fingerprint = await asyncio.to_thread(_generate, kind)
    row = KeyPair(
        ids.hex_id("key"), call.account, call.region, name, kind, fingerprint, f"{public} {name}", call.now.timestamp()
    )
    await _keep(call, row, tags)
    return {**_made(row, tags), "KeyMaterial": private}


def _generate(kind: str) -> tuple[str, str, str]:
    """Private key in PEM, public key as OpenSSH writes it, and AWS's fingerprint."""
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    public_form = (forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    bare = forms.NoEncryption()
    if kind == "ed25519":
        short = ed25519.Ed25519PrivateKey.generate()
        public = short.public_key().public_bytes(*public_form).decode()
        private = short.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, bare)
        return private.decode(), public, _sha256(public)
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(*public_form).decode()
    private = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.TraditionalOpenSSL, bare)
    der = key.private_bytes(forms.Encoding.DER, forms.PrivateFormat.PKCS8, bare)
    return private.decode(), public, _colons(hashlib.sha1(der, usedforsecurity=False).hexdigest())


def _sha256(public: str) -> str:
    return base64.b64encode(hashlib.sha256(base64.b64decode(public.split()[1])).digest()).decode()


def _colons(digits: str) -> str:
    return ":".join(digits[place : place + 2] for place in range(0, len(digits), 2))


@operation("ImportKeyPair", needs=needs.create_key("ImportKeyPair"))
@takes("KeyName", "PublicKeyMaterial", "TagSpecifications")
async def import_key_pair(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Keep a public key that was made elsewhere.

    Raises:
        InvalidKey.Format: it is no RSA (1024, 2048, 4096) or ED25519 public key in a form that AWS takes.
        InvalidKeyPair.Duplicate: the name is taken.

    Source: Amazon EC2 API Reference, ImportKeyPair.
    """
    _check_name(request["KeyName"])
    kind, public, fingerprint = read_public(bytes(request["PublicKeyMaterial"]))
    tags = specified_tags(request, "key-pair").get("key-pair", {})
    line = f"{public} {request['KeyName']}"
    row = KeyPair(
        ids.hex_id("key"), call.account, call.region, request["KeyName"], kind, fingerprint, line, call.now.timestamp()
    )
    await _keep(call, row, tags)
    return _made(row, tags)


def read_public(material: bytes) -> tuple[str, str, str]:
    """Type, OpenSSH line without its comment, and AWS's fingerprint of a public key: OpenSSH, RFC 4716, DER in base64.

    Raises:
        InvalidKey.Format: it is none.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization as forms
    from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

    refused = errors.InvalidKeyFormat("Key is not in valid OpenSSH public key format")
    if len(material) > _MATERIAL_MAX:
        raise refused
    try:
        text = material.decode("ascii").strip()
        if not text.startswith(("ssh-", "----")):  # Why: command lines encode it once more than the API does
            text = base64.b64decode(text, validate=True).decode("ascii").strip() if _is_ssh(text) else text
        block = _RFC_4716.search(text)
        if text.startswith("ssh-"):
            if text.split()[0] not in _KINDS:
                raise refused
            key = forms.load_ssh_public_key(" ".join(text.split()[:2]).encode())
        elif block:
            blob = base64.b64decode("".join(block.group(2).split()), validate=True)
            kind = blob[4 : 4 + int.from_bytes(blob[:4])].decode("ascii")
            if kind not in _KINDS:
                raise refused
            key = forms.load_ssh_public_key(f"{kind} {base64.b64encode(blob).decode()}".encode())
        else:
            key = forms.load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, binascii.Error, UnsupportedAlgorithm, IndexError):
        raise refused from None
    public = ""
    if isinstance(key, (rsa.RSAPublicKey, ed25519.Ed25519PublicKey)):
        public = key.public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH).decode()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "ed25519", public, _sha256(public)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size not in _LENGTHS:
        raise refused
    der = key.public_bytes(forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo)
    return "rsa", public, _colons(hashlib.md5(der, usedforsecurity=False).hexdigest())


def _is_ssh(text: str) -> bool:
    """Whether base64 hides an OpenSSH or RFC 4716 text."""
    try:
        return base64.b64decode(text, validate=True).lstrip().startswith((b"ssh-", b"----"))
    except (ValueError, binascii.Error):
        return False


@operation("DescribeKeyPairs", needs=needs.look("DescribeKeyPairs"))
@takes("KeyNames", "KeyPairIds", "Filters", "IncludePublicKey")
async def describe_key_pairs(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """List key pairs by name; the public keys only if asked for.

    Source: Amazon EC2 API Reference, DescribeKeyPairs.
    """

    def read(db: Reader) -> list[dict[str, Any]]:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM ec2_key_pairs WHERE account = ? AND region = ? ORDER BY name",
            (call.account, call.region),
        )
        return [_view(db, KeyPair(*row), public=bool(request.get("IncludePublicKey"))) for row in rows]

    rows = call.doors.database.read(read)
    for key, member, what in (("KeyName", "KeyNames", "key pair"), ("KeyPairId", "KeyPairIds", "key pair ID")):
        rows = named(
            rows, key, many(request, member),
            lambda one, what=what: errors.InvalidKeyPairNotFound(f"The {what} '{one}' does not exist"),
        )  # fmt: skip
    paths = {"key-pair-id": "KeyPairId", "key-name": "KeyName", "fingerprint": "KeyFingerprint"}
    return {"KeyPairs": select(rows, request.get("Filters"), paths, same)}


@operation("DeleteKeyPair", needs=needs.delete_key)
@takes("KeyName", "KeyPairId")
async def delete_key_pair(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a key pair, if there is one; instances keep its public key.

    Source: Amazon EC2 API Reference, DeleteKeyPair.
    """
    name, identifier = request.get("KeyName"), request.get("KeyPairId")
    if not name and not identifier:
        raise errors.MissingParameter("The request must contain the parameter KeyName or KeyPairId")

    def change(tx: Tx) -> dict[str, Any]:
        row = find(tx, call.account, call.region, name) if name else None
        if identifier:
            other = by_id(tx, call.account, call.region, identifier)
            if name and other != row:
                raise errors.InvalidParameterCombination("KeyName and KeyPairId name different key pairs")
            row = other
        if row is None:
            return {"Return": True}
        tables.delete_tags(tx, row.id)
        tx.execute("DELETE FROM ec2_key_pairs WHERE id = ?", (row.id,))
        return {"Return": True, "KeyPairId": row.id}

    return await call.doors.database.write(change)
