# SPDX-License-Identifier: Apache-2.0
"""Our codecs behind the two functions that a protocol conformance run calls: ``parse`` and ``serialize``.

    python protocol_cases.py CASES --adapter tools.protocol_adapter

`CASES` is ``tests/unit/protocols`` of botocore's source distribution.
"""

from __future__ import annotations

from typing import Any

from cloudchamber.wire.codec import decode, serialize_operation
from cloudchamber.wire.http import Headers
from cloudchamber.wire.model import OperationModel, ServiceModel
from cloudchamber.wire.paths import Table
from cloudchamber.wire.route import Routed, pairs


def ours(botocore_model: Any) -> ServiceModel:
    """Our model of botocore's."""
    description = botocore_model._service_description
    return ServiceModel(botocore_model.service_name, description)


def parse(botocore_model: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Input of the one operation that the model has."""
    service = ours(botocore_model)
    operation: OperationModel = next(iter(service.operations.values()))
    query = pairs(request["query"])
    headers = Headers(request["headers"].items())
    labels: dict[str, str] = {}
    form: dict[str, str] = {}
    if service.protocol in ("query", "ec2"):
        form = dict(pairs(request["body"].decode()))
        if form["Action"] != operation.name:
            raise ValueError(form["Action"])
    elif service.protocol.startswith("rest"):
        hit = Table(service).match(request["method"], request["path"], dict(query), headers)
        if hit is None:
            raise ValueError("no operation has that path")
        labels = hit[1]
    elif headers.get("x-amz-target").rpartition(".")[2] != operation.name:
        raise ValueError(headers.get("x-amz-target"))
    routed = Routed(service.name, operation.name, service.protocol, operation, labels, query, form)
    values = decode(operation, routed, headers, request["body"])
    return {k: getattr(v, "_data", v) for k, v in values.items()}


def serialize(botocore_model: Any, operation_model: Any, result: dict[str, Any]) -> dict[str, Any]:
    """A reply, as botocore's parser takes it."""
    operation = ours(botocore_model).operations[operation_model.name]
    reply = serialize_operation(operation, result or {}, "req-id")
    return {"status_code": reply.status, "headers": dict(reply.headers), "body": reply.body}
