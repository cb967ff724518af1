# SPDX-License-Identifier: Apache-2.0
"""Before the app serves: the database user exists, and the tables are up to date.

The master user's password lies in Secrets Manager, where RDS rotates it. It is read here once, by the instance's role,
to make a user without any password: `rds_iam` lets that user in by the role's token only.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from profile_app.settings import Settings

LOCK = 711_431_003
"""One number for the advisory lock, so that instances that start together do this one after the other."""
WAIT_S = 120

log = logging.getLogger(__name__)


def prepare(engine: Engine, settings: Settings) -> None:
    """Make the database user if it cannot sign in yet, then bring the tables up to date."""
    if not _can_sign_in(engine):
        _make_user(settings)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    log.info("the tables are up to date")


def _can_sign_in(engine: Engine) -> bool:
    try:
        with engine.connect():
            return True
    except OperationalError as error:
        log.info("no way in by token yet: %s", str(error.orig).strip().splitlines()[-1])
        return False


def _make_user(settings: Settings) -> None:
    secrets = boto3.client("secretsmanager", region_name=settings.region)
    found = json.loads(secrets.get_secret_value(SecretId=settings.database_master_secret)["SecretString"])
    user, database = sql.Identifier(settings.database_user), sql.Identifier(settings.database_name)
    with _connect(settings, found["username"], found["password"]) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (settings.database_user,)).fetchone()
        if not known:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
            log.info("made the database user %s", settings.database_user)
        connection.execute(sql.SQL("GRANT rds_iam TO {}").format(user))
        connection.execute(sql.SQL("GRANT CONNECT, CREATE ON DATABASE {} TO {}").format(database, user))
        connection.execute(sql.SQL("GRANT CREATE, USAGE ON SCHEMA public TO {}").format(user))


def _connect(settings: Settings, user: str, password: str) -> psycopg.Connection:
    """Connect as the master user; a new database may need a moment."""
    ends = time.monotonic() + WAIT_S
    while True:
        try:
            return psycopg.connect(
                host=settings.database_host,
                port=settings.database_port,
                dbname=settings.database_name,
                user=user,
                password=password,
                sslmode=settings.database_tls,
                connect_timeout=10,
            )
        except psycopg.OperationalError as error:
            if time.monotonic() > ends:
                raise
            log.info("the database is not ready: %s", str(error).strip().splitlines()[-1])
            time.sleep(1)
