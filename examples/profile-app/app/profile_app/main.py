# SPDX-License-Identifier: Apache-2.0
"""The pages."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import Depends, FastAPI, Form, Request, UploadFile
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session, joinedload

from profile_app import images, security
from profile_app.database import Post, User
from profile_app.files import Files, thumbnail_key
from profile_app.tracing import TraceMiddleware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from profile_app.settings import Settings

HERE = Path(__file__).parent
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{1,39}")
POST_MAX = 2000
POSTS_SHOWN = 50
BODY_MAX = images.OCTETS_MAX + 64 * 1024
SIGNED_IN, FORM = "signed-in", "form"

log = logging.getLogger(__name__)


class Notice(Exception):  # noqa: N818 - it is shown, not reported
    """A refusal with a text for the person; shown above the form that it came from."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: the database session, and who is signed in."""

    request: Request
    db: Session
    user: User | None

    def member(self) -> User:
        """The signed-in user, or a refusal."""
        if self.user is None:
            raise Notice("Please sign in first.", 401)
        return self.user


def visit(request: Request) -> Iterator[Visit]:
    """Open a session for one request; what it changed is committed before the reply is sent."""
    with Session(request.app.state.engine, expire_on_commit=False) as db:
        yield Visit(request, db, security.who(db, request.cookies.get(SIGNED_IN, "")))


Visiting = Annotated[Visit, Depends(visit)]
Field = Annotated[str, Form()]


