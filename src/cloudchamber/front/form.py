# SPDX-License-Identifier: Apache-2.0
"""S3's POST Object: an HTML form becomes the PUT of its file, allowed by the policy that the form carries.

What follows in the pipeline sees the PUT: the same parsing, the same decision by IAM, the same operation.
Source: Amazon S3 API Reference, "POST Object" and "Authenticating requests in browser-based uploads using POST".
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urlsplit

from cloudchamber.contract.identity import ANONYMOUS
from cloudchamber.front import words as say
from cloudchamber.front.authenticate import Authenticated, credential_of, parse_stamp
from cloudchamber.front.words import S3
from cloudchamber.wire import errors, formpolicy, s3, sigv2, sigv4, xml
from cloudchamber.wire.codec import PROLOG
from cloudchamber.wire.http import Headers, HttpReply, HttpRequest
from cloudchamber.wire.model import load
from cloudchamber.wire.route import at_s3, host_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from datetime import datetime

    from cloudchamber.base.body import Body
    from cloudchamber.contract.identity import Credential, Identities
    from cloudchamber.wire.formpolicy import FormPolicy
    from cloudchamber.wire.multipart import FormDecoder
    from cloudchamber.wire.route import Routed

POST_OBJECT = "PostObject"
OVERRUN_OCTETS_MAX = 1024 * 1024
"""Octets of a file that is too long which are still read, to say how long it is."""
_OBJECT_FIELDS = frozenset(
    ("cache-control", "content-disposition", "content-encoding", "content-language", "content-type", "expires")
)
_METADATA = "x-amz-meta-"
_KEPT_HEADERS = frozenset(("host", "user-agent", "referer", "origin", "x-amzn-trace-id"))
_AUTH_V4 = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Signature")
_AUTH_V2 = ("AWSAccessKeyId", "Signature")
_STATUSES = {"200": 200, "201": 201}


class FormFile:
    """The file of a form as a `Body`; it ends well only if the form does, and the file has a size that is allowed."""

    def __init__(self, decoder: FormDecoder, first: list[bytes], rest: AsyncIterator[bytes]) -> None:
        self.policy: FormPolicy | None = None
        self.trailers: Mapping[str, str] = {}
        self._decoder = decoder
        self._first = first
        self._rest = rest

    @property
    def length(self) -> int | None:
        """A form does not say how long its file is."""
        return None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limit = self.policy.size_max if self.policy is not None else None
        size = 0
        async for part in self._parts():
            size += len(part)
            if limit is None or size <= limit:
                yield part
            elif size > limit + OVERRUN_OCTETS_MAX:
                break
        if self.policy is not None:
            self.policy.check_size(size)

    async def _parts(self) -> AsyncIterator[bytes]:
        for part in self._first:
            yield part
        async for data in self._rest:
            for part in self._decoder.feed(data):
                yield part
        self._decoder.finish()


@dataclass(frozen=True, slots=True)
class Form:
    """A form up to its file, and the PUT that it means."""

    fields: Mapping[str, str]
    """Values by names in lower case, with the file's name filled in."""
    request: HttpRequest
    routed: Routed
    file: FormFile
    base: str
    """URL of the bucket, as the client reached it."""


async def read_form(request: HttpRequest, routed: Routed, body: Body) -> Form:
    """Read the fields of a form; the file is left to whoever runs the operation.

    Raises:
        ServiceError: it is no form, has no key or no file, or its fields are too long.
    """
    from cloudchamber.wire.multipart import FormDecoder  # lazily: few requests are forms

    decoder = FormDecoder(request.headers.get("content-type"))
    rest = aiter(body)
    first: list[bytes] = []
    async for data in rest:
        first = decoder.feed(data)
        if decoder.file_began:
            break
    else:
        decoder.finish()
    fields = decoder.fields
    if not fields.get("key"):
        raise _missing("key", fields.get("key"))
    if decoder.file_name:
        name = decoder.file_name.replace("\\", "/").rpartition("/")[2]
        fields = {n: v.replace("${filename}", name) if n != "policy" else v for n, v in fields.items()}
    headers = Headers([*_headers(request, fields)])
    path = f"/{quote(routed.bucket)}/{quote(fields['key'])}"
    model = load("s3").operations["PutObject"]
    labels = {"Bucket": routed.bucket, "Key": fields["key"]}
    put = routed._replace(operation="PutObject", model=model, labels=labels, query=(), key=fields["key"])
    asked = request._replace(method="PUT", path=path, query="", headers=headers)
    file = FormFile(decoder, first, rest)
    base = f"{request.scheme}://{request.headers.get('host')}{request.path.rstrip('/')}"
    if at_s3(host_of(request), routed.bucket):  # Why: as S3, which tells the bucket's own host however it was asked
        base = f"{request.scheme}://{routed.bucket}.{request.headers.get('host')}"
    return Form(fields, asked, put, file, base)


