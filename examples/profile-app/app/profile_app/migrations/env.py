# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs on the connection that bootstrap.py gives it."""

from __future__ import annotations

from alembic import context
from profile_app.database import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
