# SPDX-License-Identifier: Apache-2.0
"""Signature Version 2 for S3: presigned URLs and forms, which boto3 still makes by default; and the old header.

Source: Amazon S3 User Guide, "Signing and authenticating REST requests (AWS signature version 2)".
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping

from cloudchamber.wire.http import Headers

ALGORITHM = "AWS"
"""What its Authorization header begins with, and what policies call it (`s3:signatureversion`)."""
SUBRESOURCES = frozenset(
    (
        "accelerate", "acl", "analytics", "cors", "defaultObjectAcl", "delete", "encryption", "inventory", "lifecycle",
        "location", "logging", "metrics", "notification", "object-lock", "legal-hold", "ownershipControls",
        "partNumber",
        "policy", "policyStatus", "publicAccessBlock", "replication", "requestPayment", "restore", "retention",
        "response-cache-control", "response-content-disposition", "response-content-encoding",
        "response-content-language", "response-content-type", "response-expires", "select", "select-type", "tagging",
        "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    )
)  # fmt: skip


def string_to_sign(
    method: str, bucket_in_host: str, path: str, query: tuple[tuple[str, str], ...], headers: Headers, date: str
) -> str:
    """The text that is signed. `date` is the Date header or, for a presigned URL, Expires.

    x-amz-* parameters of a presigned URL count as headers: that is where SDKs put them.
    """
    amz: dict[str, str] = {}
    given = {n.lower(): v for n, v in query if n.lower() in ("content-md5", "content-type")}
    moved = [(n.lower(), v) for n, v in query if n.lower() not in headers]
    for name, value in (*headers.items, *moved):
        if name.startswith("x-amz-"):
            folded = " ".join(value.split())
            amz[name] = f"{amz[name]},{folded}" if name in amz else folded
    lines = [
        method,
        headers.get("content-md5") or given.get("content-md5", ""),
        headers.get("content-type") or given.get("content-type", ""),
        date,
    ]
    lines += [f"{n}:{amz[n]}" for n in sorted(amz)]
    return "\n".join(lines) + "\n" + resource(bucket_in_host, path, query)


def resource(bucket_in_host: str, path: str, query: tuple[tuple[str, str], ...]) -> str:
    """The path with its bucket, and the parameters that name a subresource."""
    kept = sorted((n, v) for n, v in query if n in SUBRESOURCES)
    flags = "&".join(f"{n}={v}" if v else n for n, v in kept)
    start = f"/{bucket_in_host}{path}" if bucket_in_host else path
    return f"{start}?{flags}" if flags else start


def sign(secret: str, text: str) -> str:
    """The signature of a text, in base64."""
    return base64.b64encode(hmac.digest(secret.encode(), text.encode("utf-8", "surrogateescape"), "sha1")).decode()


def matches(secret: str, text: str, signature: str) -> bool:
    """Whether a signature is right, in constant time."""
    return hmac.compare_digest(sign(secret, text).encode(), signature.encode("utf-8", "replace"))


def policy_matches(secret: str, form: Mapping[str, str]) -> bool:
    """Whether the signature of an HTML form's policy is right."""
    return matches(secret, form.get("policy", ""), form.get("signature", ""))
