# SPDX-License-Identifier: Apache-2.0
"""What each service says when it does not know who calls. Source: "Common Errors" of each API reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cloudchamber.base.errors import AccessDenied, ServiceError
from cloudchamber.wire import errors
from cloudchamber.wire.sigv4 import Claim, Expected, RegionFormError

MISMATCH_S3 = (
    "The request signature we calculated does not match the signature you provided. Check your key and signing method."
)
MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
SKEW_S = 900
S3_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class Words:
    """The error classes of one family of services."""

    mismatch: type[ServiceError]
    unknown_key: type[ServiceError]
    expired_token: type[ServiceError]
    bad_token: type[ServiceError]
    incomplete: type[ServiceError]
    unsigned: type[ServiceError]


S3 = Words(
    errors.SignatureDoesNotMatch,
    errors.InvalidAccessKeyId,
    errors.S3ExpiredToken,
    errors.InvalidToken,
    errors.AuthorizationHeaderMalformed,
    AccessDenied,
)
QUERY = Words(
    errors.SignatureDoesNotMatch,
    errors.InvalidClientTokenId,
    errors.ExpiredToken,
    errors.InvalidClientTokenId,
    errors.IncompleteSignature,
    errors.MissingAuthenticationToken,
)
EC2 = Words(
    errors.SignatureDoesNotMatch,
    errors.AuthFailure,
    errors.RequestExpired,
    errors.AuthFailure,
    errors.IncompleteSignature,
    errors.MissingAuthenticationToken,
)
JSON = Words(
    errors.JsonInvalidSignatureException,
    errors.JsonUnrecognizedClientException,
    errors.JsonExpiredTokenException,
    errors.JsonUnrecognizedClientException,
    errors.IncompleteSignatureException,
    errors.JsonMissingAuthenticationTokenException,
)
REST_JSON = Words(
    errors.InvalidSignatureException,
    errors.UnrecognizedClientException,
    errors.ExpiredTokenException,
    errors.UnrecognizedClientException,
    errors.IncompleteSignatureException,
    errors.MissingAuthenticationTokenException,
)
UNKNOWN_KEY: dict[type[ServiceError], str] = {
    errors.InvalidAccessKeyId: "The AWS Access Key Id you provided does not exist in our records.",
    errors.InvalidClientTokenId: "The security token included in the request is invalid.",
    errors.JsonUnrecognizedClientException: "The security token included in the request is invalid.",
    errors.UnrecognizedClientException: "The security token included in the request is invalid.",
    errors.AuthFailure: "AWS was not able to validate the provided access credentials",
}
EXPIRED: dict[type[ServiceError], str] = {
    errors.S3ExpiredToken: "The provided token has expired.",
    errors.ExpiredToken: "The security token included in the request is expired",
    errors.JsonExpiredTokenException: "The security token included in the request is expired",
    errors.ExpiredTokenException: "The security token included in the request is expired",
    errors.RequestExpired: "Request has expired.",
}
BAD_TOKEN = "The provided token is malformed or otherwise invalid."
BY_PROTOCOL = {"rest-xml": S3, "query": QUERY, "ec2": EC2, "json": JSON, "rest-json": REST_JSON}


def mismatch(words: Words, claim: Claim, expected: Expected) -> ServiceError:
    """The signature is wrong: says what was signed here, so that the client's own text can be compared."""
    if words is S3:
        return words.mismatch(
            MISMATCH_S3,
            AWSAccessKeyId=claim.access_key_id,
            StringToSign=expected.string_to_sign,
            SignatureProvided=claim.signature[:128],
            StringToSignBytes=octets(expected.string_to_sign),
            CanonicalRequest=expected.canonical,
            CanonicalRequestBytes=octets(expected.canonical),
        )
    return words.mismatch(
        f"{MISMATCH}\n\nThe Canonical String for this request should have been\n'{expected.canonical}'\n\n"
        f"The String-to-Sign should have been\n'{expected.string_to_sign}'\n"
    )


def wrong_region(words: Words, error: RegionFormError) -> ServiceError:
    """The credential is scoped to no region; S3 names one that will do, and clients go on with it."""
    if words is not S3:
        return words.incomplete(str(error))
    return words.incomplete(
        f"The authorization header is malformed; the region '{error.region}' is wrong; expecting '{S3_REGION}'",
        Region=S3_REGION,
    )


def octets(text: str) -> str:
    """Octets in hex, as S3 shows them."""
    return text.encode("utf-8", "surrogateescape").hex(" ")


def not_known(words: Words, access_key_id: str, error: ServiceError) -> ServiceError:
    """The family's own error for what the identities said of an access key."""
    if error.code.startswith(("ExpiredToken", "RequestExpired")):
        return words.expired_token(EXPIRED[words.expired_token])
    if error.code == "InvalidToken":
        return words.bad_token(BAD_TOKEN if words is S3 else UNKNOWN_KEY[words.unknown_key])
    if error.code not in ("InvalidClientTokenId", "InvalidAccessKeyId", "UnrecognizedClientException", "AuthFailure"):
        return error
    text = UNKNOWN_KEY[words.unknown_key]
    return words.unknown_key(text, AWSAccessKeyId=access_key_id[:128]) if words is S3 else words.unknown_key(text)


def skewed(words: Words, signed: datetime, now: datetime) -> ServiceError:
    """The request's time is too far from ours."""
    if words is S3:
        return errors.RequestTimeTooSkewed(
            "The difference between the request time and the current time is too large.",
            RequestTime=stamp(signed),
            ServerTime=seconds(now),
            MaxAllowedSkewMilliseconds=str(SKEW_S * 1000),
        )
    edge = stamp_of(now, -SKEW_S if signed < now else SKEW_S)
    sign = "-" if signed < now else "+"
    verdict = "expired" if signed < now else "not yet current"
    relation = "earlier" if signed < now else "later"
    adverb = "now" if signed < now else "still"
    return words.mismatch(
        f"Signature {verdict}: {stamp(signed)} is {adverb} {relation} than {edge} ({stamp(now)} {sign} 15 min.)"
    )


def stamp(moment: datetime) -> str:
    """``20261123T112233Z``."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


def stamp_of(moment: datetime, shift_s: int) -> str:
    """A time moved by seconds, as `stamp`."""
    return stamp(datetime.fromtimestamp(moment.timestamp() + shift_s, moment.tzinfo))


def expired(request_expires: datetime, now: datetime, expires_s: str = "") -> ServiceError:
    """A presigned URL's time is over."""
    members = {"X-Amz-Expires": expires_s} if expires_s else {}
    members |= {"Expires": seconds(request_expires), "ServerTime": seconds(now)}
    return AccessDenied("Request has expired", headers=None, **members)


def seconds(moment: datetime) -> str:
    """``2026-11-23T11:22:33Z``."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
