# SPDX-License-Identifier: Apache-2.0
"""Which operation of which service a request means.

The service is found, in this order, from the credential scope, ``X-Amz-Target``, ``Action``, and the host name; what
is left is S3. Source: "Signature Version 4", the protocol pages of Smithy, "Virtual hosting of buckets".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from cloudchamber.base.errors import ServiceError
from cloudchamber.wire import errors, model
from cloudchamber.wire.http import HttpRequest, octets
from cloudchamber.wire.model import OperationModel, ServiceModel
from cloudchamber.wire.paths import Table, table

FORM = "application/x-www-form-urlencoded"
PARAMETERS_MAX = 20_000
SCOPE_CACHED_MAX = 1024
HOST_CACHED_MAX = 1024

_SCOPE = re.compile(r"Credential=([^,\s]+)")
CONTROL = "/v20180820/"
"""With this S3 Control's paths begin."""
_S3_HOST = re.compile(
    r"(?:(?P<bucket>.+)\.)?s3(?:[.-](?:dualstack\.|fips\.)?(?P<region>[a-z]{2}-[a-z-]+-\d|accelerate))?"
    r"\.(?:amazonaws\.com|localhost\.localstack\.cloud|localhost)"
)
_SERVICE_HOST = re.compile(
    r"(?P<service>[a-z0-9-]+)(?:\.(?P<region>[a-z]{2}-[a-z-]+-\d))?"
    r"\.(?:amazonaws\.com|localhost\.localstack\.cloud|localhost)"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """The credential scope a request names, unverified."""

    access_key_id: str
    date: str
    region: str
    service: str


_NOTHING: Mapping[str, str] = MappingProxyType({})


class Routed(NamedTuple):
    """What a request means. `error` is set, and `model` None, where no operation can be run.

    `query` and `form` are decoded; `labels` are the path's parameters by member name, decoded.
    """

    # Why not a dataclass: one is made for each request, and a frozen one takes four times as long.

    service: str
    operation: str
    protocol: str
    model: OperationModel | None = None
    labels: Mapping[str, str] = _NOTHING
    query: tuple[tuple[str, str], ...] = ()
    form: Mapping[str, str] = _NOTHING
    bucket: str = ""
    key: str = ""
    scope: Scope | None = None
    error: ServiceError | None = None

    @property
    def region(self) -> str:
        """Region of the credential scope, empty if there is none."""
        return self.scope.region if self.scope else ""


class Offered:
    """The services that the chamber offers, by every name that requests call them by."""

    def __init__(self, services: Mapping[str, tuple[str, ...]], why_not: Mapping[str, str] | None = None) -> None:
        """`services`: botocore's name and further signing names. `why_not`: why others are not, by any name."""
        self.why_not = why_not or {}
        self.names = tuple(sorted(services))
        self._loaded: dict[str, ServiceModel] = {}
        self._by_name = {n: n for n in self.names}
        for name, more in services.items():
            self._by_name.update(dict.fromkeys(more, name))

    def find(self, name: str) -> ServiceModel | None:
        """The model of a service, by its own or a signing name."""
        found = self._loaded.get(name)
        if found is None and name in self._by_name:
            found = self._loaded[name] = model.load(self._by_name[name])
        return found

    def models(self) -> list[ServiceModel]:
        """Every model; reads those that nobody used yet."""
        return [model.load(n) for n in self.names]


def scope_of(request: HttpRequest, query: Mapping[str, str]) -> Scope | None:
    """The scope in the Authorization header or in X-Amz-Credential."""
    header = request.headers.first.get("authorization")
    if not header:
        return _scope(query.get("X-Amz-Credential", ""))
    before, mark, _ = header.rpartition("Signature=")
    return _scope_in(before if mark and len(before) < SCOPE_CACHED_MAX else header)


def _scope(text: str) -> Scope | None:
    parts = text.rsplit("/", 4)
    return Scope(*parts[:4]) if len(parts) == 5 else None


@lru_cache(maxsize=512)
def _scope_in(header: str) -> Scope | None:
    """What comes before the signature is the same all day."""
    found = _SCOPE.search(header)
    return _scope(found[1]) if found else None


def decoded(text: str) -> str:
    """One name or value of a form or query. Raises UnicodeDecodeError if it is not UTF-8."""
    return unquote_to_bytes(octets(text.replace("+", " "))).decode()


def pairs(query: str) -> tuple[tuple[str, str], ...]:
    """A raw query string or form, decoded; ``a`` and ``a=`` both have the value ``""``.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    if not query:
        return ()
    out: list[tuple[str, str]] = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            if "%" in part or "+" in part or not part.isascii():
                name, value = decoded(name), decoded(value)
            out.append((name, value))
    return tuple(out)


def is_form(request: HttpRequest) -> bool:
    """Whether the body must be read before routing, because it names the operation (query, ec2)."""
    if request.method != "POST" or not request.headers.get("content-type").lower().startswith(FORM):
        return False
    try:
        scope = scope_of(request, dict(pairs(request.query)))
    except UnicodeDecodeError:
        return False
    return scope is None or scope.service not in ("s3", "lambda")


def route(request: HttpRequest, form: bytes | None, offered: Offered) -> Routed:
    """What the request means; never raises, see `Routed.error`."""
    try:
        query = pairs(request.query)
    except UnicodeDecodeError:
        error = errors.InvalidURI("Couldn't parse the specified URI.", URI=request.query[:1024])
        return Routed("s3", "", "rest-xml", error=error)
    first = dict(reversed(query)) if query else {}
    scope = scope_of(request, first)
    values: dict[str, str] = {}
    if form is not None:
        try:
            listed = pairs(form.decode("latin-1"))
        except UnicodeDecodeError:
            return Routed("", "", "query", scope=scope, error=errors.MalformedQueryString("The form is not UTF-8."))
        if len(listed) > PARAMETERS_MAX:
            return Routed("", "", "query", scope=scope, error=errors.MalformedQueryString("Too many parameters."))
        values = dict(reversed(listed))
    if "Action" not in values and "Action" in first:
        values = {**first, **values}
    service = find_service(request, values, first, scope, offered)
    if isinstance(service, Routed):
        return service
    if service.protocol == "rest-xml" and service.name == "s3":
        if request.path.startswith(CONTROL) and "x-amz-account-id" in request.headers:
            control = offered.find("s3control")  # Why: it signs as S3, and its host may be any
            if control is not None:
                return route_rest(request, query, first, scope, control)
        return route_s3(request, query, first, scope, service, host_is_ours=scope is not None)
    if service.protocol in ("query", "ec2"):
        return route_action(service, values, query, scope)
    if service.protocol == "json":
        target = request.headers.get("x-amz-target").rpartition(".")[2]
        return found(service, service.operations.get(target), target, "json", query=query, scope=scope)
    return route_rest(request, query, first, scope, service)


def find_service(
    request: HttpRequest, values: Mapping[str, str], query: Mapping[str, str], scope: Scope | None, offered: Offered
) -> ServiceModel | Routed:
    """The service, or the refusal of one that is not offered."""
    target = request.headers.first.get("x-amz-target", "")
    service = offered.find(scope.service) if scope is not None else None
    if service is not None:
        return service
    protocol = "json" if target else "query" if values.get("Action") else "rest-json"
    if scope is not None:
        return not_offered(scope.service, protocol, target or values.get("Action", ""), scope, offered)
    if target:
        prefix = target.rpartition(".")[0]
        for service in offered.models():
            if service.metadata.get("targetPrefix") == prefix:
                return service
        return not_offered(prefix, protocol, target, scope, offered)
    host = host_of(request)
    if "Action" in values and "AWSAccessKeyId" not in query:
        version = values.get("Version", "")
        for service in offered.models():
            by_action = service.protocol in ("query", "ec2") and values["Action"] in service.operations
            if by_action and version in ("", service.metadata.get("apiVersion")):
                return service
        return not_offered(host, protocol, values["Action"], scope, offered)
    named = _SERVICE_HOST.fullmatch(host)
    if named and (service := offered.find(named["service"])):
        return service
    return offered.find("s3") or not_offered("s3", "rest-xml", "", scope, offered)


def not_offered(name: str, protocol: str, operation: str, scope: Scope | None, offered: Offered) -> Routed:
    """The refusal of a service that we do not have."""
    why = offered.why_not.get(name, "")
    text = f"cloudchamber does not offer the service {name!r}{why}. It offers: {', '.join(offered.names)}."
    kinds = {"json": errors.UnknownOperationException, "query": errors.InvalidAction}
    kind = kinds.get(protocol, errors.RestUnknownOperation)
    return Routed(name, operation.rpartition(".")[2], protocol, scope=scope, error=kind(text))


def found(
    service: ServiceModel,
    operation: OperationModel | None,
    name: str,
    protocol: str,
    *,
    query: tuple[tuple[str, str], ...] = (),
    form: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    scope: Scope | None = None,
) -> Routed:
    """A routed request, or the refusal of an operation that is unknown or not implemented."""
    error: ServiceError | None = None
    if operation is None:
        error = unknown(service, protocol, name, "")
    elif not operation.implemented:
        error = unknown(service, protocol, operation.name, "cloudchamber does not implement it.")
        operation = None
    return Routed(
        service.name, name, protocol, operation, labels or {}, query, form or {}, scope=scope, error=error,
    )  # fmt: skip


def unknown(service: ServiceModel, protocol: str, name: str, why: str) -> ServiceError:
    """The protocol's own words for an operation that cannot be called."""
    title = service.metadata.get("serviceFullName", service.name)
    if protocol in ("query", "ec2"):
        text = f"The action {name} is not valid for this web service."
        if why:
            text = f"The action {name} of {title} cannot be called: {why}"
        return errors.InvalidAction(text)
    text = f"{service.name}:{name}: {why}" if why else f"Unknown operation {name} of {title}."
    return errors.UnknownOperationException(text) if protocol == "json" else errors.RestUnknownOperation(text)


def route_action(
    service: ServiceModel, values: dict[str, str], query: tuple[tuple[str, str], ...], scope: Scope | None
) -> Routed:
    """Query and EC2: the operation is the parameter ``Action``."""
    action = values.get("Action", "")
    if not action:
        error = errors.InvalidAction("The request must contain the parameter Action")
        return Routed(service.name, "", service.protocol, scope=scope, error=error)
    operation = service.operations.get(action)
    return found(service, operation, action, service.protocol, query=query, form=values, scope=scope)


def route_rest(
    request: HttpRequest,
    query: tuple[tuple[str, str], ...],
    first: Mapping[str, str],
    scope: Scope | None,
    service: ServiceModel,
) -> Routed:
    """REST protocols: the operation is the method and the path."""
    routes: Table = table(service)
    hit = routes.match(request.method, request.path, first, request.headers)
    if hit is None:
        name = f"{request.method} {request.path[:200]}"
        return found(service, None, name, service.protocol, query=query, scope=scope)
    operation, labels = hit
    return found(service, operation, operation.name, service.protocol, query=query, labels=labels, scope=scope)


def host_of(request: HttpRequest) -> str:
    """Host name without the port, in lower case; longer than DNS has is no name."""
    text = request.headers.first.get("host", "")
    return _host_in(text) if len(text) < HOST_CACHED_MAX else ""


@lru_cache(maxsize=512)
def _host_in(header: str) -> str:
    host = header.rpartition("@")[2].partition(":")[0].lower()
    return host if len(host) < 256 else ""


@lru_cache(maxsize=512)
def bucket_of_host(host: str, *, signed_for_s3: bool) -> str | None:
    """Bucket of a virtual-hosted request; None for path style."""
    known = _S3_HOST.fullmatch(host)
    if known:
        return known["bucket"]
    if not host.endswith(".localhost"):
        return None
    bucket = host[: -len(".localhost")]
    # Why: instances answer at <id>.ec2.localhost; only a signature for S3 says that "ec2" is meant as a bucket.
    return None if not signed_for_s3 and bucket.rpartition(".")[2] == "ec2" else bucket


def at_s3(host: str, bucket: str) -> bool:
    """Whether a host is S3's own by name, so that a bucket's host is its name before it."""
    known = _S3_HOST.fullmatch(host)
    return known is not None and known["bucket"] is None and "." not in bucket


@lru_cache(maxsize=512)
def _hosted(header: str, signed_for_s3: bool) -> str | None:
    return bucket_of_host(_host_in(header), signed_for_s3=signed_for_s3)


def route_s3(
    request: HttpRequest,
    query: tuple[tuple[str, str], ...],
    first: Mapping[str, str],
    scope: Scope | None,
    service: ServiceModel,
    *,
    host_is_ours: bool,
) -> Routed:
    """S3: bucket from host or path, key from the path, operation by method, parameters and headers."""
    host = request.headers.first.get("host", "")
    hosted = _hosted(host, host_is_ours) if len(host) < HOST_CACHED_MAX else None
    path = request.path
    try:
        if "%" in path or not path.isascii():
            path = unquote_to_bytes(octets(path)).decode()
        bucket, key = (hosted, path[1:]) if hosted else path[1:].partition("/")[::2]
    except UnicodeDecodeError:
        error: ServiceError = errors.InvalidURI("Couldn't parse the specified URI.", URI=request.path[:1024])
        return Routed("s3", "", "rest-xml", query=query, scope=scope, error=error)
    labels = {"Bucket": bucket, "Key": key} if key else {"Bucket": bucket} if bucket else {}
    operation = operation_s3(request, first, service, bucket, key)
    if operation is not None and operation.implemented:
        return Routed("s3", operation.name, "rest-xml", operation, labels, query, _NOTHING, bucket, key, scope)
    common = {"query": query, "bucket": bucket, "key": key, "scope": scope, "labels": labels}
    if operation is None:
        kind = "OBJECT" if key else "BUCKET" if bucket else "SERVICE"
        error = errors.MethodNotAllowed(
            "The specified method is not allowed against this resource.", Method=request.method, ResourceType=kind
        )
        return Routed("s3", "", "rest-xml", error=error, **common)  # type: ignore[arg-type]
    if operation.name == "PostObject":  # Why: it is the PUT of a form's file; the front makes one of the other
        return Routed("s3", operation.name, "rest-xml", **common)  # type: ignore[arg-type]
    error = errors.OperationNotImplemented(
        "A header or query you provided implies functionality that is not implemented: "
        f"cloudchamber does not implement s3:{operation.name}."
    )
    return Routed("s3", operation.name, "rest-xml", error=error, **common)  # type: ignore[arg-type]


def operation_s3(
    request: HttpRequest, query: Mapping[str, str], service: ServiceModel, bucket: str, key: str
) -> OperationModel | None:
    """The operation; None if the method means nothing there."""
    if request.method == "OPTIONS":
        return service.operations.get("OptionsObject")
    shape = "/{Bucket}/{Key+}" if key else "/{Bucket}" if bucket else "/"
    found = table(service)
    if not query and (only := found.only(request.method, shape, request.headers)) is not None:
        return only
    return found.choose(request.method, shape, query, request.headers)
