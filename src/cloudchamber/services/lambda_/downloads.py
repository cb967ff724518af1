# SPDX-License-Identifier: Apache-2.0
"""Where packages can be fetched: the presigned addresses in `Code.Location` and `Content.Location`.

AWS gives addresses of a bucket of its own, good for ten minutes; ours are signed by a key that lives as long as the
chamber's process.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from cloudchamber.base import ids
from cloudchamber.base.body import FileSlice
from cloudchamber.wire.http import HttpReply
from cloudchamber.wire.route import pairs

if TYPE_CHECKING:
    from datetime import datetime

    from cloudchamber.contract.call import Doors
    from cloudchamber.services.lambda_.archive import Archives
    from cloudchamber.wire.http import HttpRequest

HOST = "awslambda-tasks.localhost"
_LASTS_S = 600
_SHA = re.compile(r"[0-9a-f]{64}")


class Downloads:
    """Makes addresses of packages, and answers them."""

    def __init__(self, doors: Doors, archives: Archives) -> None:
        self._doors = doors
        self._archives = archives
        self._key = ids.token().encode()

    def url(self, sha: str, now: datetime) -> str:
        """An address of a kept package, good for ten minutes, for whoever has it."""
        ends = int(now.timestamp()) + _LASTS_S
        port = urlsplit(self._doors.endpoint).port
        query = urlencode({"Expires": ends, "Signature": self._sign(sha, ends)})
        return f"http://{HOST}:{port}/{sha}?{query}"

    def _sign(self, sha: str, ends: int) -> str:
        return hmac.new(self._key, f"{sha}:{ends}".encode(), hashlib.sha256).hexdigest()

    def answer(self, request: HttpRequest) -> HttpReply:
        """The package, if the address is ours and its time is not over."""
        sha = request.path.lstrip("/")
        try:
            query = dict(pairs(request.query))
        except UnicodeDecodeError:
            query = {}
        ends = query.get("Expires", "")
        good = _SHA.fullmatch(sha) and ends.isascii() and ends.isdigit() and len(ends) < 15
        if request.method != "GET" or not good or not self._holds(sha, int(ends), query.get("Signature", "")):
            return HttpReply(403, [("Content-Type", "text/plain")], b"Request has expired or is not signed")
        path = self._archives.package(sha)
        if not path.is_file():
            return HttpReply(404, [("Content-Type", "text/plain")], b"The package is gone")
        return HttpReply(200, [("Content-Type", "application/zip")], FileSlice(path, 0, path.stat().st_size))

    def _holds(self, sha: str, ends: int, signature: str) -> bool:
        fresh = self._doors.clock.now().timestamp() <= ends
        return fresh and hmac.compare_digest(self._sign(sha, ends).encode(), signature.encode())
