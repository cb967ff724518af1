# SPDX-License-Identifier: Apache-2.0
"""Virtual MFA devices: made with a seed, enabled by two codes in a row, and then good for STS."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.base.errors import ValidationError
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.iam import mfa, needs, tables
from cloudchamber.services.iam.errors import (
    DeleteConflict,
    EntityAlreadyExists,
    InvalidAuthenticationCode,
    LimitExceeded,
    NoSuchEntity,
)
from cloudchamber.services.iam.names import check_name, page, path_of
from cloudchamber.services.iam.users import user_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.iam.mfa import Device
    from cloudchamber.services.iam.needs import Needs
    from cloudchamber.store.database import Reader, Tx

    Request = Mapping[str, Any]

PER_USER_MAX = 8
ACCOUNT_MAX = 5000
"""As many as users. Source: IAM User Guide, "IAM and AWS STS quotas"."""
_CODE = "Authentication code for device is not valid."


def _serial(account: str, path: str, name: str) -> str:
    return f"arn:aws:iam::{account}:mfa{path}{name}"


def _create_needs(call: Call, request: Request) -> Iterable[Need]:
    where = _serial(call.account, request.get("Path", "/"), request["VirtualMFADeviceName"])
    yield Need("iam:CreateVirtualMFADevice", where, needs.tag_keys(request))
    if request.get("Tags"):
        yield Need("iam:TagMFADevice", where, needs.tag_keys(request))


def on_device(action: str) -> Needs:
    """On a device, whose serial number is its ARN."""
    return lambda call, request: (Need(f"iam:{action}", request["SerialNumber"], needs.tag_keys(request)),)


@operation("CreateVirtualMFADevice", needs=_create_needs)
async def create_virtual_mfa_device(call: Call, request: Request) -> dict[str, Any]:
    """Make a device that is nobody's yet; the only time its seed is told. Source: IAM API Reference,
    CreateVirtualMFADevice."""
    name, path = request["VirtualMFADeviceName"], path_of(request)
    check_name("virtualMFADeviceName", name, 226)
    serial = _serial(call.account, path, name)
    seed = bytes.fromhex(ids.hex_token(mfa.SEED_OCTETS))

    def change(tx: Tx) -> Device:
        if mfa.find(tx, serial) is not None:
            raise EntityAlreadyExists("MFADevice entity at the same path and name already exists.")
        count = tx.execute("SELECT count(*) FROM iam_mfa WHERE account = ?", (call.account,)).fetchone()[0]
        if count >= ACCOUNT_MAX:
            raise LimitExceeded(f"Cannot exceed quota for VirtualMFADevicesPerAccount: {ACCOUNT_MAX}")
        row = (serial, call.account, name, path, seed, call.now.timestamp())
        tx.execute("INSERT INTO iam_mfa (serial, account, name, path, seed, created) VALUES (?, ?, ?, ?, ?, ?)", row)
        tables.put_tags(tx, serial, request.get("Tags", ()))
        return get(tx, call.account, serial)

    device = await call.doors.database.write(change)
    told: dict[str, Any] = {
        "SerialNumber": serial,
        "Base32StringSeed": mfa.base32(seed).encode(),
        "QRCodePNG": _qr_code(mfa.uri(device)),
    }
    if request.get("Tags"):
        told["Tags"] = [dict(tag) for tag in request["Tags"]]
    return {"VirtualMFADevice": told}


@operation("EnableMFADevice", needs=needs.entity("EnableMFADevice", "user"))
async def enable_mfa_device(call: Call, request: Request) -> dict[str, Any]:
    """Give a user a device, if both codes are its codes and follow one another. Source: IAM API Reference,
    EnableMFADevice."""

    def change(tx: Tx) -> None:
        user = tables.get(tx, call.account, "user", request["UserName"])
        device = get(tx, call.account, request["SerialNumber"])
        if device.user:
            raise EntityAlreadyExists(f"MFA Device with serial number {device.serial} is already in use.")
        if len(mfa.of_user(tx, call.account, user.name)) >= PER_USER_MAX:
            raise LimitExceeded(f"Cannot exceed quota for MFADevicesPerUser: {PER_USER_MAX}")
        drift, step = _in_a_row(call, request, device, again=False)
        tx.execute(
            "UPDATE iam_mfa SET user = ?, enabled = ?, drift = ?, last_step = ? WHERE serial = ?",
            (user.name, call.now.timestamp(), drift, step, device.serial),
        )

    await call.doors.database.write(change)
    return {}


@operation("ResyncMFADevice", needs=needs.entity("ResyncMFADevice", "user"))
async def resync_mfa_device(call: Call, request: Request) -> dict[str, Any]:
    """Follow a device whose clock went astray, by two codes in a row. Source: IAM API Reference, ResyncMFADevice."""

    def change(tx: Tx) -> None:
        device = _of_user(tx, call, request["UserName"], request["SerialNumber"])
        drift, step = _in_a_row(call, request, device, again=True)
        tx.execute("UPDATE iam_mfa SET drift = ?, last_step = ? WHERE serial = ?", (drift, step, device.serial))

    await call.doors.database.write(change)
    return {}


@operation("DeactivateMFADevice", needs=needs.entity("DeactivateMFADevice", "user"))
async def deactivate_mfa_device(call: Call, request: Request) -> dict[str, Any]:
    """Take a device from its user; it stays, with its seed. Source: IAM API Reference, DeactivateMFADevice."""
    name = user_name(call, request)

    def change(tx: Tx) -> None:
        device = _of_user(tx, call, name, request["SerialNumber"])
        tx.execute("UPDATE iam_mfa SET user = '', enabled = 0, drift = 0 WHERE serial = ?", (device.serial,))

    await call.doors.database.write(change)
    return {}


@operation("DeleteVirtualMFADevice", needs=on_device("DeleteVirtualMFADevice"))
async def delete_virtual_mfa_device(call: Call, request: Request) -> dict[str, Any]:
    """Remove a device that no user has. Source: IAM API Reference, DeleteVirtualMFADevice."""

    def change(tx: Tx) -> None:
        device = get(tx, call.account, request["SerialNumber"])
        if device.user:
            raise DeleteConflict("MFA VirtualDevice in use. Must deactivate first.")
        tx.execute("DELETE FROM iam_mfa WHERE serial = ?", (device.serial,))
        tx.execute("DELETE FROM iam_tags WHERE arn = ?", (device.serial,))

    await call.doors.database.write(change)
    return {}


@operation("ListVirtualMFADevices", needs=needs.account("ListVirtualMFADevices"))
async def list_virtual_mfa_devices(call: Call, request: Request) -> dict[str, Any]:
    """The account's devices, without their seeds. Source: IAM API Reference, ListVirtualMFADevices."""
    which = request.get("AssignmentStatus", "Any")

    def look(db: Reader) -> dict[str, Any]:
        rows = db.execute("SELECT * FROM iam_mfa WHERE account = ? ORDER BY serial", (call.account,))
        found = [mfa.Device(*row) for row in rows]
        found = [one for one in found if which == "Any" or bool(one.user) == (which == "Assigned")]
        some, more = page(request, found, lambda one: one.serial)
        return {"VirtualMFADevices": [_shape(db, one) for one in some]} | more

    return call.doors.database.read(look)


