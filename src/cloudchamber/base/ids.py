# SPDX-License-Identifier: Apache-2.0
"""Identifiers, from the machine's randomness: the only module that makes them."""

from __future__ import annotations

import base64
import itertools
import os
import random  # noqa: TID251 - this is the one place
import secrets
import string

_UPPER = string.ascii_uppercase + "234567"
_LOWER = string.ascii_lowercase + string.digits
_NAMES = random.Random()
"""Seeded by the machine; for names that nobody has to guess."""


_SERIAL = itertools.count(_NAMES.getrandbits(62))
"""Why ids of requests, tracks and segments begin with a number that counts up: an index takes them at its end, and not
on as many pages as there are ids; they are unique, and no secret."""
_TAILS = tuple(
    f"{0x4000 | _NAMES.getrandbits(12):04x}-{0x8000 | _NAMES.getrandbits(14):04x}-{_NAMES.getrandbits(48):012x}"
    for _ in range(256)
)
"""Ends of random UUIDs (RFC 9562, section 5.4), made beforehand: what is before them is never the same twice."""


def step() -> tuple[str, str, str]:
    """Ids of a request (a UUID, as most services write it), of the track that begins with it (24 hexadecimal digits),
    and of its segment (16)."""
    number = next(_SERIAL)
    digits, tail = f"{number:016x}", _TAILS[number & 255]
    return f"{digits[4:12]}-{digits[12:]}-{tail}", digits[4:] + tail[10:], digits


def request_id() -> str:
    """Id of one request."""
    return step()[0]


def track_digits() -> str:
    """The digits of a track's id."""
    return step()[1]


def segment_id() -> str:
    """Id of a segment of a track."""
    return f"{next(_SERIAL):016x}"


def hex_id(prefix: str, digits: int = 17) -> str:
    """Id of an EC2 resource: ``i-0123456789abcdef0``."""
    return f"{prefix}-0{secrets.token_hex(digits)[: digits - 1]}"


def unique_id(prefix: str) -> str:
    """Unique id of an IAM entity: a prefix such as ``AROA`` and 17 more characters."""
    return prefix + "".join(secrets.choice(_UPPER) for _ in range(17))


def access_key_id(prefix: str = "AKIA", account: str = "") -> str:
    """Access key id: 20 characters; ``AKIA`` lasts, ``ASIA`` is temporary. With `account`, that can be read from it."""
    if not account:
        return prefix + "".join(secrets.choice(_UPPER) for _ in range(16))
    # Source: AWS's own ids are base32 of 80 bits, of which bits 1 to 40 are the account's number.
    bits = 1 << 79 | int(account) << 39 | secrets.randbits(39)
    return prefix + base64.b32encode(bits.to_bytes(10)).decode()


def account_of_key(key_id: str) -> str:
    """The account that `access_key_id` was given; of another id, digits that mean nothing."""
    try:
        bits = int.from_bytes(base64.b32decode(key_id[4:20]))
    except ValueError:
        return ""
    return f"{bits >> 39 & (1 << 40) - 1:012d}"


def secret_key() -> str:
    """Secret access key: 40 characters."""
    return secrets.token_urlsafe(30)


def account_id() -> str:
    """Number of an account: 12 digits, the first one no 0, so that it cannot be misread as a shorter number."""
    return str(100_000_000_000 + secrets.randbelow(900_000_000_000))


def letters(count: int) -> str:
    """Small letters and digits, for suffixes such as CloudFormation's."""
    return "".join(secrets.choice(_LOWER) for _ in range(count))


def token(octets: int = 32) -> str:
    """An unguessable token, safe in URLs."""
    return secrets.token_urlsafe(octets)


def random_octets(count: int) -> bytes:
    """Unguessable octets."""
    return os.urandom(count)


def hex_token(octets: int) -> str:
    """Random hexadecimal digits, two for each octet."""
    return secrets.token_hex(octets)


def fraction() -> float:
    """An evenly spread number from 0 to 1, 1 excluded: for shares of traffic."""
    return _NAMES.random()
