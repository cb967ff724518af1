# SPDX-License-Identifier: Apache-2.0
"""A chamber that dies while it copies: nothing half is ever whole, and the instance goes on."""

from __future__ import annotations

from typing import Any

from tests.services.ec2.conftest import lab_of
from tests.services.ec2.test_volumes import quick, refused


def test_snapshot_that_a_crash_broke_off_is_an_error_and_the_instance_goes_on(own_chamber: Any):
    lab = lab_of(own_chamber)
    script = "#!/bin/sh\nhead -c 300M /dev/urandom > /srv/big; echo ready; while :; do echo tick; sleep 0.2; done\n"
    instance = lab.run(script)
    lab.until_console(instance, "ready")
    root = lab.view(instance)["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    snapshot = lab.ec2.create_snapshot(VolumeId=root)["SnapshotId"]
    own_chamber.kill()
    own_chamber.start()
    lab = lab_of(own_chamber)
    view = lab.ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"][0]
    folder = own_chamber.state / "ec2" / "snapshots" / snapshot
    # Whichever came first: the whole copy, or the end of the chamber.
    assert view["State"] in ("completed", "error")
    assert view["State"] != "completed" or folder.is_dir()
    if view["State"] == "error":
        refused("IncorrectState", lab.ec2.create_volume, AvailabilityZone="us-east-1a", SnapshotId=snapshot)
    ticks = lab.console(instance).count("tick")
    lab.until(lambda: lab.console(instance).count("tick") > ticks, "the instance goes on")
    lab.ec2.delete_snapshot(SnapshotId=snapshot)
    lab.until(lambda: not list((own_chamber.state / "ec2" / "snapshots").iterdir()), "no files left")
    again = lab.ec2.create_snapshot(VolumeId=root)["SnapshotId"]
    quick(lab, "snapshot_completed").wait(SnapshotIds=[again])
    assert (own_chamber.state / "ec2" / "snapshots" / again / "srv" / "big").stat().st_size == 300 << 20
