# SPDX-License-Identifier: Apache-2.0
"""From a fresh checkout to a thumbnail as a user without privileges, when root runs the tests."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.journeys.person import Person, picture

ROOT = Path(__file__).parents[2]
CHECKOUT = ("cloudchamber", "pyproject.toml", "README.md", "LICENSE", "src", "tools", "examples")
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3")
PATHS = "/usr/local/bin:/usr/bin:/bin"
USABLE = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
WITHIN_S = 30


def someone() -> pwd.struct_passwd:
    """A user who is not root, and whom programs can look up by number."""
    ordinary = [user for user in pwd.getpwall() if 1000 <= user.pw_uid < 65534]
    return ordinary[0] if ordinary else pwd.getpwnam("nobody")


class Checkout:
    """The project in a home of this user, and nothing else of ours in the environment."""

    def __init__(self, user: pwd.struct_passwd, home: Path) -> None:
        self.user = user
        self.folder = home / "cloudchamber"
        inherited = {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k.lower().endswith("_proxy")}
        self.environment = {**inherited, "HOME": str(home), "PATH": PATHS, "LANG": "C.UTF-8", "USER": user.pw_name}
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".cloudchamber")
        for name in CHECKOUT:
            source, target = ROOT / name, self.folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=ignored)
            else:
                target.parent.mkdir(exist_ok=True)
                shutil.copy2(source, target)
        for where, _, names in os.walk(home):
            for path in (where, *(os.path.join(where, name) for name in names)):
                os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)

    def python(self) -> str | None:
        """An interpreter that this user may run, and that can make a virtual environment."""
        for name in PYTHONS:
            path = shutil.which(name, path=PATHS)
            if path and self.run(path, "-c", USABLE, check=False).returncode == 0:
                return path
        return None

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=280,
            user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[], umask=0o022,
        )  # fmt: skip
        assert not check or done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done


@pytest.fixture
def checkout():
    if os.geteuid() != 0:
        pytest.skip("this user has no privileges anyway: the other journeys are this one")
    home = Path(tempfile.mkdtemp(prefix="home-"))
    made = Checkout(someone(), home)
    python = made.python()
    try:
        if python is None:
            pytest.skip(f"no Python 3.11 with venv on {PATHS} that an ordinary user may run")
        made.environment["PYTHON"] = python
        yield made
    finally:
        if (made.folder / ".cloudchamber").exists():
            made.run("./cloudchamber", "reset", "--yes", check=False)
        shutil.rmtree(home)


def test_from_a_checkout_to_a_thumbnail(checkout):
    options = ("--json", "--port", "0", "--https-port", "0")
    done = json.loads(checkout.run("./cloudchamber", "up", "examples/profile-app", *options).stdout)
    status = json.loads(checkout.run("./cloudchamber", "status", "--json").stdout)
    state = checkout.folder / ".cloudchamber"
    about = json.loads((state / "chamber.json").read_text())
    assert about["sandbox_mode"] == "ns-user", about["refused_modes"]
    assert Path(f"/proc/{about['pid']}").stat().st_uid == checkout.user.pw_uid
    assert [row["state"] for row in status["parts"]["rds"] if row["kind"] == "database"] == ["available"]
    (url,) = done["apps"].values()
    person = Person(url, state / "ca" / "ca.pem", "ordinary")
    person.sign_up()
    assert person.upload(picture(1))
    values = json.loads(checkout.run("./cloudchamber", "env", "--json").stdout)
    s3 = boto3.client(
        "s3", endpoint_url=values["AWS_ENDPOINT_URL"], region_name=values["AWS_REGION"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"], aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    ends = time.monotonic() + WITHIN_S
    while True:
        try:
            thumbnail = s3.head_object(Bucket=done["outputs"]["FilesBucket"], Key=f"thumbnails/{person.avatar_key()}")
            break
        except ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 404
            assert time.monotonic() < ends
            time.sleep(0.02)
    assert thumbnail["Metadata"]["source-etag"]
