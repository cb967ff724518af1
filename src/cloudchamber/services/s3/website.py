# SPDX-License-Identifier: Apache-2.0
"""Static websites: their configuration, and the host names that serve them to browsers.

Whoever asks a website signs nothing: each object is fetched as nobody, by GetObject, so bucket policy and ACL decide
and the call is on the track. Source: Amazon S3 User Guide, "Hosting a static website using Amazon S3", "Website
endpoints", "(Optional) Configuring a webpage redirect"; Amazon S3 API Reference, PutBucketWebsite.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from cloudchamber.base import ids
from cloudchamber.base.errors import InternalFailure, ServiceError
from cloudchamber.contract.identity import ANONYMOUS
from cloudchamber.contract.operation import operation
from cloudchamber.services.s3 import checks, needs, settings, tables
from cloudchamber.services.s3.errors import (
    InvalidArgument,
    InvalidRequest,
    MalformedXML,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchKey,
    NoSuchWebsiteConfiguration,
)
from cloudchamber.wire.http import HttpReply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.body import Body
    from cloudchamber.contract.call import Call, Doors
    from cloudchamber.wire.http import HttpRequest

    Request = Mapping[str, Any]

RULES_MAX = 50
_HOST = re.compile(
    r"(?P<bucket>.+)\.s3-website(?:[.-][a-z]{2}-[a-z-]+-\d)?"
    r"\.(?:amazonaws\.com|localhost\.localstack\.cloud|localhost)"
)
_TITLES = {
    400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 412: "Precondition Failed",
    416: "Requested Range Not Satisfiable", 500: "Internal Server Error",
}  # fmt: skip
_CONDITIONS = {"if-match": "IfMatch", "if-none-match": "IfNoneMatch", "range": "Range"}
_ANSWERED = {
    "ContentType": "Content-Type", "ETag": "ETag", "ContentEncoding": "Content-Encoding",
    "ContentLanguage": "Content-Language", "ContentDisposition": "Content-Disposition",
    "CacheControl": "Cache-Control", "ContentRange": "Content-Range", "AcceptRanges": "Accept-Ranges",
}  # fmt: skip


# Configuration -------------------------------------------------------------------------------------------------------


@operation("PutBucketWebsite", needs=needs.on_bucket("s3:PutBucketWebsite"))
async def put_bucket_website(call: Call, request: Request) -> dict[str, Any]:
    """Set the website. Source: Amazon S3 API Reference, PutBucketWebsite."""
    bucket = checks.bucket(call, request)
    site: Request = request["WebsiteConfiguration"]
    _check(site)
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "website", site))
    return {}


def _check(site: Request) -> None:
    everything = site.get("RedirectAllRequestsTo")
    if everything is not None:
        if any(member in site for member in ("IndexDocument", "ErrorDocument", "RoutingRules")):
            raise InvalidArgument(
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
                ArgumentName="RedirectAllRequestsTo",
                ArgumentValue="not null",
            )
        _protocol(everything)
        return
    if "IndexDocument" not in site:
        raise InvalidArgument(
            "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
            ArgumentName="IndexDocument",
            ArgumentValue="null",
        )
    suffix = site["IndexDocument"].get("Suffix", "")
    if not suffix or "/" in suffix:
        raise InvalidArgument(
            "The IndexDocument Suffix is not well formed", ArgumentName="IndexDocument", ArgumentValue=suffix
        )
    if "ErrorDocument" in site and not site["ErrorDocument"].get("Key"):
        raise MalformedXML()
    if "RoutingRules" in site and not 1 <= len(site["RoutingRules"]) <= RULES_MAX:
        raise MalformedXML()
    for rule in site.get("RoutingRules", []):
        _check_rule(rule)


def _check_rule(rule: Request) -> None:
    redirect: Request = rule.get("Redirect", {})
    if "Condition" in rule and not any(
        rule["Condition"].get(name) for name in ("KeyPrefixEquals", "HttpErrorCodeReturnedEquals")
    ):
        raise InvalidRequest(
            "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't "
            "be present."
        )
    if "ReplaceKeyPrefixWith" in redirect and "ReplaceKeyWith" in redirect:
        raise InvalidRequest("You can only define ReplaceKeyPrefix or ReplaceKey but not both.")
    code = redirect.get("HttpRedirectCode", "301")
    if not (code.isdecimal() and 300 < int(code) < 400):
        raise InvalidRequest(f"The provided HTTP redirect code ({code}) is not valid. Valid codes are 3XX except 300.")
    _protocol(redirect)


def _protocol(redirect: Request) -> None:
    if redirect.get("Protocol", "http") not in ("http", "https"):
        raise InvalidRequest(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected "
            "automatically."
        )


@operation("GetBucketWebsite", needs=needs.on_bucket("s3:GetBucketWebsite"))
async def get_bucket_website(call: Call, request: Request) -> dict[str, Any]:
    """The website as it was put. Source: Amazon S3 API Reference, GetBucketWebsite."""
    bucket = checks.bucket(call, request)
    site = settings.get(call, bucket.name, "website")
    if site is None:
        raise NoSuchWebsiteConfiguration(BucketName=bucket.name)
    return site


@operation("DeleteBucketWebsite", needs=needs.on_bucket("s3:DeleteBucketWebsite"))
async def delete_bucket_website(call: Call, request: Request) -> dict[str, Any]:
    """No website any more. Source: Amazon S3 API Reference, DeleteBucketWebsite."""
    bucket = checks.bucket(call, request)
    await call.doors.database.write(lambda tx: settings.put(tx, bucket.name, "website", None))
    return {}


# Serving -------------------------------------------------------------------------------------------------------------


def claims(host: str) -> bool:
    """Whether a host name is a website's."""
    return ".s3-website" in host and _HOST.fullmatch(host) is not None


