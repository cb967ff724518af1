# SPDX-License-Identifier: Apache-2.0
"""Requests to values and values to replies, for every protocol; compiled once for each operation."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Mapping
from typing import Any

from cloudchamber.base.body import Body, Held
from cloudchamber.wire import errors, eventstream, json, query, s3, validate, xml
from cloudchamber.wire.http import Headers, HttpReply, HttpRequest, header_lines
from cloudchamber.wire.model import OperationModel, Shape
from cloudchamber.wire.rest import Bindings, ReplyBindings
from cloudchamber.wire.route import Routed

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'

Parse = Callable[[Routed, Headers, "bytes | Body"], dict[str, Any]]
Serialize = Callable[[Mapping[str, Any], str], HttpReply]


def streams(routed: Routed) -> bool:
    """Whether the operation takes its payload as a `Body`."""
    operation = routed.model
    if operation is None:
        return False
    found = operation.codecs.get("streams")
    if found is None:
        found = operation.codecs["streams"] = streaming_member(operation) != ""
    return found


def streaming_member(operation: OperationModel) -> str:
    """Name of the input's streaming blob, empty if there is none."""
    payload = operation.input.get("payload", "")
    if not payload:
        return ""
    shape = operation.service.resolve(operation.input["members"][payload])
    return payload if shape["type"] == "blob" and shape.get("streaming") else ""


def parse(routed: Routed, request: HttpRequest, body: bytes | Body) -> dict[str, Any]:
    """The operation's input, checked against the model; absent members are absent.

    `body` is a `Body` where `streams(routed)` says so (octets are taken too), else all octets.

    Raises:
        ServiceError: the request is malformed, or a value breaks a constraint; in the service's own words.
    """
    operation = routed.model
    if operation is None:
        raise routed.error or errors.InvalidAction("No operation")
    return parse_operation(operation, routed, request.headers, body)


def parse_operation(operation: OperationModel, routed: Routed, headers: Headers, body: bytes | Body) -> dict[str, Any]:
    """As `parse`, for an operation of any model."""
    values = decode(operation, routed, headers, body)
    if operation.codecs.get("document"):
        s3.check_document(headers, whole(body))
    validate.check(operation, values)
    return values


def decode(operation: OperationModel, routed: Routed, headers: Headers, body: bytes | Body) -> dict[str, Any]:
    """The input as it came, without the model's constraints."""
    codecs = operation.codecs
    decoder: Parse | None = codecs.get("decode")
    if decoder is None:
        decoder = codecs["decode"] = COMPILE_PARSE[operation.service.protocol](operation)
    try:
        return decoder(routed, headers, body)
    except RecursionError:
        raise errors.SerializationException("The input is nested too deep") from None


def serialize(routed: Routed, request: HttpRequest, response: Mapping[str, Any] | None, request_id: str) -> HttpReply:
    """The reply for an operation's output. For HEAD the caller sends no body."""
    if routed.model is None:
        raise ValueError("no operation was routed")
    reply = serialize_operation(routed.model, response or {}, request_id)
    if request.method == "HEAD":
        reply.body = b""
    return reply


class Alone:
    """What is common to responses with which nothing is done but to send them: whether that still holds."""

    __slots__ = ("holds",)

    def __init__(self) -> None:
        self.holds = True


class Kept(dict[str, Any]):
    """A response that an operation gives again and again, and never changes: it is written once.

    Only for REST protocols, with a payload of octets or of a file, and its length among the headers.
    """

    __slots__ = ("alone", "reply")

    def __init__(self, response: Mapping[str, Any], alone: Alone | None = None) -> None:
        super().__init__(response)
        self.reply: HttpReply | None = None
        self.alone = alone
        """While it holds, the operation need not be asked for the response again; None: it must be."""


def again(operation: OperationModel, response: Kept, request_id: str) -> HttpReply:
    """The reply for a response that may have been written before."""
    known = response.reply
    if known is None:
        made = serialize_operation(operation, dict(response), "")
        headers = made.headers[: -len(request_id_headers("", s3=operation.service.name == "s3"))]
        known = response.reply = HttpReply(made.status, [], made.body, header_lines(headers))
    ids = request_id_headers(request_id, s3=operation.service.name == "s3")
    return HttpReply(known.status, ids, known.body, known.written)


