# SPDX-License-Identifier: Apache-2.0
"""Cut botocore's description of a service down to the operations that we have.

A slice has the form of botocore's own ``service-2.json``, so that the codecs work from either, with two
differences: there is no documentation, and operations that we do not have carry ``http`` only.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from cloudchamber.wire.model import must

loaders = importlib.import_module("botocore.loaders")
botocore = importlib.import_module("botocore")

METADATA = (
    "apiVersion", "protocol", "protocols", "endpointPrefix", "signingName", "globalEndpoint", "jsonVersion",
    "targetPrefix", "xmlNamespace", "serviceId", "serviceFullName",
)  # fmt: skip
OPERATION = ("name", "http", "input", "output", "errors", "httpChecksum", "authtype", "auth", "unsignedPayload")
NOISE = {"documentation", "deprecatedMessage", "deprecatedSince", "contextParam", "synthetic", "deprecated"}


NO_CONTENT = {
    # What S3 really answers to these is 204, as AWS was recorded; the model says nothing of it.
    "s3": (
        "PutBucketPolicy", "PutBucketInventoryConfiguration", "PutBucketMetricsConfiguration",
        "PutBucketAnalyticsConfiguration", "PutBucketIntelligentTieringConfiguration",
    ),
}  # fmt: skip
EXTRA: dict[str, dict[str, Any]] = {
    "s3": {
        "operations": {
            # Uploads from HTML forms and CORS preflights: in S3's API reference, but not in its model.
            "PostObject": {
                "name": "PostObject",
                "http": {"method": "POST", "requestUri": "/{Bucket}", "responseCode": 204},
                "input": {"shape": "PostObjectRequest"},
                "output": {"shape": "PostObjectOutput"},
            },
            "OptionsObject": {
                "name": "OptionsObject",
                "http": {"method": "OPTIONS", "requestUri": "/{Bucket}/{Key+}"},
                "input": {"shape": "OptionsObjectRequest"},
                "output": {"shape": "OptionsObjectOutput"},
            },
        },
        "shapes": {
            "PostObjectRequest": {
                "type": "structure",
                "required": ["Bucket"],
                "members": {
                    "Bucket": {"shape": "BucketName", "location": "uri", "locationName": "Bucket"},
                    "ContentType": {"shape": "ContentType", "location": "header", "locationName": "Content-Type"},
                    "ContentLength": {"shape": "ContentLength", "location": "header", "locationName": "Content-Length"},
                    "Body": {"shape": "Body", "streaming": True},
                },
                "payload": "Body",
            },
            "PostObjectOutput": {
                "type": "structure",
                "members": {
                    "StatusCode": {"shape": "ResponseStatus", "location": "statusCode"},
                    "Redirect": {"shape": "Location", "location": "header", "locationName": "Location"},
                    "ETag": {"shape": "ETag", "location": "header", "locationName": "ETag"},
                    "VersionId": {
                        "shape": "ObjectVersionId",
                        "location": "header",
                        "locationName": "x-amz-version-id",
                    },
                    "PostResponse": {"shape": "PostResponse", "locationName": "PostResponse"},
                },
                "payload": "PostResponse",
            },
            "PostResponse": {
                "type": "structure",
                "members": {
                    "Location": {"shape": "Location"},
                    "Bucket": {"shape": "BucketName"},
                    "Key": {"shape": "ObjectKey"},
                    "ETag": {"shape": "ETag"},
                },
            },
            "ResponseStatus": {"type": "integer"},
            "OptionsObjectRequest": {
                "type": "structure",
                "required": ["Bucket"],
                "members": {
                    "Bucket": {"shape": "BucketName", "location": "uri", "locationName": "Bucket"},
                    "Key": {"shape": "ObjectKey", "location": "uri", "locationName": "Key"},
                    "Origin": {"shape": "HeaderText", "location": "header", "locationName": "Origin"},
                    "RequestMethod": {
                        "shape": "HeaderText",
                        "location": "header",
                        "locationName": "Access-Control-Request-Method",
                    },
                    "RequestHeaders": {
                        "shape": "HeaderText",
                        "location": "header",
                        "locationName": "Access-Control-Request-Headers",
                    },
                },
            },
            "OptionsObjectOutput": {
                "type": "structure",
                "members": {
                    name: {"shape": "HeaderText", "location": "header", "locationName": header}
                    for name, header in (
                        ("AllowOrigin", "Access-Control-Allow-Origin"),
                        ("AllowMethods", "Access-Control-Allow-Methods"),
                        ("AllowHeaders", "Access-Control-Allow-Headers"),
                        ("ExposeHeaders", "Access-Control-Expose-Headers"),
                        ("MaxAge", "Access-Control-Max-Age"),
                        ("AllowCredentials", "Access-Control-Allow-Credentials"),
                        ("Vary", "Vary"),
                    )
                },
            },
            "HeaderText": {"type": "string"},
        },
    }
}


def load(service: str) -> dict[str, Any]:
    """botocore's whole description of a service, and what it lacks."""
    model = loaders.Loader().load_service_model(service, "service-2")
    for part, more in EXTRA.get(service, {}).items():
        model[part] = {**model[part], **more}
    for name in NO_CONTENT.get(service, ()):
        described = model["operations"][name]
        model["operations"][name] = {**described, "http": {**described["http"], "responseCode": 204}}
    return model


def plain(value: Any) -> Any:
    """Without documentation; the members of a structure keep their names, whatever these are."""
    if isinstance(value, list):
        listed: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
        return [plain(v) for v in listed]
    if not isinstance(value, dict):
        return value
    named: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
    out = {k: plain(v) for k, v in named.items() if k not in NOISE and k != "members"}
    if "members" in named:
        out["members"] = {k: plain(v) for k, v in named["members"].items()}
    return out


def references(shape: dict[str, Any]) -> list[str]:
    """Names of the shapes that a shape refers to directly."""
    parts = [*shape.get("members", {}).values(), *(shape[k] for k in ("member", "key", "value") if k in shape)]
    return [p["shape"] for p in parts]


def reachable(model: dict[str, Any], roots: list[str]) -> set[str]:
    """Names of all shapes below `roots`."""
    seen: set[str] = set()
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += references(model["shapes"][name])
    return seen


def cut(model: dict[str, Any], operations: list[str]) -> dict[str, Any]:
    """The slice for `operations`."""
    kept: dict[str, Any] = {}
    roots: list[str] = []
    for name, described in sorted(model["operations"].items()):
        if name not in operations:
            kept[name] = {"http": {k: described["http"][k] for k in ("method", "requestUri")}}
            if needed := must(described, model["shapes"]):
                kept[name]["must"] = needed
            continue
        kept[name] = plain({k: described[k] for k in OPERATION if k in described})
        roots += [described[k]["shape"] for k in ("input", "output") if k in described]
        roots += [e["shape"] for e in described.get("errors", ())]
    names = reachable(model, roots)
    metadata = {k: model["metadata"][k] for k in METADATA if k in model["metadata"]}
    return {
        "metadata": metadata | {"botocore": botocore.__version__},
        "operations": kept,
        "shapes": {n: plain(model["shapes"][n]) for n in sorted(names)},
    }


def text(part: dict[str, Any]) -> str:
    """As JSON with one line for each operation and shape, so that differences read well. Member order matters."""

    def lines(block: dict[str, Any]) -> str:
        rows = (f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'), ensure_ascii=False)}" for k, v in block.items())
        return "{\n" + ",\n".join(rows) + "\n}"

    return "{" + ",\n".join(f"{json.dumps(k)}:{lines(v)}" for k, v in part.items()) + "}\n"
