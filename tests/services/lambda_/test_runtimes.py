# SPDX-License-Identifier: Apache-2.0
"""Runtimes: which interpreter runs what, Node.js, custom runtimes, and what they say when something is wrong."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import sys
import zipfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import allow, call, function, messages, package, ready, role, until

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js on this machine")


def made(chamber: Any, name: str, runtime: str, files: dict[str, str | bytes], **members: Any) -> Any:
    client = chamber.client("lambda")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for path, text in files.items():
            entry = zipfile.ZipInfo(path)
            entry.external_attr = (0o755 if path == "bootstrap" else 0o644) << 16
            archive.writestr(entry, text)
    client.create_function(
        FunctionName=name, Runtime=runtime, Handler=members.pop("Handler", "app.handler"), Timeout=20,
        Role=role(chamber, "functions", allow("logs:*")), Code={"ZipFile": held.getvalue()}, **members,
    )  # fmt: skip
    ready(client, name)
    return client


def test_python_is_the_one_that_is_named_or_said(chamber: Any) -> None:
    source = "import sys\ndef handler(event, context):\n    return list(sys.version_info[:2])\n"
    here = f"python3.{sys.version_info.minor}"
    client = made(chamber, "python-here", here, {"app.py": source})
    assert call(client, "python-here")[0] == list(sys.version_info[:2])
    for minor in (9, 11, 12, 13, 14):
        name = f"python-{minor}"
        made(chamber, name, f"python3.{minor}", {"app.py": source})
        value, _ = call(client, name)
        began = until(lambda name=name: messages(chamber, name, "INIT_START"))[0]
        if value != [3, minor]:
            assert f"names python3.{minor}; this chamber runs it on its own interpreter" in began


def test_every_python_has_boto3(chamber: Any) -> None:
    source = (
        "import boto3, sys\n"
        "def handler(event, context):\n"
        "    return boto3.client('sts').get_caller_identity()['Account']\n"
    )
    for minor in (11, 12, 13):
        name = f"boto3-{minor}"
        client = made(chamber, name, f"python3.{minor}", {"app.py": source}, MemorySize=512)
        assert call(client, name)[0] == "000000000000"


def test_a_library_of_the_package_is_found(chamber: Any) -> None:
    source = (
        "import os, boto3\n"
        "def handler(event, context):\n"
        "    return [p.rpartition('/')[2] for p in os.environ['LD_LIBRARY_PATH'].split(':')]\n"
    )
    client = made(chamber, "library", "python3.12", {"app.py": source, "lib/libmine.so": b"\x7fELF"})
    assert "lib" in call(client, "library")[0]


@needs_node
def test_nodejs(chamber: Any) -> None:
    source = (
        "let count = 0;\n"
        "exports.promised = async (event, context) => {\n"
        "  console.log('got', event, '\\nsecond line');\n"
        "  const left = context.getRemainingTimeInMillis();\n"
        "  return [event.n, ++count, context.awsRequestId, context.functionVersion, left > 0];\n"
        "};\n"
        "exports.called = (event, context, callback) => { setTimeout(() => callback(null, 'later'), 20); };\n"
        "exports.failed = (event, context, callback) => callback(new TypeError('bad'));\n"
        "exports.thrown = async () => { throw new RangeError('far'); };\n"
        "exports.rejected = async () => { Promise.reject(new Error('unheard')); await new Promise(() => {}); };\n"
        "exports.deep = { inner: async () => process.env._X_AMZN_TRACE_ID };\n"
        "exports.big = async () => 'x'.repeat(6291557);\n"
    )
    client = made(chamber, "node", "nodejs20.x", {"app.js": source}, Handler="app.promised")
    value, response = call(client, "node", {"n": 7})
    assert value == [7, 1, response["ResponseMetadata"]["RequestId"], "$LATEST", True]
    assert call(client, "node", {"n": 7})[0][1] == 2
    lines = until(lambda: messages(chamber, "node", "second"))
    assert "\tINFO\tgot { n: 7 } \nsecond line" in lines[0]
    expected: dict[str, Any] = {
        "called": "later",
        "failed": ("TypeError", "bad"),
        "thrown": ("RangeError", "far"),
        "rejected": ("Runtime.UnhandledPromiseRejection", "unheard"),
        "big": ("Function.ResponseSizeTooLarge", "payload size"),
        "nothing": ("Runtime.HandlerNotFound", "undefined or not exported"),
    }
    for handler, wanted in expected.items():
        client.update_function_configuration(FunctionName="node", Handler=f"app.{handler}")
        ready(client, "node")
        value, _ = call(client, "node")
        if isinstance(wanted, str):
            assert value == wanted
        else:
            assert value["errorType"] == wanted[0]
            assert wanted[1] in value["errorMessage"]
    client.update_function_configuration(FunctionName="node", Handler="app.deep.inner")
    ready(client, "node")
    assert call(client, "node")[0].startswith("Root=1-")


@needs_node
def test_nodejs_modules(chamber: Any) -> None:
    client = made(
        chamber, "node-module", "nodejs22.x",
        {"app.mjs": "import { word } from './word.mjs';\nexport const handler = async () => word;\n",
         "word.mjs": "export const word = 'esm';\n"},
    )  # fmt: skip
    assert call(client, "node-module")[0] == "esm"
    client = made(
        chamber, "node-typed", "nodejs22.x",
        {"src/app.js": "export const handler = async () => 'typed';\n", "package.json": '{"type": "module"}'},
        Handler="src/app.handler",
    )  # fmt: skip
    assert call(client, "node-typed")[0] == "typed"
    for name, source, kind, words in (
        ("node-sdk", "require('@aws-sdk/client-s3');", "Runtime.ImportModuleError", "no AWS SDK of its own"),
        ("node-syntax", "exports.handler = (", "Runtime.UserCodeSyntaxError", "SyntaxError"),
    ):
        client = made(chamber, name, "nodejs20.x", {"app.js": source})
        value, _ = call(client, name)
        assert value["errorType"] == kind
        assert words in value["errorMessage"]


@needs_node
def test_nodejs_layers(chamber: Any) -> None:
    client = chamber.client("lambda")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("nodejs/node_modules/word/index.js", "module.exports = 'from the layer';\n")
    arn = client.publish_layer_version(LayerName="node-words", Content={"ZipFile": held.getvalue()})["LayerVersionArn"]
    made(chamber, "node-layer", "nodejs20.x", {"app.js": "const w = require('word'); exports.handler = async () => w;"},
         Layers=[arn])  # fmt: skip
    assert call(client, "node-layer")[0] == "from the layer"


BOOTSTRAP = (
    "#!/bin/sh\n"
    'api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"\n'
    "exec python3 -I -c '\n"
    "import json, os, urllib.request\n"
    'api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"\n'
    "while True:\n"
    '    with urllib.request.urlopen(api + "next") as got:\n'
    '        event, number = json.load(got), got.headers["Lambda-Runtime-Aws-Request-Id"]\n'
    '    answer = json.dumps([event, os.environ["_HANDLER"], os.getcwd().rpartition("/")[2] != ""]).encode()\n'
    '    urllib.request.urlopen(urllib.request.Request(api + number + "/response", answer)).read()\n'
    "'\n"
)


def test_a_custom_runtime(chamber: Any) -> None:
    client = made(chamber, "custom", "provided.al2023", {"bootstrap": BOOTSTRAP}, Handler="any.thing")
    assert call(client, "custom", {"a": 1})[0] == [{"a": 1}, "any.thing", True]
    assert call(client, "custom", {"a": 2})[0][0] == {"a": 2}


def _used_mb(response: dict[str, Any]) -> int:
    """What the REPORT line says of memory."""
    tail = base64.b64decode(response["LogResult"]).decode()
    found = re.search(r"\tMemory Size: 192 MB\tMax Memory Used: (\d+) MB\t", tail)
    assert found, tail
    return int(found[1])


def _eats(chamber: Any, name: str, runtime: str, files: dict[str, str | bytes]) -> None:
    client = made(chamber, name, runtime, files, MemorySize=192)
    before = _used_mb(call(client, name, {"eat": 0}, LogType="Tail")[1])
    assert 3 < before < 100
    assert before + 40 < _used_mb(call(client, name, {"eat": 60}, LogType="Tail")[1]) < 192
    if chamber.about["limits_by"] == "rlimits":
        return  # there a program is refused memory instead
    value, response = call(client, name, {"eat": 1000}, LogType="Tail")
    assert value["errorType"] == "Runtime.OutOfMemory"
    assert "signal: killed" in value["errorMessage"]
    assert _used_mb(response) == 192
    assert 3 < _used_mb(call(client, name, {"eat": 0}, LogType="Tail")[1]) < 100


def test_the_memory_of_a_custom_runtime_is_seen(chamber: Any) -> None:
    eats = BOOTSTRAP.replace("    answer =", '    held = b"x" * (event["eat"] << 20)\n    answer =')
    _eats(chamber, "custom-memory", "provided.al2023", {"bootstrap": eats})


@needs_node
def test_the_memory_of_nodejs_is_seen(chamber: Any) -> None:
    source = (
        "exports.handler = async (event) => {\n"
        "  const held = []; for (let n = 0; n < event.eat; n++) held.push(Buffer.alloc(1 << 20, 1));\n"
        "  return held.length; };\n"
    )
    _eats(chamber, "node-memory", "nodejs22.x", {"app.js": source})


def test_custom_runtimes_that_cannot_start(chamber: Any) -> None:
    other = 0xB7 if sys.platform == "linux" and __import__("os").uname().machine == "x86_64" else 0x3E
    elf = b"\x7fELF\x02\x01\x01" + b"\0" * 9 + (2).to_bytes(2, "little") + other.to_bytes(2, "little") + b"\0" * 44
    for name, files, words in (
        ("custom-none", {"other": "x"}, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        ("custom-machine", {"bootstrap": elf}, "exec format error"),
        ("custom-exit", {"bootstrap": "#!/bin/sh\nexit 3\n"}, "exit status 3"),
    ):
        client = made(chamber, name, "provided.al2", files)
        value, response = call(client, name)
        assert response["FunctionError"] == "Unhandled"
        assert words in value["errorMessage"]
    assert value["errorType"] == "Runtime.ExitError"


def test_logs_in_json(chamber: Any) -> None:
    source = (
        "import logging\n"
        "def handler(event, context):\n"
        "    logging.getLogger().info('unheard')\n"
        "    logging.getLogger().warning('heard', extra={'k': 1})\n"
        "    if event.get('fail'): raise ValueError('no')\n"
    )
    client = function(chamber, "json-logs", source, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"})
    shown = client.get_function_configuration(FunctionName="json-logs")["LoggingConfig"]
    assert shown == {
        "LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO",
        "LogGroup": "/aws/lambda/json-logs",
    }  # fmt: skip
    _, response = call(client, "json-logs")
    request_id = response["ResponseMetadata"]["RequestId"]
    lines = until(
        lambda: (found := messages(chamber, "json-logs")) and any("platform.report" in one for one in found) and found
    )
    records = [json.loads(line) for line in lines]
    kinds = [record.get("type", record.get("level")) for record in records]
    assert kinds == ["platform.initStart", "platform.start", "WARNING", "platform.report"]
    assert records[1]["record"] == {"requestId": request_id, "version": "$LATEST"}
    assert records[2]["message"] == "heard"
    report = records[3]["record"]
    assert report["status"] == "success"
    assert report["metrics"]["memorySizeMB"] == 128
    assert report["metrics"]["initDurationMs"] > 0
    client.update_function_configuration(FunctionName="json-logs", LoggingConfig={"SystemLogLevel": "WARN"})
    ready(client, "json-logs")
    call(client, "json-logs", {"fail": 1})
    found = until(lambda: [json.loads(m) for m in messages(chamber, "json-logs") if '"error' in m and "platform." in m])
    assert found[-1]["record"]["status"] == "error"
    with pytest.raises(ClientError, match="Log levels cannot be set when LogFormat is set to Text"):
        function(chamber, "text-levels", source, LoggingConfig={"LogFormat": "Text", "SystemLogLevel": "WARN"})


def test_levels_hold_for_what_is_printed(chamber: Any) -> None:
    said = {"timestamp": "2026-11-02T16:51:31.587199Z"}
    lines = [
        json.dumps({"level": "debug", "msg": "unheard", **said}),
        json.dumps({"level": "Warning", "msg": "heard", **said}),
        json.dumps({"level": "error", "msg": "unheard: no moment"}),
        "unheard: no level",
    ]
    source = (
        "import logging\n"
        "logging.getLogger().setLevel('DEBUG')\n"
        "def handler(event, context):\n"
        "    logging.getLogger().info('unheard')\n"
        f"    for line in {lines!r}: print(line)\n"
    )
    client = function(chamber, "levels", source, LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN"})
    _, response = call(client, "levels", LogType="Tail")
    tail = base64.b64decode(response["LogResult"]).decode()
    assert "heard" in tail and "unheard" not in tail
    kept = until(
        lambda: any("platform.report" in m for m in messages(chamber, "levels")) and messages(chamber, "levels")
    )
    assert [m for m in kept if "heard" in m] == [lines[1]]


def test_the_size_of_tmp_is_what_was_asked_for(chamber: Any) -> None:
    if chamber.about["sandbox_mode"] not in ("ns-root", "ns-user"):
        pytest.skip(f"mode {chamber.about['sandbox_mode']} has no /tmp of its own")
    source = (
        "import os\n"
        "def handler(event, context):\n"
        "    at = os.statvfs('/tmp')\n"
        "    return at.f_blocks * at.f_frsize >> 20\n"
    )
    client = function(chamber, "storage", source, EphemeralStorage={"Size": 700})
    assert call(client, "storage")[0] == 700
    with pytest.raises(ClientError, match="10240"):
        client.update_function_configuration(FunctionName="storage", EphemeralStorage={"Size": 10241})


def test_what_lies_in_tmp_is_no_memory_of_the_function(chamber: Any) -> None:
    if chamber.about["sandbox_mode"] not in ("ns-root", "ns-user") or chamber.about["limits_by"] == "rlimits":
        pytest.skip("there is no /tmp of its own, or no control group that limits memory")
    source = (
        "import os, time\n"
        "def handler(event, context):\n"
        "    written = 0\n"
        "    with open('/tmp/file', 'wb') as out:\n"
        "        try:\n"
        "            while written < event['tmp']: written += out.write(bytes(1 << 20)) >> 20\n"
        "            out.flush()\n"
        "        except OSError as error: return error.strerror\n"
        "    held = b'x' * (event['heap'] << 20)\n"
        "    time.sleep(event['heap'] and 2)\n"
        "    return written\n"
    )
    client = function(chamber, "tmp-apart", source)
    assert call(client, "tmp-apart", {"tmp": 400, "heap": 0})[0] == 400
    assert call(client, "tmp-apart", {"tmp": 600, "heap": 0})[0] == "No space left on device"
    assert call(client, "tmp-apart", {"tmp": 300, "heap": 50})[0] == 300
    value, _ = call(client, "tmp-apart", {"tmp": 1, "heap": 150})
    assert value["errorType"] == "Runtime.OutOfMemory"


def test_a_start_that_takes_too_long(chamber: Any) -> None:
    client = function(chamber, "slow-start", "import time\ntime.sleep(60)\n", Timeout=1)
    value, _ = call(client, "slow-start")
    assert value["errorType"] == "Sandbox.Timedout"


def test_code_can_be_looked_at_before_and_after(chamber: Any) -> None:
    client = function(chamber, "looked-at", "def handler(event, context):\n    return 1\n")
    before = client.get_function_configuration(FunctionName="looked-at")
    dry = client.update_function_code(FunctionName="looked-at", ZipFile=package("x = 1\n"), DryRun=True)
    assert dry["CodeSha256"] != before["CodeSha256"]
    assert client.get_function_configuration(FunctionName="looked-at")["CodeSha256"] == before["CodeSha256"]
    where = client.get_function(FunctionName="looked-at")["Code"]["Location"]
    assert "Signature=" in where
