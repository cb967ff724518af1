# SPDX-License-Identifier: Apache-2.0
"""Every operation of every model: botocore writes a request and we read it; we write a reply and botocore reads it."""

from __future__ import annotations

import io
from functools import cache
from typing import Any

import pytest
from botocore import parsers, serialize
from botocore.awsrequest import AWSRequest, AWSRequestPreparer, prepare_request_dict
from botocore.compat import HTTPHeaders
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tools import gen_slice

from cloudchamber.wire.codec import decode, serialize_operation
from cloudchamber.wire.http import Headers, HttpRequest
from cloudchamber.wire.model import ServiceModel
from cloudchamber.wire.route import Offered, Routed, is_form, route
from tests.unit.wire import shapes

SERVICES = [
    "cloudformation", "ec2", "iam", "kms", "lambda", "logs", "rds", "s3", "secretsmanager", "ssm", "sts",
]  # fmt: skip
OURS_ALONE = {"PostObject", "OptionsObject"}
ELSEWHERE = {"CreateSession", "ListDirectoryBuckets"}
SUCCEEDED = {f"{verb}Bucket{what}" for verb in ("Get", "Put") for what in ("Notification", "Lifecycle")}
"""Deprecated operations whose successors have the same method and path."""
NOT_PLAIN = {
    "SelectObjectContent",
    "InvokeWithResponseStream",
    "StartLiveTail",
    "GetLogObject",
    "WriteGetObjectResponse",
}


@cache
def whole(service: str) -> ServiceModel:
    description = gen_slice.load(service)
    return ServiceModel(service, gen_slice.cut(description, list(description["operations"])))


class Everything(Offered):
    """Offers whole models instead of slices."""

    def find(self, name: str) -> ServiceModel | None:
        return whole(name) if name in SERVICES else None


@cache
def operations(service: str) -> list[str]:
    return sorted(set(whole(service).operations) - OURS_ALONE - NOT_PLAIN - ELSEWHERE - SUCCEEDED)


def as_http(service: str, written: dict[str, Any]) -> tuple[HttpRequest, bytes]:
    """What goes over the wire: URL, headers and octets as botocore would send them."""
    prepare_request_dict(written, "http://127.0.0.1:4566")
    request = AWSRequest(method=written["method"], url=written["url"], data=written["body"], headers=written["headers"])
    sent = AWSRequestPreparer().prepare(request)
    path, _, query = sent.url.removeprefix("http://127.0.0.1:4566").partition("?")
    body = sent.body or b""
    headers = {k: v.decode() if isinstance(v, bytes) else str(v) for k, v in sent.headers.items()}
    headers["Host"] = "127.0.0.1:4566"
    headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential=A/20260101/us-east-1/{signing(service)}/aws4_request"
    octets = body.encode() if isinstance(body, str) else body.read() if hasattr(body, "read") else bytes(body)
    return HttpRequest(written["method"], path or "/", query, Headers(headers.items())), octets


def signing(service: str) -> str:
    metadata = whole(service).metadata
    return metadata.get("signingName") or metadata["endpointPrefix"]


def routed_of(service: str, request: HttpRequest, body: bytes) -> Routed:
    return route(request, body if is_form(request) else None, Everything({service: ()}))


@pytest.mark.parametrize("service", SERVICES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_request(service: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(operations(service)))
    theirs = shapes.model(service).operation_model(name)
    values = data.draw(shapes.structure(theirs.input_shape)) if theirs.input_shape else {}
    serializer = serialize.create_serializer(theirs.service_model.resolved_protocol, include_validation=False)
    written = serializer.serialize_to_request(values, theirs)
    request, body = as_http(service, written)

    routed = routed_of(service, request, body)
    assert routed.error is None
    assert routed.operation == name
    assert routed.model is not None
    read = decode(routed.model, routed, request.headers, body)

    found = {k: getattr(v, "_data", v) for k, v in read.items()}
    if "Body" in found:  # the client counts the octets itself
        found.pop("ContentLength", None)
        values.pop("ContentLength", None)
    payload = routed.model.input.get("payload")
    if payload and not values.get(payload):  # an empty body is an absent payload
        values.pop(payload, None)
        found.pop(payload, None)
    assert shapes.norm(found) == shapes.norm(values)


@pytest.mark.parametrize("service", SERVICES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_reply(service: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(operations(service)))
    theirs = shapes.model(service).operation_model(name)
    values = data.draw(shapes.structure(theirs.output_shape, output=True)) if theirs.output_shape else {}
    values.pop("EncodingType", None)
    reply = serialize_operation(whole(service).operations[name], values, "req-1")

    headers = HTTPHeaders.from_pairs(reply.headers)
    parser = parsers.create_parser(theirs.service_model.resolved_protocol)
    assert isinstance(reply.body, bytes)
    body = io.BytesIO(reply.body) if theirs.has_streaming_output else reply.body
    read = parser.parse({"status_code": reply.status, "headers": headers, "body": body}, theirs.output_shape)
    for name_of_status in ("StatusCode", "Status"):
        if theirs.output_shape and name_of_status in theirs.output_shape.members:
            read.pop(name_of_status, None)
            values.pop(name_of_status, None)
    if theirs.has_streaming_output:
        values.setdefault("ContentType", read.get("ContentType"))
    if name == "GetBucketLocation":
        assert values.get("LocationConstraint", "").encode() in reply.body
        return
    assert shapes.norm(read) == shapes.norm(values)
