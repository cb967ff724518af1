# SPDX-License-Identifier: Apache-2.0
"""pytest plugin for ``python -m tools conformance snapshots``, in the other suite's interpreter.

The whole recorded answer is compared, whatever the suite lets itself off; and the names and the port that its tests
have built in lead to the chamber.
"""

from __future__ import annotations

import os
import socket
from typing import Any

PORT = 4566
NAMES = ("localhost.localstack.cloud", "localhost", "127.0.0.1")
IN_PROCESS = "in_process"
"""The property of tests that change settings of a LocalStack in their own process: not in its own count."""
_found = socket.getaddrinfo


def _here(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
    name = host.decode() if isinstance(host, bytes) else host
    if isinstance(name, str) and (name in NAMES or name.rstrip(".").endswith(f".{NAMES[0]}")):
        host = "127.0.0.1"
        if str(port) == str(PORT):
            port = int(os.environ["SNAPSHOT_PORT"])
    return _found(host, port, *args, **kwargs)


socket.getaddrinfo = _here


def _lenient(mark: Any) -> bool:
    never = mark.name == "skipif" and not mark.args and "condition" not in mark.kwargs
    return mark.name in ("skip_snapshot_verify", "skip") or never


def pytest_collection_modifyitems(session: Any, config: Any, items: list[Any]) -> None:
    """Drop every mark that leaves something out, and tell which tests want LocalStack in their own process.

    Tests that skip themselves without a condition were recorded on AWS, too: LocalStack does not do what they want.
    """
    for item in items:
        if item.get_closest_marker("requires_in_process") is not None:
            item.user_properties.append((IN_PROCESS, "yes"))
        node = item
        while node is not None:
            node.own_markers[:] = [mark for mark in node.own_markers if not _lenient(mark)]
            node = node.parent
