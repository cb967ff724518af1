# SPDX-License-Identifier: Apache-2.0
"""What the app is told by its environment. There is no key and no password among it: the instance's role is enough."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Names and addresses of the other pieces."""

    region: str
    files_bucket: str
    database_host: str
    database_port: int
    database_name: str
    database_user: str
    database_master_secret: str
    """ARN of the secret with the master user's password; read once, to make the app's own database user."""
    database_tls: str
    """`sslmode` of libpq; `verify-full` needs the RDS CA bundle at PGSSLROOTCERT."""
    thumbnails: bool
    port: int


def from_environment() -> Settings:
    """Read the environment; a missing name ends the app with a message that names it."""
    env = os.environ
    try:
        return Settings(
            region=env["AWS_REGION"],
            files_bucket=env["FILES_BUCKET"],
            database_host=env["DATABASE_HOST"],
            database_port=int(env.get("DATABASE_PORT", "5432")),
            database_name=env["DATABASE_NAME"],
            database_user=env["DATABASE_USER"],
            database_master_secret=env.get("DATABASE_MASTER_SECRET", ""),
            database_tls=env.get("DATABASE_TLS", "verify-full"),
            thumbnails=env.get("THUMBNAILS", "on") == "on",
            port=int(env.get("PORT", "80")),
        )
    except KeyError as missing:
        raise SystemExit(f"the environment variable {missing} is not set") from None