class Websites:
    """Answers every request for the hosts that `claims` knows."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def handle(self, request: HttpRequest, body: Body) -> HttpReply:
        """The reply to one request; never raises, except when the client is gone."""
        host = request.headers.get("host").partition(":")[0].lower()
        found = _HOST.fullmatch(host)
        bucket = found["bucket"] if found else ""
        try:
            return await self._answer(request, bucket)
        except ServiceError as error:
            return page(error)
        except UnicodeDecodeError:
            return page(InvalidRequest("Couldn't parse the specified URI."))
        except OSError:  # Why: a blob that cannot be read; the request ends with an answer, the log has the story
            return page(InternalFailure("We encountered an internal error. Please try again."))

    async def _answer(self, request: HttpRequest, bucket: str) -> HttpReply:
        key = unquote_to_bytes(request.path.encode("latin-1", "replace")).decode()[1:]
        site = self._site(bucket)
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(Method=request.method, ResourceType="OBJECT")
        everything = site.get("RedirectAllRequestsTo")
        if everything is not None:
            scheme = everything.get("Protocol") or request.scheme
            return _moved(301, f"{scheme}://{everything['HostName']}{request.path}")
        rules: list[Request] = site.get("RoutingRules", [])
        for rule in rules:
            if _applies(rule, key, 0):
                return self._routed(request, rule, key)
        suffix = site["IndexDocument"]["Suffix"]
        wanted = key + suffix if not key or key.endswith("/") else key
        try:
            reply = await self._object(request, bucket, wanted)
        except ServiceError as error:
            return await self._failed(request, bucket, site, key, wanted, error)
        return reply

    def _site(self, bucket: str) -> Request:
        def look(db: Any) -> str | None:
            if tables.find_bucket(db, bucket) is None:
                raise NoSuchBucket(BucketName=bucket)
            return settings.text(db, bucket, "website")

        text = self._doors.database.peek(look)
        if text is None:
            raise NoSuchWebsiteConfiguration(BucketName=bucket)
        return settings.json.loads(text)

    async def _object(self, request: HttpRequest, bucket: str, key: str, status: int = 200) -> HttpReply:
        asked: dict[str, Any] = {"Bucket": bucket, "Key": key}
        if status == 200:
            sent = request.headers
            asked |= {member: sent.get(name) for name, member in _CONDITIONS.items() if name in sent}
        found = await self._doors.ask("s3", "GetObject", asked, principal=ANONYMOUS)
        if found.get("WebsiteRedirectLocation"):
            return _moved(301, found["WebsiteRedirectLocation"])
        headers = [(name, str(found[member])) for member, name in _ANSWERED.items() if found.get(member)]
        headers.append(("Last-Modified", found["LastModified"].strftime("%a, %d %b %Y %H:%M:%S GMT")))
        metadata: Mapping[str, str] = found.get("Metadata") or {}
        headers += [(f"x-amz-meta-{name}", value) for name, value in metadata.items()]
        if "ContentRange" in found and status == 200:
            status = 206
        if request.method == "HEAD":
            return HttpReply(status, [*headers, ("Content-Length", str(found["ContentLength"]))], b"")
        return HttpReply(status, headers, found["Body"])

    async def _failed(
        self, request: HttpRequest, bucket: str, site: Request, key: str, wanted: str, error: ServiceError
    ) -> HttpReply:
        """An error's answer: a folder's redirect, a routing rule, the error document, or a page of our own."""
        if error.status == 304:
            return HttpReply(304, list(error.headers.items()))
        if wanted == key and key and await self._exists(bucket, f"{key}/{site['IndexDocument']['Suffix']}"):
            return _moved(302, f"/{quote(key, safe='/')}/")
        for rule in site.get("RoutingRules", []):
            if _applies(rule, key, error.status):
                return self._routed(request, rule, key)
        if isinstance(error, NoSuchKey):
            error = NoSuchKey(Key=wanted)
        document = site.get("ErrorDocument", {}).get("Key")
        if document and 400 <= error.status < 500:
            try:
                return await self._object(request, bucket, document, error.status)
            except ServiceError as second:
                nested = NoSuchKey(Key=document) if isinstance(second, NoSuchKey) else second
                return page(error, nested)
        return page(error)

    async def _exists(self, bucket: str, key: str) -> bool:
        try:
            await self._doors.ask("s3", "HeadObject", {"Bucket": bucket, "Key": key}, principal=ANONYMOUS)
        except ServiceError:
            return False
        return True

    def _routed(self, request: HttpRequest, rule: Request, key: str) -> HttpReply:
        redirect: Request = rule.get("Redirect", {})
        if "ReplaceKeyWith" in redirect:
            key = redirect["ReplaceKeyWith"]
        elif "ReplaceKeyPrefixWith" in redirect:
            prefix = rule.get("Condition", {}).get("KeyPrefixEquals", "")
            key = redirect["ReplaceKeyPrefixWith"] + key[len(prefix) :]
        host = redirect.get("HostName") or request.headers.get("host")
        scheme = redirect.get("Protocol") or request.scheme
        return _moved(int(redirect.get("HttpRedirectCode", "301")), f"{scheme}://{host}/{quote(key, safe='/')}")


def _applies(rule: Request, key: str, status: int) -> bool:
    """Whether a routing rule is meant; `status` 0: the object was not looked for yet."""
    condition: Request = rule.get("Condition", {})
    code = condition.get("HttpErrorCodeReturnedEquals")
    if (code is None) != (status == 0) or (code is not None and code != str(status)):
        return False
    return key.startswith(condition.get("KeyPrefixEquals", ""))


def _moved(status: int, where: str) -> HttpReply:
    request_id = ids.request_id()
    return HttpReply(status, [("x-amz-request-id", request_id), ("Location", where)])


def page(error: ServiceError, second: ServiceError | None = None) -> HttpReply:
    """An error as a browser shows it."""
    request_id = ids.request_id()
    code = "InternalError" if error.code == "InternalFailure" else error.code
    told = {"Code": code, "Message": error.message, **error.members, "RequestId": request_id, "HostId": request_id}
    title = f"{error.status} {_TITLES.get(error.status, 'Error')}"
    text = f"<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{_items(told)}</ul>\n"
    if second is not None:
        again = {"Code": second.code, "Message": second.message, **second.members}
        text += "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n"
        text += f"<ul>\n{_items(again)}</ul>\n"
    text += "<hr/>\n</body>\n</html>\n"
    headers = [
        ("x-amz-error-code", code),
        ("x-amz-error-message", error.message.replace("\n", " ")),
        ("x-amz-request-id", request_id),
        ("Content-Type", "text/html; charset=utf-8"),
    ]
    return HttpReply(error.status, headers, text.encode())


def _items(told: Mapping[str, Any]) -> str:
    return "".join(f"<li>{escape(name)}: {escape(str(value))}</li>\n" for name, value in told.items())
