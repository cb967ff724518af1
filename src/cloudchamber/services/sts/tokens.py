# SPDX-License-Identifier: Apache-2.0
"""Web identity tokens: what a JWT claims, and whether the issuer's key says so.

Source: IAM User Guide, "OIDC federation", "Available keys for AWS OIDC federation", "Pass session tags in AWS STS";
OpenID Connect Core 1.0, "ID Token"; RFC 7515, RFC 7517, RFC 7519.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from cloudchamber.services.sts.errors import ExpiredTokenException, IDPRejectedClaim, InvalidIdentityToken

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
KEYS_MAX = 100
_SKEW_S = 300
_TAGS = "https://aws.amazon.com/tags"
_SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
_NO_JWT = "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
_FURTHER: Mapping[str, tuple[str, ...]] = {
    "token.actions.githubusercontent.com": (
        "actor", "actor_id", "enterprise_id", "environment", "job_workflow_ref", "ref", "repository",
        "repository_id", "workflow",
    ),
}  # fmt: skip
"""Claims that AWS makes condition keys of for some providers only."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that nobody has vouched for yet."""

    text: str
    issuer: str
    """As the token has it, ``https://`` in front."""
    key_id: str

    @property
    def name(self) -> str:
        """The issuer as provider ARNs and condition keys have it."""
        return self.issuer.removeprefix("https://")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    subject: str
    audience: str
    keys: Mapping[str, tuple[str, ...]]
    """Condition keys: ``<issuer>:sub`` ..."""
    tags: tuple[Mapping[str, str], ...]
    transitive: tuple[str, ...]
    source_identity: str


def read(text: str) -> Unverified:
    """A token's issuer and key, before anything is believed.

    Raises:
        InvalidIdentityToken: it is no JWT, or names no issuer.
    """
    import jwt

    try:
        header = jwt.get_unverified_header(text)
        body: Mapping[str, Any] = jwt.decode(text, options={"verify_signature": False})
    except (jwt.InvalidTokenError, ValueError, RecursionError):
        raise InvalidIdentityToken(_NO_JWT) from None
    if header.get("alg") not in ALGORITHMS:
        raise InvalidIdentityToken(f"Unsupported signature algorithm: {header.get('alg')}")
    issuer, key_id = body.get("iss"), header.get("kid", "")
    if not isinstance(issuer, str) or not issuer:
        raise InvalidIdentityToken("Missing a required claim: iss")
    return Unverified(text, issuer, key_id if isinstance(key_id, str) else "")


def verify(token: Unverified, jwks: Mapping[str, Any], client_ids: tuple[str, ...], now: datetime) -> Claims:
    """What a token says, once the issuer's key, the audience and the clock have been asked.

    Raises:
        InvalidIdentityToken: no key of the issuer's signed it, or a claim is missing or not for us.
        ExpiredTokenException: it is over.
    """
    body = _signed(token, jwks)
    for name in ("sub", "aud", "exp", "iat"):
        if name not in body:
            raise InvalidIdentityToken(f"Missing a required claim: {name}")
    _in_time(body, now)
    listed = _strings(body["aud"])
    party = body.get("azp")
    audience = party if isinstance(party, str) and party else next((one for one in listed if one in client_ids), "")
    if audience not in client_ids:
        raise InvalidIdentityToken("Incorrect token audience")
    subject = body["sub"]
    if not isinstance(subject, str) or not subject:
        raise InvalidIdentityToken("Missing a required claim: sub")
    keys: dict[str, tuple[str, ...]] = {f"{token.name}:sub": (subject,), f"{token.name}:aud": (audience,)}
    if isinstance(party, str) and party and listed:
        keys[f"{token.name}:oaud"] = listed
    for name in ("amr", *_FURTHER.get(token.name, ())):
        values = _strings(body.get(name))
        if values:
            keys[f"{token.name}:{name}"] = values
    tags, transitive = _session_tags(body.get(_TAGS))
    source = body.get(_SOURCE_IDENTITY, "")
    if not isinstance(source, str):
        raise IDPRejectedClaim("The source identity claim is no string.")
    return Claims(subject, audience, keys, tags, transitive, source)


def _signed(token: Unverified, jwks: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims, if a key of the issuer's signed them."""
    import jwt

    listed = jwks.get("keys")
    several = cast("list[object]", listed) if isinstance(listed, list) else []
    keys = [cast("dict[str, Any]", one) for one in several[:KEYS_MAX] if isinstance(one, dict)]
    named = [one for one in keys if not token.key_id or one.get("kid") in (token.key_id, None)]
    algorithm = jwt.get_unverified_header(token.text)["alg"]
    tried = 0
    for one in named:
        try:
            key = jwt.PyJWK(one, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue  # Why: a set may hold keys of kinds that sign no such token
        # Why: what a key is, not what the token claims, says which algorithms it may be used with
        if one.get("kty") != {"R": "RSA", "E": "EC"}[algorithm[0]] or one.get("use", "sig") != "sig":
            continue
        tried += 1
        try:
            return jwt.decode(
                token.text, key, algorithms=[algorithm],
                options={"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                         "verify_iss": False, "verify_sub": False, "verify_jti": False},
            )  # fmt: skip
        except jwt.InvalidTokenError:
            continue
    if not tried:
        raise InvalidIdentityToken(
            "Couldn't retrieve verification key from your identity provider,  please reference "
            "AssumeRoleWithWebIdentity documentation for requirements"
        )
    raise InvalidIdentityToken("The ID Token signature is invalid")


def _in_time(body: Mapping[str, Any], now: datetime) -> None:
    seconds = now.timestamp()
    times = {name: body[name] for name in ("exp", "iat", "nbf") if name in body}
    for name, value in times.items():
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise InvalidIdentityToken(f"The claim {name} is no time.")
    if times["exp"] <= seconds:
        raise ExpiredTokenException(
            f"Token expired: current date/time {int(seconds)} must be before the expiration date/time "
            f"{int(times['exp'])}"
        )
    if max(times["iat"], times.get("nbf", 0)) > seconds + _SKEW_S:
        raise InvalidIdentityToken("The ID Token is not valid yet")


def _session_tags(source: object) -> tuple[tuple[Mapping[str, str], ...], tuple[str, ...]]:
    """Session tags in a token: ``{"principal_tags": {"Key": ["value"]}, "transitive_tag_keys": ["Key"]}``."""
    if source is None:
        return (), ()
    given = cast("dict[str, Any]", source) if isinstance(source, dict) else {}
    principal = given.get("principal_tags", {})
    transitive = _strings(given.get("transitive_tag_keys", []))
    if not given or not isinstance(principal, dict):
        raise IDPRejectedClaim("The session tags in the token are not of the form that AWS STS takes.")
    found: list[Mapping[str, str]] = []
    for key, values in cast("dict[str, object]", principal).items():
        value = _strings(values)
        if len(value) != 1 or not 0 < len(key) <= 128 or len(value[0]) > 256:
            raise IDPRejectedClaim(f"The session tag {key[:128]} in the token is not a key with one value.")
        found.append({"Key": key, "Value": value[0]})
    return tuple(found), transitive


def _strings(value: object) -> tuple[str, ...]:
    """A claim's values: one, or a list."""
    if isinstance(value, list):
        return tuple(one for one in cast("list[object]", value) if isinstance(one, str))
    return (value,) if isinstance(value, str) else ()
