# SPDX-License-Identifier: Apache-2.0
"""Who calls: signatures of requests' heads are verified here, those of bodies while the bodies are read.

Source: "AWS Signature Version 4 for API requests"; Amazon S3 API Reference, "Authenticating requests".
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from cloudchamber.base.body import Held
from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.contract.identity import ANONYMOUS, Credential, Identities, Principal
from cloudchamber.front import words as say
from cloudchamber.front.payload import EMPTY, NO_RULE, PayloadRule, Verified
from cloudchamber.front.words import S3, Words
from cloudchamber.wire import chunked, errors, scalars, sigv2, sigv4
from cloudchamber.wire.http import HttpRequest
from cloudchamber.wire.route import Routed, bucket_of_host, host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchamber.base.body import Body

EXPIRES_MAX_S = 604_800
_NOTHING = Held(b"")
_SKEW = timedelta(seconds=say.SKEW_S)
_PAYLOADS = frozenset((sigv4.UNSIGNED, sigv4.EMPTY_SHA256, *chunked.KINDS))
_STAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
QUERY_PARAMETERS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders")
UNSIGNED_ALLOWED = frozenset(("x-amz-content-sha256",))
"""x-amz headers that need no signature: the body is compared with it anyway."""

_GLOBAL = "aws-global"
"""What SDKs call the place of endpoints without a region; no region, and S3 takes no signature for it."""
_ONE_MECHANISM = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or "
    "the Authorization header should be specified"
)
_SCOPE_FORM = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
_PARAMETERS_MISSING = (
    "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
    "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
)


class Authenticated(NamedTuple):
    """Who calls, how that was shown, and what the body has to prove while it is read."""

    principal: Principal
    region: str
    how: str
    """``header``, ``query``, or empty for an unsigned request."""
    credential: Credential | None = None
    payload: PayloadRule = NO_RULE
    algorithm: str = ""
    """``AWS4-HMAC-SHA256``, or ``AWS`` for Signature Version 2; empty for an unsigned request."""
    signed_at: datetime | None = None
    """When the signature says it was made; None where it does not say."""


def body_first(request: HttpRequest, routed: Routed) -> bool:
    """Whether the whole body must be there before the signature can be checked (every service but S3)."""
    return routed.service != "s3"


def wrap(body: Body, rule: PayloadRule) -> Body:
    """A body that checks itself against `rule` while it is iterated, and is decoded if it was chunked."""
    if body.length == 0 and (rule is NO_RULE or rule is EMPTY):
        return _NOTHING  # Why: what a GET has is proved already, and costs time to iterate over
    return body if rule is NO_RULE else Verified(body, rule)


def authenticate(
    request: HttpRequest, routed: Routed, body: bytes | None, identities: Identities, region: str, now: datetime
) -> Authenticated:
    """The caller.

    Args:
        body: all octets, where `body_first` says so; None for S3.
        region: what an unsigned request counts as.

    Raises:
        ServiceError: the signature is wrong, too old, or by a key that nobody has; in the service's own words.
    """
    words = say.BY_PROTOCOL.get(routed.protocol, say.QUERY)
    query = dict(reversed(routed.query)) if routed.query else {}
    authorization = request.headers.first.get("authorization", "")
    if query and ("X-Amz-Algorithm" in query or "X-Amz-Signature" in query or "X-Amz-Credential" in query):
        if authorization and words is S3:
            raise errors.InvalidArgument(
                _ONE_MECHANISM, ArgumentName="Authorization", ArgumentValue=authorization[:256]
            )
        return by_query(request, query, body, identities, now, words)
    if authorization.startswith(sigv4.ALGORITHM):
        return by_header(request, authorization, body, identities, now, words)
    if words is S3:
        if "AWSAccessKeyId" in query or "Signature" in query:
            return by_query_v2(request, routed, query, identities, region, now)
        if authorization.startswith("AWS "):
            return by_header_v2(request, routed, authorization, identities, region, now)
        if authorization:
            raise errors.InvalidArgument(
                "Unsupported Authorization Type", ArgumentName="Authorization", ArgumentValue=authorization[:256]
            )
        return Authenticated(ANONYMOUS, region, "", payload=unsigned_rule(request))
    if authorization:
        raise words.incomplete(f"Authorization header does not begin with {sigv4.ALGORITHM}.")
    if not wants_signature(routed):
        return Authenticated(ANONYMOUS, region, "")
    raise words.unsigned(
        "Missing Authentication Token"
        if words in (say.JSON, say.REST_JSON)
        else "Request is missing Authentication Token"
    )


def wants_signature(routed: Routed) -> bool:
    """Whether the operation may only be called with a signature (AssumeRoleWithWebIdentity needs none)."""
    if routed.model is None:
        return True
    described = routed.model.described
    return described.get("authtype") != "none" and "smithy.api#noAuth" not in described.get("auth", ())


def by_header(
    request: HttpRequest, authorization: str, body: bytes | None, identities: Identities, now: datetime, words: Words
) -> Authenticated:
    """Signature Version 4 in the Authorization header."""
    try:
        claim, signature = sigv4.split_header(authorization)
    except sigv4.RegionFormError as error:
        raise say.wrong_region(words, error) from None
    except sigv4.SignatureFormError as error:
        if words is S3:
            raise words.incomplete(f"The authorization header is malformed; {error}") from None
        raise words.incomplete(str(error)) from None
    if words is S3 and claim.region == _GLOBAL:
        raise errors.AuthorizationHeaderMalformed(
            f"The authorization header is malformed; the region '{_GLOBAL}' is wrong; expecting 'us-east-1'",
            Region="us-east-1",
        )
    timestamp, signed = signing_time(request, words)
    if not timestamp.startswith(claim.date):
        raise wrong_date(words, claim.date, timestamp)
    check_signed_headers(request, claim, words)
    if not -_SKEW <= now - signed <= _SKEW:
        raise say.skewed(words, signed, now)
    payload = payload_of(request, body, words)
    token = request.headers.first.get("x-amz-security-token", "")
    credential = credential_of(claim.access_key_id, token, identities, now, words)
    verify(request, claim, signature, timestamp, payload, credential, words)
    rule = payload_rule(request, payload, claim, signature, timestamp, credential) if words is S3 else NO_RULE
    return Authenticated(credential.principal, claim.region, "header", credential, rule, sigv4.ALGORITHM, signed)


def by_query(
    request: HttpRequest,
    query: Mapping[str, str],
    body: bytes | None,
    identities: Identities,
    now: datetime,
    words: Words,
) -> Authenticated:
    """Signature Version 4 in the query: a presigned URL."""
    malformed = errors.AuthorizationQueryParametersError if words is S3 else words.incomplete
    needed = (*QUERY_PARAMETERS, "X-Amz-Expires") if words is S3 else QUERY_PARAMETERS
    if any(not query.get(n) for n in needed):
        raise malformed(_PARAMETERS_MISSING)
    if query["X-Amz-Algorithm"] != sigv4.ALGORITHM:
        raise malformed('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
    try:
        scope = sigv4.read_scope(query["X-Amz-Credential"])
    except sigv4.SignatureFormError as error:
        told = _SCOPE_FORM if words is S3 and query["X-Amz-Credential"].count("/") < 4 else str(error)
        raise malformed(f"Error parsing the X-Amz-Credential parameter; {told}") from None
    names = sigv4.header_names(query["X-Amz-SignedHeaders"])
    claim = sigv4.Claim("query", *scope, names, query["X-Amz-Signature"])
    signed = parse_stamp(query["X-Amz-Date"])
    if signed is None:
        raise malformed("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
    if query["X-Amz-Date"][:8] != claim.date:
        raise malformed(
            f'Invalid credential date "{claim.date}". '
            f'This date is not the same as X-Amz-Date: "{query["X-Amz-Date"][:8]}".'
        )
    check_expiry(query.get("X-Amz-Expires", str(say.SKEW_S)), signed, now, malformed, words)
    check_signed_headers(request, claim, words)
    payload = hashlib.sha256(body or b"").hexdigest() if words is not S3 else sigv4.UNSIGNED
    if words is S3 and "x-amz-content-sha256" in claim.signed_headers and "x-amz-content-sha256" in request.headers:
        payload = payload_of(request, body, words)
    elif words is S3 and "X-Amz-Content-Sha256" in query:
        payload = query["X-Amz-Content-Sha256"]
    credential = credential_of(claim.access_key_id, query.get("X-Amz-Security-Token", ""), identities, now, words)
    verify(request, claim, claim.signature, query["X-Amz-Date"], payload, credential, words)
    rule = NO_RULE
    if words is S3:
        # Why: a hash that was not signed still says what the client means to send.
        signed_payload = payload != sigv4.UNSIGNED
        rule = (
            payload_rule(request, payload, claim, claim.signature, query["X-Amz-Date"], credential)
            if signed_payload
            else unsigned_rule(request)
        )
    return Authenticated(credential.principal, claim.region, "query", credential, rule, sigv4.ALGORITHM, signed)


def check_expiry(text: str, signed: datetime, now: datetime, malformed: type[ServiceError], words: Words) -> None:
    """A presigned URL is good for so many seconds from its date, and a week at most."""
    try:
        lifetime_s = scalars.integer(text)
    except ValueError:
        raise malformed("X-Amz-Expires should be a number") from None
    if lifetime_s < 0:
        raise malformed("X-Amz-Expires must be non-negative")
    if lifetime_s > EXPIRES_MAX_S:
        raise malformed(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            f"{EXPIRES_MAX_S} seconds"
        )
    until = signed + timedelta(seconds=lifetime_s)
    if now > until:
        raise say.expired(until, now, text) if words is S3 else say.skewed(words, signed, now)
    if (signed - now).total_seconds() > say.SKEW_S:
        raise AccessDenied("Request is not valid yet") if words is S3 else say.skewed(words, signed, now)


def signing_time(request: HttpRequest, words: Words) -> tuple[str, datetime]:
    """When the request says it was signed, as text for the string to sign and as a time."""
    text = request.headers.first.get("x-amz-date", "").strip()
    if text:
        signed = parse_stamp(text)
    else:
        try:
            signed = scalars.moment(request.headers.get("date"))
        except ValueError:
            signed = None
        text = say.stamp(signed) if signed is not None else ""
    if signed is None:
        if words is S3:
            raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header")
        raise words.incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    return text, signed


@lru_cache(maxsize=64)
def parse_stamp(text: str) -> datetime | None:
    """``20261123T112233Z`` as a time; many requests are of the same second."""
    # Why: strptime takes longer than checking the signature.
    if not _STAMP.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def wrong_date(words: Words, scope_date: str, timestamp: str) -> ServiceError:
    """The scope's day is not the request's."""
    if words is S3:
        return words.incomplete(
            f'The authorization header is malformed; Invalid credential date "{scope_date}". '
            f'This date is not the same as X-Amz-Date: "{timestamp[:8]}".'
        )
    return words.mismatch(
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
        f"'{scope_date}' != '{timestamp[:8]}', from '{timestamp}'."
    )


def check_signed_headers(request: HttpRequest, claim: sigv4.Claim, words: Words) -> None:
    """The host must be signed, and for S3 every x-amz header."""
    if "host" not in claim.signed_headers:
        if words is S3:
            raise AccessDenied(
                "There were headers present in the request which were not signed", HeadersNotSigned="host"
            )
        raise words.mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
    if words is not S3:
        return
    unsigned = unsigned_of(tuple(request.headers.first), claim.signed_headers)
    if unsigned:
        raise AccessDenied(
            "There were headers present in the request which were not signed", HeadersNotSigned=", ".join(unsigned)
        )


@lru_cache(maxsize=1024)
def unsigned_of(names: tuple[str, ...], signed: tuple[str, ...]) -> tuple[str, ...]:
    """Those of a request's headers that should have been signed; a client's are the same again and again."""
    return tuple(n for n in names if n.startswith("x-amz-") and n not in signed and n not in UNSIGNED_ALLOWED)


def payload_of(request: HttpRequest, body: bytes | None, words: Words) -> str:
    """The payload's hash in the canonical request: what S3's header says, what other services count."""
    if words is not S3:
        return hashlib.sha256(body or b"").hexdigest()
    sent = request.headers.first.get("x-amz-content-sha256", "")
    if not sent:
        raise errors.InvalidRequest("Missing required header for this request: x-amz-content-sha256")
    if sent not in _PAYLOADS and not is_sha256(sent):
        raise errors.InvalidArgument(
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, "
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.",
            ArgumentName="x-amz-content-sha256",
            ArgumentValue=sent[:256],
        )
    return sent


def is_sha256(text: str) -> bool:
    """64 hexadecimal digits."""
    return _SHA256.fullmatch(text) is not None


def credential_of(access_key_id: str, token: str, identities: Identities, now: datetime, words: Words) -> Credential:
    """The key's owner, or the service's own error."""
    try:
        return identities.credential(access_key_id, token, now)
    except ServiceError as error:
        raise say.not_known(words, access_key_id, error) from None


def verify(
    request: HttpRequest, claim: sigv4.Claim, given: str, timestamp: str, payload: str, credential: Credential,
    words: Words,
) -> None:  # fmt: skip
    """Compare the signatures."""
    method, path, query, headers = request[:4]
    canonical = sigv4.canonical_request(method, path, query, headers, claim, payload, s3=words is S3)
    text = sigv4.string_to_sign(claim, timestamp, canonical)
    right = sigv4.signature(claim, text, credential.secret_key)
    if not sigv4.same(right, given):
        raise say.mismatch(words, claim.signed_with(given), sigv4.Expected(right, canonical, text))


def payload_rule(
    request: HttpRequest, payload: str, claim: sigv4.Claim, signature: str, timestamp: str, credential: Credential
) -> PayloadRule:
    """What S3's body must prove."""
    if payload == sigv4.UNSIGNED:
        return NO_RULE
    if payload == sigv4.EMPTY_SHA256:
        return EMPTY
    if payload not in chunked.KINDS:
        return PayloadRule(sha256=payload.lower())
    signer = None
    if payload != chunked.UNSIGNED_TRAILER:
        states = sigv4.signing_pads(credential.secret_key, claim.date, claim.region, claim.service)
        signer = chunked.Signer(states, timestamp, claim.scope, signature)
    return chunks_rule(request, payload, signer)


