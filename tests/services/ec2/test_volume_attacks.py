# SPDX-License-Identifier: Apache-2.0
"""What an instance's root leaves in its volumes leads nobody out of them: copies, moves, and an instance that boots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.ec2.conftest import unique
from tests.services.ec2.test_volumes import quick, volumes

if TYPE_CHECKING:
    from tests.services.ec2.conftest import Lab

LEAVE = """#!/bin/sh
cd /mnt/vol-*
ln -s VICTIM home; ln -s VICTIM root; ln -s VICTIM etc; ln -s VICTIM opt; mkdir var; ln -s VICTIM var/tmp; ln -s VICTIM var/log
ln -s VICTIM/secret srv; ln -s ../../.. up; mkfifo pipe; ln /usr/bin/env hard || echo no hard link
chown -h 1000 srv; chown 1000 . ; chmod 4777 var; echo traps are set
"""  # noqa: E501 - one line each
LOOK = """#!/bin/sh
for d in home root etc opt srv var/tmp var/log; do test -d /$d -a ! -L /$d || echo "lost /$d"; ls -la /$d; done
find / -xdev -name secret
cat /srv/secret /home/secret; echo written > /opt/new; echo written > /var/tmp/new; echo looked
"""


def test_traps_in_a_volume_lead_nowhere(lab: Lab, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    for folder in (victim, *list(victim.parents)[:-2]):
        folder.chmod(0o755)
    (victim / "secret").write_text("the secret itself")
    disk = [{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1}}]
    bad = lab.run(LEAVE.replace("VICTIM", str(victim)), BlockDeviceMappings=disk)
    assert "no hard link" in lab.until_console(bad, "traps are set")
    further = next(one["VolumeId"] for one in volumes(lab, bad) if one["Attachments"][0]["Device"] == "/dev/sdf")
    snapshot = lab.ec2.create_snapshot(VolumeId=further)["SnapshotId"]
    quick(lab, "snapshot_completed").wait(SnapshotIds=[snapshot])
    image = lab.ec2.register_image(
        Name=unique("trap"), RootDeviceName="/dev/xvda", VirtualizationType="hvm",
        Architecture=lab.view(bad)["Architecture"],
        BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
    )["ImageId"]  # fmt: skip
    second = lab.run(LOOK, ImageId=image)
    said = lab.until_console(second, "looked")
    assert "secret itself" not in said and "lost" not in said, said
    # the volume itself becomes a root
    for one in (bad, second):
        lab.ec2.stop_instances(InstanceIds=[one])
        lab.wait(one, "stopped")
    root = volumes(lab, second)[0]["VolumeId"]
    for volume in (root, further):
        lab.ec2.detach_volume(VolumeId=volume)
    quick(lab, "volume_available").wait(VolumeIds=[root, further])
    lab.ec2.attach_volume(VolumeId=further, InstanceId=second, Device="/dev/xvda")
    lab.ec2.start_instances(InstanceIds=[second])
    lab.wait(second)
    inside = lab.chamber.cli("shell", second, "--", "/bin/sh", "-c", LOOK).stdout
    assert "secret itself" not in inside and "lost" not in inside, inside
    assert [path.name for path in victim.iterdir()] == ["secret"]
    assert victim.stat().st_mode & 0o7777 == 0o755
    lab.ec2.deregister_image(ImageId=image, DeleteAssociatedSnapshots=True)
    lab.ec2.terminate_instances(InstanceIds=[bad, second])
    lab.ec2.delete_volume(VolumeId=root)
