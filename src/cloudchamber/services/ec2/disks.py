# SPDX-License-Identifier: Apache-2.0
"""Rows of volumes, snapshots and images, and the SQL that reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from cloudchamber.services.ec2 import errors, names, tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudchamber.store.database import Reader, Tx

ROOT_DEVICE = "/dev/xvda"
ALL = "all"
"""Who may use what is public, in `shared`."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume: a folder of files. Times are POSIX seconds; 0 in `iops` and `throughput`: the type has none.

    `attachment` is empty, ``attaching``, ``attached`` or ``detaching``. `modification` is the last ModifyVolume, JSON.
    """

    id: str
    account: str
    region: str
    zone: str
    size_gib: int
    type: str
    iops: int
    throughput: int
    state: str
    created: float
    snapshot_id: str = ""
    client_token: str = ""
    instance_id: str = ""
    device: str = ""
    attachment: str = ""
    attached: float = 0.0
    delete_on_termination: int = 0
    modification: str = ""

    @property
    def is_root(self) -> bool:
        """Whether an instance boots from it."""
        return self.device == ROOT_DEVICE


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a volume's files. `progress` in percent; `source` is the snapshot that it is a copy of.

    `at_reboot`: it is taken while its instance is down for a reboot that was asked for with it.
    `shared` is JSON: accounts that may use it, `ALL` among them for everybody.
    """

    id: str
    account: str
    region: str
    volume_id: str
    size_gib: int
    description: str
    state: str
    progress: int
    started: float
    completed: float = 0.0
    message: str = ""
    source: str = ""
    at_reboot: int = 0
    octets: int = 0
    shared: str = "[]"


@dataclass(frozen=True, slots=True)
class Image:
    """An image of somebody's own. `mappings` is JSON: a list of block devices, each with its snapshot."""

    id: str
    account: str
    region: str
    name: str
    description: str
    architecture: str
    created: float
    root_device: str
    mappings: str
    shared: str = "[]"
    source_instance: str = ""
    source_image: str = ""
    source_region: str = ""
    imds: str = ""

    def devices(self) -> list[dict[str, Any]]:
        """Its block devices: device, snapshot, size_gib, type, iops, throughput, delete_on_termination."""
        return json.loads(self.mappings)


Row = Volume | Snapshot | Image
R = TypeVar("R", Volume, Snapshot, Image)
_TABLES: dict[type, str] = {Volume: "ec2_volumes", Snapshot: "ec2_snapshots", Image: "ec2_images"}
_MISSING: dict[type, tuple[type[errors.Ec2Error], str]] = {
    Volume: (errors.InvalidVolumeNotFound, "The volume '{}' does not exist."),
    Snapshot: (errors.InvalidSnapshotNotFound, "The snapshot '{}' does not exist."),
    Image: (errors.InvalidAMIIDNotFound, "The image id '[{}]' does not exist"),
}
_MALFORMED: dict[type, tuple[type[errors.Ec2Error], str]] = {
    Volume: (errors.InvalidVolumeIDMalformed, "vol"),
    Snapshot: (errors.InvalidSnapshotIDMalformed, "snap"),
    Image: (errors.InvalidAMIIDMalformed, "ami"),
}


def columns(kind: type[Row]) -> str:
    """The columns of a kind of row, in the order of its fields."""
    return ", ".join(one.name for one in fields(kind))


def insert(tx: Tx, row: Row) -> None:
    """Add a row; sqlite3.IntegrityError where there is one."""
    values = [getattr(row, one.name) for one in fields(row)]
    marks = ", ".join("?" for _ in values)
    tx.execute(f"INSERT INTO {_TABLES[type(row)]} ({columns(type(row))}) VALUES ({marks})", values)


def update(tx: Tx, kind: type[Row], identifier: str, **values: object) -> None:
    """Change columns of a row."""
    known = {one.name for one in fields(kind)}
    if not known.issuperset(values):
        raise ValueError(f"no such columns: {set(values) - known}")
    tx.execute(
        f"UPDATE {_TABLES[kind]} SET {', '.join(f'{name} = ?' for name in values)} WHERE id = ?",
        [*values.values(), identifier],
    )


def delete(tx: Tx, kind: type[Row], identifier: str) -> None:
    """Remove a row and its tags."""
    tables.delete_tags(tx, identifier)
    tx.execute(f"DELETE FROM {_TABLES[kind]} WHERE id = ?", (identifier,))


def find(db: Reader, kind: type[R], identifier: str) -> R | None:
    """A row by its id, whosever it is."""
    row = db.execute(f"SELECT {columns(kind)} FROM {_TABLES[kind]} WHERE id = ?", (identifier,)).fetchone()
    return kind(*row) if row is not None else None


def everything(db: Reader, kind: type[R]) -> list[R]:
    """All rows of all accounts, oldest first."""
    return [kind(*row) for row in db.execute(f"SELECT {columns(kind)} FROM {_TABLES[kind]} ORDER BY rowid")]


