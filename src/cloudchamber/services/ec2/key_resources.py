# SPDX-License-Identifier: Apache-2.0
"""CloudFormation's AWS::EC2::KeyPair, of a public key that the template brings.

Without `PublicKeyMaterial` AWS makes the key and keeps its private half in Systems Manager's parameter store, which
takes no parameters here: such a template is refused before anything is made, because `PublicKeyMaterial` is required.
Source: CloudFormation Template Reference, AWS::EC2::KeyPair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloudchamber.contract.resource import Made, Property, ResourceType
from cloudchamber.services.ec2.resources import TAG, tags_of

if TYPE_CHECKING:
    from cloudchamber.contract.resource import Agent, Properties


async def _create(agent: Agent, given: Properties) -> Made:
    tags = tags_of(agent, list(given.get("Tags") or []))
    request: dict[str, Any] = {
        "KeyName": given["KeyName"],
        "PublicKeyMaterial": str(given["PublicKeyMaterial"]).encode(),
        **({"TagSpecifications": [{"ResourceType": "key-pair", "Tags": tags}]} if tags else {}),
    }
    made = await agent.ask("ec2", "ImportKeyPair", request)
    return Made(made["KeyName"], {"KeyPairId": made["KeyPairId"], "KeyFingerprint": made["KeyFingerprint"]})


async def _delete(agent: Agent, name: str, given: Properties) -> None:
    await agent.ask("ec2", "DeleteKeyPair", {"KeyName": name})


TYPES = (
    ResourceType(
        "AWS::EC2::KeyPair",
        {
            "KeyName": Property("replace", required=True),
            "PublicKeyMaterial": Property("replace", required=True),
            "Tags": Property("replace", shape={name: Property("replace", required=True) for name in TAG}),
        },
        _create,
        _delete,
        None,
        ("KeyPairId", "KeyFingerprint"),
    ),
)
