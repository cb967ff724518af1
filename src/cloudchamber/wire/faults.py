# SPDX-License-Identifier: Apache-2.0
"""Errors in each protocol's form.

Source: "Error responses" of S3's and EC2's API references; Smithy, "Operation error serialization" of each protocol.
"""

from __future__ import annotations

from typing import Any

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire import json, xml
from cloudchamber.wire.codec import PROLOG, host_id, request_id_headers
from cloudchamber.wire.http import HttpReply, HttpRequest
from cloudchamber.wire.model import ServiceModel, load
from cloudchamber.wire.route import Routed

NOT_MODIFIED = 304


def fault(error: ServiceError, routed: Routed | None, request: HttpRequest, request_id: str) -> HttpReply:
    """The reply for an error; `routed` is None if routing itself was not reached."""
    protocol = routed.protocol if routed is not None else "rest-xml"
    headers = list(error.headers.items())
    if protocol == "rest-xml":
        control = routed is not None and routed.service == "s3control"
        reply = s3_fault(error, request, request_id, control=control)
    elif protocol == "ec2":
        reply = ec2_fault(error, request_id)
    elif protocol == "query":
        reply = query_fault(error, routed, request_id)
    else:
        reply = json_fault(error, routed, request_id)
    reply.headers += headers
    if request.method == "HEAD":
        reply.body, reply.chunked = b"", False
    return reply


def elements(values: dict[str, str]) -> str:
    """Members as elements."""
    return "".join(f"<{name}>{xml.escape(str(value))}</{name}>" for name, value in values.items())


def xml_code(error: ServiceError) -> str:
    """S3 and EC2 have their own word for what broke on our side."""
    return "InternalError" if error.code == "InternalFailure" else error.code


def s3_fault(error: ServiceError, request: HttpRequest, request_id: str, *, control: bool = False) -> HttpReply:
    """``<Error><Code>...``, members between message and ids; of S3 Control in ``<ErrorResponse>``, before the ids."""
    headers = request_id_headers(request_id, s3=True)
    if error.status == NOT_MODIFIED:
        return HttpReply(error.status, headers)
    ids = {"RequestId": request_id, "HostId": host_id(request_id)}
    members = {"Code": xml_code(error), "Message": error.message, **error.members}
    if control:
        body = f"{PROLOG}<ErrorResponse><Error>{elements(members)}</Error>{elements(ids)}</ErrorResponse>"
    else:
        body = f"{PROLOG}<Error>{elements(members | ids)}</Error>"
    return HttpReply(error.status, [*headers, ("Content-Type", "application/xml")], body.encode(), chunked=True)


def ec2_fault(error: ServiceError, request_id: str) -> HttpReply:
    """``<Response><Errors><Error>...``."""
    members = elements({"Code": xml_code(error), "Message": error.message, **error.members})
    body = f"{PROLOG}<Response><Errors><Error>{members}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml;charset=UTF-8")]
    return HttpReply(error.status, headers, body.encode())


def query_fault(error: ServiceError, routed: Routed | None, request_id: str) -> HttpReply:
    """``<ErrorResponse><Error><Type>...``."""
    service = model_of(routed)
    space = f' xmlns="{xml.escape_attribute(service.namespace)}"' if service is not None and service.namespace else ""
    side = "Receiver" if error.status >= 500 else "Sender"
    members = elements({"Type": side, "Code": error.code, "Message": error.message, **error.members})
    body = f"<ErrorResponse{space}><Error>{members}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")]
    return HttpReply(error.status, headers, body.encode())


def json_fault(error: ServiceError, routed: Routed | None, request_id: str) -> HttpReply:
    """JSON and REST-JSON: type in a header, message under the name that the error's shape gives it."""
    service = model_of(routed)
    rest = routed is None or routed.protocol == "rest-json"
    shape: dict[str, Any] = service.shapes.get(error.code, {}) if service is not None else {}
    members: dict[str, Any] = shape.get("members", {})
    headers = [("x-amzn-RequestId", request_id)]
    body: dict[str, Any] = {} if rest else {"__type": error.code}
    if "Type" in members:
        body["Type"] = "Service" if error.status >= 500 else "User"
    body[next((n for n in members if n.lower() == "message"), "message")] = error.message
    for name, value in error.members.items():
        trait = members.get(name, {})
        if trait.get("location") == "header":
            headers.append((trait.get("locationName", name), value))
        else:
            body[name] = value
    version = service.metadata.get("jsonVersion", "1.1") if service is not None else "1.1"
    headers.append(("Content-Type", "application/json" if rest else f"application/x-amz-json-{version}"))
    if rest or error.status < 500:
        headers.append(("x-amzn-ErrorType", error.code))
    return HttpReply(error.status, headers, json.dumps(body))


def model_of(routed: Routed | None) -> ServiceModel | None:
    """The model of the service that was asked; None if it is not offered."""
    if routed is None:
        return None
    if routed.model is not None:
        return routed.model.service
    try:
        return load(routed.service) if routed.service.isidentifier() else None
    except FileNotFoundError:
        return None
