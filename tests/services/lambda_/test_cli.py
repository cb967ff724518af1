# SPDX-License-Identifier: Apache-2.0
"""`cloudchamber invoke` and `cloudchamber watch`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.services.lambda_.functions import call, function, ready, role, until
from tests.services.lambda_.functions import package as zipped


def test_real_events(chamber: Any) -> None:
    s3 = chamber.client("s3")
    s3.create_bucket(Bucket="invoke-cli")
    etag = s3.put_object(Bucket="invoke-cli", Key="a b/c.txt", Body=b"12345")["ETag"]
    function(
        chamber, "invoked",
        "def handler(event, context):\n    print('GOT')\n    if event.get('fail'): raise ValueError('no')\n"
        "    return event\n",
    )  # fmt: skip
    done = chamber.cli("invoke", "invoked", "--event", "s3:put", "--bucket", "invoke-cli", "--key", "a b/c.txt")
    (record,) = json.loads(done.stdout)["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["s3"]["object"]["key"] == "a+b/c.txt"
    assert (record["s3"]["object"]["size"], record["s3"]["object"]["eTag"]) == (5, etag.strip('"'))
    assert "GOT" in done.stderr
    assert "REPORT RequestId" in done.stderr
    none = chamber.cli("invoke", "invoked", "--event", "s3:put", "--bucket", "invoke-cli", "--key", "no", check=False)
    assert none.returncode == 1
    assert "there is no object 'no'" in none.stderr
    failed = chamber.cli("invoke", "invoked", "--payload", '{"fail": 1}', "--json", check=False)
    assert failed.returncode == 1
    assert json.loads(json.loads(failed.stdout)["payload"])["errorMessage"] == "no"
    url = chamber.cli("invoke", "invoked", "--event", "url", "--path", "/x?y=1", "--method", "post", "--body", "hi")
    event = json.loads(url.stdout)
    assert (event["rawPath"], event["queryStringParameters"], event["body"]) == ("/x", {"y": "1"}, "hi")
    shown = chamber.cli("invoke", "invoked", "--event", "schedule", "--show").stdout
    assert json.loads(shown)["source"] == "aws.events"


def test_code_is_live_as_it_is_written(chamber: Any, tmp_path: Path) -> None:
    app = tmp_path / "watched-app"
    (app / "code").mkdir(parents=True)
    source = app / "code" / "app.py"
    source.write_text("def handler(event, context):\n    return 'first'\n")
    (app / "template.yaml").write_text(
        "Transform: AWS::Serverless-2016-10-31\n"
        "Resources:\n  Site:\n    Type: AWS::Serverless::Function\n    Properties:\n"
        "      FunctionName: watched-site\n      CodeUri: code\n      Handler: app.handler\n      Runtime: python3.12\n"
    )
    chamber.cli("up", str(app), "--json")
    client = chamber.client("lambda")
    assert call(client, "watched-site")[0] == "first"
    watching = subprocess.Popen(
        [sys.executable, "-m", "cloudchamber", "watch", str(app), "--state", str(chamber.state)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert watching.stderr is not None
        assert "watching" in watching.stderr.readline()
        source.write_text("def handler(event, context):\n    return 'the second'\n")
        until(lambda: call(client, "watched-site")[0] == "the second")
    finally:
        watching.kill()
        watching.wait()
        watching.stderr.close()


def test_a_debugger_reaches_a_function(chamber: Any) -> None:
    package = "import socket\n" + (
        "def listen(address):\n"
        "    import threading\n"
        "    door = socket.create_server(address)\n"
        "    def serve():\n"
        "        while True:\n"
        "            got, _ = door.accept()\n"
        "            got.sendall(b'debugged ' + got.recv(100))\n"
        "            got.close()\n"
        "    threading.Thread(target=serve, daemon=True).start()\n"
    )
    client = chamber.client("lambda")
    client.create_function(
        FunctionName="debugged", Runtime="python3.12", Handler="index.handler", Role=role(chamber, "functions"),
        Environment={"Variables": {"CLOUDCHAMBER_DEBUG_PORT": "5999"}},
        Code={"ZipFile": zipped("def handler(event, context):\n    return 1\n", **{"debugpy.py": package})},
    )  # fmt: skip
    ready(client, "debugged")
    debugging = subprocess.Popen(
        [sys.executable, "-m", "cloudchamber", "debug", "debugged", "--port", "0", "--inside", "5999", "--state",
         str(chamber.state)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert debugging.stderr is not None
        port = int(debugging.stderr.readline().partition("127.0.0.1:")[2].split()[0])
        with socket.create_connection(("127.0.0.1", port)) as editor:
            assert editor.recv(100) == b""
        assert "invoke it once" in debugging.stderr.readline()
        assert call(client, "debugged")[0] == 1
        with socket.create_connection(("127.0.0.1", port)) as editor:
            editor.sendall(b"by me")
            assert editor.recv(100) == b"debugged by me"
    finally:
        debugging.kill()
        debugging.wait()
        debugging.stderr.close()
