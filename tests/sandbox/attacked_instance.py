# SPDX-License-Identifier: Apache-2.0
"""Runs attack_network.py in an instance of a chamber beside victims, prints the table: `MODE FOLDER`."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import boto3

HERE = Path(__file__).parent
KEY, SECRET = "AKIAROOTROOTROOTROOT", "test-root-secret"
WEB = f"#!/bin/sh\nexec {sys.executable} -m http.server 80\n"
SERVICE = f"""#!{sys.executable}
import socket
server = socket.create_server(("", 8000))
while True:
    server.accept()[0].sendall(b"VICTIM")
"""


def victims() -> tuple[int, int]:
    """Ports of TCP and UDP services at every address of this machine."""
    tcp = socket.create_server(("0.0.0.0", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", 0))
    joined = struct.pack("4s4s", socket.inet_aton("224.0.0.251"), socket.inet_aton("0.0.0.0"))
    udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, joined)

    def accept() -> None:
        while True:
            with tcp.accept()[0] as one:
                one.sendall(b"VICTIM")

    def answer() -> None:
        while True:
            udp.sendto(b"VICTIM", udp.recvfrom(100)[1])

    for work in (accept, answer):
        threading.Thread(target=work, daemon=True).start()
    return tcp.getsockname()[1], udp.getsockname()[1]


def own_address() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return "127.0.0.1"
        return probe.getsockname()[0]


def host_gateway() -> str:
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        if words[1] == "00000000":
            return socket.inet_ntoa(struct.pack("<I", int(words[2], 16)))
    return "10.0.0.1"


def cli(state: Path, *words: str) -> Any:
    environment = {**os.environ, "CLOUDCHAMBER_STATE": str(state), "CLOUDCHAMBER_ROOT_KEY": f"{KEY}:{SECRET}"}
    command = [sys.executable, "-m", "cloudchamber", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def run(ec2: Any, script: str, group: str) -> dict[str, Any]:
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]
    kind = "t3.micro" if image["Architecture"] == "x86_64" else "t4g.micro"
    made = ec2.run_instances(
        ImageId=image["ImageId"], InstanceType=kind, MinCount=1, MaxCount=1, UserData=script, SecurityGroupIds=[group]
    )["Instances"][0]
    waiter = ec2.get_waiter("instance_running")
    waiter.config.delay = 0.2
    waiter.wait(InstanceIds=[made["InstanceId"]])
    return ec2.describe_instances(InstanceIds=[made["InstanceId"]])["Reservations"][0]["Instances"][0]


def listens(state: Path, instance: str, port: int) -> None:
    """Wait until an instance answers itself."""
    look = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
    ends = time.monotonic() + 60
    while cli(state, "shell", instance, "--", sys.executable, "-c", look).returncode:
        assert time.monotonic() < ends, instance


def main(mode: str, base: Path) -> None:
    state = base / "state"
    started = cli(state, "start", "--sandbox", mode, "--port", "0", "--https-port", "0")
    if started.returncode:
        sys.exit(started.stdout + started.stderr)
    try:
        about = json.loads((state / "chamber.json").read_text())
        ec2 = boto3.client(
            "ec2", endpoint_url=about["endpoint"], region_name="us-east-1",
            aws_access_key_id=KEY, aws_secret_access_key=SECRET,
        )  # fmt: skip
        groups = [ec2.create_security_group(GroupName=n, Description=n)["GroupId"] for n in ("bad", "friend", "other")]
        pair = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": groups[1]}]}
        ec2.authorize_security_group_ingress(GroupId=groups[2], IpPermissions=[pair])
        other, friend = run(ec2, SERVICE, groups[2]), run(ec2, WEB, groups[1])
        attacker = run(ec2, "", groups[0])
        listens(state, other["InstanceId"], 8000)
        listens(state, friend["InstanceId"], 80)
        tcp, udp = victims()
        named = {socket.gethostname(), socket.getfqdn(), f"{socket.gethostname()}.localdomain"} - {"localhost"}
        targets = {
            "tcp": tcp, "udp": udp, "lan": own_address(), "host_gateway": host_gateway(),
            "other": other["PrivateIpAddress"], "friend": friend["PrivateIpAddress"],
            "gateway": str(attacker["PrivateIpAddress"].rpartition(".")[0].rpartition(".")[0]) + ".0.1",
            "endpoint": int(about["endpoint"].rpartition(":")[2]),
            "names": sorted({*named, "localhost.localdomain", "host.docker.internal", "metadata.google.internal"}),
            "consoles": ["localhost", "127.0.0.1", about["endpoint"].removeprefix("http://")],
            "website": f"{friend['InstanceId']}.ec2.localhost",
        }  # fmt: skip
        source = (HERE / "attack_network.py").read_text()
        words = ("shell", attacker["InstanceId"], "--", sys.executable, "-c", source, json.dumps(targets))
        done = cli(state, *words)
        print(done.stdout, done.stderr)
        status = json.loads((state / "chamber.json").read_text())
        print("NOT BLOCKED " + json.dumps(status.get("not_blocked", [])))
    finally:
        cli(state, "reset", "--yes")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
