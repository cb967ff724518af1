# SPDX-License-Identifier: Apache-2.0
"""AssumeRoleWithWebIdentity: only a token that the provider's key signed, for us, now, that the trust policy wants."""

from __future__ import annotations

import base64
import hmac
import json
import ssl
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID
from tests.services.sts.helpers import ACCOUNT, allow, refused, role, session, trust

ACTION = "sts:AssumeRoleWithWebIdentity"
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


def jwk(key, number: str) -> dict:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**json.loads(kind.to_jwk(key.public_key())), "kid": number, "use": "sig"}


class Provider:
    """An issuer whose keys the chamber keeps, and the IAM provider that trusts it."""

    def __init__(self, chamber, folder) -> None:
        self.host = f"idp-{uuid.uuid4().hex[:10]}.example.com"
        file = folder / "jwks.json"
        file.write_text(json.dumps({"keys": [jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec")]}))
        chamber.cli("oidc", "add", f"https://{self.host}", "--jwks", str(file))
        self.arn = chamber.client("iam").create_open_id_connect_provider(
            Url=f"https://{self.host}", ClientIDList=["app"], ThumbprintList=["a" * 40]
        )["OpenIDConnectProviderArn"]

    def token(self, key=RSA_KEY, number: str = "rsa", algorithm: str = "RS256", **claims) -> str:
        now = int(time.time())
        body = {"iss": f"https://{self.host}", "sub": "anna", "aud": "app", "iat": now, "exp": now + 600, **claims}
        body = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(body, key, algorithm=algorithm, headers={"kid": number})


@pytest.fixture(scope="module")
def provider(chamber, tmp_path_factory):
    return Provider(chamber, tmp_path_factory.mktemp("idp"))


@pytest.fixture
def name() -> str:
    return f"web-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def sts(chamber):
    return chamber.client("sts", config=Config(signature_version=UNSIGNED))


def trusting(provider, action=ACTION, **condition) -> str:
    return trust({"Federated": provider.arn}, action, **condition)


def test_a_token_opens_the_role_that_trusts_its_provider(chamber, provider, sts, name):
    keys = {"StringEquals": {f"{provider.host}:aud": "app", f"{provider.host}:sub": "anna"}}
    mine = {"StringEquals": {"aws:FederatedProvider": provider.arn, f"{provider.host}:sub": "anna"}}
    arn = role(chamber, name, trusting(provider, **keys), allow("s3:ListAllMyBuckets", Condition=mine))
    ask = {"RoleArn": arn, "RoleSessionName": "one"}
    answer = sts.assume_role_with_web_identity(**ask, WebIdentityToken=provider.token())
    assert answer["SubjectFromWebIdentityToken"] == "anna" and answer["Audience"] == "app"
    assert answer["Provider"] == provider.arn
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/one"
    session(chamber, answer["Credentials"], "s3").list_buckets()
    token = provider.token(EC_KEY, "ec", "ES256")
    sts.assume_role_with_web_identity(**ask, WebIdentityToken=token)
    message = refused(
        "AccessDenied", sts.assume_role_with_web_identity, **ask, WebIdentityToken=provider.token(sub="eve")
    )
    assert message == f"Not authorized to perform {ACTION}"
    gone = {**ask, "RoleArn": f"{arn}-gone"}
    refused("AccessDenied", sts.assume_role_with_web_identity, **gone, WebIdentityToken=provider.token())


def test_a_role_that_does_not_trust_the_provider_stays_shut(chamber, provider, sts, name):
    for number, trusted in enumerate((trust(), trust("*"), trust({"Federated": f"{provider.arn}-other"}, ACTION))):
        arn = role(chamber, f"{name}-{number}", trusted)
        ask = {"RoleArn": arn, "RoleSessionName": "one", "WebIdentityToken": provider.token()}
        refused("AccessDenied", sts.assume_role_with_web_identity, **ask)


def test_tokens_that_prove_nothing_are_refused(chamber, provider, sts, name):
    arn = role(chamber, name, trusting(provider), MaxSessionDuration=3600)
    now = int(time.time())

    def no(code: str, token: str, **more) -> str:
        ask = {"RoleArn": arn, "RoleSessionName": "one", "WebIdentityToken": token, **more}
        return refused(code, sts.assume_role_with_web_identity, **ask)

    good = provider.token()
    assert "not a valid JWT" in no("InvalidIdentityToken", "none.of.this")
    assert "Token expired" in no("ExpiredTokenException", provider.token(exp=now - 1))
    no("InvalidIdentityToken", provider.token(iat=now + 3600, exp=now + 7200))
    no("InvalidIdentityToken", provider.token(nbf=now + 3600, exp=now + 7200))
    assert no("InvalidIdentityToken", provider.token(aud="other")) == "Incorrect token audience"
    no("InvalidIdentityToken", provider.token(azp="other"))
    for claim in ("sub", "aud", "exp", "iat", "iss"):
        assert no("InvalidIdentityToken", provider.token(**{claim: None})) == f"Missing a required claim: {claim}"
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    no("InvalidIdentityToken", provider.token(other))
    no("InvalidIdentityToken", provider.token(number="unknown"))
    head, body, mark = good.split(".")
    no("InvalidIdentityToken", f"{head}.{body}.{mark[:-8]}AAAAAAAA")
    no("InvalidIdentityToken", f"{head}.{body}.")
    none = jwt.encode(jwt.decode(good, options={"verify_signature": False}), None, algorithm="none")
    no("InvalidIdentityToken", none)
    public = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = ".".join((base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"rsa"}').decode().rstrip("="), body))
    mark = base64.urlsafe_b64encode(hmac.digest(public, signed.encode(), "sha256")).decode().rstrip("=")
    secret = f"{signed}.{mark}"
    no("InvalidIdentityToken", secret)
    message = no("InvalidIdentityToken", provider.token(iss="https://nobody.example.com"))
    assert message == "No OpenIDConnect provider found in your account for https://nobody.example.com"
    no("ValidationError", good, DurationSeconds=3601)
    no("ValidationError", good, ProviderId="www.amazon.com")


def test_an_issuer_that_cannot_be_reached_is_said(chamber, provider, sts, name):
    url = f"https://{name}.invalid"
    iam = chamber.client("iam")
    iam.create_open_id_connect_provider(Url=url, ClientIDList=["app"], ThumbprintList=["a" * 40])
    arn = role(chamber, name, trusting(provider))
    ask = {"RoleArn": arn, "RoleSessionName": "one", "WebIdentityToken": provider.token(iss=url)}
    refused("IDPCommunicationError", sts.assume_role_with_web_identity, **ask)


def test_a_token_brings_tags_and_a_source_identity(chamber, provider, sts, name):
    claims = {
        "https://aws.amazon.com/tags": {"principal_tags": {"team": ["red"]}, "transitive_tag_keys": ["team"]},
        "https://aws.amazon.com/source_identity": "anna-o",
    }
    every = [ACTION, "sts:TagSession", "sts:SetSourceIdentity"]
    is_red = {"StringEquals": {"aws:PrincipalTag/team": "red", "aws:SourceIdentity": "anna-o"}}
    arn = role(
        chamber, name, trusting(provider, every, StringEquals={"aws:RequestTag/team": "red"}),
        allow("s3:ListAllMyBuckets", Condition=is_red), allow("sts:*"),
    )  # fmt: skip
    ask = {"RoleArn": arn, "RoleSessionName": "one"}
    answer = sts.assume_role_with_web_identity(**ask, WebIdentityToken=provider.token(**claims))
    assert answer["SourceIdentity"] == "anna-o" and answer["PackedPolicySize"] > 0
    session(chamber, answer["Credentials"], "s3").list_buckets()
    again = session(chamber, answer["Credentials"], "sts")
    next_one = {"RoleArn": role(chamber, f"{name}-3", trust(action="sts:*")), "RoleSessionName": "two"}
    again.assume_role(**next_one)
    message = refused("InvalidParameterValue", again.assume_role, **next_one, Tags=[{"Key": "team", "Value": "blue"}])
    assert "transitive" in message
    plain = role(chamber, f"{name}-2", trusting(provider))
    tagged = {"RoleArn": plain, "RoleSessionName": "one", "WebIdentityToken": provider.token(**claims)}
    assert "sts:TagSession" in refused("AccessDenied", sts.assume_role_with_web_identity, **tagged)
    wrong = provider.token(**{"https://aws.amazon.com/tags": {"principal_tags": {"team": ["a", "b"]}}})
    refused("IDPRejectedClaim", sts.assume_role_with_web_identity, **{**ask, "WebIdentityToken": wrong})


def test_keys_are_checked_before_they_are_kept(chamber, tmp_path):
    file = tmp_path / "jwks.json"
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA_KEY))
    for keys in ([], [{"kty": "oct", "k": "AAAA"}], [private], "none"):
        file.write_text(json.dumps({"keys": keys}))
        done = chamber.cli("oidc", "add", "https://x.example.com", "--jwks", str(file), check=False)
        assert done.returncode == 1 and "InvalidInput" in done.stderr


class Issuer:
    """An issuer that answers over HTTPS on this machine, with a certificate of its own."""

    def __init__(self, folder) -> None:
        self.keys: list[dict] = []
        self.asked: list[str] = []
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.now(UTC)
        made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(9))
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = folder / "issuer.pem"
        self.certificate.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        secret = folder / "issuer.key"
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        issuer = self

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                where = f"https://localhost:{issuer.port}/keys"
                body = {"jwks_uri": where} if self.path.endswith("openid-configuration") else {"keys": issuer.keys}
                text = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, secret)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def test_keys_are_fetched_from_the_issuer_over_https(tmp_path, monkeypatch, name):
    from tests.conftest import end_chamber, new_chamber

    issuer = Issuer(tmp_path)
    issuer.keys = [jwk(RSA_KEY, "rsa")]
    monkeypatch.setenv("SSL_CERT_FILE", str(issuer.certificate))
    chamber = new_chamber()
    chamber.start()
    try:
        host = f"localhost:{issuer.port}"
        arn = chamber.client("iam").create_open_id_connect_provider(
            Url=f"https://{host}", ClientIDList=["app"], ThumbprintList=["a" * 40]
        )["OpenIDConnectProviderArn"]
        trusted = trust({"Federated": arn}, ACTION, StringEquals={f"{host}:sub": "anna"})
        ask = {"RoleArn": role(chamber, name, trusted), "RoleSessionName": "one"}
        sts = chamber.client("sts", config=Config(signature_version=UNSIGNED))
        now = int(time.time())
        body = {"iss": f"https://{host}", "sub": "anna", "aud": "app", "iat": now, "exp": now + 600}
        token = jwt.encode(body, RSA_KEY, algorithm="RS256", headers={"kid": "rsa"})
        for _ in range(2):
            sts.assume_role_with_web_identity(**ask, WebIdentityToken=token)
        assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]
        stranger = jwt.encode(body, EC_KEY, algorithm="ES256", headers={"kid": "ec"})
        refused("InvalidIdentityToken", sts.assume_role_with_web_identity, **ask, WebIdentityToken=stranger)
        assert len(issuer.asked) == 2
    finally:
        end_chamber(chamber)
        issuer.server.shutdown()
        issuer.server.server_close()
