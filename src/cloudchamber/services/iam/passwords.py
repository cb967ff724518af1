# SPDX-License-Identifier: Apache-2.0
"""Passwords of users: how they are kept, and what an account demands of them.

A password is kept as its scrypt hash with a salt of its own; it is never written, logged or told.
Source: IAM User Guide, "Set an account password policy for IAM users".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base import ids
from cloudchamber.policy.evaluate import policy
from cloudchamber.services.iam.errors import PasswordPolicyViolation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.policy.evaluate import Policy
    from cloudchamber.store.database import Reader

_COST, _BLOCK, _LANES = 2**14, 8, 1
"""Of scrypt: 16 MiB and about 50 ms for each guess. Source: RFC 7914."""
_SYMBOLS = frozenset("!@#$%^&*()_+-=[]{}|'")


@dataclass(frozen=True, slots=True)
class Rules:
    """A password policy, as UpdateAccountPasswordPolicy sets it: what is not given falls back to these values."""

    MinimumPasswordLength: int = 6
    RequireSymbols: bool = False
    RequireNumbers: bool = False
    RequireUppercaseCharacters: bool = False
    RequireLowercaseCharacters: bool = False
    AllowUsersToChangePassword: bool = False
    MaxPasswordAge: int = 0
    PasswordReusePrevention: int = 0
    HardExpiry: bool = False

    def text(self) -> str:
        """As it is kept in a row."""
        return json.dumps(asdict(self))

    def told(self) -> dict[str, Any]:
        """As GetAccountPasswordPolicy answers."""
        given = asdict(self)
        for member in ("MaxPasswordAge", "PasswordReusePrevention"):
            if not given[member]:
                del given[member]
        return given | {"ExpirePasswords": self.MaxPasswordAge > 0}


def of_request(request: Mapping[str, Any]) -> Rules:
    """The policy that a request sets; it replaces the whole policy."""
    return Rules(
        request.get("MinimumPasswordLength", 6),
        request.get("RequireSymbols", False),
        request.get("RequireNumbers", False),
        request.get("RequireUppercaseCharacters", False),
        request.get("RequireLowercaseCharacters", False),
        request.get("AllowUsersToChangePassword", False),
        request.get("MaxPasswordAge", 0),
        request.get("PasswordReusePrevention", 0),
        request.get("HardExpiry", False),
    )


def rules(db: Reader, account: str) -> Rules | None:
    """The account's own policy; None if it has none, and AWS's default is in force."""
    row = db.execute("SELECT document FROM iam_password_policies WHERE account = ?", (account,)).fetchone()
    return Rules(**json.loads(row[0])) if row is not None else None


def check(own: Rules | None, account: str, password: str) -> None:
    """Hold a new password against the account's policy, or the default one.

    Raises:
        PasswordPolicyViolation: it does not meet it; the message says in what.
    """
    small = any(c.islower() for c in password)
    capital = any(c.isupper() for c in password)
    digit = any(c.isdigit() for c in password)
    symbol = any(c in _SYMBOLS for c in password)
    wrong: list[str] = []
    least = own.MinimumPasswordLength if own is not None else 8
    if len(password) < least:
        wrong.append(f"Password should have a minimum length of {least}")
    if own is None:
        if small + capital + digit + symbol < 3:
            wrong.append("Password should have at least three of: uppercase, lowercase, numbers, symbols")
        if password == account:
            wrong.append("Password should not be identical to the account")
    else:
        for demanded, has, words in (
            (own.RequireUppercaseCharacters, capital, "uppercase letter"),
            (own.RequireLowercaseCharacters, small, "lowercase letter"),
            (own.RequireNumbers, digit, "number"),
            (own.RequireSymbols, symbol, "symbol"),
        ):
            if demanded and not has:
                wrong.append(f"Password should have at least one {words}")
    if wrong:
        raise PasswordPolicyViolation("; ".join(wrong))


def hashed(password: str) -> str:
    """What is kept of a password. Takes about 50 ms: not for the event loop."""
    salt = bytes.fromhex(ids.hex_token(16))
    digest = _scrypt(password, salt, _COST)
    return f"scrypt${_COST}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def matches(password: str, kept: str) -> bool:
    """Whether it is the password that was kept. Takes about 50 ms: not for the event loop."""
    _, cost, salt, digest = kept.split("$")
    return hmac.compare_digest(_scrypt(password, base64.b64decode(salt), int(cost)), base64.b64decode(digest))


def _scrypt(password: str, salt: bytes, cost: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=_BLOCK, p=_LANES, maxmem=64 * 1024 * 1024, dklen=32)


def granted(db: Reader, user_arn: str, account: str) -> Policy | None:
    """What the account's password policy itself allows a user: to change the own password, if it says so.

    Source: IAM User Guide, "Permit IAM users to change their own passwords".
    """
    own = rules(db, account)
    if own is None or not own.AllowUsersToChangePassword:
        return None
    statement = [
        {"Effect": "Allow", "Action": "iam:ChangePassword", "Resource": user_arn},
        {"Effect": "Allow", "Action": "iam:GetAccountPasswordPolicy", "Resource": "*"},
    ]
    text = json.dumps({"Version": "2012-10-17", "Statement": statement})
    return policy("password policy of the account", "identity", text)
