# SPDX-License-Identifier: Apache-2.0
"""Storage classes: which there are, which objects can be read at once, and restored copies of those that cannot. Pure.

What an object keeps below ``class`` is its storage class, unless that is STANDARD. Below ``restore`` stands its last
restore: ``ready`` and ``until`` (POSIX seconds), ``days`` and ``tier``.

Source: Amazon S3 User Guide, "Understanding and managing Amazon S3 storage classes", "Understanding archive retrieval
options"; Amazon S3 API Reference, RestoreObject, GetObject.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.services.s3.errors import InvalidObjectState, InvalidStorageClass
from cloudchamber.wire.scalars import http_date

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.services.s3.tables import Object

STANDARD = "STANDARD"
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
"""Classes whose objects must be restored before they are read."""
DOWNWARDS = (
    STANDARD, "REDUCED_REDUNDANCY", "STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", *ARCHIVED,
)  # fmt: skip
"""All classes, in the order in which lifecycle rules move objects."""
_HOUR_S = 3600.0
RETRIEVAL_S = {
    "GLACIER": {"Expedited": 60.0, "Standard": 3 * _HOUR_S, "Bulk": 5 * _HOUR_S},
    "DEEP_ARCHIVE": {"Standard": 12 * _HOUR_S, "Bulk": 48 * _HOUR_S},
}
"""How long a restore takes, by class and tier: the shortest that AWS names, or the longest where it names no other."""


def check(name: str) -> None:
    """Whether general purpose buckets have the class.

    Raises:
        InvalidStorageClass
    """
    if name not in DOWNWARDS:
        raise InvalidStorageClass(StorageClassRequested=name)


def asked(request: Mapping[str, Any]) -> dict[str, str]:
    """What an object keeps of the class that a request asks for."""
    name = request.get("StorageClass") or STANDARD
    check(name)
    return {} if name == STANDARD else {"class": name}


def of(stored: Mapping[str, Any]) -> str:
    """The class of an object, by what it keeps."""
    return stored.get("class", STANDARD)


def told(found: Object, now: datetime) -> dict[str, str]:
    """Response members of GET and HEAD: the class, unless it is STANDARD, and what there is of a restored copy."""
    kept = of(found.stored)
    if kept == STANDARD:
        return {}
    members = {"StorageClass": kept}
    state = restore_of(found.stored, now)
    if state is not None:
        members["Restore"] = state
    return members


def restore_of(stored: Mapping[str, Any], now: datetime) -> str | None:
    """`x-amz-restore`; None if there is no restored copy, and none on its way."""
    restore: Mapping[str, Any] | None = stored.get("restore")
    if restore is None or now.timestamp() >= restore["until"]:
        return None
    if now.timestamp() < restore["ready"]:
        return 'ongoing-request="true"'
    until = datetime.fromtimestamp(restore["until"], UTC)
    return f'ongoing-request="false", expiry-date="{http_date(until)}"'


def status(stored: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """`RestoreStatus` of an archived object in a listing."""
    state = restore_of(stored, now)
    if state is None or "true" in state:
        return {"IsRestoreInProgress": state is not None}
    until = datetime.fromtimestamp(stored["restore"]["until"], UTC)
    return {"IsRestoreInProgress": False, "RestoreExpiryDate": until}


def readable(stored: Mapping[str, Any], now: datetime) -> bool:
    """Whether the octets can be had now."""
    if of(stored) not in ARCHIVED:
        return True
    state = restore_of(stored, now)
    return state is not None and "false" in state


def check_readable(found: Object, now: datetime) -> None:
    """
    Raises:
        InvalidObjectState: the object is archived, and there is no restored copy.
    """
    if not readable(found.stored, now):
        raise InvalidObjectState(StorageClass=of(found.stored))


def check_source(found: Object, now: datetime) -> None:
    """The same of a copy's source.

    Raises:
        InvalidObjectState
    """
    if not readable(found.stored, now):
        text = "Operation is not valid for the source object's storage class"
        raise InvalidObjectState(text, StorageClass=of(found.stored))