def serialize_operation(operation: OperationModel, response: Mapping[str, Any], request_id: str) -> HttpReply:
    """The reply for an operation of any model."""
    if type(response) is Kept:
        return again(operation, response, request_id)
    codecs = operation.codecs
    write: Serialize | None = codecs.get("serialize")
    if write is None:
        write = codecs["serialize"] = COMPILE_SERIALIZE[operation.service.protocol](operation)
    return write(response, request_id)


def whole(body: bytes | Body) -> bytes:
    """Octets of a body that had to be read before."""
    if not isinstance(body, bytes):
        raise TypeError("the body of this operation must be read before it is parsed")
    return body


# Requests ------------------------------------------------------------------------------------------------------------


def parse_query(operation: OperationModel) -> Parse:
    """Query and EC2."""
    read = query.compile_reader(operation.service, operation.input)
    return lambda routed, headers, body: read(routed.form)


def parse_json(operation: OperationModel) -> Parse:
    """JSON 1.0 and 1.1."""
    read = json.Readers(operation.service).structure(operation.input)
    return lambda routed, headers, body: read(json.loads(whole(body) or b"{}"))


def parse_rest(operation: OperationModel) -> Parse:
    """REST-JSON and REST-XML: bindings, then payload or body members."""
    bindings = Bindings(operation)
    payload: str = operation.input.get("payload", "")
    read_body = body_payload(operation, payload) if payload else body_members(operation, bindings.elsewhere)

    def read(routed: Routed, headers: Headers, body: bytes | Body) -> dict[str, Any]:
        out = bindings.read(routed.labels, routed.query, headers)
        read_body(out, body)
        return out

    operation.codecs["document"] = s3.has_document(operation)
    return read


BodyReader = Callable[[dict[str, Any], "bytes | Body"], None]


def body_payload(operation: OperationModel, payload: str) -> BodyReader:
    """Reads the one member that is the whole body."""
    shape = operation.service.resolve(operation.input["members"][payload])
    if shape["type"] == "blob" and shape.get("streaming"):

        def stream(out: dict[str, Any], body: bytes | Body) -> None:
            stream_of = Held(body) if isinstance(body, bytes) else body
            out[payload] = stream_of
            s3.without_chunks(out, stream_of.length)

        return stream
    convert = payload_reader(operation, shape, payload)
    text = operation.service.name == "s3" and shape["type"] == "string"

    def read(out: dict[str, Any], body: bytes | Body) -> None:
        data = whole(body)
        if data or text:
            out[payload] = convert(data)

    return read


def payload_reader(operation: OperationModel, shape: Shape, payload: str) -> Callable[[bytes], Any]:
    """Converts a whole body to the payload's value."""
    if shape["type"] == "blob":
        return lambda data: data
    if shape["type"] == "string":
        return text_of
    if operation.service.protocol == "rest-json":
        value = json.Readers(operation.service).value(shape)
        return lambda data: value(json.loads(data))
    node = xml.Readers(operation.service).node(shape)
    root = shape.get("locationName", "") if operation.service.name == "s3" else ""
    absent = s3.ABSENT_LISTS.get(shape["name"]) if operation.service.name == "s3" else None
    if absent is not None:
        return lambda data: {absent: [], **read_xml(node, data, root)}
    return lambda data: read_xml(node, data, root)


