# SPDX-License-Identifier: Apache-2.0
"""The command line against a real chamber."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from selenium import webdriver

from cloudchamber.client import Refused, find
from tests.conftest import RunningChamber, new_chamber


def test_status_and_env_say_what_runs(chamber: RunningChamber) -> None:
    told = json.loads(chamber.cli("status", "--json").stdout)
    assert told["running"]
    assert told["endpoint"] == chamber.endpoint
    assert "ec2" in told["parts"]
    text = chamber.cli("status").stdout
    assert told["sandbox_mode"] in text
    assert "console: " in text
    given = json.loads(chamber.cli("env", "--json").stdout)
    assert given["AWS_ENDPOINT_URL"] == chamber.endpoint
    assert f"export AWS_ENDPOINT_URL={chamber.endpoint}" in chamber.cli("env").stdout
    assert "export AWS_DISABLE_HOST_PREFIX_INJECTION=true" in chamber.cli("env").stdout


def test_run_sets_what_programs_need(chamber: RunningChamber) -> None:
    done = chamber.cli("run", "--", "aws", "sts", "get-caller-identity", "--query", "Arn", "--output", "text")
    assert done.stdout.strip().endswith(":root")
    failed = chamber.cli("run", "--", "no-such-program", check=False)
    assert failed.returncode == 1
    assert "next: " in failed.stderr


@pytest.fixture
def denied(chamber: RunningChamber) -> Iterator[dict[str, Any]]:
    iam = chamber.client("iam")
    iam.create_user(UserName="cli-mallory")
    key = iam.create_access_key(UserName="cli-mallory")["AccessKey"]
    s3 = chamber.client("s3", key=f"{key['AccessKeyId']}:{key['SecretAccessKey']}")
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="cli-no-such-bucket", Key="k\x1b[31m", Body=b"x")
    yield refused.value.response
    iam.delete_access_key(UserName="cli-mallory", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="cli-mallory")


def test_a_denial_is_explained(chamber: RunningChamber, denied: dict[str, Any]) -> None:
    request_id = denied["ResponseMetadata"]["RequestId"]
    text = chamber.cli("why", request_id).stdout
    assert "DENIED s3:PutObject" in text
    assert '"Action": "s3:PutObject"' in text
    found = json.loads(chamber.cli("why", request_id, "--json").stdout)
    assert found["error"] == "AccessDenied"
    told = denied["ResponseMetadata"]["HTTPHeaders"]
    assert "x-amzn-trace-id" not in told  # S3 sends none: the request id finds the track
    assert told["server"] == "AmazonS3"
    track_id = found["track_id"]
    shown = chamber.cli("track", track_id).stdout
    assert chamber.cli("track", request_id).stdout == shown
    assert "as user/cli-mallory" in shown
    assert max(map(len, shown.splitlines()[1:])) <= 100
    assert "\x1b[31m" not in shown
    assert track_id in {t["id"] for t in json.loads(chamber.cli("tracks", "--json", "--limit", "200").stdout)}


def test_those_that_only_look_are_hidden(chamber: RunningChamber) -> None:
    token = (chamber.state / "console-token").read_text().strip()
    body = json.dumps({"service": "s3", "operation": "ListBuckets", "request": {}}).encode()
    asked = urllib.request.Request(
        f"{chamber.endpoint}/_cloudchamber/api/ask", body, {"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(asked) as reply:
        assert "Buckets" in json.loads(reply.read())
    titles = [t["title"] for t in json.loads(chamber.cli("tracks", "--all", "--json").stdout)]
    assert "cloudchamber s3 ListBuckets" in titles
    titles = [t["title"] for t in json.loads(chamber.cli("tracks", "--json").stdout)]
    assert "cloudchamber s3 ListBuckets" not in titles


@pytest.mark.parametrize(
    ("headers", "path", "status"),
    [
        ({}, "", 401),
        ({"Authorization": "Bearer wrong"}, "api/status", 401),
        ({"Cookie": "cloudchamber=wrong"}, "api/status", 401),
        ({"Host": "evil.example"}, "", 404),
        ({}, "?token=wrong", 401),
    ],
)
def test_the_console_is_for_its_owner(chamber: RunningChamber, headers: dict[str, str], path: str, status: int) -> None:
    asked = urllib.request.Request(f"{chamber.endpoint}/_cloudchamber/{path}", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == status


def test_the_console_may_only_look_from_a_browser(chamber: RunningChamber) -> None:
    token = (chamber.state / "console-token").read_text().strip()
    asked = urllib.request.Request(
        f"{chamber.endpoint}/_cloudchamber/api/ask", b"{}", {"Cookie": f"cloudchamber={token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked)
    assert refused.value.code == 403


def test_the_console_shows_a_denial_with_its_wiring(chamber: RunningChamber, denied: dict[str, Any]) -> None:
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(service=webdriver.ChromeService("/usr/bin/chromedriver"), options=options)
    try:
        browser.implicitly_wait(20)
        token = (chamber.state / "console-token").read_text().strip()
        browser.get(f"{chamber.endpoint}/_cloudchamber/?token={token}")
        assert token not in browser.current_url
        browser.find_element("id", "words").send_keys(denied["ResponseMetadata"]["RequestId"])
        browser.find_element("xpath", "//ol[@id='tracks']/li[1]/button[contains(., 'cli-mallory')]").click()
        step = browser.find_element("xpath", "//ol[@id='track']/li[contains(., 'as user/cli-mallory')]")
        assert "DENIED s3:PutObject" in step.text
        step.find_element("xpath", ".//summary[. = 'why']").click()
        told = step.find_element("xpath", ".//h3[. = 'The smallest statement that would allow it']/following::pre[2]")
        assert '"Action": "s3:PutObject"' in told.text
        step.find_element("xpath", ".//summary[. = 'what user/cli-mallory needs']").click()
        step.find_element("xpath", ".//h3[. = 'asked for and denied']")
        drawn = browser.find_element("css selector", "svg.wiring")
        assert "caller user/cli-mallory calls bucket cli-no-such-bucket" in drawn.get_attribute("aria-label")
        assert browser.get_log("browser") == []
    finally:
        browser.quit()


def test_logs_and_doctor(chamber: RunningChamber) -> None:
    failed = chamber.cli("logs", "no-such-function", check=False)
    assert failed.returncode == 1
    assert "no log of a function" in failed.stderr
    found = {f["name"]: f for f in json.loads(chamber.cli("doctor", "--json").stdout)}
    assert chamber.endpoint in found["chamber"]["detail"]
    assert not found["root key"]["ok"]


def test_a_second_chamber_on_the_same_state_is_refused(chamber: RunningChamber) -> None:
    failed = chamber.cli("start", "--foreground", "--port", "0", check=False)
    assert failed.returncode == 1
    assert "already" in failed.stderr
    assert json.loads(chamber.cli("status", "--json").stdout)["pid"] == chamber.about["pid"]
    other = chamber.cli("start", "--port", "1", check=False)
    assert other.returncode == 1
    assert chamber.endpoint in other.stderr


def test_a_taken_port_is_named(chamber: RunningChamber) -> None:
    state = Path(tempfile.mkdtemp(prefix="chamber-"))
    try:
        failed = chamber.cli("start", "--state", str(state), "--port", str(chamber.port), check=False)
        assert failed.returncode == 1
        assert f"port {chamber.port} of 127.0.0.1 is taken" in failed.stderr
        assert chamber.cli("status", "--state", str(state), check=False).returncode == 3
    finally:
        shutil.rmtree(state)


def test_a_life_of_a_chamber(tmp_path: Path) -> None:
    """Start in the background, kill -9, start again with everything there, stop, reset."""
    running = new_chamber()
    try:
        started = running.cli("start", "--port", "0", "--https-port", "0")
        assert "console: " in started.stdout
        first = json.loads(running.cli("status", "--json").stdout)
        assert oct(running.state.stat().st_mode & 0o777) == "0o700"
        assert oct((running.state / "console-token").stat().st_mode & 0o777) == "0o600"
        running.cli("run", "--", "aws", "s3", "mb", "s3://kept-bucket")
        _kill(first["pid"])
        assert running.cli("status", check=False).returncode == 3
        assert running.cli("env", check=False).returncode == 1
        running.cli("start", "--port", "0", "--https-port", "0")
        assert "kept-bucket" in running.cli("run", "--", "aws", "s3", "ls").stdout
        running.cli("stop")
        assert running.cli("status", check=False).returncode == 3
        running.cli("reset", "--yes")
        assert not running.state.exists()
    finally:
        running.cli("reset", "--yes", check=False)
        shutil.rmtree(running.state, ignore_errors=True)


def _kill(pid: int) -> None:
    """`kill -9`, and wait until the process is gone."""
    import os
    import select
    import signal

    descriptor = os.pidfd_open(pid)
    try:
        os.kill(pid, signal.SIGKILL)
        select.select([descriptor], [], [], 20)
    finally:
        os.close(descriptor)


def test_archives_are_stored_without_being_held(chamber: RunningChamber, tmp_path: Path) -> None:
    chamber.client("s3").create_bucket(Bucket="cli-archives")
    path = tmp_path / "archive"
    path.write_bytes(b"0123456789abcdef" * 2_000_000)
    running = find(chamber.state)
    assert running is not None
    running.put_object("cli-archives", "deep/key with ü.zip", path)
    got = chamber.client("s3").get_object(Bucket="cli-archives", Key="deep/key with ü.zip")
    assert got["Body"].read() == path.read_bytes()
    with pytest.raises(Refused, match="NoSuchBucket"):
        running.put_object("cli-no-such-bucket", "k", path)


TAIL = """
import boto3
logs = boto3.client("logs")
logs.create_log_group(logGroupName="/cli/live")
arn = logs.describe_log_groups(logGroupNamePrefix="/cli/live")["logGroups"][0]["logGroupArn"]
events = logs.start_live_tail(logGroupIdentifiers=[arn])["responseStream"]
print(next(iter(events))["sessionStart"]["logGroupIdentifiers"])
events.close()
"""


def test_a_live_tail_needs_nothing_but_the_environment(chamber: RunningChamber) -> None:
    said = chamber.cli("run", "--", sys.executable, "-c", TAIL).stdout
    assert said == "['arn:aws:logs:us-east-1:000000000000:log-group:/cli/live']\n"
