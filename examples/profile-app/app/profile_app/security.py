# SPDX-License-Identifier: Apache-2.0
"""Passwords, signed-in browsers, and protection against forged forms.

Sources: OWASP Password Storage, Session Management and CSRF Prevention cheat sheets.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import delete, select

from profile_app.database import SignIn, User

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SIGNED_IN_FOR = timedelta(days=14)
PASSWORD_MIN, PASSWORD_MAX = 10, 200

_hasher = PasswordHasher()
_nobody = _hasher.hash(secrets.token_hex(16))


def hash_password(password: str) -> str:
    """An argon2id hash with a salt of its own."""
    return _hasher.hash(password)


def check_password(user: User | None, password: str) -> bool:
    """Whether the password is the user's; takes as long for a name that nobody has."""
    try:
        return _hasher.verify(user.password_hash if user else _nobody, password) and user is not None
    except (Argon2Error, InvalidHashError):
        return False


def now() -> datetime:
    """Now in UTC, as the tables have it."""
    return datetime.now(UTC).replace(tzinfo=None)


def sign_in(db: Session, user: User) -> str:
    """Remember a browser; returns the cookie's value."""
    token = secrets.token_urlsafe(32)
    db.execute(delete(SignIn).where(SignIn.expires_at < now()))
    db.add(SignIn(token_hash=_digest(token), user_id=user.id, expires_at=now() + SIGNED_IN_FOR))
    return token


def who(db: Session, token: str) -> User | None:
    """Whose browser this is."""
    if not token:
        return None
    found = db.scalar(select(SignIn).where(SignIn.token_hash == _digest(token), SignIn.expires_at > now()))
    return found.user if found else None


def sign_out(db: Session, token: str) -> None:
    """Forget a browser."""
    db.execute(delete(SignIn).where(SignIn.token_hash == _digest(token)))


def new_form_token() -> str:
    """A value that stands in a strict cookie and in each of our own forms; no other site can know it."""
    return secrets.token_urlsafe(24)


def form_is_ours(cookie: str, field: str) -> bool:
    """Whether a form came from one of our pages."""
    return bool(cookie) and hmac.compare_digest(cookie.encode(), field.encode())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