def listed(db: Reader, kind: type[R], account: str, region: str) -> list[R]:
    """Rows of an account in a region, oldest first."""
    rows = db.execute(
        f"SELECT {columns(kind)} FROM {_TABLES[kind]} WHERE account = ? AND region = ? ORDER BY rowid",
        (account, region),
    )
    return [kind(*row) for row in rows]


def seen(db: Reader, kind: type[R], account: str, region: str) -> list[R]:
    """Rows of a region that an account may use: its own, and those that are shared with it or with everybody."""
    rows = (row for row in everything(db, kind) if row.region == region)
    return [row for row in rows if row.account == account or _shared_with(row, account)]


def _shared_with(row: Row, account: str) -> bool:
    return not isinstance(row, Volume) and bool({account, ALL} & set(json.loads(row.shared)))


def check_id(kind: type[Row], identifier: str) -> None:
    """Refuse what is not the form of an id.

    Raises:
        InvalidParameterValue or InvalidAMIID.Malformed: it is not.
    """
    error, prefix = _MALFORMED[kind]
    if not names.well_formed(prefix, identifier):
        if kind is Image:
            raise error(f'Invalid id: "{identifier}" (expecting "ami-...")')
        raise error(f"Value ({identifier}) for parameter {kind.__name__.lower()}Id is invalid.")


def get(db: Reader, kind: type[R], account: str, region: str, identifier: str, *, shared: bool = False) -> R:
    """A row by its id; with `shared` also one of another account that lets this one use it.

    Raises:
        InvalidVolume.NotFound, InvalidSnapshot.NotFound, InvalidAMIID.NotFound: there is none.
    """
    check_id(kind, identifier)
    row = find(db, kind, identifier)
    if row is None or row.region != region:
        raise missing(kind, identifier)
    if row.account != account and not (shared and _shared_with(row, account)):
        raise missing(kind, identifier)
    return row


def is_there(db: Reader, kind: type[Row], account: str, region: str, identifier: str) -> bool:
    """Whether an account has a row in a region."""
    sql = f"SELECT 1 FROM {_TABLES[kind]} WHERE id = ? AND account = ? AND region = ?"
    return db.execute(sql, (identifier, account, region)).fetchone() is not None


def missing(kind: type[Row], identifier: str) -> errors.Ec2Error:
    """AWS's error for what is not there."""
    error, words = _MISSING[kind]
    return error(words.format(identifier))


def chosen(rows: Sequence[R], kind: type[R], given: Sequence[str]) -> list[R]:
    """The rows with these ids; all of them for none.

    Raises:
        InvalidVolume.NotFound and the like: one is not among them.
    """
    known = {row.id for row in rows}
    for one in given:
        check_id(kind, one)
        if one not in known:
            raise missing(kind, one)
    return [row for row in rows if not given or row.id in given]


# Volumes


def of_instance(db: Reader, instance_id: str) -> list[Volume]:
    """The volumes of an instance, its root first."""
    rows = db.execute(
        f"SELECT {columns(Volume)} FROM ec2_volumes WHERE instance_id = ? ORDER BY device != ?, device",
        (instance_id, ROOT_DEVICE),
    )
    return [Volume(*row) for row in rows]


def by_instance(db: Reader, account: str, region: str) -> dict[str, list[Volume]]:
    """The volumes of each instance of a region, roots first."""
    found: dict[str, list[Volume]] = {}
    for row in sorted(listed(db, Volume, account, region), key=lambda one: (not one.is_root, one.device)):
        if row.instance_id:
            found.setdefault(row.instance_id, []).append(row)
    return found


def count(db: Reader, kind: type[Row], account: str) -> int:
    """How many an account has, in all regions."""
    return int(db.execute(f"SELECT COUNT(*) FROM {_TABLES[kind]} WHERE account = ?", (account,)).fetchone()[0])


# Snapshots


def due_at_reboot(db: Reader, instance_id: str) -> list[Snapshot]:
    """Snapshots that are to be taken while an instance is down."""
    rows = db.execute(
        f"SELECT {', '.join(f's.{one.name}' for one in fields(Snapshot))} FROM ec2_snapshots s "
        "JOIN ec2_volumes v ON v.id = s.volume_id "
        "WHERE v.instance_id = ? AND s.at_reboot = 1 AND s.state = 'pending'",
        (instance_id,),
    )
    return [Snapshot(*row) for row in rows]


def images_with(db: Reader, snapshot_id: str) -> list[str]:
    """Images that were made of a snapshot."""
    return [row.id for row in everything(db, Image) if snapshot_id in {one.get("snapshot") for one in row.devices()}]


def needed_snapshots(db: Reader) -> set[str]:
    """Snapshots whose files somebody still reads or will read."""
    found = {row.id for row in everything(db, Snapshot)}
    found |= {row.snapshot_id for row in everything(db, Volume) if row.state == "creating"}
    return found | {row.source for row in everything(db, Snapshot) if row.state == "pending"}


def as_json(values: Iterable[object]) -> str:
    """A list as it is kept in a column."""
    return json.dumps(list(values), separators=(",", ":"))
