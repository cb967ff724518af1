# SPDX-License-Identifier: Apache-2.0
"""Block device mappings: what a launch, an image or a new volume says of its disks. Pure.

Source: Amazon EC2 API Reference, EbsBlockDevice, CreateVolume; Amazon EBS User Guide, EBS volume types.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from cloudchamber.services.ec2 import errors
from cloudchamber.services.ec2.checks import inner, many, refuse
from cloudchamber.services.ec2.disks import ROOT_DEVICE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEVICES_MAX = 28
"""Volumes of one instance, its root included, as most instance types on AWS take."""
_NAME = re.compile(r"/dev/(?:sd[a-z][0-9]{0,2}|xvd[a-z]{1,2}[0-9]{0,2})|xvd[a-z]{1,2}|sd[a-z]")


@dataclass(frozen=True, slots=True)
class Kind:
    """What AWS takes for one type of volume; sizes in GiB, `iops` and `throughput` as (least, most, default)."""

    least: int
    most: int
    iops: tuple[int, int, int] | None = None
    throughput: tuple[int, int, int] | None = None
    needs_iops: bool = False


KINDS = {
    "standard": Kind(1, 1024),
    "gp2": Kind(1, 16384),
    "gp3": Kind(1, 65536, (3000, 80000, 3000), (125, 2000, 125)),
    "io1": Kind(4, 16384, (100, 64000, 0), needs_iops=True),
    "io2": Kind(4, 65536, (100, 256000, 0), needs_iops=True),
    "st1": Kind(125, 16384),
    "sc1": Kind(125, 16384),
}


@dataclass(frozen=True, slots=True)
class Disk:
    """One volume that is to be: of a snapshot, or empty."""

    device: str
    size_gib: int
    type: str = "gp3"
    iops: int = 0
    throughput: int = 0
    snapshot: str = ""
    delete_on_termination: bool = True

    def kept(self) -> dict[str, Any]:
        """As an image keeps it."""
        return asdict(self)


def performance(kind: str, size_gib: int, iops: int | None, throughput: int | None) -> tuple[int, int]:
    """IOPS and throughput (MiB/s) of a volume of a type and size; 0 where the type has none.

    Raises:
        InvalidParameterValue, InvalidParameterCombination, MissingParameter: AWS has no such volume.
    """
    known = KINDS.get(kind)
    if known is None:
        raise errors.InvalidParameterValue(f"Value ({kind}) for parameter volumeType is invalid. Unknown volume type.")
    if not known.least <= size_gib <= known.most:
        raise errors.InvalidParameterValue(
            f"Volume of {size_gib}GiB is {'smaller' if size_gib < known.least else 'larger'} than "
            f"{'minimum' if size_gib < known.least else 'maximum'} allowed size of "
            f"{known.least if size_gib < known.least else known.most}GiB for volume type {kind}"
        )
    if known.needs_iops and not iops:
        raise errors.MissingParameter("The request must contain the parameter iops")
    if kind == "gp2":
        if iops:
            raise errors.InvalidParameterCombination("The parameter iops is not supported for gp2 volumes.")
        found_iops = min(max(100, 3 * size_gib), 16000)
    else:
        found_iops = _within("iops", kind, iops, known.iops)
    return found_iops, _within("throughput", kind, throughput, known.throughput)


def _within(name: str, kind: str, value: int | None, known: tuple[int, int, int] | None) -> int:
    if known is None:
        if value:
            raise errors.InvalidParameterCombination(f"The parameter {name} is not supported for {kind} volumes.")
        return 0
    if value is None:
        return known[2]
    least, most, _ = known
    if not least <= value <= most:
        raise errors.InvalidParameterValue(
            f"Volume {name} of {value} is not valid for volume type {kind}: it must be from {least} to {most}."
        )
    return value


def carried(kind: str, iops: int, throughput: int) -> tuple[int | None, int | None]:
    """What a volume keeps of its IOPS and throughput when it becomes one of another type; None where it cannot.

    Source: Amazon EC2 API Reference, ModifyVolume.
    """
    known = KINDS.get(kind, Kind(0, 0))
    return _kept(iops, known.iops), _kept(throughput, known.throughput)


def _kept(value: int, known: tuple[int, int, int] | None) -> int | None:
    return value if known is not None and known[0] <= value <= known[1] else None


def plain(given: Mapping[str, Any]) -> None:
    """Refuse encryption and what else no volume here has.

    Raises:
        InvalidParameterDependency: a key without encryption.
        UnsupportedOperation: names it. A volume here is a folder of plain files on this machine's disk.
    """
    if given.get("KmsKeyId") and not given.get("Encrypted"):
        raise errors.InvalidParameterDependency("The parameter KmsKeyId requires the parameter Encrypted to be set.")
    for name in ("Encrypted", "KmsKeyId", "OutpostArn", "MultiAttachEnabled", "VolumeInitializationRate"):
        if given.get(name):
            raise errors.UnsupportedOperation(f"The parameter {name} is not supported by this EC2 endpoint.")


def check_name(name: str) -> None:
    """Refuse what is no name of a device.

    Raises:
        InvalidParameterValue: it is not.
    """
    if not _NAME.fullmatch(name):
        raise errors.InvalidParameterValue(
            f"Value ({name}) for parameter device is invalid. {name} is not a valid EBS device name."
        )


def launched(
    image: Sequence[Disk], given: Sequence[Mapping[str, Any]], size_of: Callable[[str], int]
) -> tuple[Disk, ...]:
    """The volumes of a launch: those of its image, changed and added to as the request says; the root first.

    `size_of(snapshot)` is a snapshot's size in GiB, or raises.

    Raises:
        Ec2Error: a mapping that is not one, or is not carried out.
    """
    found = {one.device: one for one in image}
    seen: set[str] = set()
    for one in given:
        refuse("BlockDeviceMappings.", one, {"DeviceName", "Ebs", "NoDevice", "VirtualName"})
        name = str(one.get("DeviceName") or "")
        if not name:
            raise errors.MissingParameter("The request must contain the parameter DeviceName")
        name = ROOT_DEVICE if name == "/dev/sda1" and name not in found else name
        check_name(name)
        if name in seen:
            raise errors.InvalidBlockDeviceMapping(f"Device name {name} is specified more than once.")
        seen.add(name)
        if one.get("NoDevice") is not None:
            if name == ROOT_DEVICE:
                raise errors.InvalidBlockDeviceMapping("The root device cannot be suppressed.")
            found.pop(name, None)
        elif one.get("VirtualName"):
            raise errors.UnsupportedOperation(
                "The parameter BlockDeviceMappings.VirtualName is not supported by this EC2 endpoint: no instance "
                "type here has an instance store."
            )
        else:
            found[name] = _disk(name, inner(one, "Ebs"), found.get(name), size_of)
    if len(found) > DEVICES_MAX:
        raise errors.AttachmentLimitExceeded(f"An instance can have at most {DEVICES_MAX} volumes.")
    return tuple(sorted(found.values(), key=lambda disk: (disk.device != ROOT_DEVICE, disk.device)))


def _disk(name: str, ebs: Mapping[str, Any], known: Disk | None, size_of: Callable[[str], int]) -> Disk:
    refuse(
        "BlockDeviceMappings.Ebs.", ebs,
        {"DeleteOnTermination", "Iops", "SnapshotId", "VolumeSize", "VolumeType", "Throughput"},
    )  # fmt: skip
    snapshot = str(ebs.get("SnapshotId") or (known.snapshot if known is not None else ""))
    if known is not None and known.snapshot and snapshot != known.snapshot:
        raise errors.InvalidBlockDeviceMapping(f"snapshotId cannot be modified on device {name}")
    least = known.size_gib if known is not None else size_of(snapshot) if snapshot else 0
    size_gib = int(ebs.get("VolumeSize") or least)
    if not size_gib:
        raise errors.MissingParameter("The request must contain the parameter size or snapshotId")
    if size_gib < least:
        raise errors.InvalidBlockDeviceMapping(
            f"Volume of size {size_gib}GB is smaller than snapshot '{snapshot}', expect size >= {least}GB"
        )
    kind = str(ebs.get("VolumeType") or (known.type if known is not None else "gp2"))
    same = known is not None and known.type == kind
    iops = ebs.get("Iops", known.iops if same and known is not None and kind in ("io1", "io2", "gp3") else None)
    throughput = ebs.get("Throughput", known.throughput if same and known is not None and kind == "gp3" else None)
    reached = performance(kind, size_gib, iops, throughput)
    ends = ebs.get("DeleteOnTermination", known.delete_on_termination if known is not None else True)
    return Disk(name, size_gib, kind, *reached, snapshot, bool(ends))


def view(disk: Disk) -> dict[str, Any]:
    """One `BlockDeviceMapping` of an image."""
    ebs: dict[str, Any] = {
        "DeleteOnTermination": disk.delete_on_termination,
        "VolumeSize": disk.size_gib,
        "VolumeType": disk.type,
        "Encrypted": False,
    }
    if disk.snapshot:
        ebs["SnapshotId"] = disk.snapshot
    if disk.iops and disk.type != "gp2":
        ebs["Iops"] = disk.iops
    if disk.throughput:
        ebs["Throughput"] = disk.throughput
    return {"DeviceName": disk.device, "Ebs": ebs}


def of_snapshots(given: Sequence[Disk], snapshots: Mapping[str, str]) -> list[Disk]:
    """Disks with other snapshots: device -> snapshot."""
    return [replace(one, snapshot=snapshots.get(one.device, one.snapshot)) for one in given]


def requested(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """`BlockDeviceMappings` of a request."""
    return many(request, "BlockDeviceMappings")