@operation("ListMFADevices", needs=needs.entity("ListMFADevices", "user"))
async def list_mfa_devices(call: Call, request: Request) -> dict[str, Any]:
    """A user's devices. Source: IAM API Reference, ListMFADevices."""
    if "UserName" not in request and call.principal.kind == "root":
        return {"MFADevices": [], "IsTruncated": False}
    name = user_name(call, request)

    def look(db: Reader) -> dict[str, Any]:
        user = tables.get(db, call.account, "user", name)
        some, more = page(request, mfa.of_user(db, call.account, user.name), lambda one: one.serial)
        told = [
            {"UserName": user.name, "SerialNumber": one.serial, "EnableDate": tables.moment(one.enabled)}
            for one in some
        ]
        return {"MFADevices": told} | more

    return call.doors.database.read(look)


@operation("GetMFADevice", needs=needs.entity("GetMFADevice", "user"))
async def get_mfa_device(call: Call, request: Request) -> dict[str, Any]:
    """A device, and whose it is. Source: IAM API Reference, GetMFADevice."""

    def look(db: Reader) -> dict[str, Any]:
        if "UserName" in request:
            device = _of_user(db, call, request["UserName"], request["SerialNumber"])
        else:
            device = get(db, call.account, request["SerialNumber"])
        told: dict[str, Any] = {"SerialNumber": device.serial}
        if device.user:
            told |= {"UserName": device.user, "EnableDate": tables.moment(device.enabled)}
        return told

    return call.doors.database.read(look)


def get(db: Reader, account: str, serial: str) -> Device:
    """A device of the account.

    Raises:
        NoSuchEntity: there is none.
    """
    found = mfa.find(db, serial)
    if found is None or found.account != account:
        raise NoSuchEntity(f"VirtualMFADevice with serial number {serial} doesn't exist.")
    return found


def _of_user(db: Reader, call: Call, name: str, serial: str) -> Device:
    user = tables.get(db, call.account, "user", name)
    device = mfa.find(db, serial)
    if device is None or device.account != call.account or device.user.lower() != user.name.lower():
        raise NoSuchEntity(f"MFA Device with serial number {serial} does not exist for user {user.name}.")
    return device


def _in_a_row(call: Call, request: Request, device: Device, *, again: bool) -> tuple[int, int]:
    first, second = request["AuthenticationCode1"], request["AuthenticationCode2"]
    if not (first + second).isascii() or not (first + second).isdigit():
        raise ValidationError("Authentication codes must be six digits.")
    found = mfa.drift(device, first, second, call.now, again=again)
    if found is None:
        raise InvalidAuthenticationCode(_CODE)
    return found


def _shape(db: Reader, device: Device) -> dict[str, Any]:
    told: dict[str, Any] = {"SerialNumber": device.serial}
    if device.user:
        user = tables.find(db, device.account, "user", device.user)
        if user is not None:
            told["User"] = tables.shape(db, user, whole=False)
        told["EnableDate"] = tables.moment(device.enabled)
    return told


def _qr_code(text: str) -> bytes:
    """A QR code as PNG."""
    import segno

    file = io.BytesIO()
    segno.make_qr(text, error="l").save(file, kind="png", scale=4)
    return file.getvalue()
