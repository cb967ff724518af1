# SPDX-License-Identifier: Apache-2.0
"""Runs of functions: answers, errors, limits, logs, credentials, asynchronous events."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.services.lambda_.functions import allow, call, function, messages, package, ready, role, until


def test_an_event_and_its_context(chamber: Any) -> None:
    client = function(
        chamber, "context",
        "def handler(event, context):\n"
        "    print('got', event)\n"
        "    return [event, context.aws_request_id, context.function_name, context.memory_limit_in_mb,\n"
        "            context.get_remaining_time_in_millis() > 0, context.client_context.custom]\n",
    )  # fmt: skip
    custom = base64.b64encode(json.dumps({"custom": {"k": "v"}}).encode()).decode()
    value, response = call(client, "context", {"a": 1}, LogType="Tail", ClientContext=custom)
    request_id = response["ResponseMetadata"]["RequestId"]
    assert value == [{"a": 1}, request_id, "context", "128", True, {"k": "v"}]
    assert response["ExecutedVersion"] == "$LATEST"
    log = base64.b64decode(response["LogResult"]).decode().splitlines()
    assert log[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert log[1] == "got {'a': 1}"
    assert log[2] == f"END RequestId: {request_id}"
    assert log[3].startswith(f"REPORT RequestId: {request_id}\tDuration: ")
    lines = until(lambda: messages(chamber, "context", "REPORT") and messages(chamber, "context"))
    assert "got {'a': 1}" in lines
    assert lines[0].startswith("INIT_START")


def test_the_console_is_not_for_functions(chamber: Any) -> None:
    client = function(
        chamber, "console",
        "import os, urllib.error, urllib.request\n"
        "def handler(event, context):\n"
        "    try: urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/_cloudchamber/')\n"
        "    except urllib.error.HTTPError as error: return error.code\n",
    )  # fmt: skip
    assert call(client, "console")[0] == 404


def test_errors_are_said_as_lambda_says_them(chamber: Any) -> None:
    client = function(
        chamber, "errors",
        "import os, time\n"
        "def handler(event, context):\n"
        "    if event['how'] == 'raise': raise ValueError('boom')\n"
        "    if event['how'] == 'exit': os._exit(3)\n"
        "    if event['how'] == 'sleep': time.sleep(30)\n"
        "    if event['how'] == 'large': return 'x' * 6291557\n"
        "    if event['how'] == 'eat': return len(bytearray(os.urandom(1)) * (500 << 20))\n"
        "    return 'fine'\n",
        Timeout=2,
    )  # fmt: skip
    expected = {
        "raise": ("ValueError", "boom"),
        "exit": ("Runtime.ExitError", "exit status 3"),
        "sleep": ("Sandbox.Timedout", "Task timed out after 2.00 seconds"),
        "large": ("Function.ResponseSizeTooLarge", "exceeded maximum allowed payload size"),
        "eat": ("Runtime.OutOfMemory", "signal: killed"),
    }
    if chamber.about["limits_by"] == "rlimits":
        # Why: without control groups the limit is the process's own, and Python says it before the kernel would.
        expected["eat"] = ("MemoryError", "")
    for how, (kind, words) in expected.items():
        value, response = call(client, "errors", {"how": how})
        assert (response["StatusCode"], response["FunctionError"]) == (200, "Unhandled")
        assert value["errorType"] == kind
        assert words in value["errorMessage"]
    assert call(client, "errors", {"how": ""})[0] == "fine"


def test_what_cannot_start_says_why(chamber: Any) -> None:
    client = function(chamber, "cannot", "import nothing_of_that_name\n")
    value, response = call(client, "cannot")
    assert response["FunctionError"] == "Unhandled"
    assert value["errorType"] == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in value["errorMessage"]
    client.update_function_configuration(FunctionName="cannot", Handler="other.handler")
    ready(client, "cannot")
    assert "other" in call(client, "cannot")[0]["errorMessage"]


def test_a_package_for_another_python_is_named(chamber: Any) -> None:
    client = chamber.client("lambda")
    client.create_function(
        FunctionName="foreign", Runtime="python3.12", Handler="index.handler", Role=role(chamber, "functions"),
        Code={"ZipFile": package("import fast\n", **{"fast.cpython-37m-x86_64-linux-gnu.so": ""})},
    )  # fmt: skip
    ready(client, "foreign")
    assert "cpython-37m-x86_64-linux-gnu" in call(client, "foreign")[0]["errorMessage"]


def test_packages_are_those_that_lambda_has(chamber: Any) -> None:
    client = function(
        chamber, "packages",
        "import importlib\n"
        "def handler(event, context):\n"
        "    found = {}\n"
        "    for name in event:\n"
        "        try: found[name] = bool(importlib.import_module(name))\n"
        "        except ImportError: found[name] = False\n"
        "    return found\n",
    )  # fmt: skip
    there, absent = ["boto3", "botocore", "urllib3", "dateutil"], ["uvloop", "cloudchamber", "orjson", "click"]
    found, _ = call(client, "packages", [*there, *absent])
    assert found == {**dict.fromkeys(there, True), **dict.fromkeys(absent, False)}


def test_the_role_is_the_wiring(chamber: Any) -> None:
    iam = chamber.client("iam")
    arn = role(chamber, "wired", allow("iam:GetRole"))
    source = (
        "import boto3\n"
        "def handler(event, context):\n"
        "    who = boto3.client('sts').get_caller_identity()['Arn']\n"
        "    try: return [who, boto3.client('iam').get_role(RoleName='wired')['Role']['RoleName']]\n"
        "    except Exception as error: return [who, error.response['Error']['Code']]\n"
    )
    client = function(chamber, "wiring", source, Role=arn)
    who = "arn:aws:sts::000000000000:assumed-role/wired/wiring"
    assert call(client, "wiring")[0] == [who, "wired"]
    iam.delete_role_policy(RoleName="wired", PolicyName="tests")
    assert call(client, "wiring")[0] == [who, "AccessDenied"]
    assert messages(chamber, "wiring") == []  # the role may not write logs: none, and no error


def test_limits_of_payloads(chamber: Any) -> None:
    client = function(chamber, "limits", "def handler(event, context):\n    return len(event)\n")
    largest = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    assert json.loads(client.invoke(FunctionName="limits", Payload=largest)["Payload"].read()) == len(largest) - 2
    for payload, kind, code in (
        (largest + b" ", "RequestResponse", "RequestEntityTooLargeException"),
        (b'"' + b"x" * 1024 * 1024 + b'"', "Event", "RequestTooLargeException"),
        (b"{nope", "RequestResponse", "InvalidRequestContentException"),
    ):
        with pytest.raises(ClientError) as caught:
            client.invoke(FunctionName="limits", Payload=payload, InvocationType=kind)
        assert caught.value.response["Error"]["Code"] == code
    assert client.invoke(FunctionName="limits", InvocationType="DryRun")["StatusCode"] == 204


def test_reserved_concurrency(chamber: Any) -> None:
    client = function(chamber, "reserved", "def handler(event, context):\n    return 1\n")
    client.put_function_concurrency(FunctionName="reserved", ReservedConcurrentExecutions=0)
    with pytest.raises(client.exceptions.TooManyRequestsException) as caught:
        call(client, "reserved")
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    client.delete_function_concurrency(FunctionName="reserved")
    assert call(client, "reserved")[0] == 1


def test_events_of_a_narrow_function_all_run(chamber: Any) -> None:
    client = function(chamber, "narrow", "def handler(event, context):\n    print('RAN', event['n'])\n")
    client.put_function_concurrency(FunctionName="narrow", ReservedConcurrentExecutions=1)
    for number in range(20):
        client.invoke(FunctionName="narrow", InvocationType="Event", Payload=json.dumps({"n": number}))
    until(lambda: {f"RAN {n}" for n in range(20)} <= set(messages(chamber, "narrow", "RAN")))


def test_failed_events_are_retried_and_told(chamber: Any) -> None:
    arn = role(chamber, "telling", allow("logs:*", "lambda:InvokeFunction"))
    function(chamber, "told", "import json\ndef handler(event, context):\n    print('TOLD', json.dumps(event))\n")
    client = function(
        chamber, "failing", "def handler(event, context):\n    print('TRIED')\n    raise ValueError('no')\n", Role=arn
    )
    destination = {"OnFailure": {"Destination": "arn:aws:lambda:us-east-1:000000000000:function:told"}}
    client.put_function_event_invoke_config(
        FunctionName="failing", MaximumRetryAttempts=1, DestinationConfig=destination
    )
    assert client.invoke(FunctionName="failing", InvocationType="Event", Payload=b'{"n": 7}')["StatusCode"] == 202
    (line,) = until(lambda: messages(chamber, "told", "TOLD"))
    record = json.loads(line.removeprefix("TOLD "))
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 2
    assert record["requestPayload"] == {"n": 7}
    assert record["responsePayload"]["errorMessage"] == "no"
    assert len(until(lambda: messages(chamber, "failing", "TRIED"))) == 2


def test_a_function_that_calls_itself_is_stopped(chamber: Any) -> None:
    arn = role(chamber, "looping", allow("logs:*", "lambda:InvokeFunction"))
    client = function(
        chamber, "looping",
        "import boto3\n"
        "client = boto3.client('lambda')\n"
        "def handler(event, context):\n"
        "    print('ROUND')\n"
        "    client.invoke(FunctionName='looping', InvocationType='Event', Payload=b'{}')\n",
        Role=arn,
    )  # fmt: skip
    assert client.get_function_recursion_config(FunctionName="looping")["RecursiveLoop"] == "Terminate"
    client.invoke(FunctionName="looping", InvocationType="Event")
    until(lambda: "RecursiveInvocation" in chamber.log)
    assert len(until(lambda: len(found := messages(chamber, "looping", "ROUND")) >= 16 and found)) == 16


def test_an_accepted_event_survives(own_chamber: Any) -> None:
    chamber = own_chamber
    client = function(
        chamber, "surviving",
        "import time\ndef handler(event, context):\n    print('BEGAN', event['n'])\n    time.sleep(event['s'])\n"
        "    print('ENDED', event['n'])\n",
    )  # fmt: skip
    for number in range(4):
        event = json.dumps({"n": number, "s": 1.5}).encode()
        client.invoke(FunctionName="surviving", InvocationType="Event", Payload=event)
    chamber.kill()
    chamber.start()
    until(lambda: {f"ENDED {n}" for n in range(4)} <= set(messages(chamber, "surviving", "ENDED")))


def test_a_killed_process_is_run_again(chamber: Any) -> None:
    client = function(
        chamber, "killed",
        "import os, signal\n"
        "def handler(event, context):\n"
        "    print('BEGAN', flush=True)\n"
        "    if not event.get('spare'): os.kill(os.getpid(), signal.SIGKILL)\n",
    )  # fmt: skip
    value, _ = call(client, "killed")
    assert value["errorType"] == "Runtime.ExitError"
    client.put_function_event_invoke_config(FunctionName="killed", MaximumRetryAttempts=2)
    client.invoke(FunctionName="killed", InvocationType="Event")
    until(lambda: len(messages(chamber, "killed", "BEGAN")) >= 4)
    assert call(client, "killed", {"spare": True})[0] is None


def test_an_idle_process_that_was_killed_is_replaced(chamber: Any) -> None:
    client = function(
        chamber, "idle",
        "import os, subprocess\n"
        "def handler(event, context):\n"
        "    if event.get('later'):\n"
        "        subprocess.Popen(['sh', '-c', f'sleep 0.05; kill -9 {os.getpid()}'])\n"
        "    return os.environ['AWS_LAMBDA_LOG_STREAM_NAME']\n",
    )  # fmt: skip
    first, _ = call(client, "idle", {"later": True})

    def other() -> bool:
        answered, _ = call(client, "idle")
        return isinstance(answered, str) and answered != first

    until(other)


def test_the_older_asynchronous_invocation(chamber: Any) -> None:
    client = function(chamber, "older", "def handler(event, context):\n    print('OLDER', event['n'])\n")
    assert client.invoke_async(FunctionName="older", InvokeArgs=b'{"n": 5}')["Status"] == 202
    assert "OLDER 5" in until(lambda: messages(chamber, "older", "OLDER"))[0]


READY = """
import os
def handler(event, context):
    before = [name for name in os.listdir('/tmp') if name == 'left']
    open('/tmp/left', 'w').close()
    table = [line.split() for line in open('/proc/self/mountinfo')]
    task = next(fields for fields in table if fields[4] == '/var/task')
    try:
        open('/var/task/new', 'w')
        before.append('/var/task can be written')
    except OSError:
        pass
    held = []
    for name in os.listdir('/proc/self/fd'):
        try:
            held.append(os.readlink('/proc/self/fd/' + name))
        except OSError:
            pass
    size = os.statvfs('/tmp')
    status = dict(line.split(':', 1) for line in open('/proc/self/status'))
    return {
        'before': before, 'size': size.f_blocks * size.f_frsize >> 20, 'options': task[5].split(','),
        'optional': task[6:task.index('-')], 'files': os.listdir('/var/task'), 'cwd': os.getcwd(),
        'word': os.environ['WORD'], 'held': [name for name in held if 'memfd' in name],
        'walls': [status[name].strip() for name in ('NoNewPrivs', 'Seccomp')], 'may': int(status['CapBnd'], 16),
    }
"""


def test_what_was_made_before_it_was_asked_for_is_as_each_function_wants_it(chamber: Any) -> None:
    for word, size in (("a", 512), ("b", 1024)):
        client = function(
            chamber, f"ready-{word}", READY, EphemeralStorage={"Size": size}, Environment={"Variables": {"WORD": word}}
        )
        value, _ = call(client, f"ready-{word}")
        may = value.pop("may")
        assert {"ro", "nosuid"} <= set(value.pop("options"))
        assert value == {
            "before": [], "size": size, "optional": [], "files": ["index.py"], "cwd": "/var/task", "word": word,
            "held": [], "walls": ["1", "2"],
        }  # fmt: skip
        assert not may & 1 << 21  # CAP_SYS_ADMIN