def _headers(request: HttpRequest, fields: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The headers of the PUT: what the form says of its object, and who asks."""
    for name, value in request.headers.items:
        if name in _KEPT_HEADERS:
            yield name, value
    for name, value in fields.items():
        if name == "acl":
            yield "x-amz-acl", value
        elif name == "tagging":
            yield "x-amz-tagging", _tags(value)
        elif name in _OBJECT_FIELDS:
            yield name, _latin(value)
        elif name.startswith(_METADATA):
            yield name, _as_it_is(value)
        elif name.startswith("x-amz-") and not name.startswith(s3.FORM_AUTH):
            yield name, value


def _latin(value: str) -> str:
    """A field that becomes a header of the object: S3 gives it back in Latin-1, and a blank for what that has not
    (recorded)."""
    if value.isascii():
        return value
    octets = "".join(char if char <= "\xff" else " " for char in value).encode("latin-1")
    return octets.decode("utf-8", "surrogateescape")


def _as_it_is(value: str) -> str:
    """User metadata of a form. A header's encoded words (RFC 2047) are read, a form's are not (recorded): where it
    matters, the whole value becomes such a word."""
    if "=?" not in value and value == value.strip():
        return value
    return f"=?UTF-8?B?{b64encode(value.encode('utf-8', 'surrogateescape')).decode()}?="


def _tags(text: str) -> str:
    """A form's tags, which are XML, as the header of a PUT has them."""
    try:
        root = xml.read(text.encode())
    except ValueError:
        raise errors.MalformedXML(s3.MALFORMED) from None
    rows = [tag for group in root.children if group.tag == "TagSet" for tag in group.children if tag.tag == "Tag"]
    pairs = [{part.tag: part.text for part in row.children} for row in rows]
    return urlencode([(pair.get("Key", ""), pair.get("Value", "")) for pair in pairs])


def by_form(form: Form, identities: Identities, region: str, now: datetime) -> Authenticated:
    """Who signed the form's policy; the form is then compared with it. A form without a signature is anonymous.

    Raises:
        ServiceError: as S3 words it.
    """
    fields = form.fields
    newer = any(name.lower() in fields for name in _AUTH_V4)
    older = any(name.lower() in fields for name in _AUTH_V2)
    if not newer and not older:
        return Authenticated(ANONYMOUS, region, "")
    needed = _AUTH_V4 if newer else _AUTH_V2
    for name in (*needed, "Policy"):
        if not fields.get(name.lower()):
            raise _missing(name, fields.get(name.lower()))
    if newer:
        found, region = _signer_v4(fields, identities, now)
    else:
        found = _signer_v2(fields, identities, now)
    policy = formpolicy.read(fields["policy"])
    policy.check({**fields, "bucket": form.routed.bucket}, now)
    form.file.policy = policy
    algorithm, signed = (sigv4.ALGORITHM, parse_stamp(fields["x-amz-date"])) if newer else (sigv2.ALGORITHM, None)
    return Authenticated(found.principal, region, "form", found, algorithm=algorithm, signed_at=signed)


def _signer_v4(fields: Mapping[str, str], identities: Identities, now: datetime) -> tuple[Credential, str]:
    if fields["x-amz-algorithm"] != sigv4.ALGORITHM:
        raise errors.InvalidArgument(
            f'X-Amz-Algorithm only supports "{sigv4.ALGORITHM}"',
            ArgumentName="X-Amz-Algorithm",
            ArgumentValue=fields["x-amz-algorithm"][:256],
        )
    credential, signature = fields["x-amz-credential"], fields["x-amz-signature"]
    try:
        key_id, date, region, service = sigv4.read_scope(credential)
        stamp = fields["x-amz-date"]
        if parse_stamp(stamp) is None or stamp[:8] != date or service != "s3":
            raise sigv4.SignatureFormError(
                f'Invalid credential "{credential[:128]}" for the date "{stamp[:32]}" and the service "s3"'
            )
    except sigv4.SignatureFormError as error:
        raise errors.AuthorizationQueryParametersError(
            f"Error parsing the X-Amz-Credential parameter; {error}"
        ) from None
    found = credential_of(key_id, fields.get("x-amz-security-token", ""), identities, now, S3)
    if not sigv4.policy_matches(found.secret_key, fields["policy"], credential, signature):
        raise _mismatch(found, fields["policy"], signature)
    return found, region


def _signer_v2(fields: Mapping[str, str], identities: Identities, now: datetime) -> Credential:
    found = credential_of(fields["awsaccesskeyid"], fields.get("x-amz-security-token", ""), identities, now, S3)
    if not sigv2.policy_matches(found.secret_key, fields):
        raise _mismatch(found, fields["policy"], fields["signature"])
    return found


def _mismatch(credential: Credential, policy: str, signature: str) -> errors.SignatureDoesNotMatch:
    return errors.SignatureDoesNotMatch(
        say.MISMATCH_S3,
        AWSAccessKeyId=credential.access_key_id,
        StringToSign=policy,
        SignatureProvided=signature[:128],
        StringToSignBytes=say.octets(policy),
    )


def _missing(name: str, value: str | None) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the fields.",
        ArgumentName=name,
        ArgumentValue=value or "",
    )


def answer(form: Form, reply: HttpReply) -> HttpReply:
    """The reply of the PUT as the form wants it: a redirection, a status, or a document."""
    etag = next((v for n, v in reply.headers if n.lower() == "etag"), "")
    bucket, key = form.routed.bucket, form.routed.key
    target = form.fields.get("success_action_redirect") or form.fields.get("redirect", "")
    if _is_url(target):
        told = urlencode({"bucket": bucket, "key": key, "etag": etag}, quote_via=quote)
        reply.status = 303
        reply.headers.append(("Location", f"{target}{'&' if '?' in target else '?'}{told}"))
        return reply
    location = f"{form.base}/{quote(key, safe='')}"
    reply.headers.append(("Location", location))
    reply.status = _STATUSES.get(form.fields.get("success_action_status", ""), 204)
    if reply.status == 201:
        rows = {"Location": location, "Bucket": bucket, "Key": key, "ETag": etag}
        inner = "".join(f"<{n}>{xml.escape(v)}</{n}>" for n, v in rows.items())
        reply.body = f"{PROLOG}<PostResponse>{inner}</PostResponse>".encode()
        reply.headers.append(("Content-Type", "application/xml"))
    return reply


def _is_url(text: str) -> bool:
    """Whether a browser can be sent there; what is no absolute URL is taken as if it were absent."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and text.isascii() and text.isprintable()
