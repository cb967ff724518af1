# SPDX-License-Identifier: Apache-2.0
"""SCRAM-SHA-256 verifiers, so that no password is sent to PostgreSQL, logged by it, or kept by us.

Source: RFC 5802, RFC 7677; PostgreSQL documentation, pg_authid.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

_ROUNDS = 4096


def verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL stores for a password of printable ASCII."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${_ROUNDS}:{_text(salt)}${_text(stored)}:{_text(server)}"


def _text(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
