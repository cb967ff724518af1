# SPDX-License-Identifier: Apache-2.0
"""Event documents that Lambda itself writes. Pure.

Source: Lambda Developer Guide, capturing records of asynchronous invocations.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

from cloudchamber.base.clock import iso

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "RecursiveInvocation"]


def invocation_record(
    *,
    now: datetime,
    request_id: str,
    arn: str,
    version: str,
    condition: Condition,
    runs: int,
    request_payload: bytes,
    response_payload: bytes,
    function_error: str,
) -> dict[str, Any]:
    """The record for a destination: the event, and how its last run ended."""
    record: dict[str, Any] = {
        "version": "1.0",
        "timestamp": iso(now),
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn,
            "condition": condition,
            "approximateInvokeCount": runs,
        },
        "requestPayload": _value(request_payload),
    }
    if runs:
        context: dict[str, Any] = {"statusCode": 200, "executedVersion": version}
        if function_error:
            context["functionError"] = function_error
        record["responseContext"] = context
        record["responsePayload"] = _value(response_payload)
    return record


def destination(settings: Mapping[str, Any], which: str) -> str:
    """The ARN in ``DestinationConfig`` for ``OnSuccess`` or ``OnFailure``; empty if there is none."""
    config: Mapping[str, Mapping[str, str] | None] = settings.get("DestinationConfig") or {}
    return (config.get(which) or {}).get("Destination", "")


def _value(payload: bytes) -> Any:
    try:
        return json.loads(payload) if payload else None
    except ValueError:
        return payload.decode("utf-8", "replace")


def record_key(now: datetime, name: str, request_id: str) -> str:
    """Where S3 destinations keep a record."""
    return f"aws/lambda/async/{name}/{now:%Y/%m/%d}/{now:%Y-%m-%dT%H.%M.%S}-{request_id}"
