# SPDX-License-Identifier: Apache-2.0
"""Block device mappings: what a launch makes of its image's and its own."""

from __future__ import annotations

import pytest

from cloudchamber.services.ec2 import devices, errors
from cloudchamber.services.ec2.devices import Disk

IMAGE = (Disk("/dev/xvda", 8, "gp3", 3000, 125, "snap-1"), Disk("/dev/sdb", 5, "gp2", 100, 0, "snap-2"))


def launched(*given):
    return devices.launched(IMAGE, list(given), lambda snapshot: 7)


def test_image_alone():
    assert launched() == IMAGE


def test_root_is_first_whatever_it_is_called():
    found = launched({"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 20}}, {"DeviceName": "/dev/sdb", "NoDevice": ""})
    assert found == (Disk("/dev/xvda", 20, "gp3", 3000, 125, "snap-1"),)


def test_new_device_of_a_snapshot_has_its_size():
    found = launched({"DeviceName": "/dev/sdf", "Ebs": {"SnapshotId": "snap-3", "DeleteOnTermination": False}})
    assert found[2] == Disk("/dev/sdf", 7, "gp2", 100, 0, "snap-3", delete_on_termination=False)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 4}}, errors.InvalidBlockDeviceMapping),
        ({"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "snap-9"}}, errors.InvalidBlockDeviceMapping),
        ({"DeviceName": "/dev/xvda", "NoDevice": ""}, errors.InvalidBlockDeviceMapping),
        ({"DeviceName": "/etc/passwd", "Ebs": {"VolumeSize": 4}}, errors.InvalidParameterValue),
        ({"DeviceName": "/dev/sdf", "VirtualName": "ephemeral0"}, errors.UnsupportedOperation),
        ({"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 4, "Encrypted": True}}, errors.UnsupportedOperation),
        ({"DeviceName": "/dev/sdf", "Ebs": {}}, errors.MissingParameter),
        ({"Ebs": {"VolumeSize": 4}}, errors.MissingParameter),
    ],
)
def test_mappings_that_are_none(given, error):
    with pytest.raises(error):
        launched(given)


def test_performance():
    assert devices.performance("gp2", 100, None, None) == (300, 0)
    assert devices.performance("gp3", 100, 5000, 200) == (5000, 200)
    assert devices.carried("gp3", 100, 0) == (None, None)
    assert devices.carried("io2", 4000, 125) == (4000, None)
    for kind, size, iops, throughput in (("gp3", 10, 10, None), ("gp2", 10, None, 200), ("zz9", 1, None, None)):
        with pytest.raises(errors.Ec2Error):
            devices.performance(kind, size, iops, throughput)
