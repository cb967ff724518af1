# SPDX-License-Identifier: Apache-2.0
"""A real chamber for tests: its own process, its own state folder, free ports, killed at the end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Why: how long an example takes says how busy the machine is
settings.register_profile("any time", deadline=None)
settings.load_profile("any time")
START_WITHIN_S = 60
ROOT_KEY = "AKIAROOTROOTROOTROOT:test-root-secret"


def _without_account(request: Any, **_: Any) -> None:
    """boto3 puts the account before the host's name, and there is no host `000000000000.127.0.0.1`."""
    scheme, _, rest = request.url.partition("://")
    host, slash, path = rest.partition("/")
    request.url = f"{scheme}://127.0.0.1:{host.rpartition(':')[2]}{slash}{path}"


@dataclass
class RunningChamber:
    """A chamber in a process of its own; `kill` and `start` again keep its state."""

    state: Path
    process: subprocess.Popen[bytes] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    https_port: int = 0
    more: dict[str, str] = field(default_factory=dict)
    """Of its environment."""

    @property
    def endpoint(self) -> str:
        return self.about["endpoint"]

    @property
    def log(self) -> str:
        return (self.state / "test.log").read_text(errors="replace")

    def start(self) -> None:
        (self.state / "chamber.json").unlink(missing_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_"))}
        environment |= {"CLOUDCHAMBER_ROOT_KEY": ROOT_KEY, **self.more}
        log = (self.state / "test.log").open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "cloudchamber", "start", "--foreground", "--state", str(self.state),
                "--port", str(self.port), "--https-port", str(self.https_port),
            ],
            env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        log.close()
        ends = time.monotonic() + START_WITHIN_S
        while not (self.state / "chamber.json").exists():
            if self.process.poll() is not None or time.monotonic() > ends:
                raise AssertionError(f"the chamber did not start:\n{self.log[-8000:]}")
            time.sleep(0.02)
        self.about = json.loads((self.state / "chamber.json").read_text())
        self.port = int(self.endpoint.rpartition(":")[2])

    def kill(self) -> None:
        """`kill -9`, as a power cut for the process."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=60)

    def session(self, key: str = ROOT_KEY, token: str | None = None) -> Any:
        import boto3

        access, _, secret = key.partition(":")
        return boto3.Session(access, secret, token, region_name="us-east-1")

    def client(self, service: str, key: str = ROOT_KEY, token: str | None = None, **options: Any) -> Any:
        from botocore.config import Config

        config = Config(retries={"total_max_attempts": 1}, read_timeout=120).merge(options.pop("config", Config()))
        made = self.session(key, token).client(service, endpoint_url=self.endpoint, config=config, **options)
        if service == "s3control":
            made.meta.events.register("before-sign.s3-control", _without_account)
        return made

    def environment(self) -> dict[str, str]:
        """What `cloudchamber env` would set, for programs such as the aws command."""
        access, _, secret = ROOT_KEY.partition(":")
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("AWS_")},
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLOUDCHAMBER_"))}
        environment["CLOUDCHAMBER_STATE"] = str(self.state)
        done = subprocess.run(
            [sys.executable, "-m", "cloudchamber", *arguments],
            env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done


def new_chamber(folder: str | None = None, **more: str) -> RunningChamber:
    return RunningChamber(Path(tempfile.mkdtemp(prefix="chamber-", dir=folder)), more=more)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--form") == "cluster":
        from tests.cluster.alone import ALONE

        for item in items:
            for name, why in ALONE.items():
                if item.nodeid.startswith(name):
                    item.add_marker(pytest.mark.skip(reason=f"of one machine only: {why}"))


def pytest_addoption(parser):
    parser.addoption("--form", choices=("alone", "cluster"), default="alone", help="chambers share their state, or not")


@pytest.fixture(scope="session")
def ground(request):
    """What chambers share with others: nothing, or a PostgreSQL and a store of blobs."""
    from tests.cluster import servers

    if request.config.getoption("--form") == "alone":
        yield {}
        return
    if servers.missing():
        pytest.skip(servers.missing())
    made = servers.Ground()
    yield made.settings
    made.end()


def end_chamber(running: RunningChamber) -> None:
    """Stop it and everything that outlives it, then remove its state."""
    if running.process is not None and running.process.poll() is None:
        running.cli("down", "--yes", check=False)
        if running.process.poll() is None:
            running.stop()
    shutil.rmtree(running.state, ignore_errors=True)


@pytest.fixture(scope="session")
def chamber(ground):
    """One chamber for the whole run: tests must name what they make so that they do not meet."""
    running = new_chamber(**ground)
    running.start()
    yield running
    end_chamber(running)


@pytest.fixture
def own_chamber(ground):
    """A chamber of the test's own, for those that kill it."""
    running = new_chamber(**ground)
    running.start()
    yield running
    end_chamber(running)
