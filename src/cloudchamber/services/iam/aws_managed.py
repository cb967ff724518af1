# SPDX-License-Identifier: Apache-2.0
"""AWS's own managed policies, those whose true documents are at hand in ``data/aws_managed.json``.

Facts, not code: each document is what GetPolicyVersion answers. A policy that is not in the file does not exist here.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from cloudchamber.services.iam.names import AWS_MANAGED

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class AwsManaged:
    """One of AWS's policies."""

    name: str
    path: str
    id: str
    description: str
    created: float
    updated: float
    version: int
    document: str


@cache
def _all() -> Mapping[str, AwsManaged]:
    text = (Path(__file__).parent / "data" / "aws_managed.json").read_text(encoding="utf-8")
    found: dict[str, AwsManaged] = {}
    for row in json.loads(text):
        arn = AWS_MANAGED + (row["path"] + row["name"]).lstrip("/")
        updated = datetime.fromisoformat(row["updated"]).timestamp()
        # Why: the file has no policy ids; one made of the ARN is at least the same everywhere and always.
        own_id = "ANPA" + b32encode(hashlib.sha256(arn.encode()).digest()).decode()[:17]
        document = json.dumps(row["document"], indent=4)
        found[arn] = AwsManaged(
            row["name"], row["path"], own_id, "", updated, updated, int(row["version"].removeprefix("v")), document
        )
    return found


def find(arn: str) -> AwsManaged | None:
    """The policy with an ARN."""
    return _all().get(arn)


def arns() -> list[str]:
    """ARNs of all that are at hand."""
    return sorted(_all())