def chunks_rule(request: HttpRequest, payload: str, signer: chunked.Signer | None) -> PayloadRule:
    """What an aws-chunked body must prove."""
    text = request.headers.get("x-amz-decoded-content-length")
    if not text:
        raise errors.MissingContentLength("You must provide the Content-Length HTTP header.")
    try:
        length = scalars.integer(text)
    except ValueError:
        length = -1
    if length < 0:
        raise errors.InvalidArgument(
            "x-amz-decoded-content-length must be a number", ArgumentName="x-amz-decoded-content-length"
        )
    names = frozenset(n.strip().lower() for n in request.headers.get("x-amz-trailer").split(",") if n.strip())
    return PayloadRule(length=length, signer=signer, trailers=payload != chunked.SIGNED, announced=names, chunks=True)


def unsigned_rule(request: HttpRequest) -> PayloadRule:
    """What the body of an anonymous request must prove: its chunks are decoded, a hash is still compared."""
    sent = request.headers.get("x-amz-content-sha256")
    if sent == chunked.UNSIGNED_TRAILER:
        return chunks_rule(request, sent, None)
    if sent in chunked.KINDS:
        raise errors.InvalidRequest("A body with signed chunks needs a signed request.")
    return PayloadRule(sha256=sent.lower()) if is_sha256(sent) else NO_RULE


