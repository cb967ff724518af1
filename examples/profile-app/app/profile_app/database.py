# SPDX-License-Identifier: Apache-2.0
"""The database: tables, and a way in by the role's token instead of a password."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import boto3
from sqlalchemy import ForeignKey, String, Text, create_engine, event, func
from sqlalchemy.engine import URL
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from profile_app.tracing import trace_engine

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from profile_app.settings import Settings


class Base(DeclarativeBase):
    """All tables."""


class User(Base):
    """A member. `avatar_key` points to the picture in S3; the picture itself is never in the database."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), unique=True)
    password_hash: Mapped[str] = mapped_column(String(200))
    avatar_key: Mapped[str | None] = mapped_column(String(200))
    avatar_etag: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    posts: Mapped[list[Post]] = relationship(back_populates="author", order_by="Post.id.desc()")


class SignIn(Base):
    """A signed-in browser. Only the hash of its cookie is kept: who reads this table cannot sign in with it."""

    __tablename__ = "sign_ins"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    user: Mapped[User] = relationship()


class Post(Base):
    """Something that a member wrote."""

    __tablename__ = "posts"

    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    author: Mapped[User] = relationship(back_populates="posts")


def open_engine(settings: Settings) -> Engine:
    """A pool of connections, each opened with a fresh token of the instance's role (valid 15 minutes, used once)."""
    url = URL.create(
        "postgresql+psycopg",
        username=settings.database_user,
        host=settings.database_host,
        port=settings.database_port,
        database=settings.database_name,
        query={"sslmode": settings.database_tls, "application_name": "profile-app"},
    )
    # Why pre-ping: a database that was restarted or failed over must cost a retry, not an error page.
    engine = create_engine(url, pool_size=5, max_overflow=10, pool_pre_ping=True, pool_recycle=1800)
    rds = boto3.client("rds", region_name=settings.region)

    @event.listens_for(engine, "do_connect")
    def sign_in(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["password"] = rds.generate_db_auth_token(
            settings.database_host, settings.database_port, settings.database_user, Region=settings.region
        )

    trace_engine(engine)
    return engine
