# SPDX-License-Identifier: Apache-2.0
"""A start must stay light: what is large is imported by the function that needs it."""

from __future__ import annotations

import subprocess
import sys

LARGE = {"awscrt", "boto3", "botocore", "cryptography", "email", "psycopg", "rich", "samtranslator", "urllib3", "yaml"}
"""Libraries that a start pays for in tens of milliseconds, or in megabytes."""
_START = """
import sys
from cloudchamber import services
from cloudchamber.chamber import Chamber
from cloudchamber.contract.service import discover
assert discover(services)
print(*{name.partition(".")[0] for name in sys.modules})
"""


def test_a_start_imports_no_large_library() -> None:
    done = subprocess.run([sys.executable, "-c", _START], capture_output=True, text=True, check=True)
    assert not LARGE.intersection(done.stdout.split())
