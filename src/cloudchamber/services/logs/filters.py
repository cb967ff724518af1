# SPDX-License-Identifier: Apache-2.0
"""Filter patterns of requests, and TestMetricFilter, which tries one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.logs import needs, patterns
from cloudchamber.services.logs.errors import InvalidParameterException

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call
    from cloudchamber.services.logs.patterns.scanner import Pattern

_MESSAGES_MAX = 50


def wanted_pattern(request: Mapping[str, Any], member: str) -> Pattern:
    """The pattern in a member of a request; without one, everything fits.

    Raises:
        InvalidParameterException: it is no pattern.
    """
    try:
        return patterns.parse(str(request.get(member, "")))
    except patterns.PatternError as error:
        raise InvalidParameterException(str(error)) from error


@operation("TestMetricFilter", needs=needs.everything("TestMetricFilter"))
async def test_metric_filter(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Try a pattern on up to 50 messages: which fit, and what it takes from them.

    Source: CloudWatch Logs API Reference, TestMetricFilter.
    """
    wanted = wanted_pattern(request, "filterPattern")
    messages: list[str] = list(request["logEventMessages"])
    if not 1 <= len(messages) <= _MESSAGES_MAX or not all(messages):
        raise InvalidParameterException(
            "1 validation error detected: Value at 'logEventMessages' failed to satisfy constraint: Member must have "
            f"length between 1 and {_MESSAGES_MAX}, and each message at least one character"
        )

    def look() -> list[dict[str, Any]]:
        found = ((n, message, wanted.extract(message)) for n, message in enumerate(messages))
        return [
            {"eventNumber": n, "eventMessage": message, "extractedValues": values}
            for n, message, values in found
            if values is not None
        ]

    return {"matches": await asyncio.to_thread(look)}
