# SPDX-License-Identifier: Apache-2.0
"""What Lambda itself writes into a function's log, as text or as JSON. Pure.

Source: Lambda Developer Guide, "Configuring JSON and plain text log formats", "Log-level filtering", and "Lambda
Telemetry API Event schema reference".
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cloudchamber.base.clock import iso
from cloudchamber.services.lambda_ import outcome

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cloudchamber.services.lambda_.outcome import Outcome

LEVELS = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
SYSTEM_LEVELS = ("DEBUG", "INFO", "WARN")


@dataclass(frozen=True, slots=True)
class PlatformLog:
    """Writes the platform's records for one environment of a function version."""

    name: str
    version: str
    memory_mb: int
    as_json: bool
    level: str = "INFO"

    @classmethod
    def of(cls, name: str, version: str, memory_mb: int, logging: Mapping[str, Any]) -> PlatformLog:
        """As the function's `LoggingConfig` says."""
        as_json = logging.get("LogFormat") == "JSON"
        return cls(name, version, memory_mb, as_json, str(logging.get("SystemLogLevel", "INFO")))

    def _record(self, now: datetime, level: str, kind: str, record: Mapping[str, Any]) -> list[str]:
        if SYSTEM_LEVELS.index(level) < SYSTEM_LEVELS.index(self.level):
            return []
        return [json.dumps({"time": iso(now), "type": f"platform.{kind}", "record": record}, separators=(",", ":"))]

    def init_start(self, now: datetime, kind: str, runtime: str, note: str) -> list[str]:
        """An environment begins; `note` says where its interpreter is not the one that was named."""
        if not self.as_json:
            return [f"INIT_START Runtime Version: {runtime}" + (f" ({note})" if note else "")]
        record: dict[str, Any] = {"initializationType": kind, "phase": "init", "runtimeVersion": runtime}
        record |= {"functionName": self.name, "functionVersion": self.version}
        record |= {"instanceMaxMemory": self.memory_mb << 20}
        return self._record(now, "INFO", "initStart", record | ({"note": note} if note else {}))

    def init_end(self, now: datetime, kind: str, duration_ms: float, error_type: str) -> list[str]:
        """Initialisation is over; text says nothing of it unless it failed."""
        status = "success" if not error_type else "timeout" if error_type == outcome.TIMED_OUT else "error"
        if not self.as_json:
            if not error_type:
                return []
            shown = f"INIT_REPORT Init Duration: {duration_ms:.2f} ms\tPhase: init\tStatus: {status}"
            return [shown + (f"\tError Type: {error_type}" if status == "error" else "")]
        record: dict[str, Any] = {"initializationType": kind, "phase": "init", "status": status}
        record |= {"metrics": {"durationMs": round(duration_ms, 3)}}
        if error_type:
            record["errorType"] = error_type
        return self._record(now, "WARN" if error_type else "DEBUG", "initReport", record)

    def start(self, now: datetime, request_id: str) -> list[str]:
        """A run begins."""
        if not self.as_json:
            return [f"START RequestId: {request_id} Version: {self.version}"]
        return self._record(now, "INFO", "start", {"requestId": request_id, "version": self.version})

    def end(self, now: datetime, request_id: str, done: Outcome, trace_id: str) -> list[str]:
        """A run is over."""
        if not self.as_json:
            return [
                f"END RequestId: {request_id}",
                outcome.report(request_id, done, self.memory_mb, trace_id),
            ]
        status, level = _status(done)
        metrics: dict[str, Any] = {"durationMs": round(done.duration_ms, 3)}
        metrics |= {"billedDurationMs": outcome.billed_ms(done), "memorySizeMB": self.memory_mb}
        if done.memory_mb:
            metrics["maxMemoryUsedMB"] = done.memory_mb
        if done.init_ms:
            metrics["initDurationMs"] = round(done.init_ms, 3)
        said: dict[str, Any] = {"requestId": request_id, "status": status}
        if status in ("error", "failure") and done.error_type:
            said["errorType"] = done.error_type
        if trace_id:
            said["tracing"] = {"type": "X-Amzn-Trace-Id", "value": f"Root={trace_id}"}
        over = self._record(
            now, "DEBUG" if status == "success" else "WARN", "runtimeDone",
            said | {"metrics": {"durationMs": round(done.duration_ms, 3), "producedBytes": len(done.payload)}},
        )  # fmt: skip
        return over + self._record(now, level, "report", said | {"metrics": metrics})

    def dropped(self, now: datetime, lines: int, octets: int, limit: int) -> list[str]:
        """What a function printed beyond the limit of one run is not kept."""
        reason = f"a run may print {limit} bytes"
        if not self.as_json:
            return [f"LOGS_DROPPED Records: {lines}\tBytes: {octets}\tReason: {reason}"]
        return self._record(
            now, "WARN", "logsDropped", {"droppedRecords": lines, "droppedBytes": octets, "reason": reason}
        )

    def timed_out(self, now: datetime, request_id: str, words: str) -> list[str]:
        """The line before the end of a run that took too long; JSON says it in the report."""
        return [] if self.as_json else [f"{iso(now)} {request_id} {words}"]


def _status(done: Outcome) -> tuple[str, str]:
    if done.error_type == outcome.TIMED_OUT:
        return "timeout", "WARN"
    if not done.function_error:
        return "success", "INFO"
    return ("failure" if done.error_type.startswith(("Runtime.", "Extension.")) else "error"), "WARN"
