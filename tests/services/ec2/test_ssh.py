# SPDX-License-Identifier: Apache-2.0
"""SSH to instances: OpenSSH's own client, through the public address and through `cloudchamber ssh`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh
import pytest
from botocore.exceptions import ClientError

from tests.services.ec2.conftest import lab_of, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.services.ec2.conftest import Lab

SCRIPT = """#!/bin/bash
echo 'from inside' > /home/ec2-user/mine; chown ec2-user:ec2-user /home/ec2-user/mine
useradd_line='bob:x:1500:1500::/home/bob:/bin/bash'
echo "$useradd_line" >> /etc/passwd; mkdir -p /home/bob/.ssh; ln -s /etc/shadow /home/bob/.ssh/authorized_keys
cat > /opt/echo.py <<'X'
import socket
s = socket.create_server(("127.0.0.1", 7000))
while True:
    c, _ = s.accept()
    c.sendall(c.recv(100).upper()); c.close()
X
python3 /opt/echo.py & echo listening
"""


class Machine:
    """A running instance with a key, and ssh to it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab = lab
        name = unique("ssh")
        made = lab.ec2.create_key_pair(KeyName=name, KeyType="ed25519")
        self.key = folder / "key.pem"
        self.key.touch(mode=0o600)
        self.key.write_text(made["KeyMaterial"])
        self.id = lab.run(SCRIPT, KeyName=name, SecurityGroupIds=[lab.group(22)])
        lab.wait(self.id)
        lab.until_console(self.id, "user data ended")
        self.address = lab.view(self.id)["PublicIpAddress"]

    def line(self, *options: str, user: str = "ec2-user", key: Path | None = None) -> list[str]:
        """The command that logs in, without what it is to run."""
        settings = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes")
        given = [word for one in settings for word in ("-o", one)]
        return ["ssh", "-F", "/dev/null", "-i", str(key or self.key), *given, *options, f"{user}@{self.address}"]

    def ssh(self, *words: str, user: str = "ec2-user", key: Path | None = None, **options: Any) -> Any:
        line = self.line("-o", "BatchMode=yes", user=user, key=key)
        return subprocess.run([*line, *words], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(scope="module")
def machine(chamber: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(lab_of(chamber), tmp_path_factory.mktemp("ssh"))
    yield made
    made.lab.ec2.terminate_instances(InstanceIds=[made.id])


def test_commands(machine: Machine) -> None:
    done = machine.ssh("whoami; pwd; cat mine; echo oops >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("ec2-user\n/home/ec2-user\nfrom inside\n", "oops\n", 7)
    big = "x" * 3_000_000
    assert machine.ssh("wc -c", input=big).stdout.strip() == "3000000"
    assert len(machine.ssh("head -c 5000000 /dev/zero | tr '\\0' y").stdout) == 5_000_000
    assert machine.ssh("kill -9 $$").returncode in (255, 137)
    assert "AWS_ENDPOINT_URL=http://127.0.0.1" in machine.ssh("env").stdout


def test_a_terminal(machine: Machine) -> None:
    done = machine.ssh("-tt", "stty size; test -t 0 && echo terminal; tty > /dev/null; echo $TERM")
    assert "terminal" in done.stdout
    shell = machine.ssh("-tt", input="echo $0 $((6*7))\nexit 3\n")
    assert "-bash 42" in shell.stdout
    assert shell.returncode == 3


def test_who_may_not(machine: Machine, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    for user, key in (
        ("ec2-user", other),
        ("bob", machine.key),
        ("nobody", machine.key),
        ("no-such-user", machine.key),
    ):
        refused = machine.ssh("true", user=user, key=key)
        assert refused.returncode == 255, user
        assert "Permission denied (publickey)" in refused.stderr
    root = machine.ssh("id", user="root")
    assert 'Please login as the user "ec2-user" rather than the user "root".' in root.stdout
    assert root.returncode == 142


def test_files(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "a file"
    source.write_bytes(bytes(range(256)) * 5000)
    options = [
        "-F",
        "/dev/null",
        "-i",
        str(machine.key),
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]
    there = f"ec2-user@{machine.address}:copied"
    subprocess.run(["scp", "-q", *options, str(source), there], check=True, timeout=60)
    subprocess.run(["scp", "-q", *options, there, str(tmp_path / "back")], check=True, timeout=60)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert machine.ssh("stat -c '%U %s' copied").stdout == "ec2-user 1280000\n"
    outside = subprocess.run(
        ["scp", "-q", *options, f"ec2-user@{machine.address}:{machine.lab.chamber.state}/chamber.json", str(tmp_path)],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert outside.returncode != 0, "a file of this machine is none of the instance's"


@contextlib.contextmanager
def forwarded(*line: str) -> Iterator[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = subprocess.Popen(
        [word.replace("PORT", str(port)) for word in line], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline().strip() == b"ready"
        yield port
    finally:
        assert running.stdin is not None
        running.stdin.close()
        running.wait(timeout=30)


def test_forwarding_leads_into_the_instance_only(machine: Machine) -> None:
    cli = [sys.executable, "-m", "cloudchamber", "ssh", "--state", str(machine.lab.chamber.state), machine.id]
    with (
        forwarded(*cli, "-L", "PORT:127.0.0.1:7000", "--", "echo ready; cat") as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(b"hello")
        assert client.recv(100) == b"HELLO"
    outside = machine.lab.https_port()
    with (
        forwarded(*cli, "-L", f"PORT:127.0.0.1:{outside}", "--", "echo ready; cat") as port,
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(b"x" * 50)
        assert client.recv(100) == b"", "this machine's own ports are not the instance's"
    remote = machine.ssh("-R", "7005:127.0.0.1:1", "-o", "ExitOnForwardFailure=yes", "true")
    assert remote.returncode == 255


def test_the_command(machine: Machine) -> None:
    done = machine.lab.chamber.cli("ssh", machine.id, "--", "whoami", ";", "exit", "5", check=False)
    assert (done.stdout, done.returncode) == ("ec2-user\n", 5)
    assert machine.lab.chamber.cli("ssh", "--user", "root", machine.id, "id", "-u").stdout == "0\n"
    gone = machine.lab.chamber.cli("ssh", "i-00000000000000000", "true", check=False)
    assert gone.returncode == 1
    assert "is not running" in gone.stderr


def test_instances_reach_each_other(machine: Machine) -> None:
    lab = machine.lab
    target = lab.view(machine.id)["PrivateIpAddress"]
    script = f"#!/bin/bash\nexec 3<>/dev/tcp/{target}/22; head -1 <&3\n"
    other = lab.run(script)
    lab.wait(other)
    assert "SSH-2.0-cloudchamber" in lab.until_console(other, "user data ended")
    lab.ec2.terminate_instances(InstanceIds=[other])


def test_what_listens_inside_wins(machine: Machine) -> None:
    lab = machine.lab
    program = "import socket; s=socket.create_server(('',22)); print('up', flush=True)"
    listener = f"{program}\nwhile 1: c,_=s.accept(); c.sendall(b'mine'); c.close()"
    own = lab.run(f'#!/bin/bash\npython3 -c "{listener}"\n', SecurityGroupIds=[lab.group(22)])
    lab.wait(own)
    lab.until_console(own, "up")
    with socket.create_connection((lab.view(own)["PublicIpAddress"], 22), timeout=30) as client:
        assert client.recv(10) == b"mine"
    lab.ec2.terminate_instances(InstanceIds=[own])


def test_the_host_key(machine: Machine, tmp_path: Path) -> None:
    folder = machine.lab.chamber.state / "ec2" / machine.id
    private = folder / "ssh_host_ed25519_key"
    assert private.stat().st_mode & 0o777 == 0o600
    public = asyncssh.read_private_key(private).export_public_key().decode().split()[1]
    scanned = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", machine.address], capture_output=True, text=True, check=True
    ).stdout
    assert scanned.split()[2] == public
    assert public in machine.lab.console(machine.id), "as on Amazon Linux, the console says the key"


def test_instance_connect(machine: Machine, tmp_path: Path) -> None:
    key = tmp_path / "pushed"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text()
    client = machine.lab.chamber.client("ec2-instance-connect")
    assert machine.ssh("true", key=key).returncode == 255
    sent = client.send_ssh_public_key(InstanceId=machine.id, InstanceOSUser="ec2-user", SSHPublicKey=public)
    assert sent["Success"] is True
    assert machine.ssh("whoami", key=key).stdout == "ec2-user\n"
    assert machine.ssh("true", key=key, user="root").returncode == 255, "the key is for one user"
    zone = machine.lab.view(machine.id)["Placement"]["AvailabilityZone"]
    for given, code in (
        ({"SSHPublicKey": "ssh-rsa " + "bm9u" * 30}, "InvalidArgsException"),
        ({"InstanceId": "i-0123456789abcdef0"}, "EC2InstanceNotFoundException"),
        ({"AvailabilityZone": "us-east-1z"}, "EC2InstanceNotFoundException"),
    ):
        request = {
            "InstanceId": machine.id,
            "InstanceOSUser": "ec2-user",
            "SSHPublicKey": public,
            "AvailabilityZone": zone,
        }
        with pytest.raises(ClientError) as refused:
            client.send_ssh_public_key(**request | given)
        assert refused.value.response["Error"]["Code"] == code


def test_sudo(machine: Machine) -> None:
    done = machine.ssh("sudo id -u; sudo -u ec2-user id -un; sudo A=b sh -c 'echo $A $SUDO_USER; exit 9'")
    assert (done.stdout, done.returncode) == ("0\nec2-user\nb ec2-user\n", 9)
    assert machine.ssh("cd /tmp && sudo pwd; sudo -i whoami").stdout == "/tmp\nroot\n"
    assert machine.ssh("sudo systemctl is-active nothing").stdout == "inactive\n"
    assert machine.ssh("sudo cat", input="through").stdout == "through"
    assert machine.ssh("sudo -tt true").returncode == 1
    ended = machine.ssh(
        "sudo sh -c 'echo $$ > /tmp/it; exec sleep 1000' & "
        "until test -s /tmp/it; do :; done; kill -TERM $!; wait $!; echo ended $?; sudo kill -0 $(cat /tmp/it)"
    )
    assert ended.stdout == "ended 143\n"
    assert "No such process" in ended.stderr
    machine.ssh("sudo rm /etc/sudoers.d/90-cloud-init-users")
    refused = machine.ssh("sudo id")
    assert (refused.returncode, refused.stderr) == (1, "sudo: ec2-user is not in the sudoers file\n")


def test_clients_that_break_off(machine: Machine) -> None:
    """In the middle of what comes and goes; the chamber, and everybody else's sessions, go on."""
    line = machine.line("-tt")
    for program in ("yes", "cat", "stty -echo; head -c 100000000 > /dev/null"):
        started = subprocess.Popen([*line, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert started.stdin is not None
        assert started.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            started.stdin.write(b"some text\n" * 20_000)
        if program != "stty -echo; head -c 100000000 > /dev/null":
            assert started.stdout.read(1000)
        started.kill()
        started.wait()
        started.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            started.stdin.close()
    assert machine.ssh("echo alive").stdout == "alive\n"
    lab = machine.lab
    lab.until(lambda: machine.ssh("ps -e -o comm= | grep -cx yes").stdout == "0\n", "the end of what was hung up")


def test_what_has_no_terminal_ends_with_its_client_too(machine: Machine) -> None:
    line = machine.line("-T")
    silent = "sh -c 'echo begun; sleep 31415' ; true"
    for command in ([silent], ["nohup sleep 27182 & " + silent]):
        started = subprocess.Popen([*line, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert started.stdout is not None
        assert started.stdout.readline() == b"begun\n"
        started.kill()
        started.wait()
        started.stdout.close()
        machine.lab.until(
            lambda: machine.ssh("ps -e -o args= | grep -c '[s]leep 31415'").stdout == "0\n", "the end of the command"
        )
    # Who asks not to be hung up on stays.
    assert machine.ssh("ps -e -o args= | grep -c '[s]leep 27182'; pkill -f 'sleep 2718[2]'").stdout == "1\n"
    killed = machine.ssh("kill -TERM $$")
    assert killed.returncode == 255
    assert machine.ssh("exit 7").returncode == 7
    assert machine.ssh("cat", input="to the end").stdout == "to the end"


def test_no_way_from_a_session_to_what_is_not_the_instances(machine: Machine, tmp_path: Path) -> None:
    """Another instance's key, an agent, sockets of this machine by their paths."""
    other = machine.lab.ec2.create_key_pair(KeyName=unique("other"), KeyType="ed25519")
    key = tmp_path / "other.pem"
    key.touch(mode=0o600)
    key.write_text(other["KeyMaterial"])
    assert machine.ssh("true", key=key).returncode == 255
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=subprocess.DEVNULL) as agent:
        while not (tmp_path / "agent").exists():
            assert agent.poll() is None
        environment = {"SSH_AUTH_SOCK": str(tmp_path / "agent"), "PATH": "/usr/bin:/bin"}
        assert machine.ssh("-A", 'echo "agent:$SSH_AUTH_SOCK"', env=environment).stdout == "agent:\n"
        agent.terminate()
    # A socket of this machine by its path: such forwarding is not there, in either direction.
    here = tmp_path / "here"
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(here))
        ours.listen()
        refused = machine.ssh("-o", "ExitOnForwardFailure=yes", "-R", f"/tmp/there:{here}", "true")
        assert refused.returncode == 255
        with pytest.raises(asyncssh.ChannelOpenError):
            asyncio.run(_socket_by_path(machine, str(here)))
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.accept()


async def _socket_by_path(machine: Machine, path: str) -> None:
    options = {"known_hosts": None, "client_keys": [str(machine.key)], "username": "ec2-user", "config": None}
    async with asyncssh.connect(machine.address, **options) as connection:
        await connection.open_unix_connection(path)
