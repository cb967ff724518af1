# SPDX-License-Identifier: Apache-2.0
"""The app's own tests: its pages over SQLite and a file store in memory. No AWS, no network."""

from __future__ import annotations

import hashlib
import io
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
sys.path[:0] = [str(HERE / "app"), str(HERE / "thumbnail")]

from fastapi.testclient import TestClient  # noqa: E402
from PIL import Image  # noqa: E402
from profile_app import images  # noqa: E402
from profile_app.database import Base, User  # noqa: E402
from profile_app.files import Picture  # noqa: E402
from profile_app.main import make_app  # noqa: E402
from profile_app.settings import Settings  # noqa: E402
from profile_app.tracing import _add_comment, _add_header, _header  # noqa: E402
from sqlalchemy import create_engine, select  # noqa: E402
from sqlalchemy.orm import Session  # noqa: E402
from sqlalchemy.pool import StaticPool  # noqa: E402

PASSWORD = "correct horse battery"


class Memory:
    """A file store in memory."""

    def __init__(self):
        self.kept = {}

    def put_avatar(self, user_id, data):
        key, etag = f"users/{user_id}/avatar.png", hashlib.md5(data).hexdigest()
        self.kept[key] = Picture(data, etag, "")
        return key, etag

    def get(self, key):
        return self.kept.get(key)


@pytest.fixture
def app():
    engine = create_engine("sqlite://", connect_args={"check_same_thread": False}, poolclass=StaticPool)
    Base.metadata.create_all(engine)
    settings = Settings("us-east-1", "files", "db", 5432, "profile", "profile_app", "", "require", True, 80)
    return make_app(settings, engine, Memory())


@pytest.fixture
def browser(app):
    with TestClient(app, base_url="https://app.test") as client:
        client.get("/")
        yield client


def send(browser, path, files=None, **fields):
    return browser.post(path, data={"token": browser.cookies.get("form"), **fields}, files=files)


def picture(kind="PNG", size=(300, 200), **options):
    out = io.BytesIO()
    Image.new("RGB", size, "teal").save(out, kind, **options)
    return out.getvalue()


def test_sign_up_write_and_read(browser):
    assert "Signed in as" in send(browser, "/sign-up", name="ada", password=PASSWORD).text
    page = send(browser, "/posts", body="Hello <b>there</b>").text
    assert "Hello &lt;b&gt;there&lt;/b&gt;" in page
    assert "Signed in as" not in send(browser, "/sign-out").text
    assert send(browser, "/sign-in", name="ada", password="wrong password").status_code == 403
    assert "Signed in as" in send(browser, "/sign-in", name="ada", password=PASSWORD).text


def test_password_is_argon2_and_cookie_is_closed(app, browser):
    send(browser, "/sign-up", name="ada", password=PASSWORD)
    with Session(app.state.engine) as db:
        assert db.scalar(select(User)).password_hash.startswith("$argon2id$")
    reply = browser.post(
        "/sign-in", data={"token": browser.cookies["form"], "name": "ada", "password": PASSWORD}, follow_redirects=False
    )
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "Secure" in cookie and "SameSite=lax" in cookie


def test_forged_form_is_refused(browser):
    assert browser.post("/sign-up", data={"token": "forged", "name": "eve", "password": PASSWORD}).status_code == 403


def test_name_twice_and_weak_password(browser):
    send(browser, "/sign-up", name="ada", password=PASSWORD)
    assert send(browser, "/sign-up", name="ada", password=PASSWORD).status_code == 409
    assert send(browser, "/sign-up", name="bob", password="short").status_code == 400


def test_picture_goes_to_the_store_and_its_key_to_the_row(app, browser):
    send(browser, "/sign-up", name="ada", password=PASSWORD)
    page = send(browser, "/avatar", files={"picture": ("me.jpg", picture("JPEG"), "image/jpeg")}).text
    assert "users/1/avatar.png" in page
    kept = app.state.files.kept["users/1/avatar.png"]
    assert browser.get("/members/1/avatar").content == kept.data
    assert browser.get("/members/1/thumbnail").status_code == 404
    app.state.files.kept["thumbnails/users/1/avatar.png"] = Picture(b"old", "x", "of another picture")
    assert browser.get("/members/1/thumbnail").status_code == 404
    app.state.files.kept["thumbnails/users/1/avatar.png"] = Picture(b"small", "x", kept.etag)
    assert browser.get("/members/1/thumbnail").content == b"small"


def test_upload_needs_a_member(browser):
    assert send(browser, "/avatar", files={"picture": ("me.png", picture(), "image/png")}).status_code == 401


@pytest.mark.parametrize("data", [b"", b"not a picture", picture()[:60], b"<svg xmlns='http://www.w3.org/2000/svg'/>"])
def test_what_is_no_picture_is_refused(browser, data):
    send(browser, "/sign-up", name="ada", password=PASSWORD)
    assert send(browser, "/avatar", files={"picture": ("x.png", data, "image/png")}).status_code == 400


def test_bomb_is_refused_from_its_header():
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG")
    with pytest.raises(images.BadPicture):
        images.clean(out.getvalue())


def test_picture_is_turned_upright_and_loses_its_metadata():
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "A camera"
    cleaned = Image.open(io.BytesIO(images.clean(picture("JPEG", exif=exif))))
    assert cleaned.size == (200, 300)
    assert not cleaned.getexif()


def test_trace_is_handed_on():
    token = _header.set("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
    try:
        statement, _ = _add_comment(None, None, "SELECT 1", (), None, False)
        headers = {}
        _add_header({"headers": headers})
    finally:
        _header.reset(token)
    assert re.search(r"traceparent='00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01'", statement)
    assert headers["X-Amzn-Trace-Id"].startswith("Root=1-5759e988")


def test_thumbnail_is_small(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import thumbnail

    made = Image.open(io.BytesIO(thumbnail.shrink(picture(size=(1000, 500)))))
    assert made.size == (256, 128)
