# SPDX-License-Identifier: Apache-2.0
"""Repository policies: their statements name no resource, because there is only the repository. Pure."""

from __future__ import annotations

import json
from typing import Any

from cloudchamber.policy.document import PolicyError
from cloudchamber.policy.evaluate import policy as read_policy
from cloudchamber.services.ecr.errors import InvalidParameterException

POLICY_MAX_BYTES = 10_240


def with_resource(text: str) -> str:
    """A policy whose statements name every resource."""
    document: Any = json.loads(text)
    given: Any = document.get("Statement", [])
    statements: list[Any] = [given] if isinstance(given, dict) else given
    return json.dumps({**document, "Statement": [{"Resource": "*", **one} for one in statements]})


def check(name: str, text: str) -> None:
    """Refuse what is no policy.

    Raises:
        InvalidParameterException: it cannot be read.
    """
    if len(text.encode()) > POLICY_MAX_BYTES:
        raise InvalidParameterException(f"The policy is longer than {POLICY_MAX_BYTES} bytes")
    try:
        read_policy(f"policy of {name}", "resource", with_resource(text))
    except (PolicyError, ValueError, AttributeError, TypeError) as error:
        raise InvalidParameterException(
            f"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided' "
            f"({error})"
        ) from error
