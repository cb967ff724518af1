# SPDX-License-Identifier: Apache-2.0
"""What is made inside a new cluster: the master user and the first database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchamber.services.rds.control import literal, name

if TYPE_CHECKING:
    from cloudchamber.services.rds.engine import Engine
    from cloudchamber.services.rds.tables import Instance


async def build(engine: Engine, row: Instance) -> None:
    """Make the master user and the database; what is there already stays.

    The master user is no superuser but a member of ``rds_superuser``, as on RDS.
    """
    control = await engine.control(row.resource_id)
    try:
        user = name(row.master)
        if not await control.query(f"SELECT 1 FROM pg_roles WHERE rolname = {literal(row.master)}"):
            await control.query(
                f"CREATE ROLE {user} LOGIN CREATEDB CREATEROLE PASSWORD {literal(row.verifier)}; "
                f"GRANT rds_superuser TO {user} WITH ADMIN OPTION"
            )
        await control.query(f"ALTER DATABASE postgres OWNER TO {user}")
        if row.database and not await control.query(
            f"SELECT 1 FROM pg_database WHERE datname = {literal(row.database)}"
        ):
            await control.query(f"CREATE DATABASE {name(row.database)} OWNER {user}")
    finally:
        await control.close()


async def set_password(engine: Engine, row: Instance, verifier: str) -> None:
    """Give the master user another password."""
    control = await engine.control(row.resource_id)
    try:
        await control.query(f"ALTER ROLE {name(row.master)} PASSWORD {literal(verifier)}")
    finally:
        await control.close()
