# SPDX-License-Identifier: Apache-2.0
"""How one run of a function ended, and how that is said. Pure.

Source: Lambda Developer Guide, troubleshooting invocation and execution issues; log lines of the platform.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

TIMED_OUT = "Sandbox.Timedout"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: its answer, and what the log, the track and the caller hear of it.

    `function_error` is the ``X-Amz-Function-Error`` header, empty for success. `usable` says whether the environment
    may run again. `memory_mb` is 0 where unknown.
    """

    payload: bytes
    function_error: str = ""
    error_type: str = ""
    duration_ms: float = 0.0
    init_ms: float = 0.0
    memory_mb: int = 0
    usable: bool = True
    log: bytes = b""
    """The last 4 KB of what this run logged."""
    content_type: str = ""
    """What a runtime said of its payload; it is empty where the payload is JSON."""
    version: str = ""
    """The version that ran."""
    logs_denied: str = ""
    """Why its log did not reach CloudWatch Logs; empty if it did or may yet."""


def failed(error_type: str, message: str) -> bytes:
    """The payload of an error that the platform makes."""
    return json.dumps({"errorType": error_type, "errorMessage": message}, separators=(",", ":")).encode()


def exit_words(code: int) -> str:
    """How Lambda says that a runtime ended: ``exit status 1``, ``signal: killed``."""
    signals = {-9: "killed", -11: "segmentation fault", -6: "aborted", -15: "terminated", -7: "bus error"}
    if code == 0:
        return "Runtime exited without providing a reason"
    if code > 128:
        code = 128 - code
    if code < 0:
        return f"Runtime exited with error: signal: {signals.get(code, str(-code))}"
    return f"Runtime exited with error: exit status {code}"


def billed_ms(outcome: Outcome) -> int:
    """What would be billed: initialisation included, in whole milliseconds."""
    return max(1, math.ceil(outcome.duration_ms + outcome.init_ms))


def report(request_id: str, outcome: Outcome, memory_size_mb: int, trace_id: str) -> str:
    """The REPORT line."""
    parts = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {outcome.duration_ms:.2f} ms",
        f"Billed Duration: {billed_ms(outcome)} ms",
        f"Memory Size: {memory_size_mb} MB",
    ]
    if outcome.memory_mb:
        parts.append(f"Max Memory Used: {outcome.memory_mb} MB")
    if outcome.init_ms:
        parts.append(f"Init Duration: {outcome.init_ms:.2f} ms")
    if outcome.error_type == TIMED_OUT:
        parts.append("Status: timeout")
    elif outcome.error_type.startswith(("Runtime.", "Extension.")):
        parts += ["Status: error", f"Error Type: {outcome.error_type}"]
    if trace_id:
        parts.append(f"XRAY TraceId: {trace_id}")
    return "\t".join(parts) + "\t"
