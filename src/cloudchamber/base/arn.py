# SPDX-License-Identifier: Apache-2.0
"""Amazon Resource Names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arn:
    """One ARN: ``arn:partition:service:region:account:resource``. `str()` gives its text."""

    service: str
    region: str
    account: str
    resource: str
    partition: str = "aws"

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"

    @staticmethod
    def service_in(text: str) -> str:
        """The service that an ARN's text names, empty if it is no ARN: for those who need no more of it."""
        parts = text.split(":", 5)
        return parts[2] if len(parts) == 6 and parts[0] == "arn" else ""

    @classmethod
    def parse(cls, text: str) -> Arn:
        """Read an ARN.

        Raises:
            ValueError: it has fewer than six parts, or does not begin with ``arn:``.
        """
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn":
            raise ValueError(f"not an ARN: {text!r}")
        return cls(parts[2], parts[3], parts[4], parts[5], parts[1])
