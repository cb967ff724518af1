# SPDX-License-Identifier: Apache-2.0
"""The command line where no chamber runs: options, errors and their next steps, and how little it imports."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from cloudchamber import deploy, reading
from cloudchamber.base.errors import ChamberError
from cloudchamber.cli import main
from cloudchamber.cli.looking import folded
from cloudchamber.cli.using import with_endpoint
from cloudchamber.client import Refused
from cloudchamber.settings import from_environment, root_key, state_folder

ISSUED = (
    "up", "start", "stop", "status", "down", "reset", "env", "run", "logs", "tracks", "track", "why", "psql", "shell",
    "doctor", "new", "who-can", "policy",
)  # fmt: skip


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("STATE", "PORT", "ROOT_KEY", "HTTPS_PORT", "REGION", "SANDBOX", "LOG"):
        monkeypatch.delenv(f"CLOUDCHAMBER_{name}", raising=False)
    monkeypatch.setenv("CLOUDCHAMBER_STATE", str(tmp_path / "state"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_every_command_has_help() -> None:
    listed = run("--help").output
    for name in ISSUED:
        assert f"\n  {name} " in listed
        assert run(name, "--help").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [("stop",), ("env",), ("down", "--yes"), ("tracks",), ("track", "x"), ("why", "x"), ("run", "true"), ("logs", "f"),
     ("psql", "db"), ("shell", "i-1"), ("logs",), ("reset", "--yes"),
     ("why", "--last"), ("who-can", "s3:GetObject"), ("policy", "x")],
    ids=" ".join,
)  # fmt: skip
def test_without_a_chamber_there_is_a_next_step(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments)
    assert done.exit_code == 1
    assert str(tmp_path / "state") in done.output
    assert "next: " in done.output


def test_status_says_that_none_runs() -> None:
    assert run("status").exit_code == 3
    assert json.loads(run("status", "--json").output) == {"running": False}


def test_a_parameter_without_a_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "template.yaml").write_text("Resources: {}")
    done = run("up", str(tmp_path), "-p", "Thumbnails")
    assert done.exit_code == 1
    assert "KEY=VALUE" in done.output


def test_an_unknown_parameter_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ChamberError, match=r"no parameter Thumbnail$") as told:
        deploy._check_names({"Thumbnail": "off"}, {"Thumbnails", "AppKey"})  # pyright: ignore[reportPrivateUsage]
    assert told.value.hint == "it has AppKey, Thumbnails"


def test_tracks_that_follow_each_other_and_are_alike_are_folded() -> None:
    listed = [{"id": str(n), "title": title, "error": "", "who": ""} for n, title in enumerate("aabaa")]
    assert [[t["id"] for t in alike] for alike in folded(listed, False)] == [["0", "1"], ["2"], ["3", "4"]]
    assert len(folded(listed, True)) == 5


def test_new_copies_the_example_and_never_into_something(tmp_path: Path) -> None:
    assert run("new", str(tmp_path / "mine")).exit_code == 0
    assert (tmp_path / "mine" / "template.yaml").exists()
    done = run("new", str(tmp_path / "mine"))
    assert done.exit_code == 1
    assert "not empty" in done.output


def test_doctor_answers_without_a_chamber() -> None:
    found = {f["name"]: f for f in json.loads(run("doctor", "--json").output)}
    assert found["python"]["ok"]
    assert found["chamber"]["next"] == "cloudchamber start"
    assert "python" in run("doctor").output


def test_looking_imports_little() -> None:
    text = "import sys; from cloudchamber.cli import main; main(['status'], standalone_mode=False)"
    text = f"import sys\ntry:\n  exec({text!r})\nexcept SystemExit: pass\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True).stdout.split()
    for heavy in ("asyncio", "cryptography", "yaml", "uvloop", "samtranslator", "orjson", "cloudchamber.services"):
        assert heavy not in loaded


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        ("aws rds list", "aws --endpoint-url http://e rds list"),
        ("/usr/bin/aws s3 ls", "/usr/bin/aws --endpoint-url http://e s3 ls"),
        ("aws --endpoint-url=http://other s3 ls", "aws --endpoint-url=http://other s3 ls"),
        ("python aws", "python aws"),
    ],
)
def test_the_aws_command_is_told_the_endpoint_twice(command: str, sent: str) -> None:
    assert with_endpoint(command.split(), "http://e") == sent.split()


@pytest.mark.parametrize("text", ["test", ":secret", "key:"])
def test_a_root_key_has_two_parts(text: str) -> None:
    with pytest.raises(ChamberError, match="KEY:SECRET"):
        root_key(text)


def test_settings_come_from_the_command_line_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDCHAMBER_PORT", "4000")
    monkeypatch.setenv("CLOUDCHAMBER_REGION", "eu-central-1")
    assert from_environment(state=state_folder(None), port=None).port == 4000
    assert from_environment(state=state_folder(None), port=0).port == 0
    assert from_environment(state=state_folder(None)).region == "eu-central-1"
    monkeypatch.setenv("CLOUDCHAMBER_PORT", "many")
    with pytest.raises(ChamberError, match="CLOUDCHAMBER_PORT"):
        from_environment(state=state_folder(None))


class Asked:
    """A client that answers what a test says."""

    def __init__(self, state: Path, answers: dict[str, Any]) -> None:
        self.state = state
        self.answers = answers

    def ask(self, service: str, operation: str, **request: Any) -> Any:
        answer = self.answers[operation]
        if isinstance(answer, Exception):
            raise answer
        return next(answer) if isinstance(answer, Iterator) else answer


DATABASE = {
    "DBInstanceStatus": "available",
    "MasterUsername": "owner",
    "DBName": "app",
    "Endpoint": {"Address": "db.localhost", "Port": 5432},
    "DbiResourceId": "db-1",
}


def test_psql_takes_the_owners_way_and_everybody_elses_for_another_user(tmp_path: Path) -> None:
    client: Any = Asked(tmp_path, {"DescribeDBInstances": {"DBInstances": [DATABASE]}})
    socket = tmp_path / "rds" / "db-1" / "s" / ".s.PGSQL.5432"
    socket.parent.mkdir(parents=True)
    socket.touch()
    program, line, extra = reading.psql(client, "db", ["-c", "select 1"], None)
    assert (program, line[-2:]) == (line[0], ["-c", "select 1"])
    assert extra == {"PGOPTIONS": "-c role=owner"}
    _, line, extra = reading.psql(client, "db", [], "somebody")
    assert line == ["psql"]
    assert (extra["PGUSER"], extra["PGSSLMODE"]) == ("somebody", "verify-full")
    assert "PGPASSWORD" not in extra


def test_psql_says_what_is_missing(tmp_path: Path) -> None:
    creating = {k: v for k, v in DATABASE.items() if k != "Endpoint"} | {"DBInstanceStatus": "creating"}
    for answer, told in (
        (Refused("DBInstanceNotFound", "no", 404), "no DB instance db"),
        ({"DBInstances": [creating]}, "db is creating"),
    ):
        client: Any = Asked(tmp_path, {"DescribeDBInstances": answer})
        with pytest.raises(ChamberError, match=told):
            reading.psql(client, "db", [], None)


def test_a_followed_log_shows_each_line_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_EVERY_S", 0)
    page = [{"eventId": str(i), "timestamp": i, "message": f"line {i}\n"} for i in range(4)]
    replies = iter([{"events": page[:2], "nextToken": "x"}, {"events": page[2:3]}, {"events": page[2:]}])
    following = reading.function_log(Asked(tmp_path, {"FilterLogEvents": replies}), "f", follow=True)  # type: ignore[arg-type]
    assert [next(following) for _ in range(4)] == [f"line {i}\n" for i in range(4)]
