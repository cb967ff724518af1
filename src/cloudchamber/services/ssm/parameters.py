# SPDX-License-Identifier: Apache-2.0
"""Public parameters below ``/aws/service/ami-amazon-linux-latest/``: which image is the latest.

Source: Systems Manager API Reference, GetParameter, GetParameters; User Guide, AMI public parameters.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cloudchamber.base.arn import Arn
from cloudchamber.contract.operation import Need, operation
from cloudchamber.services.ssm import errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloudchamber.contract.call import Call


def _needs_of(call: Call, action: str, names: Iterable[str]) -> Iterable[Need]:
    for name in names:
        yield Need(
            action, f"arn:aws:ssm:{call.region}:{call.account}:parameter{name if name.startswith('/') else '/' + name}"
        )


def _one(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    return _needs_of(call, "ssm:GetParameter", [request["Name"]])


def _many(call: Call, request: Mapping[str, Any]) -> Iterable[Need]:
    return _needs_of(call, "ssm:GetParameters", request["Names"])


def _images(call: Call) -> dict[str, tuple[str, datetime]]:
    """Parameter name -> image id and its date, from what EC2 offers on this machine."""
    offered: Mapping[str, tuple[str, str]] = call.doors.parts["ec2"].public_parameters()
    return {
        name: (image, datetime.strptime(created, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC))
        for name, (image, created) in offered.items()
    }


def _view(call: Call, name: str, image: tuple[str, datetime]) -> dict[str, Any]:
    return {
        "Name": name,
        "Type": "String",
        "Value": image[0],
        "Version": 1,
        "LastModifiedDate": image[1],
        "ARN": str(Arn("ssm", call.region, "", f"parameter{name}")),
        "DataType": "text",
    }


@operation("GetParameter", needs=_one)
async def get_parameter(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """One public parameter.

    Raises:
        ParameterNotFound: it is none of those that name images.
    """
    known = _images(call)
    if request["Name"] not in known:
        raise errors.ParameterNotFound("")
    return {"Parameter": _view(call, request["Name"], known[request["Name"]])}


@operation("GetParameters", needs=_many)
async def get_parameters(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """Several public parameters; those that do not exist are named in `InvalidParameters`."""
    asked = request["Names"]
    if len(set(asked)) != len(asked):
        raise errors.ValidationException("Duplicate parameter names in the request.")
    known = _images(call)
    return {
        "Parameters": [_view(call, name, known[name]) for name in asked if name in known],
        "InvalidParameters": [name for name in asked if name not in known],
    }
