# SPDX-License-Identifier: Apache-2.0
"""An instance whose first program is killed from outside: seen, said, and back with StartInstances."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.ec2.test_inside import APP, get

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab


def first_program(lab: Lab, instance: str) -> int:
    """Process id, on this machine, of the program that boots the instance."""
    folder: Path = lab.chamber.state / "ec2" / instance
    found = [json.loads((folder / "shim.json").read_text())["shim"]]
    while found:
        pid = found.pop()
        if b"guest/init.py" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
        found += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    raise AssertionError(f"{instance} has no first program")


def status_of(lab: Lab, instance: str) -> dict[str, Any]:
    rows = json.loads(lab.chamber.cli("status", "--json").stdout)["parts"]["ec2"]
    return next(row for row in rows if row["id"] == instance)


def test_killed_from_outside_and_started_again(lab: Lab) -> None:
    instance = lab.run(APP + "echo ready to be killed\n", SecurityGroupIds=[lab.group(80)])
    lab.wait(instance)
    lab.until_console(instance, "ready to be killed")
    lab.until(lambda: get(lab, instance)[0] == 200, "an answer of the app")
    assert status_of(lab, instance)["state"] == "running"
    os.kill(first_program(lab, instance), signal.SIGKILL)
    stopped = lab.wait(instance, "stopped")
    assert stopped["StateReason"]["Code"] == "Server.InternalError"
    assert "the instance crashed" in stopped["StateReason"]["Message"]
    assert "ready to be killed" in lab.console(instance)
    said = status_of(lab, instance)
    assert (said["state"], "the instance crashed" in said["detail"]) == ("stopped", True), said
    assert get(lab, instance)[0] == 503
    told = json.loads(lab.chamber.cli("tracks", "--all", "--json", "--limit", "60").stdout)
    crashed = [one for track in told for one in track["segments"] if one["name"] == "instance crashed"]
    assert [one["error"] for one in crashed if one["resource"].endswith(instance)] == ["Server.InternalError"]
    lab.ec2.start_instances(InstanceIds=[instance])
    running = lab.wait(instance)
    assert not running.get("StateReason", {}).get("Code", "").startswith("Server")
    status, seen = lab.until(lambda: found if (found := get(lab, instance))[0] == 200 else None, "the app again")
    assert (status, seen["runs"]) == (200, 2), "its files stayed, and so did the service that starts at boot"
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_what_boots_an_instance_is_in_nobodys_environment(lab: Lab) -> None:
    instance = lab.run('#!/bin/sh\necho "of ours: $(env | grep -c CLOUDCHAMBER_) seen"\n')
    lab.wait(instance)
    assert "of ours: 0 seen" in lab.until_console(instance, " seen")
    shown = lab.chamber.cli("shell", instance, "env").stdout
    assert "AWS_ENDPOINT_URL=" in shown
    assert "CLOUDCHAMBER_" not in shown
    lab.ec2.terminate_instances(InstanceIds=[instance])


EATER = """#!/bin/bash
cat > /etc/systemd/system/eater.service <<'X'
[Service]
ExecStart=/bin/sh -c 'test -e /var/ate && exec sleep 1000; touch /var/ate; exec python3 -c "$EAT"'
Environment="EAT=x=[bytearray(2**24)for(_)in(range(400))]"
Restart=on-failure
RestartSec=50ms
X
cat > /etc/systemd/system/faulty.service <<'X'
[Service]
ExecStart=/bin/sh -c 'kill -SEGV $$$$'
X
systemctl start eater faulty
"""


def test_what_the_memory_limit_kills_is_said_and_started_again(lab: Lab) -> None:
    instance = lab.run(EATER, InstanceType="t3.nano" if lab.kind.startswith("t3.") else "t4g.nano")
    lab.wait(instance)
    console = lab.until_console(instance, "out of memory: the limit of 512 MiB killed 1 process")
    assert "killed 1 process (python" in console
    console = lab.until_console(instance, "eater.service: main process was killed by SIGKILL")
    lab.until_console(instance, "faulty.service: main process was killed by SIGSEGV")
    lab.until(
        lambda: (
            "active"
            in lab.chamber.cli("shell", instance, "--", "systemctl", "is-active", "eater", check=False).stdout.split()
        ),
        "the service again",
    )
    assert "the memory limit killed 1 of its processes" in status_of(lab, instance)["detail"]
    assert lab.view(instance)["State"]["Name"] == "running"
    lab.ec2.terminate_instances(InstanceIds=[instance])


FLAKY = """#!/bin/bash
cat > /etc/systemd/system/flaky.service <<'X'
[Service]
ExecStart=/bin/bash -c 'test -e /var/once && echo up again && exec sleep 1000; touch /var/once; kill -ABRT $$$$'
Restart=on-failure
RestartSec=50ms
X
systemctl start flaky
"""


def test_an_app_that_crashes_is_said_and_begun_again(lab: Lab) -> None:
    instance = lab.run(FLAKY)
    lab.wait(instance)
    lab.until_console(instance, "flaky.service: main process was killed by SIGABRT")
    lab.until_console(instance, "up again")
    shell = ("shell", instance, "--", "systemctl", "is-active", "flaky")
    assert lab.chamber.cli(*shell, check=False).stdout.strip() == "active"
    (status,) = lab.ec2.describe_instance_status(InstanceIds=[instance])["InstanceStatuses"]
    assert status["InstanceStatus"]["Status"] in ("ok", "initializing")
    assert lab.view(instance)["State"]["Name"] == "running"
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_maintenance_options(lab: Lab) -> None:
    instance = lab.run("#!/bin/sh\ntrue\n", MaintenanceOptions={"AutoRecovery": "disabled"})
    assert lab.view(instance)["MaintenanceOptions"] == {"AutoRecovery": "disabled"}
    answer = lab.ec2.modify_instance_maintenance_options(InstanceId=instance, AutoRecovery="default")
    assert (answer["InstanceId"], answer["AutoRecovery"]) == (instance, "default")
    assert lab.view(instance)["MaintenanceOptions"] == {"AutoRecovery": "default"}
    lab.ec2.terminate_instances(InstanceIds=[instance])
