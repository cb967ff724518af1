# SPDX-License-Identifier: Apache-2.0
"""Settings of an account in a region that are asked before something is built, as they are here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.ec2 import needs
from cloudchamber.services.ec2.checks import takes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


@operation("GetEbsEncryptionByDefault", needs=needs.look("GetEbsEncryptionByDefault"))
@takes()
async def get_ebs_encryption_by_default(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Off: no volume is encrypted. Source: Amazon EC2 API Reference, GetEbsEncryptionByDefault."""
    return {"EbsEncryptionByDefault": False, "SseType": "none"}


@operation("GetSerialConsoleAccessStatus", needs=needs.look("GetSerialConsoleAccessStatus"))
@takes()
async def get_serial_console_access_status(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Off: there is no serial console. Source: Amazon EC2 API Reference, GetSerialConsoleAccessStatus."""
    return {"SerialConsoleAccessEnabled": False, "ManagedBy": "account"}


@operation("GetImageBlockPublicAccessState", needs=needs.look("GetImageBlockPublicAccessState"))
@takes()
async def get_image_block_public_access_state(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Images may be shared with everybody. Source: Amazon EC2 API Reference, GetImageBlockPublicAccessState."""
    return {"ImageBlockPublicAccessState": "unblocked", "ManagedBy": "account"}


@operation("GetSnapshotBlockPublicAccessState", needs=needs.look("GetSnapshotBlockPublicAccessState"))
@takes()
async def get_snapshot_block_public_access_state(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Snapshots may be shared with everybody. Source: Amazon EC2 API Reference, GetSnapshotBlockPublicAccessState."""
    return {"State": "unblocked", "ManagedBy": "account"}