def by_query_v2(
    request: HttpRequest, routed: Routed, query: Mapping[str, str], identities: Identities, region: str, now: datetime
) -> Authenticated:
    """Signature Version 2 in the query: what boto3 presigns by default."""
    if any(not query.get(n) for n in ("AWSAccessKeyId", "Signature", "Expires")):
        raise AccessDenied("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
    try:
        until = scalars.from_epoch(scalars.integer(query["Expires"]))
    except ValueError:
        raise AccessDenied(f"Invalid date (should be seconds since epoch): {query['Expires'][:64]}") from None
    if now > until:
        raise say.expired(until, now)
    token = query.get("x-amz-security-token", "")
    credential = credential_of(query["AWSAccessKeyId"], token, identities, now, S3)
    verify_v2(request, routed, query["Expires"], query["Signature"], credential)
    return Authenticated(credential.principal, region, "query", credential, unsigned_rule(request), sigv2.ALGORITHM)


def by_header_v2(
    request: HttpRequest, routed: Routed, authorization: str, identities: Identities, region: str, now: datetime
) -> Authenticated:
    """Signature Version 2 in the Authorization header: ``AWS key:signature``."""
    key_id, colon, signature = authorization[4:].strip().rpartition(":")
    if not colon or not key_id:
        raise errors.InvalidArgument(
            "AWS authorization header is invalid.  Expected AwsAccessKeyId:signature",
            ArgumentName="Authorization",
            ArgumentValue=authorization[:256],
        )
    headers = request.headers
    date = headers.get("x-amz-date") or headers.get("date")
    try:
        signed = scalars.moment(date)
    except ValueError:
        raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header") from None
    if abs((now - signed).total_seconds()) > say.SKEW_S:
        raise say.skewed(S3, signed, now)
    credential = credential_of(key_id, headers.get("x-amz-security-token"), identities, now, S3)
    verify_v2(request, routed, "" if "x-amz-date" in headers else date, signature, credential)
    rule = unsigned_rule(request)
    return Authenticated(credential.principal, region, "header", credential, rule, sigv2.ALGORITHM, signed)


def verify_v2(request: HttpRequest, routed: Routed, date: str, signature: str, credential: Credential) -> None:
    """Compare the signatures."""
    bucket = bucket_of_host(host_of(request), signed_for_s3=True) or ""
    path, given = request.path, (request.method, bucket)
    text = sigv2.string_to_sign(*given, path, routed.query, request.headers, date)
    right = sigv2.matches(credential.secret_key, text, signature)
    if not right and not bucket and path.count("/") == 1 and len(path) > 1:
        # Why: a bucket in the path is the same resource with and without a slash behind it; boto3 signs it with one.
        slashed = sigv2.string_to_sign(*given, f"{path}/", routed.query, request.headers, date)
        right = sigv2.matches(credential.secret_key, slashed, signature)
    if not right:
        raise errors.SignatureDoesNotMatch(
            say.MISMATCH_S3,
            AWSAccessKeyId=credential.access_key_id,
            StringToSign=text,
            SignatureProvided=signature[:128],
            StringToSignBytes=say.octets(text),
        )