def text_of(data: bytes) -> str:
    """A body of text."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise errors.SerializationException("The body is not UTF-8") from None


def read_xml(node: xml.ReadNode, data: bytes, root: str) -> Any:
    """A body of XML; `root` is the name that its root must have, empty for any."""
    try:
        document = xml.read(data)
        if root and document.tag != root:
            raise errors.MalformedXML(s3.MALFORMED)
        return node(document)
    except ValueError:
        raise errors.MalformedXML(s3.MALFORMED) from None


def body_members(operation: OperationModel, elsewhere: frozenset[str]) -> BodyReader:
    """Reads the members that share the body."""
    names = set(operation.input.get("members", {})) - elsewhere
    if not names:
        return lambda out, body: None
    if operation.service.protocol == "rest-json":
        convert = json.Readers(operation.service).structure(operation.input, skip=elsewhere)

        def read_json(out: dict[str, Any], body: bytes | Body) -> None:
            out.update(convert(json.loads(whole(body) or b"{}")))

        return read_json
    node = xml.Readers(operation.service).structure(operation.input, skip=elsewhere)

    def read_document(out: dict[str, Any], body: bytes | Body) -> None:
        if data := whole(body):
            out.update(read_xml(node, data, ""))

    return read_document


# Replies -------------------------------------------------------------------------------------------------------------


def serialize_query(operation: OperationModel) -> Serialize:
    """Query: the result in its wrapper, then metadata."""
    output = operation.output
    content = xml.Writers(operation.service).structure(output)
    wrapper: str = output.get("resultWrapper", "")
    start = f'{PROLOG}<{operation.name}Response xmlns="{xml.escape_attribute(operation.service.namespace)}">'
    opened, closed = (f"<{wrapper}>", f"</{wrapper}>") if wrapper else ("", "")

    def write(response: Mapping[str, Any], request_id: str) -> HttpReply:
        text = (
            f"{start}{opened}{content(response)}{closed}"
            f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{operation.name}Response>"
        )
        return HttpReply(200, [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml")], text.encode())

    return write


def serialize_ec2(operation: OperationModel) -> Serialize:
    """EC2: request id and members side by side; an operation without output returns true."""
    content = xml.Writers(operation.service).structure(operation.output)
    empty = "" if operation.output.get("members") else "<return>true</return>"
    start = f'{PROLOG}<{operation.name}Response xmlns="{xml.escape_attribute(operation.service.namespace)}">'

    def write(response: Mapping[str, Any], request_id: str) -> HttpReply:
        text = f"{start}<requestId>{request_id}</requestId>{content(response)}{empty}</{operation.name}Response>"
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", "text/xml;charset=UTF-8")]
        return HttpReply(200, headers, text.encode())

    return write


def serialize_json(operation: OperationModel) -> Serialize:
    """JSON 1.0 and 1.1."""
    convert = json.Writers(operation.service).structure(operation.output)
    content_type = f"application/x-amz-json-{operation.service.metadata.get('jsonVersion', '1.0')}"
    silent = "output" not in operation.described
    streamed = eventstream.member(operation.service, operation.output)
    if streamed is not None:
        name, events = streamed[0], eventstream.writer(operation.service, streamed[1], initial=True)

        def stream(response: Mapping[str, Any], request_id: str) -> HttpReply:
            headers = [("x-amzn-RequestId", request_id), ("Content-Type", eventstream.CONTENT_TYPE)]
            return HttpReply(200, headers, events(response[name]))

        return stream

    def write(response: Mapping[str, Any], request_id: str) -> HttpReply:
        headers = [("x-amzn-RequestId", request_id), ("Content-Type", content_type)]
        return HttpReply(200, headers, b"" if silent else json.dumps(convert(response)))

    return write


def serialize_rest(operation: OperationModel) -> Serialize:
    """REST-JSON and REST-XML."""
    bindings = ReplyBindings(operation)
    payload: str = operation.output.get("payload", "")
    is_s3 = operation.service.name == "s3"
    body_of = reply_payload(operation, payload) if payload else reply_members(operation, bindings.elsewhere)
    encode_keys = s3.url_encoder(operation) if is_s3 else None
    fixed = s3.HEADERS.get(operation.name, ()) if is_s3 else ()
    s3_ids = is_s3 or operation.service.name == "s3control"
    renews = is_s3 and operation.name == "RestoreObject"
    usual = s3.STATUS.get(operation.name, operation.status) if s3_ids else operation.status
    tells_region = is_s3 and operation.name in s3.TELL_REGION

    def write(response: Mapping[str, Any], request_id: str) -> HttpReply:
        if encode_keys is not None:
            response = encode_keys(response)
        headers = bindings.write(response)
        body, content_type = body_of(response)
        if content_type and response.get(bindings.content_type) is None:
            headers.append(("Content-Type", content_type))
        headers += request_id_headers(request_id, s3=s3_ids)
        headers += fixed
        if tells_region and "BucketRegion" in response:
            headers.append(("x-amz-bucket-region", response["BucketRegion"]))
        status = response.get(bindings.status) if bindings.status else None
        if renews and "Renewed" in response:
            status = 200
        if is_s3 and "ContentRange" in response:  # Why: the model does not say it; RFC 9110, section 15.3.7
            status = 206
        return HttpReply(int(status or usual), headers, body)

    return write


def request_id_headers(request_id: str, *, s3: bool) -> list[tuple[str, str]]:
    """The headers that name a request."""
    if s3:
        return [("x-amz-request-id", request_id), ("x-amz-id-2", host_id(request_id))]
    return [("x-amzn-RequestId", request_id)]


def host_id(request_id: str) -> str:
    """S3's second, long id, made of the first."""
    return b2a_base64(f"{request_id:<48}".encode(), newline=False).decode()


