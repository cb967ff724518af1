# SPDX-License-Identifier: Apache-2.0
"""What a chamber is told: the only reader of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cloudchamber.base.errors import ChamberError

DEFAULT_PORT = 4566
DEFAULT_HTTPS_PORT = 4443
STATE_FOLDER = ".cloudchamber"
SECRET_MIN = 16
"""Characters of the secret that chambers share."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What several chambers share. URLs may hold a password, so nothing of this is ever shown or logged whole."""

    database: str = field(repr=False)
    """``postgresql://USER@HOST/NAME``"""
    blobs: str
    """``s3://BUCKET/PREFIX?endpoint=http://HOST:PORT``"""
    blobs_key: tuple[str, str] = field(repr=False)
    secret: str = field(repr=False)
    """What seals the keys that the chambers share."""
    listen: str = ""
    """An address of this machine to answer on, besides 127.0.0.1."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set. `port` and `https_port` 0 mean any free one."""

    state: Path
    port: int = DEFAULT_PORT
    https_port: int = DEFAULT_HTTPS_PORT
    account: str = "000000000000"
    region: str = "us-east-1"
    root_key: tuple[str, str] | None = None
    mode: str = ""
    """Sandbox mode to insist on; empty: the strongest that works."""
    log_level: str = "INFO"
    restore_s: float | None = None
    """How long S3 takes to restore an archived object; None: as long as AWS, which is hours."""
    new_buckets: str = "current"
    """Defaults of new buckets: ``current``, or ``legacy`` as S3 had them before April 2023."""
    encryption: str = "asked"
    """What S3 encrypts: ``all`` objects, as AWS; or, of those above 8 MiB in one request, what it is ``asked`` to."""
    cluster: Cluster | None = None
    """None: one machine, with everything in the state folder."""


def state_folder(given: str | None) -> Path:
    """The state folder: `--state`, `CLOUDCHAMBER_STATE`, or `.cloudchamber` here."""
    return Path(given or os.environ.get("CLOUDCHAMBER_STATE") or STATE_FOLDER).absolute()


def root_key(given: str | None) -> tuple[str, str] | None:
    """`--root-key` or `CLOUDCHAMBER_ROOT_KEY`, as `KEY:SECRET`.

    Raises:
        ChamberError: it is not of that form.
    """
    text = given or os.environ.get("CLOUDCHAMBER_ROOT_KEY", "")
    if not text:
        return None
    key, _, secret = text.partition(":")
    if not key or not secret:
        raise ChamberError("the root key must be KEY:SECRET", "for example --root-key test:test")
    return key, secret


def from_environment(**given: object) -> Settings:
    """Settings from the command line (`given`; None where it said nothing) over the environment."""
    told = {name: value for name, value in given.items() if value is not None}
    for name, variable, kind in (
        ("port", "CLOUDCHAMBER_PORT", int),
        ("https_port", "CLOUDCHAMBER_HTTPS_PORT", int),
        ("region", "CLOUDCHAMBER_REGION", str),
        ("mode", "CLOUDCHAMBER_SANDBOX", str),
        ("log_level", "CLOUDCHAMBER_LOG", str),
        ("new_buckets", "CLOUDCHAMBER_S3_NEW_BUCKET_DEFAULTS", str),
        ("encryption", "CLOUDCHAMBER_S3_ENCRYPTION", str),
        ("restore_s", "CLOUDCHAMBER_S3_RESTORE_SECONDS", float),
    ):
        if name not in told and os.environ.get(variable):
            try:
                told[name] = kind(os.environ[variable])
            except ValueError as error:
                raise ChamberError(f"{variable} is {os.environ[variable]!r}", f"give {kind.__name__}") from error
    if told.get("new_buckets", "current") not in ("current", "legacy"):
        raise ChamberError(f"CLOUDCHAMBER_S3_NEW_BUCKET_DEFAULTS is {told['new_buckets']!r}", "give current or legacy")
    if told.get("encryption", "asked") not in ("asked", "all"):
        raise ChamberError(f"CLOUDCHAMBER_S3_ENCRYPTION is {told['encryption']!r}", "give asked or all")
    told["cluster"] = cluster()
    return Settings(**told)  # pyright: ignore[reportArgumentType] - names and kinds are those of the class


def cluster() -> Cluster | None:
    """What this chamber shares with others; None if it shares nothing.

    Raises:
        ChamberError: something is missing, or cannot be read.
    """
    database, blobs = os.environ.get("CLOUDCHAMBER_DATABASE", ""), os.environ.get("CLOUDCHAMBER_BLOBS", "")
    listen = os.environ.get("CLOUDCHAMBER_LISTEN", "")
    if not database and not blobs:
        if listen:
            raise ChamberError("a chamber on its own answers on 127.0.0.1 only", "CLOUDCHAMBER_LISTEN is for several")
        return None
    if not database or not blobs:
        raise ChamberError(
            "chambers that share their state share both: rows and blobs",
            "give CLOUDCHAMBER_DATABASE=postgresql://... and CLOUDCHAMBER_BLOBS=s3://...",
        )
    if not database.startswith(("postgresql://", "postgres://")):
        raise ChamberError("CLOUDCHAMBER_DATABASE must be postgresql://USER@HOST/NAME")
    key, _, secret = _secret("CLOUDCHAMBER_BLOBS_KEY", "KEY:SECRET of the store of blobs").partition(":")
    if not key or not secret:
        raise ChamberError("CLOUDCHAMBER_BLOBS_KEY must be KEY:SECRET")
    sealing = _secret("CLOUDCHAMBER_CLUSTER_SECRET", "the secret that all chambers of the cluster have")
    if len(sealing) < SECRET_MIN:
        raise ChamberError(f"CLOUDCHAMBER_CLUSTER_SECRET is shorter than {SECRET_MIN} characters")
    try:
        return Cluster(database, blobs, (key, secret), sealing, str(ip_address(listen)) if listen else "")
    except ValueError as error:
        raise ChamberError(f"CLOUDCHAMBER_LISTEN is {listen!r}", "give an address of this machine") from error


def _secret(variable: str, what: str) -> str:
    """A secret from the environment, or from the file that ``<variable>_FILE`` names."""
    path = os.environ.get(f"{variable}_FILE")
    if not path:
        value = os.environ.get(variable, "")
    else:
        if not Path(path).is_absolute():
            raise ChamberError(f"{variable}_FILE is {path}", "give the whole path: a chamber runs in another folder")
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ChamberError(f"cannot read {variable}_FILE: {error}") from error
    if not value:
        raise ChamberError(f"{variable} is not given", f"{variable}_FILE names a file with {what}")
    return value


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment with `extra`, for programs that the person runs through us."""
    return {**os.environ, **extra}
