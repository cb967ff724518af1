# SPDX-License-Identifier: Apache-2.0
"""What is secret of one function is in no process that other functions are forked from, nor in theirs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT_KEY
from tests.services.lambda_.functions import call, function

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read through /proc")
MARK = "the-secret-of-the-first-function-4711"
LOOKS = (
    "def handler(event, context):\n"
    "    wanted, found = bytes.fromhex(event['turned']), 0\n"
    "    turn = bytes(255 - n for n in range(256))\n"
    "    with open('/proc/self/maps') as maps, open('/proc/self/mem', 'rb', buffering=0) as memory:\n"
    "        for line in maps:\n"
    "            span, rights = line.split()[:2]\n"
    "            if not rights.startswith('rw'): continue\n"
    "            first, last = (int(part, 16) for part in span.split('-'))\n"
    "            try:\n"
    "                memory.seek(first)\n"
    "                found += memory.read(last - first).translate(turn).count(wanted)\n"
    "            except (OSError, ValueError, OverflowError): continue\n"
    "    return found\n"
)


def _memory(pid: int) -> bytes:
    """All that a process may write, which is all that it can have learned."""
    held = bytearray()
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights = line.split()[:2]
            if not rights.startswith("rw"):
                continue
            first, last = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(first)
                held += memory.read(last - first)
            except (OSError, ValueError, OverflowError):
                continue
    return bytes(held)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for path in tasks for child in path.read_text().split()]


def test_secrets_never_pass_through_a_fork_server(chamber: Any) -> None:
    variables = {"Environment": {"Variables": {"MARK": MARK}}}
    first = function(chamber, "secret-first", "import os\ndef handler(e, c): return os.environ['MARK']\n", **variables)
    assert call(first, "secret-first")[0] == MARK
    second = function(chamber, "secret-second", LOOKS, MemorySize=512)
    key, secret = ROOT_KEY.split(":")

    def found(wanted: str) -> int:
        return call(second, "secret-second", {"turned": bytes(255 - n for n in wanted.encode()).hex()})[0]

    assert found("AWS_LAMBDA_FUNCTION_NAME") > 0
    assert [found(wanted) for wanted in (MARK, key, secret)] == [0, 0, 0]
    # The fork servers: those of the chamber's children that are started with nothing in their environment.
    assert chamber.process is not None
    looked = 0
    for pid in _children(chamber.process.pid):
        try:
            held = _memory(pid)
        except OSError:
            continue  # it does not let itself be read, by others of this user either
        looked += 1
        for wanted in (MARK, secret):
            assert wanted.encode() not in held, f"process {pid} has a secret"
    if not looked:
        pytest.skip("the fork server does not let its memory be read")
    assert MARK.encode() in _memory(chamber.process.pid)  # who must know it does: the search finds what is there
