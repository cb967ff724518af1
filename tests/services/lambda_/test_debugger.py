# SPDX-License-Identifier: Apache-2.0
"""A real debugger attaches to a function: debugpy inside, the Debug Adapter Protocol outside, as editors speak it."""

from __future__ import annotations

import json
import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.services.lambda_.functions import call, package, ready, role

SOURCE = "def handler(event, context):\n    doubled = event['n'] * 2\n    answer = doubled + 1\n    return answer\n"


class Editor:
    """The outside of a debugger: asks, and hears what happens. Source: Debug Adapter Protocol, specification."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")
        self._asked = 0
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while line := self._file.readline():
            length = int(line.partition(b":")[2])
            self._file.readline()
            self._heard.put(json.loads(self._file.read(length)))

    def ask(self, command: str, **arguments: Any) -> int:
        self._asked += 1
        request = {"seq": self._asked, "type": "request", "command": command, "arguments": arguments}
        text = json.dumps(request).encode()
        self._sock.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(text), text))
        return self._asked

    def hear(self, **wanted: Any) -> dict[str, Any]:
        """The next message that has these members."""
        while True:
            found = self._heard.get(timeout=60)
            if all(found.get(name) == value for name, value in wanted.items()):
                assert found.get("success", True), found
                return found

    def answer(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.hear(type="response", request_seq=self.ask(command, **arguments)).get("body", {})


@pytest.fixture
def debugged(chamber: Any) -> Any:
    client = chamber.client("lambda")
    client.create_function(
        FunctionName="stopped", Runtime=f"python3.{sys.version_info.minor}", Handler="index.handler", Timeout=120,
        Role=role(chamber, "functions"), Environment={"Variables": {"CLOUDCHAMBER_DEBUG_PORT": "5678"}},
        MemorySize=512, Code={"ZipFile": package(SOURCE)},
    )  # fmt: skip
    ready(client, "stopped")
    door = subprocess.Popen(
        [sys.executable, "-m", "cloudchamber", "debug", "stopped", "--port", "0", "--state", str(chamber.state)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert door.stderr is not None
    try:
        yield client, int(door.stderr.readline().partition("127.0.0.1:")[2].split()[0])
    finally:
        door.kill()
        door.wait()
        door.stderr.close()


def test_a_breakpoint_stops_a_function_and_lets_it_go_on(debugged: Any, tmp_path: Path) -> None:
    client, port = debugged
    local = tmp_path / "index.py"
    local.write_text(SOURCE)
    assert call(client, "stopped", {"n": 1})[0] == 3  # it has an environment now, which listens
    with socket.create_connection(("127.0.0.1", port)) as sock:
        editor = Editor(sock)
        editor.answer("initialize", adapterID="test", pathFormat="path", linesStartAt1=True, columnsStartAt1=True)
        roots = [{"localRoot": str(tmp_path), "remoteRoot": "/var/task"}]
        attached = editor.ask("attach", pathMappings=roots)
        editor.hear(type="event", event="initialized")
        set_ = editor.answer("setBreakpoints", source={"path": str(local)}, breakpoints=[{"line": 3}])
        assert set_["breakpoints"][0]["verified"]
        editor.answer("configurationDone")
        editor.hear(type="response", request_seq=attached)

        over: list[Any] = []
        running = threading.Thread(target=lambda: over.append(call(client, "stopped", {"n": 20})))
        running.start()
        stopped = editor.hear(type="event", event="stopped")["body"]
        assert stopped["reason"] == "breakpoint"
        frame = editor.answer("stackTrace", threadId=stopped["threadId"])["stackFrames"][0]
        assert (frame["name"], frame["line"], frame["source"]["path"]) == ("handler", 3, str(local))
        assert editor.answer("evaluate", expression="doubled", frameId=frame["id"])["result"] == "40"
        assert not over
        editor.answer("evaluate", expression="doubled = 100", frameId=frame["id"], context="repl")
        editor.answer("continue", threadId=stopped["threadId"])
        running.join(60)
        assert over[0][0] == 101
