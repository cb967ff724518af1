# SPDX-License-Identifier: Apache-2.0
"""Names and rules of secrets, pure. Source: AWS Secrets Manager API Reference; User Guide, quotas."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.services.secretsmanager.errors import InvalidParameterException

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECRETS_MAX = 10_000
VERSIONS_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
_OWNED = re.compile(r"[a-z0-9-]+![A-Za-z0-9/_+=.@-]{1,400}")
_VALUE_MAX = 65_536
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def arn(account: str, region: str, name: str, suffix: str) -> str:
    """The ARN of a secret: its name and six random characters."""
    return str(Arn("secretsmanager", region, account, f"secret:{name}-{suffix}"))


def check_name(name: str, owner: str) -> None:
    """Refuse a bad name; ``service!name`` is for the service that owns it.

    Raises:
        InvalidParameterException: it breaks the rules.
    """
    if owner and _OWNED.fullmatch(name) and name.startswith(f"{owner}!"):
        return
    if not _NAME.fullmatch(name):
        raise InvalidParameterException(
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"
        )


def value(request: Mapping[str, Any]) -> tuple[str, bytes] | None:
    """``string`` or ``binary`` and the octets; None if the request has no value.

    Raises:
        InvalidParameterException: both are given, or it is too long.
    """
    text, octets = request.get("SecretString"), request.get("SecretBinary")
    if text is None and octets is None:
        return None
    if text is not None and octets is not None:
        raise InvalidParameterException(
            "You can't specify both a binary secret value and a string secret value in the same secret."
        )
    found = ("string", str(text).encode()) if text is not None else ("binary", bytes(octets or b""))
    if not 1 <= len(found[1]) <= _VALUE_MAX:
        raise InvalidParameterException("A secret value has 1 to 65536 bytes.")
    return found


def tags(given: list[Mapping[str, Any]] | None, owner: str = "") -> dict[str, str]:
    """Tags of a request.

    Raises:
        InvalidParameterException: reserved keys, too many, too long.
    """
    found = {str(one.get("Key", "")): str(one.get("Value", "")) for one in given or ()}
    for key, text in found.items():
        if not 1 <= len(key) <= 128 or len(text) > 256 or (key.lower().startswith("aws:") and not owner):
            raise InvalidParameterException(f"Invalid tag: {key}")
    if len(found) > 50:
        raise InvalidParameterException("A secret has at most 50 tags.")
    return found


def random_password(request: Mapping[str, Any], number: Callable[[int], int]) -> str:
    """A password by the rules of GetRandomPassword; ``number(n)`` is a random number below n.

    Raises:
        InvalidParameterException: no character is left, or the length does not do.
    """
    length = int(request.get("PasswordLength", 32))
    if not 1 <= length <= 4096:
        raise InvalidParameterException("PasswordLength must be 1 to 4096.")
    groups = [
        text
        for flag, text in (
            ("ExcludeLowercase", string.ascii_lowercase),
            ("ExcludeUppercase", string.ascii_uppercase),
            ("ExcludeNumbers", string.digits),
            ("ExcludePunctuation", _PUNCTUATION),
        )
        if not request.get(flag)
    ]
    if request.get("IncludeSpace"):
        groups.append(" ")
    excluded = set(str(request.get("ExcludeCharacters", "")))
    groups = [kept for group in groups if (kept := "".join(c for c in group if c not in excluded))]
    every = "".join(groups)
    if not every:
        raise InvalidParameterException("InvalidParameterException: the exclusions leave no character.")
    first = [group[number(len(group))] for group in groups] if request.get("RequireEachIncludedType", True) else []
    if len(first) > length:
        raise InvalidParameterException("PasswordLength is too short for one character of each included type.")
    drawn = first + [every[number(len(every))] for _ in range(length - len(first))]
    for last in range(len(drawn) - 1, 0, -1):
        other = number(last + 1)
        drawn[last], drawn[other] = drawn[other], drawn[last]
    return "".join(drawn)
