# SPDX-License-Identifier: Apache-2.0
"""Functions that mean harm to their Runtime API, to the log, to the chamber."""

from __future__ import annotations

import base64
import threading
from typing import Any

import pytest

from tests.services.lambda_.functions import call, function, messages, until

ASK = """
import json, socket

def ask(path, body=b"", head="", method="POST"):
    with socket.create_connection(("127.0.0.1", 9001)) as sock:
        sock.settimeout(10)
        try:
            sock.sendall(
                f"{method} /2018-06-01/runtime/{path} HTTP/1.1\\r\\nHost: x\\r\\n{head}"
                f"Content-Length: {len(body)}\\r\\n\\r\\n".encode() + body
            )
            return sock.recv(65536).decode()
        except ConnectionError:
            return "cut"
"""


def test_an_answer_is_of_its_own_invocation_and_counts_once(chamber: Any) -> None:
    source = ASK + (
        "def handler(event, context):\n"
        "    said = [ask('invocation/11111111-1111-1111-1111-111111111111/response', b'1'),\n"
        "            ask(f'invocation/{context.aws_request_id}/response', b'\"first\"'),\n"
        "            ask(f'invocation/{context.aws_request_id}/response', b'\"second\"'),\n"
        "            ask('init/error', b'{}')]\n"
        "    print(*[line for text in said for line in text.splitlines() if 'error' in line])\n"
        "    return 'third'\n"
    )
    client = function(chamber, "enemy-answers", source)
    for _ in range(2):
        value, response = call(client, "enemy-answers", LogType="Tail")
        assert value == "first" and "FunctionError" not in response
    until(lambda: messages(chamber, "enemy-answers", '"InvalidRequestID" "InvalidStateTransition"'))


@pytest.mark.parametrize(
    "attack",
    [
        "ask('x', head='A: ' + 'b' * 50_000_000 + '\\r\\n')",
        "ask('x' * 5_000_000)",
        "ask(f'invocation/{context.aws_request_id}/response', head='Lambda-Runtime-Function-Response-Mode: streaming"
        "\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n1\\r\\nx\\r\\n0\\r\\nB: ' + 'c' * 50_000_000)",
        "ask('x', b'y' * 50_000_000)",
    ],
    ids=["headers", "path", "trailers", "body"],
)
def test_nothing_endless_is_kept_or_holds_up_others(chamber: Any, attack: str, request: Any) -> None:
    name = f"enemy-{request.node.callspec.id}"
    client = function(chamber, name, ASK + f"def handler(event, context):\n    return {attack}[:12]\n", MemorySize=512)
    over: list[Any] = []
    running = threading.Thread(target=lambda: over.append(call(client, name)))
    running.start()
    other = chamber.client("lambda")
    while running.is_alive():
        other.get_account_settings()  # answered meanwhile: the client gives up after its own time limit
    running.join()
    value, response = over[0]
    assert value in ("cut", "HTTP/1.1 404") or "FunctionError" in response


def test_connections_are_counted(chamber: Any) -> None:
    source = (
        "import socket\n"
        "def handler(event, context):\n"
        "    held = [socket.create_connection(('127.0.0.1', 9001)) for _ in range(200)]\n"
        "    for one in held: one.settimeout(0.2)\n"
        "    shut = 0\n"
        "    for one in reversed(held):\n"
        "        try: shut += one.recv(1) == b''\n"
        "        except TimeoutError: break\n"
        "        except ConnectionError: shut += 1\n"
        "    return shut\n"
    )
    client = function(chamber, "enemy-connections", source)
    assert call(client, "enemy-connections")[0] > 100
    assert call(client, "enemy-connections")[0] > 100


@pytest.mark.parametrize("line", ["x" * 99 + "\\n", "x", "\\n" * 10 + "x"], ids=["lines", "one-line", "blanks"])
def test_a_run_may_print_so_much(chamber: Any, line: str, request: Any) -> None:
    name = f"enemy-prints-{request.node.callspec.id}"
    source = (
        "import os\n"
        "def handler(event, context):\n"
        f"    text, left = (b'{line}' * 65536)[:65536], event.get('octets', 0)\n"
        "    while left > 0: left -= os.write(1, text)\n"
        "    print('the end')\n"
    )
    client = function(chamber, name, source)
    _, response = call(client, name, {"octets": 100 << 20}, LogType="Tail")
    tail = base64.b64decode(response["LogResult"]).decode()
    assert "LOGS_DROPPED Records: " in tail and "REPORT" in tail and "the end" not in tail
    _, response = call(client, name, LogType="Tail")  # the next run may print again
    assert "the end" in base64.b64decode(response["LogResult"]).decode()
    until(lambda: messages(chamber, name, "LOGS_DROPPED"))
    logs = chamber.client("logs")
    (group,) = logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{name}")["logGroups"]
    assert group["storedBytes"] < 40 << 20


def test_an_answer_that_is_too_long(chamber: Any) -> None:
    client = function(chamber, "enemy-answer", "def handler(event, context):\n    return 'x' * 7_000_000\n")
    value, response = call(client, "enemy-answer")
    assert response["FunctionError"] == "Unhandled" and value["errorType"] == "Function.ResponseSizeTooLarge"
    words = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    assert value["errorMessage"] == words
