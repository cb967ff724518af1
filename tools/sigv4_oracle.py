# SPDX-License-Identifier: Apache-2.0
"""Our Signature Version 4 behind the function that the vector run calls: ``verify``.

python sigv4_vectors.py SUITE --impl tools.oracle:verify
"""

from __future__ import annotations

import hashlib
from typing import Any

from cloudchamber.wire import sigv4
from cloudchamber.wire.http import Headers
from cloudchamber.wire.route import pairs


def verify(req: dict[str, Any]) -> dict[str, str]:
    """The signature that we expect for a signed request."""
    headers = Headers(req["headers"])
    query = dict(pairs(req["query"]))
    if req["mode"] == "header":
        claim = sigv4.read_header(headers.get("authorization"))
        timestamp = headers.get("x-amz-date")
    else:
        scope = sigv4.read_scope(query["X-Amz-Credential"])
        names = sigv4.header_names(query["X-Amz-SignedHeaders"])
        claim = sigv4.Claim("query", *scope, names, query["X-Amz-Signature"])
        timestamp = query["X-Amz-Date"]
    payload = headers.get("x-amz-content-sha256") or hashlib.sha256(req["body"]).hexdigest()
    unsigned = tuple(req.get("unsigned_query", ()))
    s3 = not req["normalize"]
    canonical = sigv4.canonical_request(
        req["method"], req["path"], req["query"], headers, claim, payload, s3=s3, unsigned_query=unsigned
    )
    expected = sigv4.expect(claim, timestamp.strip(), canonical, req["secret"])
    return {"signature": expected.signature, "canonical": expected.canonical, "sts": expected.string_to_sign}
