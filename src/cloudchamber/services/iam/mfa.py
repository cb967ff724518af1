# SPDX-License-Identifier: Apache-2.0
"""Virtual MFA devices: their codes, and whether a code that somebody gives is good.

Source: RFC 6238 (time-based one-time passwords: SHA-1, six digits, 30 seconds) and RFC 4226; IAM User Guide, "Resync
virtual and hardware MFA devices".
"""

from __future__ import annotations

import base64
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from datetime import datetime

    from cloudchamber.store.database import Reader, Tx

STEP_S = 30
SEED_OCTETS = 40
"""AWS's seeds are 64 characters in base32."""
_ENABLE_STEPS = 20
"""How far, in steps, the clock of a device that is enabled may be off: ten minutes."""
_RESYNC_STEPS = 2880
"""How far it may be off when it is synchronised again: one day."""
_SLACK_STEPS = 1


@dataclass(frozen=True, slots=True)
class Device:
    """A row of `iam_mfa`."""

    serial: str
    account: str
    name: str
    path: str
    seed: bytes
    created: float
    user: str
    """Empty for a device that is nobody's."""
    enabled: float
    drift: int
    """Steps by which the device's clock is ahead of ours."""
    last_step: int
    """The device's step of the last code that was taken; no code counts twice."""


def code(seed: bytes, step: int) -> str:
    """The six digits of one step."""
    digest = hmac.digest(seed, step.to_bytes(8, "big"), "sha1")
    at = digest[-1] & 15
    number = int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF
    return f"{number % 1_000_000:06d}"


def step_of(now: datetime) -> int:
    """The step that a moment lies in."""
    return int(now.timestamp()) // STEP_S


def pair(seed: bytes, first: str, second: str, around: int, reach: int) -> int | None:
    """The step of `first`, if `second` is the code right after it; the nearest one to `around`."""
    for off in sorted(range(-reach, reach + 1), key=abs):
        step = around + off
        if step >= 0 and _same(code(seed, step), first) and _same(code(seed, step + 1), second):
            return step
    return None


def drift(device: Device, first: str, second: str, now: datetime, *, again: bool) -> tuple[int, int] | None:
    """Drift and last step of a device, from two codes in a row; None if they are not.

    `again`: for a device that is in use and comes back in step; its clock may have gone far astray.
    """
    around = step_of(now)
    found = pair(device.seed, first, second, around, _RESYNC_STEPS if again else _ENABLE_STEPS)
    if found is None or found + 1 <= device.last_step:
        return None
    # Why: the second code may be given up to a step before or after it is shown
    return found + 1 - around, found + 1


def find(db: Reader, serial: str) -> Device | None:
    """A device by its serial number, which is its ARN."""
    row = db.execute("SELECT * FROM iam_mfa WHERE serial = ?", (serial,)).fetchone()
    return Device(*row) if row is not None else None


def of_user(db: Reader, account: str, user: str) -> list[Device]:
    """The devices that are enabled for a user, by serial number."""
    rows = db.execute(
        "SELECT * FROM iam_mfa WHERE account = ? AND user = ? AND user != '' ORDER BY serial", (account, user)
    )
    return [Device(*row) for row in rows]


def accept(tx: Tx, account: str, user: str, serial: str, given: str, now: datetime) -> bool:
    """Whether a user's device shows this code now; if so, neither it nor an older one is good again.

    To be called in a write: what STS's operations ask of `SerialNumber` and `TokenCode`.
    """
    found = shown(tx, account, user, serial, given, now)
    if found is not None:
        tx.execute("UPDATE iam_mfa SET last_step = ?, drift = ? WHERE serial = ?", (*found, serial))
    return found is not None


def shown(db: Reader, account: str, user: str, serial: str, given: str, now: datetime) -> tuple[int, int] | None:
    """Step and drift of a user's device that shows this code now; None if it does not, or if the code was taken."""
    device = find(db, serial)
    if device is None or device.account != account or not user or device.user.lower() != user.lower():
        return None
    around = step_of(now) + device.drift
    for step in range(around - _SLACK_STEPS, around + _SLACK_STEPS + 1):
        if step > device.last_step and _same(code(device.seed, step), given):
            return step, device.drift + step - around
    return None


def base32(seed: bytes) -> str:
    """A seed as a person types it."""
    return base64.b32encode(seed).decode()


def uri(device: Device) -> str:
    """What the QR code says. Source: IAM API Reference, VirtualMFADevice."""
    return (
        f"otpauth://totp/Amazon%20Web%20Services:{quote(device.name)}@{device.account}"
        f"?secret={base32(device.seed)}&issuer=Amazon%20Web%20Services"
    )


def _same(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode())
