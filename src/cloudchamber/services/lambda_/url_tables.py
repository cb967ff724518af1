# SPDX-License-Identifier: Apache-2.0
"""Rows of function URLs, and the address that each one is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudchamber.base.arn import Arn

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from cloudchamber.store.database import Reader

HOST = re.compile(r"(?P<id>[a-z0-9]{32})\.lambda-url\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)\.(?:localhost|on\.aws)")
"""``localhost``: every name below it is this machine, in browsers, curl and most resolvers. Source: RFC 6761, 6.3."""


@dataclass(frozen=True, slots=True)
class FunctionUrl:
    """One address; `document` has the members of FunctionUrlConfig that are set."""

    id: str
    arn: str
    qualifier: str
    document: Mapping[str, Any]

    @property
    def asked_arn(self) -> str:
        """ARN of the function or alias."""
        return f"{self.arn}:{self.qualifier}" if self.qualifier else self.arn


def _url(row: sqlite3.Row) -> FunctionUrl:
    return FunctionUrl(row["id"], row["arn"], row["qualifier"], json.loads(row["document"]))


def of(db: Reader, arn: str, qualifier: str) -> FunctionUrl | None:
    """The address of a function or alias, or None."""
    row = db.execute("SELECT * FROM lambda_urls WHERE arn = ? AND qualifier = ?", (arn, qualifier)).fetchone()
    return None if row is None else _url(row)


def by_id(db: Reader, url_id: str) -> FunctionUrl | None:
    """What an address is of, or None."""
    row = db.execute("SELECT * FROM lambda_urls WHERE id = ?", (url_id,)).fetchone()
    return None if row is None else _url(row)


def every(db: Reader, arn: str) -> list[FunctionUrl]:
    """The addresses of a function and its aliases."""
    return [_url(row) for row in db.execute("SELECT * FROM lambda_urls WHERE arn = ? ORDER BY qualifier", (arn,))]


def address(endpoint: str, found: FunctionUrl) -> str:
    """The address, on the chamber's port."""
    return f"http://{found.id}.lambda-url.{Arn.parse(found.arn).region}.localhost:{urlsplit(endpoint).port}/"
