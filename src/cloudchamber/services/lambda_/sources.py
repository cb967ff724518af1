# SPDX-License-Identifier: Apache-2.0
"""Event source mappings and code signing: there are none here, which is what reading them says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.operation import operation
from cloudchamber.services.lambda_ import needs
from cloudchamber.services.lambda_.reading import latest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.contract.call import Call


@operation("ListEventSourceMappings", needs=needs.on_anything("lambda:ListEventSourceMappings"))
async def list_event_source_mappings(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """None, of every function and every source. Source: Lambda API Reference, ListEventSourceMappings."""
    return {"EventSourceMappings": []}


@operation("GetFunctionCodeSigningConfig", needs=needs.on_function("lambda:GetFunctionCodeSigningConfig"))
async def get_function_code_signing_config(call: Call, request: Mapping[str, Any]) -> dict[str, Any]:
    """No function has one: empty, as on AWS. Source: Lambda API Reference, GetFunctionCodeSigningConfig."""
    latest(call, request)
    return {}
