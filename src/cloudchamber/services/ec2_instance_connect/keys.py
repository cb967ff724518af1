# SPDX-License-Identifier: Apache-2.0
"""SendSSHPublicKey.

The SSH server of an instance (`services/ec2/ssh.py`) takes the key for 60 seconds; connections that were begun stay.
Source: EC2 Instance Connect API Reference.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.ec2_instance_connect import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call

_KEY = re.compile(r"(ssh-rsa|ssh-ed25519) ([A-Za-z0-9+/]+={0,2})( [^\r\n]*)?")


def _needs(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    arn = f"arn:aws:ec2:{call.region}:{call.account}:instance/{request['InstanceId']}"
    yield Need("ec2-instance-connect:SendSSHPublicKey", arn, {"ec2:osuser": request["InstanceOSUser"]})


@operation("SendSSHPublicKey", needs=_needs)
async def send_ssh_public_key(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Let a key log in to an instance as one of its users for 60 seconds.

    Raises:
        EC2InstanceNotFoundException: no such instance in this account, region and zone.
        EC2InstanceStateInvalidException: it does not run.
        InvalidArgsException: no RSA or ED25519 public key.

    Source: EC2 Instance Connect API Reference, SendSSHPublicKey.
    """
    key = _KEY.fullmatch(request["SSHPublicKey"].strip())
    if key is None or not _is_key(key.group(1), key.group(2)):
        raise errors.InvalidArgsException("The provided SSH public key is not in a valid format.")
    found = call.doors.parts["ec2"].placed(request["InstanceId"], call.account, call.region)
    zone = request.get("AvailabilityZone")
    if found is None or (zone and zone != found[0]):
        raise errors.EC2InstanceNotFoundException(f"Instance {request['InstanceId']} was not found.")
    if not found[1]:
        raise errors.EC2InstanceStateInvalidException(f"Instance {request['InstanceId']} is not running.")
    call.doors.parts["ec2"].ssh.offer(
        request["InstanceId"], request["InstanceOSUser"], f"{key.group(1)} {key.group(2)}"
    )
    return {"RequestId": call.request_id, "Success": True}


def _is_key(kind: str, text: str) -> bool:
    """Whether base64 holds a key of that kind: its type comes first, with its length before it (RFC 4253, 6.6)."""
    try:
        blob = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return blob[:4] == len(kind).to_bytes(4) and blob[4 : 4 + len(kind)] == kind.encode()
