# SPDX-License-Identifier: Apache-2.0
"""User data in all its forms, as instances carry them out."""

from __future__ import annotations

import gzip
import json
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

CONFIG = r"""#cloud-config
bootcmd:
  - echo "boot of $INSTANCE_ID" >> /var/boots
write_files:
  - path: /opt/app/plain
    content: |
      hello
    permissions: '0640'
    owner: ec2-user:ec2-user
  - path: /opt/app/packed
    encoding: gz+b64
    content: !!binary |
      SDRzSUFBQUFBQUFDQXl0SVRNNU9UZUVDQUVQZ1FTOEhBQUFB
  - {path: /opt/app/binary, encoding: b64, content: aGk=}
  - {path: /opt/app/plain, content: "again\n", append: true, permissions: "0640", owner: "ec2-user:ec2-user"}
  - {path: /home/alice/late, content: "late\n", owner: alice, defer: true}
  - {path: relative, content: x}
groups:
  - crew: [ec2-user]
users:
  - default
  - name: alice
    groups: crew, wheel
    shell: /bin/sh
    homedir: /home/alice
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys: [ssh-ed25519 AAAAalice alice@laptop]
ssh_authorized_keys:
  - ssh-ed25519 AAAAdefault me@laptop
timezone: Europe/Berlin
hostname: web1
packages: [python3, no-such-package]
package_update: true
ntp: {enabled: true}
runcmd:
  - [sh, -c, 'echo "words: $0 $1"', "a b", "$HOME"]
  - echo "line $(cat /opt/app/plain | tr '\n' ' ')"
  - stat -c '%a %U:%G' /opt/app/plain /home/alice /home/alice/late /home/alice/.ssh/authorized_keys
  - grep -h . /home/alice/.ssh/authorized_keys /home/ec2-user/.ssh/authorized_keys
  - id alice; cat /opt/app/packed /opt/app/binary; echo; date +%Z
  - cloud-init status
final_message: "ready after $UPTIME"
"""


def test_cloud_config(lab: Lab) -> None:
    instance = lab.run(CONFIG)
    lab.wait(instance)
    console = lab.until_console(instance, "ready after")
    lines = console.splitlines()
    for line in (
        "words: a b $HOME", "line hello again ", "640 ec2-user:ec2-user", "700 alice:alice", "644 alice:root", "packed",
        "600 alice:alice", "ssh-ed25519 AAAAalice alice@laptop", "ssh-ed25519 AAAAdefault me@laptop", "hi",
        "status: running", "Error: Unable to find a match: no-such-package",
    ):  # fmt: skip
        assert line in lines, f"{line}\n{console}"
    assert "(alice),1001(crew),1003(wheel)" in console
    assert "not carried out here: ntp" in console
    assert "write_files relative: ValueError: it needs an absolute path" in console
    shown = lab.chamber.cli(
        "shell", instance, "--", "sh", "-c", "cat /run/cloud-init/result.json; cloud-init status --wait; echo $?"
    ).stdout
    assert "packages: not all of them are on this machine" in shown
    assert "status: error" in shown
    boots = lab.chamber.cli("shell", instance, "--", "cat", "/var/boots", "/etc/timezone").stdout
    assert boots.splitlines()[:2] == [f"boot of {instance}", "Europe/Berlin"]
    lab.ec2.reboot_instances(InstanceIds=[instance])
    lab.until(lambda: lab.console(instance).count(f"{instance} boots") == 2, "a second boot")
    lab.until(lambda: lab.console(instance).count("ready after") == 2, "its end")
    boots = lab.chamber.cli("shell", instance, "--", "cat", "/var/boots").stdout
    assert boots.count("boot of") == 2, "bootcmd runs at every boot"
    assert lab.console(instance).count("words: a b") == 1, "runcmd runs once"
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_parts(lab: Lab) -> None:
    message = MIMEMultipart()
    for kind, name, text in (
        ("x-shellscript", "second.sh", "#!/bin/sh\necho two of $(cat /opt/made)\n"),
        (
            "cloud-config",
            "c.yaml",
            "#cloud-config\nwrite_files: [{path: /opt/made, content: config}]\nruncmd: [echo three]\n",
        ),
        ("cloud-boothook", "hook", "#cloud-boothook\n#!/bin/sh\necho one, a hook\n"),
        ("jinja2", "j", "## template: jinja\n#cloud-config\nruncmd: [echo {{ v1.instance_id }}]\n"),
        ("x-include-url", "i", "#include\nhttps://example.com/x\n"),
        ("x-shellscript-per-boot", "each.sh", "#!/bin/sh\necho at each boot\n"),
    ):
        part = MIMEText(text, kind)
        part.add_header("Content-Disposition", "attachment", filename=name)
        message.attach(part)
    instance = lab.run(gzip.compress(message.as_bytes()))  # type: ignore[arg-type]
    lab.wait(instance)
    console = lab.until_console(instance, "runcmd ended with exit code 0")
    said = [line for line in console.splitlines() if line in ("one, a hook", "two of config", "three", "at each boot")]
    assert said == ["one, a hook", "at each boot", "two of config", "three"]
    assert "(## template: jinja): not run" in console
    assert "(#include): not run" in console
    lab.ec2.terminate_instances(InstanceIds=[instance])


def test_what_is_no_user_data_is_said(lab: Lab) -> None:
    bad = lab.run("#cloud-config\nruncmd: [unclosed\n")
    plain = lab.run("KEY=value\n")
    for one, text in ((bad, "is not readable"), (plain, "is neither a script ('#!') nor '#cloud-config': not run")):
        lab.wait(one)
        lab.until_console(one, text)
        shown = lab.chamber.cli("shell", one, "--", "cloud-init", "status", "--wait", check=False)
        assert "status: error" in shown.stdout
    result = json.loads(lab.chamber.cli("shell", bad, "--", "cat", "/var/lib/cloud/data/result.json").stdout)
    assert "is not readable" in result["v1"]["errors"][0]
    lab.ec2.terminate_instances(InstanceIds=[bad, plain])


def test_a_guest_that_links_its_log_folder_away_boots_again(lab: Lab) -> None:
    instance = lab.run(
        "#!/bin/sh\nrm -rf /var/log /var/tmp /root/.aws; ln -s /nowhere/log /var/log; ln -s /dev/null /var/tmp\n"
        "ln -s /x /root/.aws; echo linked\n"
    )
    lab.wait(instance)
    lab.until_console(instance, "linked")
    lab.ec2.stop_instances(InstanceIds=[instance])
    lab.wait(instance, "stopped")
    lab.ec2.start_instances(InstanceIds=[instance])
    lab.wait(instance)
    shown = lab.chamber.cli("shell", instance, "--", "sh", "-c", "cloud-init status --wait; echo it lives").stdout
    assert "it lives" in shown
    lab.ec2.terminate_instances(InstanceIds=[instance])
