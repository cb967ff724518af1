# SPDX-License-Identifier: Apache-2.0
"""Dynamic references: ``{{resolve:ssm:...}}`` and ``{{resolve:secretsmanager:...}}``.

They stay as they are in everything that is stored or shown; their values exist only in the call that creates or
updates the resource. Source: AWS CloudFormation User Guide, "Get values stored in other services using dynamic
references".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.base.errors import ValidationError
from cloudchamber.services.cloudformation.kinds import is_list, is_map

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Ask = Callable[[str, str, dict[str, Any]], Awaitable[Any]]

_REFERENCE = re.compile(r"\{\{resolve:([a-z-]+):([^{}]{1,2048})\}\}")
REFERENCES_MAX = 60


async def fill(value: Any, ask: Ask) -> Any:
    """`value` with every dynamic reference replaced by what it names now.

    Raises:
        ValidationError: a reference is not well-formed, or names what does not exist.
        ServiceError: the caller may not read it.
    """
    found = dict.fromkeys(_references(value), "")
    if not found:
        return value
    if len(found) > REFERENCES_MAX:
        raise ValidationError(f"A template can have at most {REFERENCES_MAX} dynamic references")
    for text in found:
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise ValidationError("Could not parse a dynamic reference")
        found[text] = await _one(match.group(1), match.group(2), ask)
    return _replace(value, found)


def _references(value: Any) -> list[str]:
    if isinstance(value, str):
        return [match.group(0) for match in _REFERENCE.finditer(value)]
    if is_map(value):
        return [text for item in value.values() for text in _references(item)]
    if is_list(value):
        return [text for item in value for text in _references(item)]
    return []


def _replace(value: Any, found: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: found[match.group(0)], value)
    if is_map(value):
        return {key: _replace(item, found) for key, item in value.items()}
    if is_list(value):
        return [_replace(item, found) for item in value]
    return value


async def _one(kind: str, rest: str, ask: Ask) -> str:
    if kind in ("ssm", "ssm-secure"):
        answer = await ask("ssm", "GetParameters", {"Names": [rest], "WithDecryption": kind == "ssm-secure"})
        if not answer.get("Parameters"):
            raise ValidationError(f"Unable to fetch parameters [{rest}] from parameter store for this account.")
        return str(answer["Parameters"][0]["Value"])
    if kind == "secretsmanager":
        return await _secret(rest, ask)
    raise ValidationError(f"Dynamic reference to {kind} is not supported")


def secret_parts(rest: str) -> tuple[str, str, str, str]:
    """Secret id, JSON key, version stage and version id of a reference."""
    parts = rest.split(":")
    head = 7 if rest.startswith("arn:") else 1
    secret_id, tail = ":".join(parts[:head]), parts[head:]
    if len(tail) > 4 or (tail and tail[0] not in ("", "SecretString")):
        raise ValidationError("Could not parse SecretString of a dynamic reference to secretsmanager")
    key, stage, version = (*tail[1:], "", "", "")[:3]
    return secret_id, key, stage, version


async def _secret(rest: str, ask: Ask) -> str:
    secret_id, key, stage, version = secret_parts(rest)
    request: dict[str, Any] = {"SecretId": secret_id}
    if stage:
        request["VersionStage"] = stage
    if version:
        request["VersionId"] = version
    text = (await ask("secretsmanager", "GetSecretValue", request)).get("SecretString")
    if not isinstance(text, str):
        raise ValidationError(f"Secret {secret_id} has no SecretString")
    if not key:
        return text
    try:
        return str(json.loads(text)[key])
    except (ValueError, KeyError, TypeError):
        # Why `from None`: the cause holds the secret's text.
        raise ValidationError(
            f"Could not find a value associated with JSONKey in SecretString of {secret_id}"
        ) from None
