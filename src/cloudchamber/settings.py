# SPDX-License-Identifier: Apache-2.0
"""What a chamber is told: the only reader of the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cloudchamber.base.errors import ChamberError

DEFAULT_PORT = 4566
DEFAULT_HTTPS_PORT = 4443
STATE_FOLDER = ".cloudchamber"


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
    new_buckets: str = "current"
    """Defaults of new buckets: ``current``, or ``legacy`` as S3 had them before April 2023."""


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
    ):
        if name not in told and os.environ.get(variable):
            try:
                told[name] = kind(os.environ[variable])
            except ValueError as error:
                raise ChamberError(f"{variable} is {os.environ[variable]!r}", f"give {kind.__name__}") from error
    if told.get("new_buckets", "current") not in ("current", "legacy"):
        raise ChamberError(f"CLOUDCHAMBER_S3_NEW_BUCKET_DEFAULTS is {told['new_buckets']!r}", "give current or legacy")
    return Settings(**told)  # pyright: ignore[reportArgumentType] - names and kinds are those of the class


def child_environment(**extra: str) -> dict[str, str]:
    """This process's environment with `extra`, for programs that the person runs through us."""
    return {**os.environ, **extra}