BodyWriter = Callable[[Mapping[str, Any]], tuple[Any, str]]


def reply_payload(operation: OperationModel, payload: str) -> BodyWriter:
    """Writes the one member that is the whole body."""
    shape = operation.service.resolve(operation.output["members"][payload])
    service = operation.service
    if shape.get("eventstream"):
        events = eventstream.writer(service, shape)
        return lambda response: (events(response[payload]), eventstream.CONTENT_TYPE)
    if shape["type"] in ("blob", "string"):
        kind = s3.PAYLOAD_TYPES.get(operation.name) or (
            "application/octet-stream" if service.name != "s3" else "binary/octet-stream"
        )
        if service.name == "lambda":
            kind = "application/json"

        def write_blob(response: Mapping[str, Any]) -> tuple[Any, str]:
            value = response.get(payload)
            if value is None:
                return b"", ""
            return value.encode() if isinstance(value, str) else value, kind

        return write_blob
    if service.protocol == "rest-json":
        convert = json.Writers(service).value(shape)

        def write_json(response: Mapping[str, Any]) -> tuple[Any, str]:
            value = response.get(payload)
            return (b"" if value is None else json.dumps(convert(value))), "application/json"

        return write_json
    tag = shape.get("locationName", shape["name"])
    if service.name == "s3":
        shape = {**shape, "xmlNamespace": s3.NAMESPACE}
    element = xml.Writers(service).element(shape, tag)

    def write_xml(response: Mapping[str, Any]) -> tuple[Any, str]:
        value = response.get(payload)
        return (b"", "") if value is None else ((PROLOG + element(value)).encode(), "application/xml")

    return write_xml


def reply_members(operation: OperationModel, elsewhere: frozenset[str]) -> BodyWriter:
    """Writes the members that share the body."""
    service = operation.service
    names = set(operation.output.get("members", {})) - elsewhere
    if service.protocol == "rest-json":
        convert = json.Writers(service).structure(operation.output, skip=elsewhere)
        if not names:
            return lambda response: (b"", "") if operation.status == 204 else (b"{}", "application/json")
        return lambda response: (json.dumps(convert(response)), "application/json")
    if not names:
        return lambda response: (b"", "")
    if service.name == "s3" and operation.name in s3.SPECIAL:
        return s3.SPECIAL[operation.name]
    output = s3.ordered(operation.output) if service.name == "s3" else operation.output
    tag = (
        s3.root(operation)
        if service.name == "s3"
        else operation.output.get("locationName", operation.name + "Response")
    )
    space = operation.output.get("xmlNamespace") or (s3.NAMESPACE if service.name == "s3" else service.namespace)
    start = PROLOG + xml.open_tag(tag, {"xmlNamespace": space})
    document = xml.Writers(service).document(output, start, f"</{tag}>", elsewhere)
    return lambda response: (document(response).encode(), "application/xml")


COMPILE_PARSE: dict[str, Callable[[OperationModel], Parse]] = {
    "query": parse_query,
    "ec2": parse_query,
    "json": parse_json,
    "rest-json": parse_rest,
    "rest-xml": parse_rest,
}
COMPILE_SERIALIZE: dict[str, Callable[[OperationModel], Serialize]] = {
    "query": serialize_query,
    "ec2": serialize_ec2,
    "json": serialize_json,
    "rest-json": serialize_rest,
    "rest-xml": serialize_rest,
}