def make_app(settings: Settings, engine: Engine, files: Files | None = None) -> FastAPI:
    """The app. `files` is given by tests."""
    app = FastAPI(title="Members", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.settings = settings
    app.state.engine = engine
    app.state.files = files or Files(settings)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.add_middleware(TraceMiddleware)
    app.add_exception_handler(Notice, show_notice)
    app.add_exception_handler(ClientError, show_aws_error)
    app.add_exception_handler(BotoCoreError, show_aws_error)
    app.add_exception_handler(OperationalError, show_database_error)
    app.middleware("http")(guard)
    for path, endpoint, method in (
        ("/", home, "GET"),
        ("/health", health, "GET"),
        ("/sign-up", sign_up, "POST"),
        ("/sign-in", sign_in, "POST"),
        ("/sign-out", sign_out, "POST"),
        ("/posts", write_post, "POST"),
        ("/avatar", upload_avatar, "POST"),
        ("/members/{user_id}/avatar", avatar, "GET"),
        ("/members/{user_id}/thumbnail", thumbnail, "GET"),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None)
    return app


async def guard(request: Request, go_on: Any) -> Response:
    """Refuse bodies that are too long, and say what a browser may do with our pages."""
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > BODY_MAX or "transfer-encoding" in request.headers:
        return PlainTextResponse("The request is too large.", 413)
    reply: Response = await go_on(request)
    reply.headers["Content-Security-Policy"] = "default-src 'self'; form-action 'self'; frame-ancestors 'none'"
    reply.headers["X-Content-Type-Options"] = "nosniff"
    reply.headers["Referrer-Policy"] = "same-origin"
    return reply


# pages


def home(visit: Visiting) -> Response:
    """Members and posts; with a form to sign in, or to write and to upload."""
    return page(visit)


def health(request: Request) -> PlainTextResponse:
    """For a load balancer: whether the database answers."""
    with request.app.state.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return PlainTextResponse("ok")


def page(visit: Visit, notice: str = "", status: int = 200) -> Response:
    """The one page."""
    members = visit.db.scalars(select(User).order_by(User.id)).all()
    posts = visit.db.scalars(
        select(Post).options(joinedload(Post.author)).order_by(Post.id.desc()).limit(POSTS_SHOWN)
    ).all()
    return render(visit.request, status, user=visit.user, members=members, posts=posts, notice=notice)


def render(request: Request, status: int, **values: Any) -> Response:
    """The page with a fresh form token, if the browser has none yet."""
    token = request.cookies.get(FORM) or security.new_form_token()
    values = {"user": None, "members": [], "posts": [], "notice": "", **values}
    reply = templates.TemplateResponse(
        request, "home.html", {**values, "token": token, "post_max": POST_MAX, "settings": request.app.state.settings},
        status_code=status,
    )  # fmt: skip
    set_cookie(request, reply, FORM, token, same_site="strict")
    reply.headers["Cache-Control"] = "no-store"
    return reply


def sign_up(visit: Visiting, name: Field, password: Field, token: Field) -> Response:
    """Become a member."""
    check_form(visit.request, token)
    if not NAME.fullmatch(name):
        raise Notice("A name has 2 to 40 letters, digits, dots, dashes or underscores.")
    if not security.PASSWORD_MIN <= len(password) <= security.PASSWORD_MAX:
        raise Notice(f"A password has at least {security.PASSWORD_MIN} characters.")
    user = User(name=name, password_hash=security.hash_password(password))
    visit.db.add(user)
    try:
        visit.db.flush()
    except IntegrityError:
        raise Notice("That name is taken.", 409) from None
    return welcome(visit, user)


def sign_in(visit: Visiting, name: Field, password: Field, token: Field) -> Response:
    """Come back."""
    check_form(visit.request, token)
    user = visit.db.scalar(select(User).where(User.name == name[:40]))
    if not security.check_password(user, password[: security.PASSWORD_MAX]) or user is None:
        raise Notice("Name and password do not fit.", 403)
    return welcome(visit, user)


def welcome(visit: Visit, user: User) -> Response:
    """Sign a browser in, with a new token so that an older one is worth nothing."""
    cookie = security.sign_in(visit.db, user)
    visit.db.commit()
    reply = back_home()
    seconds = int(security.SIGNED_IN_FOR.total_seconds())
    set_cookie(visit.request, reply, SIGNED_IN, cookie, same_site="lax", max_age=seconds)
    return reply


def sign_out(visit: Visiting, token: Field) -> Response:
    """Leave."""
    check_form(visit.request, token)
    security.sign_out(visit.db, visit.request.cookies.get(SIGNED_IN, ""))
    visit.db.commit()
    reply = back_home()
    reply.delete_cookie(SIGNED_IN)
    return reply


def write_post(visit: Visiting, body: Field, token: Field) -> Response:
    """Say something."""
    check_form(visit.request, token)
    if not body.strip() or len(body) > POST_MAX:
        raise Notice(f"A post has 1 to {POST_MAX} characters.")
    visit.db.add(Post(author_id=visit.member().id, body=body.strip()))
    visit.db.commit()
    return back_home()


def upload_avatar(visit: Visiting, picture: UploadFile, token: Field) -> Response:
    """Store the picture in S3, then its key in the database: files there, the pointer here."""
    check_form(visit.request, token)
    user = visit.member()
    try:
        data = images.clean(picture.file.read(images.OCTETS_MAX + 1))
    except images.BadPicture as bad:
        raise Notice(str(bad)) from None
    files: Files = visit.request.app.state.files
    user.avatar_key, user.avatar_etag = files.put_avatar(user.id, data)
    visit.db.commit()
    return back_home()


def avatar(visit: Visiting, user_id: int) -> Response:
    """A member's picture: the key from the database, the file from S3."""
    user = visit.db.get(User, user_id)
    files: Files = visit.request.app.state.files
    picture = files.get(user.avatar_key) if user and user.avatar_key else None
    if picture is None:
        return PlainTextResponse("There is no picture.", 404)
    return Response(picture.data, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000"})


def thumbnail(visit: Visiting, user_id: int) -> Response:
    """The small picture of the member's current one; 404 while the function has not made it yet."""
    user = visit.db.get(User, user_id)
    files: Files = visit.request.app.state.files
    picture = files.get(thumbnail_key(user.avatar_key)) if user and user.avatar_key else None
    if picture is None or picture.of_etag != user.avatar_etag:
        return PlainTextResponse("The thumbnail is not there yet.", 404, {"Cache-Control": "no-store"})
    return Response(picture.data, media_type="image/png", headers={"Cache-Control": "private, max-age=31536000"})


# refusals


def check_form(request: Request, token: str) -> None:
    """Refuse a form that none of our pages sent."""
    if not security.form_is_ours(request.cookies.get(FORM, ""), token):
        raise Notice("The form was too old. Please send it again.", 403)


def show_notice(request: Request, refusal: Exception) -> Response:
    """The page again, with what was wrong."""
    assert isinstance(refusal, Notice)
    with Session(request.app.state.engine) as db:
        visit = Visit(request, db, security.who(db, request.cookies.get(SIGNED_IN, "")))
        return page(visit, refusal.text, refusal.status)


def show_aws_error(request: Request, error: Exception) -> Response:
    """Say honestly which service refused what; the request id finds the reason in its log."""
    if isinstance(error, ClientError):
        code = error.response["Error"]["Code"]
        request_id = error.response.get("ResponseMetadata", {}).get("RequestId", "")
        notice = f"{error.operation_name} was refused: {code}. Nothing was changed. Request id: {request_id}"
    else:
        notice = f"AWS could not be asked: {type(error).__name__}. Nothing was changed."
    log.warning("%s", error)
    return show_notice(request, Notice(notice, 502))


def show_database_error(request: Request, error: Exception) -> HTMLResponse:
    """The database is away: nothing but this page can be shown."""
    log.warning("%s", error)
    return HTMLResponse("<!doctype html><title>Members</title><p>The database does not answer. Please try again.", 503)


def back_home() -> RedirectResponse:
    """To the page, by GET."""
    return RedirectResponse("/", 303)


def set_cookie(
    request: Request, reply: Response, name: str, value: str, same_site: Any, max_age: int | None = None
) -> None:
    """A cookie that scripts cannot read; only over HTTPS where the person came by HTTPS."""
    reply.set_cookie(
        name, value, max_age=max_age, httponly=True, secure=request.url.scheme == "https", samesite=same_site
    )


templates = Jinja2Templates(directory=HERE / "templates")
