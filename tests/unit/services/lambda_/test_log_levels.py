# SPDX-License-Identifier: Apache-2.0
"""Levels of printed lines, by "Log-level filtering" of the Lambda Developer Guide."""

from __future__ import annotations

import json

import pytest

from cloudchamber.services.lambda_.log_levels import passing

NOW = "2026-11-02T16:51:31.587199Z"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (json.dumps({"level": "debug", "timestamp": NOW}), "DEBUG"),
        (json.dumps({"level": "TRACE", "time": "2026-11-02T16:51:31+01:00"}), "TRACE"),
        (json.dumps({"Level": "CRITICAL", "@timestamp": NOW}), "FATAL"),
        (json.dumps({"level": "WARNING", "timestamp": NOW}), "WARN"),
        (json.dumps({"level": "ERROR"}), "INFO"),
        (json.dumps({"level": "ERROR", "timestamp": "2026-11-02 16:51:31,587"}), "INFO"),
        (json.dumps({"level": "ERROR", "timestamp": 1}), "INFO"),
        (json.dumps({"level": ["ERROR"], "timestamp": NOW}), "INFO"),
        (json.dumps({"level": "loud", "timestamp": NOW}), "INFO"),
        ("text", "INFO"),
        ("{", "INFO"),
        ('{"a":' * 100_000, "INFO"),
        ('{"a": ' + "9" * 5_000 + "}", "INFO"),
    ],
)
def test_a_line_is_of_one_level(line: str, level: str):
    levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
    passes = [least for least in levels if passing([line], least)]
    assert passes == levels[: levels.index(level) + 1]
